"""Commit to choices before outcomes are read: hash them, write them where a folder is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personaroute_bench.evaluation.choices import choices_digest
from personaroute_bench.evaluation.protocols import Trail

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints
    from personaroute_bench.evaluation.job import Job
    from personaroute_bench.evaluation.run import Run


def commit(run: Run, choice: Ints, job: Job, trail: Trail | None = None) -> None:
    """Hash the choices of the next seed, and write them where a folder is given."""
    trail = trail or Trail()
    trail.commit(*job.ids)
    run.trails.append(trail)
    run.choices.append(choice)
    run.digests.append(choices_digest(choice, *job.ids))
    job.write(run)


def commit_fixed(run: Run, choice: Ints, job: Job) -> Run:
    """Commit to choices that are the same for every seed."""
    commit(run, choice, job)
    run.choices *= job.plan.seeds
    run.digests *= job.plan.seeds
    run.trails *= job.plan.seeds
    run.files *= job.plan.seeds
    return run
