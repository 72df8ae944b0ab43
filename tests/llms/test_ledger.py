"""The ledger keeps what was asked, answered and paid, whatever happens to the process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import answer, body, failure, make_llm, make_request

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.llms.ledger import (
    Ledger,
    export_ledger,
    ledger_summary,
)
from personaroute_bench.llms.ledger_writer import GroupCommit
from personaroute_bench.llms.types import ChatRequest, RawReply


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[GroupCommit]:
    loop = asyncio.new_event_loop()
    yield GroupCommit(ledger, ledger.start_run("data"), "data", loop)
    loop.close()


def settle(
    writer: GroupCommit, request: ChatRequest, cost: float | None = 0.5, **changes: Any
) -> int:
    number = writer.begin(request, request.key(), 1.0, new=True)
    writer.answered(number, answer(request))
    facts: dict[str, Any] = {"state": "replied", "kind": "ok", "error_kind": None}
    facts |= {"error_message": None, "cost_usd": cost, "settles": request.key()}
    writer.judged(number, **(facts | changes))
    writer.flush()
    return number


BASE = ChatRequest(make_llm(), (("system", "be brief"), ("user", "hello")), 10)


def with_llm(**changes: Any) -> ChatRequest:
    return replace(BASE, llm=replace(BASE.llm, **changes))


@pytest.mark.parametrize(
    "changed",
    [
        with_llm(provider="together_ai"),
        with_llm(base_url="http://127.0.0.1:10/v1"),
        with_llm(model="model-1"),
        with_llm(max_tokens=11),
        with_llm(parameters={"seed": 1}),
        replace(BASE, messages=(("user", "hello"), ("system", "be brief"))),
        replace(BASE, messages=(("system", "be brief"), ("user", "hello "))),
        replace(BASE, messages=(("system", "be brief"), ("assistant", "hello"))),
        replace(BASE, max_tokens=11),
        replace(BASE, temperature=None),
        replace(BASE, temperature=0.1),
        replace(BASE, response_format={"type": "json_object"}),
        replace(BASE, sample=1),
    ],
)
def test_what_changes_an_answer_changes_the_key(changed: ChatRequest) -> None:
    assert changed.key() != BASE.key()


@pytest.mark.parametrize(
    "changed",
    [
        with_llm(id="other", name="Other", description="x", family="y", parameters_billion=7.0),
        with_llm(input_price=9.0, output_price=9.0, cached_input_price=9.0),
        with_llm(price_source="z", price_date="2026-01-01", resolves_to=("*",)),
        with_llm(api_key_env="SOME_KEY"),
        with_llm(requests_per_minute=1.0, tokens_per_minute=1.0),
        replace(BASE, tag="q7"),
    ],
)
def test_what_does_not_change_an_answer_keeps_the_key(changed: ChatRequest) -> None:
    assert changed.key() == BASE.key()


def test_the_stored_request_is_what_its_key_says() -> None:
    for request in (BASE, replace(BASE, sample=3), with_llm(parameters={"reasoning": "größer"})):
        assert hashlib.sha256(request.canonical().encode()).hexdigest() == request.key()


def test_a_settled_call_comes_back_verbatim(ledger: Ledger, writer: GroupCommit) -> None:
    request = make_request(make_llm(), 1)
    settle(writer, request)
    assert ledger.settled([request.key(), "0" * 64]) == {request.key()}
    outcome = ledger.outcomes([request.key()])[request.key()]
    assert (outcome.settled, outcome.raw, outcome.cost_usd) == (True, answer(request), 0.5)
    assert ledger.outcomes(["0" * 64]) == {}


def test_bytes_of_every_kind_are_kept(ledger: Ledger, writer: GroupCommit) -> None:
    request = replace(make_request(make_llm()), tag="lone \ud800 surrogate")
    raw = RawReply(200, bytes(range(256)), 0.1, "later \udcff")
    number = writer.begin(request, request.key(), None, new=True)
    writer.answered(number, raw)
    writer.flush()
    outcome = ledger.outcomes([request.key()])[request.key()]
    assert outcome.raw is not None
    assert outcome.raw.body == raw.body
    assert outcome.raw.retry_after == "later ?"
    (entry,) = ledger.query("SELECT tag FROM calls")
    assert entry == ("lone ? surrogate",)


def test_more_keys_than_one_statement_takes(ledger: Ledger, writer: GroupCommit) -> None:
    requests = [make_request(make_llm(), number) for number in range(1203)]
    for request in requests[::2]:
        settle(writer, request)
    keys = [request.key() for request in requests]
    assert ledger.settled(keys) == set(keys[::2])
    assert list(ledger.outcomes(keys)) != []
    assert set(ledger.outcomes(keys)) == set(keys[::2])


def test_a_dead_process_leaves_unknown_spend_and_unjudged_replies(path: Path) -> None:
    llm = make_llm()
    loop = asyncio.new_event_loop()
    with Ledger(path) as first:
        writer = GroupCommit(first, first.start_run("data"), "data", loop)
        cut, stored, settled = (make_request(llm, number) for number in range(3))
        writer.begin(cut, cut.key(), 1.25, new=True)
        number = writer.begin(stored, stored.key(), 1.0, new=True)
        writer.answered(number, answer(stored))
        settle(writer, settled)
        # and here it is killed: nothing more is written
    loop.close()
    with Ledger(path) as second:
        assert second.settled([r.key() for r in (cut, stored, settled)]) == {settled.key()}
        assert second.unjudged() == {stored.key(): (number, answer(stored))}
        outcome = second.outcomes([cut.key()])[cut.key()]
        assert (outcome.state, outcome.error_kind, outcome.raw) == ("unknown", "interrupted", None)
        spend = second.spend("data")
        assert (spend.known_usd, spend.unknown_usd) == (0.5, 2.25)
        assert (spend.billed, spend.unknown, spend.unbounded) == (1, 2, 0)
        assert second.spend("other").known_usd == 0.0
        assert ledger_summary(second).attempts == {"replied": 2, "unknown": 1}


def test_summary_by_llm(ledger: Ledger, writer: GroupCommit) -> None:
    dear, cheap = make_llm(0), make_llm(1)
    settle(writer, make_request(dear, 1), 2.0)
    settle(writer, make_request(dear, 2), None)
    settle(writer, make_request(cheap, 1), 0.25)
    number = writer.begin(make_request(cheap, 2), make_request(cheap, 2).key(), None, new=True)
    writer.judged(
        number, state="lost", kind="transient", error_kind="timeout", error_message="late",
        cost_usd=None, settles=None,
    )  # fmt: skip
    writer.flush()
    summary = ledger_summary(ledger)
    assert (summary.calls, summary.settled) == (4, 3)
    assert summary.attempts == {"lost": 1, "replied": 3}
    first, second = summary.llms
    assert (first.llm_id, first.calls, first.settled, first.attempts) == ("llm0", 2, 2, 2)
    assert (first.spend.known_usd, first.spend.unknown_usd, first.spend.unknown) == (2.0, 1.0, 1)
    assert (second.spend.known_usd, second.spend.unbounded) == (0.25, 1)
    assert summary.spend.as_json() == {
        "calls": 2,
        "usd": 2.25,
        "unknown_calls": 2,
        "unknown_usd_at_most": None,
    }


def test_export_holds_every_call_with_its_attempts(
    ledger: Ledger, writer: GroupCommit, tmp_path: Path
) -> None:
    request = make_request(make_llm(), 1)
    first = writer.begin(request, request.key(), 1.0, new=True)
    writer.answered(first, replace(failure(503), body=b"\xff\xfe"))
    writer.judged(
        first, state="replied", kind="transient", error_kind="server_error", error_message="no",
        cost_usd=0.0, settles=None,
    )  # fmt: skip
    settle(writer, request)
    target = tmp_path / "out.jsonl"
    assert export_ledger(ledger, target) == 1
    (line,) = target.read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert entry["request"]["payload"] == request.payload()
    failed, good = entry["attempts"]
    assert (failed["http_status"], failed["body_base64"], failed["cost_usd"]) == (503, "//4=", 0.0)
    assert good["body"].encode() == body(request)
    assert entry["settled_attempt"] == good["id"]
    with pytest.raises(UsageError, match="csv"):
        export_ledger(ledger, target, "csv")


def test_errors_can_be_opened_again(ledger: Ledger, writer: GroupCommit) -> None:
    good, bad = make_request(make_llm(), 1), make_request(make_llm(), 2)
    settle(writer, good)
    settle(writer, bad, 0.0, kind="permanent", error_kind="not_found")
    assert ledger.failures() == {"not_found": 1}
    assert ledger.reopen(["bad_request"]) == 0
    assert ledger.reopen(["not_found", "bad_request"]) == 1
    assert ledger.settled([good.key(), bad.key()]) == {good.key()}


def test_writes_of_one_turn_of_the_loop_are_one_transaction(ledger: Ledger) -> None:
    statements: list[str] = []
    ledger.connection.set_trace_callback(statements.append)
    requests = [make_request(make_llm(), number) for number in range(50)]

    async def ask(writer: GroupCommit, request: ChatRequest) -> None:
        number = writer.begin(request, request.key(), 1.0, new=True)
        await writer.committed()
        rows = list(ledger.query("SELECT state FROM attempts WHERE id = ?", (number,)))
        assert rows == [("in_flight",)]
        assert not ledger.connection.in_transaction

    async def main() -> None:
        writer = GroupCommit(ledger, 1, "data", asyncio.get_running_loop())
        await asyncio.gather(*(ask(writer, request) for request in requests))
        await writer.committed()

    asyncio.run(main())
    assert sum(one.startswith("BEGIN") for one in statements) == 1


def test_a_full_disk_is_one_clear_message_and_final(ledger: Ledger, writer: GroupCommit) -> None:
    settle(writer, make_request(make_llm(), 0))
    (pages,) = next(ledger.query("PRAGMA page_count"))
    list(ledger.query(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(BenchError, match=r"ledger\.sqlite: database or disk is full; free some"):
        for number in range(1, 2000):
            settle(writer, make_request(make_llm(), number))
    list(ledger.query("PRAGMA max_page_count = 1000000"))
    with pytest.raises(BenchError, match="disk is full"):
        writer.flush()
    kept = ledger_summary(ledger)
    assert kept.settled == kept.calls >= 1, "the failed group is gone as a whole"


def test_read_only_looks_and_touches_nothing(path: Path) -> None:
    with pytest.raises(UsageError, match="no ledger at"):
        Ledger(path, read_only=True)
    with Ledger(path) as writing, Ledger(path, read_only=True) as reading:
        writing.start_run("data")
        assert ledger_summary(reading).calls == 0
        with pytest.raises(BenchError, match="readonly"):
            reading.start_run("data")


def test_one_process_at_a_time(path: Path) -> None:
    pytest.importorskip("fcntl", reason="this platform has no file locks")
    code = (
        "import sys; from personaroute_bench.llms.ledger import Ledger\n"
        "with Ledger(sys.argv[1]): print('open', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(UsageError, match=rf"in use by process {process.pid}\b.*--ledger"):
            Ledger(path)
        process.kill()
    Ledger(path).close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look like one"])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.write_bytes(content * 20)
    with pytest.raises(UsageError, match=r"ledger\.sqlite is not a ledger"):
        Ledger(path)
    assert path.read_bytes() == content * 20


def test_a_database_of_something_else(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (cake TEXT)")
    other.close()
    with pytest.raises(UsageError, match="is not a ledger of this tool"):
        Ledger(path)


@pytest.mark.parametrize(("version", "age"), [(99, "newer"), (0, "older")])
def test_a_ledger_of_another_version(path: Path, version: int, age: str) -> None:
    with Ledger(path) as ledger:
        ledger.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(UsageError, match=rf"{age} version .*schema {version}"):
        Ledger(path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot write"):
        Ledger(tmp_path / "file" / "ledger.sqlite")


def test_numbers_that_are_not_are_not_keys() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        with_llm(parameters={"top_p": math.nan}).key()
