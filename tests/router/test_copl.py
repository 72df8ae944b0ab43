"""copl: layers, adjacencies and losses by hand; who resembles whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from personaroute_bench.router import copl  # noqa: E402
from personaroute_bench.router.copl import (  # noqa: E402
    Clusters,
    Copl,
    Signed,
    preferences,
    propagate,
    rate,
)
from personaroute_bench.router.descent import Draws  # noqa: E402
from trained_routers import people, told  # noqa: E402


def test_a_layer_is_the_formula() -> None:
    torch.manual_seed(0)
    d = 3
    weights = {
        "user": torch.randn(2, d),
        "item": torch.randn(1, 4, d),
        "self": torch.randn(1, d, d),
        "liked": torch.randn(1, d, d),
        "disliked": torch.randn(1, d, d),
    }
    edges = Signed(torch.rand(2, 4), torch.rand(2, 4))
    users, items = propagate(weights, edges)
    user, item = weights["user"], weights["item"][0]

    def updated(mine: Any, others: Any, liked: Any, disliked: Any) -> Any:
        up = sum(a * e for a, e in zip(liked, others, strict=True))
        down = sum(a * e for a, e in zip(disliked, others, strict=True))
        out = mine @ weights["self"][0]
        out = out + up + (up * mine) @ weights["liked"][0]
        out = out - down - (down * mine) @ weights["disliked"][0]
        return torch.where(out > 0, out, 0.2 * out)

    for u in range(2):
        expected = updated(user[u], item, edges.liked[u], edges.disliked[u])
        torch.testing.assert_close(users[u], expected / expected.norm(), rtol=1e-4, atol=1e-5)
    for i in range(4):
        expected = updated(item[i], user, edges.liked[:, i], edges.disliked[:, i])
        torch.testing.assert_close(items[0, i], expected, rtol=1e-4, atol=1e-5)


def test_edges_over_the_roots_of_their_degrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copl, "NEUTRAL", 0.0)
    # two users, three queries, two LLMs; the first two queries are of one cluster
    sums = np.asarray([[[1, 0], [0, 2], [3, 0]], [[0, 0], [0, 1], [0, 1]]], np.float32)
    shares = np.asarray([[1, 0], [1, 0], [0, 1]], np.float32)
    edges = np.asarray([[1, 2, 3, 0], [0, 1, 0, 1]], np.float64)
    mine, theirs = edges.sum(1, keepdims=True), edges.sum(0, keepdims=True)
    found = copl._adjacency(sums, shares).numpy()
    np.testing.assert_allclose(found, edges / np.sqrt(mine * theirs), rtol=1e-5)


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=5))
def test_of_two_one_at_most_is_preferred(values: list[float]) -> None:
    found = preferences(torch.tensor(values))
    assert (found >= 0).all()
    assert (torch.minimum(found, found.T) == 0).all()
    assert (preferences(torch.tensor([*values, float("nan")]))[-1] == 0).all()


def test_queries_belong_to_clusters_of_their_task() -> None:
    past = copl.Past.of(told(people()))
    clusters = Clusters.of(past, 2, 4, seed=0)
    shares = clusters.shares(past.embeddings, past.tasks)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    unknown = clusters.shares(past.embeddings, np.full(len(past.tasks), -1))
    assert np.isfinite(unknown).all()
    # more clusters than different queries are not made
    assert len(Clusters.of(past.of_queries(slice(0, 2)), 2, 8, seed=0).centres) == 2


def test_thinning_only_takes_away() -> None:
    edges = Signed(torch.ones(50, 40), 2 * torch.ones(50, 40))
    thin = edges.thinned(Draws(0))
    assert set(thin.liked.unique().tolist()) == {0.0, 1.0}
    assert set(thin.disliked.unique().tolist()) == {0.0, 2.0}
    assert 0.85 < float(thin.liked.mean()) < 0.95


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(copl, "STEPS", 10)
    made = Copl()
    made.fit(told(people()))
    return made


def test_a_new_user_resembles_who_ranks_alike(router: Any) -> None:
    ratings = 5 * torch.eye(4)[[0, 1, 2, 3] * 6][:, None]  # each of 24 users loves one LLM
    shares = torch.ones(3, 1)
    strange = np.full((3, 3, 4), np.nan, np.float32)
    strange[0, 0] = [0, 0, 1, 0]
    strange[1, 1] = [1, 1, 1, 1]  # no preference
    found = router._resemblance(strange, ratings, shares)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    assert (found[0].topk(6).indices % 4 == 2).all()
    assert float(found[0].topk(6).values.sum()) > 0.99
    torch.testing.assert_close(found[1:], torch.full((2, 24), 1 / 24))


def test_the_table_is_of_users_and_items(router: Any) -> None:
    assert router.table.shape == (25, len(router.clusters.centres), 4)
    found = router.scores(np.asarray([3, -1]), router.past.embeddings, router.past.tasks)
    shares = router.clusters.shares(router.past.embeddings, router.past.tasks)
    np.testing.assert_allclose(found[0, 7], shares[7] @ router.table[3], rtol=1e-4, atol=1e-5)
    # whom nobody knows is the mean of all
    np.testing.assert_allclose(router.table[-1], router.table[:-1].mean(0), rtol=1e-3, atol=1e-4)


def test_rate_is_a_product_of_vectors() -> None:
    users, items = torch.randn(2, 3), torch.randn(4, 5, 3)
    torch.testing.assert_close(rate(users, items)[1, 2, 3], users[1] @ items[2, 3])
