from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from personaroute_bench.evaluation.metrics import (
    Outcomes,
    charge,
    mean,
    oracle_normalised_reward,
    routing_entropy,
    score,
)

NAN = np.nan


def outcomes() -> Outcomes:
    """Two users, two queries, three LLMs; LLM 2 failed on query 0, all failed u1's query 1."""
    reward = np.asarray(
        [[[0.2, 0.6, NAN], [0.5, 0.5, 0.1]], [[0.9, 0.1, NAN], [NAN, NAN, NAN]]], np.float32
    )
    chosen = np.asarray([[[0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 0, 0]]], np.bool_)
    performance = np.asarray([[0.4, 0.8, NAN], [0.5, 0.7, 0.9]], np.float32)
    cost = np.asarray([[1.0, 2.0, 3.0], [1.0, NAN, 4.0]])
    return Outcomes.of(reward, chosen, performance, cost)


def test_charge_gives_a_failed_response_the_worst_ok_reward() -> None:
    charged = charge(np.asarray([[0.5, NAN, 0.2], [NAN, NAN, NAN]], np.float32))
    np.testing.assert_allclose(charged[0], [0.5, 0.2, 0.2])
    assert np.isnan(charged[1]).all()


def test_outcomes_by_hand() -> None:
    made = outcomes()
    np.testing.assert_allclose(made.worst, [[0.2, 0.1], [0.1, NAN]])
    np.testing.assert_allclose(made.best, [[0.6, 0.5], [0.9, NAN]])
    np.testing.assert_allclose(made.chance[0], [1.0 / 3, 1.1 / 3], rtol=1e-6)
    np.testing.assert_allclose(made.chance[1, 0], 1.1 / 3, rtol=1e-6)
    assert made.scored.tolist() == [[True, True], [True, False]]


def test_score_by_hand() -> None:
    #          u0: the best, then a tied best; u1: a failed response, then nothing to win
    scores = score(outcomes(), np.asarray([[1, 1], [2, 0]]))
    np.testing.assert_allclose(scores.reward, [[0.6, 0.5], [0.1, NAN]], rtol=1e-6)
    np.testing.assert_allclose(scores.regret, [[0.0, 0.0], [0.8, NAN]], rtol=1e-6)
    np.testing.assert_allclose(scores.accuracy, [[1, 1], [0, NAN]])
    np.testing.assert_allclose(scores.performance, [[0.8, 0.7], [NAN, NAN]], rtol=1e-6)
    np.testing.assert_allclose(scores.cost_usd, [[2.0, NAN], [3.0, NAN]])
    np.testing.assert_allclose(scores.charged, [[0, 0], [1, NAN]])


def test_an_invalid_choice_is_charged_and_has_neither_cost_nor_performance() -> None:
    scores = score(outcomes(), np.asarray([[-1, 2], [0, -1]]))
    np.testing.assert_allclose(scores.reward, [[0.2, 0.1], [0.9, NAN]], rtol=1e-6)
    np.testing.assert_allclose(scores.charged, [[1, 0], [0, NAN]])
    np.testing.assert_allclose(scores.cost_usd, [[NAN, 4.0], [1.0, NAN]])
    assert np.isnan(scores.performance[0, 0])
    assert scores.accuracy[0, 0] == 0


def test_mean_of_nothing_is_unknown() -> None:
    assert mean(np.asarray([[NAN]])) is None
    assert mean(np.asarray([[1.0, NAN], [2.0, NAN]])) == 1.5


def test_normalised_reward_is_per_user_then_averaged() -> None:
    chance = np.asarray([[0.0, 0.0], [0.4, 0.6], [1.0, 1.0]])
    oracle = np.asarray([[1.0, 3.0], [0.6, 0.8], [1.0, 1.0]], np.float64)
    reward = np.asarray([[0.0, 2.0], [0.4, 0.8], [1.0, 1.0]])
    # user 0: 1/2 of range 2; user 1: 0.1 of range 0.2; user 2 has no range
    value, left_out = oracle_normalised_reward(reward, chance, oracle)  # type: ignore[arg-type]
    assert value == pytest.approx((0.5 + 0.5) / 2)
    assert left_out == 1


def test_normalised_reward_is_unknown_where_nobody_has_a_range() -> None:
    flat = np.ones((2, 3))
    assert oracle_normalised_reward(flat, flat, flat) == (None, 2)  # type: ignore[arg-type]


def test_entropy_by_hand() -> None:
    assert routing_entropy(np.asarray([[0, 1], [2, 3]]), 4) == pytest.approx(2.0)
    assert routing_entropy(np.asarray([[1, 1], [1, -1]]), 4) == 0.0
    assert routing_entropy(np.asarray([[-1]]), 4) == 0.0


@given(
    arrays(np.float32, (3, 4, 5), elements=st.floats(-1, 1, width=32)),
    arrays(np.bool_, (3, 4, 5)),
    arrays(np.int64, (3, 4), elements=st.integers(-1, 4)),
)
def test_no_choice_beats_the_oracle_or_is_worse_than_the_worst(
    reward: np.ndarray, failed: np.ndarray, choice: np.ndarray
) -> None:
    reward = np.where(failed, np.float32(NAN), reward)
    chosen = reward == np.fmax.reduce(reward, axis=-1, keepdims=True)
    made = Outcomes.of(reward, chosen, reward[0], reward[0].astype(np.float64))
    scores = score(made, choice)
    seen = made.scored
    assert (np.isfinite(scores.reward) == seen).all()
    assert (scores.reward[seen] <= made.best[seen]).all()
    assert (scores.reward[seen] >= made.worst[seen]).all()
    assert (scores.regret[seen] >= 0).all()
    hit = scores.accuracy == 1
    assert (scores.regret[hit] == 0).all()
