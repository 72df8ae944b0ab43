from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.cli.import_ import app
from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.evaluation.pairs import load_pairs
from personaroute_bench.interchange.preferences import import_preferences
from personaroute_bench.schemas import LLMS, PAIRS, RESPONSES, SPLITS, TASKS, queries_schema

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
Rows = list[dict[str, Any]]


def pairs(out: Path) -> list[dict[str, Any]]:
    return [
        row
        for name in SPLITS
        for row in pq.read_table(out / "pairs" / f"{name}.parquet").to_pylist()
    ]


def test_tables(people: Rows, write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = import_preferences(write(people), out)
    assert made.changed
    for name, schema in (
        ("tasks", TASKS),
        ("llms", LLMS),
        ("responses", RESPONSES),
        ("pairs/test", PAIRS),
    ):
        found = pq.read_schema(out / f"{name}.parquet")
        marked = schema.with_metadata(
            {**(schema.metadata or {}), b"personaroute_provenance": b"recorded"}
        )
        assert found.equals(marked, check_metadata=True), name

    benchmark = Benchmark.load(out)
    assert benchmark.strategies == []
    assert benchmark.queries.column_names == queries_schema(1).names
    assert benchmark.embeddings.shape[0] == 11
    assert benchmark.task_ids.tolist() == ["chats", "stories"]
    assert benchmark.llm_ids.tolist() == ["human", "org/a", "org/b", "org/c"]
    assert benchmark.llms["input_price"].null_count == 4
    assert benchmark.users.column_names == ["user_id", "population", "cohort"]
    assert benchmark.users["population"].unique().to_pylist() == ["real people"]
    told = {(r["query_id"], r["llm_id"]): r for r in benchmark.responses().to_pylist()}
    assert len(told) == 10 * 3 + 3
    assert told["q0", "org/a"]["response"] == "org/a on 0"
    assert told["s1", "org/a"]["status"] == "empty"
    assert told["q0", "org/a"]["status"] == "ok"
    assert {r["cost_usd"] for r in told.values()} == {None}
    assert {r["provenance"] for r in told.values()} == {"recorded"}

    rows = pairs(out)
    assert len(rows) == 40 + 3
    assert all(row["a"] < row["b"] for row in rows)
    by_key = {(r["user_id"], r["query_id"], r["a"], r["b"]): r["outcome"] for r in rows}
    assert len(by_key) == len(rows)
    assert by_key["ann", "q0", "org/a", "org/b"] == "tie"
    assert by_key["ann", "q1", "org/b", "org/c"] == "b"
    assert by_key["eve", "s1", "human", "org/a"] == "a"
    assert by_key["eve", "s1", "org/a", "org/c"] == "tie"

    counts = made.manifest["pairs"]["datasets"]
    assert counts["chats"] == {
        "rows": 40,
        "people": 4,
        "people_without_test": 0,
        "queries": 10,
        "llms": 3,
        "pairs": 40,
        "ties": 8,
        "train": 28,
        "validation": 4,
        "test": 8,
    }
    assert counts["stories"]["people_without_test"] == 1
    assert made.manifest["provenance"] == ["recorded"]
    assert made.manifest["tables"]["pairs"] == {"rows": 43, "files": 3}
    data = load_pairs(out)
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 31,
        "validation": 4,
        "test": 8,
    }


def test_same_file_same_bytes_and_nothing_twice(people: Rows, write: Write, tmp_path: Path) -> None:
    path = write(people)
    one = import_preferences(path, tmp_path / "one")
    two = import_preferences(path, tmp_path / "two")
    assert one.manifest["files"] == two.manifest["files"]
    again = import_preferences(path, tmp_path / "one")
    assert not again.changed
    assert again.manifest == one.manifest
    with pytest.raises(ConfigMismatch, match="seed: 0 → 1"):
        import_preferences(path, tmp_path / "one", seed=1)


