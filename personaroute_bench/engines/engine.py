"""The seam for engines, and the engine that is always there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from personaroute_bench.errors import UsageError

if TYPE_CHECKING:
    from personaroute_bench.config import RunConfig
    from personaroute_bench.report import Report

_T = TypeVar("_T")
_R = TypeVar("_R")


class Watch(Protocol):
    """Whoever started a map and wants to know how it goes."""

    def tick(self) -> None:
        """Called a few times a second while workers work."""
        ...

    def interrupted(self) -> None:
        """Called once after Ctrl-C: ask the tasks that run to end early and cleanly."""
        ...


class Engine(Protocol):
    """Where blocks of work run."""

    @property
    def parallel(self) -> bool:
        """Whether several blocks may run at the same time; asking starts nothing."""
        ...

    @property
    def workers(self) -> int:
        """How many blocks run at the same time; starts the workers where there are none yet."""
        ...

    def map(
        self,
        function: Callable[[_T], _R],
        blocks: Sequence[_T],
        watch: Watch | None = None,
    ) -> Iterator[_R]:
        """Yield the function's results in the order of the blocks.

        A block whose worker dies is begun anew on another one, so a function must bear that.

        Args:
            function: of one block; it and its results travel between processes.
            blocks: small values; large ones belong into files that all workers see.
            watch: is told while workers work.

        Raises:
            BenchError: workers or their scheduler died too often.
            Exception: whatever the function raised, of the first block in order.
        """
        ...


class LocalEngine:
    """This process: one block after the other."""

    parallel = False
    workers = 1

    def map(
        self,
        function: Callable[[_T], _R],
        blocks: Sequence[_T],
        watch: Watch | None = None,
    ) -> Iterator[_R]:
        """Yield the function's results in the order of the blocks."""
        for block in blocks:
            yield function(block)
            if watch is not None:
                watch.tick()


@contextmanager
def open_engine(run: RunConfig, report: Report) -> Iterator[Engine]:
    """Yield the engine that a run asks for; its workers start when they are first needed.

    Raises:
        UsageError: the engine's package is not installed.
    """
    if run.engine == "local":
        yield LocalEngine()
        return
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise UsageError(
            "--engine dask needs Dask, which is not installed: pip install "
            "'personaroute-bench[dask]', or leave --engine out to work on this machine alone"
        )
    from personaroute_bench.engines.dask_engine import DaskEngine

    engine = DaskEngine(run.scheduler, run.workers, report)
    try:
        yield engine
    finally:
        engine.close()
