"""The ledger: what was asked, what was answered, verbatim, and what it cost.

The life of an attempt, each step on disk before the next begins:

    begin ──► in_flight ──► answered ──► replied      the reply stands, judged, with its cost
                  │             (killed here: judged again at the next start, not asked again)
                  ├──► lost       no answer came (time-out, cut connection)
                  └──► unknown    the process died; listed as unknown spend with its upper bound

Amounts are USD, None where unknown. `ledger_writer.GroupCommit` writes for a running engine.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from personaroute_bench.errors import UsageError
from personaroute_bench.files import atomic_path
from personaroute_bench.llms.ledger_schema import ProcessLock, connect, storage_error
from personaroute_bench.llms.types import RawReply

CHUNK = 500
"""Keys a query: bounds memory, and stays below SQLite's limit on parameters."""

_T = TypeVar("_T")
_REPLY_COLUMNS = "r.http_status, r.body, r.latency_s, r.retry_after"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ledger knows of one call: its settling attempt, else its last one."""

    settled: bool
    raw: RawReply | None
    """None where no answer came."""
    state: str
    error_kind: str | None
    error_message: str | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Spend:
    """Money of a set of attempts, USD."""

    known_usd: float = 0.0
    unknown_usd: float = 0.0
    """Upper bound of what the attempts with an unknown bill can have cost."""
    billed: int = 0
    """Attempts whose bill is known; error statuses, which nobody bills, do not count."""
    unknown: int = 0
    """Attempts whose bill is unknown: lost, cut off by a crash, without usage or price."""
    unbounded: int = 0
    """Of those unknown: without a bound as well (LLMs without prices)."""

    def as_json(self) -> dict[str, Any]:
        """Return the facts as a manifest states them; a bound that does not exist is None."""
        return {
            "calls": self.billed,
            "usd": self.known_usd,
            "unknown_calls": self.unknown,
            "unknown_usd_at_most": None if self.unbounded else self.unknown_usd,
        }


@dataclass(frozen=True, slots=True)
class LLMSummary:
    """One LLM's part of a ledger."""

    llm_id: str
    calls: int
    settled: int
    attempts: int
    spend: Spend


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """A ledger at a glance."""

    calls: int
    settled: int
    attempts: dict[str, int]
    """Attempts by state: in_flight, replied, lost, unknown."""
    spend: Spend
    llms: tuple[LLMSummary, ...]
    """Sorted by id."""


