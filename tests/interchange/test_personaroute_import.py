from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from bench_command import Bench
from published_csv import cells, official_split, version_1, version_2, write_published

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.interchange.personaroute import import_personaroute


@pytest.fixture(scope="module")
def base() -> pd.DataFrame:
    return cells()


@pytest.fixture
def published(tmp_path: Path, base: pd.DataFrame) -> Path:
    write_published(tmp_path / "files", version_1(base), "v1")
    return write_published(tmp_path / "files", version_2(base), "v2_large")


def test_multi_cost_efficiency(published: Path, tmp_path: Path, base: pd.DataFrame) -> None:
    made = import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    data = Benchmark.load(made.directory)
    assert data.strategies == ["multi_cost_efficiency"]
    assert data.manifest["provenance"] == ["recorded"]
    assert data.user_ids.tolist() == ["1", "2", "3", "4"]
    assert data.llm_ids.tolist() == ["LLaMA-0 (0b)", "LLaMA-1 (1b)", "LLaMA-2 (2b)"]
    assert data.task_ids.tolist() == ["task0", "task1"]
    assert data.queries["split"].to_pylist() == 2 * (7 * ["train"] + ["validation"] + 2 * ["test"])
    np.testing.assert_allclose(data.performance.ravel(), base["effect"], rtol=1e-6)
    np.testing.assert_allclose(data.cost.ravel(), base["cost"], rtol=1e-6)
    # The files' cost is normalised: what a response cost in USD is unknown, not zero.
    assert np.isnan(data.cost_usd).all()
    alpha = data.users["performance_weight"].to_numpy()
    np.testing.assert_allclose(alpha, [0.2, 0.4, 0.6, 0.8])
    rows = version_1(base)
    for split in ("train", "validation", "test"):
        part = data.interactions("multi_cost_efficiency", split)
        mine = rows[official_split(rows) == split]
        np.testing.assert_allclose(part.reward.ravel(), mine["reward"], atol=1e-6)
        best = np.repeat(part.chosen.argmax(axis=-1).ravel(), 3)
        np.testing.assert_array_equal(best, mine["best_llm"])
    assert data.responses()["response"].to_pylist() == base["response"].to_list()
    assert data.queries["query"].to_pylist() == base["query"].to_list()[::3]


def test_llm_judge(published: Path, tmp_path: Path, base: pd.DataFrame) -> None:
    import_personaroute(published, tmp_path / "out", config="Router_user_data_v2_large")
    data = Benchmark.load(tmp_path / "out")
    assert data.strategies == ["llm_judge"]
    # Nobody knows these users' weights.
    assert data.users.column_names == ["user_id", "population", "cohort"]
    rows = version_2(base)
    part = data.interactions("llm_judge", "test")
    best = rows["best_answer"][official_split(rows) == "test"]
    np.testing.assert_array_equal(part.reward.ravel(), best)
    np.testing.assert_array_equal(part.chosen.ravel(), best.astype(bool))


def test_embeddings_at_unit_length_and_their_length(published: Path, tmp_path: Path) -> None:
    import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    data = Benchmark.load(tmp_path / "out")
    raw = pd.read_csv(published / "router_user_data_v1.csv")["query_embedding"][0]
    assert "0." in raw.split()  # a value that is no JSON
    vector = np.asarray(raw.strip("[]").split(), dtype=float)
    np.testing.assert_allclose(np.linalg.norm(data.embeddings, axis=1), 1, rtol=1e-6)
    length = data.queries["embedding_length"][0].as_py()
    np.testing.assert_allclose(data.embeddings[0] * length, vector, rtol=1e-6)


def test_other_embedder(published: Path, tmp_path: Path) -> None:
    import_personaroute(
        published, tmp_path / "out", config="Router_user_data_v1", embedder="hashing"
    )
    data = Benchmark.load(tmp_path / "out")
    assert data.queries["embedder"][0].as_py().startswith("hashing")
    assert "embedding_length" not in data.queries.column_names


def test_one_file_is_cut_by_position(tmp_path: Path, base: pd.DataFrame) -> None:
    path = tmp_path / "all.csv"
    version_1(base).to_csv(path, index=False)
    made = import_personaroute(path, tmp_path / "out")
    data = Benchmark.load(tmp_path / "out")
    assert data.queries["split"].to_pylist() == 2 * (7 * ["train"] + ["validation"] + 2 * ["test"])
    assert made.manifest["configuration"]["splits"].startswith("by position")


def test_rows_may_come_in_any_order(tmp_path: Path, base: pd.DataFrame, published: Path) -> None:
    for file in published.glob("*_v1.csv"):
        # best_llm is a place in the order of the file, so it goes where that order does.
        rows = pd.read_csv(file).drop(columns="best_llm").sample(frac=1, random_state=3)
        rows.to_csv(file, index=False)
    import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    data = Benchmark.load(tmp_path / "out")
    rows = version_1(base).set_index(["user_id", "query", "llm"])["reward"]
    part = data.interactions("multi_cost_efficiency", "test")
    for u, user in enumerate(data.user_ids):
        for q, query in enumerate(part.queries):
            for m, llm in enumerate(data.llm_ids):
                want = rows[int(user), data.queries["query"][int(query)].as_py(), llm]
                assert part.reward[u, q, m] == pytest.approx(want, abs=1e-6)


