"""Files appear whole or not at all: write beside the target, flush to disk, then rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@contextlib.contextmanager
def atomic_path(target: Path, *, option: str = "--out") -> Iterator[Path]:
    """Yield a temporary path that becomes ``target`` when the block succeeds.

    A link is followed. A device or a pipe is never replaced: it is written to.

    Args:
        target: the file; its folder is made.
        option: the option that can name another place, for the message.

    Raises:
        UsageError: target is a folder or another thing that no file can take the place of.
        BenchError: no space, no permission; the old file, if any, is untouched.
    """
    if _is_stream(target, option):
        with _as_disk_error(target, option), tempfile.TemporaryDirectory() as folder:
            aside = Path(folder) / target.name
            yield aside
            _append(aside, target)
        return
    real = Path(os.path.realpath(target))
    temporary = real.with_name(_temporary_name(real))
    try:
        with _as_disk_error(target, option):
            real.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            temporary.replace(real)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(target: Path, option: str, *, folder: bool = False) -> None:
    """Check that a file can be written later, before much work is done for it; leaves no trace.

    Args:
        target: the file, which need not be there; or the folder that files are to be written to.
        option: the option that names it.
        folder: whether it is a folder.

    Raises:
        UsageError: it cannot be written.
    """
    if not folder and _is_stream(target, option):
        if not os.access(target, os.W_OK):
            raise UsageError(f"{option} {target}: Permission denied; name a file of your own")
        return
    real = Path(os.path.realpath(target))
    try:
        found = real if folder else real.parent
        while not found.exists():
            found = found.parent
        # Trying tells more than permission bits, which know no read-only disks or long names.
        probe = found / _temporary_name(real)
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        wanted = "a folder" if folder else "a file"
        reason = f"{found}: {error.strerror or error}"
        raise UsageError(
            f"{option} {target} cannot be written ({reason}); name {wanted} that you may write to"
        ) from error


def disk_error(error: OSError, target: Path, option: str = "--out") -> BenchError:
    """Turn an operating system error about ``target`` into a message with a remedy.

    Args:
        error: what happened.
        target: the file or folder.
        option: the option that can name another place.
    """
    reason = error.strerror or str(error)
    kept = " (nothing that was paid for is lost)" if option == "--out" else ""
    return BenchError(
        f"cannot write {target}: {reason}; free some space, or name a place that you may write to "
        f"with {option}, and run the same command again{kept}"
    )


@contextlib.contextmanager
def _as_disk_error(target: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, target, option) from error


def _temporary_name(real: Path) -> str:
    return f".{real.name}.{os.getpid()}.tmp"


def _is_stream(target: Path, option: str) -> bool:
    """Whether target is a device or a pipe, so that bytes go into it rather than in its place.

    Raises:
        UsageError: it is a folder, a disk or a socket.
    """
    try:
        mode = target.stat().st_mode
    except OSError:  # not there yet; what else is wrong shows when it is written
        return False
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return True
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "neither a file, a terminal nor a pipe"
        raise UsageError(f"{target} is {kind}; name a file with {option}")
    # /dev/stdout may lead to a file that others have open: it must stay the same one.
    return target.is_symlink() and target.absolute().parts[1:2] in (("dev",), ("proc",))


def _append(source: Path, stream: Path) -> None:
    descriptor = os.open(stream, os.O_WRONLY | os.O_APPEND)
    with source.open("rb") as bytes_, os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(bytes_, out)


def write_json(target: Path, value: Any, *, option: str = "--out") -> None:
    """Write JSON atomically, indented, keys in the order given; `option` as in `atomic_path`."""
    with atomic_path(target, option=option) as temporary:
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
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"{path} is not valid JSON: {reason}") from error


def is_inside(name: str) -> bool:
    """Whether a name in a stranger's list stays below the folder that it is about.

    No absolute path, no ``..``, and none of what Windows takes for another place: a drive, a
    backslash, a device such as NUL.
    """
    parts = name.split("/")
    devices = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}
    return not (
        any(part in ("", ".", "..") for part in parts)
        or any(char in name for char in "\\:\0")
        or any(part.split(".")[0].lower() in devices for part in parts)
    )


def sha256_file(path: Path) -> str:
    """Return the SHA-256 hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_table(
    path: Path, table: pa.Table, provenance: str | None = None, *, option: str = "--out"
) -> None:
    """Write one Parquet file (zstd), whole or not at all.

    Args:
        path: the file.
        table: the rows.
        provenance: of the responses behind them; stands in the file's own metadata. None where
            there are none.
        option: as in `atomic_path`.
    """
    import pyarrow.parquet as pq

    if provenance is not None:
        table = table.replace_schema_metadata(marked(table.schema.metadata, provenance))

    with atomic_path(path, option=option) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def marked(metadata: Mapping[bytes, bytes] | None, provenance: str) -> dict[bytes, bytes]:
    """Return schema metadata that says where the responses come from."""
    return {**(metadata or {}), b"personaroute_provenance": provenance.encode()}
