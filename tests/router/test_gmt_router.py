"""gmt-router: attention equals attention edge by edge, and states know what they may."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from personaroute_bench.router import gmt_router  # noqa: E402
from personaroute_bench.router.gmt_network import Attention, Graph  # noqa: E402
from personaroute_bench.router.gmt_router import GmtRouter  # noqa: E402
from personaroute_bench.router.records import Past  # noqa: E402
from trained_routers import people, told  # noqa: E402


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A router after a few steps: untrained weights would do, but for the scales."""
    monkeypatch.setattr(gmt_router, "STEPS", 10)
    made = GmtRouter(seed=3)
    made.fit(told(people(failures=0.1)))
    return made


def test_attention_is_attention_edge_by_edge() -> None:
    torch.manual_seed(0)
    attention = Attention(width=6, heads=2)
    attention.edge.data = torch.randn(2, 1, 1)
    targets, sources = torch.randn(3, 6), torch.randn(5, 6)
    there = torch.rand(3, 5) < 0.6
    there[2] = False
    liking = torch.randn(3, 5)
    got = attention(targets, sources, there, liking)
    query, key = attention.query(targets), attention.key(sources)
    value, liked = attention.value(sources), attention.liked(sources)
    for t in range(3):
        for h in range(2):
            part = slice(3 * h, 3 * h + 3)
            weights = [1.0]  # the neutral source: logit 0, message 0
            messages = [torch.zeros(3)]
            for s in range(5):
                if there[t, s]:
                    logit = query[t, part] @ key[s, part] / 3**0.5
                    logit = logit + attention.edge[h, 0, 0] * liking[t, s]
                    weights.append(float(logit.exp().detach()))
                    messages.append(value[s, part] + liking[t, s] * liked[s, part])
            expected = sum(w * m for w, m in zip(weights, messages, strict=True)) / sum(weights)
            torch.testing.assert_close(got[t, part], expected, rtol=1e-4, atol=1e-5)
    assert (got[2] == 0).all()


def test_what_is_hidden_cannot_be_seen(router: Any) -> None:
    past = Past.of(told(people()))
    values = past.values.copy()
    values[:, :5] = values[:, :5, ::-1]
    rest = np.arange(5, len(past.tasks))
    mine, other = (
        router._visible(p, rest) for p in (past, dataclasses.replace(past, values=values))
    )
    assert torch.equal(mine.liking, other.liking)
    for field in dataclasses.fields(Graph):
        a, b = getattr(mine.graph, field.name), getattr(other.graph, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    seen = router._visible(past, np.arange(len(past.tasks)))
    assert not torch.equal(seen.liking.sum(1), mine.liking.sum(1))


def test_a_user_is_their_own_records_and_nothing_else(router: Any) -> None:
    visible = router._visible(router.past, np.arange(len(router.past.tasks)))
    with torch.no_grad():
        whole = router.network(visible.graph, visible.liking, visible.seen).people
        alone = router.network(visible.graph, visible.liking[[4]], visible.seen[[4]]).people
        order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
        mixed = router.network(visible.graph, visible.liking[order], visible.seen[order]).people
    torch.testing.assert_close(alone[0], whole[4], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed, whole[order], rtol=1e-4, atol=1e-5)
    assert (whole[0] - whole[4]).abs().max() > 1e-3


def test_the_order_of_queries_does_not_matter(router: Any) -> None:
    past = router.past
    order = np.random.default_rng(0).permutation(len(past.tasks))
    other = GmtRouter.__new__(GmtRouter)
    other.__dict__.update(router.__dict__)
    other._settle(past.of_queries(order))
    torch.testing.assert_close(other.nodes.people, router.nodes.people, rtol=1e-3, atol=1e-4)


def test_who_told_nothing_is_nobody(router: Any) -> None:
    past = router.past
    values = past.values.copy()
    values[2] = np.nan
    router._settle(dataclasses.replace(past, values=values))
    people_ = router.nodes.people
    torch.testing.assert_close(people_[2], people_[-1], rtol=1e-5, atol=1e-6)
    where = (past.embeddings[:3], past.tasks[:3])
    np.testing.assert_allclose(
        router.scores(np.asarray([2]), *where),
        router.scores(np.asarray([-1]), *where),
        rtol=1e-4,
        atol=1e-5,
    )


def test_an_unknown_task_is_answered(router: Any) -> None:
    embedding = router.past.embeddings[:1]
    found = router.scores(np.asarray([0, 1]), embedding, np.asarray([-1]))
    assert found.shape == (2, 1, 4)
    assert np.isfinite(found).all()


def test_blocks_do_not_change_scores(router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    users, past = np.arange(-1, 24), router.past
    whole = router.scores(users, past.embeddings, past.tasks)
    monkeypatch.setattr(gmt_router, "BLOCK_PAIRS", 50)
    np.testing.assert_allclose(
        router.scores(users, past.embeddings, past.tasks), whole, rtol=1e-4, atol=1e-5
    )


def test_dropped_records_leave_half_of_the_users_whole() -> None:
    torch.manual_seed(0)
    liking = torch.ones(400, 20, 3)
    graph: Any = None
    fewer = gmt_router.Visible(graph, liking, liking > 0).fewer()
    share = fewer.seen.float().mean((1, 2))
    assert 0.4 < float((share == 1).float().mean()) < 0.6
    assert float(share.min()) < 0.2
    assert torch.equal(fewer.liking > 0, fewer.seen)
    assert (fewer.seen.all(-1) == fewer.seen.any(-1)).all()  # whole records
