from __future__ import annotations

import numpy as np

from personaroute_bench.schemas import DRIFT_SEGMENTS
from personaroute_bench.users.drift import (
    KINDS,
    SMALLEST_CHANGE,
    drift_kinds,
    drift_weights,
    query_times,
    segments_of,
)

USERS = 3000


def test_the_three_kinds_are_what_they_say() -> None:
    weights, kind = drift_weights(0, 0, USERS), drift_kinds(0, 0, USERS)
    assert weights.shape == (USERS, DRIFT_SEGMENTS)
    assert ((weights >= 0) & (weights <= 1)).all()
    steps = np.diff(weights, axis=1)
    gradual = steps[kind == KINDS.index("gradual")]
    assert np.allclose(gradual, gradual[:, :1])
    sudden = steps[kind == KINDS.index("sudden")]
    assert ((np.abs(sudden) > 1e-9).sum(axis=1) == 1).all()
    recurring = weights[kind == KINDS.index("recurring")]
    assert (recurring[:, 0] == recurring[:, 2]).all()
    assert (recurring[:, 1] == recurring[:, 3]).all()
    assert (np.ptp(weights, axis=1) >= SMALLEST_CHANGE - 1e-9).all()
    assert np.bincount(kind).min() > 0.28 * USERS


def test_a_users_life_depends_on_the_own_number_only() -> None:
    assert np.array_equal(drift_weights(1, 0, 50)[20:], drift_weights(1, 20, 50))
    split, ids = np.array(["train"] * 5), np.array(list("abcde"))
    assert np.array_equal(query_times(split, ids, 1, 0, 9)[3:], query_times(split, ids, 1, 3, 9))


def test_training_comes_before_validation_before_test_in_an_own_order() -> None:
    split = np.array(["test", "train", "validation", "train", "train", "test", "train"] * 5)
    ids = np.array([f"q{i}" for i in range(35)])
    times = query_times(split, ids, 0, 0, 200)
    assert (np.sort(times, axis=1) == np.arange(35)).all()
    assert (times[:, split == "train"] < 20).all()
    assert ((times[:, split == "validation"] >= 20) & (times[:, split == "validation"] < 25)).all()
    assert (times[:, split == "test"] >= 25).all()
    assert len({row.tobytes() for row in times}) > 190
    # Every training query comes early for some and late for others.
    early = (times[:, split == "train"] < 10).mean(axis=0)
    assert ((early > 0.3) & (early < 0.7)).all()


def test_segments_are_of_equal_length() -> None:
    segments = segments_of(np.arange(240, dtype=np.int32)[None], 240)
    assert np.bincount(segments[0]).tolist() == [48] * DRIFT_SEGMENTS
