"""The engine on a clock that jumps: who is asked, when, how often, for how much."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import FakeWire, VirtualLoop, answer, body, failure, make_llm, make_request
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.errors import BenchError, Incomplete, TooManyFailures, UsageError
from personaroute_bench.llms.engine import EngineOptions, RunSummary, read_replies, run_calls
from personaroute_bench.llms.ledger import Ledger, ledger_summary
from personaroute_bench.llms.ledger_writer import GroupCommit
from personaroute_bench.llms.progress import Progress, ProgressPrinter, duration, money
from personaroute_bench.llms.types import LLM, ChatRequest, RawReply, Wire, WireError

LLMS = tuple(make_llm(number) for number in range(4))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def calls(number: int, llms: tuple[LLM, ...] = LLMS[:1]) -> list[ChatRequest]:
    return [make_request(llm, index) for index in range(number) for llm in llms]


def run(
    requests: list[ChatRequest],
    ledger: Ledger,
    wire: Wire | Callable[[LLM], Wire],
    *,
    on_progress: Callable[[Progress], None] | None = None,
    dataset_id: str = "data",
    **options: Any,
) -> RunSummary:
    wire_for = (lambda llm: wire) if hasattr(wire, "send") else wire
    return run_calls(
        requests,
        ledger,
        wire_for=wire_for,  # type: ignore[arg-type]
        dataset_id=dataset_id,
        options=EngineOptions(**options),
        on_progress=on_progress,
        loop_factory=VirtualLoop,
    )


def statuses(requests: list[ChatRequest], ledger: Ledger) -> list[tuple[str, str | None]]:
    return [(reply.status, reply.error_type) for _, reply in read_replies(requests, ledger)]


# The plain way


def test_all_are_answered_and_the_second_run_asks_nobody(ledger: Ledger) -> None:
    requests = calls(10, LLMS)
    wire = FakeWire()
    summary = run(requests, ledger, wire, concurrency=8)
    assert (summary.total, summary.finished, summary.failed, summary.attempts) == (40, 40, 0, 40)
    assert (summary.stopped, summary.unfinished) == (None, 0)
    assert summary.spend_usd == 20.0
    assert wire.most_in_flight == 8
    assert wire.sent[-1][0] == 4.0, "40 calls, 8 at a time, a second each"
    for request, reply in read_replies(requests, ledger):
        assert (reply.status, reply.text) == ("ok", request.messages[0][1])
        assert reply.cost_usd == 0.5

    silent = FakeWire()
    again = run(requests, ledger, silent)
    assert (again.cached, again.finished, again.spend_usd, silent.sent) == (40, 0, 0.0, [])
    assert again.spend_json() == {
        "calls": 40, "usd": 20.0, "unknown_calls": 0, "unknown_usd_at_most": 0.0,
    }  # fmt: skip


def test_equal_calls_are_asked_once_and_all_are_answered(ledger: Ledger) -> None:
    request = make_request(LLMS[0])
    requests = [request, replace(request, tag="twin"), replace(request, sample=1)]
    wire = FakeWire()
    summary = run(requests, ledger, wire)
    assert (summary.total, len(wire.sent)) == (2, 2)
    assert statuses(requests, ledger) == [("ok", None)] * 3


def test_another_data_set_with_the_same_ledger_pays_nothing(ledger: Ledger) -> None:
    run(calls(5), ledger, FakeWire())
    other = run(calls(5), ledger, FakeWire(), dataset_id="other", max_cost=0.01)
    assert (other.cached, other.spend_json()["usd"]) == (5, 0.0)


def test_nothing_to_ask(ledger: Ledger) -> None:
    assert run([], ledger, FakeWire()).total == 0
    assert list(read_replies([], ledger)) == []


def test_a_slow_llm_does_not_hold_the_others(ledger: Ledger) -> None:
    wire = FakeWire(delay=lambda request: 100.0 if request.llm.id == "llm0" else 1.0)
    run(calls(30, LLMS), ledger, wire, concurrency=8)
    quick = [time for time, llm, _ in wire.sent if llm != "llm0"]
    assert max(quick) < 20.0, "90 calls on the six places that the slow one leaves"


def test_wires_are_closed_once_each_also_after_an_error(ledger: Ledger) -> None:
    shared, own = FakeWire(), FakeWire(script=lambda request, n: failure(401))
    with pytest.raises(BenchError):
        run(calls(3, LLMS[:3]), ledger, lambda llm: own if llm.id == "llm2" else shared)
    assert (shared.closed, own.closed) == (1, 1)


def test_progress_tells_the_truth(ledger: Ledger) -> None:
    seen: list[Progress] = []
    run(calls(4), ledger, FakeWire())
    run(calls(40), ledger, FakeWire(), concurrency=4, on_progress=seen.append)
    assert [moment.done for moment in seen] == sorted(moment.done for moment in seen)
    last = seen[-1]
    assert (last.done, last.total, last.cached, last.failed) == (40, 40, 4, 0)
    assert (last.spend_usd, last.reserved_usd, last.unknown_usd) == (20.0, 0.0, 0.0)
    middle = seen[len(seen) // 2]
    assert middle.reserved_usd == 4.0
    assert middle.rate == pytest.approx(4.0, rel=0.2)
    assert middle.seconds_left == pytest.approx((40 - middle.done) / middle.rate)


def test_works_where_an_event_loop_runs_already(ledger: Ledger) -> None:
    async def notebook() -> RunSummary:
        return run(calls(3), ledger, FakeWire())

    assert asyncio.run(notebook()).finished == 3


# Failures


@pytest.mark.parametrize(
    "first",
    [
        failure(429),
        failure(500),
        failure(503, retry_after="3"),
        RawReply(200, b"{garbage", 0.1),
        WireError("timeout", "late", True),
        WireError("connection", "refused", False),
    ],
)
def test_what_passes_is_asked_again(ledger: Ledger, first: RawReply | WireError) -> None:
    wire = FakeWire(script=lambda request, n: first if n < 3 else answer(request))
    summary = run(calls(1), ledger, wire)
    assert (summary.finished, summary.failed, summary.attempts) == (1, 0, 3)
    assert statuses(calls(1), ledger) == [("ok", None)]
    billed = first.maybe_billed if isinstance(first, WireError) else first.http_status == 200
    unknown = 2 if billed else 0
    assert summary.total_spend.unknown == unknown
    assert summary.total_spend.unknown_usd == unknown * 1.0


def test_retry_after_pauses_the_whole_endpoint(ledger: Ledger) -> None:
    def script(request: ChatRequest, n: int) -> RawReply:
        limited = (request.llm.id, request.tag, n) == ("llm0", "q0", 1)
        return failure(429, retry_after="60") if limited else answer(request)

    elsewhere = make_llm(9, base_url="http://127.0.0.1:10/v1")
    requests = calls(10) + calls(10, (elsewhere,))
    wire = FakeWire(script)
    run(requests, ledger, wire, concurrency=4)
    here = [time for time, llm, _ in wire.sent if llm == "llm0"]
    assert not [time for time in here if 1.0 < time < 61.0]
    assert max(here) >= 61.0
    assert max(time for time, llm, _ in wire.sent if llm == "llm9") < 10.0


def test_rejections_shrink_the_concurrency(ledger: Ledger) -> None:
    counts: list[int] = []

    def script(request: ChatRequest, n: int) -> RawReply:
        counts.append(wire.in_flight + 1)
        return failure(429) if counts[-1] > 4 else answer(request)

    wire = FakeWire(script)
    summary = run(calls(200), ledger, wire, concurrency=32, max_attempts=30)
    assert (summary.failed, statuses(calls(200), ledger)) == (0, [("ok", None)] * 200)
    assert max(counts[-60:]) < 12


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (failure(400), "bad_request"),
        (failure(404), "not_found"),
        (RawReply(200, b"<html>", 0.1), "malformed"),
    ],
)
def test_permanent_errors_settle(ledger: Ledger, outcome: RawReply, kind: str) -> None:
    wire = FakeWire(script=lambda request, n: outcome)
    summary = run(calls(1), ledger, wire)
    assert summary.errors == {"llm0": {kind: 1}}
    assert len(wire.sent) == (3 if kind == "malformed" else 1)
    assert statuses(calls(1), ledger) == [("error", kind)]
    assert run(calls(1), ledger, FakeWire()).cached == 1
    ledger.reopen([kind])
    assert run(calls(1), ledger, FakeWire()).finished == 1
    assert statuses(calls(1), ledger) == [("ok", None)]


@pytest.mark.parametrize(
    ("outcome", "kind", "unknown"),
    [
        (failure(429), "rate_limit", 0),
        (failure(503), "server_error", 0),
        (WireError("timeout", "late", True), "timeout", 3),
        (WireError("connection", "refused", False), "connection", 0),
    ],
)
def test_what_lasts_is_an_error_now_and_asked_again_by_the_next_run(
    ledger: Ledger, outcome: RawReply | WireError, kind: str, unknown: int
) -> None:
    wire = FakeWire(script=lambda request, n: outcome)
    summary = run(calls(1), ledger, wire, max_attempts=3)
    assert (summary.errors, len(wire.sent)) == ({"llm0": {kind: 1}}, 3)
    assert summary.total_spend.unknown == unknown
    assert statuses(calls(1), ledger) == [("error", kind)]
    run(calls(1), ledger, FakeWire())
    assert statuses(calls(1), ledger) == [("ok", None)]


def test_a_surprise_inside_the_client_is_a_failure_without_its_words(ledger: Ledger) -> None:
    wire = FakeWire(script=lambda request, n: ValueError("Authorization: Bearer sk-secret"))
    run(calls(1), ledger, wire, max_attempts=2)
    ((_, reply),) = read_replies(calls(1), ledger)
    assert (reply.error_type, reply.error_message) == ("connection", "ValueError inside the client")


def test_a_refused_key_stops_the_run_and_is_never_shown(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-verysecret123")
    llm = make_llm(api_key_env="SOME_KEY")
    wire = FakeWire(script=lambda request, n: failure(401, "bad key sk-verysecret123"))
    with pytest.raises(BenchError, match=r"LLM 'llm0'.*variable SOME_KEY") as caught:
        run(calls(50, (llm,)), ledger, wire, concurrency=2)
    assert "verysecret" not in str(caught.value)
    assert len(wire.sent) <= 2
    run(calls(50, (llm,)), ledger, FakeWire())
    assert statuses(calls(50, (llm,)), ledger) == [("ok", None)] * 50


def test_a_quota_stops_the_run_cleanly(ledger: Ledger) -> None:
    def script(request: ChatRequest, n: int) -> RawReply:
        return (
            failure(429, "insufficient_quota: top up") if request.tag == "q5" else answer(request)
        )

    summary = run(calls(20), ledger, FakeWire(script), concurrency=2)
    assert summary.stopped == "quota"
    assert "quota of LLM 'llm0' is used up" in summary.message
    assert 0 < summary.unfinished < 20
    assert summary.failed == 0
    assert run(calls(20), ledger, FakeWire()).unfinished == 0
    assert statuses(calls(20), ledger) == [("ok", None)] * 20


def test_too_many_failures_stop_the_run_and_name_their_types(ledger: Ledger) -> None:
    def script(request: ChatRequest, n: int) -> RawReply:
        broken = request.llm.id == "llm1" and int(request.tag[1:]) % 4 == 0
        return failure(400, "the context is too long") if broken else answer(request)

    wire = FakeWire(script)
    with pytest.raises(TooManyFailures) as caught:
        run(calls(100, LLMS), ledger, wire, concurrency=4)
    assert "of LLM 'llm1' failed, more than --max-error-rate 0.1" in str(caught.value)
    assert "llm1: bad_request 5 (for instance: HTTP 400: the context is too long)" in str(
        caught.value
    )
    assert len(wire.sent) < 120
    summary = run(calls(100, LLMS), ledger, FakeWire(script), max_error_rate=0.3)
    assert (summary.unfinished, ledger_summary(ledger).settled) == (0, 400)
    assert statuses(calls(100, LLMS), ledger).count(("error", "bad_request")) == 25


def test_nineteen_failures_do_not_stop_a_run(ledger: Ledger) -> None:
    summary = run(calls(19), ledger, FakeWire(script=lambda request, n: failure(400)))
    assert (summary.failed, summary.stopped) == (19, None)


def test_a_failing_display_stops_the_run(ledger: Ledger) -> None:
    def broken(progress: Progress) -> None:
        raise OSError("the pipe is gone")

    with pytest.raises(OSError, match="the pipe is gone"):
        run(calls(100), ledger, FakeWire(), concurrency=1, on_progress=broken)


def test_nothing_is_sent_that_cannot_be_written_down(ledger: Ledger) -> None:
    run(calls(1), ledger, FakeWire())
    (pages,) = next(ledger.query("PRAGMA page_count"))
    list(ledger.query(f"PRAGMA max_page_count = {pages + 4}"))
    wire = FakeWire()
    with pytest.raises(BenchError, match="disk is full"):
        run(calls(2000), ledger, wire, concurrency=4)
    list(ledger.query("PRAGMA max_page_count = 1000000"))
    stored = sum(ledger_summary(ledger).attempts.values()) - 1
    assert len(wire.sent) == stored
    assert run(calls(2000), ledger, FakeWire()).unfinished == 0


# Money


def test_a_cap_stops_cleanly_and_a_higher_one_goes_on(ledger: Ledger) -> None:
    requests = calls(20)
    wire = FakeWire()
    summary = run(requests, ledger, wire, concurrency=4, max_cost=5.25)
    assert summary.stopped == "budget"
    assert "--max-cost 5.25 is reached" in summary.message
    # Nine cost 4.50; a tenth may cost 1.00, and 0.75 is left.
    assert (summary.finished, summary.spend_usd) == (9, 4.5)
    assert [status for status, _ in statuses(requests, ledger)].count("skipped_budget") == 11
    assert run(requests, ledger, FakeWire(), max_cost=5.25).attempts == 0
    assert run(requests, ledger, FakeWire(), max_cost=11.0).unfinished == 0
    assert ledger.spend("data").known_usd == 10.0


def test_unknown_spend_counts_with_its_bound(ledger: Ledger) -> None:
    lost = FakeWire(script=lambda request, n: WireError("timeout", "late", True))
    run(calls(1), ledger, lost, max_attempts=2)
    summary = run(calls(9)[1:], ledger, FakeWire(), max_cost=3.25, concurrency=1)
    assert (summary.finished, summary.stopped) == (1, "budget")


@settings(deadline=None, max_examples=40)
@given(
    cap=st.floats(1.0, 12.0),
    concurrency=st.integers(1, 9),
    fates=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    delays=st.lists(st.floats(0.1, 9.0), min_size=1, max_size=5),
)
def test_never_above_the_cap_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory,
    cap: float,
    concurrency: int,
    fates: list[int],
    delays: list[float],
) -> None:
    account = {"sent": 0, "billed": 0.0, "worst": 0.0}

    def note(request: ChatRequest) -> None:
        account["sent"] += 1
        bound = account["billed"] + (wire.in_flight + 1) * 1.0
        account["worst"] = max(account["worst"], bound)

    def script(request: ChatRequest, n: int) -> RawReply | WireError:
        fate = fates[(int(request.tag[1:]) + n) % len(fates)]
        if fate == 0:
            account["billed"] += 1.0  # it may have been, up to its bound
            return WireError("timeout", "late", True)
        if fate == 1:
            return failure(429)
        if fate == 2:
            return failure(503)
        account["billed"] += 0.1 * fate
        return RawReply(200, body(request, tokens=fate), 0.1)

    wire = FakeWire(
        script, lambda request: delays[int(request.tag[1:]) % len(delays)], on_send=note
    )
    path = tmp_path_factory.mktemp("budget") / "ledger.sqlite"
    with Ledger(path) as ledger:
        for _ in range(2):
            summary = run(
                calls(12), ledger, wire, max_cost=cap, concurrency=concurrency, max_error_rate=1.0
            )
            spend = summary.total_spend
            assert spend.known_usd + spend.unknown_usd == pytest.approx(account["billed"])
    assert account["worst"] <= cap + 1e-9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_cost": float("nan")}, "--max-cost nan"),
        ({"max_cost": 0.0}, "--max-cost 0.0"),
        ({"max_cost": 1.0, "allow_unknown_cost": True}, "together with --allow-unknown-cost"),
        ({"concurrency": 0}, "--concurrency 0"),
        ({"max_attempts": 0}, "--max-attempts 0"),
        ({"timeout_s": float("inf")}, "--timeout inf"),
        ({"max_error_rate": 1.5}, "--max-error-rate 1.5"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        EngineOptions(**options)


def test_an_unknown_price_stops_before_the_first_call_unless_allowed(ledger: Ledger) -> None:
    llms = (LLMS[0], make_llm(7, output_price=None))
    wire = FakeWire()
    with pytest.raises(UsageError, match="no price is known of llm7"):
        run(calls(3, llms), ledger, wire)
    assert wire.sent == []
    summary = run(calls(3, llms), ledger, wire, allow_unknown_cost=True)
    assert summary.spend_json() == {
        "calls": 3, "usd": 1.5, "unknown_calls": 3, "unknown_usd_at_most": None,
    }  # fmt: skip
    with pytest.raises(UsageError, match="3 earlier calls of this data set"):
        run(calls(4), ledger, wire, max_cost=100.0)


def test_a_request_that_is_not_json_is_named(ledger: Ledger) -> None:
    for request in (
        make_request(make_llm(parameters={"top_p": float("nan")})),
        ChatRequest(LLMS[0], (("user", "broken \ud800"),), 10, tag="q0"),
    ):
        with pytest.raises(UsageError, match="'q0' to LLM 'llm0' cannot be written as JSON"):
            run([request], ledger, FakeWire())


# Interruptions


@pytest.fixture
def sigint() -> Iterator[None]:
    """Python's own handling of Ctrl-C; a test run in the background is started without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint")
