"""The metrics of the evaluation: pure functions of arrays, each with its formula.

r[u, q, m] is the reward of LLM m for user u and query q, a(u, q) the router's choice, E the mean
over all scored rows (u, q). A row in which no candidate is ok is left out of every mean.
Sources: the paper (arXiv 2511.16883) for reward, performance, cost and accuracy; regret and the
oracle-normalised reward are defined in docs/evaluation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.users.rewards import largest, least

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Bools, Doubles, Floats, Ints

# A user whose oracle is above chance by no more than this has no range to normalise by.
ZERO_RANGE = 1e-9


def charge(reward: Floats) -> Floats:
    """Return rewards [..., M] with NaN replaced by the worst candidate's that has one.

    A response that is not ok has no reward of its own; whoever chooses it is charged
    ``min over ok m of r[u, q, m]``. Where no candidate is ok the row stays NaN.
    """
    if not np.isnan(reward).any():
        return reward
    worst = least(reward)[..., None]
    charged: Floats = np.where(np.isnan(reward), worst, reward)
    return charged


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What was hidden from the routers: the test split. U users, Q test queries, M LLMs."""

    reward: Floats
    """[U, Q, M]; NaN where the response is not ok."""
    chosen: Bools
    """[U, Q, M]; true for every tied best."""
    performance: Floats
    """[Q, M]"""
    cost_usd: Doubles
    """[Q, M]"""
    worst: Floats
    """[U, Q] min over ok candidates; NaN where none is ok, as in the two that follow."""
    best: Floats
    """[U, Q] max over ok candidates: the oracle's reward."""
    chance: Doubles
    """[U, Q] exact expectation of a uniform choice among all candidates, failures charged."""

    @classmethod
    def of(cls, reward: Floats, chosen: Bools, performance: Floats, cost_usd: Doubles) -> Outcomes:
        """Derive worst, best and chance from the rewards."""
        return cls(
            reward=reward,
            chosen=chosen,
            performance=performance,
            cost_usd=cost_usd,
            worst=least(reward),
            best=largest(reward),
            chance=charge(reward).mean(axis=-1, dtype=np.float64),
        )

    @property
    def scored(self) -> Bools:
        """[U, Q] rows in which at least one candidate is ok."""
        return np.isfinite(self.best)


@dataclass(frozen=True, eq=False)
class Scores:
    """One router's choices, scored: each array [U, Q], NaN where there is no value."""

    reward: Doubles
    """r[u, q, a]; an invalid choice or one that is not ok is charged the worst ok candidate's."""
    regret: Doubles
    """max_m r[u, q, m] − r[u, q, a]"""
    accuracy: Doubles
    """1 where a is any of the tied best candidates, else 0."""
    performance: Doubles
    """s[q, a]; NaN where the choice is invalid or its response not ok."""
    cost_usd: Doubles
    """USD of the response chosen; NaN where unknown."""
    charged: Doubles
    """1 where the choice was charged, else 0."""


SCORES = ("reward", "accuracy", "performance", "cost_usd", "regret", "charged")


def score(outcomes: Outcomes, choice: Ints) -> Scores:
    """Join choices with outcomes.

    Args:
        outcomes: of the test split.
        choice: [U, Q] index of an LLM, negative where the choice is invalid.
    """
    valid = choice >= 0
    pick = np.where(valid, choice, 0)[:, :, None]
    scored = outcomes.scored
    own = np.take_along_axis(outcomes.reward, pick, axis=-1)[:, :, 0].astype(np.float64)
    bad = ~valid | np.isnan(own)
    reward = np.where(bad, outcomes.worst, own)
    hit = np.take_along_axis(outcomes.chosen, pick, axis=-1)[:, :, 0] & ~bad
    column = np.arange(choice.shape[1])[None, :]
    performance = outcomes.performance[column, pick[:, :, 0]].astype(np.float64)
    cost = outcomes.cost_usd[column, pick[:, :, 0]]

    def where(keep: Bools, values: NDArray[np.generic]) -> Doubles:
        return np.where(keep, values.astype(np.float64), np.nan)

    return Scores(
        reward=reward,
        regret=outcomes.best.astype(np.float64) - reward,
        accuracy=where(scored, hit),
        performance=where(scored & ~bad, performance),
        cost_usd=where(scored & valid, cost),
        charged=where(scored, bad),
    )


@dataclass(frozen=True, slots=True)
class Summed:
    """Numbers [U, Q] of which no more than the sum is known, and over how many."""

    sum: float
    count: int
    shape: tuple[int, int]

    def __sub__(self, other: Summed) -> Summed:
        """Return the sum of the differences; both are of the same rows."""
        assert self.count == other.count, "differences are taken row by row"
        return Summed(self.sum - other.sum, self.count, self.shape)


def mean(values: Doubles | Summed) -> float | None:
    """Return the mean of what is not NaN, None where nothing is."""
    if isinstance(values, Summed):
        return values.sum / values.count if values.count else None
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def oracle_normalised_reward(
    reward: Doubles, chance: Doubles, oracle: Floats
) -> tuple[float | None, int]:
    """Return N, and the number of users left out because their range is zero.

    ``N_u = (R_u − R_chance,u) / (R_oracle,u − R_chance,u)``, R_u = E_q r[u, q, a]; N is the mean
    over users, so that a user of a small range counts like any other. 0 is chance, 1 the oracle.

    Args:
        reward, chance, oracle: [U, Q], NaN in the same places.
    """
    ratios = user_ratios(reward, chance, oracle)
    return float(np.mean(ratios)) if len(ratios) else None, len(reward) - len(ratios)


def user_ratios(reward: Doubles, chance: Doubles, oracle: Floats) -> Doubles:
    """Return N_u of each user who has a range; arguments as in `oracle_normalised_reward`."""
    seen = np.isfinite(reward)
    count = np.maximum(seen.sum(axis=1), 1)
    own, low, high = (
        np.where(seen, x, 0).sum(axis=1, dtype=np.float64) / count for x in (reward, chance, oracle)
    )
    has_range = (high - low > ZERO_RANGE) & seen.any(axis=1)
    ratios: Doubles = (own - low)[has_range] / (high - low)[has_range]
    return ratios


def routing_entropy(choice: Ints, candidates: int) -> float:
    """Return ``−Σ_m p_m log2 p_m`` in bits, p the shares of the valid choices; 0 if constant."""
    shares = np.bincount(choice[choice >= 0].ravel(), minlength=candidates).astype(np.float64)
    if not shares.sum():
        return 0.0
    shares = shares[shares > 0] / shares.sum()
    return float(abs(-(shares * np.log2(shares)).sum()))
