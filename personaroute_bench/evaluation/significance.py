"""How surely does one router beat another? Read off draws of the bootstrap (see `bootstrap`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.bootstrap import tail

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints

# Values closer than this are tied: the same sum in another order.
TIED = 1e-9
# With fewer users or queries, skewed differences are claimed falsely more than once in twenty,
# whatever is corrected for (benchmarks/coverage.py).
LEAST_UNITS = 9


def least_p(units: int) -> float:
    """Return ``2^(1 − units)``: the two-sided p of the sign test where all units agree."""
    return 2.0 ** (1 - units)


def p_value(draws: Doubles, units: int) -> float | None:
    """Return the two-sided p-value of the hypothesis that a difference is zero.

    The largest of four, since few units say less than their draws pretend:

    1. of the expanded percentiles (`bootstrap.tail`): below 0.05 just where the 95 % interval
       leaves zero out (but for rounding);
    2. of Student's t with `units` - 1 degrees of freedom, after Hall's transformation for skewness
       (1992, JRSS B 54), ``T + γT²/3 + γ²T³/27 + γ/6``, wherever that brings T nearer to zero:
       the mean of a few skewed values misses far in one direction;
    3. ``2 / (1 + B)``, for there are only B draws;
    4. `least_p`: units that happen to agree do so in every draw.

    None without draws, and with fewer units than `LEAST_UNITS`.

    Args:
        draws: [B] of the difference.
        units: how many were drawn anew, the fewer of users and queries.
    """
    known = draws[np.isfinite(draws)]
    if not known.size or units < LEAST_UNITS:
        return None
    from scipy.special import ndtri, stdtr

    below, above = int((known <= TIED).sum()), int((known >= -TIED).sum())
    beyond = min(below, above)
    if 2 * beyond >= known.size:
        return 1.0
    degrees, shrink = units - 1, np.sqrt(1 - 1 / units)
    found = [2 / (1 + known.size), least_p(units)]
    if beyond:
        found.append(2 * stdtr(degrees, shrink * ndtri((1 + beyond) / (1 + known.size))))
    spread = known.std()
    if spread > TIED:
        found.append(2 * stdtr(degrees, -_nearer(shrink * known.mean() / spread, known, units)))
    return float(min(1.0, max(found)))


def _nearer(t: float, draws: Doubles, units: int) -> float:
    """Return |t|, or what is left of it once the draws' skewness is accounted for."""
    standard = (draws - draws.mean()) / draws.std()
    # draws have the skewness of a mean of n values; those of a sample have too little of it
    gamma = float((standard**3).mean()) * np.sqrt(units * (units - 1)) / (units - 2)
    moved = t + gamma * t**2 / 3 + gamma**2 * t**3 / 27 + gamma / 6
    return float(max(0.0, min(abs(t), np.sign(t) * moved)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for how many there are (Holm, 1979), in the same order.

    The i-th smallest of n is multiplied by ``n − i + 1``, never falls below its predecessor and
    never exceeds 1. Rejecting those below 0.05 then errs anywhere with a chance of at most 5 %.
    None (unknown) stays None and does not count.
    """
    known = [i for i, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, i in enumerate(sorted(known, key=lambda i: p_values[i] or 0.0)):
        p = p_values[i]
        assert p is not None, "only what is known is adjusted"
        highest = max(highest, min(1.0, (len(known) - place) * p))
        adjusted[i] = highest
    return adjusted


def ranks(values: Doubles) -> tuple[Ints, Ints]:
    """Return the best and the worst rank of each of [R, ...] values, 1 for the highest.

    They differ where values are tied: best is 1 + how many are higher, worst is how many are
    higher or equal.
    """
    best = np.ones(values.shape, dtype=np.int64)
    worst = np.zeros(values.shape, dtype=np.int64)
    for other in values:
        best += other > values + TIED
        worst += other >= values - TIED
    return best, worst


def rank_ranges(
    values: Doubles, draws: Doubles, confidence: float, units: int | None = None
) -> list[tuple[int, int]]:
    """Return the lowest and the highest rank that each router may have.

    The percentile interval of its rank over the draws, widened to its rank in the measured
    values. Without draws, the latter alone.

    Args:
        values: [R] measured means, higher is better.
        draws: [R, B] of the same means, every router under the same draws.
        confidence: of the interval.
        units: the fewer of users and queries that were drawn anew, for `bootstrap.tail`.
    """
    low, high = ranks(values)
    if draws.size:
        best, worst = ranks(draws)
        level = tail(confidence, units)
        low = np.minimum(low, np.quantile(best, level, axis=1, method="inverted_cdf"))
        high = np.maximum(high, np.quantile(worst, 1 - level, axis=1, method="inverted_cdf"))
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]
