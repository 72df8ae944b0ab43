"""What the tests of engines share: an engine of several workers in this process, and a question
whether two data sets hold the same rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from personaroute_bench.engines import Watch


def travelled(value: Any) -> Any:
    """What arrives of a value at another process."""
    return pickle.loads(pickle.dumps(value))


class SeveralHere:
    """Runs block after block in this process, but divides the work as for so many workers."""

    parallel = True

    def __init__(self, workers: int):
        self.workers = workers
        self.maps: list[int] = []
        """Blocks of each map."""
        self.before: Callable[[int], None] = lambda number: None
        """Called with a block's number before it runs."""

    def map(
        self, function: Callable[[Any], Any], blocks: Sequence[Any], watch: Watch | None = None
    ) -> Iterator[Any]:
        self.maps.append(len(blocks))
        for number, block in enumerate(blocks):
            try:
                self.before(number)
                result = travelled(function(travelled(block)))
            except KeyboardInterrupt:
                if watch is not None:
                    watch.interrupted()
                raise
            if watch is not None:
                watch.tick()
            yield result


def assert_same_rows(one: Path, two: Path) -> None:
    """Every table of both data sets, row for row, but for how long calls took."""
    files = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
    tables = {str(file.parent if len(file.parts) > 1 else file) for file in files}
    assert tables, "no tables"
    for name in tables:
        tables_of = [pq.read_table(folder / name) for folder in (one, two)]
        if name == "responses.parquet":
            tables_of = [table.drop(["latency_s"]) for table in tables_of]
        assert tables_of[0].equals(tables_of[1]), name
