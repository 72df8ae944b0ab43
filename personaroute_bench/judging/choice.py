"""From taste to choice: what a persona with known weights takes among rated responses.

    utility = w · performance + (1 − w) · taste · (ratings − ½) + noise,    choice = argmax

w is the persona's performance weight: how much right answers matter to it beside manner. The noise
is Gumbel with one scale for all, so a persona takes candidate m with probability proportional to
exp(utility_m / scale): the multinomial logit of Luce (1959) and McFadden (1974). The choices have
a known ground truth, and two askings of one persona differ as those of people do.

A draw depends on the seed, the user's number, the query's id and the LLM's id, and on nothing
else: more users, other queries or another LLM in the pool leave it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import text_digest
from personaroute_bench.users.rewards import Bools, Floats

Words = NDArray[np.uint64]

STYLE_SCALE = 2.0
"""Ratings lie within ½ of their query's average; twice that is within [−1, 1], as scores are."""

NOISE_SCALE = 0.03
"""Default scale of the Gumbel noise, in the unit of performance; its deviation is 1.28 times it."""

TIE = 1e-6
"""Utilities closer than this are equal: float32 sums of equal numbers may differ by as much."""


def style_utility(ratings: Floats, taste: NDArray[np.floating]) -> Floats:
    """Return how much each user likes the manner of each response.

    The taste is brought to Euclidean length 1, so that a persona with many likings is as easily
    swayed as one with a single strong one; a taste of zeros likes all responses alike.

    Args:
        ratings: [Q, M, D] in [0, 1]; NaN where there is none, which counts as the average ½.
        taste: [U, D] weights in [-1, 1]. A block of users; memory is U · Q · M · 4 bytes.

    Returns:
        [U, Q, M] float32; 0 is the query's average.

    Raises:
        UsageError: a taste is not finite, as for imported personas with a text only.
    """
    if not np.isfinite(taste).all():
        number = int(np.flatnonzero(~np.isfinite(taste).all(axis=1))[0])
        raise UsageError(
            f"persona {number} of this block has no taste weights, so its choices cannot follow "
            "from ratings; let a judge read its text instead (--judge direct)"
        )
    norm = np.linalg.norm(taste, axis=1, keepdims=True)
    direction = np.divide(taste, norm, out=np.zeros(taste.shape), where=norm > 0)
    manner = np.nan_to_num(ratings - np.float32(0.5), nan=0.0).reshape(-1, ratings.shape[-1])
    weights = (STYLE_SCALE * direction).astype(np.float32)
    if len(weights) == 1:
        # A product of a vector sums in another order than one of a matrix; a user's liking must
        # not depend on how many others are in the block.
        weights = np.repeat(weights, 2, axis=0)
    liking: Floats = weights @ manner.T  # [U, Q · M]
    return liking[: len(taste)].reshape(len(taste), *ratings.shape[:2])


def persona_utility(
    performance: Floats,
    style: Floats,
    performance_weight: NDArray[np.floating],
    ok: Bools,
    noise: Floats | None = None,
) -> Floats:
    """Add up what a block of personas gets from each response.

    Args:
        performance: [Q, M] in [0, 1]. Where any usable response of a query has none (NaN),
            performance does not count for that query: unknown is not zero.
        style: [U, Q, M] from `style_utility`.
        performance_weight: [U] in [0, 1].
        ok: [Q, M], true where the response is usable.
        noise: [U, Q, M] from `gumbel_noise`; None: the persona never errs.

    Returns:
        [U, Q, M] float32; NaN where the response is not usable.
    """
    weight = performance_weight.astype(np.float32)[:, None, None]
    scored = ~(ok & np.isnan(performance)).any(axis=-1, keepdims=True)
    score = np.where(ok & scored, performance, np.float32(0.0)).astype(np.float32)
    utility = (1 - weight) * style
    utility += weight * score
    if noise is not None:
        utility += noise
    utility[:, ~ok] = np.nan
    return utility


def gumbel_noise(
    seed: int,
    users: NDArray[np.int64],
    query_ids: Sequence[str],
    llm_ids: Sequence[str],
    scale: float = NOISE_SCALE,
    repeat: int = 0,
) -> Floats:
    """Draw the noise of a block of users, each number from a hash of who, what and which LLM.

    Args:
        seed: the data set's seed.
        users: [U] user numbers, counted from 0.
        query_ids: [Q].
        llm_ids: [M].
        scale: of the Gumbel distribution; 0 gives zeros.
        repeat: a further asking of the same persona, for test-retest agreement.

    Returns:
        [U, Q, M] float32, mean 0.577 · scale.

    Raises:
        UsageError: the scale is negative or not finite.
    """
    if not (np.isfinite(scale) and scale >= 0):
        raise UsageError(f"the noise scale must be a finite number of at least 0, not {scale!r}")
    shape = (len(users), len(query_ids), len(llm_ids))
    if scale == 0:
        return np.zeros(shape, dtype=np.float32)
    query, llm = _keys(query_ids), _keys(llm_ids)
    start = np.uint64(int(text_digest(f"{seed}\x1fjudging/noise\x1f{repeat}")[:16], 16))
    pair = _mix(_mix(query + start)[:, None] ^ llm[None, :])  # [Q, M]
    user = _mix(users.astype(np.uint64) + np.uint64(1))
    result = np.empty(shape, dtype=np.float32)
    for row, key in zip(result, user, strict=True):  # a user at a time stays in the cache
        bits = _mix(pair ^ key)
        # 23 bits and a half: float32 holds each such number exactly, and none is 0 or 1.
        uniform = ((bits >> np.uint64(41)).astype(np.float32) + np.float32(0.5)) / np.float32(2**23)
        np.log(uniform, out=row)
        np.log(-row, out=row)
    result *= np.float32(-scale)
    return result


def choose(utility: Floats) -> Bools:
    """Mark what each user takes: every candidate within `TIE` of the best.

    Args:
        utility: [..., M], NaN where a candidate cannot be taken.

    Returns:
        [..., M]; all false where no candidate can be taken.
    """
    filled = np.where(np.isnan(utility), -np.inf, utility)
    best = filled.max(axis=-1, keepdims=True)
    chosen: Bools = (filled >= best - TIE) & np.isfinite(best)
    return chosen


def choice_reward(chosen: Bools, ok: Bools) -> Floats:
    """Return the reward of the `llm_judge` strategy: 1 for the chosen, 1/k for k tied, else 0.

    Args:
        chosen: [U, Q, M] from `choose` or from a judge.
        ok: [Q, M], true where the response is usable.

    Returns:
        [U, Q, M] float32; NaN where the response is not usable, or where nothing was chosen (a
        reply that could not be parsed is no choice against anybody).
    """
    count = chosen.sum(axis=-1, keepdims=True, dtype=np.float32)
    reward: Floats = np.divide(
        chosen, count, out=np.zeros(chosen.shape, np.float32), where=count > 0
    )
    reward[~(ok & (count > 0))] = np.nan
    return reward


def _keys(ids: Sequence[str]) -> Words:
    """Return 64 bits an id, the same on every machine."""
    return np.array([int(text_digest(name)[:16], 16) for name in ids], dtype=np.uint64)


def _mix(z: Words) -> Words:
    """Scramble 64-bit words (the finaliser of SplitMix64; a bijection)."""
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
