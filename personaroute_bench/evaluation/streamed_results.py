"""Results of many users: the second look at the outcomes, and what it adds up to.

The figures are those of `results.make_evaluation`: the same keys, and the same numbers but for the
last digits of sums. Only the intervals of how users differ are drawn for groups of users of
neighbouring regret where there are more than `bootstrap.WEIGHT_USERS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import bootstrap, personal_results, regret
from personaroute_bench.evaluation.beside import Beside
from personaroute_bench.evaluation.entries import (
    entry_of,
    name_files,
    put_together,
    seconds_of,
)
from personaroute_bench.evaluation.field_results import RIGHT, Yardstick, column_means
from personaroute_bench.evaluation.further import Further
from personaroute_bench.evaluation.groups import (
    AGREEMENT,
    METRICS,
    NORMALISED,
    groups_of,
    named_by_agreement,
)
from personaroute_bench.evaluation.latency import latency
from personaroute_bench.evaluation.metrics import (
    SCORES,
    Summed,
    mean,
)
from personaroute_bench.evaluation.personalisation import (
    queries_told_apart,
    shares,
    user_divergence,
)
from personaroute_bench.evaluation.results import BOOTSTRAP_SEED, Evaluation
from personaroute_bench.evaluation.routing_scores import figures_of_counts
from personaroute_bench.evaluation.shuffle import tested_users
from personaroute_bench.evaluation.streamed_scores import (
    Draws,
    FirstLook,
    Groups,
    NormalisedDraws,
    outcome_blocks,
)
from personaroute_bench.evaluation.table import BASELINE
from personaroute_bench.evaluation.tally import Tally, with_invalid

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.evaluation.job import Job
    from personaroute_bench.evaluation.metrics import Outcomes
    from personaroute_bench.evaluation.run import Run

MEASURED = (*SCORES, "shuffled_gain", "user_sensitivity")
# Divergence between users is the mean over pairs of a sample of so many.
_DIVERGENT = 16_384
# Groups of users of neighbouring regret.
_NEIGHBOURS = 4_096
DATA = personal_results.DATA


def make_streamed_evaluation(job: Job, runs: Sequence[Run], look: FirstLook) -> Evaluation:
    """Score all runs and put the results together; see `results.make_evaluation`."""
    benchmark, plan = job.benchmark, job.plan
    U, Q, M = look.shape
    tallies = {run.name: Tally(run, look) for run in runs if run.error is None}
    weights = bootstrap.UserWeights(U, Q, plan.bootstrap_draws, BOOTSTRAP_SEED)
    draws, normalised = Draws(weights), NormalisedDraws(weights)
    tested = tested_users(U)
    split = np.asarray(look.disagreed()).astype(np.int64)
    by, names, group = groups_of(benchmark, plan, job.users, job.test)
    yardstick = Yardstick.of_responses(benchmark, plan.strategy, job.users, job.test)
    kept: list[tuple[Ints, Doubles]] = []
    with Beside() as beside:
        for start, stop, outcomes in outcome_blocks(job):
            best = outcomes.best.astype(np.float64)
            columns: dict[Any, Doubles] = {
                (DATA, "best"): best,
                (DATA, "chance"): np.where(outcomes.scored, outcomes.chance, np.nan),
            }
            scores = {name: tally.add(start, stop, outcomes) for name, tally in tallies.items()}
            for name, values in scores.items():
                tally = tallies[name]
                columns |= {(name, metric): values[metric] for metric in MEASURED}
                del columns[name, "regret"]  # the oracle's reward less the router's
                if BASELINE in scores:
                    baseline = scores[BASELINE]["reward"]
                    tally.worse[start:stop] = regret.harmed(values["reward"], baseline)
                agreed = np.broadcast_to(split, outcomes.best.shape)
                tally.add_groups("agreement", AGREEMENT, agreed, values, outcomes)
                if by is not None:
                    tally.add_groups(by, names, group[start:stop], values, outcomes)
                if yardstick is not None and yardstick.groups is not None:
                    _add_points(tally, yardstick.groups[start:stop], values)
            beside(_draw, draws, normalised, start, stop, outcomes, columns, scores)
            first, last = np.searchsorted(tested, [start, stop])
            if first < last:
                kept.append(
                    (np.arange(first, last), with_invalid(outcomes)[tested[first:last] - start])
                )
    for tally in tallies.values():
        for rows, rewards in kept:
            tally.exchange(tested, rows, rewards)
    drawn = _drawn(tallies, draws, normalised)
    further = _Further(tallies, look, yardstick, split, weights)
    further.read(drawn, plan.confidence)

    entries = []
    for run in runs:
        entry = entry_of(run)
        if run.error is None:
            entry |= _measure(tallies[run.name], look, tallies, further.drawn, plan.confidence)
            further.add(entry)
            entry["latency_s"] = latency(run.single_s)
            if by is not None:
                entry["by"] = {by: tallies[run.name].groups[by].rows(METRICS)}
            name_files(entry, run)
        entries.append(entry)
    paired = {
        "outcomes_sha256": look.sha256,
        "draws_sha256": bootstrap.weights_digest(U, Q, plan.bootstrap_draws, BOOTSTRAP_SEED),
    }
    data = put_together(
        benchmark, plan, (U, Q, M), entries,
        headroom=_headroom(tallies, look), scored=look.rows, paired=paired,
    )  # fmt: skip
    return Evaluation(data, {run.name: run.trace for run in runs if run.trace})


def _draw(
    draws: Draws,
    normalised: NormalisedDraws,
    start: int,
    stop: int,
    outcomes: Outcomes,
    columns: Mapping[Any, Doubles],
    scores: Mapping[str, Mapping[str, Doubles]],
) -> None:
    """Add a block of users to all draws."""
    draws.add(start, stop, columns)
    normalised.add(start, stop, outcomes, {n: v["reward"] for n, v in scores.items()})


def _drawn(
    tallies: Mapping[str, Tally], draws: Draws, normalised: NormalisedDraws
) -> dict[tuple[str, str], Doubles]:
    found: dict[tuple[str, str], Doubles] = {}
    best = draws[DATA, "best"]
    for name in tallies:
        for metric in MEASURED:
            if metric == "regret":
                found[name, metric] = best - draws[name, "reward"]
            else:
                found[name, metric] = draws[name, metric]
        found[name, NORMALISED] = normalised[name]
    found[DATA, personal_results.RANGE] = best - draws[DATA, "chance"]
    if personal_results.BLIND_ORACLE in tallies:
        blind = draws[personal_results.BLIND_ORACLE, "reward"]
        found[DATA, personal_results.LARGEST] = best - blind
    return found


def _measure(
    tally: Tally,
    look: FirstLook,
    tallies: Mapping[str, Tally],
    drawn: Mapping[tuple[str, str], Doubles],
    confidence: float,
) -> dict[str, Any]:
    """Return the part of an entry that stands on the run's choices; see `results`."""
    run, (U, Q) = tally.run, tally.shape
    how = confidence, bootstrap.smaller(U, Q)
    metrics: dict[str, Any] = {}

    def put(metric: str, centre: float | None, of: Doubles | None, count: int) -> None:
        low, high = (None, None) if of is None else bootstrap.interval(of, *how)
        metrics[metric] = {"mean": centre, "low": low, "high": high, "n": count}

    for metric in MEASURED:
        put(metric, mean(tally[metric]), drawn[run.name, metric], tally[metric].count)
    metrics["shuffled_gain"]["p_value"] = tally.p_value()
    centre, left_out = tally.normalised()
    put(NORMALISED, centre, drawn[run.name, NORMALISED], U - left_out)
    put("coverage", look.rows / (U * Q), None, U * Q)
    put("routing_entropy", float(np.mean([_entropy(c) for c in tally.counts])), None, U * Q)
    if run.route_s:
        put("decision_s", float(np.mean(run.route_s)) / (U * Q), None, U * Q)
    gap = None
    if BASELINE in tallies:
        other = drawn[BASELINE, "reward"]
        low, high = bootstrap.interval(drawn[run.name, "reward"] - other, *how)
        centre = mean(tally["reward"] - tallies[BASELINE]["reward"])
        gap = {"baseline": BASELINE, "mean": centre, "low": low, "high": high}
    per_seed = []
    for seed, means in enumerate(tally.of_seed):
        values: dict[str, Any] = {metric: mean(means[metric]) for metric in SCORES}
        values[NORMALISED] = tally.normalised(1 + seed)[0]
        values |= {"invalid": tally.invalid[seed], "choices_sha256": run.digests[seed]}
        per_seed.append({"seed": seed, **values, **run.trails[seed].sealed})
    return {
        "metrics": metrics,
        "reward_difference": gap,
        "per_seed": per_seed,
        "choices_sha256": run.digests[0],
        "invalid": sum(tally.invalid),
        "charged": int(sum(means["charged"].sum for means in tally.of_seed)),
        "users_without_range": left_out,
        "fully_trained": None,
        **seconds_of(run),
    }


