"""Publish less of a table than there is: without some texts, or without what a test decides.

Files are read and written batch by batch, so memory does not grow with the number of users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from personaroute_bench.files import atomic_path

Change = Callable[[pa.Table], pa.Table]
_BATCH_ROWS = 1_000_000

TEXTS = {
    "queries": ("query", "prompt", "ground_truth"),
    "responses": ("response",),
    "judgments": ("reply",),
}
"""Columns that hold, or may quote, the text of a query."""

WEIGHTS = (
    "performance_weight",
    "cost_weight",
    "taste",
    "style_performance_weight",
    "mixed_performance_weight",
    "mixed_cost_weight",
    "mixed_style_weight",
    "drift_kind",
    "drift_performance_weights",
)
"""Columns of `users` that turn responses into rewards."""

WHEN = ("user_id", "query_id", "llm_id", "time", "segment")
"""Columns of interactions that say when a request comes, not what it is worth."""


def table_of(name: str) -> str:
    """Return the table that a file belongs to: ``responses/0.parquet`` → ``responses``."""
    return name.split("/", maxsplit=1)[0].removesuffix(".parquet")


def rewrite(source: Path, target: Path, change: Change) -> None:
    """Write a changed copy of a Parquet file (zstd), batch by batch; same input, same bytes."""
    with pq.ParquetFile(source) as file, atomic_path(target) as temporary:
        schema = change(file.schema_arrow.empty_table()).schema
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in file.iter_batches(_BATCH_ROWS):
                table = change(pa.Table.from_batches([batch]))
                writer.write_table(table.replace_schema_metadata(schema.metadata))


def texts_removed(table: str, query_ids: Iterable[str], task_ids: Iterable[str]) -> Change:
    """Return what empties the texts of some queries: ``""``, or null for a reference.

    Args:
        table: its name, a key of `TEXTS`.
        query_ids: whose texts go.
        task_ids: their tasks; `queries` is told by these.
    """
    key, ids = ("task_id", task_ids) if table == "queries" else ("query_id", query_ids)
    gone = pa.array(sorted(ids), pa.string())

    def change(rows: pa.Table) -> pa.Table:
        hit = _is_in(rows[key], gone)
        for name in TEXTS[table]:
            empty = None if name == "ground_truth" else ""
            place = rows.schema.get_field_index(name)
            kind = rows.schema.field(place)
            texts = pc.if_else(hit, pa.scalar(empty, kind.type), rows[name])
            rows = rows.set_column(place, kind, texts)
        return rows

    return change


def without_queries(query_ids: Iterable[str]) -> Change:
    """Return what leaves out the rows of some queries."""
    gone = pa.array(sorted(query_ids), pa.string())
    return lambda rows: rows.filter(pc.invert(_is_in(rows["query_id"], gone)))


def without_references(query_ids: Iterable[str]) -> Change:
    """Return what takes the reference answers away from some rows of `queries`."""
    gone = pa.array(sorted(query_ids), pa.string())

    def change(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index("ground_truth")
        kind = rows.schema.field(place)
        hit = _is_in(rows["query_id"], gone)
        kept = pc.if_else(hit, pa.scalar(None, kind.type), rows["ground_truth"])
        return rows.set_column(place, kind.with_nullable(True), kept)

    return change


def without_columns(names: Iterable[str]) -> Change:
    """Return what drops columns, where they are there."""
    gone = set(names)
    return lambda rows: rows.drop_columns([name for name in rows.column_names if name in gone])


def only_columns(names: Iterable[str]) -> Change:
    """Return what keeps just these columns."""
    return lambda rows: rows.select(list(names))


def _is_in(values: Any, known: pa.Array) -> Any:
    return pc.is_in(values.cast(pa.string()), value_set=known)
