"""Files appear whole or not at all: write beside the target, flush to disk, then rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block succeeds.

    Raises:
        BenchError: no space, no permission; the old file, if any, is untouched.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def disk_error(error: OSError, target: Path) -> BenchError:
    """Turn an operating system error about ``target`` into a message with a remedy."""
    reason = error.strerror or str(error)
    return BenchError(
        f"cannot write {target}: {reason}; free some space, or give a folder that you may write "
        "to with --out, and run the same command again (nothing that was paid for is lost)"
    )


def write_json(target: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given."""
    with atomic_path(target) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UsageError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON: {error}") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_table(path: Path, table: pa.Table, provenance: str | None = None) -> None:
    """Write one Parquet file (zstd), whole or not at all.

    Args:
        path: the file.
        table: the rows.
        provenance: of the responses behind them; stands in the file's own metadata. None where
            there are none.
    """
    import pyarrow.parquet as pq

    if provenance is not None:
        table = table.replace_schema_metadata(marked(table.schema.metadata, provenance))

    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def marked(metadata: Mapping[bytes, bytes] | None, provenance: str) -> dict[bytes, bytes]:
    """Return schema metadata that says where the responses come from."""
    return {**(metadata or {}), b"personaroute_provenance": provenance.encode()}
