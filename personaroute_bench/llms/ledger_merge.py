"""Merging ledgers: what several processes asked side by side becomes one account again.

An attempt is known by its call and its start. So merging a ledger twice, or after a crash half
way, or again when it has grown, adds what is new and nothing else.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.llms.ledger_schema import LedgerInUse, storage_error

# Names are qualified throughout: an unqualified one would silently mean the first that has it.
_STEPS = (
    # Which run and which attempt get which number in the whole ledger.
    """CREATE TEMP TABLE run_of AS SELECT r.id AS old, coalesce(
        (SELECT m.id FROM main.runs m WHERE m.pid = r.pid AND m.started_at = r.started_at),
        (SELECT coalesce(max(id), 0) FROM main.runs) + row_number() OVER (ORDER BY r.id)
    ) AS new FROM part.runs r""",
    """CREATE TEMP TABLE attempt_of AS SELECT a.id AS old, coalesce(
        (SELECT m.id FROM main.attempts m WHERE m.key = a.key AND m.started_at = a.started_at),
        (SELECT coalesce(max(id), 0) FROM main.attempts) + row_number() OVER (ORDER BY a.id)
    ) AS new FROM part.attempts a""",
    "CREATE UNIQUE INDEX temp.attempt_of_old ON attempt_of (old)",
    """INSERT OR IGNORE INTO main.runs (id, dataset_id, pid, started_at, finished_at, stopped)
    SELECT o.new, :dataset_id, r.pid, r.started_at, r.finished_at, r.stopped
    FROM part.runs r JOIN temp.run_of o ON o.old = r.id""",
    """INSERT OR IGNORE INTO main.calls
    (key, llm_id, provider, model, tag, created_at, settled_attempt, request_json)
    SELECT key, llm_id, provider, model, tag, created_at, NULL, request_json
    FROM part.calls ORDER BY rowid""",
    """INSERT OR IGNORE INTO main.replies (attempt_id, http_status, latency_s, retry_after, body)
    SELECT o.new, r.http_status, r.latency_s, r.retry_after, r.body
    FROM part.replies r JOIN temp.attempt_of o ON o.old = r.attempt_id""",
    # One that was merged before it was judged is written anew; a judged one stands.
    """DELETE FROM main.attempts WHERE kind IS NULL AND id IN (SELECT new FROM temp.attempt_of)""",
    """INSERT OR IGNORE INTO main.attempts
    (id, key, run_id, dataset_id, started_at, finished_at, state, kind, error_kind, error_message,
     reserved_usd, cost_usd)
    SELECT o.new, a.key, r.new, :dataset_id, a.started_at, a.finished_at, a.state, a.kind,
     a.error_kind, a.error_message, a.reserved_usd, a.cost_usd
    FROM part.attempts a JOIN temp.attempt_of o ON o.old = a.id
    JOIN temp.run_of r ON r.old = a.run_id""",
    """UPDATE main.calls SET settled_attempt = (
        SELECT o.new FROM part.calls c JOIN temp.attempt_of o ON o.old = c.settled_attempt
        WHERE c.key = main.calls.key
    ) WHERE settled_attempt IS NULL
    AND key IN (SELECT key FROM part.calls WHERE settled_attempt IS NOT NULL)""",
    "DROP TABLE temp.run_of",
    "DROP TABLE temp.attempt_of",
)


def merge_ledger(ledger: Ledger, part: Path, dataset_id: str, *, wait_s: float = 0.0) -> None:
    """Add all that another ledger holds to this one, in one transaction.

    The other file is closed for its owner first: what its dead process left in flight becomes
    unknown spend. It is not deleted.

    Args:
        ledger: takes it in; open for writing, with no run going on.
        part: the other ledger's file.
        dataset_id: whose money the other ledger's attempts are from now on.
        wait_s: how long to wait for a process that is just ending to let go of the file.

    Raises:
        LedgerInUse: another process works with the file.
        UsageError: it is no ledger.
        BenchError: this ledger cannot be written; it is as it was.
    """
    other = open_waiting(part, wait_s)
    try:
        ledger.execute("ATTACH DATABASE ? AS part", (str(part.absolute()),))
        try:
            _merge(ledger, dataset_id)
        finally:
            with contextlib.suppress(sqlite3.Error):
                ledger.connection.execute("DETACH DATABASE part")
    finally:
        other.close()


def open_waiting(path: Path, wait_s: float) -> Ledger:
    """Open a ledger; where a process holds it, wait a while for that to end.

    Raises:
        LedgerInUse: it is still in use afterwards.
        UsageError: it is no ledger.
        BenchError: it cannot be opened.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            return Ledger(path)
        except LedgerInUse:
            if time.monotonic() >= until:
                raise
        time.sleep(0.05)


def _merge(ledger: Ledger, dataset_id: str) -> None:
    execute = ledger.connection.execute
    try:
        execute("BEGIN IMMEDIATE")
        try:
            for step in _STEPS:
                execute(step, {"dataset_id": dataset_id} if ":dataset_id" in step else {})
            execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise storage_error(error, ledger.path) from error
