"""The network of `gmt-router`: typed attention over dense arrays, and a cross-attention head.

A heterogeneous graph transformer (HGT, arXiv 2003.01332) gives every type of edge its own keys and
values. Here the responses that a user told of are nodes shared by all users, so a session's
attention over them is a product of matrices, [U, d] × [N, d], and millions of edges need no row
each. tests/router/test_gmt_router.py shows that it equals attention edge by edge.

Shapes: U users, T tasks, Q past queries, M LLMs, N = Q·M responses, n queries asked about,
C contents, D dimensions of embeddings, K facts, d of states, H heads of d / H.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """What the network is built from."""

    contents: int
    embedding: int
    facts: int
    width: int = 32
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    """Share of the units that the head reads, left out in training."""
    noise: float = 0.1
    """Standard deviation of Gaussian noise on each dimension of an embedding, in training."""
    blanks: float = 0.2
    """Share of the LLMs, in training, of which nothing is known beforehand."""


@dataclass(frozen=True)
class Graph:
    """All nodes but those of users; queries in the order of their tasks, unknown ones last."""

    content: Tensor
    """[Q, M, C + 1] what responses were like, and how much users liked them on average."""
    ok: Tensor
    """[Q, M] false where the response failed."""
    embeddings: Tensor
    """[Q, D]"""
    tasks: Tensor
    """[Q] ascending; T where unknown."""
    slots: Tensor
    """[T, W] the queries of each task, W being those of the largest; any where there are fewer."""
    filled: Tensor
    """[T, W] false where there are fewer."""
    facts: Tensor
    """[M, K]"""


@dataclass(frozen=True)
class Told:
    """What users told, by task: the edges of their sessions."""

    seen: Tensor
    """[T, U, W · M] the responses that they told of."""
    liking: Tensor
    """[T, U, W · M] how much they liked them."""
    queries: Tensor
    """[U, T, 1] the number of queries they told about."""
    liked: Tensor
    """[U, T, M] how much they liked each LLM."""

    @classmethod
    def of(cls, graph: Graph, liking: Tensor, seen: Tensor) -> Told:
        """Sort likings [U, Q, M], zero where not seen, and what is seen by task."""
        seen = seen[:, graph.slots] & graph.filled[..., None]  # [U, T, W, M]
        liking = liking[:, graph.slots] * graph.filled[..., None]
        queries = seen.any(-1).sum(-1, keepdim=True)
        liked = liking.sum(2) / (queries + 1)
        return cls(
            seen.transpose(0, 1).flatten(2), liking.transpose(0, 1).flatten(2), queries, liked
        )


@dataclass(frozen=True)
class Nodes:
    """States after the last layer."""

    llms: Tensor
    """[M, d]"""
    tasks: Tensor
    """[T + 1, d] the last is that of all tasks together."""
    people: Tensor
    """[U, T + 1, d] a user's sessions (what was told within a task), and last the user."""


class Attention(nn.Module):
    """Edges of one type. Targets attend to sources, and to one neutral source that says nothing."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.liked = nn.Linear(width, width, bias=False)
        self.edge = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(
        self, targets: Tensor, sources: Tensor, there: Tensor, liking: Tensor | None = None
    ) -> Tensor:
        """Return messages [..., t, d].

        Args:
            targets: [..., t, d].
            sources: [..., s, d].
            there: [..., t, s] which edges there are.
            liking: [..., t, s] what edges carry: it moves their logits, and scales a second value.
        """
        query, key = self._parts(self.query(targets)), self._parts(self.key(sources))
        logits = query @ key.mT / query.shape[-1] ** 0.5
        if liking is not None:
            liking = liking[..., None, :, :]
            logits = logits + self.edge * liking
        logits = logits.masked_fill(~there[..., None, :, :], -torch.inf)
        weight = torch.softmax(nn.functional.pad(logits, (1, 0)), dim=-1)[..., 1:]
        message = weight @ self._parts(self.value(sources))
        if liking is not None:
            message = message + (weight * liking) @ self._parts(self.liked(sources))
        return message.transpose(-2, -3).flatten(-2)

    def _parts(self, states: Tensor) -> Tensor:
        """[..., s, d] to [..., H, s, d / H]."""
        parts = states.reshape(*states.shape[:-1], self.heads, states.shape[-1] // self.heads)
        return parts.transpose(-2, -3)


class Layer(nn.Module):
    """One round: LLMs and tasks ← responses; sessions ← responses, task; users ← sessions.

    Responses ← their LLM, their task.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        names = ("llm", "task", "session")
        kinds = (*names, "user", "response")
        self.attention = nn.ModuleDict({name: Attention(d, shape.heads) for name in names})
        self.own = nn.ModuleDict({name: nn.Linear(d, d) for name in kinds})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(d) for name in kinds})
        self.llm_to_response = nn.Linear(d, d, bias=False)
        self.task_to_response = nn.Linear(d, d, bias=False)
        self.llm_to_session = nn.Linear(d, d, bias=False)
        self.session_to_user = nn.Linear(d, d, bias=False)
        self.task_to_session = nn.Linear(d, d, bias=False)

    def forward(
        self, graph: Graph, nodes: Nodes, responses: Tensor, told: Told
    ) -> tuple[Nodes, Tensor]:
        """Return new states of all nodes, and of responses [Q, M, d]."""
        T, flat = len(graph.slots), responses.flatten(0, 1)
        of_llm = self.attention["llm"](
            nodes.llms[:, None], responses.transpose(0, 1), graph.ok.T[:, None]
        )[:, 0]
        everything = torch.arange(T + 1)[:, None]
        mine = (graph.tasks == everything) | (everything == T)
        there = (mine[..., None] & graph.ok).flatten(1)
        of_task = self.attention["task"](nodes.tasks, flat, there)
        old, user = nodes.people[:, :T], nodes.people[:, T:]
        within = responses[graph.slots].flatten(1, 2)
        sessions = self.attention["session"](old.transpose(0, 1), within, told.seen, told.liking)
        messages = sessions.transpose(0, 1) + told.liked @ self.llm_to_session(nodes.llms)
        of_session = messages + self.task_to_session(nodes.tasks[:T])
        whole = told.queries.sum(1, keepdim=True) + 1
        of_user = self.session_to_user((told.queries * messages).sum(1, keepdim=True) / whole)
        of_response = (
            self.llm_to_response(nodes.llms) + self.task_to_response(nodes.tasks)[graph.tasks, None]
        )
        people = [self._new("session", old, of_session), self._new("user", user, of_user)]
        new = Nodes(
            self._new("llm", nodes.llms, of_llm),
            self._new("task", nodes.tasks, of_task),
            torch.cat(people, 1),
        )
        return new, self._new("response", responses, of_response)

    def _new(self, name: str, old: Tensor, message: Tensor) -> Tensor:
        new: Tensor = self.norm[name](old + torch.relu(self.own[name](old) + message))
        return new


