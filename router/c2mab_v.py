"""C2MAB-V: a bandit with a long-run budget, which chooses one LLM a request.

"Cost-Effective Online Multi-LLM Selection with Versatile Reward Models" (arXiv 2405.16587): with
optimistic worth and optimistic (low) cost of every LLM, the relaxed problem

    max Σ z_m v̄_m    where Σ z_m c̲_m ≤ B, Σ z_m = N, 0 ≤ z_m ≤ 1

is solved and rounded at random to a choice. Here N = 1: the solution then has at most two LLMs,
one below the budget and one above, and rounding is one draw between them. The paper has no code;
its bounds are ``√(log t / n)``, with factors that are settings here. It knows nothing of queries.
"""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.feedback import pair_uniform
from personaroute_bench.evaluation.online import Revealed
from personaroute_bench.evaluation.protocol import History, Requests

from .means import Doubles, Ints, Totals, spending
from .past import Past, past_of

BONUSES = (0.0, 0.1, 0.3, 1.0)
# Strengths of the prior on a user's own means, in requests; the last one all but ignores users.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 1e6)
DEFAULT_BONUS, DEFAULT_STRENGTH = BONUSES[1], 10.0
REPLAYED_USERS = 200


def relaxed(worth: Doubles, cost: Doubles, budget: float, order: Ints) -> tuple[Any, Any, Any]:
    """Solve the relaxed problem for N = 1.

    Args:
        worth: [S, M] optimistic worth.
        cost: [S, M] optimistic cost.
        budget: B, in the same unit.
        order: [M] settles ties.

    Returns:
        [S] the LLM a, [S] the LLM b, and [S] z_b; z_a = 1 − z_b. Where no LLM is within the
        budget, both are the cheapest.
    """
    worth, cost = worth[:, order], cost[:, order]
    below = cost <= budget
    gap = cost[:, None, :] - cost[:, :, None]  # [S, a, b]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (budget - cost)[:, :, None] / gap
    # A dearer b above the budget takes what a leaves of it; a alone stands on the diagonal.
    share = np.where(below[:, None, :], 0.0, np.clip(share, 0.0, 1.0))
    total = worth[:, :, None] + share * (worth[:, None, :] - worth[:, :, None])
    total = np.where(below[:, :, None], total, -np.inf)
    S, M = worth.shape
    best = total.reshape(S, -1).argmax(axis=1)
    a, b = best // M, best % M
    part = np.take_along_axis(share.reshape(S, -1), best[:, None], axis=1)[:, 0]
    none = ~below.any(axis=1)
    cheapest = cost.argmin(axis=1)
    a, b = np.where(none, cheapest, a), np.where(none, cheapest, b)
    return order[a], order[b], np.where(none, 0.0, part)