class Ledger:
    """One SQLite file, shared by as many data sets as like, used by one process at a time."""

    def __init__(self, path: Path | str, *, read_only: bool = False):
        """Open or make a ledger; attempts that a dead process left in flight become unknown.

        Args:
            path: the file; folders are made.
            read_only: for looking only: takes no lock and changes nothing, so it also works
                while a run is writing.

        Raises:
            UsageError: no ledger, another schema version, or in use by another process.
            BenchError: the file cannot be opened or written.
        """
        self.path = Path(path)
        self.read_only = read_only
        self._lock = None if read_only else ProcessLock(self.path)
        try:
            self.connection = connect(self.path, read_only=read_only)
            if not read_only:
                self.close_open_attempts()
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and free the lock; closing twice is fine."""
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Run one statement and yield its rows.

        Raises:
            BenchError: SQLite could not; the message has the remedy.
        """
        try:
            rows = self.connection.execute(sql, parameters)
            # Not `yield from`: left unfinished, it would close the cursor after the connection.
            for row in rows:  # noqa: UP028
                yield row
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise storage_error(error, self.path) from error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run and commit one statement that changes rows.

        Raises:
            BenchError: SQLite could not; the message has the remedy.
        """
        try:
            return self.connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error

    def close_open_attempts(self) -> None:
        """Give attempts that nobody waits for any more their state: replied or unknown."""
        answered = "id IN (SELECT attempt_id FROM replies)"
        is_open = "kind IS NULL AND state = 'in_flight'"
        self.execute(f"UPDATE attempts SET state = 'replied' WHERE {is_open} AND {answered}")
        self.execute(
            "UPDATE attempts SET state = 'unknown', kind = 'unknown', error_kind = 'interrupted' "
            f"WHERE {is_open} AND NOT {answered}"
        )

    def start_run(self, dataset_id: str) -> int:
        """Note that this process begins to ask for a data set; return the run's id."""
        cursor = self.execute(
            "INSERT INTO runs (dataset_id, pid, started_at) VALUES (?, ?, ?)",
            (dataset_id, os.getpid(), time.time()),
        )
        return int(cursor.lastrowid or 0)

    def finish_run(self, run_id: int, stopped: str | None) -> None:
        """Note how a run ended; its attempts still in flight become unknown."""
        self.close_open_attempts()
        self.execute(
            "UPDATE runs SET finished_at = ?, stopped = ? WHERE id = ?",
            (time.time(), stopped, run_id),
        )

    def next_attempt_id(self) -> int:
        """Return an id above all that were given."""
        return int(next(self.query("SELECT coalesce(max(id), 0) + 1 FROM attempts"))[0])

    def settled(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys never have to be asked again."""
        found: set[str] = set()
        for chunk in chunks(keys, CHUNK):
            rows = self.query(
                "SELECT key FROM calls WHERE settled_attempt IS NOT NULL "
                f"AND key IN {_marks(chunk)}",
                chunk,
            )
            found.update(key for (key,) in rows)
        return found

    def failures(self) -> dict[str, int]:
        """Return how many settled calls stand as errors, by type of error."""
        rows = self.query(
            "SELECT a.error_kind, count(*) FROM calls c "
            "JOIN attempts a ON a.id = c.settled_attempt "
            "WHERE a.error_kind IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        return dict(rows)

    def reopen(self, error_kinds: Sequence[str]) -> int:
        """Let the next run ask calls again that were settled as these errors; return how many.

        For errors whose cause was mended outside, such as a model that a local server lacked.
        """
        cursor = self.execute(
            "UPDATE calls SET settled_attempt = NULL WHERE settled_attempt IN "
            f"(SELECT id FROM attempts WHERE error_kind IN {_marks(error_kinds)})",
            tuple(error_kinds),
        )
        return cursor.rowcount

    def unjudged(self) -> dict[str, tuple[int, RawReply]]:
        """Return replies that a dead process stored and did not judge, by key.

        Few: at most one a call that was in flight.
        """
        rows = self.query(
            f"SELECT a.key, a.id, {_REPLY_COLUMNS} FROM attempts a "
            "JOIN replies r ON r.attempt_id = a.id "
            "WHERE a.kind IS NULL AND a.state = 'replied' ORDER BY a.id"
        )
        return {key: (number, RawReply(*_in_order(reply))) for key, number, *reply in rows}

    def outcomes(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return what is known of these calls; keys that were never asked are left out.

        Holds all their bodies in memory: ask for a few hundred at a time.
        """
        found: dict[str, Outcome] = {}
        for chunk in chunks(keys, CHUNK):
            rows = self.query(
                "SELECT c.key, c.settled_attempt IS NOT NULL, a.state, a.error_kind, "
                f"a.error_message, a.cost_usd, {_REPLY_COLUMNS} "
                "FROM calls c JOIN attempts a ON a.id = coalesce("
                "c.settled_attempt, (SELECT max(id) FROM attempts WHERE key = c.key)) "
                f"LEFT JOIN replies r ON r.attempt_id = a.id WHERE c.key IN {_marks(chunk)}",
                chunk,
            )
            for key, settled, state, kind, message, cost, *reply in rows:
                raw = None if reply[0] is None else RawReply(*_in_order(reply))
                found[key] = Outcome(bool(settled), raw, state, kind, message, cost)
        return found

    def spend(self, dataset_id: str | None = None) -> Spend:
        """Return the money of one data set over all its runs, or of the whole ledger."""
        where, parameters = (
            ("", ()) if dataset_id is None else ("WHERE dataset_id = ?", (dataset_id,))
        )
        return Spend(*next(self.query(f"SELECT {_SPEND} FROM attempts a {where}", parameters)))


_SPEND = (
    "coalesce(sum(a.cost_usd), 0.0), "
    "coalesce(sum(CASE WHEN a.cost_usd IS NULL THEN a.reserved_usd END), 0.0), "
    "count(CASE WHEN a.cost_usd > 0 OR (a.cost_usd = 0 AND a.kind = 'ok') THEN 1 END), "
    "count(CASE WHEN a.cost_usd IS NULL THEN a.id END), "
    "count(CASE WHEN a.cost_usd IS NULL AND a.reserved_usd IS NULL THEN a.id END)"
)


def ledger_summary(ledger: Ledger) -> LedgerSummary:
    """Return calls, attempts and money of a ledger, in total and by LLM."""
    llms = tuple(
        LLMSummary(llm_id, calls, settled, attempts, Spend(*money))
        for llm_id, calls, settled, attempts, *money in ledger.query(
            "SELECT c.llm_id, count(DISTINCT c.key), "
            "count(DISTINCT CASE WHEN c.settled_attempt IS NOT NULL THEN c.key END), "
            f"count(a.id), {_SPEND} "
            "FROM calls c LEFT JOIN attempts a ON a.key = c.key GROUP BY c.llm_id ORDER BY c.llm_id"
        )
    )
    states = dict(
        ledger.query("SELECT state, count(*) FROM attempts GROUP BY state ORDER BY state")
    )
    return LedgerSummary(
        calls=sum(llm.calls for llm in llms),
        settled=sum(llm.settled for llm in llms),
        attempts=states,
        spend=ledger.spend(),
        llms=llms,
    )


def iterate_ledger(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Yield every call with its attempts as JSON values, oldest first, one in memory at a time.

    A body is text where it is UTF-8 (``body``), else base64 (``body_base64``).
    """
    calls = ledger.query(
        "SELECT key, llm_id, provider, model, tag, created_at, settled_attempt, request_json "
        "FROM calls ORDER BY rowid"
    )
    names = ("key", "llm_id", "provider", "model", "tag", "created_at", "settled_attempt")
    for *values, request in calls:
        entry = dict(zip(names, values, strict=True))
        try:
            entry["request"] = json.loads(request)
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(
                f"{ledger.path} is damaged: the request of call {str(entry['key'])[:80]!r} is no "
                "JSON; move the file away, or give another path with --ledger"
            ) from error
        entry["attempts"] = list(_attempts(ledger, entry["key"]))
        yield entry


def export_ledger(ledger: Ledger, target: Path, format: str = "jsonl") -> int:
    """Write every call with its attempts to a file, one JSON object a line; return how many.

    Raises:
        UsageError: unknown format.
        BenchError: the file cannot be written; an older one is untouched.
    """
    if format != "jsonl":
        raise UsageError(f"unknown ledger export format {format!r}; known: jsonl")
    calls = 0
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for entry in iterate_ledger(ledger):
            # ASCII escapes keep whatever a server sent inside its own line.
            handle.write(json.dumps(entry, default=repr) + "\n")
            calls += 1
    return calls


def _attempts(ledger: Ledger, key: str) -> Iterator[dict[str, Any]]:
    columns = (
        "id", "run_id", "dataset_id", "started_at", "finished_at", "state", "kind",
        "error_kind", "error_message", "reserved_usd", "cost_usd",
    )  # fmt: skip
    rows = ledger.query(
        f"SELECT {', '.join('a.' + name for name in columns)}, {_REPLY_COLUMNS} FROM attempts a "
        "LEFT JOIN replies r ON r.attempt_id = a.id WHERE a.key = ? ORDER BY a.id",
        (key,),
    )
    for row in rows:
        entry = dict(zip(columns, row, strict=False))
        status, body, latency, retry_after = row[len(columns) :]
        if status is not None:
            entry |= {"http_status": status, "latency_s": latency, "retry_after": retry_after}
            entry |= _body(body)
        yield entry


def _body(body: object) -> dict[str, str]:
    if not isinstance(body, bytes):  # a ledger that others wrote into
        return {"body": str(body)}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        import base64

        return {"body_base64": base64.b64encode(body).decode("ascii")}


def _in_order(reply: Sequence[Any]) -> tuple[int, bytes, float, str | None]:
    status, body, latency, retry_after = reply
    return status, body, latency, retry_after


def _marks(values: Sequence[object]) -> str:
    return "(" + ",".join("?" * len(values)) + ")"


def chunks(values: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """Yield the values in tuples of at most `size`."""
    iterator = iter(values)
    while chunk := tuple(islice(iterator, size)):
        yield chunk
