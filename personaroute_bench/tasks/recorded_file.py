"""Read the columns of a file of recorded responses, whatever its format, and say what is wrong."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.llms.types import STATUSES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

REQUIRED = ("task_id", "query_id", "query", "ground_truth", "metric", "response")
_INDEX = ("task_id", "query_id", "query", "ground_truth", "metric", "prompt", "licence")
# Passed through where the file has them: name -> Arrow type.
OPTIONAL = {
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "reasoning_tokens": "int64",
    "cached_tokens": "int64",
    "cost_usd": "double",
    "latency_s": "double",
    "status": "string",
    "error_type": "string",
    "finish_reason": "string",
    "resolved_model": "string",
}
_TEXT_COLUMNS = (*REQUIRED, "prompt", "licence", "llm", "llm_id")
_BLOCK = 64 * 1024 * 1024


class RecordedFile:
    """A Parquet, JSONL or CSV file of responses; only the columns asked for are read.

    Attributes:
        columns: the names that the file has.

    Raises:
        UsageError: no such file, another kind of file, broken, a missing column.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise UsageError(f"no file {path} for --responses; give a Parquet, JSONL or CSV file")
        with self._reading():
            self.columns = tuple(self._dataset.schema.names)
        for name in REQUIRED:
            if name not in self.columns:
                raise UsageError(
                    f"{path}: no column {name!r}{did_you_mean(name, self.columns)}; needed are "
                    f"{', '.join(REQUIRED)} and llm or llm_id"
                )
        if "llm" not in self.columns and "llm_id" not in self.columns:
            raise UsageError(f"{path}: no column 'llm' or 'llm_id'; it names who gave the response")
        self._llm = "llm_id" if "llm_id" in self.columns else "llm"

    def llm_ids(self) -> list[str]:
        """Return the LLMs of the file, sorted."""
        import pyarrow.compute as pc

        with self._reading():
            column = _text(self._dataset.to_table(columns=[self._llm])[self._llm])
        return sorted(pc.unique(column).drop_null().to_pylist())

    def index(self, llm_ids: Sequence[str]) -> pa.Table:
        """Return all but the responses of these LLMs: row, llm_id and text columns.

        Text is dictionary-encoded as it is read, so that a query costs its memory once, not once
        an LLM. ``row`` counts from 1.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        names = [name for name in _INDEX if name in self.columns]
        wanted = pa.array(list(llm_ids), pa.string())
        tables, start = [], 1
        with self._reading():
            for batch in self._dataset.to_batches(columns=[*names, self._llm]):
                columns = {name: _text(batch[name]).dictionary_encode() for name in names}
                llm = _text(batch[self._llm])
                columns["llm_id"] = llm
                columns["row"] = pa.array(np.arange(start, start + batch.num_rows))
                start += batch.num_rows
                # A row without an LLM stays, so that it is reported and not passed over.
                keep = pc.or_kleene(pc.is_in(llm, wanted), pc.is_null(llm))
                tables.append(pa.table(columns).filter(keep))
        if not tables or not any(table.num_rows for table in tables):
            raise UsageError(f"{self.path} holds no responses of the chosen LLMs")
        return pa.concat_tables(tables)

    def responses(self, query_ids: Sequence[str], llm_ids: Sequence[str]) -> pa.Table:
        """Return query_id, llm_id, response, recorded_score and the usage columns that are there.

        Raises:
            UsageError: also a negative number, an unknown status, a score outside [0, 1].
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        queries, llms = pa.array(list(query_ids)), pa.array(list(llm_ids), pa.string())
        usage = [name for name in OPTIONAL if name in self.columns]
        names = ["query_id", self._llm, "response", *usage]
        names += ["score"] if "score" in self.columns else []
        keep = pc.is_in(pc.field("query_id").cast(pa.string()), queries) & pc.is_in(
            pc.field(self._llm).cast(pa.string()), llms
        )
        with self._reading():
            read = self._dataset.to_table(columns=names, filter=keep)
            columns = {
                "query_id": _text(read["query_id"]),
                "llm_id": _text(read[self._llm]),
                "response": _text(read["response"]),
                "recorded_score": read["score"].cast(pa.float64())
                if "score" in self.columns
                else pa.nulls(read.num_rows, pa.float64()),
            } | {name: read[name].cast(OPTIONAL[name]) for name in usage}
        table = pa.table(columns)
        self._check(table)
        return table

    def _check(self, table: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in table.schema.names[3:]:
            column = table[name]
            if name == "status":
                wrong = pc.invert(pc.is_in(column, pa.array(STATUSES)))
                remedy = f"statuses are {', '.join(STATUSES)}"
            elif pa.types.is_string(column.type):
                continue
            else:
                top = 1.0 if name == "recorded_score" else 1e15
                inside = pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, top))
                wrong, remedy = pc.invert(inside), f"it lies between 0 and {top:g}"
            wrong = pc.and_(pc.fill_null(wrong, False), column.is_valid())
            if pc.any(wrong).as_py():
                at = pc.index(wrong, True).as_py()
                raise UsageError(
                    f"{self.path}, query_id {table['query_id'][at].as_py()!r}, LLM "
                    f"{table['llm_id'][at].as_py()!r}: {name.removeprefix('recorded_')} cannot be "
                    f"{column[at].as_py()!r}; {remedy}, and is empty where unknown"
                )

    @functools.cached_property
    def _dataset(self) -> ds.Dataset:
        import pyarrow as pa
        import pyarrow.dataset as ds

        suffix = self.path.suffix.lower()
        types = {name: pa.string() for name in _TEXT_COLUMNS}
        types |= {name: pa.type_for_alias(alias) for name, alias in OPTIONAL.items()}
        types["score"] = pa.float64()
        if suffix == ".parquet":
            return ds.dataset(self.path, format="parquet")
        if suffix == ".csv":
            return ds.dataset(self.path, format=_csv_format(types))
        if suffix in (".jsonl", ".ndjson"):
            from personaroute_bench.jsonl import read_json_table

            return ds.dataset(read_json_table(self.path, types)[0])
        raise UsageError(
            f"{self.path}: cannot read {suffix or 'a file without suffix'!r}; --responses takes "
            ".parquet, .jsonl or .csv"
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"{self.path} cannot be read as {self.path.suffix.lower().lstrip('.')}: "
                f"{reason[0][:300]}; is it whole, and are its columns of the right type?"
            ) from error


def _text(column: Any) -> Any:
    """Return a column as strings; ArrowInvalid where its bytes are no UTF-8."""
    import pyarrow as pa

    column = column.cast(pa.string())
    column.validate(full=True)  # a Parquet file may call any bytes text
    return column


def _csv_format(types: dict[str, Any]) -> Any:
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    return ds.CsvFileFormat(
        parse_options=pc.ParseOptions(newlines_in_values=True),
        read_options=pc.ReadOptions(block_size=_BLOCK),
        convert_options=pc.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True
        ),
    )
