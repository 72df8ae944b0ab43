"""personalized: message passing equals torch-geometric's, nothing leaks, states are personal."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from personaroute_bench.router.edges import (  # noqa: E402
    Edges,
    likings,
    query_folds,
    sum_edges,
)
from personaroute_bench.router.personalized import Personalized, PersonalizedGraph  # noqa: E402
from personaroute_bench.router.records import Past, Space  # noqa: E402
from small_benchmark import STRATEGY, small_benchmark, with_interactions  # noqa: E402
from trained_routers import choices, gained, people, swapped, told  # noqa: E402

from personaroute_bench.errors import UsageError  # noqa: E402

QUICK = {"width": 16, "epochs": 15}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fitted(benchmark: Any, kind: type = Personalized, **options: Any) -> Personalized:
    router = kind(**QUICK)
    router.fit(told(benchmark, **options))
    return router


def test_summed_edges_pass_the_messages_of_torch_geometric() -> None:
    conv = pytest.importorskip("torch_geometric.nn")
    past = Past.of(told(people(failures=0.1)))
    liking, _ = likings(past)
    edges = sum_edges(past, liking, Space.of(past).content(past), tasks=2)
    llm = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))

    # The graph itself: an edge a told (user, query, LLM), summed over the candidates of a query
    # (a node of its own), then averaged over the user's queries.
    u, q, m = np.nonzero(past.seen)
    U, Q = past.seen.shape[:2]
    to_query = torch.as_tensor(np.stack([m, u * Q + q]))
    weight = torch.as_tensor(liking[u, q, m])
    empty = torch.zeros(U * Q, 5)
    asked = conv.SimpleConv(aggr="sum")((llm, empty), to_query, weight)
    pairs = np.unique(u * Q + q)
    to_user = torch.as_tensor(np.stack([pairs, pairs // Q]))
    expected = conv.SimpleConv(aggr="mean")((asked, torch.zeros(U, 5)), to_user)

    mean = torch.as_tensor(edges.liking.sum(axis=1) / edges.told.sum(axis=1)[:, None])
    torch.testing.assert_close(mean @ llm, expected, rtol=1e-4, atol=1e-5)


def test_hiding_queries_is_subtracting_their_edges() -> None:
    past = Past.of(told(people()))
    liking, scale = likings(past)
    content = Space.of(past).content(past)
    whole = sum_edges(past, liking, content, tasks=2)
    parts = []
    for rows in (np.arange(10), np.arange(10, 30)):
        some = past.of_queries(rows)
        parts.append(sum_edges(some, likings(some, scale)[0], content[rows], tasks=2))
    rest = whole - parts[0]
    for field in dataclasses.fields(Edges):
        if field.name != "centroid":
            np.testing.assert_allclose(
                getattr(rest, field.name), getattr(parts[1], field.name), atol=1e-4
            )


def test_folds_hide_every_query_once() -> None:
    folds = query_folds(23, 0.2, seed=3)
    assert sorted(np.concatenate(folds).tolist()) == list(range(23))
    assert len(folds) == 5
    assert len(query_folds(1, 0.2, seed=3)) == 1


def test_what_is_hidden_cannot_be_seen() -> None:
    """Neither messages nor the head change with what was told of the queries asked about."""
    data = people()
    router = fitted(data)
    past = Past.of(told(data))
    hidden, known = np.arange(5), np.arange(5, len(past.tasks))
    values = past.values.copy()
    values[:, hidden] = values[:, hidden][..., ::-1]
    weights = np.zeros_like(router.utility.tastes.mean)
    found = []
    for p in (past, dataclasses.replace(past, values=values)):
        head = np.zeros_like(p.values)
        head[:, hidden] = router._left_out_head(p, hidden, weights)
        found.append(router._ask(p, head, hidden, known))
    asked, other = found
    for field in dataclasses.fields(asked.graph):
        torch.testing.assert_close(
            getattr(asked.graph, field.name), getattr(other.graph, field.name), rtol=0, atol=0
        )
    torch.testing.assert_close(asked.head, other.head, rtol=0, atol=0)
    assert asked.head.abs().max() > 0
    assert not torch.equal(asked.values.nan_to_num(), other.values.nan_to_num())


def test_no_network_meets_the_fold_that_validates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = people()
    past = Past.of(told(data)) + Past.of(told(data).validation)
    asked: list[tuple[set[int], set[int]]] = []
    ask = Personalized._ask

    def spy(self: Any, p: Any, head: Any, new: Any, known: Any) -> Any:
        asked.append((set(new.tolist()), set(known.tolist())))
        return ask(self, p, head, new, known)

    monkeypatch.setattr(Personalized, "_ask", spy)
    fitted(data)
    everything = set(range(len(past.tasks)))
    checked: set[int] = set()
    mine: list[tuple[set[int], set[int]]] = []
    for new, known in asked:  # a network's batches, then its check
        assert not new & known
        if new | known == everything:
            assert mine and not any(new & (n | k) for n, k in mine)
            assert not new & checked
            checked |= new
            mine = []
        else:
            mine.append((new, known))
    assert checked == everything and not mine


@pytest.mark.parametrize("kind", [Personalized, PersonalizedGraph])
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_it_learns_under_every_feedback(kind: type, feedback: str) -> None:
    data = people(failures=0.1)
    choice = choices(fitted(data, kind, feedback=feedback), data)
    assert gained(data, choice) > 0.3


def test_the_tested_weights_are_the_validated_ones() -> None:
    data = people()
    router = PersonalizedGraph(width=16, epochs=30, patience=5)
    router.fit(told(data))
    assert router.best_epoch == int(np.argmin(router.losses)) > 0
    # Stop right at that epoch: the same weights, bit for bit.
    short = PersonalizedGraph(width=16, epochs=router.best_epoch, patience=5)
    short.fit(told(data))
    assert len(router.networks) == len(short.networks) == 4
    for mine, other in zip(router.networks, short.networks, strict=True):
        for name, tensor in other.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_graph_that_validates_worse_than_the_head_is_left_out() -> None:
    """The least share of about equal ones is taken; noise in place of a graph gets none."""
    data = people()
    router = fitted(data)
    asked = router._ask(
        router.utility.past,
        np.nan_to_num(router.utility.past.values),
        np.arange(10),
        np.arange(10, len(router.utility.past.tasks)),
    )
    worth = router._worth(router.utility.past, np.arange(10), router.utility.verdicts)
    router.networks = router.networks[:1]
    noise = torch.randn(asked.values.shape, generator=torch.Generator().manual_seed(0)) * 100
    router.networks[0].graph_logits = lambda *where: noise  # type: ignore[method-assign]
    assert router._select_share([asked], [worth]) == 0.0
    head = torch.zeros_like(asked.head)
    truth = asked.values.nan_to_num() * 100
    router.networks[0].graph_logits = lambda *where: truth  # type: ignore[method-assign]
    assert router._select_share([dataclasses.replace(asked, head=head)], [worth]) > 0


def test_what_is_left_out_is_worth_what_was_told_and_of_choices_their_utility() -> None:
    data = people(failures=0.1)
    asked = np.arange(10)
    for feedback in ("full", "choice"):
        router = fitted(data, feedback=feedback)
        past = router.utility.past
        worth = router._worth(past, asked, router.utility.verdicts)
        expected = past.values if feedback == "full" else router.utility.verdicts
        np.testing.assert_array_equal(np.isfinite(worth), past.seen[:, asked])
        seen = past.seen[:, asked]
        np.testing.assert_array_equal(worth[seen], expected[:, asked][seen])


def test_a_fit_is_deterministic_and_leaves_the_generator_alone() -> None:
    data = people()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = choices(fitted(data), data)
    torch.testing.assert_close(torch.rand(3), expected)
    np.testing.assert_array_equal(first, choices(fitted(data), data))


def test_pasts_exchanged_choices_exchanged() -> None:
    data = people()
    router = fitted(data, PersonalizedGraph)
    first = choices(router, data)
    assert (first[0] != first[-1]).any()
    # the same weights, the other's edges
    router.utility._settle(dataclasses.replace(router.utility.past))
    past = router.utility.past
    order = np.arange(24)
    order[[0, -1]] = [23, 0]
    router._settle(dataclasses.replace(past, values=past.values[order]))
    second = choices(router, data)
    np.testing.assert_array_equal(second[0], first[-1])
    np.testing.assert_array_equal(second[-1], first[0])
    assert gained(data, np.roll(first, 12, axis=0)) < gained(data, first) - 0.1


def test_histories_exchanged_in_the_data_change_choices() -> None:
    data = people()
    first, second = (choices(fitted(d), data) for d in (data, swapped(data)))
    assert (second[0] == first[-1]).mean() > 0.8
    assert (second[0] != first[0]).any()


def test_test_outcomes_do_not_matter() -> None:
    data = people()
    part = data.memory[STRATEGY, "test"]
    other = with_interactions(data, "test", reward=-part.reward, chosen=~part.chosen)
    test = data.split_queries("test")
    performance = data.performance.copy()
    performance[test] = 1 - performance[test]
    other = dataclasses.replace(other, performance=performance)
    np.testing.assert_array_equal(choices(fitted(data), data), choices(fitted(other), other))


def test_a_user_without_a_past_and_user_state_off_are_user_blind() -> None:
    data = people()
    router = fitted(data)
    assert choices(router, data, ["x", "y"])[0].tolist() == choices(router, data, ["y"])[0].tolist()
    blind = PersonalizedGraph(**QUICK, user_state=False)
    blind.fit(told(data))
    found = choices(blind, data)
    assert (found == found[0]).all()


@pytest.mark.parametrize("shape", [{"users": 1}, {"llms": 1}, {"failures": 1.0}])
def test_one_user_one_llm_no_response(shape: dict[str, Any]) -> None:
    data = small_benchmark(**shape)
    found = choices(fitted(data), data)
    assert found.min() >= 0 and found.max() < len(data.llm_ids)


def test_an_answer_does_not_depend_on_who_else_asks() -> None:
    data = people()
    router = fitted(data)
    together = choices(router, data)
    alone = choices(router, data, [data.user_ids[5]])
    np.testing.assert_array_equal(alone[0], together[5])


def test_new_llm_and_new_users_with_weights_frozen() -> None:
    data = people()
    few = dataclasses.replace(
        data,
        llms=data.llms.slice(0, 3),
        performance=data.performance[:, :3],
        cost_usd=data.cost_usd[:, :3],
        cost=data.cost[:, :3],
        status=data.status[:, :3],
        memory={
            key: dataclasses.replace(
                v, users=v.users[:20], reward=v.reward[:20, :, :3], chosen=v.chosen[:20, :, :3]
            )
            for key, v in data.memory.items()
        },
    )
    router = fitted(few)
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in router.networks]
    poor = gained(data, choices(router, data))
    router.adapt(told(data, interactions_per_user=6))
    for network, old in zip(router.networks, before, strict=True):
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, old[name], rtol=0, atol=0)
    assert gained(data, choices(router, data)) > poor
    assert 3 in choices(router, data)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="mask_share is 0"):
        Personalized(mask_share=0)
