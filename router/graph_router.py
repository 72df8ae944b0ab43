"""`graph-router`: which LLM suits a query, by edges of a task-query-LLM graph (arXiv 2410.03834).

GraphRouter joins tasks to their queries and queries to LLMs; the latter edges carry performance,
cost and value. Messages along them are weighed by a function of the edge; after two rounds the
product of a query's state with an LLM's is its score. The router is the same for all users: value
is the mean over users.

    h_m ← mean over q of g(e_qm) ⊙ W h_q,    h_q ← mean over m of g(e_qm) ⊙ W' h_m, and its task

What differs from the paper: it trains on "is this LLM the best?", here on the mean value itself,
which also tells by how much; all edges of the queries asked about are hidden and not a share of
them, since a new query has none; states are normalised within a node and not over a batch, since a
query may come alone; the weights that are tested are those that validated best.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .answering import best_candidate, cheapest_first
from .asked import Asked, floats, past_and_scale, task_places
from .descent import descend, import_torch, one_thread
from .edges import likings, llm_facts, query_folds
from .records import Past, Space
from .utility import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

    from .graph_router_network import Graph, States

RATE = 3e-3
DECAYS = (1e-2, 1.0)
STEPS, DEFAULT_STEPS, EVERY, PATIENCE = 600, 200, 20, 8
HIDDEN_SHARE = 0.2


class GraphRouter:
    """Message passing over tasks, queries and LLMs. Settings: weight decay."""

    extra = "gnn"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Train once a weight decay; keep what validates best.

        Raises:
            BenchError: nothing is told, or torch is not installed.
        """
        torch = import_torch()
        from .graph_router_network import Network

        train, _ = past_and_scale(history)
        self.tasks = len(history.task_ids)
        self.scale = likings(train)[1]
        self.space = Space.of(train)
        self.facts = llm_facts(history.llms, train.llm_ids.tolist())
        past = train if history.validation is None else train + Past.of(history.validation)
        validated = len(past.tasks) > len(train.tasks)
        tried = []
        # The process's own generator stays as it is: two fits do not disturb each other.
        with torch.random.fork_rng(devices=[]), one_thread():
            for decay in DECAYS if validated else DECAYS[:1]:
                torch.manual_seed(self.seed)
                contents = train.content.shape[-1]
                self.network = Network(contents, train.embeddings.shape[1], self.facts.shape[1])
                tried.append((self._train(train, past, decay), self.network))
        best = max(range(len(tried)), key=lambda i: tried[i][0])
        self.validated, self.network = tried[best]
        self.setting = DECAYS[best]
        self._settle(past)

    def adapt(self, support: History) -> None:
        """Meet new LLMs: the few responses to past queries are their edges, weights stay."""
        past = self.past + Past.of(support)
        # What is known beforehand of a few LLMs says nothing of others: new ones start blank.
        new = len(past.llm_ids) - len(self.facts)
        self.facts = np.pad(self.facts, ((0, new), (0, 0)))
        self._settle(past)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        scores = self.scores(np.asarray([-1]), requests.embeddings, requests.task_of_query)
        return best_candidate(self, scores[0], requests.candidates)[requests.query_index]

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M], the same for all users."""
        torch = import_torch()
        where = torch.as_tensor(task_places(tasks, self.tasks))
        with torch.no_grad(), one_thread():
            found: Floats = self.network.scores(self.states, where, floats(embeddings)).numpy()
        return np.broadcast_to(found, (len(users), *found.shape))

    def _train(self, train: Past, past: Past, decay: float) -> float:
        """Descend on folds of hidden queries; `past` is training and validation."""
        Q, network = len(train.tasks), self.network
        every = np.arange(Q)
        folds = [
            (self._graph(train.of_queries(np.setdiff1d(every, hidden))), self._asked(train, hidden))
            for hidden in query_folds(Q, HIDDEN_SHARE, self.seed)
        ]
        rng = np.random.default_rng(self.seed)

        def lost(graph: Graph, asked: Asked) -> Tensor:
            logits = network.scores(network(graph), asked.tasks, asked.embeddings)
            return asked.loss(logits[None], linear=True)

        def loss() -> Tensor:
            network.train()
            return lost(*folds[rng.integers(len(folds))])

        score = None
        if len(past.tasks) > Q:
            check = self._graph(train), self._asked(past, np.arange(Q, len(past.tasks)))

            def score() -> float:
                network.eval()
                return -float(lost(*check))

        best = descend(
            list(network.parameters()),
            loss,
            steps=STEPS if score is not None else DEFAULT_STEPS,
            rate=RATE,
            decay=decay,
            score=score,
            every=EVERY,
            patience=PATIENCE,
        )
        network.eval()
        return best

    def _asked(self, past: Past, rows: Ints) -> Asked:
        """Ask for the mean over users of values above the mean of what each was told."""
        some = past.of_queries(rows)
        told = np.isfinite(some.values)
        values = np.where(told, some.values, 0)
        level = values.sum(axis=-1, keepdims=True) / np.maximum(told.sum(axis=-1, keepdims=True), 1)
        total = np.where(told, values - level, 0).sum(axis=0, keepdims=True)
        count = told.sum(axis=0, keepdims=True)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return Asked.of(replace(some, values=mean), slice(None), self.tasks, self.scale)

    def _graph(self, past: Past) -> Graph:
        """Return the graph of a past, and of nothing else."""
        torch = import_torch()
        from .graph_router_network import Graph

        liking, count = likings(past, self.scale)[0], past.seen.sum(axis=0)
        value = liking.sum(axis=0) / np.maximum(count, 1)
        features = [self.space.content(past), value[..., None], ~past.ok[..., None]]
        known = np.isfinite(past.content[..., :2]).all(-1) | ~past.ok
        return Graph(
            edges=floats(np.concatenate(features, axis=-1)),
            there=torch.as_tensor(known),
            embeddings=floats(past.embeddings),
            tasks=torch.as_tensor(task_places(past.tasks, self.tasks)),
            facts=floats(self.facts),
            task_count=self.tasks,
        )

    def _settle(self, past: Past) -> None:
        """Compute the states that routing uses, of all that is known."""
        torch = import_torch()
        self.past, self.user_ids, self.llm_ids = past, past.user_ids, past.llm_ids
        self.order = cheapest_first(past)
        with torch.no_grad(), one_thread():
            self.states: States = self.network(self._graph(past))