def test_again_changes_nothing_and_other_files_are_another_data_set(
    published: Path, tmp_path: Path
) -> None:
    first = import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    again = import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    assert first.changed and not again.changed
    assert first.manifest == again.manifest
    with pytest.raises(ConfigMismatch, match="another configuration"):
        import_personaroute(published, tmp_path / "out", config="Router_user_data_v2_large")


def test_descriptions_give_prices_and_sizes(published: Path, tmp_path: Path) -> None:
    told = {
        f"LLaMA-{m} ({m}b)": {"feature": f"text {m}", "input_price": 0.2, "output_price": None}
        for m in range(3)
    }
    told["LLaMA-0 (0b)"]["parameters_billion"] = 8
    path = tmp_path / "LLM_Descriptions.json"
    path.write_text(json.dumps(told))
    import_personaroute(
        published, tmp_path / "out", config="Router_user_data_v1", descriptions=path
    )
    llms = Benchmark.load(tmp_path / "out").llms.to_pydict()
    assert llms["description"] == ["text 0", "text 1", "text 2"]
    assert llms["input_price"] == [0.2, 0.2, 0.2]
    assert llms["output_price"] == [None, None, None]
    assert llms["parameters"] == [8.0, None, None]
    del told["LLaMA-0 (0b)"]
    path.write_text(json.dumps(told))
    with pytest.raises(UsageError, match="the same LLMs"):
        import_personaroute(
            published, tmp_path / "other", config="Router_user_data_v1", descriptions=path
        )


def test_without_choice_there_is_no_reward(tmp_path: Path, base: pd.DataFrame) -> None:
    rows = version_2(base)
    rows.loc[:2, "best_answer"] = 0  # user 1, first query: the judge gave no answer
    rows.loc[3:5, "best_answer"] = [1, 1, 0]  # the next: two at once
    path = tmp_path / "all.csv"
    rows.to_csv(path, index=False)
    made = import_personaroute(path, tmp_path / "out")
    part = Benchmark.load(tmp_path / "out").interactions("llm_judge", "train")
    assert np.isnan(part.reward[0, 0]).all() and not part.chosen[0, 0].any()
    np.testing.assert_array_equal(part.reward[0, 1], [0.5, 0.5, 0])
    assert made.manifest["mismatches"] == {"without_choice": 1}


def _broken(base: pd.DataFrame, tmp_path: Path, change: Any) -> Path:
    rows = version_1(base)
    rows = change(rows)
    path = tmp_path / "all.csv"
    rows.to_csv(path, index=False)
    return path


def _set(column: str, value: Any, row: int = 4) -> Any:
    def change(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.astype({column: object})
        rows.loc[row, column] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("effect", None), r"row 5 \(line 14\): effect is missing"),
        (_set("effect", 1.5), r"row 5 \(line 14\): effect is 1.5"),
        (_set("cost", float("inf")), r"row 5 \(line 14\): cost is inf"),
        (_set("cost", "dear"), r"row 5 \(line 14\): cost is 'dear'; give a number"),
        (_set("reward", None), r"row 5 \(line 14\): reward is missing"),
        (_set("llm", None), r"row 5 \(line 14\): llm is empty"),
        (_set("query", "  "), r"row 5 .*: query is empty"),
        (_set("performance_preference", 0.3), r"row 5 .*: performance_preference of this user"),
        (_set("ground_truth", "other"), r"row 5 .*: ground_truth of this query"),
        (_set("task_description", "other"), r"row 5 .*: task_description of this task"),
        (_set("effect", 0.5, row=64), r"row 65 .*: effect of this query and LLM 'LLaMA-1 \(1b\)'"),
        (_set("response", "other", row=64), r"row 65 .*: response of this query and LLM"),
        (_set("reward", 0.75), r"user '1', query .*: LLM 'LLaMA-1 \(1b\)': reward 0.75, but 0.2 ·"),
        (_set("best_llm", 7), "best_llm is not an LLM with the highest reward"),
        (lambda rows: pd.concat([rows, rows[6:7]]), r"row 241 .*: a second row of user '1', LLM"),
        (lambda rows: rows.drop(index=100), "1 of 240 rows are missing, the first is that of"),
        (lambda rows: rows.drop(columns="llm"), "no column 'llm'"),
        (lambda rows: rows.drop(columns="reward"), "neither of the columns 'reward'"),
        (lambda rows: rows.head(0), "hold no rows"),
        (_set("query_embedding", "[[0.1 ... 0.2]]", row=0), "query_embedding of this query"),
    ],
)
def test_one_clear_message(
    base: pd.DataFrame, tmp_path: Path, change: Any, said: str, bench: Bench
) -> None:
    path = _broken(base, tmp_path, change)
    with pytest.raises(UsageError, match=said):
        import_personaroute(path, tmp_path / "out")
    ran = bench("import", "personaroute-csv", path, "--out", tmp_path / "out")
    assert ran.code == 2 and ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_ragged_row_is_named(base: pd.DataFrame, tmp_path: Path) -> None:
    path = _broken(base, tmp_path, lambda rows: rows)
    with path.open("a") as file:
        file.write("9,0.1,only three\n")
    with pytest.raises(UsageError, match=r"row 241 .*: 3 cells, and the header has 15"):
        import_personaroute(path, tmp_path / "out")


