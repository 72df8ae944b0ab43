"""One piece of work in a thread beside this one, in order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from threadpoolctl import threadpool_limits


class Beside:
    """Do one call at a time in a second thread; a further one waits, so sums keep their order.

    Meant for two halves of array work that take about as long. Meanwhile BLAS keeps to one thread:
    two threads of two threads each wait for one another on two cores.
    """

    def __enter__(self) -> Beside:
        self._limits = threadpool_limits(1, "blas")
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[Any] | None = None
        return self

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call, once the one before has ended.

        Raises:
            Exception: whatever the one before raised.
        """
        self._wait()
        self._pending = self._pool.submit(function, *arguments)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._wait()
        finally:
            self._pool.shutdown()
            self._limits.restore_original_limits()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