class _Further(Further):
    """`Further` of many users."""

    def __init__(
        self,
        tallies: Mapping[str, Tally],
        look: FirstLook,
        yardstick: Yardstick | None,
        split: Ints,
        weights: bootstrap.UserWeights,
    ) -> None:
        self.tallies, self.split, self.weights = tallies, split, weights
        self.scored: Any = tallies
        self.outcomes: Any = _Sums(look)
        self.shape = look.shape
        self.controls = [name for name, t in tallies.items() if t.run.kind == "control"]
        self.protocols = {name: tally.run.protocol for name, tally in tallies.items()}
        self.yardstick = yardstick
        self.told_apart = {
            name: np.mean([queries_told_apart(choice) for choice in tally.run.choices], axis=0)
            for name, tally in tallies.items()
        }
        self.statistics = {}

    def read(self, drawn: Any, confidence: float) -> None:
        """As in `Further`; the draws of how users differ are added first."""
        drawn = dict(drawn)
        of_query = self.weights.of_query
        for name, tally in self.tallies.items():
            for metric, (of, values) in self._over_users(tally).items():
                drawn[name, metric] = _draw_over_users(of, values, self.weights)
            apart = personal_results.over_queries(personal_results.share, self.told_apart[name])
            drawn[name, "queries_told_apart"] = apart(np.zeros((len(of_query), 0)), of_query)
        super().read(drawn, confidence)

    def centre(self, name: str, metric: str) -> float | None:
        """As in `Further`."""
        U, Q, _ = self.shape
        if metric == "queries_told_apart":
            statistic = personal_results.over_queries(personal_results.share, self.told_apart[name])
        else:
            statistic = personal_results.over_users(*self._over_users(self.tallies[name])[metric])
        return personal_results.at_equal_weights(statistic, U, Q)

    def divergence(self, name: str) -> list[float | None]:
        """As in `Further`, of a sample of users."""
        U, _, M = self.shape
        some = np.arange(U)
        if U > _DIVERGENT:
            some = np.sort(np.random.default_rng(0).choice(U, _DIVERGENT, replace=False))
        choices = self.tallies[name].run.choices
        return [user_divergence(shares(choice[some].astype(np.int64), M)) for choice in choices]

    def by_agreement(self, name: str) -> dict[str, dict[str, Any]]:
        """As in `Further`."""
        rows = self.tallies[name].groups["agreement"].rows(METRICS)
        return named_by_agreement(rows, self.split)

    def field(self, name: str, yardstick: Yardstick) -> dict[str, Any]:
        """As in `Further`."""
        tally = self.tallies[name]
        right = np.asarray(yardstick.performance >= RIGHT)
        prices = column_means(yardstick.cost_usd)
        each = [
            figures_of_counts(yardstick.performance, right, yardstick.cost_usd, prices, counts)
            for counts in tally.counts
        ]
        figures = {key: _mean([one[key] for one in each]) for key in (each[0] if each else ())}
        return yardstick.told(
            mean(tally["performance"]), mean(tally["cost_usd"]), figures, lambda: _points(tally)
        )

    def _over_users(self, tally: Tally) -> dict[str, tuple[Any, Doubles]]:
        found: dict[str, tuple[Any, Doubles]] = {
            "regret_worst_decile": (regret.worst_decile, tally.regret),
            "regret_cvar10": (regret.cvar, tally.regret),
            "regret_gini": (regret.gini, tally.regret),
        }
        if BASELINE in self.tallies:
            found["users_harmed"] = (personal_results.share, tally.worse)
        return found