def test_mismatch_may_be_kept(base: pd.DataFrame, tmp_path: Path) -> None:
    path = _broken(base, tmp_path, _set("reward", 0.75, row=3))
    made = import_personaroute(path, tmp_path / "out", allow_mismatch=True)
    assert made.manifest["mismatches"] == {"reward": 1, "best_llm": 1}
    part = Benchmark.load(tmp_path / "out").interactions("multi_cost_efficiency", "train")
    assert part.reward[0, 1, 0] == np.float32(0.75)


def test_a_query_in_two_splits_is_refused(published: Path, tmp_path: Path) -> None:
    train = pd.read_csv(published / "router_user_train_data_v1.csv")
    test = published / "router_user_test_data_v1.csv"
    pd.concat([pd.read_csv(test), train]).to_csv(test, index=False)
    with pytest.raises(UsageError, match="stands in the file of another split too"):
        import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")


def test_which_files(published: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one with --config"):
        import_personaroute(published, tmp_path / "out")
    with pytest.raises(UsageError, match="did you mean 'Router_user_data_v1'"):
        import_personaroute(published, tmp_path / "out", config="Router_user_data_v3")
    with pytest.raises(UsageError, match="one split of several"):
        import_personaroute(published / "router_user_val_data_v1.csv", tmp_path / "out")
    with pytest.raises(UsageError, match="best_answer of Router_user_data_v2"):
        import_personaroute(published, tmp_path / "out", config="LLM_judge_results")
    (published / "router_user_val_data_v1.csv").unlink()
    with pytest.raises(UsageError, match="no file for validation"):
        import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    assert not (tmp_path / "out").exists()


def test_card_loads_and_escapes(base: pd.DataFrame, tmp_path: Path) -> None:
    from datasets import load_dataset

    path = tmp_path / "<b>|x.csv"
    version_1(base).to_csv(path, index=False)
    import_personaroute(path, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "<b>" not in card and "not their release" in card
    loaded = load_dataset(str(tmp_path / "out"), "multi_cost_efficiency", split="test")
    assert loaded.num_rows == 4 * 4 * 3


def test_interactions_say_that_they_are_recorded(published: Path, tmp_path: Path) -> None:
    import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    for file in (tmp_path / "out").rglob("*.parquet"):
        assert pq.read_schema(file).metadata[b"personaroute_provenance"] == b"recorded"


@pytest.mark.parametrize("config", ["Router_user_data_v1", "Router_user_data_v2_large"])
def test_baselines_are_evaluated_with_official_splits(
    published: Path, tmp_path: Path, bench: Bench, config: str
) -> None:
    out = tmp_path / "out"
    ran = bench("import", "personaroute-csv", published, "--config", config, "--out", out)
    assert ran.code == 0 and "RECORDED" in ran.out and "official" in ran.out
    result = tmp_path / "result.json"
    names = ("random", "best-per-task", "best-per-user-task")
    asked = [part for name in names for part in ("--router", name)]
    ran = bench("evaluate", out, *asked, "--draws", 0, "--json", result)
    assert ran.code == 0, ran.err
    told = json.loads(result.read_text())
    assert told["sizes"]["test"] == 4
    rows = {entry["name"]: entry for entry in told["routers"]}
    assert all(entry["status"] == "ok" for entry in rows.values())
    assert rows["oracle"]["metrics"]["accuracy"]["mean"] == 1.0
    assert rows["oracle"]["metrics"]["cost_usd"]["mean"] is None
    assert bench("show", out).code == 0


def test_personalized_is_evaluated(published: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra gnn")
    torch.set_num_threads(1)  # tests share the machine
    from personaroute_bench.router.personalized import Personalized

    from personaroute_bench import evaluate

    import_personaroute(published, tmp_path / "out", config="Router_user_data_v1")
    done = evaluate(tmp_path / "out", [Personalized(epochs=2)], bootstrap_draws=0)
    mine = next(row for row in done.routers if row["asked_for"])
    assert mine["status"] == "ok" and mine["metrics"]["coverage"]["mean"] == 1.0
