"""Write the interactions of a strategy: users × responses, streamed in blocks of users.

Rows are sorted by user, query and LLM, in the order of their tables. A block of users is one row
group, so that memory does not grow with the number of users.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from personaroute_bench.benchmark import Ints, Strings
from personaroute_bench.files import disk_error, marked
from personaroute_bench.headroom import Headroom, HeadroomMeter
from personaroute_bench.schemas import SPLITS, interactions_schema
from personaroute_bench.users.rewards import Bools, Doubles, Floats, tied_best

if TYPE_CHECKING:
    from personaroute_bench.engines import Engine

# About so many rows a row group (a block of users over all splits) and a file; measured in
# benchmarks/rows.py: a million rows a group writes fastest, and the Hub likes files below 500 MB.
ROWS_PER_BLOCK = 1_000_000
ROWS_PER_FILE = 25_000_000


@dataclass(frozen=True, slots=True)
class ResponseGrid:
    """What interactions take from responses, as arrays [Q, M] in the order of the tables."""

    query_ids: Strings
    llm_ids: Strings
    split: Strings
    """[Q] train, validation or test."""
    ok: Bools
    """[Q, M] true where the response's status is ok."""
    performance: Floats
    cost_usd: Doubles
    cost: Floats
    completion_tokens: Doubles
    """[Q, M] length of the responses; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a strategy says of a block of users."""

    reward: Floats
    """[u, Q, M]; NaN where there is none."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """The strategy's own columns: name to [u, Q, M], or [u, Q] where all LLMs share it."""


@dataclass(frozen=True, slots=True)
class Law:
    """How a strategy makes rewards."""

    strategy: str
    usable: Bools
    """[Q, M] true where a response has a reward for everybody who took a choice."""
    block: Callable[[int, int], Block]
    """(start, stop) of users to what they think."""


def write_interactions(
    folder: Path,
    grid: ResponseGrid,
    user_ids: Strings,
    law: Law,
    *,
    provenance: str = "simulated",
    engine: Engine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, int], Headroom]:
    """Write ``folder/SPLIT/*.parquet`` for all users.

    The files appear whole or not at all: they are written beside the folder, which is then
    replaced.

    Args:
        folder: ``DIR/interactions/STRATEGY``.
        grid: responses.
        user_ids: [U].
        law: the strategy.
        provenance: of the responses; stands in the files' metadata.
        engine: several workers write spans of users at the same time; None: this process does.
        on_progress: called with rows written and rows in all.

    Returns:
        Rows a split, and the headroom.

    Raises:
        BenchError: no space, no permission, or no usable response.
    """
    aside = folder.absolute().with_name(f".{folder.name}.tmp")
    work = _Work(aside, grid, law, provenance)
    blocks = list(user_blocks(len(user_ids), grid.performance.size))
    try:
        shutil.rmtree(aside, ignore_errors=True)
        if engine is not None and engine.parallel and len(blocks) > 1:
            counts, meter = _write_spans(work, blocks, user_ids, engine, on_progress)
        else:
            meter = _meter(grid, law)
            counts = _write_blocks(work, blocks, user_ids, aside, meter.add, on_progress)
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return counts, meter.result()


@dataclass(frozen=True)
class _Work:
    """What is written where, whoever the users are."""

    aside: Path
    grid: ResponseGrid
    law: Law
    provenance: str


