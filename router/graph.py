"""The network of `personalized`: message passing over summed edges, states, dot product.

Everything is dense and linear in the edges (router/edges.py). Shapes: U users, T tasks, M LLMs,
n queries asked about, C contents, D dimensions of embeddings, d of states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .edges import NEUTRAL, Edges
from .utility import Floats, Ints


@dataclass(frozen=True)
class Shape:
    """What the network is built from; goes into the checkpoint."""

    contents: int
    embedding: int
    llm_facts: int
    width: int = 32
    layers: int = 2
    edge_features: bool = True
    """Whether messages carry the content of the responses, or likings only."""
    user_state: bool = True
    """Whether users' own edges reach the score; without, the router is user-blind."""
    dropout: float = 0.3
    """Share of the hidden units of h_uqt, and of the query's embedding, left out in training."""
    offset: bool = True
    """Whether the utility head's score is added."""


@dataclass(frozen=True)
class Graph:
    """Summed edges as means, on a device."""

    liking: Tensor
    """[U, T + 1, M] mean liking by task; the last of all tasks together."""
    told: Tensor
    """[U, T + 1] log(1 + queries told)."""
    liked: Tensor
    """[U, C]"""
    content: Tensor
    """[T + 1, M, C + 1] content, and how much users liked it on average."""
    centroid: Tensor
    """[T + 1, D] the last is that of no task: zeros."""
    facts: Tensor
    """[M, K]"""

    @classmethod
    def of(cls, edges: Edges, facts: Floats, device: str) -> Graph:
        """Turn sums into means (with neutral edges) and move them to the device."""

        def put(array: Floats) -> Tensor:
            return torch.as_tensor(array, dtype=torch.float32, device=device)

        def with_all(sums: Tensor, dim: int) -> Tensor:
            return torch.cat([sums, sums.sum(dim, keepdim=True)], dim)

        told = with_all(put(edges.told), 1)
        liking = with_all(put(edges.liking), 1)
        popular = liking.sum(0) / (told.sum(0) + NEUTRAL)[:, None]
        answered = with_all(put(edges.answered), 0)
        content = with_all(put(edges.content), 0)
        centroid = put(edges.centroid)
        return cls(
            liking=liking / (told + NEUTRAL)[..., None],
            told=torch.log1p(told),
            liked=put(edges.liked) / (told[:, -1:] + NEUTRAL),
            content=torch.cat([content / (answered + NEUTRAL)[..., None], popular[..., None]], -1),
            centroid=torch.cat([centroid, torch.zeros_like(centroid[:1])]),
            facts=put(facts),
        )

    def users(self, rows: Tensor | Ints) -> Graph:
        """Return the graph with some users only; -1 is one who has told nothing."""
        index = torch.as_tensor(rows, device=self.liking.device)
        nobody = (index < 0)[:, None]
        index = index.clamp(min=0)
        return Graph(
            self.liking[index].masked_fill(nobody[..., None], 0),
            self.told[index].masked_fill(nobody, 0),
            self.liked[index].masked_fill(nobody, 0),
            self.content,
            self.centroid,
            self.facts,
        )


class Layer(nn.Module):
    """One round of messages along all typed edges; new = norm(relu(own + messages) + old).

    user ← LLM (liking), user ← content of what was liked; (user, task) likewise within the task;
    task ← LLM (content) and its queries' centroid; LLM ← its own content.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, c = shape.width, shape.contents
        self.edge_features = shape.edge_features
        names = ("user", "task", "llm")
        self.own = nn.ModuleDict({name: nn.Linear(d, d) for name in names})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(d) for name in names})
        self.llm_to_user = nn.Linear(d, d, bias=False)
        self.llm_to_task = nn.Linear(d, (c + 1) * d, bias=False)
        self.task_to_user = nn.Linear(d, d, bias=False)
        self.content_to_user = nn.Linear(c, d, bias=False)
        self.content_to_llm = nn.Linear(c + 1, d, bias=False)

    def forward(
        self, graph: Graph, user: Tensor, task: Tensor, llm: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return new states: users [U, T + 1, d] (by task, the last over all), tasks, LLMs."""
        to_user = graph.liking @ self.llm_to_user(llm) + self.task_to_user(task)
        content = graph.content
        if self.edge_features:
            to_user = to_user + self.content_to_user(graph.liked)[:, None]
        else:  # only how much users liked it
            content = torch.cat([torch.zeros_like(content[..., :-1]), content[..., -1:]], dim=-1)
        sent = self.llm_to_task(llm).view(*content.shape[1:], -1)
        to_task = torch.einsum("tmc,mcd->td", content, sent) / len(llm)
        to_llm = self.content_to_llm(content[-1])
        states = {"user": (user, to_user), "task": (task, to_task), "llm": (llm, to_llm)}
        new = [
            self.norm[name](torch.relu(self.own[name](old) + message) + old)
            for name, (old, message) in states.items()
        ]
        return new[0], new[1], new[2]


class Network(nn.Module):
    """States by message passing, then a score for every (user, query, LLM)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.shape = shape
        self.facts = nn.Linear(shape.llm_facts, d)
        self.embedding = nn.Linear(shape.embedding, d)
        self.told = nn.Linear(2, d)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.from_user = nn.Linear(d, d)
        self.from_everything = nn.Linear(d, d, bias=False)
        self.from_task = nn.Linear(d, d, bias=False)
        self.from_query = nn.Linear(d, d, bias=False)
        self.out = nn.Linear(d, d)
        self.dropout = nn.Dropout(shape.dropout)
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.direct = nn.Parameter(torch.zeros(4))
        # Query embeddings have hundreds of dimensions and few queries: they start as a whisper.
        nn.init.normal_(self.embedding.weight, std=0.02)
        # The first score is the head's alone; the graph earns its part.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, graph: Graph, tasks: Tensor, embeddings: Tensor, head: Tensor) -> Tensor:
        """Return logits [U, n, M]; `head` [U, n, M] are standardised scores of the utility head."""
        logits = self.graph_logits(graph, tasks, embeddings)
        return logits + self.trust * head if self.shape.offset else logits

    def graph_logits(self, graph: Graph, tasks: Tensor, embeddings: Tensor) -> Tensor:
        """Return logits [U, n, M] without the head.

        Args:
            graph: visible edges; those of the n queries are not among them.
            tasks: [n] their tasks, T where unknown.
            embeddings: [n, D].
        """
        llm = self.facts(graph.facts)
        task = self.embedding(graph.centroid)
        everything = graph.told[:, -1:].expand_as(graph.told)
        user = self.told(torch.stack([graph.told, everything], dim=-1))
        for layer in self.layers:
            user, task, llm = layer(graph, user, task, llm)
        if not self.shape.user_state:
            user = torch.zeros_like(user)
        person = self.from_user(user)[:, tasks] + self.from_everything(user[:, -1:])
        query = self.from_task(task)[tasks] + self.from_query(
            self.dropout(self.embedding(embeddings))
        )
        state = self.out(self.dropout(torch.relu(person + query)))
        logits: Tensor = state @ llm.T / llm.shape[1] ** 0.5
        mine, all_mine, theirs, all_theirs = self.direct
        popular = graph.content[..., -1]
        logits = logits + theirs * popular[tasks] + all_theirs * popular[-1]
        if self.shape.user_state:
            logits = logits + mine * graph.liking[:, tasks] + all_mine * graph.liking[:, -1:]
        return logits
