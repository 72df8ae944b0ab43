"""The ledger's file: its tables, opening it safely, and one process at a time.

calls      one row a logical call: the request, and which attempt settled it
attempts   one row an HTTP attempt: when, of which run and data set, what it cost
replies    the verbatim bytes of an attempt that was answered
runs       one row a process that asked something

Bodies lie apart so that sums over attempts never read them, and so that every large value is
appended once and never rewritten.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import IO

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import disk_error

SCHEMA_VERSION = 1
# "PRBL", kept by SQLite in the file's header: tells a ledger from any other database.
APPLICATION_ID = 0x5052424C

# An attempt is open while kind is null: in flight, or answered and not judged yet. The partial
# index holds those few rows only. cost_usd null means unknown; reserved_usd is then its bound.
_TABLES = f"""
BEGIN;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, dataset_id TEXT NOT NULL, pid INTEGER NOT NULL,
    started_at REAL NOT NULL, finished_at REAL, stopped TEXT
);
CREATE TABLE calls (
    key TEXT PRIMARY KEY, llm_id TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    tag TEXT NOT NULL, created_at REAL NOT NULL, settled_attempt INTEGER, request_json TEXT NOT NULL
);
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, run_id INTEGER NOT NULL, dataset_id TEXT NOT NULL,
    started_at REAL NOT NULL, finished_at REAL, state TEXT NOT NULL, kind TEXT,
    error_kind TEXT, error_message TEXT, reserved_usd REAL, cost_usd REAL
);
CREATE TABLE replies (
    attempt_id INTEGER PRIMARY KEY, http_status INTEGER NOT NULL, latency_s REAL NOT NULL,
    retry_after TEXT, body BLOB NOT NULL
);
CREATE INDEX attempts_of_key ON attempts (key);
CREATE INDEX attempts_open ON attempts (id) WHERE kind IS NULL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a ledger, and make one where there is none.

    A commit reaches the operating system, which keeps it whatever happens to this process; a
    power cut may lose the last seconds, and never more than those.

    Raises:
        UsageError: the file is missing (read only), no ledger, or of another schema version.
        BenchError: it cannot be opened or written.
    """
    if read_only and not path.is_file():
        raise UsageError(f"no ledger at {path}; give its path with --ledger")
    if read_only and not os.access(path.parent, os.W_OK):
        mode = "ro&immutable=1"  # reading in WAL mode would write beside the file
    else:
        mode = "ro" if read_only else "rwc"
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            # Used by one thread at a time; which one depends on the caller's event loop.
            check_same_thread=False,
        )
    except OSError as error:
        raise disk_error(error, path) from error
    except sqlite3.Error as error:
        raise storage_error(error, path) from error
    try:
        _prepare(connection, path, read_only=read_only)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise storage_error(error, path) from error
    except BenchError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    def number(sql: str) -> int:
        return int(connection.execute(sql).fetchone()[0])

    identity = number("PRAGMA application_id")
    version = number("PRAGMA user_version")
    tables = number("SELECT count(*) FROM sqlite_master")
    if identity == version == tables == 0 and not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_TABLES)
    elif identity != APPLICATION_ID:
        raise UsageError(f"{path} is not a ledger of this tool; give another path with --ledger")
    elif version != SCHEMA_VERSION:
        age = "a newer" if version > SCHEMA_VERSION else "an older"
        raise UsageError(
            f"{path} is a ledger of {age} version of this tool (schema {version}, this one reads "
            f"{SCHEMA_VERSION}); install that version, or give another path with --ledger"
        )
    connection.execute("PRAGMA synchronous = NORMAL")
    # Checkpoints wait for the disk, so let them be few: about every 16 MB.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")


def storage_error(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> BenchError:
    """Turn an SQLite error into a message with a remedy."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    # A name in the file that is no text: SQLite itself would not write one.
    undecodable = isinstance(error, UnicodeDecodeError)
    if undecodable or code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return UsageError(
            f"{path} is not a ledger of this tool, or is damaged ({error}); move it away, or give "
            "another path with --ledger"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BenchError(
            f"another program is writing to {path} ({error}); close it and run the same command "
            "again"
        )
    return disk_error(OSError(errno.EIO, str(error)), path)


class LedgerInUse(UsageError):
    """Another process works with the ledger."""


class ProcessLock:
    """A lock file beside the ledger, held by at most one process and freed when that ends.

    Where the platform or the file system has no such locks, nothing is held: SQLite then still
    keeps the file sound, and only the guard against paying twice is weaker.
    """

    def __init__(self, path: Path):
        """Take the lock.

        Raises:
            LedgerInUse: another process holds it.
            BenchError: the lock file cannot be written.
        """
        self._handle: IO[str] | None = None
        lock_path = path.with_name(path.name + ".lock")
        try:
            import fcntl
        except ImportError:
            return
        try:
            lock_path.parent.mkdir(parents=True, exist_ok=True)
            handle = lock_path.open("a+", encoding="ascii", errors="replace")
        except OSError as error:
            raise disk_error(error, lock_path) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read(20).strip() or "unknown"
            handle.close()
            raise LedgerInUse(
                f"the ledger {path} is in use by process {owner}; wait for it to end, or give "
                "another path with --ledger"
            ) from None
        except OSError:
            handle.close()
            return
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._handle = handle

    def release(self) -> None:
        """Free the lock; the file stays, since deleting it could hand out two locks."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
