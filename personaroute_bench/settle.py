"""Get every response settled: read the recorded ones, or ask the LLMs through the ledger."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import Incomplete, TooManyFailures
from personaroute_bench.llms.types import LLM, ChatRequest, Reply, Wire
from personaroute_bench.responses import requests_for, rows_from_recorded, rows_from_replies

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.engines import Engine
    from personaroute_bench.folder import DataFolder
    from personaroute_bench.llms.engine import EngineOptions
    from personaroute_bench.llms.ledger import Ledger
    from personaroute_bench.llms.pool import Pool
    from personaroute_bench.llms.progress import Progress
    from personaroute_bench.plan import Plan
    from personaroute_bench.report import Report

LEDGER = "ledger.sqlite"
ASK_BLOCK = 20_000
LEAST_JUDGED = 20  # responses of an LLM, before the share of errors says anything


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
    """Return where the ledger of a data set stands or will stand, for a look without a change."""
    from personaroute_bench.files import read_json

    if run.ledger is None and (out / "config.json").is_file():
        held = read_json(out / "config.json")
        return out / str(held.get("ledger", LEDGER)) if isinstance(held, dict) else out / LEDGER
    return run.ledger or out / LEDGER


def settle_responses(
    folder: DataFolder, plan: Plan, run: RunConfig, engine: Engine, report: Report
) -> Settled:
    """Return a row for every (query, LLM).

    Raises:
        UsageError: a key is missing, a price unknown, the ledger in use elsewhere.
        TooManyFailures, BenchError: see `personaroute_bench.llms.engine.run_calls`.
    """
    if plan.recorded is None:
        return ask_responses(folder, plan, run, engine, report)
    from personaroute_bench.llms.ledger import Spend

    return Settled(recorded_rows(plan), Spend().as_json())


def recorded_rows(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of a plan whose responses exist already."""
    assert plan.recorded is not None
    queries = {query.query_id: query for query in plan.taskset.queries}
    llms = {llm.id: llm for llm in plan.pool.llms}
    table = plan.recorded.responses(plan.taskset, list(llms))
    return list(rows_from_recorded(table, queries, llms))


