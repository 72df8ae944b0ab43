"""Does a router treat users differently, and what is it worth?

See `shuffle` for what users lose when they are taken for others. Definitions are ours
(docs/metrics.md); the split into controversial and agreed queries follows CoPL, which scores
pairs apart on which its users disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Bools, Doubles, Ints

# A query is agreed where one LLM is best for more than this share of the users.
MAJORITY = 0.5
# Pairs of users are compared at so many distances in a circle of users: all, or drawn ones.
CIRCLES = 50


def queries_told_apart(choice: Ints) -> Doubles:
    """Return [Q] 1 for each query on which two users get different LLMs, else 0.

    Args:
        choice: [U, Q] index of an LLM, negative where invalid; invalid choices are left out.
    """
    valid = choice >= 0
    largest = np.where(valid, choice, -1).max(axis=0)
    smallest = np.where(valid, choice, np.iinfo(choice.dtype).max).min(axis=0)
    return np.where(largest >= 0, (largest != smallest).astype(np.float64), np.nan)


def shares(choice: Ints, candidates: int) -> Doubles:
    """Return [U, M] each user's routing distribution: the share of each LLM in valid choices."""
    users = len(choice)
    valid = choice >= 0
    cell = (np.arange(users)[:, None] * candidates + choice)[valid]
    count = np.bincount(cell, minlength=users * candidates).reshape(users, candidates)
    total = count.sum(axis=1, keepdims=True)
    result: Doubles = np.full(count.shape, np.nan)
    np.divide(count, total, out=result, where=total > 0)
    return result


def user_divergence(distributions: Doubles, seed: int = 0) -> float | None:
    """Return the mean Jensen-Shannon divergence between two users' distributions, in bits.

    ``JS(p, q) = H((p + q) / 2) − (H(p) + H(q)) / 2``, from 0 (alike) to 1 (never the same LLM).
    Over all pairs of up to 101 users; of more, every user stands in 100 pairs. A router that
    chooses at random is not at 0: of few queries no two users have the same shares.

    Args:
        distributions: [U, M] rows that sum to 1; rows of NaN are left out.
    """
    known = distributions[np.isfinite(distributions).all(axis=1)]
    users = len(known)
    if users < 2:
        return None
    steps = np.arange(1, users // 2 + 1)
    # At half the circle every pair is met twice, at the other distances once.
    weight = np.where(2 * steps == users, 0.5, 1.0)
    if len(steps) > CIRCLES:
        drawn = np.random.default_rng(seed).choice(len(steps), CIRCLES, replace=False)
        steps, weight = steps[drawn], weight[drawn]
    own = _entropy(known).mean()
    means = [_entropy((known + np.roll(known, k, axis=0)) / 2).mean() - own for k in steps]
    return max(0.0, float(np.average(means, weights=weight)))


def agreement(chosen: Bools, scored: Bools) -> Doubles:
    """Return [Q] the largest share of users for whom one and the same LLM is a best one.

    ``max_m mean_u 1[m is among the tied best of (u, q)]``, NaN where nobody has a best.

    Args:
        chosen: [U, Q, M] every tied best.
        scored: [U, Q] rows that count.
    """
    count = scored.sum(axis=0)
    votes = (chosen & scored[:, :, None]).sum(axis=0).max(axis=-1)
    result: Doubles = np.full(len(count), np.nan)
    np.divide(votes, count, out=result, where=count > 0)
    return result


def controversial(agreed: Doubles, majority: float = MAJORITY) -> Bools:
    """Return [Q] whether no LLM is best for a majority; false where that is not known."""
    return np.asarray(agreed <= majority)


def _entropy(distributions: Doubles) -> Doubles:
    """[U] −Σ p log2 p."""
    safe = np.where(distributions > 0, distributions, 1.0)
    entropy: Doubles = -(distributions * np.log2(safe)).sum(axis=-1)
    return entropy
