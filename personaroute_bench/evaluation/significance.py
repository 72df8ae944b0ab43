"""How surely does one router beat another? Read off draws of the bootstrap (see `bootstrap`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints

# Values closer than this are tied: the same sum in another order.
TIED = 1e-9


def least_p(units: int) -> float:
    """Return ``2^(1 − units)``: the two-sided p of the sign test where all units agree."""
    return 2.0 ** (1 - units)


def p_value(draws: Doubles, units: int) -> float | None:
    """Return the two-sided p-value of the hypothesis that a difference is zero.

    ``2 · min(1 + #(d ≤ 0), 1 + #(d ≥ 0)) / (1 + B)``, at most 1, over B draws d of the
    difference: it is below 0.05 just where the 95 % percentile interval leaves zero out (but
    for rounding). It cannot fall below ``2 / (1 + B)``, nor below `least_p`: a few units that
    happen to agree do so in every draw. None without draws.

    Args:
        draws: [B] of the difference.
        units: how many were drawn anew, the fewer of users and queries.
    """
    known = draws[np.isfinite(draws)]
    if not known.size:
        return None
    below, above = int((known <= TIED).sum()), int((known >= -TIED).sum())
    p = 2 * (1 + min(below, above)) / (1 + known.size)
    return min(1.0, max(p, least_p(units)))


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


def rank_ranges(values: Doubles, draws: Doubles, confidence: float) -> list[tuple[int, int]]:
    """Return the lowest and the highest rank that each router may have.

    The percentile interval of its rank over the draws, widened to its rank in the measured
    values. Without draws, the latter alone.

    Args:
        values: [R] measured means, higher is better.
        draws: [R, B] of the same means, every router under the same draws.
        confidence: of the interval.
    """
    low, high = ranks(values)
    if draws.size:
        best, worst = ranks(draws)
        below, above = (1 - confidence) / 2, (1 + confidence) / 2
        low = np.minimum(low, np.quantile(best, below, axis=1, method="inverted_cdf"))
        high = np.maximum(high, np.quantile(worst, above, axis=1, method="inverted_cdf"))
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]
