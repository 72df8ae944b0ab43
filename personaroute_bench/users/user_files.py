"""Write the `users` table in blocks, so that memory does not grow with the number of users."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.files import atomic_path, disk_error, marked

# Users a row group, and a file; with persona texts a file of so many stays below 200 MB.
USERS_PER_BLOCK = 50_000
USERS_PER_FILE = 1_000_000


def users_place(folder: Path, users: int) -> Path:
    """Return where the table of so many users stands: one file, or a folder of them."""
    return folder / ("users.parquet" if users <= USERS_PER_FILE else "users")


def write_user_files(
    folder: Path, users: int, block: Callable[[int, int], pa.Table], provenance: str
) -> None:
    """Write ``users.parquet``, or ``users/*.parquet`` of many users, whole or not at all.

    Args:
        folder: of the data set.
        users: their number.
        block: (start, stop) of users to their rows.
        provenance: of the responses; stands in the files' metadata.

    Raises:
        BenchError: no space, no permission.
    """
    place, aside = users_place(folder, users), folder / ".users.tmp"
    other = {folder / "users.parquet", folder / "users"} - {place}
    if place.suffix:
        with atomic_path(place) as temporary:
            _write(temporary, 0, users, block, provenance)
    else:
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for number, start in enumerate(range(0, users, USERS_PER_FILE)):
                stop = min(start + USERS_PER_FILE, users)
                _write(aside / f"{number:05d}.parquet", start, stop, block, provenance)
            shutil.rmtree(place, ignore_errors=True)
            aside.replace(place)
        except OSError as error:
            raise disk_error(error, place) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    for path in other:
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


def _write(
    path: Path, start: int, stop: int, block: Callable[[int, int], pa.Table], provenance: str
) -> None:
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for at in range(start, stop, USERS_PER_BLOCK):
            table = block(at, min(at + USERS_PER_BLOCK, stop))
            if writer is None:
                schema = table.schema.with_metadata(marked(table.schema.metadata, provenance))
                writer = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
            writer.write_table(table.replace_schema_metadata(schema.metadata))
