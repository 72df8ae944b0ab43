"""evaluate: the sealed protocol, step by step.

1. what was asked for is checked; 2. training and validation interactions become a History;
3. every router fits and routes, its choices are hashed and written; 4. only now are the test
interactions read; 5. choices and outcomes are joined and scored.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.errors import BenchError, UsageError, did_you_mean
from personaroute_bench.evaluation.choices import (
    choices_digest,
    choices_file,
    read_answers,
    write_choices,
)
from personaroute_bench.evaluation.controls import control_choices, headroom
from personaroute_bench.evaluation.history import (
    FEEDBACKS,
    TIERS,
    Feedback,
    History,
    Tier,
    disclosed_users,
    frozen,
    make_history,
    past_responses,
)
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.evaluation.protocol import Requests, Router
from personaroute_bench.evaluation.registry import Contestant, describe, resolve, unique
from personaroute_bench.evaluation.results import Evaluation, Plan, make_evaluation

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Interactions, Ints

SETTINGS = ("general",)
# Requests are handed to route in blocks of users of about so many.
BLOCK_REQUESTS = 100_000


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
    fit_s: list[float] = field(default_factory=list)
    route_s: list[float] = field(default_factory=list)
    problem: str | None = None
    """The first invalid choice, in words."""
    error: str | None = None
    """Why there are no choices to score; None where all went well."""
    trace: str | None = None
    """The traceback behind `error`, for the author of the router."""


def evaluate(
    benchmark: Benchmark | str | Path,
    routers: Sequence[str | type | Router] = (),
    *,
    strategy: str | None = None,
    setting: str = "general",
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
        setting: how the data is split; ``general``: known users, new queries.
        feedback: what the history tells, ``full``, ``choice`` or ``pairwise``.
        interactions_per_user: so many training queries a user; None: all.
        tier: what is known of users, ``T0`` to ``T3``.
        seeds: repetitions, with seeds 0, 1, …: of the routers, and of what the history samples.
        choices_dir: where to write each router's choices.
        predictions: files of choices made elsewhere (user_id, query_id, llm_id).
        bootstrap_draws: for the intervals; 0: none.
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
    strategy = benchmark.check_strategy(strategy)
    plan = Plan(
        strategy=strategy,
        setting=setting,
        feedback=feedback,
        tier=tier,
        interactions_per_user=interactions_per_user,
        seeds=seeds,
        bootstrap_draws=bootstrap_draws,
        confidence=confidence,
    )
    _check(plan)
    test = benchmark.split_queries("test")
    if not (len(test) and len(benchmark.user_ids)):
        raise UsageError("the data set has no test requests; generate it with more queries")
    job = _Job(benchmark, plan, test, choices_dir, on_progress or (lambda line: None))
    contestants = resolve(routers, others=bool(predictions))
    made = {c.name: c.make(0) for c in contestants if c.source is not None}
    runs = _read_files(predictions, job, taken=[c.name for c in contestants])
    runs += _run_all(contestants, made, job)

    job.say("choices are committed; reading the test outcomes")
    outcomes = _read_outcomes(benchmark, strategy, test)
    for contestant in contestants:
        if contestant.source is None:
            run = Run(contestant.name, "control", contestant.asked_for)
            choice = control_choices(run.name, outcomes, benchmark.llm_ids)
            runs.append(_commit_fixed(run, choice, job))
    job.say("scoring")
    gap = headroom(outcomes, benchmark.llm_ids)
    return make_evaluation(benchmark, plan, runs, outcomes, headroom=gap, choices_dir=choices_dir)


@dataclass(frozen=True)
class _Job:
    """What all steps need to know."""

    benchmark: Benchmark
    plan: Plan
    test: Ints
    """[Q] indices of the test queries."""
    choices_dir: str | Path | None
    say: Callable[[str], None]

    def histories(self) -> Iterator[History]:
        """Yield the history of each seed; the same one where nothing is sampled."""
        benchmark, plan = self.benchmark, self.plan
        parts: dict[str, Interactions] = {}
        for split in ("train", "validation"):
            if len(benchmark.split_queries(split)):
                parts[split] = benchmark.interactions(plan.strategy, split)
        if "train" not in parts:
            raise UsageError("the data set has no training split; generate it with more queries")
        known = np.concatenate([part.queries for part in parts.values()])
        responses = past_responses(benchmark, known)
        history = None
        for seed in range(plan.seeds):
            if history is None or plan.feedback != "full" or plan.interactions_per_user:
                history = make_history(
                    benchmark,
                    parts["train"],
                    parts.get("validation"),
                    responses,
                    feedback=plan.feedback,
                    tier=plan.tier,
                    interactions_per_user=plan.interactions_per_user,
                    seed=seed,
                )
            yield history


def _run_all(contestants: Sequence[Contestant], made: dict[str, Router], job: _Job) -> list[Run]:
    """Fit and route every router with every seed, and commit to its choices."""
    users, queries = len(job.benchmark.user_ids), len(job.test)
    job.say(f"{users} users × {queries} test queries; reading the history")
    blocks = list(_requests(job.benchmark, job.test, job.plan.tier))
    runs = {c.name: Run(c.name, "router", c.asked_for) for c in contestants if c.name in made}
    for seed, history in enumerate(job.histories()):
        for contestant in contestants:
            run = runs.get(contestant.name)
            if run is None or run.error is not None:
                continue
            try:
                router = made.pop(run.name) if seed == 0 else contestant.make(seed)
                choice = _run(run, router, history, blocks)
            except (Exception, SystemExit) as error:
                run.error = f"error: {describe(error)}"
                run.trace = "".join(traceback.format_exception(error))
                job.say(f"{run.name}: {run.error}")
                continue
            _commit(run, choice, job)
            job.say(f"{run.name}: fit {run.fit_s[-1]:.2f} s, routed {run.route_s[-1]:.2f} s")
    return list(runs.values())


def _run(run: Run, router: Router, history: History, blocks: Sequence[Requests]) -> Ints:
    """Let one router fit and answer; return its choices [U, Q]."""
    start = time.perf_counter()
    router.fit(history)
    fitted = time.perf_counter()
    parts = []
    for block in blocks:
        answers = router.route(block)
        part, problem = read_answers(answers, len(block), block.candidates)
        parts.append(part.reshape(len(block.user_ids), -1))
        run.problem = run.problem or problem
    run.fit_s.append(fitted - start)
    run.route_s.append(time.perf_counter() - fitted)
    return np.concatenate(parts)


def _commit(run: Run, choice: Ints, job: _Job) -> None:
    """Hash the choices of the next seed, and write them where a folder is given."""
    ids = (job.benchmark.user_ids, job.benchmark.query_ids[job.test], job.benchmark.llm_ids)
    seed = len(run.choices)
    run.choices.append(choice)
    run.digests.append(choices_digest(choice, *ids))
    if job.choices_dir is not None:
        write_choices(Path(job.choices_dir) / choices_file(run.name, seed), choice, *ids)


def _commit_fixed(run: Run, choice: Ints, job: _Job) -> Run:
    """Commit to choices that are the same for every seed."""
    _commit(run, choice, job)
    run.choices *= job.plan.seeds
    run.digests *= job.plan.seeds
    return run


def _read_files(paths: Sequence[str | Path], job: _Job, taken: list[str]) -> list[Run]:
    """Read prediction files; each is named after its file."""
    ids = (job.benchmark.user_ids, job.benchmark.query_ids[job.test], job.benchmark.llm_ids)
    read = [(Path(path).stem, read_predictions(path, *ids)) for path in paths]
    runs = []
    for stem, (choice, problem) in read:
        run = Run(unique(stem, taken), "predictions", asked_for=True, problem=problem)
        taken.append(run.name)
        runs.append(_commit_fixed(run, choice, job))
    return runs


def _requests(benchmark: Benchmark, test: Ints, tier: Tier) -> Iterator[Requests]:
    """Yield the requests of the test split, block by block of users."""
    users = disclosed_users(benchmark, tier)
    step = max(1, BLOCK_REQUESTS // len(test))
    queries = benchmark.queries.select(["query_id", "task_id", "query"]).take(test)
    query_ids, candidates = frozen(benchmark.query_ids[test]), frozen(benchmark.llm_ids)
    embeddings = frozen(benchmark.embeddings[test])
    task_of_query, task_ids = frozen(benchmark.task_of_query[test]), frozen(benchmark.task_ids)
    for start in range(0, len(benchmark.user_ids), step):
        ids = benchmark.user_ids[start : start + step]
        yield Requests(
            user_ids=frozen(ids),
            query_ids=query_ids,
            candidates=candidates,
            user_index=frozen(np.repeat(np.arange(len(ids)), len(test))),
            query_index=frozen(np.tile(np.arange(len(test)), len(ids))),
            embeddings=embeddings,
            task_of_query=task_of_query,
            task_ids=task_ids,
            queries=queries,
            users=users.slice(start, len(ids)),
            llms=benchmark.llms,
        )


def _read_outcomes(benchmark: Benchmark, strategy: str, test: Ints) -> Outcomes:
    hidden = benchmark.interactions(strategy, "test")
    U = len(benchmark.user_ids)
    if not (np.array_equal(hidden.users, np.arange(U)) and np.array_equal(hidden.queries, test)):
        raise BenchError(
            f"the test interactions of {strategy} are not those of all {U} users and "
            f"{len(test)} test queries in the order of their tables; run bench generate again"
        )
    return Outcomes.of(
        hidden.reward, hidden.chosen, benchmark.performance[test], benchmark.cost_usd[test]
    )


def _check(plan: Plan) -> None:
    """Raise UsageError for the first option that makes no sense."""
    allowed: dict[str, Sequence[str]] = {
        "setting": SETTINGS,
        "feedback": FEEDBACKS,
        "tier": TIERS,
    }
    for what, known in allowed.items():
        value = getattr(plan, what)
        if value not in known:
            raise UsageError(f"unknown {what} {value!r}{did_you_mean(str(value), list(known))}")
    least = {"seeds": 1, "interactions_per_user": 1, "bootstrap_draws": 0}
    for what, smallest in least.items():
        value = getattr(plan, what)
        if value is not None and value < smallest:
            raise UsageError(f"{what} is {value}; give {smallest} or more")
    if not 0 < plan.confidence < 1:
        raise UsageError(f"confidence is {plan.confidence}; give a number between 0 and 1")