def _write_blocks(
    work: _Work,
    blocks: Sequence[tuple[int, int]],
    user_ids: Strings,
    folder: Path,
    add: Callable[[Floats, Bools], None],
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write blocks of users, whose ids these are; `add` is told rewards and choices of each."""
    grid, law, first = work.grid, work.law, blocks[0][0] if blocks else 0
    rows_per_user = grid.performance.size
    counts = dict.fromkeys(SPLITS, 0)
    schema = interactions_schema(law.strategy)
    schema = schema.with_metadata(marked(schema.metadata, work.provenance))
    with ExitStack() as stack:
        splits = {
            name: stack.enter_context(_SplitWriter(folder / name, grid, grid.split == name, schema))
            for name in SPLITS
        }
        for start, stop in blocks:
            block = law.block(start, stop)
            chosen = tied_best(block.reward)
            add(block.reward, chosen)
            for name, writer in splits.items():
                counts[name] += writer.write(user_ids[start - first : stop - first], block, chosen)
            if on_progress is not None:
                on_progress(stop * rows_per_user, len(user_ids) * rows_per_user)
    return counts


def _write_spans(
    work: _Work,
    blocks: Sequence[tuple[int, int]],
    user_ids: Strings,
    engine: Engine,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, int], HeadroomMeter]:
    """Let workers write spans of blocks, each into files of its own; number these in order."""
    rows_per_user = work.grid.performance.size
    # A few spans a worker, so that no one waits long for the last; and files of the usual size.
    size = min(-(-len(blocks) // (4 * engine.workers)), max(1, ROWS_PER_FILE // ROWS_PER_BLOCK))
    parts = [blocks[start : start + size] for start in range(0, len(blocks), size)]
    spans = [(part, user_ids[part[0][0] : part[-1][1]]) for part in parts]
    meter = _meter(work.grid, work.law)
    counts, files = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    for name in SPLITS:
        (work.aside / name).mkdir(parents=True)
    written = engine.map(partial(_write_span, work), spans)
    for part, (folder, rows, meters) in zip(parts, written, strict=True):
        # Block by block, as one process adds them up: the sums are the same to the last digit.
        for one in meters:
            meter.merge(one)
        for name in SPLITS:
            counts[name] += rows[name]
            for file in sorted((folder / name).iterdir()):
                file.rename(work.aside / name / f"{files[name]:05d}.parquet")
                files[name] += 1
        shutil.rmtree(folder)
        if on_progress is not None:
            on_progress(part[-1][1] * rows_per_user, len(user_ids) * rows_per_user)
    return counts, meter


def _write_span(
    work: _Work, span: tuple[Sequence[tuple[int, int]], Strings]
) -> tuple[Path, dict[str, int], list[HeadroomMeter]]:
    """Write one span; runs on a worker, and again on another one where that has died half way.

    Returns:
        The folder of its files, rows a split, and a meter a block.
    """
    meters: list[HeadroomMeter] = []

    def add(reward: Floats, chosen: Bools) -> None:
        meters.append(_meter(work.grid, work.law))
        meters[-1].add(reward, chosen)

    # A name of its own: the worker that is thought dead may still be writing.
    blocks, user_ids = span
    folder = work.aside / f".{blocks[0][0]}.{uuid.uuid4().hex}"
    return folder, _write_blocks(work, blocks, user_ids, folder, add), meters


def measure_headroom(
    grid: ResponseGrid,
    users: int,
    law: Law,
    on_progress: Callable[[int, int], None] | None = None,
) -> Headroom:
    """Return the headroom of the first users, of whom nothing is written.

    Raises:
        BenchError: no usable response.
    """
    meter = _meter(grid, law)
    for start, stop in user_blocks(users, grid.performance.size):
        reward = law.block(start, stop).reward
        meter.add(reward, tied_best(reward))
        if on_progress is not None:
            on_progress(stop * grid.performance.size, users * grid.performance.size)
    return meter.result()


def rows_of(grid: ResponseGrid, users: int) -> dict[str, int]:
    """Return how many interactions each split has, stored or not."""
    per_query = users * grid.llm_ids.size
    return {name: int((grid.split == name).sum()) * per_query for name in SPLITS}


def _meter(grid: ResponseGrid, law: Law) -> HeadroomMeter:
    return HeadroomMeter(
        grid.llm_ids.tolist(), law.usable, grid.split == "train", grid.split == "test"
    )


def user_blocks(users: int, rows_per_user: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of blocks of users of about ROWS_PER_BLOCK rows."""
    step = max(1, ROWS_PER_BLOCK // max(1, rows_per_user))
    for start in range(0, users, step):
        yield start, min(start + step, users)


class _SplitWriter:
    """Writes one split; what does not depend on the user is prepared once a block size."""

    def __init__(self, folder: Path, grid: ResponseGrid, queries: Bools, schema: pa.Schema) -> None:
        self.folder = folder
        self.grid = grid
        self.schema = schema
        self.queries: Ints = np.flatnonzero(queries)
        self.writer: pq.ParquetWriter | None = None
        self.rows_in_file = 0
        self.files = 0
        self.tiled: tuple[int, list[pa.Array]] = (0, [])

    def __enter__(self) -> _SplitWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, user_ids: Strings, block: Block, chosen: Bools) -> int:
        """Write one block of users as one row group; return its rows."""
        users, cells = len(user_ids), self.queries.size * self.grid.llm_ids.size
        query, llm, performance, cost_usd, cost = self._columns(users)
        user_code = np.repeat(np.arange(users, dtype=np.int32), cells)
        mine = block.reward[:, self.queries].reshape(-1)
        table = pa.Table.from_arrays(
            [
                pa.DictionaryArray.from_arrays(user_code, pa.array(user_ids.tolist())),
                query,
                llm,
                performance,
                cost_usd,
                cost,
                pa.array(mine, mask=np.isnan(mine)),
                pa.array(chosen[:, self.queries].reshape(-1)),
                *(self._own(values) for values in block.columns.values()),
            ],
            schema=self.schema,
        )
        self._writer(table.num_rows).write_table(table, row_group_size=table.num_rows)
        return int(table.num_rows)

    def _writer(self, rows: int) -> pq.ParquetWriter:
        if self.writer is not None and self.rows_in_file + rows > ROWS_PER_FILE:
            self.writer.close()
            self.writer = None
        if self.writer is None:
            self.writer = pq.ParquetWriter(
                self.folder / f"{self.files:05d}.parquet",
                self.schema,
                compression="zstd",
                # Rewards differ for every user: a dictionary only costs time and space there.
                use_dictionary=[
                    name for name in self.schema.names if name not in ("reward", "chosen", "style")
                ],
                column_encoding={
                    name: "BYTE_STREAM_SPLIT"
                    for name in self.schema.names
                    if name in ("reward", "style")
                },
            )
            self.files += 1
            self.rows_in_file = 0
        self.rows_in_file += rows
        return self.writer

    def _own(self, values: NDArray[Any]) -> pa.Array:
        """Flatten a column of the strategy's own, [u, Q, M] or [u, Q]."""
        mine = values[:, self.queries]
        if mine.ndim == 2:
            mine = np.repeat(mine, self.grid.llm_ids.size, axis=1)
        return pa.array(mine.reshape(-1))

    def _columns(self, users: int) -> list[pa.Array]:
        if self.tiled[0] != users:
            grid, q, m = self.grid, self.queries.size, self.grid.llm_ids.size
            query_code = np.tile(np.repeat(np.arange(q, dtype=np.int32), m), users)
            llm_code = np.tile(np.arange(m, dtype=np.int32), users * q)
            columns = [
                pa.DictionaryArray.from_arrays(
                    query_code, pa.array(grid.query_ids[self.queries].tolist())
                ),
                pa.DictionaryArray.from_arrays(llm_code, pa.array(grid.llm_ids.tolist())),
            ]
            for values in (grid.performance, grid.cost_usd, grid.cost):
                tiled = np.tile(values[self.queries].reshape(-1), users)
                columns.append(pa.array(tiled, mask=np.isnan(tiled)))
            self.tiled = (users, columns)
        return self.tiled[1]
