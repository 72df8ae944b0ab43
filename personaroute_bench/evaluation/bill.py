"""The bill of a cascade: what all of its calls cost the user, in reward and in USD."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.clock import Timekeeper
from personaroute_bench.evaluation.metrics import Scores

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Doubles, Floats, Ints
    from personaroute_bench.evaluation.cascade import Places

# strategy -> the column of `users` that says what cost takes from a reward (drift: what it leaves)
_WEIGHTS = {
    "multi_cost_efficiency": "cost_weight",
    "mixed": "mixed_cost_weight",
    "drift": "drift_performance_weights",
}


@dataclass(frozen=True, eq=False)
class Bill:
    """What the calls of a cascade come to, [U, Q] each."""

    others: Doubles
    """Normalised cost of all calls but the one that answers."""
    weight: Doubles
    """What a user's reward loses for a unit of it: β."""
    usd: Doubles
    """Of all calls; NaN where one is unknown, or nothing was bought."""
    calls: Ints

    @property
    def loss(self) -> Doubles:
        """What the reward of the answer loses."""
        return self.weight * self.others


def make_bill(
    choice: Ints, purchases: Places, cost: Floats, cost_usd: Doubles, weight: Doubles
) -> Bill:
    """Sum up what was bought.

    A call whose normalised cost is unknown, as that of every response which is not ok, counts as
    the dearest of its query, 1 where there is none: failures are charged, not forgotten.

    Args:
        choice: [U, Q], -1 where invalid: then no call answers, and all are others.
        purchases: [U, Q, M] see `ask_cascade`.
        cost, cost_usd: [Q, M] of the responses.
        weight: [U, Q] see `cost_weights`.
    """
    dearest = np.fmax.reduce(cost, axis=-1, keepdims=True)
    dearest = np.where(np.isfinite(dearest), dearest, 1.0)
    charged = np.where(np.isfinite(cost), cost, dearest).astype(np.float64)
    bought = purchases > 0
    answers = bought & (choice[..., None] == np.arange(cost.shape[1]))
    calls = bought.sum(axis=-1)
    usd = np.where(bought, cost_usd, 0.0).sum(axis=-1)
    return Bill(
        others=np.where(bought & ~answers, charged, 0.0).sum(axis=-1),
        weight=weight,
        usd=np.where(calls > 0, usd, np.nan),
        calls=calls,
    )


def billed(scores: Scores, bill: Bill) -> Scores:
    """Return the scores of a cascade's answers [U, Q] after all of its calls are paid."""
    return replace(
        scores,
        reward=scores.reward - bill.loss,
        regret=scores.regret + bill.loss,
        cost_usd=np.where(np.isfinite(scores.reward), bill.usd, np.nan),
    )


def cost_weights(
    benchmark: Benchmark, strategy: str, users: Ints, queries: Ints, clock: Timekeeper | None
) -> Doubles:
    """Return [U, Q] what a unit of normalised cost takes from a user's reward.

    0 where rewards have no cost in them (llm_judge): there only USD are summed.

    Raises:
        UsageError: the data set does not say, or is sealed.
    """
    shape = (len(users), len(queries))
    if strategy == "llm_judge":
        return np.zeros(shape)
    column = _WEIGHTS.get(strategy, "")
    known = column in benchmark.users.column_names
    if not known and benchmark.sealed:
        raise UsageError(
            f"{benchmark.directory} is sealed: users' weights are withheld until its author opens "
            "it, and a cascade pays its calls by them; leave cascades out"
        )
    if not known or benchmark.users[column].null_count or (strategy == "drift" and clock is None):
        raise UsageError(
            f"a cascade pays its calls by each user's cost weight, and the data set does not say "
            f"what that is for {strategy!r} (users.{column or '?'}); use a strategy of "
            f"{', '.join((*_WEIGHTS, 'llm_judge'))}"
        )
    if strategy != "drift" or clock is None:
        weight = benchmark.users[column].to_numpy().astype(np.float64)
        return np.broadcast_to(weight[users][:, None], shape)
    alpha = np.asarray(benchmark.users[column].to_pylist(), dtype=np.float64)[users]
    segment = clock.at(users, queries).segment.astype(np.int64)
    return 1.0 - np.take_along_axis(alpha, segment, axis=1)
