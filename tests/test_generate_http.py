"""The whole path over real HTTP, against a loopback server that replays recorded responses."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from kills import kill_repeatedly
from loopback import Loopback
from small_data import query_rows, response_rows, write_pool, write_responses

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import BenchError, Incomplete, TooManyFailures
from personaroute_bench.generate import generate
from personaroute_bench.llms.ledger import Ledger

STRATEGY = "multi_cost_efficiency"
FAST = RunConfig(concurrency=16, backoff_s=0.01, timeout_s=5)
SAME = ("query_id", "llm_id", "response", "status", "performance", "prompt_tokens",
        "completion_tokens", "cost_usd", "cost")  # fmt: skip


def need_litellm() -> None:
    # Not importorskip: the wire imports litellm itself, and first keeps it off the network.
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("the extra [litellm] is not installed")


def replay(rows: list[dict[str, Any]]) -> dict[tuple[str, str], str | dict[str, Any]]:
    return {(row["llm"], row.get("prompt") or row["query"]): row["response"] for row in rows}


def write_tasks(folder: Path, rows: list[dict[str, Any]]) -> Path:
    names = ("task_id", "query_id", "query", "prompt", "ground_truth", "metric")
    queries = {row["query_id"]: {n: row[n] for n in names if n in row} for row in rows}
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(json.dumps(query) for query in queries.values()))
    return path


def table_of(out: Path, name: str = "responses") -> pa.Table:
    return pq.read_table(out / f"{name}.parquet")


def compare(recorded: Path, live: Path) -> None:
    """Same responses, statuses, performance, cost, rewards; only where they come from differs."""
    one, two = table_of(recorded), table_of(live)
    for name in SAME:
        assert one[name].to_pylist() == two[name].to_pylist(), name
    assert set(two["provenance"].to_pylist()) == {"live"}
    assert set(two["usage_source"].to_pylist()) == {"provider"}
    for split in ("train", "validation", "test"):
        rewards = [
            pq.read_table(out / "interactions" / STRATEGY / split) for out in (recorded, live)
        ]
        assert rewards[0].equals(rewards[1])


@pytest.mark.parametrize("client", ["aiohttp", "openai", "litellm"])
def test_over_http_equals_from_file(tmp_path: Path, client: Any) -> None:
    if client == "litellm":
        need_litellm()
    rows = response_rows()
    with Loopback(replies=replay(rows)) as server:
        pool = str(write_pool(tmp_path, server.url))
        data = DataConfig(users=5, pool=pool, responses=str(write_responses(tmp_path)))
        generate(data, tmp_path / "file")
        asked = DataConfig(users=5, pool=pool, tasks=str(write_tasks(tmp_path, rows)))
        result = generate(asked, tmp_path / "http", run=replace(FAST, client=client))
        assert len(server.seen) == 180
        compare(tmp_path / "file", tmp_path / "http")
        assert result.manifest["spend"]["calls"] == 180
        total = sum(table_of(tmp_path / "http")["cost_usd"].to_pylist())
        assert result.manifest["spend"]["usd"] == pytest.approx(total, rel=1e-9)
        # Again: everything is settled, so nothing is asked.
        assert not generate(asked, tmp_path / "http", run=FAST).changed
        # Another folder with the same ledger: nothing is asked there either.
        generate(
            replace(asked, users=7), tmp_path / "other",
            run=replace(FAST, ledger=tmp_path / "http" / "ledger.sqlite"),
        )  # fmt: skip
        assert len(server.seen) == 180


@pytest.mark.parametrize("client", ["aiohttp", "openai", "litellm"])
def test_recorded_core_pool_over_http(recorded: Path, tmp_path: Path, client: Any) -> None:
    """Ten real LLMs' recorded responses to 240 queries: Must show 3 of the first issue."""
    if client == "litellm":
        need_litellm()
    source = recorded / "responses.parquet"
    pool = yaml.safe_load((recorded / "core-pool.yaml").read_text())
    data = DataConfig(
        users=50, responses=str(source), pool=str(recorded / "core-pool.yaml"), queries_per_task=80
    )
    generate(data, tmp_path / "file")
    ids = set(table_of(tmp_path / "file", "queries")["query_id"].to_pylist())
    llms = {llm["id"] for llm in pool["llms"]}
    rows = [
        row
        for row in pq.read_table(source, filters=[("query_id", "in", ids)]).to_pylist()
        if row["llm"] in llms
    ]
    assert len(rows) == 2400
    with Loopback(replies=replay(rows), keep=False) as server:
        for llm in pool["llms"]:
            llm["base_url"] = server.url
        (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
        asked = DataConfig(
            users=50, pool=str(tmp_path / "pool.yaml"), tasks=str(write_tasks(tmp_path, rows))
        )
        generate(asked, tmp_path / "http", run=replace(FAST, client=client, timeout_s=60))
    compare(tmp_path / "file", tmp_path / "http")


FAULTS = {  # fault → status, error type, retried
    "429": ("ok", None, True),
    "429:0": ("ok", None, True),
    "500": ("ok", None, True),
    "503": ("ok", None, True),
    "cut": ("ok", None, True),
    "cut_body": ("ok", None, True),
    "garbage": ("ok", None, True),
    "empty": ("empty", None, False),
    "content_filter": ("refused", None, False),
    "refusal": ("refused", None, False),
    "length": ("truncated", None, False),
    "wrong_model": ("error", "model_mismatch", False),
    "missing_usage": ("error", "missing_usage", False),
    "400": ("error", "bad_request", False),
}


def test_each_fault_ends_in_its_status_and_none_in_a_score(tmp_path: Path) -> None:
    queries = query_rows()
    broken = {query["query"]: fault for query, fault in zip(queries, FAULTS, strict=False)}
    hit: Counter[str] = Counter()

    def fault_for(body: dict[str, Any]) -> str | None:
        fault = broken.get(body["messages"][-1]["content"])
        if fault is None or body["model"] != "acme/small":
            return None
        hit[fault] += 1
        return fault if not FAULTS[fault][2] or hit[fault] == 1 else None

    with Loopback(replies=replay(response_rows())) as server:
        server.fault_for = fault_for
        data = DataConfig(
            users=5, pool=str(write_pool(tmp_path, server.url)),
            tasks=str(write_tasks(tmp_path, queries)),
        )  # fmt: skip
        result = generate(data, tmp_path / "out", run=replace(FAST, max_error_rate=0.5))
    table = {
        (row["query_id"], row["llm_id"]): row for row in table_of(tmp_path / "out").to_pylist()
    }
    for query in queries:
        row = table[query["query_id"], "acme/small"]
        fault = broken.get(query["query"])
        status, kind, retried = FAULTS[fault] if fault else ("ok", None, False)
        assert (row["status"], row["error_type"]) == (status, kind), fault
        assert (row["performance"] is None) == (status != "ok"), fault
        assert (row["cost"] is None) == (status != "ok"), fault
        if fault:
            assert hit[fault] == (2 if retried else 1), fault
    bad = sum(status != "ok" for status, _, _ in FAULTS.values())
    assert result.manifest["coverage"]["statuses"]["ok"] == 180 - bad
    assert result.manifest["coverage"]["by_llm"]["acme/small"]["scored"] == 60 - bad
    loaded = Benchmark.load(tmp_path / "out")
    for split in ("train", "validation", "test"):
        block = loaded.interactions(STRATEGY, split)
        failed = loaded.status[block.queries] != "ok"
        assert (block.reward[:, failed] != block.reward[:, failed]).all()  # NaN
        assert not block.chosen[:, failed].any()


def test_a_hang_is_a_time_out_and_unknown_spend(tmp_path: Path) -> None:
    with Loopback(replies=replay(response_rows()), faults=["hang"]) as server:
        data = DataConfig(
            users=5, pool=str(write_pool(tmp_path, server.url)),
            tasks=str(write_tasks(tmp_path, query_rows())),
        )  # fmt: skip
        result = generate(data, tmp_path / "out", run=replace(FAST, timeout_s=0.5))
    assert result.manifest["coverage"]["statuses"] == {"ok": 180}
    assert result.manifest["spend"]["unknown_calls"] == 1
    assert result.manifest["spend"]["unknown_usd_at_most"] > 0


def test_a_refused_key_stops_at_once_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-very-secret-0123456789")
    with Loopback(replies=replay(response_rows())) as server:
        server.fault_for = lambda body: "401"
        data = DataConfig(
            users=5, pool=str(write_pool(tmp_path, server.url, api_key_env="ACME_KEY")),
            tasks=str(write_tasks(tmp_path, query_rows())),
        )  # fmt: skip
        with pytest.raises(BenchError) as error:
            generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) <= FAST.concurrency
    assert "refused access" in str(error.value)
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert b"sk-very-secret" not in path.read_bytes()
    assert "sk-very-secret" not in str(error.value)


