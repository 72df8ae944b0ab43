"""From performance and USD to rewards (paper, "multi-cost-efficiency" simulation)."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.config import CostNormalisation

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Numbers in double precision that are worked on at a time: half a megabyte.
_CACHED = 65_536


def normalise_cost(
    cost_usd: Doubles, usable: Bools, task_of_query: NDArray[np.int64], method: CostNormalisation
) -> Floats:
    """Bring costs to [0, 1] within each task.

    ``minmax`` is the paper's: (c − min) / (max − min) over the task. ``log-minmax`` does the same
    with log c, so that prices that span two orders of magnitude keep their differences; a cost
    of 0 counts as the task's smallest positive cost.

    Args:
        cost_usd: [Q, M] USD, NaN where unknown.
        usable: [Q, M], true where the response is ok; others neither set the range nor get a value.
        task_of_query: [Q] task numbers.
        method: see above.

    Returns:
        [Q, M] float32; NaN where not usable or unknown. 0 throughout a task of one single cost.
    """
    known = usable & ~np.isnan(cost_usd)
    values = np.where(known, cost_usd, np.nan)
    result = np.full(cost_usd.shape, np.nan, dtype=np.float32)
    for task in np.unique(task_of_query):
        rows = task_of_query == task
        block, here = values[rows], known[rows]
        if not here.any():
            continue
        if method == "log-minmax":
            positive = block[here & (np.nan_to_num(block) > 0)]
            floor = positive.min() if positive.size else 1.0
            block = np.log(np.maximum(block, floor))
        low, high = block[here].min(), block[here].max()
        span = high - low
        scaled = (block - low) / span if span > 0 else np.where(here, 0.0, np.nan)
        result[rows] = scaled
    return result


def cost_efficiency_rewards(
    performance: Floats, cost: Floats, alpha: Doubles, beta: Doubles
) -> Floats:
    """Compute reward = α · performance − β · cost for a block of users.

    Args:
        performance: [Q, M] in [0, 1], NaN unless ok.
        cost: [Q, M] normalised, NaN where unknown.
        alpha: [U] performance weights.
        beta: [U] cost weights.

    Returns:
        [U, Q, M] float32, NaN where either is NaN.
    """
    # A weight times the same matrix for all: outer products, a few users at a time, so that what
    # is in double precision stays in the processor's cache.
    good, dear = performance.astype(np.float64), cost.astype(np.float64)
    reward = np.empty((len(alpha), *performance.shape), dtype=np.float32)
    step = max(1, _CACHED // max(1, performance.size))
    for start in range(0, len(alpha), step):
        some = slice(start, start + step)
        part = alpha[some, None, None] * good
        part -= beta[some, None, None] * dear
        reward[some] = part
    return reward


def tied_best(reward: Floats) -> Bools:
    """Mark every candidate that ties for the best of its (user, query).

    Args:
        reward: [..., M], NaN where there is none.

    Returns:
        [..., M]; all false where no candidate has a reward.
    """
    best = largest(reward)[..., None]
    tied: Bools = (reward == best) & np.isfinite(best)
    return tied


def largest(values: Floats) -> Floats:
    """Return [...] the largest of [..., M] that is not NaN; NaN where all are.

    LLM by LLM over all rows at once: several times as fast as row by row, of ten at a time.
    """
    return reduce(np.fmax, np.moveaxis(values, -1, 0))


def least(values: Floats) -> Floats:
    """Return [...] the least of [..., M] that is not NaN; NaN where all are."""
    return reduce(np.fmin, np.moveaxis(values, -1, 0))


def charge_failures(reward: Floats) -> Floats:
    """Fill what has no reward with the worst reward of the same user and query.

    That is what a router pays that chooses a response which is not ok; NaN stays where no
    candidate has a reward.
    """
    return np.where(np.isnan(reward), least(reward)[..., None], reward).astype(np.float32)
