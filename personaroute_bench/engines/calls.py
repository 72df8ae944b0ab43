"""Calls in shards: divided before they are asked, one account again afterwards.

    not settled ──► by hash of the call ──► shard 0 ──► worker ──► its ledger ──┐
                                            shard 1 ──► worker ──► its ledger ──┴──► ledger

Each shard has its part of the money that is left, of the rates and of the concurrency, so that
no worker has to ask another one. The shards stand in the data set's folder until they are merged:
what a killed worker, or a killed run, leaves there is taken up again.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from personaroute_bench import errors
from personaroute_bench.engines.engine import Engine
from personaroute_bench.engines.shard import (
    LEDGER,
    STOP,
    Outcome,
    ask_shard,
    read_progress,
    write_shard,
)
from personaroute_bench.errors import BenchError, Interrupted, UsageError
from personaroute_bench.files import disk_error
from personaroute_bench.hashing import shard_of
from personaroute_bench.llms.engine import EngineOptions
from personaroute_bench.llms.ledger import CHUNK, Ledger, chunks
from personaroute_bench.llms.ledger_merge import merge_ledger
from personaroute_bench.llms.ledger_schema import LedgerInUse
from personaroute_bench.llms.prices import max_cost_of
from personaroute_bench.llms.progress import Progress, money

if TYPE_CHECKING:
    from collections.abc import Callable

    from personaroute_bench.llms.types import ChatRequest
    from personaroute_bench.tasks.types import Query

SHARDS = ".engine"
"""Folder of the shards, in the data set's; there only while they are asked."""
ENDING_S = 10.0
"""How long the workers of a run that was killed are given to end."""


@dataclass(frozen=True)
class Book:
    """The account that the shards are merged into, and what all calls have in common."""

    ledger: Ledger
    folder: Path
    """The data set's."""
    dataset_id: str
    options: EngineOptions
    """Of the whole run."""
    client: str | None
    queries: Sequence[Query]
    """Known to simulated LLMs."""
    seed: int

    @property
    def shards(self) -> Path:
        """Where the shards stand while they are asked."""
        return self.folder / SHARDS


def take_in(book: Book) -> None:
    """Merge what shards of an earlier run have left, and clear them away.

    Raises:
        UsageError: a worker of that run still asks.
    """
    ledgers = sorted(book.shards.glob(f"*/{LEDGER}"))
    if ledgers:
        _tell_to_stop(book.shards)  # a worker of a cluster may outlive the run it works for
    for path in ledgers:
        try:
            merge_ledger(book.ledger, path, book.dataset_id, wait_s=ENDING_S)
        except LedgerInUse as error:
            raise UsageError(
                f"a worker of an earlier run still asks shard {path.parent.name} of "
                f"{book.folder}; it has been told to stop, so wait until its calls are back, and "
                "run the same command again"
            ) from error
    shutil.rmtree(book.shards, ignore_errors=True)


def ask_in_shards(
    requests: Sequence[ChatRequest],
    book: Book,
    engine: Engine,
    ask_here: Callable[[Sequence[ChatRequest]], str | None],
    on_progress: Callable[[Progress], None],
) -> str | None:
    """Ask the calls that are not settled, on the engine's workers.

    Args:
        requests: so many that they fit into memory.
        book: the account; holds all of it in the end.
        engine: does the work.
        ask_here: asks in this process, for what does not divide: replies to judge again, and the
            last calls that the money left allows.
        on_progress: told a few times a second.

    Returns:
        Why it ended early; None where all calls have ended.

    Raises:
        BenchError: as `personaroute_bench.llms.engine.run_calls`, or workers died too often.
    """
    while True:
        pending = _pending(requests, book.ledger)
        unjudged = book.ledger.unjudged()
        if held := [request for key, request in pending.items() if key in unjudged]:
            if stopped := ask_here(held):
                return stopped
            continue
        if not pending:
            return None
        parts = _parts(pending, book, engine)
        if not parts:
            return ask_here(list(pending.values()))
        outcomes = _ask(pending, parts, book, engine, on_progress, len(requests))
        for outcome in outcomes:
            if outcome.error is not None:
                raise getattr(errors, outcome.error, BenchError)(outcome.message)
        for outcome in outcomes:
            if outcome.stopped == "quota":
                return outcome.message
        if not any(outcome.stopped for outcome in outcomes):
            return None
        # A shard has used up its part of the money: what others have left is divided anew.


def _pending(requests: Sequence[ChatRequest], ledger: Ledger) -> dict[str, ChatRequest]:
    """Return the calls that are not settled, by key, each once."""
    from personaroute_bench.llms.keys import request_key

    pending: dict[str, ChatRequest] = {}
    for chunk in chunks(requests, CHUNK):
        keyed = {request_key(request): request for request in chunk}
        settled = ledger.settled(list(keyed))
        pending |= {key: request for key, request in keyed.items() if key not in settled}
    return pending


