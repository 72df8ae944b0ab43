"""C2MAB-V: the relaxed problem against a solver, rounding, and what it learns from a stream."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned_data import THRIFTY, asked, past_with_tastes, rows_of, told
from personaroute_bench.router.c2mab_v import C2mabV, C2mabVPersonal, Counts, prices, relaxed
from personaroute_bench.router.means import Totals

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.runner import evaluate

KINDS = (C2mabV, C2mabVPersonal)
SHARES = st.lists(st.integers(0, 10), min_size=8, max_size=8)


def fitted(kind: Any, data: Any, **options: Any) -> Any:
    router = kind(seed=0)
    router.fit(told(data, **options))
    return router


def choices(router: Any, data: Any, users: list[str] | None = None) -> np.ndarray:
    return np.asarray(router.route(asked(data, users))).reshape(-1, 16)


@settings(max_examples=60, deadline=None)
@given(SHARES, st.integers(0, 10))
def test_the_closed_form_is_the_linear_programme(numbers: list[int], limit: int) -> None:
    from scipy.optimize import linprog

    worth, cost = np.asarray(numbers[:4]) / 10, np.asarray(numbers[4:]) / 10
    budget = limit / 10
    a, b, share = relaxed(worth[None], cost[None], budget, np.arange(4))
    mix = np.zeros(4)
    mix[a[0]] += 1 - share[0]
    mix[b[0]] += share[0]
    best = linprog(-worth, A_ub=[cost], b_ub=[budget], A_eq=[np.ones(4)], b_eq=[1], bounds=(0, 1))
    if best.status == 2:  # nothing is within the budget
        assert cost @ mix == cost.min()
    else:
        assert cost @ mix <= budget + 1e-9
        assert worth @ mix == pytest.approx(-best.fun, abs=1e-7)


def test_the_relaxed_problem_by_hand() -> None:
    worth, cost = np.asarray([[0.2, 1.0]] * 3), np.asarray([[1.0, 3.0]] * 3)
    order = np.arange(2)
    for budget, share in ((1.0, 0.0), (1.5, 0.25), (3.0, 0.0)):
        a, b, got = relaxed(worth, cost, budget, order)
        assert got[0] == share
        assert (a[0] if share == 0 else b[0]) == (1 if budget > 1 else 0)
    a, b, got = relaxed(worth, cost, 0.5, order)
    assert (a[0], b[0], got[0]) == (0, 0, 0)
    tied = relaxed(np.ones((1, 2)), np.ones((1, 2)), 1.0, np.asarray([1, 0]))
    assert tied[0][0] == 1


def test_rounding_is_by_seed_user_and_query_alone() -> None:
    data = past_with_tastes()
    router = fitted(C2mabV, data)
    usd = prices(router.counts.usd)
    router.budget, router.bonus = float((usd[0] + usd[1]) / 2), 0.0
    one = choices(router, data)
    np.testing.assert_array_equal(choices(router, data)[3:5], one[3:5])
    np.testing.assert_array_equal(choices(router, data, ["user-3"])[0], one[3])
    other = fitted(C2mabV, data)
    other.budget, other.bonus, other.seed = router.budget, 0.0, 1
    assert (choices(other, data) != one).any()
    # two LLMs, and half of the way between their prices
    assert len(np.unique(one)) == 2
    paid = usd[one].mean()
    assert paid == pytest.approx(router.budget, rel=0.1)


def test_bounds_by_hand() -> None:
    own = Totals(np.asarray([[2.0, 0.0], [0.0, 0.0]]), np.asarray([[4.0, 0.0], [0.0, 0.0]]))
    usd = Totals(np.asarray([2.0, 9.0]), np.asarray([2.0, 3.0]))
    everybody = Totals(np.asarray([6.0, 2.0]), np.asarray([10.0, 10.0]))
    blind = Counts(own, everybody, usd, None)
    worth, cost = blind.bounds(np.asarray([0, -1]), 0.5)
    radius = 0.5 * np.sqrt(np.log(20) / 10)
    np.testing.assert_allclose(worth, [[0.6 + radius, 0.2 + radius]] * 2)
    cheap = 0.5 * 3.0 * np.sqrt(np.log(6) / np.asarray([2, 3]))
    np.testing.assert_allclose(cost, [np.maximum([1.0, 3.0] - cheap, 0)] * 2)
    mine = Counts(own, everybody, usd, 4.0)
    worth, _ = mine.bounds(np.asarray([0, 1, -1]), 0.0)
    np.testing.assert_allclose(worth, [[(2 + 4 * 0.6) / 8, 0.2], [0.6, 0.2], [0.6, 0.2]])


def test_an_llm_that_nobody_tried_is_average_and_dear() -> None:
    none = Totals(np.zeros((1, 2)), np.zeros((1, 2)))
    counts = Counts(
        none,
        Totals(np.asarray([3.0, 0.0]), np.asarray([6.0, 0.0])),
        Totals(np.asarray([4.0, 0.0]), np.asarray([2.0, 0.0])),
        None,
    )
    worth, cost = counts.bounds(np.asarray([0]), 0.0)
    np.testing.assert_allclose(worth, [[0.5, 0.5]])
    np.testing.assert_allclose(cost, [[2.0, 2.0]])
    assert (
        counts.bounds(np.asarray([0]), 0.1)[0][0, 1] > counts.bounds(np.asarray([0]), 0.1)[0][0, 0]
    )


def test_a_personal_bandit_tells_users_apart_and_swapping_pasts_swaps_answers() -> None:
    data = past_with_tastes()
    blind = fitted(C2mabV, data)
    before = choices(fitted(C2mabVPersonal, data), data)
    assert len(np.unique(choices(blind, data))) <= 2
    assert (before[THRIFTY] == 0).mean() > 0.9
    assert (before[~THRIFTY] == 0).mean() < 0.1
    order = np.asarray([2, 1, 0, *range(3, 12)])
    memory = {
        key: dataclasses.replace(part, reward=part.reward[order], chosen=part.chosen[order])
        for key, part in data.memory.items()
    }
    after = choices(fitted(C2mabVPersonal, dataclasses.replace(data, memory=memory)), data)
    assert (after[[0, 2]] == before[[2, 0]]).mean() > 0.9


def test_shuffled_identities_cost_reward() -> None:
    entries = evaluate(past_with_tastes(), [C2mabVPersonal], bootstrap_draws=100).routers
    gain = next(e for e in entries if e["asked_for"])["metrics"]["shuffled_gain"]
    assert gain["mean"] > 0.1
    assert gain["p_value"] < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_stream_is_counted(kind: Any) -> None:
    data = past_with_tastes()

    class Kept(kind):  # type: ignore[misc]
        def fit(self, history: Any) -> None:
            super().fit(history)
            type(self).one = self
            self.before = self.counts.everybody.count.sum(), self.counts.usd.count.sum()

    evaluate(data, [Kept], bootstrap_draws=0)
    counts = Kept.one.counts
    assert counts.everybody.count.sum() == Kept.one.before[0] + 12 * 16
    assert counts.usd.count.sum() == Kept.one.before[1] + 12 * 16
    np.testing.assert_allclose(counts.own.count.sum(axis=0), counts.everybody.count)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_little_and_broken_pasts(kind: Any, feedback: Any) -> None:
    data = past_with_tastes(failures=0.4)
    cost = data.cost_usd.copy()
    cost[:, 1] = np.nan  # a price that nobody knows
    data = dataclasses.replace(data, cost_usd=cost)
    results = evaluate(data, [kind], feedback=feedback, interactions_per_user=2, bootstrap_draws=0)
    entry = next(e for e in results.routers if e["asked_for"])
    assert entry["status"] == "ok"
    assert entry["invalid"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_user_one_llm_no_validation_no_prices(kind: Any) -> None:
    alone = rows_of(past_with_tastes(), np.asarray([4]))
    assert (choices(fitted(kind, alone, validated=False), alone) >= 0).all()
    single = rows_of(past_with_tastes(), np.arange(12), np.asarray([2]))
    assert (choices(fitted(kind, single), single) == 0).all()
    unpriced = past_with_tastes()
    unpriced = dataclasses.replace(unpriced, cost_usd=np.full_like(unpriced.cost_usd, np.nan))
    assert (choices(fitted(kind, unpriced), unpriced) >= 0).all()
    with pytest.raises(BenchError, match="tells nothing"):
        fitted(kind, past_with_tastes(failures=1.0))
