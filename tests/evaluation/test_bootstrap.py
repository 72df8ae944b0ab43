from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.metrics import oracle_normalised_reward

RNG = np.random.default_rng(1)


def test_weights_sum_to_what_was_drawn_and_are_seeded() -> None:
    first = list(bootstrap.weights(7, 5, 130, seed=3))
    assert [len(users) for users, _ in first] == [100, 30]
    for users, queries in first:
        assert (users.sum(axis=1) == 7).all()
        assert (queries.sum(axis=1) == 5).all()
    again, other = (np.concatenate([u for u, _ in bootstrap.weights(7, 5, 130, s)]) for s in (3, 4))
    np.testing.assert_array_equal(again, np.concatenate([u for u, _ in first]))
    assert (again != other).any()
    # more draws extend the ones there are
    longer = np.concatenate([u for u, _ in bootstrap.weights(7, 5, 180, seed=3)])
    np.testing.assert_array_equal(longer[:130], again)


def test_weighted_mean_by_hand_with_a_gap() -> None:
    values = np.asarray([[1.0, 2.0], [3.0, np.nan]])
    users, queries = np.asarray([[2.0, 1.0], [0.0, 2.0]]), np.asarray([[1.0, 1.0], [0.0, 2.0]])
    result = bootstrap.weighted_mean(values)(users, queries)
    assert result[0] == pytest.approx((2 * 1 + 2 * 2 + 1 * 3) / 5)
    assert np.isnan(result[1])  # only the missing cell was drawn


def test_equal_weights_give_the_plain_statistics() -> None:
    reward, chance = RNG.random((6, 9)), RNG.random((6, 9)) - 1
    oracle = reward + RNG.random((6, 9))
    reward[2, 3] = chance[2, 3] = oracle[2, 3] = np.nan
    ones = np.ones((1, 6)), np.ones((1, 9))
    assert bootstrap.weighted_mean(reward)(*ones)[0] == pytest.approx(np.nanmean(reward))
    expected, _ = oracle_normalised_reward(reward, chance, oracle)  # type: ignore[arg-type]
    found = bootstrap.normalised(reward, chance, oracle)(*ones)  # type: ignore[arg-type]
    assert found[0] == pytest.approx(expected)


def test_a_constant_has_an_interval_of_no_width_and_no_draws_have_none() -> None:
    samples = bootstrap.resample([bootstrap.weighted_mean(np.full((4, 3), 0.25))], 4, 3, 50, 0)
    assert bootstrap.interval(samples[0], 0.95) == pytest.approx((0.25, 0.25))
    empty = bootstrap.resample([bootstrap.weighted_mean(np.ones((4, 3)))], 4, 3, 0, 0)
    assert bootstrap.interval(empty[0], 0.95) == (None, None)


def test_of_few_units_an_interval_reaches_as_far_as_students_t() -> None:
    samples = np.random.default_rng(0).normal(size=200_000)
    for units, reach in ((9, 2.306 * np.sqrt(9 / 8)), (48, 2.0117 * np.sqrt(48 / 47))):
        low, high = bootstrap.interval(samples, 0.95, units)
        assert (low, high) == pytest.approx((-reach, reach), abs=0.03)
    assert bootstrap.interval(samples, 0.95, 1) == bootstrap.interval(samples, 0.95)
    assert bootstrap.smaller(9, 48) == 9
    assert bootstrap.smaller(40, 1) == 40  # one query is not drawn anew
    assert bootstrap.smaller(1, 1) == 1


@given(
    arrays(np.float64, (5, 4), elements=st.integers(-8, 8).map(float)),
    st.integers(-4, 4),
    st.integers(1, 4),
)
def test_intervals_move_and_stretch_with_the_values(values: Any, shift: int, scale: int) -> None:
    def found(of: Any) -> Any:
        samples = bootstrap.resample([bootstrap.weighted_mean(of)], 5, 4, 100, 0)[0]
        assert of.min() - 1e-9 <= samples.min() and samples.max() <= of.max() + 1e-9
        return np.asarray(bootstrap.interval(samples, 0.9, 4))

    np.testing.assert_allclose(found(scale * values + shift), scale * found(values) + shift)


def test_a_higher_confidence_is_wider() -> None:
    samples = RNG.normal(size=500)
    narrow, wide = bootstrap.interval(samples, 0.5), bootstrap.interval(samples, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]  # type: ignore[operator]


def test_the_interval_of_clustered_data_covers_where_a_row_bootstrap_would_not() -> None:
    rng, hits, naive = np.random.default_rng(0), 0, 0
    runs = 60
    for run in range(runs):
        # truth 0; users and queries shift whole rows and columns
        values = rng.normal(size=(20, 1)) + rng.normal(size=(1, 15)) + rng.normal(size=(20, 15))
        _, low, high = bootstrap.difference(values, np.zeros_like(values), draws=200, seed=run)
        hits += low <= 0 <= high  # type: ignore[operator]
        spread = 1.96 * values.std() / np.sqrt(values.size)
        naive += abs(values.mean()) <= spread
    assert hits >= 0.85 * runs
    assert naive < 0.6 * runs


def test_paired_difference_is_surer_than_the_two_apart() -> None:
    shift = RNG.normal(size=(30, 1))
    base = shift + RNG.normal(0, 0.01, (30, 10))
    centre, low, high = bootstrap.difference(base + 0.1, base, draws=200)
    assert centre == pytest.approx(0.1)
    assert (low, high) == pytest.approx((0.1, 0.1))
    samples = bootstrap.resample([bootstrap.weighted_mean(base)], 30, 10, 200, 0)
    alone = bootstrap.interval(samples[0], 0.95)
    assert alone[1] - alone[0] > 0.1  # type: ignore[operator]


def test_normalised_weighs_users_by_hand() -> None:
    reward, chance = np.asarray([[1.0, 2.0], [0.5, 0.0]]), np.zeros((2, 2))
    oracle = np.asarray([[2.0, 2.0], [1.0, 1.0]])
    users, queries = np.asarray([[2.0, 1.0], [1.0, 1.0]]), np.asarray([[1.0, 1.0], [2.0, 0.0]])
    found = bootstrap.normalised(reward, chance, oracle)(users, queries)  # type: ignore[arg-type]
    # N_0 = 3/4, N_1 = 1/4, user 0 drawn twice; then query 0 alone: N_0 = N_1 = 1/2
    assert found.tolist() == pytest.approx([(2 * 0.75 + 0.25) / 3, 0.5])
