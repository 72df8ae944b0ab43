"""A data set that was damaged, changed or half extended: a clear message and a way on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench_command import Bench
from loopback import Loopback
from small_data import response_rows, write_pool, write_responses

from personaroute_bench import interactions
from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import BenchError, TooManyFailures, UsageError
from personaroute_bench.generate import generate
from personaroute_bench.llms.ledger import Ledger

FAST = RunConfig(concurrency=16, backoff_s=0.01, timeout_s=5)


@pytest.fixture
def made(tmp_path: Path) -> tuple[DataConfig, Path]:
    data = DataConfig(
        users=8, responses=str(write_responses(tmp_path)), pool=str(write_pool(tmp_path))
    )
    generate(data, tmp_path / "out")
    return data, tmp_path / "out"


def break_with_junk(path: Path) -> None:
    path.write_bytes(b"junk")


def break_by_deleting(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("damage", [break_with_junk, break_by_deleting])
@pytest.mark.parametrize(
    "name",
    ["tasks.parquet", "queries.parquet", "llms.parquet", "responses.parquet", "users.parquet",
     "README.md", "manifest.json", "interactions/multi_cost_efficiency/test/00000.parquet"],
)  # fmt: skip
def test_the_same_command_repairs(
    made: tuple[DataConfig, Path], name: str, damage: Callable[[Path], None]
) -> None:
    data, out = made
    whole = {p.relative_to(out): p.read_bytes() for p in out.rglob("*.parquet")}
    damage(out / name)
    result = generate(data, out)
    assert result.changed
    assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*.parquet")} == whole
    assert "multi_cost_efficiency" in (out / "README.md").read_text()
    assert not generate(data, out).changed


def test_a_missing_split_is_made_again(made: tuple[DataConfig, Path]) -> None:
    data, out = made
    break_by_deleting(out / "interactions" / "multi_cost_efficiency" / "test")
    assert generate(data, out).changed
    assert Benchmark.load(out).interactions("multi_cost_efficiency", "test").reward.shape[0] == 8


def test_changed_rewards_are_noticed(made: tuple[DataConfig, Path]) -> None:
    _, out = made
    path = out / "interactions" / "multi_cost_efficiency" / "test" / "00000.parquet"
    table = pq.read_table(path)
    rewards = pa.array([9.0] * table.num_rows, pa.float32())
    pq.write_table(
        table.set_column(table.schema.get_field_index("reward"), "reward", rewards), path
    )
    with pytest.raises(BenchError, match="changed or damaged"):
        Benchmark.load(out).interactions("multi_cost_efficiency", "test")
    break_with_junk(out / "users.parquet")
    with pytest.raises(BenchError, match=r"users\.parquet is not the file"):
        Benchmark.load(out)


@pytest.mark.parametrize("text", ["{}", "[]", "null"])
def test_a_damaged_manifest_is_one_message(
    bench: Bench, made: tuple[DataConfig, Path], text: str
) -> None:
    _, out = made
    (out / "manifest.json").write_text(text)
    for command in ("show", "evaluate"):
        refused = bench(command, out)
        assert refused.code == 2 and "manifest.json is damaged" in refused.err


def test_a_failed_extension_can_be_taken_back(
    made: tuple[DataConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = made
    before = pq.read_table(out / "interactions" / "multi_cost_efficiency" / "train")

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(interactions.pq.ParquetWriter, "write_table", full)
        with pytest.raises(BenchError, match="No space left"):
            generate(replace(data, users=5000), out)
    with pytest.raises(UsageError, match="is not complete"):
        Benchmark.load(out)
    generate(data, out)
    assert pq.read_table(out / "interactions" / "multi_cost_efficiency" / "train").equals(before)


def live(tmp_path: Path, url: str) -> DataConfig:
    rows = {row["query_id"]: row for row in response_rows()}
    names = ("task_id", "query_id", "query", "ground_truth", "metric")
    lines = [json.dumps({name: row[name] for name in names}) for row in rows.values()]
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines))
    return DataConfig(
        users=5, pool=str(write_pool(tmp_path, url)), tasks=str(tmp_path / "tasks.jsonl")
    )


def test_a_cause_that_was_mended_is_asked_again(tmp_path: Path, bench: Bench) -> None:
    replies = {(row["llm"], row["query"]): row["response"] for row in response_rows()}
    with Loopback(replies=replies) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        server.fault_for = lambda body: "404" if body["model"] == "acme/large" else None
        with pytest.raises(TooManyFailures):
            generate(data, out, run=FAST)
        server.fault_for = None
        # The errors that stand are still too many; the message says how to ask them again.
        with pytest.raises(TooManyFailures, match=r"bench ledger .* --retry not_found"):
            generate(data, out, run=FAST)
        assert bench("ledger", out, "--retry", "not_found").code == 0
        result = generate(data, out, run=FAST)
        assert result.manifest["coverage"]["statuses"] == {"ok": 180}


def test_errors_that_are_let_pass_can_be_asked_again_later(tmp_path: Path, bench: Bench) -> None:
    replies = {(row["llm"], row["query"]): row["response"] for row in response_rows()}
    with Loopback(replies=replies, faults=["404"] * 3) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        run = replace(FAST, max_error_rate=0.5)
        first = generate(data, out, run=run)
        assert first.manifest["coverage"]["statuses"] == {"ok": 177, "error": 3}
        assert not generate(data, out, run=run).changed
        assert "3 calls will be asked again" in bench("ledger", out, "--retry", "not_found").out
        second = generate(data, out, run=run)
        assert second.changed and second.manifest["coverage"]["statuses"] == {"ok": 180}


def test_the_ledger_named_first_stays(tmp_path: Path) -> None:
    replies = {(row["llm"], row["query"]): row["response"] for row in response_rows()}
    with Loopback(replies=replies) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        shared = tmp_path / "shared.sqlite"
        generate(data, out, run=replace(FAST, ledger=shared))
        asked = len(server.seen)
        generate(data, out, run=FAST)
        assert len(server.seen) == asked and not (out / "ledger.sqlite").exists()
        with pytest.raises(UsageError, match="would pay for them again"):
            (out / "responses.parquet").unlink()
            generate(data, out, run=replace(FAST, ledger=tmp_path / "other.sqlite"))


def test_simulated_answers_of_another_seed_are_not_taken_from_a_shared_ledger(
    tmp_path: Path,
) -> None:
    run = RunConfig(ledger=tmp_path / "shared.sqlite")
    data = DataConfig(users=2, limit=12)
    generate(data, tmp_path / "a", run=run)
    generate(replace(data, seed=1), tmp_path / "b", run=run)
    generate(replace(data, seed=1), tmp_path / "alone")
    one, two = (pq.read_table(tmp_path / name / "responses.parquet") for name in ("b", "alone"))
    assert one.equals(two)
    with Ledger(run.ledger or "", read_only=True) as ledger:
        assert ledger.spend().billed == 240


def test_every_table_says_where_its_responses_come_from(tmp_path: Path) -> None:
    generate(DataConfig(users=2, limit=12, strategies=("llm_judge", "mixed")), tmp_path / "out")
    files = list((tmp_path / "out").rglob("*.parquet"))
    assert len(files) == 6 + 6
    for file in files:
        assert pq.read_schema(file).metadata[b"personaroute_provenance"] == b"simulated", file