def test_an_endpoint_that_always_fails_stops_the_run(tmp_path: Path) -> None:
    with Loopback(replies=replay(response_rows())) as server:
        server.fault_for = lambda body: "400" if body["model"] == "acme/large" else None
        data = DataConfig(
            users=5, pool=str(write_pool(tmp_path, server.url)),
            tasks=str(write_tasks(tmp_path, query_rows())),
        )  # fmt: skip
        with pytest.raises(TooManyFailures, match=r"acme/large.*bad_request"):
            generate(data, tmp_path / "out", run=FAST)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_cap_stops_cleanly_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    rows = response_rows()
    with Loopback(replies=replay(rows)) as server:
        data = DataConfig(
            users=5, pool=str(write_pool(tmp_path, server.url)),
            tasks=str(write_tasks(tmp_path, rows)), max_tokens=200,
        )  # fmt: skip
        whole = generate(data, tmp_path / "whole", run=FAST).manifest["spend"]["usd"]
        asked = len(server.seen)
        cap = 0.5 * whole
        with pytest.raises(Incomplete, match="--max-cost"):
            generate(data, tmp_path / "out", run=replace(FAST, max_cost=cap))
        assert not (tmp_path / "out" / "manifest.json").exists()
        statuses = Counter(table_of(tmp_path / "out")["status"].to_pylist())
        assert statuses["skipped_budget"] > 0 and statuses["ok"] > 0
        with Ledger(tmp_path / "out" / "ledger.sqlite", read_only=True) as ledger:
            assert ledger.spend().known_usd <= cap
        first = len(server.seen) - asked
        result = generate(data, tmp_path / "out", run=replace(FAST, max_cost=10.0))
        assert len(server.seen) - asked == 180 and first < 180
    assert result.manifest["spend"]["usd"] == pytest.approx(whole)
    assert table_of(tmp_path / "out").select(SAME).equals(table_of(tmp_path / "whole").select(SAME))