class Counts:
    """What LLMs were worth and have cost so far."""

    def __init__(self, own: Totals, everybody: Totals, usd: Totals, strength: float | None) -> None:
        self.own = own
        """[U, M] of each user; only used with a strength."""
        self.everybody = everybody
        """[M]"""
        self.usd = usd
        """[M]"""
        self.strength = strength
        """How many requests of one's own everybody's mean counts for; None: users do not count."""

    @classmethod
    def of(cls, values: NDArray[Any], usd: Totals, strength: float | None) -> Counts:
        """Count values [U, Q, M]; NaN is not told."""
        told = np.isfinite(values)
        total = np.where(told, values, 0.0).sum(axis=1, dtype=np.float64)
        own = Totals(total, told.sum(axis=1).astype(np.float64))
        return cls(own, own.over(0), Totals(usd.sum.copy(), usd.count.copy()), strength)

    def grow(self, users: int, llms: int) -> None:
        """Make room for further users and LLMs."""
        U, M = self.own.sum.shape
        more = ((0, max(0, users - U)), (0, max(0, llms - M)))
        self.own = Totals(*(np.pad(x, more) for x in (self.own.sum, self.own.count)))
        self.everybody, self.usd = (
            Totals(*(np.pad(x, more[1]) for x in (part.sum, part.count)))
            for part in (self.everybody, self.usd)
        )

    def learn(self, users: Ints, llms: Ints, values: Doubles) -> None:
        """Take in n values."""
        np.add.at(self.own.sum, (users, llms), values)
        np.add.at(self.own.count, (users, llms), 1.0)
        np.add.at(self.everybody.sum, llms, values)
        np.add.at(self.everybody.count, llms, 1.0)

    def pay(self, llms: Ints, usd: Doubles) -> None:
        """Take in n bills."""
        np.add.at(self.usd.sum, llms, usd)
        np.add.at(self.usd.count, llms, 1.0)

    def bounds(self, users: Ints, bonus: float) -> tuple[Doubles, Doubles]:
        """Return optimistic worth and cost [n, M] of users [n], -1 for one without a past.

        An LLM that nobody has tried is believed to be average, and to cost what the dearest does.
        """
        told = self.everybody.count
        overall = self.everybody.sum.sum() / max(told.sum(), 1.0)
        mean = np.where(told > 0, self.everybody.sum / np.maximum(told, 1.0), overall)
        if self.strength is None:
            weight = np.maximum(told, 1.0)[None]
            worth = mean[None]
        else:
            known = (users >= 0)[:, None]
            weight = np.where(known, self.own.count[users], 0.0) + self.strength
            total = np.where(known, self.own.sum[users], 0.0)
            worth = (total + self.strength * mean) / weight
        plays = np.log(np.maximum(weight.sum(axis=1, keepdims=True), 2.0))
        worth = worth + bonus * np.sqrt(plays / weight)
        price = prices(self.usd)
        bills = np.maximum(self.usd.count, 1.0)
        radius = bonus * price.max(initial=0.0) * np.sqrt(np.log(bills.sum() + 1.0) / bills)
        cost = np.maximum(price - radius, 0.0)
        shape = (len(users), len(price))
        return np.broadcast_to(worth, shape), np.broadcast_to(cost, shape)


def prices(usd: Totals) -> Doubles:
    """Return [M] mean USD a request; of an LLM without a known bill, what the dearest costs."""
    mean = usd.mean
    known = np.isfinite(mean)
    return np.where(known, mean, mean[known].max(initial=0.0))


