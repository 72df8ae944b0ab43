from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.evaluation import personalisation
from personaroute_bench.evaluation.personalisation import (
    agreement,
    controversial,
    queries_told_apart,
    shares,
    user_divergence,
)


def test_queries_told_apart_leaves_invalid_choices_out() -> None:
    choice = np.asarray([[0, 1, -1, -1], [0, 2, 1, -1], [0, 1, 1, -1]])
    np.testing.assert_array_equal(queries_told_apart(choice), [0, 1, 0, np.nan])


def test_shares_of_each_user() -> None:
    found = shares(np.asarray([[0, 0, 2, -1], [-1, -1, -1, -1]]), 3)
    np.testing.assert_allclose(found[0], [2 / 3, 0, 1 / 3])
    assert np.isnan(found[1]).all()


def test_divergence_by_hand() -> None:
    never = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    assert user_divergence(never) == pytest.approx(1.0)
    assert user_divergence(np.asarray([[0.5, 0.5], [0.5, 0.5]])) == 0.0
    # p = (1, 0), q = (1/2, 1/2): H(3/4, 1/4) − 1/2
    half = np.asarray([[1.0, 0.0], [0.5, 0.5]])
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert user_divergence(half) == pytest.approx(entropy - 0.5)
    assert user_divergence(half[:1]) is None
    assert user_divergence(np.concatenate([half, np.full((1, 2), np.nan)])) == pytest.approx(
        entropy - 0.5
    )


@given(st.integers(2, 9), st.integers(0, 1000))
def test_divergence_is_the_mean_over_all_pairs(users: int, seed: int) -> None:
    rows = np.random.default_rng(seed).dirichlet(np.full(3, 0.5), users)

    def entropy(p: np.ndarray) -> float:
        return float(-(p[p > 0] * np.log2(p[p > 0])).sum())

    pairs = [
        entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
        for p, q in itertools.combinations(rows, 2)
    ]
    assert user_divergence(rows) == pytest.approx(np.mean(pairs), abs=1e-9)
    assert 0 <= np.mean(pairs) <= 1


def test_divergence_of_many_users_is_an_estimate_of_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 400)
    few = user_divergence(rows)
    monkeypatch.setattr(personalisation, "CIRCLES", 400)
    assert few == pytest.approx(user_divergence(rows), rel=0.02)


def test_agreement_counts_tied_bests_and_only_scored_rows() -> None:
    chosen = np.zeros((4, 3, 2), bool)
    chosen[:, 0, 0] = True  # all agree on LLM 0
    chosen[:2, 1, 0] = chosen[2:, 1, 1] = True  # two against two
    chosen[0, 1, 1] = True  # of whom one is as happy with the other
    scored = np.ones((4, 3), bool)
    scored[:, 2] = False
    found = agreement(chosen, scored)
    np.testing.assert_allclose(found, [1.0, 0.75, np.nan])
    assert controversial(np.asarray([0.51, 0.5, np.nan])).tolist() == [False, True, False]
    scored[3, 0] = False
    chosen[3, 0] = [False, True]
    assert agreement(chosen, scored)[0] == 1.0
