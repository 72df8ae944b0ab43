"""evaluate: the sealed protocol, step by step.

1. what was asked for is checked; 2. training and validation interactions become a History, and
in few-shot settings a support; 3. every router fits, adapts and routes, its choices are hashed
and written; 4. only now are the test interactions read; 5. choices and outcomes are joined and
scored.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.choices import (
    INVALID,
    choices_digest,
    choices_file,
    read_answers,
    write_choices,
)
from personaroute_bench.evaluation.clock import read_clock
from personaroute_bench.evaluation.controls import control_choices, headroom
from personaroute_bench.evaluation.history import (
    Feedback,
    History,
    Tier,
    past_responses,
)
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.evaluation.protocol import Requests, Router
from personaroute_bench.evaluation.registry import (
    Contestant,
    construct,
    describe,
    resolve,
    take,
    unique,
)
from personaroute_bench.evaluation.requests import make_requests
from personaroute_bench.evaluation.results import Evaluation, Plan, make_evaluation
from personaroute_bench.evaluation.settings import (
    DEFAULT_SHOTS,
    FEW_SHOT,
    Fold,
    Teacher,
    check_plan,
    make_folds,
    trained_on_all,
)
from personaroute_bench.evaluation.texts import encodable, printable
from personaroute_bench.files import check_writable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Interactions, Ints, Strings


@dataclass
class Run:
    """What one contestant did, over all seeds."""

    name: str
    kind: str
    """router, predictions or control."""
    asked_for: bool
    choices: list[Ints] = field(default_factory=list)
    """One [U, Q] a seed; index of the LLM, -1 where invalid."""
    digests: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Their files' names, where they are written."""
    fit_s: list[float] = field(default_factory=list)
    route_s: list[float] = field(default_factory=list)
    problem: str | None = None
    """The first invalid choice, in words."""
    error: str | None = None
    """Why there are no choices to score; None where all went well."""
    trace: str | None = None
    """The traceback behind `error`, for the author of the router."""
    adapt_s: list[float] = field(default_factory=list)
    twin: Run | None = None
    """The same router, fully trained; where retention is asked for."""


