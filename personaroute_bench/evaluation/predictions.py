"""Choices that were made elsewhere: a file of user_id, query_id, llm_id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.choices import INVALID

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints, Strings

COLUMNS = ("user_id", "query_id", "llm_id")
SUFFIXES = (".parquet", ".csv", ".jsonl")


def read_predictions(
    path: str | Path, user_ids: Strings, query_ids: Strings, llm_ids: Strings
) -> tuple[Ints, str | None]:
    """Read a prediction file.

    Args:
        path: Parquet, CSV (with a header) or JSONL with the columns user_id, query_id, llm_id.
        user_ids: [U] who was to be answered.
        query_ids: [Q] the queries of the test split.
        llm_ids: [M] the candidates.

    Returns:
        [U, Q] index into llm_ids, -1 where the file has no row or no llm_id (an invalid choice,
        counted and charged); and the first such problem in words, or None.

    Raises:
        UsageError: unreadable file, a column that is missing, there twice or not of text, an
            unknown id or a second row for the same request; rows are counted from 1, a CSV's
            header not counted.
    """
    path = Path(path)
    table = _read(path)
    for name in COLUMNS:
        count = table.column_names.count(name)
        if count != 1:
            problem = f"{count} columns" if count else "no column"
            raise UsageError(
                f"{path} has {problem} {name!r}; a prediction file has the columns "
                f"{', '.join(COLUMNS)}, this one has {', '.join(table.column_names)}"
            )
    user = _positions(table["user_id"], user_ids, path, "user_id", "is no user of the data set")
    query = _positions(table["query_id"], query_ids, path, "query_id", "is no test query")
    llm = _positions(table["llm_id"], llm_ids, path, "llm_id", "is no candidate", nullable=True)
    cell = user * len(query_ids) + query
    _, first, count = np.unique(cell, return_index=True, return_counts=True)
    if (count > 1).any():
        seen = np.zeros(len(cell), dtype=np.bool_)
        seen[first] = True
        row = int(np.flatnonzero(~seen)[0])
        raise UsageError(
            f"{path}, row {row + 1}: a second choice for user {str(user_ids[user[row]])!r} and "
            f"query {str(query_ids[query[row]])!r}; give one row a request"
        )
    choice = np.full((len(user_ids), len(query_ids)), INVALID, dtype=np.int64)
    choice.ravel()[cell] = llm
    gaps = np.argwhere(choice == INVALID)
    if not len(gaps):
        return choice, None
    u, q = gaps[0]
    return choice, f"no choice for user {str(user_ids[u])!r}, query {str(query_ids[q])!r}"


def _read(path: Path) -> Any:
    import pyarrow as pa

    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: unknown kind of prediction file; use {', '.join(SUFFIXES)}")
    try:
        table = _read_as(path.suffix, path)
        _ = table.column_names  # these too may be no text
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise UsageError(f"cannot read the prediction file {path}: {_reason(error)}") from error
    return table


def _read_as(suffix: str, path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if suffix == ".parquet":
        return pq.read_table(path, partitioning=None)
    strings = pa.schema([(name, pa.string()) for name in COLUMNS])
    if suffix == ".csv":
        # All strings, so that an id 007 stays one; an empty cell is null.
        convert = pyarrow.csv.ConvertOptions(
            column_types=strings, strings_can_be_null=True, null_values=[""]
        )
        return pyarrow.csv.read_csv(path, convert_options=convert)
    from personaroute_bench.jsonl import read_json_table

    return read_json_table(path, dict(zip(strings.names, strings.types, strict=True)))[0]


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _positions(
    column: Any, ids: Strings, path: Path, name: str, why: str, *, nullable: bool = False
) -> Ints:
    """[rows] index into ids; -1 for null where that is allowed."""
    import pyarrow as pa

    place: dict[str | None, int] = {value: i for i, value in enumerate(ids.tolist())}
    if nullable:
        place[None] = INVALID
    try:
        values = column.cast(pa.string()).to_pylist()
    except (pa.ArrowException, UnicodeError) as error:
        raise UsageError(
            f"{path}, column {name!r} ({str(column.type)[:60]}): {_reason(error)}; write each id "
            "as text"
        ) from error
    positions = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        if value not in place:
            raise UsageError(
                f"{path}, row {row + 1}: {name} {value if value is None else value[:80]!r} {why}; "
                f"known, for instance: {', '.join(ids[:3].tolist())}"
            )
        positions[row] = place[value]
    return positions