def test_ctrl_c_lets_calls_in_flight_settle_for_a_moment(ledger: Ledger) -> None:
    def interrupt(request: ChatRequest) -> None:
        if request.tag == "q5":
            signal.raise_signal(signal.SIGINT)

    wire = FakeWire(delay=lambda request: 60.0 if request.tag == "q4" else 1.0, on_send=interrupt)
    with pytest.raises(Incomplete, match=r"interrupted with 15 of 20 calls still to do, \$2\.50"):
        run(calls(20), ledger, wire, concurrency=2)
    assert wire.tags == [f"q{number}" for number in range(6)]
    assert wire.closed == 1
    spend = ledger.spend("data")
    assert (spend.known_usd, spend.unknown_usd, spend.unknown) == (2.5, 1.0, 1)
    assert statuses(calls(20), ledger)[4:7] == [
        ("error", "interrupted"),
        ("ok", None),
        ("skipped_budget", None),
    ]
    assert run(calls(20), ledger, FakeWire()).unfinished == 0


def test_a_reply_that_was_stored_but_not_judged_is_not_asked_again(ledger: Ledger) -> None:
    good, limited = calls(2)
    loop = VirtualLoop()
    writer = GroupCommit(ledger, ledger.start_run("data"), "data", loop)
    for request, raw in ((good, answer(good)), (limited, failure(429))):
        writer.answered(writer.begin(request, request.key(), 1.0, new=True), raw)
    writer.flush()
    loop.close()
    ledger.close_open_attempts()  # as the next start after a kill does
    assert ledger.spend("data").unknown_usd == 2.0
    wire = FakeWire()
    summary = run([good, limited], ledger, wire)
    assert (wire.tags, summary.cached, summary.finished) == (["q1"], 1, 1)
    assert summary.total_spend.as_json() == {
        "calls": 2, "usd": 1.0, "unknown_calls": 0, "unknown_usd_at_most": 0.0,
    }  # fmt: skip


