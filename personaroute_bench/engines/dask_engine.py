"""Dask distributed: blocks of work on the workers of a cluster.

Without an address a cluster on this machine is started, on the loopback interface only. Whoever
can talk to a Dask scheduler can run code on its workers, so even there every connection is
encrypted with a certificate that lives as long as the run: other users of the machine are shut
out. A scheduler of one's own is reached as its address and Dask's own configuration say (TLS:
``distributed.comm.tls.*``); nothing is looked for, nothing else is connected to.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from personaroute_bench.engines.engine import Watch
from personaroute_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

    from personaroute_bench.report import Report

_T = TypeVar("_T")
_R = TypeVar("_R")

TICK_S = 0.25
CONNECT_S = 20.0
"""How long to wait for a scheduler, and for its workers."""
LOOK_S = 30.0
"""How often to look whether there are workers at all."""
GRACE_S = 8.0
"""After Ctrl-C: how long tasks may take to end; longer than calls in flight are waited for."""

_LOCAL: dict[str, Any] = {
    # No pages and no figures are served, not even on loopback.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # A worker that is killed starts again, however long that takes on a busy machine.
    "distributed.deploy.lost-worker-timeout": "1h",
}


class DaskEngine:
    """A Dask cluster, connected to or started at first use."""

    parallel = True

    def __init__(self, scheduler: str | None, workers: int | None, report: Report):
        """Start nothing yet.

        Args:
            scheduler: address such as ``tcp://10.0.0.5:8786``; None: a cluster on this machine.
            workers: how many to start, or to wait for; None: one a core, or those that are there.
            report: is told where the work goes.
        """
        self._scheduler = scheduler
        self._asked = workers
        self._report = report
        self._stack = ExitStack()
        self._client: Client | None = None
        self._workers = 0

    @property
    def workers(self) -> int:
        """Workers of the cluster, when it was first used."""
        self._connected()
        return self._workers

    def map(
        self,
        function: Callable[[_T], _R],
        blocks: Sequence[_T],
        watch: Watch | None = None,
    ) -> Iterator[_R]:
        """Yield the function's results in the order of the blocks; see `Engine.map`."""
        client = self._connected()
        futures = client.map(function, list(blocks), pure=False)
        try:
            for future in futures:
                with self._explained():
                    self._wait([future], watch)
                    result = future.result()
                yield result
        except KeyboardInterrupt:
            if watch is not None:
                watch.interrupted()
                with contextlib.suppress(Exception):
                    self._wait(futures, at_most_s=GRACE_S)
            raise
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.cancel(futures)

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        self._stack.close()
        self._client = None

    def _wait(
        self, futures: list[Future], watch: Watch | None = None, at_most_s: float = math.inf
    ) -> None:
        """Wait until the futures are done, in steps, so that progress and Ctrl-C come through."""
        from distributed import wait

        client = self._connected()
        until, look_at = time.monotonic() + at_most_s, time.monotonic() + LOOK_S
        while not all(future.done() for future in futures) and time.monotonic() < until:
            with contextlib.suppress(TimeoutError), client.as_current():
                wait(futures, timeout=TICK_S)
            if watch is not None:
                watch.tick()
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_S
                if not client.nthreads():
                    self._report.warn(
                        f"no worker is connected to {self._scheduler or 'the scheduler'} any "
                        "more; the run waits for one. Ctrl-C ends it, the same command goes on"
                    )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Dask says of its own troubles into one message with a remedy."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError, FuturesCancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except KilledWorker as error:
            raise BenchError(
                f"a block of work ended its Dask worker again and again, last {error.last_worker}; "
                "look into the workers' logs (often: too little memory), and run the same command "
                "again to go on"
            ) from error
        except (FutureCancelledError, FuturesCancelledError, CommClosedError) as error:
            raise BenchError(
                f"the Dask scheduler {self._scheduler or 'of this run'} is gone; start it again, "
                "and run the same command again to go on"
            ) from error

    def _connected(self) -> Client:
        if self._client is None:
            import distributed  # noqa: F401 - its loggers have to be there to be quiet

            self._stack.enter_context(_quiet())
            try:
                self._client = self._local() if self._scheduler is None else self._remote()
            except BaseException:
                self._stack.close()
                raise
            self._workers = len(self._client.nthreads())
            where = self._scheduler or "this machine"
            self._report.note(f"Dask: {self._workers} workers on {where}")
        return self._client

    def _local(self) -> Client:
        import dask
        from distributed import Client, LocalCluster, Security, WorkerPlugin

        class OnlyTheRunHearsCtrlC(WorkerPlugin):  # type: ignore[misc]
            """A terminal tells Ctrl-C to workers too, whose calls must settle first."""

            def setup(self, worker: Any) -> None:
                signal.signal(signal.SIGINT, signal.SIG_IGN)

        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="personaroute-", ignore_cleanup_errors=True)
        )
        self._stack.enter_context(dask.config.set(_LOCAL))
        cluster = self._stack.enter_context(
            LocalCluster(
                n_workers=self._asked or os.cpu_count() or 1,
                threads_per_worker=1,
                host="127.0.0.1",
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                local_directory=folder,
                security=Security.temporary(),
                silence_logs=logging.CRITICAL,
            )
        )
        client: Client = self._stack.enter_context(Client(cluster, set_as_default=False))
        client.register_plugin(OnlyTheRunHearsCtrlC())
        return client

    def _remote(self) -> Client:
        from distributed import Client

        try:
            client: Client = self._stack.enter_context(
                Client(self._scheduler, timeout=CONNECT_S, set_as_default=False)
            )
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"--scheduler {self._scheduler}: no Dask scheduler can be reached there ({error}); "
                "start one (dask scheduler) and give the address that it prints"
            ) from error
        try:
            client.wait_for_workers(self._asked or 1, timeout=CONNECT_S)
        except TimeoutError as error:
            raise UsageError(
                f"--scheduler {self._scheduler} has {len(client.nthreads())} workers after "
                f"{CONNECT_S:.0f} s, {self._asked or 1} are needed; start them (dask worker "
                f"{self._scheduler}), or ask for fewer with --workers"
            ) from error
        return client


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log from the user's screen: what fails is raised, and said once."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    before = [logging.getLogger(name).level for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in zip(names, before, strict=True):
            logging.getLogger(name).setLevel(level)
