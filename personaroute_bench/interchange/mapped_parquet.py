"""Parquet (or CSV) of one's own: a mapping says which column is what.

--map query=question --map llm_id=model --map score=correct --set task_id=ours
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import text_digest
from personaroute_bench.interchange.arrow_rows import TableFile
from personaroute_bench.interchange.response_file import RECORDED, SCHEMA, Origin, Source
from personaroute_bench.llms.types import STATUSES

_NEEDED = ("query", "llm_id")
_TEXTS = [field.name for field in SCHEMA if pa.types.is_string(field.type)]


def open_mapped(path: Path, columns: Mapping[str, str], constants: Mapping[str, str]) -> Source:
    """Open a file whose columns have names of their own.

    Args:
        path: Parquet or CSV, one row a (query, LLM).
        columns: field of `SCHEMA` to column of the file; a field that is left out is the column
            of its own name, where there is one.
        constants: field to a text that holds for every row.

    Raises:
        UsageError: an unknown field or column, or no query, LLM or way to a score.
    """
    file = TableFile(path)
    for name in (*columns, *constants):
        if name not in SCHEMA.names:
            raise UsageError(f"unknown field {name!r}{did_you_mean(name, SCHEMA.names)}")
    for name in constants:
        if name not in _TEXTS or name in columns:
            raise UsageError(f"--set {name}: only a text field that has no --map can be set")
    status = constants.get("status")
    if status is not None and status not in STATUSES:
        raise UsageError(f"--set status={status}: statuses are {', '.join(STATUSES)}")
    file.need(*columns.values())
    used = {name: name for name in SCHEMA.names if name in file.columns and name not in constants}
    used |= columns
    for name in _NEEDED:
        if name not in used:
            raise UsageError(
                f"{path}: which column is the {name}? give --map {name}=COLUMN, one of "
                f"{', '.join(file.columns[:20])}"
            )
    if not {"score", "metric"} & {*used, *constants}:
        raise UsageError(
            f"{path}: how is a response scored? give --map score=COLUMN, or --set metric=NAME "
            "with --map ground_truth=COLUMN"
        )
    return Source(path.name, path, _rows(file, used, constants))


def _rows(
    file: TableFile, used: Mapping[str, str], constants: Mapping[str, str]
) -> Iterator[Origin]:
    texts = [used[name] for name in used if name in _TEXTS]
    numbers = [used[name] for name in used if name not in _TEXTS]
    for first, block in file.blocks(texts, numbers):
        count = len(block[used["query"]])
        columns = {}
        for field in SCHEMA:
            if field.name in constants:
                columns[field.name] = pa.repeat(constants[field.name], count)
            elif field.name in used:
                columns[field.name] = _typed(file, first, block[used[field.name]], field)
        columns.setdefault("task_id", pa.repeat(file.path.stem, count))
        columns.setdefault("metric", pa.repeat(RECORDED, count))
        columns.setdefault("query_id", _ids(columns["task_id"], columns["query"]))
        yield Origin(file.path, first, pa.table(columns))


def _typed(file: TableFile, first: int, column: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{file.path}, rows from {first}: {field.name}: {error}") from error


def _ids(task: pa.Array, query: pa.Array) -> pa.Array:
    """[n] the task and a hash of the query."""
    key = pc.binary_join_element_wise(
        pc.fill_null(task, ""), pc.fill_null(query, ""), "\x1f"
    ).dictionary_encode()
    ids = [
        f"{text.split(chr(31), 1)[0]}-{text_digest(text)[:12]}"
        for text in key.dictionary.to_pylist()
    ]
    return pa.array(ids, pa.string()).take(key.indices)
