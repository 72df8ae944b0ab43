"""evaluate: the sealed protocol, step by step.

1. what was asked for is checked; 2. training and validation interactions become a History, and
in few-shot settings a support; 3. every router fits, adapts and routes, its choices are hashed
and written; 4. only now are the test interactions read; 5. choices and outcomes are joined and
scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.choices import INVALID, place
from personaroute_bench.evaluation.commit import commit, commit_fixed
from personaroute_bench.evaluation.controls import control_choices, headroom
from personaroute_bench.evaluation.facts import heard
from personaroute_bench.evaluation.far import goes_far, run_far
from personaroute_bench.evaluation.history import Feedback, History, Tier
from personaroute_bench.evaluation.isolation import (
    Isolation,
    Limits,
    RemoteRouter,
    isolation_of,
    released,
)
from personaroute_bench.evaluation.job import Job
from personaroute_bench.evaluation.latency import clock_of, times_of
from personaroute_bench.evaluation.order import changed_answers
from personaroute_bench.evaluation.pace import Pace
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.evaluation.protocol import Router
from personaroute_bench.evaluation.protocols import Scene, Trail, protocol_of
from personaroute_bench.evaluation.registry import (
    Contestant,
    RouterFailed,
    construct,
    resolve,
    take,
    told,
    unique,
)
from personaroute_bench.evaluation.requests import make_requests
from personaroute_bench.evaluation.results import Evaluation, Plan, make_evaluation
from personaroute_bench.evaluation.run import Run
from personaroute_bench.evaluation.sealed import check_sealed, stop_if_sealed
from personaroute_bench.evaluation.settings import (
    DEFAULT_SHOTS,
    FEW_SHOT,
    Fold,
    Teacher,
    check_plan,
    learning_from,
    make_folds,
    trained_on_all,
)
from personaroute_bench.evaluation.streamed import check_streamed, is_large
from personaroute_bench.evaluation.texts import printable
from personaroute_bench.files import check_writable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints
    from personaroute_bench.engines import Engine
    from personaroute_bench.evaluation.streamed import StreamedTeacher

__all__ = ["Run", "evaluate"]


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
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    timed_requests: int = 0,
    bootstrap_draws: int = 1000,
    confidence: float = 0.95,
    limits: Limits | None = None,
    engine: Engine | None = None,
    users: int | None = None,
    history_users: int | None = None,
    stream: bool | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score routers on the test split of a data set, under the sealed protocol.

    Args:
        benchmark: a data set, its folder, or its name on the Hub, ``org/name``.
        routers: short names, ``module:Class`` (run in a process of its own, see `isolation`),
            classes or instances (an instance is fitted once a seed); none: all bundled ones.
            best-single, best-per-user and the oracles are always shown beside.
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
        settings: by name of a router, further keywords of its constructor.
        timed_requests: so many requests are asked again, one at a time, for decision times.
        bootstrap_draws: for the intervals: 0 (none), or 100 or more.
        confidence: of the intervals.
        limits: what routers by import path may take; None: an hour each.
        engine: several workers run bundled routers, one a router and seed; None: this process.
        users: evaluate on the first so many users only; None: on all.
        history_users: the history is of no more than so many of the users, drawn by their
            numbers; None: of all that the setting knows.
        stream: whether interactions are read block by block of users, in memory that does not
            grow with them (docs/scale.md); None: where there are many.
        on_progress: is told one line a step.

    Returns:
        Results; a router that raised is in them with its status and without metrics.

    Raises:
        UsageError: an option, a router or a prediction file is wrong; nothing was started.
    """
    from personaroute_bench.benchmark import Benchmark

    origin = benchmark
    if not isinstance(benchmark, Benchmark):
        benchmark = Benchmark.load(benchmark)
    if users is not None:
        benchmark = benchmark.first(users)
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
        timed_requests=timed_requests,
        history_users=history_users,
    )
    check_plan(plan)
    if choices_dir is not None:
        check_writable(Path(choices_dir), "--choices", folder=True)
    if not (len(benchmark.split_queries("test")) and len(benchmark.user_ids)):
        raise UsageError("the data set has no test requests; generate it with more queries")
    folds, names = make_folds(benchmark, plan)
    folds = learning_from(folds, history_users)
    plan = replace(plan, held_out=tuple(names))
    stream = is_large(benchmark) if stream is None else stream
    job = Job(benchmark, plan, folds, choices_dir, on_progress or (lambda line: None), stream)
    hidden = [Path(p) for p in (benchmark.directory, choices_dir, *predictions) if p is not None]
    with Isolation(hidden, limits or Limits()) as apart:
        contestants = resolve(routers, bool(predictions), settings, apart.source)
        made = construct(c for c in contestants if c.source is not None)
        if job.streamed:
            check_streamed(plan, made)
        if any(protocol_of(router) == "cascade" for router in made.values()):
            _ = job.cost_weights  # what cannot be billed is said before anything is fitted
        check_sealed(benchmark, plan, made, choices_dir)
        runs = _read_files(predictions, job, taken=[c.name for c in contestants])
        far = [c for c in contestants if goes_far(c, engine)]
        near = [c for c in contestants if c not in far]
        ran = run_all(near, made, job) if near else []
        if engine is not None and far:
            ran += run_far(far, job, origin, engine)
        order = [contestant.name for contestant in contestants]
        runs += sorted(ran, key=lambda run: order.index(run.name))
    stop_if_sealed(benchmark, runs, choices_dir)

    job.say("choices are committed; reading the test outcomes")
    score = _score_streamed if job.streamed else _score
    return score(contestants, runs, job)


