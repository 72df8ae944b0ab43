from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from personaroute_bench.users.rewards import (
    charge_failures,
    cost_efficiency_rewards,
    normalise_cost,
    tied_best,
)

NAN = np.nan


def test_minmax_is_within_task_and_over_usable_responses() -> None:
    cost = np.array([[1.0, 3.0, 100.0], [2.0, 5.0, NAN], [7.0, 7.0, 7.0]])
    usable = np.array([[True, True, False], [True, True, True], [True, True, True]])
    got = normalise_cost(cost, usable, np.array([0, 0, 1]), "minmax")
    assert got == pytest.approx(np.array([[0, 0.5, NAN], [0.25, 1, NAN], [0, 0, 0]]), nan_ok=True)


def test_log_minmax_by_hand_with_a_free_response() -> None:
    cost = np.array([[0.0, 1e-4, 1e-3, 1e-2]])
    got = normalise_cost(cost, np.ones((1, 4), bool), np.array([0]), "log-minmax")
    assert got[0] == pytest.approx([0, 0, 0.5, 1])


def test_a_task_of_free_responses_costs_nothing() -> None:
    zeros = np.zeros((2, 3))
    assert (normalise_cost(zeros, zeros == 0, np.array([0, 0]), "log-minmax") == 0).all()


def test_reward_by_hand() -> None:
    performance = np.array([[1.0, 0.5, NAN]], dtype=np.float32)
    cost = np.array([[0.5, 0.25, NAN]], dtype=np.float32)
    got = cost_efficiency_rewards(performance, cost, np.array([1.0, 0.2]), np.array([0.0, 0.8]))
    assert got[:, 0] == pytest.approx(np.array([[1.0, 0.5, NAN], [-0.2, -0.1, NAN]]), nan_ok=True)


def test_ties_and_failures_by_hand() -> None:
    reward = np.array([[0.5, 0.5, NAN], [NAN, NAN, NAN], [-1.0, 0.0, -2.0]], dtype=np.float32)
    assert tied_best(reward).tolist() == [[True, True, False], [False] * 3, [False, True, False]]
    charged = charge_failures(reward)
    assert charged[0].tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(charged[1]).all()
    assert charged[2].tolist() == [-1, 0, -2]


@given(
    hnp.arrays(np.float64, (4, 5), elements=st.floats(1e-9, 1e3)),
    st.sampled_from(["minmax", "log-minmax"]),
    st.floats(0.1, 10),
)
def test_normalised_cost_is_in_range_keeps_order_and_ignores_currency(
    cost: np.ndarray, method: str, rate: float
) -> None:
    task = np.array([0, 0, 1, 1])
    usable = np.ones(cost.shape, bool)
    got = normalise_cost(cost, usable, task, method)  # type: ignore[arg-type]
    assert ((got >= 0) & (got <= 1)).all()
    for number in (0, 1):
        flat, out = cost[task == number].ravel(), got[task == number].ravel()
        assert (np.diff(out[np.argsort(flat, kind="stable")]) >= 0).all()
        if flat.max() > 1.001 * flat.min():
            other = normalise_cost(cost * rate, usable, task, method)  # type: ignore[arg-type]
            assert other[task == number].ravel() == pytest.approx(out, abs=1e-3)


@given(
    hnp.arrays(
        np.float32,
        (3, 4, 5),
        elements=st.one_of(st.just(np.float32(NAN)), st.floats(-1, 1, width=32)),
    )
)
def test_the_best_is_never_a_failure_and_a_charge_is_never_a_gain(reward: np.ndarray) -> None:
    best, charged = tied_best(reward), charge_failures(reward)
    assert not (best & np.isnan(reward)).any()
    known = ~np.isnan(reward)
    assert (best.any(axis=-1) == known.any(axis=-1)).all()
    assert (charged[known] == reward[known]).all()
    with np.errstate(invalid="ignore"):
        worst = np.where(known, reward, np.inf).min(axis=-1, keepdims=True)
    filled = ~known & known.any(axis=-1, keepdims=True)
    assert (charged[filled] == np.broadcast_to(worst, reward.shape)[filled]).all()
