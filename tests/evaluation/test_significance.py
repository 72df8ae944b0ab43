from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from personaroute_bench.evaluation.bootstrap import interval
from personaroute_bench.evaluation.significance import holm, p_value, rank_ranges, ranks


def test_p_value_by_hand() -> None:
    # of 99 draws two lie beyond zero: the normal quantile of 3 / 100 is -1.8808, and with
    # √(29/30) · 1.8808 = 1.8492 on the t distribution of 29 degrees the two tails hold 7.46 %
    draws = np.asarray([1.0] * 97 + [-1.0] * 2)
    assert p_value(draws, 30) == pytest.approx(0.0746, abs=1e-4)
    assert p_value(-draws, 30) == p_value(draws, 30)
    assert p_value(np.ones(999), 30) == pytest.approx(2 / 1000)
    assert p_value(np.zeros(999), 30) == 1.0
    assert p_value(np.zeros(0), 30) is None
    assert p_value(np.asarray([np.nan, 1.0]), 30) == pytest.approx(2 / 2)


def test_few_units_that_agree_say_no_more_than_their_signs() -> None:
    agreed = np.ones(9999)
    assert p_value(agreed, 8) is None
    assert p_value(agreed, 9) == 2 / 2**9
    assert p_value(agreed, 5000) == pytest.approx(2 / 10_000)


def test_few_units_go_by_students_t() -> None:
    # normal draws three standard errors from zero, none beyond it: t = 3 √(8/9), 8 degrees
    draws = np.random.default_rng(0).normal(3, 1, 100_000)
    draws = (draws - draws.mean()) / draws.std() + 3
    draws = draws[draws > 0]
    assert p_value(draws, 9) == pytest.approx(0.022, abs=0.002)
    assert p_value(draws, 1000) == pytest.approx(0.0027, abs=0.0003)


def test_a_mean_that_few_large_values_could_move_is_doubted() -> None:
    rng = np.random.default_rng(0)
    skewed = rng.gamma(4, 0.5, 10_000) - 2.0
    below = skewed - 2.5 * skewed.std()  # seems surely below zero, but its tail is above
    above = 2.5 * skewed.std() - skewed
    for draws in (below, above):
        straight = p_value(rng.normal(draws.mean(), draws.std(), 10_000), 12)
        doubted = p_value(draws, 12)
        assert straight is not None and doubted is not None
        assert straight < 0.05 < doubted


@given(st.integers(0, 500), st.floats(-3, 3), st.sampled_from([9, 48, 5000]))
def test_a_low_p_value_leaves_zero_out_of_the_interval(seed: int, shift: float, n: int) -> None:
    draws = np.random.default_rng(seed).normal(shift, 1, 999)
    p = p_value(draws, n)
    low, high = interval(draws, 0.95, n)
    assert p is not None and low is not None and high is not None
    if p < 0.045:
        assert low > 0 or high < 0
    if p > 0.075:  # draws are nearly normal here, so nothing else raises it by much
        assert low <= 0 <= high


def test_holm_by_hand() -> None:
    # ascending 0.01·4, 0.02·3, 0.04·2, and 0.5, never below the one before
    assert holm([0.04, 0.01, None, 0.5, 0.02]) == pytest.approx([0.08, 0.04, None, 0.5, 0.06])
    assert holm([0.03, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_is_between_p_and_bonferroni(p_values: list[float]) -> None:
    found = holm(p_values)
    for p, adjusted in zip(p_values, found, strict=True):
        assert adjusted is not None
        assert p <= adjusted <= min(1, p * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(found, float)[order]) >= 0).all()


def test_holm_errs_in_one_of_twenty_families_at_most() -> None:
    rng = np.random.default_rng(0)
    families = rng.random((2000, 8))  # nothing is true
    wrong = [min(p for p in holm(list(row)) if p is not None) < 0.05 for row in families]
    assert 0.03 < np.mean(wrong) < 0.065


def test_ranks_of_ties_are_ranges() -> None:
    best, worst = ranks(np.asarray([0.5, 0.9, 0.5, 0.1]))
    assert best.tolist() == [2, 1, 2, 4]
    assert worst.tolist() == [3, 1, 3, 4]


def test_rank_ranges_by_hand() -> None:
    means = np.asarray([0.9, 0.5, 0.4])
    surely = np.asarray([[1.0] * 100, [0.6] * 100, [0.5] * 100])
    assert rank_ranges(means, surely, 0.95) == [(1, 1), (2, 2), (3, 3)]
    swapped = surely.copy()
    swapped[1:, :10] = swapped[:0:-1, :10]  # one draw in ten has the last two change places
    assert rank_ranges(means, swapped, 0.95) == [(1, 1), (2, 3), (2, 3)]
    assert rank_ranges(means, swapped, 0.5) == [(1, 1), (2, 2), (3, 3)]
    assert rank_ranges(means, np.zeros((3, 0)), 0.95) == [(1, 1), (2, 2), (3, 3)]


@given(arrays(np.float64, (4, 50), elements=st.integers(0, 5).map(float)))
def test_rank_ranges_hold_the_measured_rank(draws: np.ndarray) -> None:
    means = draws.mean(axis=1)
    measured = ranks(means)
    for i, (low, high) in enumerate(rank_ranges(means, draws, 0.9)):
        assert 1 <= low <= measured[0][i] <= measured[1][i] <= high <= 4
