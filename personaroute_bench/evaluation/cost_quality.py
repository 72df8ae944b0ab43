"""Metrics of curves of cost against quality, as the field has them, with their traps mended.

A point is what one configuration of a router costs (USD a query) and earns (quality, in [0, 1]);
a router that can be told how much quality is worth has many. What is "best" or "strong" is the
caller's to decide, on training data and not on the test split.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from personaroute_bench.benchmark import Doubles, Ints


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> Ints:
    """Return the indices of points that no other beats, cheapest first.

    A point is left out where another is at least as good for at most the cost, and better in
    one of the two; of equal points the first stays.
    """
    c, q = _points(cost, quality)
    order = np.lexsort((np.arange(len(c)), -q, c))
    before = np.maximum.accumulate(np.concatenate([[-np.inf], q[order][:-1]]))
    kept: Ints = order[q[order] > before]
    return kept


def upper_hull(cost: ArrayLike, quality: ArrayLike) -> tuple[Doubles, Doubles]:
    """Return costs and qualities of the non-decreasing convex hull, cheapest first.

    What mixtures of the points can reach: piecewise linear, concave and rising (RouterBench,
    arXiv 2403.12031).
    """
    c, q = _points(cost, quality)
    kept: list[int] = []
    for i in pareto_front(c, q).tolist():
        # Drop the last point while it lies on or below the line from the one before to this.
        while len(kept) > 1 and _slope(c, q, kept[-2], kept[-1]) <= _slope(c, q, kept[-2], i):
            kept.pop()
        kept.append(i)
    return c[kept], q[kept]


def aiq(
    cost: ArrayLike,
    quality: ArrayLike,
    *,
    cost_range: tuple[float, float],
    zero: tuple[ArrayLike, ArrayLike] | None = None,
) -> float:
    """Return the average improvement in quality, ``∫ R̃(c) dc / (c_max − c_min)``.

    R̃ is the router's hull, level to the right of its dearest point. To the left of its cheapest
    point it is the zero router's hull, or its own cheapest quality where none is given: of a
    router that is never that cheap nothing else is known (RouterBench, arXiv 2403.12031, eq. 1;
    its code divides by c_max instead and leaves the left end out). A router is worth its name
    where its AIQ is above that of the zero router.

    Args:
        cost, quality: points of the router.
        cost_range: c_min, c_max in USD, the same for every router that is compared.
        zero: costs and qualities of the single LLMs, whose mixtures are the zero router.
    """
    low, high = cost_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"cost_range is {cost_range}; give two different costs, the lower first")
    c, q = upper_hull(cost, quality)
    start = min(max(float(c[0]), low), high)
    area = _area(c, q, start, high)
    if start > low:
        area += _area(*(upper_hull(*zero) if zero is not None else (c, q)), low, start)
    return area / (high - low)


def nauc(cost: ArrayLike, quality: ArrayLike, max_cost: float) -> float:
    """Return the area under the Pareto front by trapezoids, costs divided by `max_cost`.

    From the cheapest to the dearest point of the front (ORBIT, without the end point that its
    code makes up). A router of one point has no area: compare routers that sweep alike.
    """
    c, q = _points(cost, quality)
    front = pareto_front(c, q)
    return float(np.trapezoid(q[front], c[front] / max_cost))


def pgr(quality: float, weak: float, strong: float) -> float | None:
    """Return the performance gap recovered, ``(r − w) / (S − w)`` (RouteLLM, arXiv 2406.18665).

    None where the strong LLM is not better than the weak one.
    """
    return (quality - weak) / (strong - weak) if strong > weak else None


def apgr(calls: ArrayLike, quality: ArrayLike, weak: float, strong: float) -> float | None:
    """Return the average PGR: ``(A − w) / (S − w)``, A the area under quality over calls.

    The share of calls to the strong LLM runs from 0 to 1; where the points do not reach these
    ends the curve goes on to the weak and the strong LLM themselves, since that is what a router
    of no or only strong calls is (RouteLLM; trapezoids).
    """
    share, level = _calls(calls, quality)
    share = np.concatenate([[0.0], share, [1.0]])
    level = np.concatenate([[weak], level, [strong]])
    return pgr(float(np.trapezoid(level, share)), weak, strong)


def cpt(
    calls: ArrayLike, quality: ArrayLike, weak: float, strong: float, share: float
) -> float | None:
    """Return CPT(x): the least share of strong calls with quality ``w + x · (S − w)``.

    Linear between points, after the running maximum over calls: quality need not rise with
    every call, and an inverse of what is not monotone is none (RouteLLM's code skips that).
    None where it is never reached, or the strong LLM is not better.
    """
    if strong <= weak:
        return None
    x, level = _calls(calls, quality)
    y = np.maximum.accumulate(level)
    wanted = weak + share * (strong - weak)
    reached = np.flatnonzero(y >= wanted)
    if not len(reached):
        return None
    i = int(reached[0])
    if i == 0 or y[i] == y[i - 1]:
        return float(x[i])
    return float(x[i - 1] + (wanted - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))


def qnc(cost: ArrayLike, quality: ArrayLike, best_cost: float, best_quality: float) -> float:
    """Return the least cost with the best single LLM's quality, over that LLM's cost.

    Infinity where no point is as good (ORBIT, which picks that LLM on the test split; pick it on
    training data).
    """
    c, q = _points(cost, quality)
    enough = q >= best_quality
    if best_cost <= 0:
        raise UsageError(f"best_cost is {best_cost}; the best single LLM must cost something")
    return float(c[enough].min() / best_cost) if enough.any() else math.inf


def cost_save(
    cost: ArrayLike, quality: ArrayLike, best_cost: float, best_quality: float
) -> float | None:
    """Return ``1 − QNC``, the largest cut in cost at the best single LLM's quality.

    None where no point is as good; negative where only dearer ones are (LLMRouterBench).
    """
    ratio = qnc(cost, quality, best_cost, best_quality)
    return None if math.isinf(ratio) else 1 - ratio


def pareto_distance(
    cost: ArrayLike, quality: ArrayLike, front_cost: ArrayLike, front_quality: ArrayLike
) -> float:
    """Return the mean distance of points from a Pareto front; 0 on it. The scaling is ours.

    Both axes are scaled to [0, 1] over points and front together, and the distance is that to
    the broken line through the front (LLMRouterBench names such a metric, but no scaling).
    """
    c, q = _points(cost, quality)
    fc, fq = _points(front_cost, front_quality)
    at, line = [], []
    for mine, theirs in ((c, fc), (q, fq)):
        low = min(mine.min(), theirs.min())
        span = max(mine.max(), theirs.max()) - low
        at.append((mine - low) / (span or 1.0))
        line.append((theirs - low) / (span or 1.0))
    points, corners = np.stack(at, axis=1), np.stack(line, axis=1)
    corners = corners[pareto_front(corners[:, 0], corners[:, 1])]
    starts, ends = (corners[:-1], corners[1:]) if len(corners) > 1 else (corners, corners)
    along = ends - starts  # [s, 2]
    length = np.maximum((along**2).sum(axis=1), 1e-300)
    away = points[:, None] - starts  # [n, s, 2]
    place = np.clip((away * along).sum(axis=-1) / length, 0, 1)
    distance = np.sqrt(((away - place[..., None] * along) ** 2).sum(axis=-1))
    return float(distance.min(axis=1).mean())


def _points(cost: ArrayLike, quality: ArrayLike) -> tuple[Doubles, Doubles]:
    c, q = np.asarray(cost, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if c.shape != q.shape or c.ndim != 1 or not len(c):
        raise UsageError(
            f"costs of shape {c.shape} and qualities of shape {q.shape}; give two lists of the "
            "same length, with at least one point"
        )
    if not (np.isfinite(c).all() and np.isfinite(q).all()):
        raise UsageError(
            "a cost or a quality of a point is not finite; leave points of unknown cost out"
        )
    return c, q


def _calls(calls: ArrayLike, quality: ArrayLike) -> tuple[Doubles, Doubles]:
    """Return the points by share of strong calls."""
    x, y = _points(calls, quality)
    if x.min() < 0 or x.max() > 1:
        raise UsageError(
            f"shares of strong calls reach from {x.min()} to {x.max()}; they lie in [0, 1]"
        )
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _slope(c: Doubles, q: Doubles, i: int, j: int) -> float:
    return float((q[j] - q[i]) / (c[j] - c[i]))


def _area(c: Doubles, q: Doubles, low: float, high: float) -> float:
    """∫ of the broken line from low to high, level beyond its ends."""
    corners = np.concatenate([[low], c[(c > low) & (c < high)], [high]])
    return float(np.trapezoid(np.interp(corners, c, q), corners))
