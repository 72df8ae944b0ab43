"""The shuffled-user control: does it matter to a router who is asking?

Every user asks every test query, so what a router would have answered to u as if u were v is the
choice that it committed to for v. The control therefore needs no second round of questions and is
exact: ``R_shuffled`` is the mean over all other users v, not over one draw of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.metrics import charge

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.evaluation.bill import Bill
    from personaroute_bench.evaluation.metrics import Outcomes

PERMUTATIONS = 999
# The permutation test looks at no more users than this: its matrix is users × users.
TESTED_USERS = 2000


@dataclass(frozen=True, eq=False)
class Shuffled:
    """What becomes of choices when users are taken for others; averages over the seeds."""

    reward: Doubles
    """[U, Q] ``mean over v ≠ u of r[u, q, a(v, q)]``: the expectation over derangements."""
    differs: Doubles
    """[U, Q] share of the other users to whom the router gives another LLM for q."""
    p_value: float | None
    """Of the hypothesis that it does not matter whose choices a user gets: the share of
    permutations of users that earn at least as much, the identity counted."""


def shuffled(
    outcomes: Outcomes,
    choices: Sequence[Ints],
    bills: Sequence[Bill | None] | None = None,
    seed: int = 0,
) -> Shuffled:
    """Return the control of one router.

    Args:
        outcomes: of the test split, U users.
        choices: one [U, Q] a seed, index of an LLM, negative where invalid.
        bills: what the other calls of a cascade cost, one a seed; who is given another's answer
            pays, at an own weight, for what was bought for it.
        seed: of the permutations.

    Returns:
        NaN and None where there is only one user.
    """
    U, Q, M = outcomes.reward.shape
    if U < 2:
        nothing = np.full((U, Q), np.nan)
        return Shuffled(nothing, nothing, None)
    # An invalid choice is candidate M, which earns what the worst does.
    values = np.concatenate([charge(outcomes.reward), outcomes.worst[:, :, None]], axis=-1)
    values = values.astype(np.float64)
    tested = tested_users(U, seed)
    filled = np.nan_to_num(values[tested]).reshape(len(tested), -1)
    reward, differs = np.zeros((2, U, Q))
    exchanged = np.zeros((len(tested), len(tested)))
    query = np.arange(Q)[None, :]
    for choice, bill in zip(choices, bills or [None] * len(choices), strict=True):
        pick = np.where(choice >= 0, choice, M)
        picked = np.zeros((U, Q, M + 1))
        np.put_along_axis(picked, pick[:, :, None], 1.0, axis=-1)
        count = picked.sum(axis=0)
        own = np.take_along_axis(values, pick[:, :, None], axis=-1)[:, :, 0]
        total = np.einsum("uqm,qm->uq", values, count)
        reward += (total - own) / (U - 1) / len(choices)
        differs += (U - count[query, pick]) / (U - 1) / len(choices)
        if differs.any():
            exchanged += filled @ picked[tested].reshape(len(tested), -1).T
        if bill is not None:
            reward -= bill.weight * (bill.others.sum(axis=0) - bill.others) / (U - 1) / len(choices)
            weight = np.where(outcomes.scored, bill.weight, 0.0)[tested]
            exchanged -= weight @ bill.others[tested].T
    scored = outcomes.scored
    differs = np.where(scored, differs, np.nan)
    p_value = 1.0
    if np.nansum(differs) > 0:
        p_value = permutation_p(exchanged, seed)
    return Shuffled(np.where(scored, reward, np.nan), differs, p_value)


def tested_users(users: int, seed: int = 0) -> Ints:
    """Return the users of the permutation test, all or a sample, in ascending order."""
    if users <= TESTED_USERS:
        return np.arange(users)
    found: Ints = np.random.default_rng(seed).choice(users, TESTED_USERS, replace=False)
    return np.sort(found)


def permutation_p(exchanged: Doubles, seed: int = 0) -> float:
    """Return how often a permutation of users earns as much; exchanged [u, v] is u with v's."""
    rng, rows = np.random.default_rng([seed, 1]), np.arange(len(exchanged))
    real = float(exchanged.trace())
    # Sums in another order differ in the last digits; those are no difference.
    least = real - 1e-9 * max(1.0, abs(real))
    earned = [exchanged[rows, rng.permutation(rows)].sum() for _ in range(PERMUTATIONS)]
    return float((1 + sum(total >= least for total in earned)) / (1 + PERMUTATIONS))