def test_killed_at_twenty_random_moments(tmp_path: Path) -> None:
    """Must show 4: no settled call twice, in-flight ones few and listed, tables as undisturbed."""
    rows = response_rows()
    out = tmp_path / "out"
    with Loopback(replies=replay(rows), delay_s=0.02) as server:
        data = DataConfig(
            users=5, pool=str(write_pool(tmp_path, server.url)),
            tasks=str(write_tasks(tmp_path, rows)),
        )  # fmt: skip
        undisturbed = generate(data, tmp_path / "whole", run=FAST)
        server.seen.clear()
        arguments = ["generate", "--users", "5", "--pool", str(data.pool), "--tasks", data.tasks,
                     "--out", str(out)]  # fmt: skip
        unknown = kill_repeatedly(
            server, arguments, out / "ledger.sqlite", kills=20, concurrency=8, seed=20251116
        )
        result = generate(data, out, run=FAST)
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
    assert set(asked) == {(row["llm"], row["query"]) for row in rows}
    # A call in flight at a kill may be asked again; a settled one never is.
    assert sum(asked.values()) - len(asked) <= unknown
    spend = result.manifest["spend"]
    assert spend["unknown_calls"] == unknown > 0
    assert spend["calls"] == 180
    for name in ("tasks", "queries", "llms", "users"):
        assert table_of(out, name).equals(table_of(tmp_path / "whole", name))
    assert (
        table_of(out).drop(["latency_s"]).equals(table_of(tmp_path / "whole").drop(["latency_s"]))
    )
    for split in ("train", "validation", "test"):
        assert pq.read_table(out / "interactions" / STRATEGY / split).equals(
            pq.read_table(tmp_path / "whole" / "interactions" / STRATEGY / split)
        )
    assert undisturbed.manifest["spend"]["unknown_calls"] == 0
    assert (out / "manifest.json").exists()
