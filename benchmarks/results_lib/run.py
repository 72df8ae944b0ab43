"""Run cells: data first, then the most important cells, on a few processes; safe to stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from personaroute_bench.errors import BenchError, Interrupted
from results_lib.plan import Cell, Clock, Plan, duration

# Each worker computes on one core: two torch threads on two busy cores are slower than one.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def make_data(plan: Plan, cells: Sequence[Cell], work: Path) -> None:
    """Generate the data sets of these cells, where they are not there."""
    from personaroute_bench.benchmark import MANIFEST
    from personaroute_bench.config import DataConfig
    from personaroute_bench.generate import generate

    wanted = {cell.data for cell in cells}
    for data in plan.data:
        folder = work / "data" / data.name
        if data.name in wanted and not (folder / MANIFEST).is_file():
            start = time.perf_counter()
            generate(DataConfig(**data.options()), folder)
            print(f"made {data.name} in {time.perf_counter() - start:.0f} s", flush=True)


def run_cells(plan: Plan, cells: Sequence[Cell], work: Path, jobs: int) -> int:
    """Run what is not finished; return how many cells failed.

    Raises:
        Interrupted: by Ctrl-C; finished cells stay, and the same command continues.
        BenchError: a worker died.
    """
    from results_lib.cells import finished

    clock, todo, took = Clock(plan), [], 0.0
    for cell in cells:
        facts = finished(work, cell)
        if facts is None:
            todo.append(cell)
        else:
            clock.learn(cell, facts["seconds"])
            took += facts["seconds"]
    left = duration(clock.total(todo) / jobs)
    cores = "1 core" if jobs == 1 else f"{jobs} cores"
    print(f"about {left} on {cores}; {len(cells) - len(todo)} of {len(cells)} cells done")
    if todo:
        make_data(plan, todo, work)
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    # Spawned, since forked processes and torch's threads do not go together.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start)
    failed, running, rest = 0, {}, list(todo)
    try:
        while rest or running:
            while rest and len(running) < jobs:
                cell = rest.pop(0)
                running[pool.submit(_work, cell, work)] = cell
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                cell = running.pop(future)
                facts = _result(future, cell)
                failed += facts["status"] != "ok"
                expected = clock.expect(cell)
                clock.learn(cell, facts["seconds"])
                number = len(cells) - len(rest) - len(running)
                left = duration((clock.total(rest) + clock.total(running.values()) / 2) / jobs)
                status = "" if facts["status"] == "ok" else f"  {facts['status']}"
                print(
                    f"[{number}/{len(cells)}] {cell.name}  {facts['seconds']:.1f} s "
                    f"(expected {expected:.0f}); {left} left{status}",
                    flush=True,
                )
    except KeyboardInterrupt:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise Interrupted(
            f"stopped; {len(cells) - len(rest) - len(running)} of {len(cells)} cells are done, "
            "the same command continues"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return failed


def _start() -> None:
    """Leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(cell: Cell, work: Path) -> dict[str, Any]:
    from results_lib.cells import run_cell

    try:
        return run_cell(cell, work)
    except Exception as error:  # one broken cell must not end hours of others
        return {"status": f"error: {type(error).__name__}: {error}", "seconds": 0.0}


def _result(future: Future[dict[str, Any]], cell: Cell) -> dict[str, Any]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise BenchError(
            f"a worker died while {cell.name} or its neighbour ran, most likely for want of "
            "memory; run the same command again with --jobs 1"
        ) from error
