"""One evaluation: its data set and plan, who asks what, and when the hidden part is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.choices import choices_file, write_choices
from personaroute_bench.evaluation.clock import read_clock
from personaroute_bench.evaluation.history import past_responses
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.protocols import cost_weights
from personaroute_bench.evaluation.settings import Fold, Teacher

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Doubles, Interactions, Ints, Strings
    from personaroute_bench.evaluation.results import Plan
    from personaroute_bench.evaluation.run import Run
    from personaroute_bench.evaluation.streamed import StreamedTeacher


@dataclass(frozen=True)
class Job:
    """What all steps need to know."""

    benchmark: Benchmark
    plan: Plan
    folds: Sequence[Fold]
    choices_dir: str | Path | None
    say: Callable[[str], None]
    streamed: bool = False
    """Whether there are so many users that interactions are read block by block."""
    files: set[str] = field(default_factory=set)
    """Names of the choices files so far: each belongs to one router and seed."""

    @property
    def users(self) -> Ints:
        """[U] indices of the users who ask: the same in every fold."""
        return self.folds[0].asking

    @property
    def test(self) -> Ints:
        """[Q] indices of the queries they ask, over all folds."""
        return np.sort(np.concatenate([fold.test for fold in self.folds]))

    @property
    def ids(self) -> tuple[Strings, Strings, Strings]:
        """Ids of users, queries and LLMs of the choices."""
        benchmark = self.benchmark
        return (
            benchmark.user_ids[self.users],
            benchmark.query_ids[self.test],
            benchmark.llm_ids,
        )

    @property
    def choice_type(self) -> type[np.signedinteger[Any]]:
        """What choices are held as: of many users in as few bytes as there are LLMs."""
        if not self.streamed:
            return np.int64
        return np.int8 if len(self.benchmark.llm_ids) <= np.iinfo(np.int8).max else np.int32

    def write(self, run: Run) -> None:
        """Write the choices of a run's seeds that are in no file yet, where a folder is given."""
        if self.choices_dir is None:
            return
        for seed in range(len(run.files), len(run.choices)):
            run.files.append(choices_file(run.name, seed, self.files))
            self.files.add(run.files[-1])
            more = run.trails[seed].columns(self.benchmark.llm_ids)
            path = Path(self.choices_dir) / run.files[-1]
            write_choices(path, run.choices[seed], *self.ids, more)

    @cached_property
    def outcomes(self) -> Outcomes:
        """What was hidden; asked for when choices are committed, online block by block."""
        return _read_outcomes(self)

    @cached_property
    def cost_weights(self) -> Doubles:
        """[U, Q] see `bill.cost_weights`."""
        clock = read_clock(self.benchmark, self.plan.strategy)
        return cost_weights(self.benchmark, self.plan.strategy, self.users, self.test, clock)

    def teacher(self) -> Teacher | StreamedTeacher:
        """Read the past; of many users it is only opened."""
        benchmark, plan = self.benchmark, self.plan
        if self.streamed:
            from personaroute_bench.evaluation.streamed import StreamedTeacher

            known = np.concatenate([benchmark.split_queries(s) for s in ("train", "validation")])
            told = past_responses(benchmark, known)
            return StreamedTeacher(benchmark, plan, told, read_clock(benchmark, plan.strategy))
        parts: dict[str, Interactions] = {}
        for split in ("train", "validation"):
            if len(benchmark.split_queries(split)):
                parts[split] = benchmark.interactions(plan.strategy, split)
        if "train" not in parts:
            raise UsageError("the data set has no training split; generate it with more queries")
        known = np.concatenate([part.queries for part in parts.values()])
        clock = read_clock(benchmark, plan.strategy)
        return Teacher(benchmark, plan, parts, past_responses(benchmark, known), clock)


def _read_outcomes(job: Job) -> Outcomes:
    """Read the test split; called when all choices are committed."""
    benchmark, strategy = job.benchmark, job.plan.strategy
    hidden, test = benchmark.interactions(strategy, "test"), benchmark.split_queries("test")
    U = len(benchmark.user_ids)
    if not (np.array_equal(hidden.users, np.arange(U)) and np.array_equal(hidden.queries, test)):
        raise BenchError(
            f"the test interactions of {strategy} are not those of all {U} users and "
            f"{len(test)} test queries in the order of their tables; run bench generate again"
        )
    reward, chosen = hidden.reward, hidden.chosen
    if len(job.users) < U or len(job.test) < len(test):
        asked = np.ix_(job.users, np.searchsorted(test, job.test))
        reward, chosen = reward[asked], chosen[asked]
    return Outcomes.of(
        reward, chosen, benchmark.performance[job.test], benchmark.cost_usd[job.test]
    )
