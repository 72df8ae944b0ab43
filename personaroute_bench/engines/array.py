"""Arrays of jobs: ``bench generate --shard 3/16`` settles its shard of the calls, nothing else.

    job 1 ──► DIR/shards/01-of-16 ──┐
    ...                             ├──► bench merge DIR ──► the data set
    job 16 ─► DIR/shards/16-of-16 ──┘

For schedulers such as Slurm, whose jobs know nothing of each other. Which shard a call belongs to
follows from its ledger key, so query and LLM decide it, and the same call is in one shard only.
Judges read responses, so their calls are a second array, after the first has been merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.engines.shard_note import (
    JUDGMENTS,
    RESPONSES,
    SHARDS,
    Shard,
    ShardNote,
    shard_folders,
)
from personaroute_bench.errors import Incomplete, UsageError
from personaroute_bench.files import disk_error, read_json
from personaroute_bench.folder import CONFIG, LOCK, DataFolder, check_definition
from personaroute_bench.hashing import shard_of
from personaroute_bench.llms.progress import money
from personaroute_bench.plan import Plan, make_plan
from personaroute_bench.report import Report

if TYPE_CHECKING:
    from personaroute_bench.llms.types import ChatRequest

_FORM = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True)
class ShardRun:
    """What a job of the array did."""

    path: Path
    """The shard's folder."""
    stage: str
    """``responses`` or ``judgments``."""
    calls: int
    """Calls of this shard, those of earlier runs included."""
    spend_usd: float
    """Known spend of the shard over all its runs."""


def parse_shard(text: str) -> Shard:
    """Return the shard that ``3/16`` names.

    Raises:
        UsageError: it names none.
    """
    found = _FORM.fullmatch(text.strip())
    if found and 1 <= int(found[1]) <= int(found[2]):
        return Shard(int(found[1]), int(found[2]))
    raise UsageError(
        f"--shard {text!r} names no shard; give its number, from 1, and how many there are, for "
        "instance 3/16"
    )


def settle_shard(
    data: DataConfig,
    out: str | Path,
    shard: Shard,
    *,
    run: RunConfig | None = None,
    report: Report | None = None,
) -> ShardRun:
    """Settle one shard's calls of a data set; writes no table.

    Args:
        data: what the data set is to hold; the same for all shards.
        out: its folder, which the shards of an array share.
        shard: which part of the calls.
        run: as for `generate`; the cap and the rates are those of all shards together, the
            concurrency is this shard's own.
        report: told of progress.

    Raises:
        UsageError: there is nothing to ask, or the folder holds something else.
        Incomplete: the shard's part of the cap, or a quota, is used up; run it again.
        TooManyFailures, BenchError: as `generate`.
    """
    run, report, out = run or RunConfig(), report or Report(), Path(out)
    if run.ledger is not None:
        raise UsageError(
            f"--ledger {run.ledger}: every shard has its own ledger; leave --ledger out, or give "
            "it to bench merge"
        )
    if run.engine != "local":
        raise UsageError(
            f"--shard {shard} divides the calls among jobs, and --engine {run.engine} among "
            "workers; give one of the two"
        )
    report.stage("queries")
    plan = make_plan(data, run, report)
    check_definition(out, plan.defining)
    check_siblings(out, shard, plan)
    _make(out)
    _take_in(out, plan, run)
    with _shared(out):
        held = DataFolder(out, read_json(out / CONFIG)) if (out / CONFIG).is_file() else None
        stage, blocks = _calls(plan, held)
        report.stage(stage, f"shard {shard}")
        folder = out / SHARDS / shard.folder
        _make(folder)
        note = ShardNote.of_plan(folder, shard, stage, plan)
        return _settle(note, plan, out, blocks, run, report)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error


def _take_in(out: Path, plan: Plan, run: RunConfig) -> None:
    """Take in what a killed run with an engine has left: its calls are not to be paid for again.

    Raises:
        UsageError: another process works in the folder, or a worker still asks.
    """
    from personaroute_bench.engines import calls, shard
    from personaroute_bench.llms.ledger import Ledger
    from personaroute_bench.settle import engine_options

    if not any((out / calls.SHARDS).glob(f"*/{shard.LEDGER}")):
        return
    with (
        DataFolder.open(out, plan.defining) as folder,
        Ledger(folder.use_ledger(None)) as ledger,
    ):
        options = engine_options(plan.data, run)
        queries, seed = plan.taskset.queries, plan.data.seed
        book = calls.Book(ledger, out, folder.dataset_id, options, run.client, queries, seed)
        calls.take_in(book)


def check_siblings(out: Path, shard: Shard, plan: Plan) -> None:
    """Refuse to divide otherwise what is being divided, or to divide something else.

    Raises:
        ConfigMismatch: another shard is of another definition; names the keys.
        UsageError: it is one of another number of shards.
    """
    for path in shard_folders(out):
        other = ShardNote.read(path)
        other.check_same(ShardNote.of_plan(path, shard, other.stage, plan))
        if other.shard.of != shard.of:
            raise UsageError(
                f"{path} is shard {other.shard}, got --shard {shard}: calls are divided one way "
                f"only; give --shard I/{other.shard.of}, or first merge what is there: bench merge "
                f"{out} --partial"
            )


