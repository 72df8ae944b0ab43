"""Calls in shards: one account, one cap, nothing paid twice, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import Loopback
from side_by_side import SeveralHere, assert_same_rows
from small_data import query_rows, response_rows, write_pool
from test_generate_http import FAST, replay, table_of, write_tasks

import personaroute_bench.generate as generation
from personaroute_bench.config import DataConfig
from personaroute_bench.engines import calls
from personaroute_bench.engines.array import settle_shard
from personaroute_bench.engines.merge import merge_shards
from personaroute_bench.engines.shard_note import Shard
from personaroute_bench.errors import Incomplete, Interrupted, TooManyFailures, UsageError
from personaroute_bench.generate import generate
from personaroute_bench.hashing import digest, shard_of
from personaroute_bench.llms.ledger import Ledger

ROWS = response_rows()


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> SeveralHere:
    """The engine that `generate` gets, whatever it asks for."""
    from contextlib import contextmanager

    engine = SeveralHere(3)

    @contextmanager
    def opened(run: Any, report: Any) -> Any:
        yield engine

    monkeypatch.setattr(generation, "open_engine", opened)
    return engine


def config(folder: Path, url: str, **changes: Any) -> DataConfig:
    fields: dict[str, Any] = {"max_tokens": 200, **changes}
    return DataConfig(
        users=5, pool=str(write_pool(folder, url)), tasks=str(write_tasks(folder, ROWS)), **fields
    )


def asked(server: Loopback) -> Counter[tuple[str, str]]:
    return Counter((seen.model, seen.prompt) for seen in server.seen)


def test_same_rows_one_account_and_no_trace(tmp_path: Path, several: SeveralHere) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        result = generate(data, tmp_path / "many", run=FAST)
        assert several.maps == [3]
        assert set(asked(server).values()) == {1} and len(server.seen) == 180
        again = generate(data, tmp_path / "many", run=FAST)
        assert not again.changed and len(server.seen) == 180 and several.maps == [3]
        several.parallel = False
        alone = generate(data, tmp_path / "alone", run=FAST)
        several.parallel, several.workers = True, 1
        generate(data, tmp_path / "one", run=FAST)
        assert several.maps == [3, 1]
    assert_same_rows(tmp_path / "alone", tmp_path / "many")
    assert result.manifest["spend"] == pytest.approx(alone.manifest["spend"])
    assert not (tmp_path / "many" / calls.SHARDS).exists()


def test_a_larger_data_set_asks_for_what_is_new(tmp_path: Path, several: SeveralHere) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        ledger = tmp_path / "shared.sqlite"
        generate(replace(data, limit=20), tmp_path / "few", run=replace(FAST, ledger=ledger))
        generate(data, tmp_path / "all", run=replace(FAST, ledger=ledger))
        assert set(asked(server).values()) == {1} and len(server.seen) == 180


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_the_cap_holds_over_all_shards(tmp_path: Path, several: SeveralHere, share: float) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        several.parallel = False
        whole = generate(data, tmp_path / "whole", run=FAST).manifest["spend"]["usd"]
        server.seen.clear()
        several.parallel = True
        cap = share * whole
        with pytest.raises(Incomplete, match=r"--max-cost .* is reached.*run the same command"):
            generate(data, tmp_path / "out", run=replace(FAST, max_cost=cap))
        with Ledger(tmp_path / "out" / "ledger.sqlite", read_only=True) as ledger:
            spend = ledger.spend()
        assert spend.known_usd + spend.unknown_usd <= cap
        # What one shard could not spend another one did: less is left than the dearest call needs.
        assert spend.known_usd > cap - 0.0048
        generate(data, tmp_path / "out", run=replace(FAST, max_cost=10.0))
        assert set(asked(server).values()) == {1} and len(server.seen) == 180
    assert_same_rows(tmp_path / "whole", tmp_path / "out")


@pytest.mark.parametrize("after", ["local", "array"])
def test_what_a_killed_run_left_is_taken_up(
    tmp_path: Path, several: SeveralHere, after: str
) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)

        def dies(number: int) -> None:
            if number == 2:
                # The run dies here: nothing is merged, nothing is cleared away.
                monkeypatch.setattr(calls, "take_in", lambda book: None)
                raise MemoryError

        with pytest.MonkeyPatch.context() as monkeypatch:
            several.before = dies
            with pytest.raises(MemoryError):
                generate(data, tmp_path / "out", run=FAST)
        left = sorted((tmp_path / "out" / calls.SHARDS).glob("*/ledger.sqlite"))
        settled = len(server.seen)
        assert len(left) == 2 and 60 < settled < 180
        with Ledger(left[0]) as ledger:  # as if one call had been in flight
            ledger.execute(
                "INSERT INTO attempts (key, run_id, dataset_id, started_at, state, reserved_usd) "
                "VALUES ('0', 1, 'x', 1.0, 'in_flight', 0.5)"
            )
        several.parallel, several.before = False, lambda number: None
        if after == "array":
            settle_shard(data, tmp_path / "out", Shard(1, 1), run=FAST)
            merge_shards([tmp_path / "out"])
        result = generate(data, tmp_path / "out", run=FAST)  # any engine takes it up
        assert set(asked(server).values()) == {1} and len(server.seen) == 180
    assert result.manifest["spend"]["calls"] == 180
    assert result.manifest["spend"]["unknown_calls"] == 1
    assert result.manifest["spend"]["unknown_usd_at_most"] == 0.5
    assert not (tmp_path / "out" / calls.SHARDS).exists()


def test_a_shard_that_is_still_worked_on_is_left_alone(
    tmp_path: Path, several: SeveralHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ENDING_S", 0.0)
    shard = tmp_path / "out" / calls.SHARDS / "0001-of-0002"
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        generate(replace(data, users=4), tmp_path / "out", run=FAST)
        (tmp_path / "out" / "responses.parquet").unlink()
        with Ledger(shard / "ledger.sqlite"), pytest.raises(UsageError, match="still asks shard"):
            generate(data, tmp_path / "out", run=FAST)
        assert (shard.parent / "stop").exists()
        generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == 180 and not shard.exists()


def test_ctrl_c_keeps_what_was_answered(tmp_path: Path, several: SeveralHere) -> None:
    def interrupt(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    several.before = interrupt
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        with pytest.raises(Interrupted, match=r"interrupted with 1\d\d calls still to do"):
            generate(data, tmp_path / "out", run=FAST)
        several.before = lambda number: None
        generate(data, tmp_path / "out", run=FAST)
        assert set(asked(server).values()) == {1} and len(server.seen) == 180


def test_errors_of_shards_are_those_of_a_run(tmp_path: Path, several: SeveralHere) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        server.fault_for = lambda body: "400" if body["model"] == "acme/large" else None
        with pytest.raises(TooManyFailures, match=r"acme/large.*bad_request"):
            generate(data, tmp_path / "out", run=FAST)
        # The shards that had not begun were told to let it be.
        assert len(server.seen) <= 180 / 3 + 3 * FAST.concurrency
        server.fault_for = lambda body: "quota" if body["model"] == "acme/large" else None
        with pytest.raises(Incomplete, match=r"quota of LLM 'acme/large' is used up"):
            generate(data, tmp_path / "quota", run=FAST)
        server.fault_for = None
        generate(data, tmp_path / "quota", run=FAST)
    assert table_of(tmp_path / "quota")["status"].to_pylist() == ["ok"] * 180


@given(
    keys=st.lists(st.integers().map(str).map(digest), unique=True, max_size=200),
    parts=st.integers(1, 20),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_call_has_one_shard_for_ever(keys: list[str], parts: int) -> None:
    places = [shard_of(key, parts) for key in keys]
    assert all(0 <= place < parts for place in places)
    assert places == [shard_of(key, parts) for key in reversed(keys)][::-1]


def test_shards_are_about_equal() -> None:
    counts = Counter(shard_of(digest(str(number)), 16) for number in range(16_000))
    assert len(counts) == 16 and max(counts.values()) < 1_150  # 1,000 ± 31


def test_queries_of_the_small_data_are_what_this_file_counts_on() -> None:
    assert len(query_rows()) * 3 == len(ROWS) == 180