class C2mabV:
    """A bandit under a long-run budget, which mixes the best LLM below it with one above.

    Settings: the budget B (five quantiles of the LLMs' mean USD, the last being no limit) and the
    factor of the bounds, by replaying the validation split as a stream after the training split.
    The draw between the two LLMs depends on seed, user and query alone.
    """

    personal: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Select the settings, then start from all of the past.

        Raises:
            BenchError: the training split tells nothing.
        """
        past = past_of(history)
        held = history.validation
        bills = spending(history)
        usd = bills if held is None else bills + spending(held)
        self.users = {name: i for i, name in enumerate(past.user_ids)}
        self.llm_ids = list(past.llm_ids)
        self.tie_order = past.order
        self.budget, self.bonus, strength = self._select(past, len(history.query_ids), bills)
        self.counts = Counts.of(past.values, usd, strength)

    def adapt(self, support: History) -> None:
        """Take in what new users, or users of new LLMs, have told."""
        known = len(self.llm_ids)
        self.llm_ids += [str(n) for n in support.llm_ids if str(n) not in self.llm_ids]
        self.tie_order = np.concatenate([self.tie_order, np.arange(known, len(self.llm_ids))])
        rows = self._rows(support.user_ids)
        place = np.asarray([self.llm_ids.index(str(n)) for n in support.llm_ids], np.int64)
        u, q, m = np.nonzero(np.isfinite(support.values))
        self.counts.learn(rows[u], place[m], support.values[u, q, m].astype(np.float64))
        q, m = np.nonzero(np.isfinite(support.cost_usd))
        self.counts.pay(place[m], support.cost_usd[q, m])

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices; -1 where the LLM chosen is no candidate."""
        rows = np.asarray([self.users.get(str(n), -1) for n in requests.user_ids], np.int64)
        worth, cost = self.counts.bounds(rows, self.bonus)
        a, b, share = relaxed(worth, cost, self.budget, self.tie_order)
        draw = pair_uniform(self.seed, "c2mab-v", requests.user_ids, requests.query_ids)
        u, q = requests.user_index, requests.query_index
        choice = np.where(draw[u, q] < share[u], b[u], a[u])
        place = {name: i for i, name in enumerate(requests.candidates.tolist())}
        column = np.asarray([place.get(name, -1) for name in self.llm_ids], np.int64)
        found: Ints = column[choice]
        return found

    def update(self, revealed: Revealed) -> None:
        """Learn what the chosen LLMs were worth and have cost."""
        requests = revealed.requests
        place = {name: m for m, name in enumerate(self.llm_ids)}
        column = np.asarray([place.get(str(n), -1) for n in requests.candidates], np.int64)
        llms = np.where(revealed.choice >= 0, column[revealed.choice], -1)
        users = self._rows(requests.user_ids)[requests.user_index]
        told = np.flatnonzero((llms >= 0) & np.isfinite(revealed.values))
        self.counts.learn(users[told], llms[told], revealed.values[told].astype(np.float64))
        paid = np.flatnonzero((llms >= 0) & np.isfinite(revealed.cost_usd))
        self.counts.pay(llms[paid], revealed.cost_usd[paid])

    def _rows(self, user_ids: NDArray[Any]) -> Ints:
        """Return the row of each user, and make room for those who have none."""
        for name in user_ids:
            self.users.setdefault(str(name), len(self.users))
        self.counts.grow(len(self.users), len(self.llm_ids))
        return np.asarray([self.users[str(name)] for name in user_ids], np.int64)

    def _select(self, past: Past, train: int, usd: Totals) -> tuple[float, float, float | None]:
        """Return the budget, bonus and strength that earn most when validation is replayed."""
        budgets = np.quantile(prices(usd), (1.0, 0.8, 0.6, 0.4, 0.2)).tolist()
        strengths: tuple[float | None, ...] = STRENGTHS if self.personal else (None,)
        some = slice(None, None, -(-len(past.values) // REPLAYED_USERS))
        values = past.values[some]
        held = values[:, train:]
        if not np.isfinite(held).any():
            return budgets[0], DEFAULT_BONUS, DEFAULT_STRENGTH if self.personal else None
        settings = list(product(budgets, BONUSES, strengths))
        draws = np.random.default_rng(self.seed).random(held.shape[:2])
        earned = []
        for budget, bonus, strength in settings:
            counts = Counts.of(values[:, :train], usd, strength)
            earned.append(_replay(counts, budget, bonus, held, draws, past.order))
        return settings[int(np.argmax(earned))]


class C2mabVPersonal(C2mabV):
    """A bandit under a long-run budget for each user, who begins as everybody.

    Settings: those of `C2mabV`, and how many requests of one's own everybody's mean counts for.
    """

    personal: ClassVar[bool] = True


def _replay(
    counts: Counts, budget: float, bonus: float, values: Any, draws: Doubles, order: Ints
) -> float:
    """Return what a stream of values [U, Q, M] earns, only the chosen LLM being told each time.

    A choice that nobody told anything about earns nothing, and teaches nothing.
    """
    users, total = np.arange(len(values)), 0.0
    for q in range(values.shape[1]):
        a, b, share = relaxed(*counts.bounds(users, bonus), budget, order)
        choice = np.where(draws[:, q] < share, b, a)
        value = np.asarray(values[users, q, choice], dtype=np.float64)
        told = np.flatnonzero(np.isfinite(value))
        total += float(value[told].sum())
        counts.learn(users[told], choice[told], value[told])
    return total
