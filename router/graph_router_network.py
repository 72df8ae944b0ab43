"""The network of `graph-router`: message passing over a task-query-LLM graph, held densely.

Shapes: T tasks, Q past queries, M LLMs, E features of an edge, D dimensions of embeddings, K facts
of an LLM, n queries asked about, d of states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH, LAYERS, DROPOUT = 32, 2, 0.3
# Share of the LLMs, in training, of which nothing is known beforehand: their edges have to tell.
BLANKS = 0.2


@dataclass(frozen=True)
class Graph:
    """The visible past."""

    edges: Tensor
    """[Q, M, E] performance, cost, manner where rated, mean value, whether it failed."""
    there: Tensor
    """[Q, M] which edges there are."""
    embeddings: Tensor
    """[Q, D]"""
    tasks: Tensor
    """[Q] T where unknown."""
    facts: Tensor
    """[M, K]"""
    task_count: int
    """T"""


@dataclass(frozen=True)
class States:
    """What a query that is asked about meets."""

    llms: Tensor
    """[M, d] after the last layer."""
    tasks: list[Tensor]
    """[T + 1, d] before each layer; the last row, of unknown tasks, is the mean of all."""


class Layer(nn.Module):
    """One round of messages; a mean over no edges is zero."""

    def __init__(self, edge: int) -> None:
        super().__init__()
        d = WIDTH
        names = ("llm", "query", "task")
        self.own = nn.ModuleDict({name: nn.Linear(d, d) for name in names})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(d) for name in names})
        self.gate = nn.ModuleDict({name: nn.Linear(edge, d) for name in names})
        self.sent = nn.ModuleDict({name: nn.Linear(d, d) for name in names})
        self.task_to_query = nn.Linear(d, d, bias=False)

    def forward(
        self, graph: Graph, llms: Tensor, queries: Tensor, tasks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return new states."""
        there = graph.there[..., None]
        count = graph.there.sum(0).clamp(min=1)[:, None]
        to_llm = (self.gate["llm"](graph.edges) * there).mul(self.sent["llm"](queries)[:, None])
        to_query = (self.gate["query"](graph.edges) * there) * self.sent["query"](llms)
        degree = graph.there.sum(1).clamp(min=1)[:, None]
        heard = to_query.sum(1) / degree
        to_task = (self.gate["task"](graph.edges) * there) * self.sent["task"](llms)
        return (
            self.update("llm", llms, to_llm.sum(0) / count),
            self.update("query", queries, heard + self.task_to_query(tasks)[graph.tasks]),
            self.update("task", tasks, by_task(to_task.sum(1) / degree, graph)),
        )

    def answer(self, queries: Tensor, tasks: Tensor) -> Tensor:
        """Return new states [n, d] of queries without interactions: their tasks [n, d] speak."""
        return self.update("query", queries, self.task_to_query(tasks))

    def update(self, name: str, old: Tensor, message: Tensor) -> Tensor:
        """Return the new states of a type."""
        new: Tensor = self.norm[name](old + torch.relu(self.own[name](old) + message))
        return new


class Network(nn.Module):
    """States of the past, and scores of new queries."""

    def __init__(self, contents: int, embedding: int, facts: int) -> None:
        super().__init__()
        d = WIDTH
        self.facts = nn.Linear(facts, d)
        self.embedding = nn.Linear(embedding, d)
        self.layers = nn.ModuleList([Layer(contents + 2) for _ in range(LAYERS)])
        self.match = nn.Linear(d, d, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, graph: Graph) -> States:
        """Pass messages along all visible edges."""
        facts = graph.facts
        if self.training:
            facts = facts * (torch.rand(len(facts), 1) >= BLANKS)
        llms = self.facts(facts)
        queries = self.embedding(self.dropout(graph.embeddings))
        tasks = by_task(queries, graph)
        seen = []
        for layer in self.layers:
            seen.append(tasks)
            llms, queries, tasks = layer(graph, llms, queries, tasks)
        return States(llms, seen)

    def scores(self, states: States, tasks: Tensor, embeddings: Tensor) -> Tensor:
        """Return [n, M]: new queries hear from their tasks [n] alone, then meet the LLMs."""
        query = self.embedding(self.dropout(embeddings))
        for layer, known in zip(self.layers, states.tasks, strict=True):
            assert isinstance(layer, Layer)
            query = layer.answer(query, known[tasks])
        found: Tensor = self.dropout(query) @ self.match(states.llms).T / query.shape[-1] ** 0.5
        return found


def by_task(messages: Tensor, graph: Graph) -> Tensor:
    """Return [T + 1, d] means of messages [Q, d] over each task's queries, and over all."""
    T = graph.task_count
    every = torch.arange(T + 1)[:, None]
    mine = ((graph.tasks == every) | (every == T)).float()
    means: Tensor = mine @ messages / mine.sum(1, keepdim=True).clamp(min=1)
    return means
