"""Personas recovered from choices: found where there is taste, and not where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.judging.choice import choose, gumbel_noise, style_utility
from personaroute_bench.judging.separability import (
    FOLDS,
    choice_profiles,
    persona_separability,
    query_folds,
    separability_of_profiles,
)

USERS, QUERIES, LLMS, DIMENSIONS, KINDS = 120, 60, 5, 4, 6


def world(likes: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Choices of users of six kinds; ``likes`` 0 makes them all choose at random."""
    rng = np.random.default_rng(seed)
    ratings = rng.uniform(0, 1, (QUERIES, LLMS, DIMENSIONS)).astype(np.float32)
    kind = np.arange(USERS) % KINDS
    taste = rng.normal(size=(KINDS, DIMENSIONS))[kind]
    queries, llms = [f"q{i}" for i in range(QUERIES)], [f"m{i}" for i in range(LLMS)]
    noise = gumbel_noise(seed, np.arange(USERS), queries, llms, 0.2)
    chosen = choose(likes * style_utility(ratings, taste) + noise)
    return chosen, ratings, [f"kind {number}" for number in kind]


def test_profiles_by_hand() -> None:
    ratings = np.array([[[0.2], [0.6], [np.nan]], [[0.9], [0.1], [0.5]]], dtype=np.float32)
    chosen = np.array([[[0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 0, 0]]], dtype=bool)
    profiles = choice_profiles(chosen, ratings, np.array([0, 2]))
    assert profiles.shape == (2, FOLDS, 2)
    np.testing.assert_allclose(profiles[0, 0], [0.6 - 0.4, 1], atol=1e-6)
    np.testing.assert_allclose(profiles[0, 2], [0.5 - 0.5, 1], atol=1e-6)  # two tied: their mean
    np.testing.assert_allclose(profiles[1, 0], [0.2 - 0.4, 1], atol=1e-6)
    assert not profiles[1, 2].any()  # no choice is no choice at the average
    assert not profiles[:, [1, 3, 4]].any()


def test_folds_are_even_and_reproducible() -> None:
    fold = query_folds(23, seed=3)
    assert np.bincount(fold, minlength=FOLDS).tolist() == [5, 5, 5, 4, 4]
    np.testing.assert_array_equal(fold, query_folds(23, seed=3))
    assert (fold != query_folds(23, seed=4)).any()


def test_kinds_with_taste_are_recovered() -> None:
    report = persona_separability(*world(likes=1.0), seed=0)
    assert report.chance == pytest.approx(1 / KINDS)
    assert (report.users, report.labels, report.folds) == (USERS, KINDS, FOLDS)
    assert report.accuracy > 0.9 and report.above_chance
    assert report.low <= report.accuracy <= report.high
    assert report.as_json()["above_chance"] is True


def test_each_user_is_recognised_again_on_other_queries() -> None:
    chosen, ratings, _ = world(likes=1.0)
    rng = np.random.default_rng(1)
    taste = rng.normal(size=(20, DIMENSIONS))
    chosen = choose(style_utility(ratings, taste))
    report = persona_separability(chosen, ratings, [f"u{i}" for i in range(20)], seed=0)
    assert report.chance == 0.05 and report.low > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_without_taste_nothing_is_recovered(seed: int) -> None:
    report = persona_separability(*world(likes=0.0, seed=seed), seed=seed)
    assert not report.above_chance
    assert abs(report.accuracy - report.chance) < 0.1


def test_with_labels_shuffled_nothing_is_recovered() -> None:
    chosen, ratings, labels = world(likes=1.0)
    shuffled = list(np.random.default_rng(0).permutation(labels))
    report = persona_separability(chosen, ratings, shuffled, seed=0)
    assert report.accuracy < 0.3


def test_identical_users_tie_for_every_label() -> None:
    chosen, ratings, _ = world(likes=1.0)
    same = np.repeat(chosen[:1], 8, axis=0)
    report = persona_separability(same, ratings, list("abababab"), seed=0)
    assert (report.accuracy, report.low, report.high) == (0.5, 0.5, 0.5)


def test_profiles_collected_by_blocks_give_the_same() -> None:
    chosen, ratings, labels = world(likes=0.3)
    fold = query_folds(QUERIES, 5)
    blocks = [choice_profiles(chosen[a : a + 50], ratings, fold) for a in range(0, USERS, 50)]
    report = separability_of_profiles(np.concatenate(blocks), labels, 5)
    assert report == persona_separability(chosen, ratings, labels, seed=5)
    assert 0.3 < report.accuracy < 0.95  # neither trivial nor hopeless


def test_clear_errors() -> None:
    chosen, ratings, labels = world(likes=1.0)
    with pytest.raises(UsageError, match="all users have the label 'one'"):
        persona_separability(chosen, ratings, ["one"] * USERS, seed=0)
    with pytest.raises(UsageError, match="119 labels for 120 users"):
        persona_separability(chosen, ratings, labels[1:], seed=0)
    with pytest.raises(UsageError, match="no users"):
        persona_separability(chosen[:0], ratings, [], seed=0)
    few = chosen.copy()
    few[7, 1:] = False
    with pytest.raises(UsageError, match="user 7 has no choice"):
        persona_separability(few, ratings, labels, seed=0)
