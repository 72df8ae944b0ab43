"""When a query came in a user's life, for strategies whose users change (drift)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.schemas import SPLITS

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints

_COLUMNS = ["user_id", "query_id", "time", "segment"]


@dataclass(frozen=True, eq=False)
class Clock:
    """Times of all users and queries of a data set."""

    time: NDArray[np.int32]
    """[U, Q] place in the user's life, from 0: training, then validation, then test."""
    segment: NDArray[np.int8]
    """[U, Q] segment of that time, from 0."""

    def at(self, users: Ints, queries: Ints) -> Clock:
        """Return the clock of some users and queries."""
        grid = np.ix_(users, queries)
        return Clock(self.time[grid], self.segment[grid])


class Timekeeper(Protocol):
    """What tells the times."""

    def at(self, users: Ints, queries: Ints) -> Clock:
        """Return the clock of some users and queries."""
        ...


@dataclass(frozen=True, eq=False)
class VirtualClock:
    """The times of a virtual data set: computed for whom it is asked for."""

    benchmark: Benchmark

    def at(self, users: Ints, queries: Ints) -> Clock:
        """Return the clock of some users and queries."""
        from personaroute_bench.users.drift import segments_of, times_of

        source = self.benchmark.source("drift")
        grid, seed = source.grid, source.data.seed
        times = times_of(grid.split, grid.query_ids, seed, users)[:, queries]
        return Clock(times, segments_of(times, len(grid.query_ids)))


def read_clock(benchmark: Benchmark, strategy: str) -> Timekeeper | None:
    """Read when each user asked what; None for a strategy without time.

    Only the columns of ids and of time are read, of the test split too: when a request comes is
    known when it comes, what it will be worth is not.

    Raises:
        BenchError: a time is missing.
    """
    import pyarrow.parquet as pq

    if benchmark.directory is None or (strategy, "train") in benchmark.memory:
        return None
    if benchmark.virtual:
        return VirtualClock(benchmark) if strategy == "drift" else None
    shape = (len(benchmark.user_ids), len(benchmark.query_ids))
    time = np.full(shape, -1, dtype=np.int32)
    segment = np.full(shape, -1, dtype=np.int8)
    users = {name: i for i, name in enumerate(benchmark.user_ids.tolist())}
    queries = {name: i for i, name in enumerate(benchmark.query_ids.tolist())}
    for split in SPLITS:
        folder = benchmark.directory / "interactions" / strategy / split
        for path in sorted(folder.glob("*.parquet")):
            with pq.ParquetFile(path) as file:
                if not set(_COLUMNS) <= set(file.schema_arrow.names):
                    return None
                for batch in file.iter_batches(1_000_000, columns=_COLUMNS):
                    u, q = places(batch["user_id"], users), places(batch["query_id"], queries)
                    # Of the first users only, where the data set has no more of them.
                    held = u >= 0
                    time[u[held], q[held]] = batch["time"].to_numpy()[held]
                    segment[u[held], q[held]] = batch["segment"].to_numpy()[held]
    if (time < 0).any():
        raise BenchError(
            f"{benchmark.directory} lacks the time of {int((time < 0).sum())} (user, query) rows "
            f"of {strategy}; run bench generate on it again"
        )
    return Clock(time, segment)


def places(values: Any, known: Mapping[str, int]) -> Ints:
    """Return [n] the number of each Arrow string, -1 for one that is not known."""
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    number = [known.get(name, -1) for name in values.dictionary.to_pylist()]
    found: Ints = np.asarray([*number, -1], dtype=np.int64)[np.asarray(values.indices)]
    return found
