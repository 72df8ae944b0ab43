"""The parts of the learned baselines, by hand and by property."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned_data import THRIFTY, asked, past_with_tastes, told
from personaroute_bench.router.elo import bradley_terry, games
from personaroute_bench.router.expectations import aligned, lessons, ranked
from personaroute_bench.router.hybrid_llm import HybridLlm, _offsets, _relaxation
from personaroute_bench.router.knn import Knn, KnnPersonal
from personaroute_bench.router.linear import Linear
from personaroute_bench.router.past import content_of, past_of, worth_of
from personaroute_bench.router.svm import Svm
from personaroute_bench.router.tastes import fit_tastes, moments, ridge_of


def learned(kind: Any, x: Any, y: Any, w: Any, setting: Any) -> Any:
    arrays = (np.asarray(a, dtype=np.float64) for a in (x, y, w))
    return kind().learn(*arrays, setting)


def test_knn_weighs_by_inverse_distance() -> None:
    x = [[1, 0], [0, 1], [-1, 0]]
    predict = learned(Knn, x, [[1.0], [0.0], [9.0]], np.ones((3, 1)), 2)
    query = np.asarray([[0.8, 0.6]])  # distances √0.4 and √0.8 to the two nearest
    near, far = 1 / np.sqrt(0.4), 1 / np.sqrt(0.8)
    np.testing.assert_allclose(predict(query), [[near / (near + far)]])


def test_knn_of_the_same_query_is_that_query_and_untold_ones_weigh_nothing() -> None:
    x = [[1, 0], [0, 1], [0.6, 0.8]]
    w = [[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]
    predict = learned(Knn, x, [[1.0, 5.0], [4.0, 0.0], [0.0, 0.0]], w, 1)
    np.testing.assert_allclose(predict(np.asarray([[2.0, 0.0]])), [[1.0, 5.0]])
    # nobody told about the nearest: the weighted means 3 and 5
    np.testing.assert_allclose(predict(np.asarray([[0.6, 0.8]])), [[3.0, 5.0]])


@pytest.mark.parametrize("shape", [(30, 5), (6, 20)])
def test_linear_is_weighted_ridge(shape: tuple[int, int]) -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    w = rng.integers(1, 4, (shape[0], 2)).astype(float)
    found = learned(Linear, x, y, w, 0.7)(x)
    for p in range(2):
        share = w[:, p] / w[:, p].mean()
        same = Ridge(alpha=0.7).fit(x, y[:, p], sample_weight=share)
        np.testing.assert_allclose(found[:, p], same.predict(x), rtol=1e-6)


def test_svm_regression_bears_constant_and_untold_targets() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = np.stack([x[:, 0], np.full(40, 2.0), np.zeros(40)], axis=1)
    w = np.ones_like(y)
    w[:, 2] = 0
    found = learned(Svm, x, y, w, 1.0)(x)
    assert np.corrcoef(found[:, 0], x[:, 0])[0, 1] > 0.99
    np.testing.assert_allclose(found[:, 1], 2.0)
    np.testing.assert_allclose(found[:, 2], 0.0)


def test_weights_of_linear_rewards_are_found() -> None:
    rng = np.random.default_rng(0)
    U, Q, M = 6, 30, 4
    content = rng.normal(size=(Q, M, 2))
    taste = rng.normal(size=(U, 2))
    values = np.einsum("uk,qmk->uqm", taste, content) + rng.normal(size=(U, Q, 1))
    values[0, 3] = np.nan  # not told
    found = moments(values, content, np.ones((Q, M), dtype=bool))
    own = found.departures(np.zeros(6), ridge_of((1e-6, 1e3), 2, M))
    np.testing.assert_allclose(own[:, :2], taste, atol=1e-5)
    # and shrunk to the common ones when the prior is strong
    shrunk = found.departures(found.common(), ridge_of((1e9, 1e9), 2, M))
    np.testing.assert_allclose(shrunk, 0, atol=1e-4)


def test_failed_responses_are_no_opinions() -> None:
    values = np.asarray([[[1.0, 0.0, -50.0]]])
    content = np.asarray([[[1.0], [0.0], [0.0]]])
    ok = np.asarray([[True, True, False]])
    found = moments(values, content, ok)
    np.testing.assert_allclose(found.gram[0, 0, 0], 0.5)  # two candidates, ±1/2 about their mean
    np.testing.assert_allclose(found.cross[0, 0], 0.5)


def test_a_failure_is_expected_to_be_the_worst_of_its_query() -> None:
    history = told(past_with_tastes())
    performance, cost = history.performance.copy(), history.cost.copy()
    performance[0, 1], performance[1] = np.nan, np.nan
    cost[0, 2], cost[1] = np.nan, np.nan
    facts = content_of(replace(history, performance=performance, cost=cost))
    assert facts[0, 1, 0] == np.nanmin(performance[0])
    assert facts[0, 1, 1] == facts[0, 2, 1] == np.nanmax(cost[0])
    assert (facts[1] == [0.0, 1.0]).all()
    np.testing.assert_allclose(facts[2], np.stack([performance[2], cost[2]], axis=-1))


def test_style_is_content_where_it_is_rated() -> None:
    history = told(past_with_tastes(), validated=False)
    Q, M = history.performance.shape
    style = np.random.default_rng(0).random((Q, M, 12)).astype(np.float32)
    style[0, 0] = np.nan
    rng = np.random.default_rng(1)
    taste = rng.normal(size=(12, 12))
    liked = np.einsum("uk,qmk->uqm", taste, np.nan_to_num(style)).astype(np.float32)
    rated = replace(history, style=style, rewards=liked)
    past = past_of(rated)
    assert past.content.shape == (Q, M, 14)
    found = lessons(past, content=True)
    assert (found.weights[0, 0, 3:] == 0).all()
    assert (found.weights[1:, :, 1:] == 1).all()
    folds = past.folds()
    tastes = fit_tastes(past, np.nan_to_num(found.targets), folds)
    own = tastes.weights[:-1, 2:] + tastes.common[2:14]
    assert np.corrcoef(own.ravel(), taste.ravel())[0, 1] > 0.9


def test_folds_part_every_task_and_cover_all() -> None:
    past = past_of(told(past_with_tastes()))
    folds = past.folds()
    assert (np.sum(folds, axis=0) == 1).all()
    for held in folds:
        share = np.bincount(past.task[held])
        assert abs(int(share[0]) - int(share[1])) <= 2
    assert past_of(told(past_with_tastes(), interactions_per_user=1)).folds()


def test_worth_chooses_among_what_is_told() -> None:
    values = np.asarray([[[0.2, np.nan, 0.4], [np.nan] * 3]], dtype=np.float32)
    total, count = worth_of(np.asarray([[[1.0, 9.0, 0.0], [1.0, 2.0, 3.0]]]), values, np.arange(3))
    assert count == 1
    assert total == pytest.approx(0.2)


def test_aligned_and_ranked_by_id() -> None:
    scores = np.asarray([[1.0, 3.0]])
    np.testing.assert_allclose(aligned(scores, ["a", "b"], ["b", "new", "a"]), [[3.0, 2.0, 1.0]])
    assert ranked(["a", "b"], np.asarray([1, 0]), ["a", "new", "b"]).tolist() == [2, 0, 1]


def test_bradley_terry_of_two() -> None:
    wins = np.asarray([[0.0, 30.0], [10.0, 0.0]])
    theta = bradley_terry(wins, np.zeros(2), 1e-9)
    assert theta[0] - theta[1] == pytest.approx(np.log(3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=9, max_size=9), st.floats(0.05, 100))
def test_bradley_terry_is_the_maximum(numbers: list[int], precision: float) -> None:
    wins = np.asarray(numbers, dtype=float).reshape(3, 3) * (1 - np.eye(3))
    prior = np.asarray([0.5, 0.0, -0.5])
    theta = bradley_terry(wins, prior, precision)
    chance = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    slope = (wins - (wins + wins.T) * chance).sum(axis=1) - precision * (theta - prior)
    np.testing.assert_allclose(slope, 0, atol=1e-5)


def test_an_llm_that_always_wins_stays_finite_and_ties_are_no_games() -> None:
    values = np.asarray([[[1.0, 0.0, 0.0, np.nan]] * 50])
    wins = games(values)
    assert wins[0].tolist() == [[0, 50, 50, 0]] + [[0] * 4] * 3
    theta = bradley_terry(wins, np.zeros((1, 4)), 0.1)
    assert np.isfinite(theta).all()
    assert theta[0].argmax() == 0


def test_offsets_follow_the_labels() -> None:
    logits = np.zeros(100)
    good = np.zeros((2, 100), dtype=bool)
    good[0, :75] = True
    every = np.ones_like(good)
    np.testing.assert_allclose(_offsets(logits, good, every, 1e-9)[0], np.log(3), rtol=1e-6)
    np.testing.assert_allclose(_offsets(logits, good, every, 1e9), 0, atol=1e-6)
    np.testing.assert_allclose(_offsets(logits, good, ~every, 1.0), 0)


def test_relaxation_spreads_labels() -> None:
    # the small one is always a bit worse, by more on the later queries
    gap = -np.linspace(0.0, 1.0, 50)[None].repeat(3, axis=0)
    assert 0.3 < _relaxation(gap) < 0.7
    assert _relaxation(np.full((3, 5), np.nan)) == 0.0


def test_hybrid_chooses_a_pair_with_the_cheaper_as_the_small_one() -> None:
    data = past_with_tastes()
    router = HybridLlm()
    router.fit(told(data))
    assert (router.small, router.large) == (1, 2)
    assert set(np.unique(router.route(asked(data)))) == {1, 2}
    assert "stands in" in router.note


def test_descent_keeps_the_best_point_and_leaves_torchs_own_numbers() -> None:
    import torch
    from personaroute_bench.router.descent import Draws, descend

    before = torch.get_rng_state()
    x = Draws(0).zeros(1)

    def loss() -> Any:
        return ((x - 1) ** 2).sum()

    def score() -> float:
        return -abs(x.item() - 0.5)

    best = descend([x], loss, steps=400, rate=0.01, every=10, patience=3, score=score)
    assert x.item() == pytest.approx(0.5, abs=0.06)
    assert best == score()
    assert torch.equal(before, torch.get_rng_state())
    one, two = (Draws(3).normal(2, 2, learned=False) for _ in range(2))
    assert torch.equal(one, two)


def test_contrast_by_hand() -> None:
    import torch
    from personaroute_bench.router.router_dc import _contrast

    sims = torch.tensor([[[2.0, 1.0, 0.0]]])
    values = torch.tensor([[[0.9, 0.5, 0.1]]])
    expected = np.log(np.exp(2) + np.exp(0)) - 2
    assert float(_contrast(sims, values, 1)) == pytest.approx(expected, rel=1e-5)
    level = torch.full((1, 1, 3), 0.5)
    assert float(_contrast(sims, level, 1)) == 0.0
    assert float(_contrast(sims, torch.full((1, 1, 3), torch.nan), 1)) == 0.0


def test_personal_knn_trusts_nobodys_taste_without_a_past() -> None:
    data = past_with_tastes()
    router, blind = KnnPersonal(), Knn()
    router.fit(told(data))
    blind.fit(told(data))
    same = router.route(asked(data, ["nobody"]))
    np.testing.assert_array_equal(same, blind.route(asked(data, ["nobody"])))
    assert (
        router.tastes.weights[:-1][THRIFTY, 1].max() < router.tastes.weights[:-1][~THRIFTY, 1].min()
    )


def test_the_ranking_loss_weighs_by_how_strong_a_preference_is() -> None:
    import torch
    from personaroute_bench.router.descent import ranking_loss

    values, scores = torch.tensor([[0.0, 1.0, 3.0, np.nan]]), torch.tensor([[0.5, 0.0, 2.0, -7.0]])
    lost = 1 * np.log1p(np.exp(0.5)) + 3 * np.log1p(np.exp(-1.5)) + 2 * np.log1p(np.exp(-2.0))
    assert float(ranking_loss(scores, values, 1e-6)) == pytest.approx(lost / 6, rel=1e-5)
    nothing = torch.full((2, 4), np.nan)
    assert float(ranking_loss(torch.zeros(2, 4), nothing, 1e-6)) == 0
