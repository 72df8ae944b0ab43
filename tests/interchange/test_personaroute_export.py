from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bench_command import Bench
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from published_csv import cells, version_1, version_2, write_published

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.interchange.personaroute import import_personaroute
from personaroute_bench.interchange.personaroute_export import export_personaroute

VECTORS = ("query_embedding", "task_description_embedding")


def assert_same(got: pd.DataFrame, want: pd.DataFrame) -> None:
    """Equal but for how floats are printed."""
    assert list(got.columns) == list(want.columns)
    assert len(got) == len(want)
    for name in want.columns:
        if name in VECTORS:
            for a, b in zip(got[name], want[name], strict=True):
                # As the authors' code reads it: commas for white space, then JSON.
                numbers = json.loads(", ".join(a.split()))[0]
                np.testing.assert_allclose(
                    numbers, [float(x) for x in b.strip("[] ").split()], rtol=2e-6, atol=1e-9
                )
        elif want[name].dtype.kind == "f":
            np.testing.assert_allclose(got[name], want[name], rtol=1e-6, atol=1e-7)
        else:
            assert got[name].to_list() == want[name].to_list(), name


def round_trip(source: Path, work: Path, config: str | None = None) -> Path:
    import_personaroute(source, work / "data", config=config)
    return export_personaroute(Benchmark.load(work / "data"), work / "csv").directory


@pytest.mark.parametrize(("version", "make"), [("v1", version_1), ("v2", version_2)])
def test_round_trip(tmp_path: Path, version: str, make: object) -> None:
    write_published(tmp_path / "files", make(cells()), version)  # type: ignore[operator]
    back = round_trip(tmp_path / "files", tmp_path)
    names = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert sorted(path.name for path in back.glob("*.csv")) == names
    for name in names:
        assert_same(pd.read_csv(back / name), pd.read_csv(tmp_path / "files" / name))


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.sampled_from('",\n'),
    min_size=1,
    max_size=12,
).filter(lambda text: text.strip() and text not in ("NA", "NaN", "nan", "null", "None", "N/A"))
UNIT = st.floats(0, 1, width=32)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example writes a whole data set
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_round_trip_of_any_texts_and_numbers(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = cells(tasks=1, per_task=10, llms=2)
    texts = data.draw(st.lists(TEXT, min_size=10, max_size=10, unique=True))
    base["query"] = np.repeat(texts, 2)
    base["response"] = data.draw(st.lists(TEXT, min_size=20, max_size=20))
    for name in ("effect", "cost"):
        base[name] = data.draw(st.lists(UNIT, min_size=20, max_size=20))
    vector = data.draw(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3))
    base["query_embedding"] = str(np.asarray([vector], dtype=np.float32))
    rows = version_1(base, users=2)
    work = tmp_path_factory.mktemp("any")
    source = work / "router_user_data_v1.csv"
    rows.to_csv(source, index=False)
    back = round_trip(source, work) / source.name
    read = {"keep_default_na": False}
    assert_same(pd.read_csv(back, **read), pd.read_csv(source, **read))


def test_generated_data_set(tmp_path: Path, bench: Bench) -> None:
    out = tmp_path / "data"
    ran = bench("generate", "--out", out, "--users", 5, "--queries-per-task", 10, "--quiet")
    assert ran.code == 0, ran.err
    ran = bench("export", out, "--to", "personaroute-csv", "--out", tmp_path / "csv")
    assert ran.code == 0, ran.err
    data = Benchmark.load(out)
    rows = pd.read_csv(tmp_path / "csv" / "router_user_data_v1.csv")
    assert f"user_num: 5, llm_num: {len(data.llm_ids)}" in ran.out
    # Simulated users have ids of their own: numbered here, and the list tells who is who.
    assert rows["user_id"].unique().tolist() == [1, 2, 3, 4, 5]
    ids = pd.read_csv(tmp_path / "csv" / "user_ids.csv")
    assert ids["id_here"].to_list() == data.user_ids.tolist()
    # A query with a failed response has no place in a layout without statuses.
    whole = np.isfinite(data.performance + data.cost).all(axis=1)
    assert rows["query"].nunique() == whole.sum() and rows["effect"].notna().all()
    if not whole.all():
        assert f"{(~whole).sum()} queries have a response that failed" in ran.out
    told = json.loads((tmp_path / "csv" / "LLM_Descriptions_v1.json").read_text())
    assert list(told) == data.llm_ids.tolist()
    assert rows["llm"].to_list()[: len(told)] == list(told)
    # What the authors' code makes of these columns is the reward that is written.
    alpha = rows["performance_preference"]
    reward = alpha * rows["effect"] - (1 - alpha) * rows["cost"]
    np.testing.assert_allclose(rows["reward"], reward, atol=1e-6)
    # And the same files can be imported again.
    ran = bench("import", "personaroute-csv", tmp_path / "csv", "--out", tmp_path / "again")
    assert ran.code == 0, ran.err
    again = Benchmark.load(tmp_path / "again")
    assert again.embeddings.shape[1] == data.embeddings.shape[1]


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    write_published(tmp_path / "files", version_1(cells()), "v1")
    import_personaroute(tmp_path / "files", tmp_path / "data")
    data = Benchmark.load(tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        export_personaroute(data, tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="unknown strategy 'mixed'"):
        export_personaroute(data, tmp_path / "csv", strategy="mixed")
    assert not (tmp_path / "csv").exists()


def test_positional_split_is_told_where_it_would_differ(tmp_path: Path) -> None:
    rows = version_1(cells())
    short = rows[~((rows["task_id"] == "task1") & rows["query"].str.startswith("Query 9"))]
    source = tmp_path / "all.csv"
    short.to_csv(source, index=False)
    import_personaroute(source, tmp_path / "data")
    done = export_personaroute(Benchmark.load(tmp_path / "data"), tmp_path / "csv")
    assert any("mixes the splits" in note for note in done.notes)
    same = tmp_path / "same.csv"
    rows.to_csv(same, index=False)
    import_personaroute(same, tmp_path / "data2")
    done = export_personaroute(Benchmark.load(tmp_path / "data2"), tmp_path / "csv2")
    assert "and split_ratio: [0.7, 0.1, 0.2], which gives these very splits" in done.notes
