"""Get every response settled: read the recorded ones, or ask the LLMs through the ledger."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import Incomplete
from personaroute_bench.llms.types import LLM, Wire
from personaroute_bench.responses import requests_for, rows_from_recorded, rows_from_replies

if TYPE_CHECKING:
    from personaroute_bench.folder import DataFolder
    from personaroute_bench.llms.engine import EngineOptions
    from personaroute_bench.plan import Plan
    from personaroute_bench.report import Report

LEDGER = "ledger.sqlite"


@dataclass(frozen=True, slots=True)
class Settled:
    """What `settle_responses` found out."""

    rows: list[dict[str, Any]]
    """Rows of the `responses` table, in its order."""
    spend: dict[str, Any]
    """JSON values for the manifest: calls, usd, unknown_calls, unknown_usd_at_most."""
    unsettled: int = 0
    """Calls that the next run asks: not made, or failed for a passing reason."""
    stopped: str | None = None
    """Message where the run ended early (budget, quota)."""

    def raise_if_stopped(self) -> None:
        """Raise Incomplete where the run ended early; what is there is on disk by then."""
        if self.stopped is not None:
            raise Incomplete(self.stopped)


def ledger_path(out: Path, run: RunConfig) -> Path:
    """Return where the ledger of a data set stands."""
    return run.ledger or out / LEDGER


def settle_responses(folder: DataFolder, plan: Plan, run: RunConfig, report: Report) -> Settled:
    """Return a row for every (query, LLM).

    Raises:
        UsageError: a key is missing, a price unknown, the ledger in use elsewhere.
        TooManyFailures, BenchError: see `personaroute_bench.llms.engine.run_calls`.
    """
    if plan.recorded is None:
        return ask(folder, plan, run, report)
    from personaroute_bench.llms.ledger import Spend

    queries = {query.query_id: query for query in plan.taskset.queries}
    llms = {llm.id: llm for llm in plan.pool.llms}
    table = plan.recorded.responses(plan.taskset, list(llms))
    return Settled(list(rows_from_recorded(table, queries, llms)), Spend().as_json())


def ask(folder: DataFolder, plan: Plan, run: RunConfig, report: Report) -> Settled:
    """Ask the LLMs for every response that the ledger does not hold."""
    from personaroute_bench.llms.engine import read_replies, run_calls
    from personaroute_bench.llms.ledger import Ledger
    from personaroute_bench.llms.pool import check_keys

    queries = {query.query_id: query for query in plan.taskset.queries}
    check_keys(plan.pool)
    requests = requests_for(plan.taskset, plan.pool.llms, plan.data)
    with Ledger(ledger_path(folder.path, run)) as ledger:
        summary = run_calls(
            requests,
            ledger,
            wire_for=wires_for(plan, run),
            dataset_id=folder.dataset_id,
            options=engine_options(plan.data, run),
            on_progress=report.calls,
        )
        report.close()
        replies = read_replies(requests, ledger, estimate_usage=plan.data.estimate_usage)
        rows = list(rows_from_replies(replies, queries))
        keys = [request.key() for request in requests]
        return Settled(
            rows=rows,
            spend=ledger.spend(folder.dataset_id).as_json(),
            unsettled=len(set(keys)) - len(ledger.settled(keys)),
            stopped=summary.message if summary.stopped else None,
        )


def engine_options(data: DataConfig, run: RunConfig) -> EngineOptions:
    """Return the engine's options for a run."""
    from personaroute_bench.llms.engine import EngineOptions

    return EngineOptions(
        concurrency=run.concurrency,
        timeout_s=run.timeout_s,
        max_attempts=run.max_attempts,
        backoff_s=run.backoff_s,
        max_cost=run.max_cost,
        max_error_rate=run.max_error_rate,
        allow_unknown_cost=run.allow_unknown_cost,
        estimate_usage=data.estimate_usage,
    )


def wires_for(plan: Plan, run: RunConfig) -> Callable[[LLM], Wire]:
    """Return what gives each LLM its wire; simulated LLMs need to know the queries."""
    from personaroute_bench.llms.wires import WirePool

    pool = WirePool(client=run.client, concurrency=run.concurrency)

    @functools.cache
    def simulated() -> Wire:
        from personaroute_bench.llms.simulated import SimulatedWire

        return SimulatedWire.for_queries(plan.taskset.queries, plan.data.seed)

    def wire_for(llm: LLM) -> Wire:
        return simulated() if llm.provider == "simulated" else pool.wire_for(llm)

    return wire_for
