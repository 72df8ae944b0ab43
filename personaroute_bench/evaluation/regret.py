"""Regret by user: how unevenly is it spread, and who would be better off without the router?

ρ_u = E_q [max_m r[u, q, m] − r[u, q, a(u, q)]] is the regret of user u; the functions below are
statistics of its distribution over users (docs/metrics.md). Each takes weights of users
[..., U], ones where they are left out, and returns an array of shape [...]: with bootstrap
weights that is one value a draw. Users whose value is NaN are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles

# The worst tenth of the users.
TAIL = 0.1
# Means that differ by no more than this are equal: sums of float32 in another order.
EQUAL = 1e-9


def user_mean(values: Doubles) -> Doubles:
    """Return [U] each user's mean over the queries of [U, Q], NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    result: Doubles = np.full(len(values), np.nan)
    np.divide(np.where(known, values, 0).sum(axis=1), count, out=result, where=count > 0)
    return result


def worst_decile(values: Doubles, weights: Doubles | None = None, share: float = TAIL) -> Doubles:
    """Return the regret that no more than a tenth of the users exceed.

    The smallest ρ with ``W(ρ_u ≤ ρ) ≥ (1 − share) · W``: the quantile that is one of the values.
    """
    values, weights = _sorted(values, weights)
    total = weights.sum(axis=-1)
    reached = weights.cumsum(axis=-1) >= ((1 - share) * total * (1 - 1e-12))[..., None]
    if not values.size:
        return np.full(total.shape, np.nan)
    return np.where(total > 0, values[reached.argmax(axis=-1)], np.nan)


def cvar(values: Doubles, weights: Doubles | None = None, share: float = TAIL) -> Doubles:
    """Return CVaR: the mean regret of the worst `share` of the users.

    Where the share ends within a user, that user counts in part (Rockafellar and Uryasev, 2000).
    """
    values, weights = _sorted(values, weights)
    total = weights.sum(axis=-1)
    wanted = (share * total)[..., None]
    # From the worst down: what each user adds to the tail until it is full.
    down = weights[..., ::-1]
    taken = np.clip(wanted - (down.cumsum(axis=-1) - down), 0, down)
    return _ratio((taken * values[::-1]).sum(axis=-1), taken.sum(axis=-1))


def gini(values: Doubles, weights: Doubles | None = None) -> Doubles:
    """Return the Gini coefficient of values that are not negative: 0 alike, near 1 one has all.

    ``Σ_u Σ_v w_u w_v |ρ_u − ρ_v| / (2 W Σ_u w_u ρ_u)``; NaN where the sum is zero.
    """
    values, weights = _sorted(values, weights)
    total = weights.sum(axis=-1)
    upto = weights.cumsum(axis=-1)
    # In ascending order Σ_v w_v |ρ_u − ρ_v| telescopes to cumulative weights.
    spread = (weights * values * (2 * upto - weights - total[..., None])).sum(axis=-1)
    return _ratio(spread, total * (weights * values).sum(axis=-1))


def harmed(reward: Doubles, baseline: Doubles) -> Doubles:
    """Return [U] 1 for each user who earns less than with the baseline, else 0.

    Args:
        reward, baseline: [U, Q]; compared on the rows that both have.
    """
    gap = user_mean(reward - baseline)
    return np.where(np.isnan(gap), np.nan, (gap < -EQUAL).astype(np.float64))


def _sorted(values: Doubles, weights: Doubles | None) -> tuple[Doubles, Doubles]:
    """Return the known values in ascending order, and their weights [..., n]."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    if weights is None:
        weights = np.ones(len(values))
    return values[order], weights[..., order]


def _ratio(top: Doubles, bottom: Doubles) -> Doubles:
    result: Doubles = np.full(np.shape(bottom), np.nan)
    np.divide(top, bottom, out=result, where=np.asarray(bottom) > 0)
    return result
