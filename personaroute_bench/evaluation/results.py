"""Results: what was measured, as JSON and as a table; nothing here is NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.choices import INVALID
from personaroute_bench.evaluation.entries import (
    entry_of,
    name_files,
    put_together,
    seconds_of,
    status_of,
)
from personaroute_bench.evaluation.field_results import Yardstick
from personaroute_bench.evaluation.further import Further
from personaroute_bench.evaluation.groups import (
    NORMALISED,
    by_group,
    groups_of,
)
from personaroute_bench.evaluation.latency import latency
from personaroute_bench.evaluation.metrics import (
    SCORES,
    ZERO_RANGE,
    Outcomes,
    mean,
    oracle_normalised_reward,
    routing_entropy,
    score,
)
from personaroute_bench.evaluation.shuffle import Shuffled, shuffled
from personaroute_bench.evaluation.standing import paired_key
from personaroute_bench.evaluation.table import BASELINE

if TYPE_CHECKING:
    from rich.console import Console

    from personaroute_bench.benchmark import Benchmark, Doubles, Ints
    from personaroute_bench.evaluation.history import Feedback, Tier
    from personaroute_bench.evaluation.runner import Run

# The draws of the bootstrap are the same for everybody, so that runs can be compared.
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Plan:
    """How an evaluation was made; stands in its results."""

    strategy: str
    setting: str
    feedback: Feedback
    tier: Tier
    interactions_per_user: int | None
    seeds: int
    bootstrap_draws: int
    confidence: float
    shots: int | None = None
    """Interactions that the support has of each new user or LLM; None in other settings."""
    held_out: tuple[str, ...] = ()
    """Ids of the users, LLMs or tasks that `fit` is told nothing of."""
    retention: bool = False
    """Whether fully trained twins were run beside."""
    timed_requests: int = 0
    """Requests that each router is asked one at a time; see `latency`."""
    history_users: int | None = None
    """The history is of no more than so many users; None: of all that the setting knows."""


@dataclass(frozen=True)
class Evaluation:
    """The results of `evaluate`."""

    data: Mapping[str, Any]
    """What `write` puts into the JSON file; see docs/evaluation.md."""
    traces: Mapping[str, str]
    """Name of a router that raised to its traceback."""

    @property
    def routers(self) -> list[dict[str, Any]]:
        """Entries, one a router, best mean reward first, failed ones last."""
        entries: list[dict[str, Any]] = self.data["routers"]
        return entries

    @property
    def failed(self) -> list[str]:
        """Names of the routers that were asked for and have no metrics."""
        return [e["name"] for e in self.routers if e["asked_for"] and not e["metrics"]]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return {entry["name"]: entry for entry in self.routers}[name]

    def write(self, path: str | Path) -> None:
        """Write the JSON file, whole or not at all."""
        from personaroute_bench.files import write_json

        write_json(Path(path), self.data, option="--json")

    def print(self, console: Console | None = None) -> None:
        """Print the table; a narrow terminal gets fewer columns, a pipe all of them."""
        from personaroute_bench.evaluation.table import print_table

        print_table(self.data, console)


def make_evaluation(
    benchmark: Benchmark,
    plan: Plan,
    runs: Sequence[Run],
    outcomes: Outcomes,
    *,
    users: Ints,
    queries: Ints,
    headroom: Mapping[str, float | None],
) -> Evaluation:
    """Score all runs and put the results together.

    Args:
        users, queries: [U], [Q] indices of who asked what, for results by group.
    """
    U, Q, M = outcomes.reward.shape
    done = [run for run in runs if run.error is None]
    chance, best = outcomes.chance, outcomes.best
    scored: dict[str, _Scored] = {}
    statistics: dict[tuple[str, str], bootstrap.Statistic] = {}
    for run in done:
        found = _Scored(_average(run, outcomes), shuffled(outcomes, run.choices, run.bills))
        scored[run.name] = found
        for metric in (*SCORES, "shuffled_gain", "user_sensitivity"):
            statistics[run.name, metric] = bootstrap.weighted_mean(found[metric])
        statistics[run.name, NORMALISED] = bootstrap.normalised(found["reward"], chance, best)
        if run.twin is not None and run.twin.error is None:
            found.twin = _average(run.twin, outcomes)["reward"]
            statistics[run.name, "twin"] = bootstrap.weighted_mean(found.twin)
            statistics[run.name, "twin normalised"] = bootstrap.normalised(found.twin, chance, best)
    further = Further(
        scored,
        {run.name: run.choices for run in done},
        outcomes,
        controls=[run.name for run in done if run.kind == "control"],
        protocols={run.name: run.protocol for run in done},
        yardstick=Yardstick.of(benchmark, plan.strategy, users, outcomes),
        baseline=BASELINE,
    )
    statistics |= further.statistics
    samples = bootstrap.resample(
        list(statistics.values()), U, Q, plan.bootstrap_draws, BOOTSTRAP_SEED
    )
    drawn = dict(zip(statistics, samples, strict=True))
    further.read(drawn, plan.confidence)
    by, names, group = groups_of(benchmark, plan, users, queries)

    entries = []
    for run in runs:
        entry = entry_of(run)
        if run.error is None:
            entry |= _measure(run, outcomes, scored, drawn, plan)
            further.add(entry)
            entry["latency_s"] = latency(run.single_s)
            if by is not None:
                entry["by"] = {by: by_group(scored[run.name], outcomes, names, group)}
            name_files(entry, run)
        entries.append(entry)
    ids = (benchmark.user_ids[users], benchmark.query_ids[queries], benchmark.llm_ids)
    data = put_together(
        benchmark,
        plan,
        (U, Q, M),
        entries,
        headroom=headroom,
        scored=int(outcomes.scored.sum()),
        paired=paired_key(outcomes, ids, plan.bootstrap_draws, BOOTSTRAP_SEED),
    )
    return Evaluation(data, {run.name: run.trace for run in runs if run.trace})


@dataclass
class _Scored:
    """One run's scores [U, Q], averaged over the seeds; by name of the metric."""

    scores: Mapping[str, Doubles]
    shuffled: Shuffled
    twin: Doubles | None = None
    """Reward of the fully trained twin."""

    def __getitem__(self, metric: str) -> Doubles:
        if metric == "shuffled_gain":
            return self.scores["reward"] - self.shuffled.reward
        return self.shuffled.differs if metric == "user_sensitivity" else self.scores[metric]