class Network(nn.Module):
    """States by message passing, and a score for every (user, query, LLM)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.heads = shape.heads
        self.facts = nn.Linear(shape.facts, d)
        self.embedding = nn.Linear(shape.embedding, d)
        self.content = nn.Linear(shape.contents + 1, d)
        self.author = nn.Linear(d, d, bias=False)
        self.asked = nn.Linear(d, d, bias=False)
        self.told = nn.Linear(1, d)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.query = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.value = nn.Linear(d, d, bias=False)
        self.kind = nn.Parameter(0.1 * torch.randn(3, d))
        self.from_tokens = nn.Linear(d, d)
        self.from_llm = nn.Linear(d, d, bias=False)
        self.out = nn.Linear(d, 1, bias=False)
        self.match = nn.Linear(d, d, bias=False)
        self.dropout = nn.Dropout(shape.dropout)
        self.noise, self.blanks = shape.noise, shape.blanks

    def forward(self, graph: Graph, liking: Tensor, seen: Tensor) -> Nodes:
        """Return the states of all nodes.

        A user's and a session's first state is how much was told, nothing else: no id.

        Args:
            graph: the visible past.
            liking: [U, Q, M] how much users liked responses; zeros where not seen.
            seen: [U, Q, M] the responses that they told of.
        """
        facts = graph.facts
        if self.training:
            facts = facts * (torch.rand(len(facts), 1) >= self.blanks)
        llms = self.facts(facts)
        queries = self.embedding(self.shaken(graph.embeddings))
        none = queries.new_zeros(1, queries.shape[-1])
        count = graph.filled.sum(1, keepdim=True).clamp(min=1)
        tasks = (queries[graph.slots] * graph.filled[..., None]).sum(1) / count
        responses = self.content(graph.content) + self.author(llms) + self.asked(queries)[:, None]
        told = Told.of(graph, liking, seen)
        every = torch.cat([told.queries, seen.any(-1).sum(1)[:, None, None]], 1)
        people = self.told(torch.log1p(every.float()))
        nodes = Nodes(llms, torch.cat([tasks, none]), people)
        for layer in self.layers:
            nodes, responses = layer(graph, nodes, responses, told)
        return nodes

    def scores(self, nodes: Nodes, tasks: Tensor, embeddings: Tensor) -> Tensor:
        """Return logits [U, n, M]: each LLM attends to the user, the session and the query.

        Args:
            nodes: states.
            tasks: [n] T where unknown; the session is then the user.
            embeddings: [n, D].
        """
        parts = (self.heads, -1)
        query = nodes.tasks[tasks] + self.embedding(self.shaken(embeddings))
        ask = self.query(nodes.llms).unflatten(-1, parts)  # [M, H, k]
        match = self.match(nodes.llms).unflatten(-1, parts) / nodes.llms.shape[-1] ** 0.5
        onward = self.from_tokens.weight.reshape(len(self.from_tokens.bias), *parts)  # [d, H, k]
        # Whatever is linear in a state is computed before the states meet: there are few of them,
        # and many (user, query, LLM).
        logits, products, values = [], [], []
        for kind, state in zip(
            self.kind, (nodes.people[:, -1:], nodes.people, query[None]), strict=True
        ):
            token = self.dropout(state) + kind
            key = self.key(token).unflatten(-1, parts)
            value = self.value(token).unflatten(-1, parts)
            logits.append(torch.einsum("unhk,mhk->unmh", key, ask) / key.shape[-1] ** 0.5)
            products.append(torch.einsum("unhk,mhk->unmh", value, match))
            values.append(torch.einsum("unhk,dhk->unhd", value, onward))
        for of in (logits, products, values):
            of[1] = of[1][:, tasks]
        weight = torch.softmax(_stacked(logits), 3)  # [U, n, M, 3, H]
        product = (weight * _stacked(products)).flatten(-2).sum(-1)
        found = weight.flatten(-2) @ _stacked(values, 2).flatten(2, 3)
        hidden = torch.relu(found + self.from_tokens.bias + self.from_llm(nodes.llms))
        scores: Tensor = self.out(hidden)[..., 0] + product
        return scores

    def shaken(self, embeddings: Tensor) -> Tensor:
        """Return embeddings, in training with noise: queries are few and must not be memorised."""
        if self.training and self.noise:
            return embeddings + self.noise * torch.randn_like(embeddings)
        return embeddings


def _stacked(parts: list[Tensor], dim: int = 3) -> Tensor:
    """Return arrays of users, of sessions and of queries, [U, n, …] each, along a new axis."""
    return torch.stack([part.expand_as(parts[1]) for part in parts], dim)
