"""Scores of routers that other benchmarks use; they know nothing of users (docs/metrics.md).

s[q, m] is the performance of LLM m on query q, c[q, m] its cost in USD, a[..., q] the choice of a
router, negative where invalid: an invalid choice is never right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from personaroute_bench.benchmark import Bools, Doubles, Floats, Ints

# RouterArena's limits, in USD per thousand queries.
ARENA_CHEAPEST, ARENA_DEAREST, ARENA_BETA = 0.0044, 200.0, 0.1


def improvement(reward: float, base: float) -> float | None:
    """Return the paper's improvement ``(R − R_base) / R_base``, as a share.

    None where R_base is not above zero and a ratio says nothing: look at the difference.
    """
    return (reward - base) / base if base > 0 else None


def relative_gain(quality: float, other: float) -> float | None:
    """Return ``A / A_other − 1``: Gain@R over random, Gain@B over the best single LLM.

    1 − A / A_oracle, Gap@O, is its negative at the oracle's (LLMRouterBench). None where A_other
    is not above zero.
    """
    return quality / other - 1 if other > 0 else None


def arena_score(quality: float, cost_per_thousand: float, beta: float = ARENA_BETA) -> float:
    """Return RouterArena's score ``(1 + β) A C / (β A + C)``, in [0, 1].

    ``C = (log2 c_max − log2 c) / (log2 c_max − log2 c_min)``, c in USD per thousand queries,
    clamped to [0.0044, 200]; that also holds where a cost is zero, on which its code fails.
    """
    c = min(max(cost_per_thousand, ARENA_CHEAPEST), ARENA_DEAREST)
    thrift = math.log2(ARENA_DEAREST / c) / math.log2(ARENA_DEAREST / ARENA_CHEAPEST)
    bottom = beta * quality + thrift
    return (1 + beta) * quality * thrift / bottom if bottom > 0 else 0.0


def optimal_selection(right: Bools, cost: Doubles, choice: Ints) -> float | None:
    """Return Opt.Sel: how often the cheapest LLM that is right is chosen.

    Over queries that some LLM answers right; equal costs are equally cheap (RouterArena, after
    its issue 95). None where there is no such query.

    Args:
        right: [Q, M]; a response of unknown cost is never the cheapest.
        cost: [Q, M] USD.
        choice: [..., Q].
    """
    price = np.where(right & np.isfinite(cost), cost, np.inf)
    cheapest = price.min(axis=1)
    counted = np.isfinite(cheapest)
    if not counted.any():
        return None
    hit = (choice >= 0) & (_picked(price, choice) <= cheapest)
    return float(hit[..., counted].mean())


def optimal_accuracy(right: Bools, choice: Ints) -> float | None:
    """Return Opt.Acc: how often a right LLM is chosen, over queries that some LLM answers right."""
    counted = right.any(axis=1)
    if not counted.any():
        return None
    hit = (choice >= 0) & (_picked(right, choice) > 0)
    return float(hit[..., counted].mean())


def optimal_cost(right: Bools, cost: Doubles, choice: Ints) -> float | None:
    """Return Opt.Cost: ``Σ cost of the cheapest right LLM / Σ cost of the chosen one``.

    Over choices that are right and whose cost is known; 1 is the best. None where there are
    none, or where all of them are free.
    """
    price = np.where(right & np.isfinite(cost), cost, np.inf)
    own = np.where(choice >= 0, _picked(price, choice), np.inf)
    counted = np.isfinite(own)
    paid = float(own[counted].sum())
    least = np.broadcast_to(price.min(axis=1), own.shape)
    return float(least[counted].sum()) / paid if paid > 0 else None


def rci(quality: Floats, mean_cost: Doubles, choice: Ints) -> float | None:
    """Return ORBIT's routing confusion index: the share of choices that are confused, in [0, 1].

    A choice is clear where it is a best LLM of the query and not the dearest one of all, or
    where only the dearest is best and is chosen; else it is confused.

    Args:
        quality: [Q, M], NaN where a response failed; queries where all failed do not count.
        mean_cost: [M] USD; ORBIT takes the mean over test queries, which is the split it scores.
        choice: [..., Q].
    """
    known = np.isfinite(quality)
    counted = known.any(axis=1)
    if not counted.any():
        return None
    hit = (choice >= 0) & (_picked(_clear(quality, mean_cost), choice) > 0)
    return float(1 - hit[..., counted].mean())


def figures_of_counts(
    performance: Floats, right: Bools, cost: Doubles, mean_cost: Doubles, counts: Doubles
) -> dict[str, float | None]:
    """Return `optimal_selection`, `optimal_accuracy`, `optimal_cost` and `rci` of many choices.

    Args:
        performance, right, cost: [Q, M].
        mean_cost: [M] USD.
        counts: [Q, M + 1] how often each LLM is chosen; in the last column, invalid choices.
    """
    price = np.where(right & np.isfinite(cost), cost, np.inf)
    cheapest = price.min(axis=1)
    times = counts[:, :-1]

    def share(hit: Bools, counted: Bools) -> float | None:
        if not counted.any():
            return None
        return float(times[hit & counted[:, None]].sum() / counts[counted].sum())

    paid = np.isfinite(price)
    spent = float((times * np.where(paid, price, 0)).sum())
    least = float((times * np.where(paid, cheapest[:, None], 0))[paid].sum())
    confused = None
    if np.isfinite(mean_cost).any():
        clear = share(
            _clear(performance, mean_cost), np.asarray(np.isfinite(performance).any(axis=1))
        )
        confused = None if clear is None else 1 - clear
    return {
        "optimal_selection": share(
            np.isfinite(price) & (price <= cheapest[:, None]), np.isfinite(cheapest)
        ),
        "optimal_accuracy": share(right, np.asarray(right.any(axis=1))),
        "optimal_cost": least / spent if spent > 0 else None,
        "rci": confused,
    }


def robustness(choice: Ints, paraphrased: Ints) -> float:
    """Return the share of choices that stay the same when the query is worded otherwise.

    A constant router has 1 (RouterArena): read it beside `metrics.routing_entropy`.
    """
    return float((choice == paraphrased).mean())


def cumulative_regret(best: ArrayLike, reward: ArrayLike) -> Doubles:
    """Return [T] ``Σ_{t' ≤ t} (max_m r − r_a)``: what an online router lost up to each step."""
    total: Doubles = np.cumsum(np.asarray(best, np.float64) - np.asarray(reward, np.float64))
    return total


def _clear(quality: Floats, mean_cost: Doubles) -> Bools:
    """[Q, M] whether the choice of an LLM is clear, not confused; see `rci`."""
    known = np.isfinite(quality)
    shown = np.where(known, quality, -np.inf)
    best = known & (shown == shown.max(axis=1, keepdims=True))
    dearest = np.isfinite(mean_cost) & (mean_cost == np.nanmax(mean_cost))
    clear = best & ~dearest
    only = best & ~(best & ~dearest).any(axis=1, keepdims=True)
    found: Bools = clear | only
    return found


def _picked(values: Doubles | Bools, choice: Ints) -> Doubles:
    """[..., Q] values [Q, M] at the choices; the first LLM's where invalid."""
    return values[np.arange(len(values)), np.maximum(choice, 0)].astype(np.float64)