def _average(run: Run, outcomes: Outcomes) -> dict[str, Doubles]:
    """[U, Q] each score, averaged over the seeds in which it has a value."""
    total = {metric: np.zeros(outcomes.best.shape) for metric in SCORES}
    count = {metric: np.zeros(outcomes.best.shape) for metric in SCORES}
    for seed in range(len(run.choices)):
        scores = run.scores(outcomes, seed)
        for metric in SCORES:
            values = getattr(scores, metric)
            known = np.isfinite(values)
            total[metric] += np.where(known, values, 0)
            count[metric] += known
    return {
        metric: np.divide(
            total[metric],
            count[metric],
            out=np.full(outcomes.best.shape, np.nan),
            where=count[metric] > 0,
        )
        for metric in SCORES
    }


def _measure(
    run: Run,
    outcomes: Outcomes,
    scored: Mapping[str, _Scored],
    drawn: Mapping[tuple[str, str], Doubles],
    plan: Plan,
) -> dict[str, Any]:
    """Return the part of an entry that stands on the run's choices."""
    values = scored[run.name]
    M, requests = outcomes.reward.shape[-1], outcomes.best.size
    how = plan.confidence, bootstrap.smaller(*outcomes.best.shape)
    metrics: dict[str, Any] = {}

    def put(metric: str, centre: float | None, of: Doubles | None, count: int) -> None:
        low, high = (None, None) if of is None else bootstrap.interval(of, *how)
        metrics[metric] = {"mean": centre, "low": low, "high": high, "n": count}

    for metric in (*SCORES, "shuffled_gain", "user_sensitivity"):
        known = int(np.isfinite(values[metric]).sum())
        put(metric, mean(values[metric]), drawn[run.name, metric], known)
    metrics["shuffled_gain"]["p_value"] = values.shuffled.p_value
    normalised, left_out = _normalised(values["reward"], outcomes)
    kept = len(outcomes.best) - left_out
    put(NORMALISED, normalised, drawn[run.name, NORMALISED], kept)
    put("coverage", float(outcomes.scored.mean()), None, requests)
    entropy = float(np.mean([routing_entropy(choice, M) for choice in run.choices]))
    put("routing_entropy", entropy, None, requests)
    calls = [float(bill.calls.mean()) for bill in run.bills if bill is not None]
    if calls:
        put("calls", float(np.mean(calls)), None, requests)
    if run.route_s:
        put("decision_s", float(np.mean(run.route_s)) / requests, None, requests)
    twin: dict[str, Any] | None = None
    if run.twin is not None:
        twin = {"status": status_of(run.twin)}
    if run.twin is not None and twin is not None and values.twin is not None:
        full, full_normalised = mean(values.twin), _normalised(values.twin, outcomes)[0]
        for name, metric, whole, of in (
            ("reward", "reward", full, "twin"),
            ("normalised", NORMALISED, full_normalised, "twin normalised"),
        ):
            low = bootstrap.interval(drawn[run.name, of], *how)[0]
            share, part = _ratio(metrics[metric]["mean"], whole), None
            if low is not None and low <= 0:
                share = None  # a share of what may as well be nothing says nothing
            if share is not None:
                part = _ratios(drawn[run.name, metric], drawn[run.name, of])
            put(f"{name}_retention", share, part, kept)
        twin |= {"reward": full, NORMALISED: full_normalised}
        twin["choices_sha256"] = run.twin.digests[0]
    gap = None
    if BASELINE in scored:
        other = drawn[BASELINE, "reward"]
        low, high = bootstrap.interval(drawn[run.name, "reward"] - other, *how)
        centre = mean(values["reward"] - scored[BASELINE]["reward"])
        gap = {"baseline": BASELINE, "mean": centre, "low": low, "high": high}
    per_seed = []
    for seed, choice in enumerate(run.choices):
        scores = run.scores(outcomes, seed)
        means = {metric: mean(getattr(scores, metric)) for metric in SCORES}
        means[NORMALISED] = _normalised(scores.reward, outcomes)[0]
        invalid = _invalid(choice, outcomes)
        sealed = {"invalid": invalid, "choices_sha256": run.digests[seed]}
        sealed |= run.trails[seed].sealed
        per_seed.append({"seed": seed, **means, **sealed})
    return {
        "metrics": metrics,
        "reward_difference": gap,
        "per_seed": per_seed,
        "choices_sha256": run.digests[0],
        "invalid": sum(entry["invalid"] for entry in per_seed),
        "charged": int(np.nansum([score(outcomes, c).charged for c in run.choices])),
        "users_without_range": left_out,
        "fully_trained": twin,
        **seconds_of(run),
    }


def _ratio(few: float | None, full: float | None) -> float | None:
    """Return the share that few shots keep; None where the whole is nothing to have a share of."""
    return few / full if few is not None and full is not None and full > ZERO_RANGE else None


def _ratios(few: Doubles, full: Doubles) -> Doubles:
    """[draws] the same, NaN for None."""
    result = np.full(len(few), np.nan)
    np.divide(few, full, out=result, where=full > ZERO_RANGE)
    return result


def _normalised(reward: Doubles, outcomes: Outcomes) -> tuple[float | None, int]:
    """Return the oracle-normalised reward of what is not NaN, and the users left out."""
    return oracle_normalised_reward(reward, outcomes.chance, outcomes.best)


def _invalid(choice: Any, outcomes: Outcomes) -> int:
    """Count invalid choices; a control's blank where nothing can be chosen is none."""
    return int(((choice == INVALID) & outcomes.scored).sum())
