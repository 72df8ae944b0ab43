"""Read CSV and Parquet in blocks of rows, and name the place of what is wrong.

Text comes dictionary-encoded, so that what repeats costs its memory once a block. Rows are
counted from 1, without the header.
"""

from __future__ import annotations

import csv
import math
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from personaroute_bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

# Pieces of a CSV that are parsed at the same time, each of about so many bytes: bounds memory.
BLOCK_BYTES = 16 * 1024 * 1024
_THREADS = 2
# Beyond this size the line of an error is not searched for: that reads the file once more.
_MAX_SEARCHED = 1024**3
_NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "None")


class TableFile:
    """A CSV or Parquet file.

    Attributes:
        path: the file.
        columns: its column names, in order.

    Raises:
        UsageError: no such file, another kind of file, no header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UsageError(f"no file {path}; give a .csv or .parquet file")
        self._csv = path.suffix.lower() == ".csv"
        if not self._csv and path.suffix.lower() != ".parquet":
            raise UsageError(f"{path}: cannot read {path.suffix!r}; give a .csv or .parquet file")
        self.columns = self._header()
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            raise UsageError(f"{path} has two columns {twice[0]!r}; rename or drop one")

    def need(self, *names: str) -> None:
        """Raise unless the file has these columns."""
        for name in names:
            if name not in self.columns:
                raise UsageError(
                    f"{self.path}: no column {name!r}{did_you_mean(name, self.columns)}"
                )

    def blocks(
        self, texts: Sequence[str], numbers: Sequence[str] = ()
    ) -> Iterator[tuple[int, dict[str, pa.Array]]]:
        """Yield (number of the first row, columns) block by block.

        Args:
            texts: columns to read as dictionary-encoded strings; a missing cell is null.
            numbers: columns to read as float64; a missing cell, NaN included, is null.

        Raises:
            UsageError: broken file, a cell that is no number; names the row.
        """
        import pyarrow as pa

        first = 1
        try:
            for batch in self._batches((*texts, *numbers), numbers):
                columns = {name: _texts(batch[name]) for name in texts}
                for name in numbers:
                    values = batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
                    columns[name] = pa.array(values, from_pandas=True)
                yield first, columns
                first += batch.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if self._csv:
                self._explain(numbers)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(f"{self.path} cannot be read: {reason[:300]}") from error

    def fail(self, row: int, what: str, remedy: str) -> NoReturn:
        """Raise an error about a row; of a CSV it names the line as well."""
        line = self._line(row)
        at = f"row {row}" if line is None else f"row {row} (line {line})"
        raise UsageError(f"{self.path}, {at}: {what}; {remedy}")

    def _header(self) -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._csv:
            try:
                return list(pq.read_schema(self.path).names)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{self.path} is not a readable Parquet file: {error}") from error
        with self._rows() as rows:
            header = next(rows, None)
        if not header:
            raise UsageError(f"{self.path} is empty; give a file with a header and rows")
        return header

    def _batches(self, names: Sequence[str], numbers: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.csv as pc
        import pyarrow.parquet as pq

        if not self._csv:
            with pq.ParquetFile(self.path) as file:
                yield from file.iter_batches(batch_size=65_536, columns=list(names))
            return
        text = pa.dictionary(pa.int32(), pa.string())
        convert = pc.ConvertOptions(
            include_columns=list(names),
            column_types={name: pa.float64() if name in numbers else text for name in names},
            null_values=list(_NULLS),
            # An answer may be the word "None"; only an empty cell holds no text.
            strings_can_be_null=False,
        )

        def parse(piece: memoryview, first: bool) -> pa.Table:
            return pc.read_csv(
                pa.BufferReader(pa.py_buffer(piece)),
                read_options=pc.ReadOptions(
                    # The whole piece as one block, which a thread of ours parses.
                    block_size=len(piece) + 1,
                    use_threads=False,
                    column_names=None if first else self.columns,
                ),
                parse_options=pc.ParseOptions(newlines_in_values=True),
                convert_options=convert,
            )

        pool = ThreadPoolExecutor(_THREADS)
        try:
            waiting: deque[Future[pa.Table]] = deque()
            for number, piece in enumerate(_pieces(self.path)):
                waiting.append(pool.submit(parse, piece, number == 0))
                if len(waiting) > _THREADS:
                    yield from waiting.popleft().result().combine_chunks().to_batches()
            for table in waiting:
                yield from table.result().combine_chunks().to_batches()
        finally:
            # Not waited for: whoever stops reading early leaves this to the garbage collector,
            # which may run in one of these very threads, and a thread cannot wait for itself.
            pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _rows(self) -> Iterator[Iterator[list[str]]]:
        limit = csv.field_size_limit(sys.maxsize)
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as lines:
                yield csv.reader(lines)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{self.path} is not readable CSV: {error}") from error
        finally:
            csv.field_size_limit(limit)

    def _line(self, row: int) -> int | None:
        if not self._csv or self.path.stat().st_size > _MAX_SEARCHED:
            return None
        with self._rows() as rows:
            for _ in range(row):  # the header, and the rows before
                next(rows, None)
            return int(rows.line_num) + 1  # type: ignore[attr-defined]

    def _explain(self, numbers: Sequence[str]) -> None:
        """Find the row that Arrow stopped at, and raise an error that names it."""
        if self.path.stat().st_size > _MAX_SEARCHED:
            return
        places = {name: self.columns.index(name) for name in numbers}
        with self._rows() as rows:
            next(rows, None)
            for number, row in enumerate(rows, start=1):
                if row and len(row) != len(self.columns):
                    self.fail(
                        number,
                        f"{len(row)} cells, and the header has {len(self.columns)}",
                        "put text with commas or line breaks in double quotes",
                    )
                for name, place in places.items():
                    if row and row[place] not in _NULLS and not _is_number(row[place]):
                        self.fail(number, f"{name} is {row[place][:40]!r}", "give a number")


def _pieces(path: Path) -> Iterator[memoryview]:
    """Cut a CSV into pieces of whole rows: after a line end that no open quote precedes."""
    with path.open("rb") as file:
        rest = b""
        while more := file.read(BLOCK_BYTES):
            data = rest + more
            before = data.count(b'"')
            end = len(data)
            while True:
                start = data.rfind(b"\n", 0, end)
                if start < 0:
                    break
                before -= data.count(b'"', start, end)
                end = start
                if before % 2 == 0:
                    break
            rest = data[start + 1 :]
            if start >= 0:
                yield memoryview(data)[: start + 1]
        if rest:
            yield memoryview(rest)


def _texts(column: pa.Array) -> pa.DictionaryArray:
    """Return text, dictionary-encoded; a list of texts becomes its lines."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column.validate(full=True)  # a Parquet file may call bytes text that are none
    kind = pa.dictionary(pa.int32(), pa.string())
    if column.type == kind:
        return column
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), "\n")
    return column.cast(pa.string()).dictionary_encode()


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