# The display


def moment(done: int, **changes: Any) -> Progress:
    fields: dict[str, Any] = {
        "done": done, "total": 100, "cached": 0, "failed": 0, "spend_usd": 1.5,
        "reserved_usd": 0.0, "unknown_usd": 0.0, "rate": 2.0, "seconds_left": 200.0,
    }  # fmt: skip
    return Progress(**(fields | changes))


def test_plain_lines_come_now_and_then() -> None:
    now, stream = [0.0], io.StringIO()
    with ProgressPrinter("responses", stream, clock=lambda: now[0]) as show:
        for second, done in enumerate(range(0, 50, 5)):
            now[0] = float(second) / 4
            show(moment(done))
        now[0] = 30.0
        show(moment(46, cached=3, failed=2, unknown_usd=0.25))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "responses: 20 of 100 calls, 2.0/s, $1.50, 3 min 20 s left"
    assert lines[-1] == (
        "responses: 46 of 100 calls, 3 from the ledger, 2 failed, 2.0/s, $1.50, "
        "and up to $0.25 unknown, 3 min 20 s left"
    )
    assert len(lines) == 3


def test_the_last_moment_is_always_shown_once() -> None:
    stream = io.StringIO()
    with ProgressPrinter("x", stream, clock=lambda: 0.0) as show:
        show(moment(7))
    assert stream.getvalue().count("\n") == 1
    with ProgressPrinter("x", stream, clock=lambda: 0.0) as show:
        show(moment(100))
        show(moment(100))
    assert stream.getvalue().count("\n") == 2


def test_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    show = ProgressPrinter("responses [bold]", stream)
    show(moment(50))
    show.close()
    show.close()
    assert "responses [bold]" in stream.getvalue()


def test_small_amounts_and_long_times_are_readable() -> None:
    assert [money(usd) for usd in (0.0, 0.000012, 0.0042, 0.5, 1234.5)] == [
        "$0.00", "$1.2e-05", "$0.0042", "$0.50", "$1,234.50",
    ]  # fmt: skip
    assert [duration(s) for s in (0.4, 59.6, 200, 7500)] == [
        "0 s", "1 min 0 s", "3 min 20 s", "2 h 5 min",
    ]  # fmt: skip