def evaluate(
    benchmark: Benchmark | str | Path,
    routers: Sequence[str | type | Router] = (),
    *,
    strategy: str | None = None,
    setting: str = "general",
    shots: int | None = None,
    held_out: Sequence[str] = (),
    retention: bool = False,
    feedback: Feedback = "full",
    interactions_per_user: int | None = None,
    tier: Tier = "T1",
    seeds: int = 1,
    choices_dir: str | Path | None = None,
    predictions: Sequence[str | Path] = (),
    bootstrap_draws: int = 1000,
    confidence: float = 0.95,
    on_progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score routers on the test split of a data set, under the sealed protocol.

    Args:
        benchmark: a data set, or its folder.
        routers: short names, ``module:Class``, classes or instances (an instance is fitted once a
            seed); none: all bundled ones. best-single, best-per-user and the oracles are always
            shown beside.
        strategy: whose rewards; None: the only one there is.
        setting: ``general`` (known users, new queries), ``new-user``, ``new-llm``, ``cross-task``
            or ``drift``; see `settings`.
        shots: interactions that `adapt` is given of each new user or LLM; None: 10.
        held_out: ids of the users, LLMs or tasks that are new; none: chosen by hash.
        retention: also train every router on all there is, and report what few shots keep of it.
        feedback: what the history tells, ``full``, ``choice`` or ``pairwise``.
        interactions_per_user: so many training queries a user; None: all.
        tier: what is known of users, ``T0`` to ``T3``.
        seeds: repetitions, with seeds 0, 1, …: of the routers, and of what the history samples.
        choices_dir: where to write each router's choices.
        predictions: files of choices made elsewhere (user_id, query_id, llm_id).
        bootstrap_draws: for the intervals: 0 (none), or 100 or more.
        confidence: of the intervals.
        on_progress: is told one line a step.

    Returns:
        Results; a router that raised is in them with its status and without metrics.

    Raises:
        UsageError: an option, a router or a prediction file is wrong; nothing was started.
    """
    from personaroute_bench.benchmark import Benchmark

    if not isinstance(benchmark, Benchmark):
        benchmark = Benchmark.load(benchmark)
    if not benchmark.strategies and "pairs" in benchmark.manifest:
        raise UsageError(
            f"{benchmark.directory} holds pairs of real people and no rewards; use "
            "personaroute_bench.evaluation.pairwise.evaluate_pairs, or bench evaluate"
        )
    if strategy is None and setting == "drift" and "drift" in benchmark.strategies:
        strategy = "drift"
    strategy = benchmark.check_strategy(strategy)
    if shots is None and setting in FEW_SHOT:
        shots = DEFAULT_SHOTS
    plan = Plan(
        strategy=strategy,
        setting=setting,
        feedback=feedback,
        tier=tier,
        interactions_per_user=interactions_per_user,
        seeds=seeds,
        bootstrap_draws=bootstrap_draws,
        confidence=confidence,
        shots=shots,
        held_out=tuple(held_out),
        retention=retention,
    )
    check_plan(plan)
    if choices_dir is not None:
        check_writable(Path(choices_dir), "--choices", folder=True)
    if not (len(benchmark.split_queries("test")) and len(benchmark.user_ids)):
        raise UsageError("the data set has no test requests; generate it with more queries")
    folds, names = make_folds(benchmark, plan)
    plan = replace(plan, held_out=tuple(names))
    job = _Job(benchmark, plan, folds, choices_dir, on_progress or (lambda line: None))
    contestants = resolve(routers, others=bool(predictions))
    made = construct(c for c in contestants if c.source is not None)
    runs = _read_files(predictions, job, taken=[c.name for c in contestants])
    runs += _run_all(contestants, made, job)

    job.say("choices are committed; reading the test outcomes")
    outcomes = _read_outcomes(job)
    for contestant in contestants:
        if contestant.source is None:
            run = Run(contestant.name, "control", contestant.asked_for)
            choice = control_choices(run.name, outcomes, benchmark.llm_ids)
            runs.append(_commit_fixed(run, choice, job))
    job.say("scoring")
    gap = headroom(outcomes, benchmark.llm_ids)
    return make_evaluation(
        benchmark,
        plan,
        runs,
        outcomes,
        users=job.users,
        queries=job.test,
        headroom=gap,
    )


@dataclass(frozen=True)
class _Job:
    """What all steps need to know."""

    benchmark: Benchmark
    plan: Plan
    folds: Sequence[Fold]
    choices_dir: str | Path | None
    say: Callable[[str], None]
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

    def teacher(self) -> Teacher:
        """Read the past."""
        benchmark, plan = self.benchmark, self.plan
        parts: dict[str, Interactions] = {}
        for split in ("train", "validation"):
            if len(benchmark.split_queries(split)):
                parts[split] = benchmark.interactions(plan.strategy, split)
        if "train" not in parts:
            raise UsageError("the data set has no training split; generate it with more queries")
        known = np.concatenate([part.queries for part in parts.values()])
        clock = read_clock(benchmark, plan.strategy)
        return Teacher(benchmark, plan, parts, past_responses(benchmark, known), clock)


def _run_all(
    contestants: Sequence[Contestant], made: dict[str, Router | BaseException], job: _Job
) -> list[Run]:
    """Fit and route every router with every seed, and commit to its choices."""
    job.say(f"{len(job.users)} users × {len(job.test)} test queries; reading the history")
    teacher = job.teacher()
    routers = [contestant for contestant in contestants if contestant.name in made]
    runs = _run_folds(routers, made, job, job.folds, teacher)
    if job.plan.retention:
        job.say("fully trained twins")
        whole = [trained_on_all(job.folds, job.benchmark)]
        for name, twin in _run_folds(routers, {}, job, whole, teacher, suffix="-full").items():
            runs[name].twin = twin
    return list(runs.values())


def _run_folds(
    contestants: Sequence[Contestant],
    made: dict[str, Router | BaseException],
    job: _Job,
    folds: Sequence[Fold],
    teacher: Teacher,
    suffix: str = "",
) -> dict[str, Run]:
    """Run all routers over seeds and folds; `made` holds those that are constructed already."""
    plan = job.plan
    blocks = [list(make_requests(job.benchmark, fold, plan.tier, teacher.clock)) for fold in folds]
    runs = {c.name: Run(c.name + suffix, "router", c.asked_for) for c in contestants}
    history = None
    for seed in range(plan.seeds):
        grids = {name: np.full((len(job.users), len(job.test)), INVALID) for name in runs}
        spent = {name: np.zeros(3) for name in runs}
        for fold, asked in zip(folds, blocks, strict=True):
            # The history of a later seed is another one only where something is drawn.
            drawn = plan.feedback != "full" or plan.interactions_per_user
            if history is None or drawn or len(folds) > 1:
                history = teacher.history(fold, seed)
            support = teacher.support(fold, seed)
            for contestant in contestants:
                run = runs[contestant.name]
                if run.error is not None:
                    continue
                try:
                    router = take(made, contestant, seed)
                    choice, seconds = _run(run, router, history, support, asked)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # SystemExit and its like end one router only
                    run.error = f"error: {describe(error)}"
                    run.trace = encodable("".join(traceback.format_exception(error)))
                    job.say(f"{run.name}: {run.error}")
                    continue
                columns = np.searchsorted(job.test, fold.test)
                grids[contestant.name][:, columns] = np.where(
                    choice >= 0, fold.llms[choice], INVALID
                )
                spent[contestant.name] += seconds
        for name, run in runs.items():
            if run.error is None:
                for times, took in zip(
                    (run.fit_s, run.adapt_s, run.route_s), spent[name], strict=True
                ):
                    times.append(float(took))
                _commit(run, grids[name], job)
                job.say(f"{run.name}: fit {run.fit_s[-1]:.2f} s, routed {run.route_s[-1]:.2f} s")
    return runs


def _run(
    run: Run,
    router: Router,
    history: History,
    support: History | None,
    blocks: Sequence[Requests],
) -> tuple[Ints, tuple[float, float, float]]:
    """Let one router fit, adapt and answer.

    Returns:
        Its choices [U, Q], indices into the candidates; and the seconds of the three steps.
    """
    start = time.perf_counter()
    router.fit(history)
    fitted = time.perf_counter()
    adapt = getattr(router, "adapt", None)
    if support is not None and callable(adapt):
        adapt(support)
    adapted = time.perf_counter()
    parts = []
    for block in blocks:
        answers = router.route(block)
        part, problem = read_answers(answers, len(block), block.candidates)
        parts.append(part.reshape(len(block.user_ids), -1))
        run.problem = run.problem or problem
    routed = time.perf_counter()
    return np.concatenate(parts), (fitted - start, adapted - fitted, routed - adapted)


def _commit(run: Run, choice: Ints, job: _Job) -> None:
    """Hash the choices of the next seed, and write them where a folder is given."""
    seed = len(run.choices)
    run.choices.append(choice)
    run.digests.append(choices_digest(choice, *job.ids))
    if job.choices_dir is not None:
        run.files.append(choices_file(run.name, seed, job.files))
        job.files.add(run.files[-1])
        write_choices(Path(job.choices_dir) / run.files[-1], choice, *job.ids)


def _commit_fixed(run: Run, choice: Ints, job: _Job) -> Run:
    """Commit to choices that are the same for every seed."""
    _commit(run, choice, job)
    run.choices *= job.plan.seeds
    run.digests *= job.plan.seeds
    run.files *= job.plan.seeds
    return run


def _read_files(paths: Sequence[str | Path], job: _Job, taken: list[str]) -> list[Run]:
    """Read prediction files; each is named after its file."""
    read = [(Path(path).stem, read_predictions(path, *job.ids)) for path in paths]
    runs = []
    for stem, (choice, problem) in read:
        name = unique(printable(stem), taken)
        run = Run(name, "predictions", asked_for=True, problem=problem)
        taken.append(run.name)
        runs.append(_commit_fixed(run, choice, job))
    return runs


def _read_outcomes(job: _Job) -> Outcomes:
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