def ask_responses(
    folder: DataFolder, plan: Plan, run: RunConfig, engine: Engine, report: Report
) -> Settled:
    """Ask the LLMs for every response that the ledger does not hold."""
    queries = {query.query_id: query for query in plan.taskset.queries}
    requests = requests_for(plan.taskset, plan.pool.llms, plan.data)
    with asking(folder, requests, plan.pool, plan, run, engine, report) as asked:
        return Settled(
            rows=list(rows_from_replies(asked.replies, queries)),
            spend=asked.spend,
            unsettled=asked.unsettled,
            stopped=asked.stopped,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of calls; `replies` can be read once, while the ledger is open."""

    replies: Iterator[tuple[ChatRequest, Reply]]
    spend: dict[str, Any]
    """Of the data set, over all its runs."""
    unsettled: int
    """Calls that the next run asks."""
    stopped: str | None
    """Message where the run ended early."""


@contextmanager
def asking(
    folder: DataFolder,
    requests: Sequence[ChatRequest],
    pool: Pool,
    plan: Plan,
    run: RunConfig,
    engine: Engine,
    report: Report,
) -> Iterator[Asked]:
    """Ask what the ledger does not hold, under the data set's cap; yield all replies.

    Args:
        folder: whose money it is.
        requests: the calls; may build each one when it is taken.
        pool: the LLMs that are asked; their keys must be there.
        plan: knows the queries, for simulated LLMs.
        run: limits, ledger, client.
        engine: asks, on as many workers as it has.
        report: told of progress.
    """
    from personaroute_bench.llms.engine import read_replies
    from personaroute_bench.llms.ledger import CHUNK, Ledger, chunks
    from personaroute_bench.llms.pool import check_keys

    if run.ask:
        check_keys(pool)
    with Ledger(folder.use_ledger(run.ledger)) as ledger:
        if run.ask:
            stopped = _ask_all(folder, requests, ledger, plan, run, engine, report)
        else:
            stopped = _left_unasked(requests, ledger)
        report.close()
        unsettled = 0
        for chunk in chunks(requests, CHUNK):
            keys = {request.key() for request in chunk}
            unsettled += len(keys - ledger.settled(list(keys)))
        yield Asked(
            replies=read_replies(requests, ledger, estimate_usage=plan.data.estimate_usage),
            spend=ledger.spend(folder.dataset_id).as_json(),
            unsettled=unsettled,
            stopped=stopped,
        )


def _ask_all(
    folder: DataFolder,
    requests: Sequence[ChatRequest],
    ledger: Ledger,
    plan: Plan,
    run: RunConfig,
    engine: Engine,
    report: Report,
) -> str | None:
    """Ask every call that is not settled; return why it ended early, if it did."""
    from personaroute_bench.engines.calls import Book, ask_in_shards, take_in
    from personaroute_bench.llms.engine import run_calls

    options = engine_options(plan.data, run)
    book = Book(
        ledger, folder.path, folder.dataset_id, options, run.client, plan.taskset.queries,
        plan.data.seed,
    )  # fmt: skip
    take_in(book)
    start = 0

    def show(progress: Progress) -> None:
        _overall(report, start, len(requests), progress)

    def ask_here(block: Sequence[ChatRequest]) -> str | None:
        summary = run_calls(
            block,
            ledger,
            wire_for=wires_for(plan, run),
            dataset_id=folder.dataset_id,
            options=options,
            on_progress=show,
        )
        return summary.message if summary.stopped else None

    # In blocks, since the engine keeps its pending requests in memory: a direct judge of 1,000
    # personas has 240,000 prompts of several kilobytes.
    for start in range(0, len(requests), ASK_BLOCK):
        block = requests[start : start + ASK_BLOCK]
        stopped = (
            ask_in_shards(block, book, engine, ask_here, show)
            if engine.parallel
            else ask_here(block)
        )
        if stopped is not None:
            return stopped
    return None


def _left_unasked(requests: Sequence[ChatRequest], ledger: Ledger) -> str | None:
    """Say how many calls were never asked, where there are any."""
    from personaroute_bench.llms.ledger import CHUNK, chunks

    left = 0
    for chunk in chunks(requests, CHUNK):
        keys = list({request.key() for request in chunk})
        marks = ",".join("?" * len(keys))
        ((known,),) = ledger.query(f"SELECT count(*) FROM calls WHERE key IN ({marks})", keys)
        left += len(keys) - known
    if not left:
        return None
    return (
        f"{left:,} calls are still to be asked; ask them with the array of shards, then merge "
        "again, or all at once with bench generate"
    )


def _overall(report: Report, before: int, total: int, progress: Progress) -> None:
    """Tell the progress of a block as that of all calls."""
    done = before + progress.done
    left = (total - done) / progress.rate if progress.rate > 0 else None
    report.calls(replace(progress, done=done, total=total, seconds_left=left))


def has_unsettled(folder: DataFolder, plan: Plan, table: pa.Table, run: RunConfig) -> bool:
    """Whether the next run has calls to ask: not made, failed for a while, or opened again."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from personaroute_bench.llms.ledger import Ledger

    status = table["status"].cast(pa.string())
    if not pc.any(pc.is_in(status, pa.array(["error", "skipped_budget"]))).as_py():
        return False
    path = folder.use_ledger(run.ledger)
    if not path.is_file():
        return True
    keys = [request.key() for request in requests_for(plan.taskset, plan.pool.llms, plan.data)]
    with Ledger(path, read_only=True) as ledger:
        return len(ledger.settled(keys)) < len(set(keys))


def check_error_rate(folder: DataFolder, table: pa.Table, run: RunConfig) -> None:
    """Refuse responses too many of which are errors, whichever run they failed in.

    Raises:
        TooManyFailures: names LLM, types and how to ask again.
    """
    errors: dict[str, Counter[str]] = {}
    total: Counter[str] = Counter()
    for row in table.select(["llm_id", "status", "error_type"]).to_pylist():
        total[row["llm_id"]] += 1
        if row["status"] == "error":
            errors.setdefault(row["llm_id"], Counter())[row["error_type"]] += 1
    for llm, kinds in errors.items():
        failed = sum(kinds.values())
        if total[llm] >= LEAST_JUDGED and failed > run.max_error_rate * total[llm]:
            listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
            again = " ".join(f"--retry {kind}" for kind in sorted(kinds))
            raise TooManyFailures(
                f"{failed} of {total[llm]} responses of LLM {llm!r} are errors ({listed}), more "
                f"than --max-error-rate {run.max_error_rate} allows; mend the cause, then ask them "
                f"again with: bench ledger {folder.use_ledger(run.ledger)} {again}, and then the "
                "same command"
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
