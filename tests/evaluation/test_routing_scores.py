from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.evaluation.routing_scores import (
    arena_score,
    cumulative_regret,
    improvement,
    optimal_accuracy,
    optimal_cost,
    optimal_selection,
    rci,
    relative_gain,
    robustness,
)

# Four queries, three LLMs; nobody is right on the last, the price of LLM 2 on query 1 is unknown.
RIGHT = np.asarray([[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]], bool)
COST = np.asarray([[1.0, 2.0, 4.0], [1.0, 2.0, np.nan], [1.0, 2.0, 1.0], [1.0, 2.0, 4.0]])


def test_ratios_of_nothing_are_unknown() -> None:
    assert improvement(0.3, 0.2) == pytest.approx(0.5)
    assert improvement(0.3, 0.0) is None
    assert improvement(0.3, -0.2) is None
    assert relative_gain(0.9, 0.6) == pytest.approx(0.5)
    assert relative_gain(0.9, 0.0) is None


def test_optimal_scores_by_hand() -> None:
    choice = np.asarray([1, 1, 2, 0])  # right but dear; the cheapest right; a tie in price; wrong
    assert optimal_selection(RIGHT, COST, choice) == pytest.approx(2 / 3)
    assert optimal_accuracy(RIGHT, choice) == 1.0
    assert optimal_cost(RIGHT, COST, choice) == pytest.approx((1 + 2 + 1) / (2 + 2 + 1))
    invalid = np.asarray([-1, 2, 1, 0])  # invalid; right at an unknown price; wrong
    assert optimal_selection(RIGHT, COST, invalid) == 0.0
    assert optimal_accuracy(RIGHT, invalid) == pytest.approx(1 / 3)
    assert optimal_cost(RIGHT, COST, invalid) is None
    nobody = np.zeros_like(RIGHT)
    assert optimal_selection(nobody, COST, choice) is None
    assert optimal_accuracy(nobody, choice) is None


def test_several_users_are_averaged() -> None:
    both = np.asarray([[0, 1, 0, 0], [1, 0, 1, 0]])
    assert optimal_selection(RIGHT, COST, both) == pytest.approx((1 + 0) / 2)
    assert optimal_accuracy(RIGHT, both) == pytest.approx((3 + 1) / 6)


def test_arena_score_by_hand_and_at_its_ends() -> None:
    assert arena_score(0.8, 200.0) == 0.0
    assert arena_score(0.8, 0.0) == arena_score(0.8, 0.0044)
    assert arena_score(1.0, 0.0044) == pytest.approx(1.0)
    assert arena_score(0.0, 1.0) == 0.0
    assert arena_score(0.0, 500.0) == 0.0
    thrift = math.log(200) / math.log(200 / 0.0044)
    assert arena_score(0.6, 1.0) == pytest.approx(1.1 * 0.6 * thrift / (0.06 + thrift))


@given(st.floats(0, 1), st.floats(1e-6, 1e3), st.floats(1, 10))
def test_arena_score_rises_with_quality_and_thrift(a: float, cost: float, factor: float) -> None:
    value = arena_score(a, cost)
    assert 0 <= value <= 1 + 1e-12
    assert arena_score(a, cost * factor) <= value + 1e-12
    assert arena_score(min(1, a * factor), cost) >= value - 1e-12


def test_rci_by_hand() -> None:
    quality = np.asarray([[0.9, 0.5, 0.9], [0.1, 0.2, 0.8], [0.4, 0.4, 0.1], [np.nan] * 3])
    prices = np.asarray([1.0, 2.0, 4.0])  # LLM 2 is the dearest
    # best and not the dearest: clear; only the dearest is best, and chosen: clear
    assert rci(quality, prices, np.asarray([0, 2, 1, 0])) == 0.0
    # the dearest although a cheaper one is as good; not the best; not the best
    assert rci(quality, prices, np.asarray([2, 1, 2, 0])) == 1.0
    assert rci(quality, prices, np.asarray([0, 1, -1, 0])) == pytest.approx(2 / 3)
    assert rci(quality[3:], prices, np.asarray([0])) is None


@given(st.integers(0, 500))
def test_whoever_picks_the_cheapest_right_is_perfect(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, cost = rng.random((6, 3)) < 0.5, rng.integers(1, 4, (6, 3)).astype(float)
    right[0, 0] = True
    best = np.where(right, cost, np.inf).argmin(axis=1)
    assert optimal_selection(right, cost, best) == 1.0
    assert optimal_accuracy(right, best) == 1.0
    assert optimal_cost(right, cost, best) == pytest.approx(1.0)
    other = rng.integers(-1, 3, 6)
    for value in (optimal_selection(right, cost, other), optimal_accuracy(right, other)):
        assert value is not None
        assert 0 <= value <= 1


def test_robustness_and_cumulative_regret() -> None:
    assert robustness(np.asarray([0, 1, 2, 2]), np.asarray([0, 1, 2, 0])) == 0.75
    np.testing.assert_allclose(cumulative_regret([1.0, 1.0, 0.5], [0.5, 1.0, 0.0]), [0.5, 0.5, 1.0])