def _score(contestants: Sequence[Contestant], runs: list[Run], job: Job) -> Evaluation:
    """Join choices with outcomes, those of the controls too."""
    benchmark, outcomes = job.benchmark, job.outcomes
    for contestant in contestants:
        if contestant.source is None:
            run = Run(contestant.name, "control", contestant.asked_for)
            choice = control_choices(run.name, outcomes, benchmark.llm_ids)
            runs.append(commit_fixed(run, choice, job))
    for run in (run for one in runs for run in (one, one.twin) if run is not None):
        for trail, choice in zip(run.trails, run.choices, strict=True):
            trail.settle(benchmark, choice, job.test, lambda: job.cost_weights)
    job.say("scoring")
    gap = headroom(outcomes, benchmark.llm_ids)
    return make_evaluation(
        benchmark,
        job.plan,
        runs,
        outcomes,
        users=job.users,
        queries=job.test,
        headroom=gap,
    )


def _score_streamed(contestants: Sequence[Contestant], runs: list[Run], job: Job) -> Evaluation:
    """Score the choices of many users, block by block of users."""
    from personaroute_bench.evaluation.streamed_results import make_streamed_evaluation
    from personaroute_bench.evaluation.streamed_scores import first_look

    look = first_look(job)
    for contestant in contestants:
        if contestant.source is None:
            run = Run(contestant.name, "control", contestant.asked_for)
            runs.append(commit_fixed(run, look.control_choices(run.name), job))
    job.say("scoring")
    return make_streamed_evaluation(job, runs, look)


def run_all(
    contestants: Sequence[Contestant],
    made: dict[str, Router | BaseException],
    job: Job,
    seeds: Sequence[int] | None = None,
) -> list[Run]:
    """Fit and route every router with every seed, or with these, and commit to its choices."""
    seeds = range(job.plan.seeds) if seeds is None else seeds
    job.say(f"{len(job.users)} users × {len(job.test)} test queries; reading the history")
    teacher = job.teacher()
    routers = [contestant for contestant in contestants if contestant.name in made]
    whole = [trained_on_all(job.folds, job.benchmark)] if job.plan.retention else []
    pace = Pace((c.name, len(seeds) * (len(job.folds) + len(whole))) for c in routers)
    runs = _run_folds(routers, made, job, job.folds, teacher, seeds, pace)
    if whole:
        job.say("fully trained twins")
        twins = _run_folds(routers, {}, job, whole, teacher, seeds, pace, suffix="-full")
        for name, twin in twins.items():
            runs[name].twin = twin
    return list(runs.values())


