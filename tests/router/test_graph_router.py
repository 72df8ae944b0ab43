"""graph-router: messages equal those along single edges; hidden queries have none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from personaroute_bench.router import graph_router  # noqa: E402
from personaroute_bench.router.graph_router import GraphRouter  # noqa: E402
from personaroute_bench.router.graph_router_network import (  # noqa: E402
    Graph,
    Layer,
    Network,
    by_task,
)
from personaroute_bench.router.records import Past  # noqa: E402
from trained_routers import people, told  # noqa: E402


def small_graph(tasks: list[int]) -> Graph:
    """3 LLMs, 3 contents' worth of edges (5 features), 4 dimensions, 2 tasks."""
    torch.manual_seed(1)
    Q = len(tasks)
    there = torch.rand(Q, 3) < 0.7
    return Graph(
        edges=torch.randn(Q, 3, 5),
        there=there,
        embeddings=torch.randn(Q, 4),
        tasks=torch.tensor(tasks),
        facts=torch.randn(3, 6),
        task_count=2,
    )


def test_messages_are_those_along_single_edges() -> None:
    graph = small_graph([0, 1, 1, 2, 0])
    layer = Layer(5)
    llms, queries, tasks = (torch.randn(n, 32) for n in (3, 5, 3))
    new_llms, new_queries, _ = layer(graph, llms, queries, tasks)
    for m in range(3):
        heard = [
            layer.gate["llm"](graph.edges[q, m]) * layer.sent["llm"](queries[q])
            for q in range(5)
            if graph.there[q, m]
        ]
        message = sum(heard) / max(len(heard), 1)
        expected = layer.norm["llm"](llms[m] + torch.relu(layer.own["llm"](llms[m]) + message))
        torch.testing.assert_close(new_llms[m], expected, rtol=1e-4, atol=1e-5)
    for q in range(5):
        heard = [
            layer.gate["query"](graph.edges[q, m]) * layer.sent["query"](llms[m])
            for m in range(3)
            if graph.there[q, m]
        ]
        message = sum(heard) / max(len(heard), 1) + layer.task_to_query(tasks[graph.tasks[q]])
        own = layer.own["query"](queries[q])
        expected = layer.norm["query"](queries[q] + torch.relu(own + message))
        torch.testing.assert_close(new_queries[q], expected, rtol=1e-4, atol=1e-5)


def test_means_by_task_and_over_all() -> None:
    graph = dataclasses.replace(small_graph([0, 2, 0]), task_count=2)
    found = by_task(torch.tensor([[1.0], [5.0], [3.0]]), graph)
    assert found.flatten().tolist() == [2.0, 0.0, 3.0]  # task 1 has no queries


def test_a_query_without_edges_is_answered_as_it_would_be_in_the_graph() -> None:
    network = Network(contents=3, embedding=4, facts=6).eval()
    graph = small_graph([0, 1, 1])
    bare = dataclasses.replace(graph, there=graph.there & (torch.arange(3) != 2)[:, None])
    llms, queries = network.facts(bare.facts), network.embedding(bare.embeddings)
    tasks = by_task(queries, bare)
    for layer in network.layers:
        llms, queries, tasks = layer(bare, llms, queries, tasks)
    expected = queries[2] @ network.match(llms).T / 32**0.5
    found = network.scores(network(bare), bare.tasks[[2]], bare.embeddings[[2]])[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(graph_router, "STEPS", 20)
    made = GraphRouter()
    made.fit(told(people(failures=0.1)))
    return made


def test_targets_are_means_over_who_told(router: Any) -> None:
    past = Past.of(told(people()))
    values = np.full((2, 1, 4), np.nan, np.float32)
    values[0, 0, :2] = [1.0, 3.0]  # -1, +1
    values[1, 0, 1:] = [3.0, 6.0, 0.0]  # 0, +3, -3
    some = dataclasses.replace(past.of_queries(slice(0, 1)), values=values)
    asked = router._asked(some, np.arange(1))
    expected = np.asarray([-1.0, 0.5, 3.0, -3.0])
    expected = (expected - expected.mean()) / router.scale
    np.testing.assert_allclose(asked.target[0, 0].numpy(), expected, rtol=1e-5)


def test_failed_responses_are_edges_that_say_so(router: Any) -> None:
    past = Past.of(told(people(failures=0.3)))
    graph = router._graph(past)
    assert bool(graph.there.all())
    np.testing.assert_array_equal(graph.edges[..., -1].numpy() == 1, ~past.ok)
    assert (graph.edges[~past.ok][:, :-1] == 0).all()


def test_a_response_of_which_nothing_is_known_is_no_edge(router: Any) -> None:
    past = Past.of(told(people()))
    content = past.content.copy()
    content[3, 1] = np.nan
    graph = router._graph(dataclasses.replace(past, content=content))
    assert not graph.there[3, 1]
    assert int((~graph.there).sum()) == 1


def test_scores_are_the_same_for_all(router: Any) -> None:
    past = router.past
    found = router.scores(np.asarray([0, -1, 5]), past.embeddings, past.tasks)
    assert found.shape == (3, len(past.tasks), 4)
    assert (found == found[:1]).all()
    unknown = router.scores(np.asarray([0]), past.embeddings[:1], np.asarray([-1]))
    assert np.isfinite(unknown).all()
