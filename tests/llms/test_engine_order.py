"""What is on disk when the next call goes out, and in which order replies are read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from engine_fakes import FakeWire, VirtualLoop, answer, failure, make_llm, make_request

from personaroute_bench.errors import BenchError
from personaroute_bench.llms import engine_run
from personaroute_bench.llms.engine import EngineOptions, RunSummary, read_replies, run_calls
from personaroute_bench.llms.ledger import Ledger, ledger_summary
from personaroute_bench.llms.types import ChatRequest, RawReply

LLM = make_llm(0)


def run(path: Path, wire: FakeWire, number: int, **options: float) -> RunSummary:
    with Ledger(path) as ledger:
        return run_calls(
            [make_request(LLM, index) for index in range(number)],
            ledger,
            wire_for=lambda llm: wire,
            dataset_id="data",
            options=EngineOptions(**options),  # type: ignore[arg-type]
            loop_factory=VirtualLoop,
        )


def test_a_call_goes_out_with_the_reply_before_it_on_disk_and_not_yet_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    seen: list[tuple[int, int, int]] = []

    def look(request: ChatRequest) -> None:
        with sqlite3.connect(path) as other:  # sees only what is committed
            sql = "SELECT count(*), count(r.attempt_id), count(a.kind) FROM attempts a "
            join = "LEFT JOIN replies r ON r.attempt_id = a.id"
            seen.append(other.execute(sql + join).fetchone())
        other.close()

    summary = run(path, FakeWire(on_send=look), 5, concurrency=1)
    # Attempts with the one just begun, replies to all before it, and those of them that were read.
    assert seen == [(1, 0, 0), (2, 1, 0), (3, 2, 1), (4, 3, 2), (5, 4, 3)]
    assert (summary.finished, summary.failed) == (5, 0)


def test_failures_of_one_burst_do_not_count_before_its_answers(tmp_path: Path) -> None:
    def script(request: ChatRequest, attempt: int) -> RawReply:
        broken = int(request.tag[1:]) % 12 == 0
        return failure(400) if broken else answer(request)

    summary = run(tmp_path / "l.sqlite", FakeWire(script), 256, concurrency=256)
    assert (summary.finished, summary.failed) == (256, 22)


def test_answers_that_come_with_the_stop_are_read(tmp_path: Path) -> None:
    def script(request: ChatRequest, attempt: int) -> RawReply:
        return failure(401) if request.tag == "q0" else answer(request)

    path = tmp_path / "l.sqlite"
    with pytest.raises(BenchError, match="refused access"):
        run(path, FakeWire(script), 40, concurrency=4)
    with Ledger(path, read_only=True) as ledger:
        told = ledger_summary(ledger)
        assert told.attempts == {"replied": told.settled + 1}
        assert told.settled == 6  # three with the 401, three that were sent in their places


def test_a_request_is_written_the_same_whether_planning_kept_it_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored(path: Path) -> list[tuple[str, str]]:
        run(path, FakeWire(), 6, concurrency=2)
        with Ledger(path, read_only=True) as ledger:
            replies = read_replies([make_request(LLM, index) for index in range(6)], ledger)
            assert [reply.status for _, reply in replies] == ["ok"] * 6
            return sorted(ledger.query("SELECT key, request_json FROM calls"))

    kept = stored(tmp_path / "kept.sqlite")
    monkeypatch.setattr(engine_run, "_HELD", 0)
    assert stored(tmp_path / "again.sqlite") == kept
