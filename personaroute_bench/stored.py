"""Read stored interactions block by block of users, from files and row groups of any size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.benchmark import Interactions, index_of
from personaroute_bench.errors import BenchError
from personaroute_bench.table_check import check_table

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints

_COLUMNS = ["user_id", "query_id", "llm_id", "reward", "chosen"]


def stored_blocks(
    benchmark: Benchmark, strategy: str, split: str, start: int, stop: int, step: int
) -> Iterator[Interactions]:
    """Yield the interactions of users ``start`` to ``stop``, `step` users at a time.

    Raises:
        BenchError: rows are missing, twice there, or name unknown ids.
    """
    assert benchmark.directory is not None, "a data set without a folder is held in memory"
    queries = benchmark.split_queries(split)
    shape = (len(queries), len(benchmark.llm_ids))
    per_user = shape[0] * shape[1]
    folder = benchmark.directory / "interactions" / strategy / split
    at = start
    for table in _whole_users(folder, start * per_user, stop * per_user, step * per_user, per_user):
        count = table.num_rows // per_user
        users = np.arange(at, at + count)
        cell = _cells(benchmark, table, users, queries)
        reward = np.full(count * per_user, np.nan, dtype=np.float32)
        chosen = np.zeros(count * per_user, dtype=np.bool_)
        reward[cell] = table["reward"].to_numpy()
        chosen[cell] = table["chosen"].to_numpy()
        yield Interactions(
            users, queries, reward.reshape(count, *shape), chosen.reshape(count, *shape)
        )
        at += count
    last = benchmark.whole and stop == benchmark.users.num_rows
    if at != stop or (last and _rows(folder) != stop * per_user):
        raise BenchError(
            f"{folder} holds {_rows(folder) // per_user} users, the users table "
            f"{benchmark.users.num_rows}; run bench generate on the folder again"
        )


def _rows(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


def _whole_users(
    folder: Path, first: int, last: int, size: int, per_user: int
) -> Iterator[pa.Table]:
    """Yield rows ``first`` to ``last`` as tables of whole users, of `size` rows each."""
    rest: list[pa.RecordBatch] = []
    held = 0
    for batch in _batches(folder, first, last, size):
        rest.append(batch)
        held += batch.num_rows
        while held >= size:
            table = pa.Table.from_batches(rest)
            yield table.slice(0, size)
            rest = table.slice(size).to_batches()
            held -= size
    if held >= per_user:
        yield pa.Table.from_batches(rest).slice(0, held // per_user * per_user)


def _batches(folder: Path, first: int, last: int, size: int) -> Iterator[pa.RecordBatch]:
    """Yield rows ``first`` to ``last`` of all files in their order; other row groups stay shut."""
    at = 0
    for path in sorted(folder.glob("*.parquet")):
        with _whole(path), pq.ParquetFile(path) as file:
            groups: list[int] = []
            begin = at
            for group in range(file.metadata.num_row_groups):
                end = at + file.metadata.row_group(group).num_rows
                if at < last and end > first:
                    begin = at if not groups else begin
                    groups.append(group)
                at = end
            if not groups:
                continue
            for batch in file.iter_batches(size, row_groups=groups, columns=_COLUMNS):
                low, high = max(first - begin, 0), min(last - begin, batch.num_rows)
                begin += batch.num_rows
                if low < high:
                    check_table(pa.Table.from_batches([batch]), "interactions", str(path))
                    yield batch.slice(low, high - low)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"{path} cannot be read: {reason[:200]}; run bench generate on the folder again"
        ) from error


def _cells(benchmark: Benchmark, table: pa.Table, users: Ints, queries: Ints) -> Ints | slice:
    """Return flat positions [rows] in a [u, q, m] block; a slice where rows are in order."""
    user_ids, query_ids = benchmark.user_ids[users], benchmark.query_ids[queries]
    u = index_of(table["user_id"], pa.array(user_ids), "interactions.user_id")
    q = index_of(table["query_id"], pa.array(query_ids), "interactions.query_id")
    m = index_of(table["llm_id"], benchmark.llms["llm_id"], "interactions.llm_id")
    cell = (u * len(queries) + q) * len(benchmark.llm_ids) + m
    size = len(users) * len(queries) * len(benchmark.llm_ids)
    if len(cell) == size and np.array_equal(cell, np.arange(size)):
        return slice(None)
    met = np.zeros(size, dtype=np.bool_)
    met[cell] = True
    if met.sum() != len(cell):
        raise BenchError("interactions hold the same (user, query, llm) twice")
    return cell
