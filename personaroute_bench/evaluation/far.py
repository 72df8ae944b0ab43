"""Routers on an engine's workers: one task a router and seed, committed to before it comes back.

Only bundled routers travel: a router of the user's own is sealed off in a process on this machine,
an instance is fitted here, and a router that asks an LLM keeps one ledger.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.evaluation.job import Job
from personaroute_bench.evaluation.registry import Contestant, load
from personaroute_bench.evaluation.run import Run

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.engines import Engine
    from personaroute_bench.evaluation.results import Plan
    from personaroute_bench.evaluation.settings import Fold

_STAYS = ("prompt-llm",)


@dataclass(frozen=True)
class _Task:
    """One router with one seed."""

    name: str
    settings: Mapping[str, Any]
    asked_for: bool
    seed: int


def goes_far(contestant: Contestant, engine: Engine | None) -> bool:
    """Whether a router is run by the engine's workers."""
    return (
        engine is not None
        and engine.parallel
        and contestant.bundled
        and contestant.name not in _STAYS
        and inspect.isclass(contestant.source)
    )


def run_far(
    contestants: Sequence[Contestant],
    job: Job,
    origin: Benchmark | str | Path,
    engine: Engine,
) -> list[Run]:
    """Fit and route bundled routers on the engine's workers; see `runner.run_all`.

    Args:
        contestants: those that `goes_far` allows.
        job: as for this process.
        origin: where workers find the data set: a folder that all of them see; one that is only
            in memory is sent to them.
        engine: with several workers.
    """
    source: str | Benchmark = job.benchmark
    if isinstance(origin, str | Path) and job.benchmark.directory is not None:
        source = str(job.benchmark.directory.absolute())
    seeds = range(job.plan.seeds)
    tasks = [_Task(c.name, c.settings, c.asked_for, seed) for c in contestants for seed in seeds]
    job.say(f"{len(tasks)} routers and seeds on {engine.workers} workers")
    asked = (source, job.plan, job.folds, len(job.benchmark.user_ids), job.streamed)
    results = engine.map(partial(_run_task, *asked), tasks)
    runs = []
    for number, contestant in enumerate(contestants, start=1):
        run = _joined([next(results) for _ in seeds])
        for one in (run, run.twin):
            if one is not None:
                job.write(one)
        said = run.error or f"fit {run.fit_s[-1]:.2f} s, routed {run.route_s[-1]:.2f} s"
        job.say(f"{contestant.name}: {said} ({number} of {len(contestants)})")
        runs.append(run)
    return runs


def _run_task(
    source: str | Benchmark,
    plan: Plan,
    folds: Sequence[Fold],
    users: int,
    streamed: bool,
    task: _Task,
) -> Run:
    """Run one router with one seed; runs on a worker."""
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.runner import run_all

    benchmark = Benchmark.load(source) if isinstance(source, str) else source
    job = Job(benchmark.first(users), plan, folds, None, lambda line: None, streamed)
    contestant = Contestant(task.name, load(task.name), task.asked_for, task.settings)
    (run,) = run_all([contestant], {task.name: contestant.make(task.seed)}, job, [task.seed])
    return run


def _joined(parts: Sequence[Run]) -> Run:
    """Return one router's seeds as one run; an error ends it, as it does in this process."""
    run = parts[0]
    for part in parts[1:]:
        if run.error is not None:
            break
        for name in ("choices", "digests", "fit_s", "route_s", "adapt_s", "single_s", "said",
                     "trails"):  # fmt: skip
            getattr(run, name).extend(getattr(part, name))
        run.problem = run.problem or part.problem
        run.error, run.trace = part.error, part.trace
        if run.twin is not None and part.twin is not None:
            run.twin = _joined([run.twin, part.twin])
    return run
