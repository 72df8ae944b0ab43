from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import LLMS, PER_TASK, response_rows, write_pool, write_responses

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig
from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.files import sha256_file
from personaroute_bench.generate import generate
from personaroute_bench.users.rewards import normalise_cost

STRATEGY = "multi_cost_efficiency"


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(
        users=30,
        responses=str(write_responses(tmp_path)),
        pool=str(write_pool(tmp_path)),
    )


def rows_of(out: Path, split: str) -> pa.Table:
    return pq.read_table(out / "interactions" / STRATEGY / split)


def test_layout_counts_and_manifest(data: DataConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = generate(data, out)
    assert result.changed
    queries = 3 * PER_TASK
    assert result.manifest["tables"] == {
        f"interactions/{STRATEGY}/test": {"rows": 30 * 12 * 3, "files": 1},
        f"interactions/{STRATEGY}/train": {"rows": 30 * 42 * 3, "files": 1},
        f"interactions/{STRATEGY}/validation": {"rows": 30 * 6 * 3, "files": 1},
        "llms": {"rows": 3, "files": 1},
        "queries": {"rows": queries, "files": 1},
        "responses": {"rows": queries * 3, "files": 1},
        "tasks": {"rows": 3, "files": 1},
        "users": {"rows": 30, "files": 1},
    }
    assert result.manifest["provenance"] == ["recorded"]
    assert result.manifest["spend"]["calls"] == 0
    for name, entry in result.manifest["files"].items():
        assert sha256_file(out / name) == entry["sha256"]
    assert json.loads((out / "manifest.json").read_text()) == result.manifest
    assert str(tmp_path) not in (out / "README.md").read_text()


def test_every_reward_follows_from_users_and_responses(data: DataConfig, tmp_path: Path) -> None:
    generate(data, tmp_path / "out")
    responses = pq.read_table(tmp_path / "out" / "responses.parquet").to_pandas()
    users = pq.read_table(tmp_path / "out" / "users.parquet").to_pandas().set_index("user_id")
    joined = pa.concat_tables(
        [rows_of(tmp_path / "out", split) for split in ("train", "validation", "test")],
        promote_options="permissive",
    ).to_pandas()
    joined = joined.merge(
        responses[["query_id", "llm_id", "performance", "cost", "cost_usd"]],
        on=["query_id", "llm_id"],
        suffixes=("", "_response"),
    )
    assert len(joined) == 30 * 60 * 3
    for name in ("performance", "cost", "cost_usd"):
        assert (joined[name] == joined[f"{name}_response"]).all()
    alpha = users.loc[joined["user_id"], "performance_weight"].to_numpy()
    beta = users.loc[joined["user_id"], "cost_weight"].to_numpy()
    want = alpha * joined["performance"].to_numpy() - beta * joined["cost"].to_numpy()
    assert joined["reward"].to_numpy() == pytest.approx(want, abs=1e-6)
    best = joined.groupby(["user_id", "query_id"], observed=True)["reward"].transform("max")
    assert (joined["chosen"] == (joined["reward"] == best)).all()


def test_normalised_cost_is_that_of_the_preset(data: DataConfig, tmp_path: Path) -> None:
    for preset, method in (("paper", "minmax"), ("default", "log-minmax")):
        out = tmp_path / preset
        generate(replace(data, preset=preset), out)
        loaded = Benchmark.load(out)
        want = normalise_cost(
            loaded.cost_usd,
            ~np.isnan(loaded.performance),
            loaded.task_of_query,
            method,  # type: ignore[arg-type]
        )
        assert loaded.cost == pytest.approx(want)
    assert Benchmark.load(tmp_path / "paper").users["performance_weight"].to_pylist()[:3] == (
        pytest.approx([0.2, 0.3, 0.4])
    )


def test_ids_and_text_stand_verbatim(data: DataConfig, tmp_path: Path) -> None:
    generate(data, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "responses.parquet").to_pylist()
    want = {(row["query_id"], row["llm"]): row["response"] for row in response_rows()}
    assert {(row["query_id"], row["llm_id"]): row["response"] for row in table} == want
    assert {row["usage_source"] for row in table} == {"tokenizer"}
    assert {row["provenance"] for row in table} == {"recorded"}


def test_it_loads_offline_through_datasets(data: DataConfig, tmp_path: Path) -> None:
    import datasets

    generate(data, tmp_path / "out")
    loaded = datasets.load_dataset(
        str(tmp_path / "out"), STRATEGY, cache_dir=str(tmp_path / "cache")
    )
    assert {name: split.num_rows for name, split in loaded.items()} == {
        "train": 3780,
        "validation": 540,
        "test": 1080,
    }
    assert loaded["test"][0]["reward"] == rows_of(tmp_path / "out", "test")["reward"][0].as_py()
    queries = datasets.load_dataset(
        str(tmp_path / "out"), "queries", split="table", cache_dir=str(tmp_path / "cache")
    )
    assert queries.num_rows == 60


def test_same_seed_same_rows_and_another_seed_other_rows(data: DataConfig, tmp_path: Path) -> None:
    generate(data, tmp_path / "a")
    generate(data, tmp_path / "b")
    generate(replace(data, seed=1), tmp_path / "c")
    for split in ("train", "validation", "test"):
        assert rows_of(tmp_path / "a", split).equals(rows_of(tmp_path / "b", split))
    assert not rows_of(tmp_path / "a", "test").equals(rows_of(tmp_path / "c", "test"))


def test_more_users_extend_the_folder_and_keep_the_first(data: DataConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate(data, out)
    before = rows_of(out, "train")
    modified = (out / "responses.parquet").stat().st_mtime_ns
    result = generate(replace(data, users=60), out)
    assert result.changed and result.manifest["configuration"]["users"] == 60
    after = rows_of(out, "train")
    assert after.num_rows == 2 * before.num_rows
    for name in before.schema.names:
        assert after.slice(0, before.num_rows)[name].to_pylist() == before[name].to_pylist()
    assert (out / "responses.parquet").stat().st_mtime_ns == modified


def test_the_same_command_again_changes_nothing(data: DataConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate(data, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    result = generate(data, out)
    assert not result.changed
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 5}, "seed: 0 → 5"),
        ({"preset": "paper"}, 'preset: "default" → "paper"'),
        ({"llms": LLMS[:2]}, "pool.llms"),
        ({"queries_per_task": 10}, "queries_per_task: null → 10"),
        ({"task_ids": ("sums", "letters")}, "task_ids"),
        ({"limit": 30}, "limit: null → 30"),
    ],
)
def test_another_data_set_in_the_same_folder_is_refused(
    data: DataConfig, tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    out = tmp_path / "out"
    generate(data, out)
    before = sha256_file(out / "manifest.json")
    with pytest.raises(ConfigMismatch) as error:
        generate(replace(data, **change), out)
    assert key in str(error.value)
    assert sha256_file(out / "manifest.json") == before


def test_fewer_users_would_lose_rows(data: DataConfig, tmp_path: Path) -> None:
    generate(data, tmp_path / "out")
    with pytest.raises(UsageError, match="holds 30 users already, got --users 29"):
        generate(replace(data, users=29), tmp_path / "out")


def test_a_killed_run_is_continued(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import personaroute_bench.generate as module

    undisturbed = generate(data, tmp_path / "whole")
    stages = ("write_users", "write_strategy", "finish")
    for number, stage in enumerate(stages):
        out = tmp_path / f"killed-{number}"
        with monkeypatch.context() as patch:
            patch.setattr(module, stage, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                generate(data, out)
        with pytest.raises(UsageError, match="is not complete"):
            Benchmark.load(out)
        assert generate(data, out).manifest["tables"] == undisturbed.manifest["tables"]
        assert rows_of(out, "test").equals(rows_of(tmp_path / "whole", "test"))


def test_limit_keeps_all_tasks(data: DataConfig, tmp_path: Path) -> None:
    result = generate(replace(data, limit=12), tmp_path / "out")
    assert result.manifest["tables"]["queries"]["rows"] == 12
    tasks = pq.read_table(tmp_path / "out" / "queries.parquet")["task_id"].to_pylist()
    assert {task: tasks.count(task) for task in set(tasks)} == {
        "sums": 4,
        "capitals": 4,
        "letters": 4,
    }


def test_blocks_of_users_give_the_same_interactions(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(data, tmp_path / "out")
    loaded = Benchmark.load(tmp_path / "out")
    whole = loaded.interactions(STRATEGY, "test")
    monkeypatch.setattr("personaroute_bench.benchmark.BLOCK_ROWS", 100)
    blocks = list(loaded.blocks(STRATEGY, "test"))
    assert len(blocks) > 5
    assert np.array_equal(np.concatenate([b.reward for b in blocks]), whole.reward)
    assert np.array_equal(np.concatenate([b.users for b in blocks]), np.arange(30))
    first = rows_of(tmp_path / "out", "test").to_pylist()[0]
    assert loaded.query_ids[whole.queries[0]] == first["query_id"]
    assert whole.reward[0, 0, 0] == np.float32(first["reward"])
