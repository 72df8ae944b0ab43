"""The scores of other benchmarks, on this test split; they know nothing of users.

Weak, strong and best single LLM are chosen on the training queries. A response is right where its
performance is at least one half: several tasks give graded scores, and "right" is needed to say
which LLM was the cheapest that was right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import cost_quality, routing_scores
from personaroute_bench.evaluation.metrics import mean

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Doubles, Floats, Ints
    from personaroute_bench.evaluation.metrics import Outcomes
    from personaroute_bench.evaluation.personal_results import Scored

RIGHT = 0.5
# Users are put into so many groups by what performance is worth to them: a sweep.
GROUPS = 10


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What routers are measured by: single LLMs on the test queries."""

    performance: Floats
    """[Q, M]"""
    cost_usd: Doubles
    """[Q, M]"""
    weak: int
    """The LLM that cost least on the training queries."""
    strong: int
    """The LLM of the best mean performance on the training queries."""
    groups: Ints | None
    """[U] number of the group that a user's performance weight falls in; None without weights,
    or where they are all alike."""

    @classmethod
    def of(
        cls, benchmark: Benchmark, strategy: str, users: Ints, outcomes: Outcomes
    ) -> Yardstick | None:
        """Choose the LLMs on the training queries; None where their costs are unknown."""
        return cls._of(benchmark, strategy, users, outcomes.performance, outcomes.cost_usd)

    @classmethod
    def of_responses(
        cls, benchmark: Benchmark, strategy: str, users: Ints, queries: Ints
    ) -> Yardstick | None:
        """Return the same where outcomes are not held: `queries` are those of the test."""
        here = benchmark.performance[queries], benchmark.cost_usd[queries]
        return cls._of(benchmark, strategy, users, *here)

    @classmethod
    def _of(
        cls,
        benchmark: Benchmark,
        strategy: str,
        users: Ints,
        tested_performance: Floats,
        tested_cost: Doubles,
    ) -> Yardstick | None:
        train = benchmark.split_queries("train")
        cost, performance = benchmark.cost_usd[train], benchmark.performance[train]
        known = np.isfinite(cost).any(axis=0) & np.isfinite(performance).any(axis=0)
        if not known.any():
            return None
        weak = int(np.where(known, column_means(cost), np.inf).argmin())
        strong = int(np.where(known, column_means(performance), -np.inf).argmax())
        return cls(
            tested_performance,
            tested_cost,
            weak,
            strong,
            _groups(benchmark, strategy, users),
        )

    def measure(self, choices: Sequence[Ints], values: Scored) -> dict[str, Any]:
        """Return the scores of one router; None where something they need is unknown.

        Args:
            choices: one [U, Q] a seed.
            values: its scores.
        """
        right = np.asarray(self.performance >= RIGHT)
        prices = column_means(self.cost_usd)
        figures = {
            "optimal_selection": _mean(
                routing_scores.optimal_selection(right, self.cost_usd, c) for c in choices
            ),
            "optimal_accuracy": _mean(routing_scores.optimal_accuracy(right, c) for c in choices),
            "optimal_cost": _mean(
                routing_scores.optimal_cost(right, self.cost_usd, c) for c in choices
            ),
            "rci": None,
        }
        if np.isfinite(prices).any():
            figures["rci"] = _mean(routing_scores.rci(self.performance, prices, c) for c in choices)
        level, cost = mean(values["performance"]), mean(values["cost_usd"])
        return self.told(level, cost, figures, lambda: self._points(values))

    def told(
        self,
        level: float | None,
        cost: float | None,
        figures: Mapping[str, float | None],
        points: Callable[[], Sequence[tuple[float | None, float | None]]],
    ) -> dict[str, Any]:
        """Return the scores that follow from means and figures of the choices.

        Args:
            level: mean performance.
            cost: mean USD.
            figures: `optimal_selection` and the like.
            points: mean USD and performance of each group of users.
        """
        singles, prices = column_means(self.performance), column_means(self.cost_usd)
        strong, weak = float(singles[self.strong]), float(singles[self.weak])
        oracle = mean(np.fmax.reduce(self.performance.astype(np.float64), axis=1))
        known = level is not None and math.isfinite(strong)
        found: dict[str, Any] = {
            "arena_score": None,
            **figures,
            "gain_at_best_single": None,
            "gap_at_oracle": None,
            "pgr": None,
            "cost_ratio": None,
        }
        if level is not None and cost is not None:
            found["arena_score"] = routing_scores.arena_score(level, 1000 * cost)
        if known and level is not None:
            found["gain_at_best_single"] = routing_scores.relative_gain(level, strong)
            found["pgr"] = cost_quality.pgr(level, weak, strong)
        if level is not None and oracle:
            found["gap_at_oracle"] = 1 - level / oracle
        if cost is not None and prices[self.strong] > 0:
            found["cost_ratio"] = cost / float(prices[self.strong])
        return found | self._sweep(points, singles, prices)

    def _points(self, values: Scored) -> list[tuple[float | None, float | None]]:
        """Return mean USD and performance of each group of users."""
        return [
            (mean(values["cost_usd"][here]), mean(values["performance"][here]))
            for number in np.unique(np.asarray(self.groups))
            for here in [self.groups == number]
        ]

    def _sweep(
        self,
        points: Callable[[], Sequence[tuple[float | None, float | None]]],
        singles: Doubles,
        prices: Doubles,
    ) -> dict[str, Any]:
        """Return what the curve over groups of users says, cheapest to dearest single LLM."""
        found: dict[str, Any] = dict.fromkeys(("aiq", "aiq_zero", "qnc", "peak"))
        there = np.isfinite(singles) & np.isfinite(prices)
        if self.groups is None or there.sum() < 2 or np.ptp(prices[there]) <= 0:
            return found
        kept = [(c, q) for c, q in points() if c is not None and q is not None]
        if not kept:
            return found
        cost, quality = zip(*kept, strict=True)
        zero = (prices[there], singles[there])
        span = (float(zero[0].min()), float(zero[0].max()))
        found["aiq"] = cost_quality.aiq(cost, quality, cost_range=span, zero=zero)
        found["aiq_zero"] = cost_quality.aiq(*zero, cost_range=span)
        found["peak"] = float(max(quality))
        if there[self.strong] and prices[self.strong] > 0:
            ratio = cost_quality.qnc(
                cost, quality, float(prices[self.strong]), float(singles[self.strong])
            )
            found["qnc"] = None if math.isinf(ratio) else ratio
        return found


def _groups(benchmark: Benchmark, strategy: str, users: Ints) -> Ints | None:
    if strategy != "multi_cost_efficiency":
        return None  # elsewhere users weigh more than performance and cost
    if "performance_weight" not in benchmark.users.column_names:
        return None
    weights = np.asarray(benchmark.users["performance_weight"].to_numpy(), dtype=np.float64)[users]
    if not np.isfinite(weights).all() or np.ptp(weights) == 0:
        return None
    place = np.argsort(np.argsort(weights, kind="stable"), kind="stable")
    groups: Ints = place * min(GROUPS, len(users)) // len(users)
    return groups


def column_means(values: Floats | Doubles) -> Doubles:
    """[M] mean of what is known of [Q, M], NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    result: Doubles = np.full(values.shape[1], np.nan)
    total = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    np.divide(total, count, out=result, where=count > 0)
    return result


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
