"""Whether a table on disk is one of ours: a data set may be a stranger's, or a damaged one."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from personaroute_bench import schemas
from personaroute_bench.errors import UsageError

_KEYS = {
    "tasks": ("task_id",),
    "queries": ("query_id",),
    "llms": ("llm_id",),
    "users": ("user_id",),
}
_NEEDED = {
    "queries": ("query_id", "task_id", "split"),
    "interactions": ("user_id", "query_id", "llm_id", "reward", "chosen"),
}


def check_table(table: pa.Table, name: str, where: str) -> pa.Table:
    """Return the table, whose columns are of the kinds that its schema says.

    Args:
        table: rows as they were read; columns that the schema does not know are left alone.
        name: of the table, such as ``queries``.
        where: the place, for the message.

    Raises:
        UsageError: a column is missing, there twice, of another kind, empty where it may not be,
            or text that is not UTF-8; or an id is there twice.
    """

    def fail(column: str, what: str) -> None:
        raise UsageError(
            f"{where}: column {column[:60]!r} {what}; run bench generate on the data set again, or "
            "fetch it again"
        )

    names = table.column_names
    for column in _NEEDED.get(name, _KEYS.get(name, ())):
        if column not in names:
            fail(column, "is missing")
    kinds = _kinds(name)
    for column in names:
        if column not in kinds:
            continue
        if names.count(column) > 1:
            fail(column, "is there twice")
        values, (kind, nullable) = table[column], kinds[column]
        if _kind(values.type) != kind:
            fail(column, f"is {str(values.type)[:60]}, not {kind}")
        if not nullable and values.null_count:
            fail(column, f"has {values.null_count:,} empty cells")
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            fail(column, f"is damaged ({str(error)[:100]})")
    for column in _KEYS.get(name, ()):
        values = table[column]
        if pc.count_distinct(values.cast(pa.string())).as_py() != len(values):
            fail(column, "names something twice")
    return table


@cache
def _kinds(name: str) -> dict[str, tuple[str, bool]]:
    """Return kind and nullability of each column that the table's schema knows."""
    schema: Any = {
        "tasks": schemas.TASKS,
        "queries": schemas.queries_schema(1),
        "llms": schemas.LLMS,
        "responses": schemas.RESPONSES,
        "users": schemas.USERS,
        "interactions": pa.schema(
            [
                pa.field("user_id", pa.string(), nullable=False),
                pa.field("query_id", pa.string(), nullable=False),
                pa.field("llm_id", pa.string(), nullable=False),
                pa.field("reward", pa.float32()),
                pa.field("chosen", pa.bool_(), nullable=False),
            ]
        ),
    }.get(name, pa.schema([]))
    return {field.name: (_kind(field.type), field.nullable) for field in schema}


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_integer(kind) or types.is_floating(kind):
        return "numbers"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"lists of {_kind(kind.value_type)}"
    return "true or false" if types.is_boolean(kind) else str(kind)
