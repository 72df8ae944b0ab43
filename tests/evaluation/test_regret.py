from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from personaroute_bench.evaluation.regret import cvar, gini, harmed, user_mean, worst_decile

NAN = np.nan
regrets = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 100).map(lambda x: x + 0.01))


def test_user_mean_over_what_is_known() -> None:
    found = user_mean(np.asarray([[1.0, 3.0], [NAN, 2.0], [NAN, NAN]]))
    np.testing.assert_allclose(found, [2.0, 2.0, NAN])


def test_ten_users_by_hand() -> None:
    values = np.asarray([9.0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0])
    assert worst_decile(values) == 1.0  # nine of ten have at most 1
    assert cvar(values) == 9.0  # the worst one
    assert cvar(values, share=0.15) == pytest.approx((9 + 0.5 * 1) / 1.5)
    # mean absolute difference over pairs: (2·8·1 + 2·8·9 + 2·8) / 100; twice the mean of 1
    assert gini(values) == pytest.approx((16 + 144 + 16) / 100 / 2)


def test_weights_are_how_often_a_user_was_drawn() -> None:
    values, weights = np.asarray([3.0, 1.0, 2.0, NAN]), np.asarray([[2, 0, 1, 5], [1, 1, 1, 1.0]])
    drawn = np.asarray([3.0, 3.0, 2.0])
    for of in (worst_decile, cvar, gini):
        found = of(values, weights)
        assert found.shape == (2,)
        assert found[0] == pytest.approx(float(of(drawn)))
        assert found[1] == pytest.approx(float(of(values[:3])))


def test_nobody_and_nothing_to_regret() -> None:
    for of in (worst_decile, cvar, gini):
        assert np.isnan(of(np.full(3, NAN)))
    assert np.isnan(gini(np.zeros(3)))
    assert cvar(np.zeros(3)) == 0


@given(regrets)
def test_they_agree_with_plain_definitions(values: np.ndarray) -> None:
    assert worst_decile(values) == np.quantile(values, 0.9, method="inverted_cdf")
    apart = np.abs(values[:, None] - values).sum()
    assert float(gini(values)) == pytest.approx(apart / (2 * len(values) * values.sum()), abs=1e-9)
    repeated = np.sort(np.repeat(values, 10))  # a tenth of ten copies each is a whole number
    assert float(cvar(values)) == pytest.approx(repeated[-len(values) :].mean())


@given(regrets)
def test_bounds_and_scale(values: np.ndarray) -> None:
    tail, inequality = float(cvar(values)), float(gini(values))
    assert values.mean() - 1e-9 <= tail <= values.max() + 1e-9
    assert tail >= worst_decile(values) - 1e-9
    assert -1e-9 <= inequality <= 1 - 1 / len(values) + 1e-9
    assert float(gini(3 * values)) == pytest.approx(inequality, abs=1e-9)
    assert float(cvar(3 * values)) == pytest.approx(3 * tail)
    assert float(gini(np.ones(len(values)))) == pytest.approx(0, abs=1e-9)


def test_harmed_are_those_who_earn_less_on_the_rows_both_have() -> None:
    reward = np.asarray([[1.0, 0.0], [1.0, NAN], [0.5, 0.5], [NAN, NAN]])
    baseline = np.asarray([[0.5, 1.0], [0.5, 9.0], [0.5, 0.5 + 1e-12], [1.0, 1.0]])
    np.testing.assert_array_equal(harmed(reward, baseline), [1, 0, 0, NAN])
