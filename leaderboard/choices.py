"""`choices.parquet` of a submission: user_id, query_id, llm_id, seed; one row a request and seed.

The file is a stranger's: its size, types and counts are looked at before its rows are read, and
every id must be one of the data set's.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.choices import INVALID, choices_digest
from personaroute_bench.evaluation.texts import printable

from .submission import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from personaroute_bench.benchmark import Ints, Strings

    from .track import Asked

FILE = "choices.parquet"
COLUMNS = ("user_id", "query_id", "llm_id", "seed")
LARGEST_FILE = 64 << 20
# Rows of one block while reading, and bytes that a column may unpack to.
BLOCK_ROWS = 1 << 20
LARGEST_COLUMN = 512 << 20


def write_choices(path: Path, choices: Sequence[Ints], asked: Asked) -> None:
    """Write choices, one [U, Q] a seed; llm_id is null where the choice is invalid."""
    import pyarrow as pa

    from personaroute_bench.files import write_table

    (U, Q), (users, queries, llms) = asked.shape, asked.ids
    S = len(choices)
    flat = np.concatenate([choice.ravel() for choice in choices]).astype(np.int32)

    def names(index: Ints, ids: Strings, mask: Any = None) -> Any:
        codes = pa.array(index.astype(np.int32), mask=mask)
        return pa.DictionaryArray.from_arrays(codes, pa.array(ids.tolist(), pa.string()))

    table = pa.table(
        {
            "user_id": names(np.tile(np.repeat(np.arange(U), Q), S), users),
            "query_id": names(np.tile(np.arange(Q), U * S), queries),
            "llm_id": names(np.maximum(flat, 0), llms, mask=flat < 0),
            "seed": pa.array(np.repeat(np.arange(S, dtype=np.int32), U * Q)),
        }
    )
    write_table(path, table)


def read_choices(path: Path, asked: Asked) -> list[Ints]:
    """Read a submission's choices.

    Args:
        path: the Parquet file.
        asked: who was to be answered; its track says how many seeds there are.

    Returns:
        One [U, Q] a seed; index of the LLM, -1 where llm_id is null.

    Raises:
        UsageError: no plain file, too large, no Parquet, wrong columns or types, a request that
            is missing or there twice, an unknown id or seed; rows are counted from 1.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw = read_plain_file(path, LARGEST_FILE)
    try:
        with pq.ParquetFile(io.BytesIO(raw)) as file:
            _check_header(path, file, asked)
        # Texts stay in their dictionaries: a long one that is named in every row is held once.
        with pq.ParquetFile(io.BytesIO(raw), read_dictionary=list(COLUMNS[:3])) as file:
            return _read_rows(path, file, asked)
    except (pa.ArrowException, MemoryError, OSError, UnicodeError, OverflowError) as error:
        reason = printable(str(error) or type(error).__name__)[:200]
        raise UsageError(
            f"{path} cannot be read as Parquet: {reason}; write it with bench submit"
        ) from error


def digests(choices: Sequence[Ints], asked: Asked) -> tuple[str, ...]:
    """Return the SHA-256 of each seed's choices."""
    return tuple(choices_digest(choice, *asked.ids) for choice in choices)


def _check_header(path: Path, file: Any, asked: Asked) -> None:
    """Look at what the file claims to hold, before anything is unpacked."""
    import pyarrow as pa

    schema = file.schema_arrow
    if sorted(schema.names) != sorted(COLUMNS):
        found = printable(", ".join(schema.names)[:200])
        raise UsageError(f"{path} has the columns {found}; it must have {', '.join(COLUMNS)}")
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (pa.types.is_integer(kind) if field.name == "seed" else text):
            wanted = "whole numbers" if field.name == "seed" else "text"
            shown = printable(str(kind)[:60])
            raise UsageError(f"{path}, column {field.name!r} is {shown}; it must hold {wanted}")
    (U, Q), S = asked.shape, asked.track.seeds
    if file.metadata.num_rows != U * Q * S:
        raise UsageError(
            f"{path} has {file.metadata.num_rows:,} rows; {U:,} users × {Q:,} test queries × "
            f"{S} seeds need {U * Q * S:,}, with a null llm_id where there is no choice"
        )
    unpacked = np.zeros(len(schema.names))
    for group in range(file.metadata.num_row_groups):
        columns = file.metadata.row_group(group)
        for column in range(columns.num_columns):
            unpacked[column] += columns.column(column).total_uncompressed_size
    if unpacked.max(initial=0) > LARGEST_COLUMN:
        raise UsageError(
            f"{path} unpacks to {int(unpacked.max()):,} bytes in one column; at most "
            f"{LARGEST_COLUMN:,} are read; write it with bench submit"
        )