class _Sums:
    """Of the outcomes, what `personal_results.gains` needs."""

    def __init__(self, look: FirstLook) -> None:
        shape = look.shape[:2]
        self.best = Summed(look.best, look.rows, shape)
        self.chance = Summed(look.chance, look.rows, shape)


def _draw_over_users(of: Any, values: Doubles, weights: bootstrap.UserWeights) -> Doubles:
    """Return [draws] a statistic of users; of many, neighbours in value are drawn as a group."""
    if weights.users > bootstrap.WEIGHT_USERS:
        known = np.sort(values[np.isfinite(values)])
        if not len(known):
            return np.full(weights.draws, np.nan)
        groups = min(_NEIGHBOURS, len(known))
        edges = np.arange(groups) * len(known) // groups
        sizes = np.diff([*edges.tolist(), len(known)])
        values = np.add.reduceat(known, edges) / sizes
        drawn = _group_weights(len(known), groups, weights.draws, weights.seed)
    else:
        drawn = weights.of_users(0, weights.users)
    step = bootstrap.BLOCK_DRAWS
    found = [of(values, drawn[at : at + step]) for at in range(0, weights.draws, step)]
    return np.concatenate(found) if found else np.zeros(0)


@lru_cache(maxsize=1)
def _group_weights(users: int, groups: int, draws: int, seed: int) -> Doubles:
    """Return [draws, groups] how often users of each group are drawn; the same for all routers."""
    sizes = np.diff([*(np.arange(groups) * users // groups).tolist(), users])
    rng = np.random.default_rng([seed, users])
    return rng.multinomial(users, sizes / users, draws).astype(np.float64)


def _headroom(tallies: Mapping[str, Tally], look: FirstLook) -> dict[str, float | None]:
    """Return what `controls.headroom` does."""
    sums = _Sums(look)
    top, low = mean(sums.best), mean(sums.chance)
    middle = mean(tallies[personal_results.BLIND_ORACLE]["reward"])
    part = None
    if top is not None and middle is not None and low is not None and top - low > 1e-9:
        part = (top - middle) / (top - low)
    return {"oracle": top, "user_blind_oracle": middle, "random": low, "share": part}


def _entropy(counts: Doubles) -> float:
    """Return the routing entropy in bits of counts [Q, M + 1]."""
    total = counts[:, :-1].sum(axis=0)
    if not total.sum():
        return 0.0
    part = total[total > 0] / total.sum()
    return float(abs(-(part * np.log2(part)).sum()))


def _add_points(tally: Tally, groups: Ints, values: Mapping[str, Doubles]) -> None:
    """Add a block to the mean cost and performance of groups of users."""
    into = tally.groups.setdefault("points", Groups([]))
    for number in np.unique(groups).tolist():
        here = groups == number
        sums = into.sums.setdefault(number, {})
        for metric in ("cost_usd", "performance"):
            known = values[metric][here]
            known = known[np.isfinite(known)]
            total, count = sums.get(metric, (0.0, 0))
            sums[metric] = total + float(known.sum()), count + known.size


def _points(tally: Tally) -> list[tuple[float | None, float | None]]:
    groups = tally.groups["points"]
    return [
        (groups.mean(number, "cost_usd"), groups.mean(number, "performance"))
        for number in sorted(groups.sums)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
