"""Asking: many calls, each once, within limits of rate and money, and nothing paid for is lost.

requests ──► not in the ledger yet ──► lanes ──► workers ──► wire ──► ledger ──► judged, settled
                                         ▲                                          │
                                         └───────────────── retry ──────────────────┘

Killed at any moment, the same command continues and asks no settled call again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from personaroute_bench.errors import Interrupted
from personaroute_bench.llms.engine_run import Run
from personaroute_bench.llms.keys import request_key
from personaroute_bench.llms.ledger import CHUNK, Ledger, Outcome, chunks
from personaroute_bench.llms.options import EngineOptions, RunSummary
from personaroute_bench.llms.progress import Progress
from personaroute_bench.llms.reply import read_reply
from personaroute_bench.llms.types import LLM, ChatRequest, Reply, Wire

__all__ = ["EngineOptions", "RunSummary", "read_replies", "run_calls"]

DEFAULTS = EngineOptions()


def run_calls(
    requests: Iterable[ChatRequest],
    ledger: Ledger,
    *,
    wire_for: Callable[[LLM], Wire],
    dataset_id: str,
    options: EngineOptions = DEFAULTS,
    on_progress: Callable[[Progress], None] | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> RunSummary:
    """Ask every call that the ledger does not hold settled, and settle it.

    A budget or a quota that runs out ends the run early but cleanly: see `RunSummary.stopped`.
    The answers are then in the ledger: `read_replies`.

    Args:
        requests: the calls; equal ones (same key) are asked once.
        ledger: where all is kept, open for writing.
        wire_for: gives the wire of an LLM; called inside the event loop, once per LLM that has
            something to ask. All wires are closed at the end.
        dataset_id: whose money it is; the cap counts all runs of the same id.
        options: limits.
        on_progress: called four times a second and at the end.
        loop_factory: makes the event loop; for tests.

    Raises:
        UsageError: prices unknown, or the cap cannot be kept; nothing was asked.
        TooManyFailures: more calls failed than `max_error_rate` allows.
        Interrupted: interrupted with Ctrl-C; calls in flight had a few seconds to settle.
        BenchError: an endpoint refused the key, or the ledger cannot be written.
    """
    run = Run(ledger, wire_for, dataset_id, options, on_progress)
    try:
        _drive(run, requests, loop_factory)
    finally:
        run.end()
    if run.fatal is not None:
        raise run.fatal
    if run.stopped == "interrupted":
        raise Interrupted(run.message)
    return run.summary()


def read_replies(
    requests: Sequence[ChatRequest], ledger: Ledger, *, estimate_usage: bool = False
) -> Iterator[tuple[ChatRequest, Reply]]:
    """Yield each request with its reply, in order, a few hundred in memory at a time.

    Settled calls are read from their verbatim reply. Calls that failed so far have status
    ``error`` with the type of their last attempt (``interrupted`` where the process died), calls
    that were never asked ``skipped_budget``.
    """
    for chunk in chunks(requests, CHUNK):
        keys = [request_key(request) for request in chunk]
        outcomes = ledger.outcomes(list(dict.fromkeys(keys)))
        for request, key in zip(chunk, keys, strict=True):
            yield request, _reply(request, outcomes.get(key), estimate_usage)


def _reply(request: ChatRequest, outcome: Outcome | None, estimate_usage: bool) -> Reply:
    if outcome is None:
        return Reply("skipped_budget", "")
    if outcome.raw is not None:
        return read_reply(request, outcome.raw, estimate_usage=estimate_usage)
    return Reply(
        "error",
        "",
        error_type=outcome.error_kind or "interrupted",
        error_message=outcome.error_message,
        cost_usd=outcome.cost_usd,
    )


def _drive(
    run: Run,
    requests: Iterable[ChatRequest],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> None:
    """Run the event loop; in a notebook, which has one already, in a thread of its own."""

    def go() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(run.main(requests))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        go()
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(go)
        try:
            future.result()
        except KeyboardInterrupt:
            run.interrupt()
            future.result()