def _calls(plan: Plan, held: DataFolder | None) -> tuple[str, list[Sequence[ChatRequest]]]:
    """Return what the array asks now: responses first, then what judges say of them.

    Raises:
        UsageError: there is nothing to ask.
    """
    from personaroute_bench.generate import strategies_of
    from personaroute_bench.judge_calls import asks_a_judge, judge_requests
    from personaroute_bench.llms.pool import check_keys
    from personaroute_bench.responses import requests_for

    path = None if held is None else held.path / "responses.parquet"
    if held is not None and path is not None and held.is_done("responses", plan.defining, path):
        responses: pa.Table | None = pq.read_table(path)
    else:
        responses = _recorded(plan)
    if responses is None:
        check_keys(plan.pool)
        return RESPONSES, [requests_for(plan.taskset, plan.pool.llms, plan.data)]
    strategies = plan.data.strategies if held is None else strategies_of(held, plan.data)
    if not asks_a_judge(plan, strategies):
        raise UsageError(
            "there is nothing to divide into shards: the responses are there, and no judge LLM is "
            "asked; leave --shard out"
        )
    from personaroute_bench.judge_calls import judge_pool

    check_keys(judge_pool(plan))
    return JUDGMENTS, judge_requests(plan, responses)


def _recorded(plan: Plan) -> pa.Table | None:
    from personaroute_bench.responses import build_table
    from personaroute_bench.settle import recorded_rows

    if plan.recorded is None:
        return None
    return build_table(recorded_rows(plan), plan.taskset, plan.pool.llms, plan.data)


def _settle(
    note: ShardNote,
    plan: Plan,
    out: Path,
    blocks: list[Sequence[ChatRequest]],
    run: RunConfig,
    report: Report,
) -> ShardRun:
    from personaroute_bench.llms.engine import run_calls
    from personaroute_bench.llms.ledger import Ledger
    from personaroute_bench.settle import engine_options, ledger_path, wires_for

    shard, whole = note.shard, ledger_path(out, RunConfig())
    options = replace(
        engine_options(plan.data, run),
        max_cost=_part_of_cap(out, whole, shard, run),
        parts=shard.of,
    )
    calls = 0
    with Ledger(note.ledger) as ledger:
        note.write()
        for block in _mine(blocks, shard, whole):
            summary = run_calls(
                block,
                ledger,
                wire_for=wires_for(plan, run),
                dataset_id=note.dataset_id,
                options=options,
                on_progress=report.calls,
            )
            calls += len(block)
            report.close()
            if summary.stopped == "budget":
                raise Incomplete(
                    f"shard {shard} has used up its part of --max-cost {run.max_cost}, "
                    f"{money(options.max_cost or 0.0)}; run the array again with a higher "
                    "--max-cost, or let the shards share what the others have left over: bench "
                    f"merge {out} --partial, and then the array again"
                )
            if summary.stopped:
                raise Incomplete(f"shard {shard}: {summary.message}")
        spend = ledger.spend()
        replace(note, finished=True).write()
    return ShardRun(note.folder, note.stage, calls, spend.known_usd)


def _mine(
    blocks: list[Sequence[ChatRequest]], shard: Shard, whole: Path
) -> Iterator[list[ChatRequest]]:
    """Yield this shard's calls that the data set's own ledger does not hold, in blocks."""
    from personaroute_bench.llms.keys import request_key
    from personaroute_bench.llms.ledger import CHUNK, Ledger, chunks
    from personaroute_bench.settle import ASK_BLOCK

    with Ledger(whole, read_only=True) if whole.is_file() else nullcontext() as ledger:
        for requests in blocks:
            mine: list[ChatRequest] = []
            for chunk in chunks(requests, CHUNK):
                keyed = {request_key(request): request for request in chunk}
                keys = [key for key in keyed if shard_of(key, shard.of) == shard.number - 1]
                settled = set() if ledger is None else ledger.settled(keys)
                mine += [keyed[key] for key in keys if key not in settled]
                if len(mine) >= ASK_BLOCK:
                    yield mine
                    mine = []
            if mine:
                yield mine


def _part_of_cap(out: Path, whole: Path, shard: Shard, run: RunConfig) -> float | None:
    """Return what this shard may spend over all its runs, USD.

    Raises:
        Incomplete: nothing is left.
        UsageError: what is left is not known.
    """
    from personaroute_bench.llms.ledger import Ledger

    if run.max_cost is None or not whole.is_file():
        return None if run.max_cost is None else run.max_cost / shard.of
    with Ledger(whole, read_only=True) as ledger:
        spend = ledger.spend(str(read_json(out / CONFIG)["dataset_id"]))
    if spend.unbounded:
        raise UsageError(
            f"--max-cost {run.max_cost} cannot be kept: {spend.unbounded} earlier calls of this "
            f"data set in {whole} have an unknown cost; leave --max-cost out"
        )
    left = run.max_cost - spend.known_usd - spend.unknown_usd
    if left <= 0:
        raise Incomplete(
            f"--max-cost {run.max_cost} is reached: {money(spend.known_usd)} are spent, up to "
            f"{money(spend.unknown_usd)} more are unknown; give a higher --max-cost to go on"
        )
    return left / shard.of


@contextmanager
def _shared(out: Path) -> Iterator[None]:
    """Hold the folder's lock together with the array's other jobs: nobody writes tables now.

    Raises:
        UsageError: a run that writes the tables is at work.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (out / LOCK).open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"a bench generate or bench merge works in {out}; wait for it to end, and run this "
                "shard again"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
