"""The four strategies together: their tables, and that each follows its own law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import write_pool, write_responses

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig
from personaroute_bench.errors import UsageError
from personaroute_bench.generate import generate
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.schemas import STRATEGIES

USERS = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = tmp_path_factory.mktemp("source")
    return DataConfig(
        users=USERS, strategies=STRATEGIES, responses=str(write_responses(folder)),
        pool=str(write_pool(folder)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "out"
    generate(data, folder)
    return folder


def rows(out: Path, strategy: str) -> pa.Table:
    return pa.concat_tables(
        [
            pq.read_table(out / "interactions" / strategy / s)
            for s in ("train", "validation", "test")
        ],
        promote_options="permissive",
    )


def test_each_strategy_is_a_config_that_datasets_loads(out: Path, tmp_path: Path) -> None:
    import datasets

    for strategy in STRATEGIES:
        loaded = datasets.load_dataset(str(out), strategy, cache_dir=str(tmp_path))
        assert {n: s.num_rows for n, s in loaded.items()} == {
            "train": USERS * 42 * 3, "validation": USERS * 6 * 3, "test": USERS * 12 * 3,
        }  # fmt: skip
    for table in ("ratings", "users"):
        assert datasets.load_dataset(str(out), table, split="table", cache_dir=str(tmp_path))


def test_a_judged_choice_is_worth_one_in_all(out: Path) -> None:
    table = rows(out, "llm_judge").to_pandas()
    total = table.groupby(["user_id", "query_id"], observed=True)["reward"].sum()
    assert total.to_numpy() == pytest.approx(np.ones(USERS * 60))
    assert (table["chosen"] == (table["reward"] > 0)).all()
    assert table["chosen"].groupby(table["user_id"], observed=True).sum().min() >= 60


def test_mixed_rewards_follow_from_the_users_table(out: Path) -> None:
    table = rows(out, "mixed").to_pandas()
    users = pq.read_table(out / "users.parquet").to_pandas().set_index("user_id")
    weights = users.loc[table["user_id"]]
    names = ["mixed_performance_weight", "mixed_cost_weight", "mixed_style_weight"]
    assert users[names].sum(axis=1).to_numpy() == pytest.approx(np.ones(USERS))
    want = (
        weights[names[0]].to_numpy() * table["performance"].to_numpy()
        - weights[names[1]].to_numpy() * table["cost"].to_numpy()
        + weights[names[2]].to_numpy() * table["style"].to_numpy()
    )
    assert table["reward"].to_numpy() == pytest.approx(want, abs=1e-5)
    # Style is measured against the query's average.
    mean = table.groupby(["user_id", "query_id"], observed=True)["style"].mean().abs().mean()
    assert mean < 0.2


def test_drift_rewards_follow_from_the_segment(out: Path) -> None:
    table = rows(out, "drift").to_pandas()
    users = pq.read_table(out / "users.parquet").to_pandas().set_index("user_id")
    weights = np.stack(users.loc[table["user_id"], "drift_performance_weights"].to_list())
    alpha = weights[np.arange(len(table)), table["segment"].to_numpy()]
    want = alpha * table["performance"].to_numpy() - (1 - alpha) * table["cost"].to_numpy()
    assert table["reward"].to_numpy() == pytest.approx(want, abs=1e-6)
    assert (table["segment"] == table["time"] * 5 // 60).all()
    assert table.groupby(["user_id", "query_id"], observed=True)["time"].nunique().max() == 1


def test_another_strategy_extends_the_folder(data: DataConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate(replace(data, strategies=("multi_cost_efficiency",)), out)
    first = rows(out, "multi_cost_efficiency")
    assert not (out / "ratings.parquet").exists()
    persona = pq.read_table(out / "users.parquet")["persona"]
    assert persona.null_count == USERS
    result = generate(replace(data, strategies=("llm_judge",)), out)
    assert set(result.manifest["strategies"]) == {"multi_cost_efficiency", "llm_judge"}
    assert rows(out, "multi_cost_efficiency").equals(first)
    assert pq.read_table(out / "users.parquet")["persona"].null_count == 0
    # More users: all strategies of the folder grow, whatever was named.
    more = generate(replace(data, strategies=("multi_cost_efficiency",), users=USERS + 5), out)
    for strategy in ("multi_cost_efficiency", "llm_judge"):
        table = more.manifest["tables"][f"interactions/{strategy}/test"]
        assert table["rows"] == (USERS + 5) * 12 * 3
    assert Benchmark.load(out).strategies == ["llm_judge", "multi_cost_efficiency"]


def test_users_stay_as_they_are_when_there_are_more(
    data: DataConfig, out: Path, tmp_path: Path
) -> None:
    generate(replace(data, users=USERS + 20), tmp_path / "more")
    for strategy in STRATEGIES:
        few, many = rows(out, strategy).to_pandas(), rows(tmp_path / "more", strategy).to_pandas()
        many = many[many["user_id"].isin(set(few["user_id"]))].reset_index(drop=True)
        assert few.astype(dict.fromkeys(("user_id", "query_id", "llm_id"), str)).equals(
            many.astype(dict.fromkeys(("user_id", "query_id", "llm_id"), str))
        )


def test_ratings_are_there_for_every_ok_response(out: Path) -> None:
    table = pq.read_table(out / "ratings.parquet").to_pandas()
    assert len(table) == 60 * 3 * len(NAMES)
    assert table["rating"].between(0, 1).all()
    assert set(table["judge"]) == {"embedded"}


def test_a_judge_llm_and_the_embedded_judge_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="needs one"):
        DataConfig(judge="direct")
    with pytest.raises(UsageError, match="embedded one takes none"):
        DataConfig(judge_llms=("x",))