def _parts(pending: dict[str, ChatRequest], book: Book, engine: Engine) -> int:
    """Return into how many shards the calls go, each of which can afford one; 0: ask here."""
    most = min(book.options.concurrency, len(pending))
    if book.options.max_cost is not None:
        spend = book.ledger.spend(book.dataset_id)
        dearest = [max_cost_of(request) for request in pending.values()]
        if spend.unbounded or None in dearest:
            return 0  # this cap cannot be kept; to ask here says so
        left = book.options.max_cost - spend.known_usd - spend.unknown_usd
        highest = max(usd for usd in dearest if usd is not None)
        if highest > 0 and left < 2 * highest:
            return 0
        if highest > 0:
            most = min(most, math.floor(left / highest))
    return min(most, engine.workers)


def _ask(
    pending: dict[str, ChatRequest],
    parts: int,
    book: Book,
    engine: Engine,
    on_progress: Callable[[Progress], None],
    total: int,
) -> list[Outcome]:
    """Write the shards, have them asked, and merge what came of it, whatever happens."""
    shutil.rmtree(book.shards, ignore_errors=True)
    simulated = any(request.llm.provider == "simulated" for request in pending.values())
    paths = []
    for number, options in enumerate(_divided(book, parts)):
        mine = [
            (key, request) for key, request in pending.items() if shard_of(key, parts) == number
        ]
        if not mine:
            continue
        path = book.shards / f"{number + 1:04d}-of-{parts:04d}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise disk_error(error, path) from error
        write_shard(
            path, mine, dataset_id=book.dataset_id, options=options, client=book.client,
            queries=book.queries if simulated else (), seed=book.seed,
        )  # fmt: skip
        paths.append(path)
    watch = _Watch(paths, book, total, len(pending), on_progress)
    try:
        outcomes = list(engine.map(ask_shard, [str(path.absolute()) for path in paths], watch))
    except KeyboardInterrupt:
        with suppress(BenchError):  # a worker that has not ended yet: the next run takes it in
            take_in(book)
        raise Interrupted(
            f"interrupted with {len(_pending(list(pending.values()), book.ledger)):,} calls still "
            f"to do, {money(book.ledger.spend(book.dataset_id).known_usd)} spent; run the same "
            "command again to go on"
        ) from None
    except BaseException:
        with suppress(BenchError):
            take_in(book)
        raise
    watch.tick()
    take_in(book)
    return outcomes


def _divided(book: Book, parts: int) -> Iterator[EngineOptions]:
    """Yield the options of each shard: its part of the money, the rates and the concurrency."""
    options, cap = book.options, book.options.max_cost
    if cap is not None:
        spend = book.ledger.spend(book.dataset_id)
        cap = (cap - spend.known_usd - spend.unknown_usd) / parts
    each, more = divmod(options.concurrency, parts)
    for number in range(parts):
        yield replace(
            options, concurrency=each + (number < more), max_cost=cap, parts=parts * options.parts
        )


class _Watch:
    """Adds up what the shards tell; asks them to end after Ctrl-C."""

    def __init__(
        self,
        paths: Sequence[Path],
        book: Book,
        total: int,
        pending: int,
        on_progress: Callable[[Progress], None],
    ):
        self._paths = paths
        self._shards = book.shards
        self._before = total - pending
        self._total = total
        self._spend = book.ledger.spend(book.dataset_id)
        self._on_progress = on_progress

    def tick(self) -> None:
        """Tell how far all shards together are."""
        seen = [shard for path in self._paths if (shard := read_progress(path)) is not None]
        done = self._before + sum(shard.done for shard in seen)
        rate = sum(shard.rate for shard in seen)
        self._on_progress(
            Progress(
                done=done,
                total=self._total,
                cached=self._before + sum(shard.cached for shard in seen),
                failed=sum(shard.failed for shard in seen),
                spend_usd=self._spend.known_usd + sum(shard.spend_usd for shard in seen),
                reserved_usd=sum(shard.reserved_usd for shard in seen),
                unknown_usd=self._spend.unknown_usd + sum(shard.unknown_usd for shard in seen),
                rate=rate,
                seconds_left=(self._total - done) / rate if rate > 0 else None,
            )
        )

    def interrupted(self) -> None:
        """Ask the shards to let no further call begin."""
        _tell_to_stop(self._shards)


def _tell_to_stop(shards: Path) -> None:
    with suppress(OSError):
        (shards / STOP).touch()