def _run_folds(
    contestants: Sequence[Contestant],
    made: dict[str, Router | BaseException],
    job: Job,
    folds: Sequence[Fold],
    teacher: Teacher | StreamedTeacher,
    seeds: Sequence[int],
    pace: Pace,
    suffix: str = "",
) -> dict[str, Run]:
    """Run all routers over seeds and folds; `made` holds those that are constructed already."""
    plan = job.plan
    made_of = [make_requests(job.benchmark, fold, plan.tier, teacher.clock) for fold in folds]
    # Requests of many users are made anew for each router rather than held.
    blocks = made_of if job.streamed else [list(some) for some in made_of]
    runs = {c.name: Run(c.name + suffix, "router", c.asked_for) for c in contestants}
    history = None
    for seed in seeds:
        grids = {
            name: np.full((len(job.users), len(job.test)), INVALID, job.choice_type)
            for name in runs
        }
        spent = {name: np.zeros(3) for name in runs}
        trails = {name: Trail() for name in runs}
        for fold, asked in zip(folds, blocks, strict=True):
            # The history of a later seed is another one only where something is drawn.
            drawn = plan.feedback != "full" or plan.interactions_per_user
            if history is None or drawn or len(folds) > 1:
                history = teacher.history(fold, seed)
            support = teacher.support(fold, seed)
            columns = np.searchsorted(job.test, fold.test)
            scene = Scene(job, fold, columns, asked, seed)
            for contestant in contestants:
                run = runs[contestant.name]
                if run.error is not None:
                    continue
                try:
                    router = take(made, contestant, seed)
                    with released(router):
                        run.isolation = isolation_of(router, bundled=contestant.bundled)
                        trail = trails[contestant.name]
                        choice, seconds = _run(run, router, history, support, scene, trail)
                        run.said.append(heard(router, bundled=contestant.bundled))
                        _watch(run, router, scene, choice, trail)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # SystemExit and its like end one router only
                    run.error, run.trace = told(error)
                    pace.drop(contestant.name)
                    job.say(f"{run.name}: {run.error}")
                    continue
                place(choice, fold.llms, grids[contestant.name], columns)
                spent[contestant.name] += seconds
                job.say(
                    f"{run.name}: fit {seconds[0]:.2f} s, routed {seconds[2]:.2f} s "
                    f"({pace.step(contestant.name)})"
                )
        for name, run in runs.items():
            if run.error is None:
                for times, took in zip(
                    (run.fit_s, run.adapt_s, run.route_s), spent[name], strict=True
                ):
                    times.append(float(took))
                commit(run, grids[name], job, trails[name])
    return runs


def _run(
    run: Run,
    router: Router,
    history: History,
    support: History | None,
    scene: Scene,
    trail: Trail,
) -> tuple[Ints, tuple[float, float, float]]:
    """Let one router fit, adapt and answer.

    Returns:
        Its choices [U, Q], indices into the candidates; and the seconds of the three steps.
    """
    clock = clock_of(router)
    start = clock()
    router.fit(history)
    fitted = clock()
    adapt = getattr(router, "adapt", None)
    if support is not None and callable(adapt):
        adapt(support)
    adapted = clock()
    choice, problem = trail.ask(router, scene)
    run.problem = run.problem or problem
    routed = clock()
    if isinstance(router, RemoteRouter) and router.ended:
        run.ended = run.ended or router.ended
        return choice, (fitted - start, adapted - fitted, routed - adapted)
    timed = scene.job.plan.timed_requests
    run.single_s += times_of(router, trail.protocol, scene.blocks[0], timed)
    return choice, (fitted - start, adapted - fitted, routed - adapted)


def _watch(run: Run, router: Router, scene: Scene, choice: Ints, trail: Trail) -> None:
    """Ask a foreign router some requests again: is it a function of user and query?"""
    if not isinstance(router, RemoteRouter) or trail.protocol != "batch" or router.ended:
        return
    block = scene.blocks[0]
    first = choice[: len(block.user_ids)].ravel()
    try:
        found = changed_answers(router, block, first, scene.seed)
    except RouterFailed:  # it has its results, and cannot do this
        return
    if router.ended is None:
        before = run.changed or (0, 0)
        run.changed = before[0] + found[0], before[1] + found[1]


def _read_files(paths: Sequence[str | Path], job: Job, taken: list[str]) -> list[Run]:
    """Read prediction files; each is named after its file."""
    read = [(Path(path).stem, read_predictions(path, *job.ids)) for path in paths]
    runs = []
    for stem, (choice, problem) in read:
        name = unique(printable(stem), taken)
        run = Run(name, "predictions", asked_for=True, problem=problem)
        taken.append(run.name)
        runs.append(commit_fixed(run, choice.astype(job.choice_type, copy=False), job))
    return runs
