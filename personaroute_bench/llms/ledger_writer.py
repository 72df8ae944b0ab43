"""Writing the ledger from an event loop: one transaction for all that is ready together.

At a thousand calls a second a commit for each would cost more than the calls. So writes gather
during one turn of the event loop, go to disk as one transaction, and then everybody who waited
for them goes on. The busier the loop, the longer its turns, the larger the groups.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.llms.ledger_schema import storage_error
from personaroute_bench.llms.types import ChatRequest, RawReply

if TYPE_CHECKING:
    import asyncio

    from personaroute_bench.errors import BenchError

_CALL = (
    "INSERT OR IGNORE INTO calls (key, llm_id, provider, model, tag, created_at, request_json) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ATTEMPT = (
    "INSERT INTO attempts (id, key, run_id, dataset_id, started_at, state, reserved_usd) "
    "VALUES (?, ?, ?, ?, ?, 'in_flight', ?)"
)
_REPLY = (
    "INSERT INTO replies (attempt_id, http_status, latency_s, retry_after, body) "
    "VALUES (?, ?, ?, ?, ?)"
)
_JUDGED = (
    "UPDATE attempts SET state = ?, kind = ?, error_kind = ?, error_message = ?, cost_usd = ?, "
    "finished_at = ? WHERE id = ?"
)
_SETTLED = "UPDATE calls SET settled_attempt = ? WHERE key = ?"


class GroupCommit:
    """The writer of one run. Its methods only queue; `committed` tells when all of it is on disk.

    The first failure (disk full, no permission) is final: every later wait raises it too, so that
    nothing is sent that could not be written down.
    """

    def __init__(
        self, ledger: Ledger, run_id: int, dataset_id: str, loop: asyncio.AbstractEventLoop
    ):
        self._ledger = ledger
        self._run_id = run_id
        self._dataset_id = dataset_id
        self._loop = loop
        self._writes: list[tuple[str, tuple[Any, ...]]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._failure: BenchError | None = None
        self._next_id = ledger.next_attempt_id()

    def begin(
        self,
        request: ChatRequest,
        key: str,
        reserved: float | None,
        *,
        new: bool,
        canonical: str | None = None,
    ) -> int:
        """Queue an attempt that is about to be sent; return its id.

        Args:
            request: what is asked.
            key: its ledger key.
            reserved: the most it can cost in USD; None where unknown.
            new: whether it is the call's first attempt in this run.
            canonical: `request.canonical()` where it is at hand; None: it is made here.
        """
        number = self._next_id
        self._next_id += 1
        now = time.time()
        if new:
            llm, tag = request.llm, storable(request.tag)
            text = canonical or request.canonical()
            self._write(_CALL, (key, llm.id, llm.provider, llm.model, tag, now, text))
        self._write(_ATTEMPT, (number, key, self._run_id, self._dataset_id, now, reserved))
        return number

    def answered(self, number: int, raw: RawReply) -> None:
        """Queue the verbatim reply of an attempt."""
        retry_after = None if raw.retry_after is None else storable(raw.retry_after)
        self._write(_REPLY, (number, raw.http_status, raw.latency_s, retry_after, raw.body))

    def judged(
        self,
        number: int,
        *,
        state: str,
        kind: str,
        error_kind: str | None,
        error_message: str | None,
        cost_usd: float | None,
        settles: str | None,
    ) -> None:
        """Queue what became of an attempt; `settles` is the key of the call that it settles."""
        message = None if error_message is None else storable(error_message)[:300]
        self._write(_JUDGED, (state, kind, error_kind, message, cost_usd, time.time(), number))
        if settles is not None:
            self._write(_SETTLED, (number, settles))

    def committed(self) -> asyncio.Future[None]:
        """Return a future that is done once everything queued so far is on disk.

        It raises BenchError where that failed.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        self._schedule()
        return future

    def flush(self) -> None:
        """Write what is queued, now.

        Raises:
            BenchError: it cannot be written.
        """
        self._commit()
        if self._failure is not None:
            raise self._failure

    def _write(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._writes.append((sql, parameters))
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        writes, self._writes = self._writes, []
        waiting, self._waiting = self._waiting, []
        self._scheduled = False
        if writes and self._failure is None:
            execute = self._ledger.connection.execute
            try:
                execute("BEGIN IMMEDIATE")
                for sql, parameters in writes:
                    execute(sql, parameters)
                execute("COMMIT")
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    execute("ROLLBACK")
                self._failure = storage_error(error, self._ledger.path)
        for future in waiting:
            if future.done():
                continue
            if self._failure is None:
                future.set_result(None)
            else:
                future.set_exception(self._failure)


def storable(text: str) -> str:
    """Return text that SQLite can hold: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()
