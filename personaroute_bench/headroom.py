"""How much there is to personalise: no router can gain from users where nobody could.

Two levels, both as a share of the way from a random choice to the oracle:

- oracle level: the oracle that knows the user against the best choice for the average user;
- fixed-policy level: the best LLM of each user against the best LLM for all, chosen on the
  training queries and paid out on the test queries.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from personaroute_bench.errors import BenchError
from personaroute_bench.users.rewards import Bools, Floats, charge_failures

# Below this share of the way from random to the oracle a benchmark says little about routers.
LOW_HEADROOM = 0.02


@dataclass(frozen=True, slots=True)
class Headroom:
    """Mean test rewards of fixed policies and the shares that follow from them.

    Rewards are means over all users and the test queries that have a usable response. A share is
    None where the oracle is no better than a random choice.
    """

    random: float
    best_single: float
    best_per_user: float
    user_blind_oracle: float
    oracle: float
    oracle_share: float | None
    """(oracle - user_blind_oracle) / (oracle - random)."""
    fixed_policy_share: float | None
    """(best_per_user - best_single) / (oracle - random)."""
    win_shares: dict[str, float]
    """LLM id to its share of wins over all (user, query) pairs; k tied winners get 1/k each."""

    @property
    def low(self) -> bool:
        """Whether there is hardly anything to personalise."""
        return self.oracle_share is None or self.oracle_share < LOW_HEADROOM

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for the manifest."""
        return {**asdict(self), "low": self.low}


class HeadroomMeter:
    """Adds up, block by block of users, what `Headroom` needs; memory does not grow with users.

    Args:
        llm_ids: [M].
        usable: [Q, M] true where a response has a reward.
        train: [Q] true for training queries.
        test: [Q] true for test queries.

    Raises:
        BenchError: no training or no test query has a usable response.
    """

    def __init__(self, llm_ids: list[str], usable: Bools, train: Bools, test: Bools) -> None:
        answered = usable.any(axis=-1)
        self.llm_ids = llm_ids
        self.train = train & answered
        self.test = test & answered
        for name, mask in (("training", self.train), ("test", self.test)):
            if not mask.any():
                raise BenchError(
                    f"no {name} query has a response with status ok and a known cost; see "
                    "`bench ledger` for what went wrong, then run the same command again"
                )
        self.pairs = 0  # (user, test query) pairs in which there is a reward at all
        self.reward = np.zeros(usable.shape)  # [Q, M] sum over users, failures charged
        self.wins = np.zeros(len(llm_ids))
        self.oracle = 0.0
        self.per_user = 0.0

    def add(self, reward: Floats, best: Bools) -> None:
        """Add a block of users.

        Args:
            reward: [u, Q, M], NaN where there is none; a (user, query) without any reward, as
                where a judge's reply could not be read, is left out.
            best: [u, Q, M], every tied best candidate.
        """
        charged = charge_failures(reward)
        there = ~np.isnan(charged[..., 0])  # [u, Q]; charging leaves all candidates or none
        charged[~there] = 0.0
        self.pairs += int(there[:, self.test].sum())
        self.reward += charged.sum(axis=0, dtype=np.float64)
        ties = best.sum(axis=-1, dtype=np.float32)
        # Σ over (u, q) of best / ties, as one matrix product instead of a large temporary.
        weight = np.divide(1.0, ties, out=np.zeros_like(ties), where=ties > 0)
        self.wins += np.einsum("uqm,uq->m", best, weight, dtype=np.float64)
        test = charged[:, self.test]
        self.oracle += float(test.max(axis=-1).sum(dtype=np.float64))
        own = charged[:, self.train].sum(axis=1, dtype=np.float64).argmax(axis=-1)
        taken = np.take_along_axis(test, own[:, None, None], axis=-1)
        self.per_user += float(taken.sum(dtype=np.float64))

    def merge(self, other: HeadroomMeter) -> None:
        """Add what another meter, of the same data set, has added up of further users."""
        self.pairs += other.pairs
        self.reward += other.reward
        self.wins += other.wins
        self.oracle += other.oracle
        self.per_user += other.per_user

    def result(self) -> Headroom:
        """Return the headroom of all users added.

        Raises:
            BenchError: nobody has a reward on any test query.
        """
        if not self.pairs:
            raise BenchError(
                "no user has a reward on any test query; see `bench ledger` for what the judge "
                "answered"
            )
        test, train = self.reward[self.test], self.reward[self.train]
        oracle, per_user = self.oracle / self.pairs, self.per_user / self.pairs
        random = float(test.mean(axis=-1).sum() / self.pairs)
        single = float(test[:, train.sum(axis=0).argmax()].sum() / self.pairs)
        blind = float(test.max(axis=-1).sum() / self.pairs)
        span = oracle - random
        room = span > 1e-9
        shares = self.wins / max(self.wins.sum(), 1e-300)
        return Headroom(
            random=random,
            best_single=single,
            best_per_user=per_user,
            user_blind_oracle=blind,
            oracle=oracle,
            oracle_share=(oracle - blind) / span if room else None,
            fixed_policy_share=(per_user - single) / span if room else None,
            win_shares={llm: float(share) for llm, share in zip(self.llm_ids, shares, strict=True)},
        )