def _read_rows(path: Path, file: Any, asked: Asked) -> list[Ints]:
    (U, Q), S = asked.shape, asked.track.seeds
    users, queries, llms = asked.ids
    seen = np.zeros(S * U * Q, dtype=np.bool_)
    grid = np.full(S * U * Q, INVALID, dtype=np.int64)
    start = 0
    for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=list(COLUMNS)):
        place = _Place(path, start)
        seed = _seeds(batch["seed"], S, place)
        user = place.index(batch["user_id"], users, "user_id", "is no user who asks here")
        query = place.index(batch["query_id"], queries, "query_id", "is no query asked here")
        cell = (seed * U + user) * Q + query
        _, first = np.unique(cell, return_index=True)
        fresh = np.zeros(len(cell), dtype=np.bool_)
        fresh[first] = True
        fresh &= ~seen[cell]
        if not fresh.all():
            row = int(np.flatnonzero(~fresh)[0])
            raise UsageError(
                f"{path}, row {start + row + 1}: a second choice for user "
                f"{str(users[user[row]])!r}, query {str(queries[query[row]])!r}, seed {seed[row]}; "
                "give one row a request and seed"
            )
        seen[cell] = True
        grid[cell] = place.index(batch["llm_id"], llms, "llm_id", "is no candidate", null=True)
        start += len(cell)
    if not seen.all():
        s, u, q = (int(x) for x in np.unravel_index(int(seen.argmin()), (S, U, Q)))
        raise UsageError(
            f"{path} has no row for user {str(users[u])!r}, query {str(queries[q])!r}, seed {s}; "
            "give every request a row, with a null llm_id where there is no choice"
        )
    return list(grid.reshape(S, U, Q))


class _Place:
    """Where rows stand, for messages."""

    def __init__(self, path: Path, start: int) -> None:
        self.path, self.start = path, start

    def problem(self, row: int, text: str) -> UsageError:
        return UsageError(f"{self.path}, row {self.start + row + 1}: {text}")

    def index(self, column: Any, ids: Strings, name: str, why: str, *, null: bool = False) -> Ints:
        """[rows] position of each value in `ids`; -1 for null where that is allowed."""
        import pyarrow as pa

        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        known = {value: i for i, value in enumerate(ids.tolist())}
        values = column.dictionary.to_pylist()
        table = np.asarray([known.get(value, -2) for value in values] + [INVALID], dtype=np.int64)
        codes = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        found: Ints = table[codes.astype(np.int64)]
        # A dictionary may hold a null too, and that is a null like any other.
        missing = np.asarray([value is None for value in values] + [True], dtype=np.bool_)
        found[missing[codes.astype(np.int64)]] = INVALID
        bad = (found == -2) | ((found == INVALID) & (not null))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = column[row].as_py()
            shown = "null" if value is None else printable(repr(value[:80]))
            few = ", ".join(ids[:3].tolist())
            raise self.problem(row, f"{name} {shown} {why}; known, for instance: {few}")
        return found


def _seeds(column: Any, seeds: int, place: _Place) -> Ints:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    numbers: Ints = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    bad = (numbers < 0) | (numbers >= seeds)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise place.problem(row, f"seed {column[row].as_py()}; this track has 0 to {seeds - 1}")
    return numbers