def test_the_manifest_comes_last_and_the_same_command_continues(
    people: Rows, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = write(people), tmp_path / "out"

    def full(*_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr("personaroute_bench.interchange.preferences_card.write_card", full)
        with pytest.raises(OSError, match="no space"):
            import_preferences(path, out)
    with pytest.raises(UsageError, match="is not complete"):
        Benchmark.load(out)
    assert import_preferences(path, out).changed
    Benchmark.load(out)


def test_by_person(people: Rows, write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_preferences(write(people), out, datasets=["chats"], by="person")
    side: dict[str, set[str]] = {}
    for row in pairs(out):
        side.setdefault(row["user_id"], set()).add(row["split"])
    assert sorted(len(names) for names in side.values()) == [1, 1, 1, 1]
    new = [user for user, names in side.items() if names == {"test"}]
    assert len(new) == 1
    users = Benchmark.load(out).users.to_pylist()
    assert [user["user_id"] for user in users if user["cohort"] == "new"] == new


def test_repeats_become_the_majority(row: Row, write: Write, tmp_path: Path) -> None:
    rows = [
        row(),
        row(),
        row(chosen="org/a"),
        row(user_id="bob"),
        row(user_id="bob", chosen="org/a"),
    ]
    made = import_preferences(write(rows), tmp_path / "out")
    assert {r["user_id"]: r["outcome"] for r in pairs(tmp_path / "out")} == {
        "ann": "b",
        "bob": "tie",
    }
    assert made.manifest["pairs"]["repeats_merged"] == 3


def test_other_answers_are_another_occasion(row: Row, write: Write, tmp_path: Path) -> None:
    anew = {"responses": ["from b", "another from a"]}
    rows = [row(), row(user_id="bob"), row(user_id="cy", **anew), row(query_id="q2", query="Hm?")]
    import_preferences(write(rows), tmp_path / "one")
    import_preferences(write(rows[::-1]), tmp_path / "two")
    found = {(r["user_id"], r["query_id"]) for r in pairs(tmp_path / "one")}
    assert found == {(r["user_id"], r["query_id"]) for r in pairs(tmp_path / "two")}
    of = {user: query_id for user, query_id in found if query_id != "q2"}
    assert of["ann"] == of["bob"] != of["cy"]
    assert of["cy"].startswith("q1~")
    told = Benchmark.load(tmp_path / "one").responses().to_pylist()
    texts = {(r["query_id"], r["llm_id"]): r["response"] for r in told}
    assert texts[of["ann"], "org/a"] == "from a"
    assert texts[of["cy"], "org/a"] == "another from a"


def test_exclude(people: Rows, write: Write, tmp_path: Path) -> None:
    path, out = write(people), tmp_path / "out"
    import_preferences(path, out, exclude=["human"])
    assert "human" not in Benchmark.load(out).llm_ids
    assert len(pairs(out)) == 41
    with pytest.raises(UsageError, match="--exclude 'humen' is no candidate"):
        import_preferences(path, tmp_path / "no", exclude=["humen"])
    with pytest.raises(UsageError, match="no row compares two candidates"):
        import_preferences(path, tmp_path / "no", datasets=["stories"], exclude=["human", "org/a"])
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "other", "query_id": "q9"}, "row 2: user_id 'ann' of data set 'other'"),
        ({"dataset": "other", "user_id": "bob"}, "row 2: query_id 'q1' of data set 'other'"),
        ({"query": "Why is it not?"}, "query_id 'q1' has another text than in row 1"),
    ],
)
def test_an_id_means_one_thing(
    row: Row, write: Write, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        import_preferences(write([row(), row(**changes)]), tmp_path / "out")


def test_wrong_options(people: Rows, write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown --by 'persons'; did you mean 'person'"):
        import_preferences(write(people), tmp_path / "out", by="persons")  # type: ignore[arg-type]
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="holds other files"):
        import_preferences(write(people), tmp_path / "busy")


def test_the_card_is_safe_and_loads(people: Rows, write: Write, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    people[-1]["dataset"] = "a|<img src=x>[b](c)"
    import_preferences(write(people), out)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "a\\|&lt;img src=x&gt;\\[b\\](c)" in card
    assert "<img" not in card
    assert "a book \\| &lt;b&gt;" in card
    loaded = datasets.load_dataset(str(out), "pairs", cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {
        "train": 31,
        "validation": 4,
        "test": 8,
    }


def test_command(people: Rows, write: Write, tmp_path: Path) -> None:
    path, out = write(people), tmp_path / "out"
    options = ["preferences", str(path), "--out", str(out), "--dataset", "chats", "--seed", "3"]
    first = CliRunner().invoke(app, options)
    assert first.exit_code == 0, first.output
    assert "RECORDED choices of real people, split by query" in first.stdout
    assert f"bench evaluate {out}" in first.stdout
    second = CliRunner().invoke(app, options)
    assert "nothing written" in second.stdout
    shown = CliRunner().invoke(app, [*options, "--json"])
    assert json.loads(shown.stdout)["pairs"]["datasets"]["chats"]["people"] == 4


def test_recorded_people(recorded: Path, tmp_path: Path) -> None:
    made = import_preferences(recorded / "preferences.parquet", tmp_path / "out")
    counts = made.manifest["pairs"]["datasets"]
    assert {name: found["people"] for name, found in counts.items()} == {
        "confederacy": 7,
        "llmfao": 87,
        "pandalm": 2,
        "sottana_summ": 2,
        "ttcw": 8,
        "tulu1": 11,
    }
    # 100 articles with four summaries, two raters: six pairs each.
    assert counts["sottana_summ"]["pairs"] == 2 * 100 * 6
    assert counts["llmfao"]["pairs"] == counts["llmfao"]["rows"] == 6299
    assert counts["llmfao"]["ties"] == 2362
    texts = pq.read_table(recorded / "preferences.parquet", columns=["query_id", "candidates"])
    shown = {
        (query, llm)
        for query, llms in zip(*(texts[n].to_pylist() for n in texts.column_names), strict=True)
        for llm in llms
    }
    assert made.manifest["tables"]["responses"]["rows"] == len(shown)
    assert isinstance(load_pairs(tmp_path / "out").benchmark.llms, pa.Table)
