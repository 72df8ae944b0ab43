"""`gmt-router`: a graph transformer in which users are what they told (after arXiv 2511.08590).

GMTRouter joins users, their sessions, queries, LLMs and responses in a heterogeneous graph, which a
transformer (HGT) with keys and values of their own for each type of edge turns into states. Users
have no id of their own: they start alike and become what their records say, so a new user's state
comes with frozen weights. The head is cross-attention: each LLM attends to the user, the session
and the query, and an MLP scores what it has found.

A session is here what a user told within one task. Records carry how much a response was liked
(above the query's mean), under `full` feedback as under `choice` and `pairwise`. All edges of the
queries asked about are hidden in training (router/asked.py), and so are, for half of the users of a
step, any share of their records. Where users choose the loss is the cross-entropy with the choice,
else the squared error of the reward above the query's mean.

What differs from the paper: dimension 32, not 768, and two heads, not four; users show all of their
records, not 10, since here that costs no time; the head has a product of states beside the MLP;
noise on embeddings keeps the few hundred queries from being memorised; the weights that are tested
are those with the least validation loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .answering import answers, cheapest_first
from .asked import Asked, floats, past_and_scale, task_places
from .descent import descend, import_torch, one_thread
from .edges import likings, llm_facts, query_folds
from .records import Past, Space
from .utility import Bools, Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

    from .gmt_network import Graph, Nodes

RATE, DECAY = 3e-3, 1e-2
STEPS, DEFAULT_STEPS, EVERY, PATIENCE = 400, 200, 20, 8
HIDDEN_SHARE = 0.2
# Users and queries asked about in a step, and users on whom validation is checked.
USERS, TARGETS, CHECKED = 32, 64, 128
# Users whose states are computed at a time, and (user, query) pairs scored at a time.
BLOCK_USERS, BLOCK_PAIRS = 128, 2048


@dataclass(frozen=True, eq=False)
class Visible:
    """A graph, and users' edges in it."""

    graph: Graph
    liking: Tensor
    """[U, Q, M]"""
    seen: Tensor
    """[U, Q, M]"""

    def of(self, users: Any) -> Visible:
        """Return the same with some users."""
        return Visible(self.graph, self.liking[users], self.seen[users])

    def fewer(self) -> Visible:
        """Drop records in training: half of the users keep all, the others any share of theirs."""
        torch = import_torch()
        U, Q = self.seen.shape[:2]
        share = (2 * torch.rand(U, 1, 1)).clamp(max=1)
        seen = self.seen & (torch.rand(U, Q, 1) < share)
        return Visible(self.graph, self.liking * seen, seen)


class GmtRouter:
    """Heterogeneous graph transformer over users' records.

    Unknown users have no records, as if they had told nothing yet. Of a new LLM the responses to
    past queries tell; what is known of it beforehand does not, since a few LLMs teach nothing of
    others by their descriptions.

    Args:
        seed: of the weights, the folds and the draws.
    """

    personal = True
    extra = "gnn"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Train on hidden queries; keep the step with the least validation loss.

        Raises:
            BenchError: nothing is told, or torch is not installed.
        """
        torch = import_torch()
        from .gmt_network import Network, Shape

        train, self.reward_scale = past_and_scale(history)
        self.tasks = len(history.task_ids)
        self.scale = likings(train)[1]
        self.space = Space.of(train)
        self.facts = llm_facts(history.llms, train.llm_ids.tolist())
        past = train if history.validation is None else train + Past.of(history.validation)
        # The process's own generator stays as it is: two fits do not disturb each other.
        with torch.random.fork_rng(devices=[]), one_thread():
            torch.manual_seed(self.seed)
            shape = Shape(
                contents=train.content.shape[-1],
                embedding=train.embeddings.shape[1],
                facts=self.facts.shape[1],
            )
            self.network = Network(shape)
            self._train(train, past)
        self._settle(past)

    def adapt(self, support: History) -> None:
        """Meet new users and LLMs: what they told and answered joins the graph, weights stay."""
        past = self.past + Past.of(support)
        # What is known beforehand of a few LLMs says nothing of others: new ones start blank.
        new = len(past.llm_ids) - len(self.facts)
        self.facts = np.pad(self.facts, ((0, new), (0, 0)))
        self._settle(past)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return answers(self, requests)

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M] of users (rows of `user_ids`, -1 unknown)."""
        torch = import_torch()
        where = torch.as_tensor(task_places(tasks, self.tasks))
        x = floats(embeddings)
        people = self.nodes.people[users]
        result = np.empty((len(users), len(tasks), len(self.llm_ids)), np.float32)
        step = max(1, BLOCK_PAIRS // max(1, len(tasks)))
        with torch.no_grad(), one_thread():
            for start in range(0, len(users), step):
                rows = slice(start, start + step)
                nodes = replace(self.nodes, people=people[rows])
                result[rows] = self.network.scores(nodes, where, x).numpy()
        return result

    def _train(self, train: Past, past: Past) -> None:
        """Descend on folds of hidden queries drawn in turn; `past` is training and validation."""
        torch = import_torch()
        Q, U, network = len(train.tasks), len(train.user_ids), self.network
        every = np.arange(Q)
        folds = [
            (self._visible(train, np.setdiff1d(every, hidden)), self._asked(train, hidden))
            for hidden in query_folds(Q, HIDDEN_SHARE, self.seed)
        ]
        rng = np.random.default_rng(self.seed)

        def loss() -> Tensor:
            network.train()
            visible, asked = folds[rng.integers(len(folds))]
            users = torch.as_tensor(rng.permutation(U)[:USERS])
            queries = torch.as_tensor(rng.permutation(len(asked.tasks))[:TARGETS])
            return self._loss(visible.of(users).fewer(), asked.some(users, queries))

        score = None
        if len(past.tasks) > Q:
            some = slice(0, U, -(-U // CHECKED))
            visible = self._visible(train, every).of(some)
            asked = self._asked(past, np.arange(Q, len(past.tasks))).some(some, slice(None))

            def score() -> float:
                network.eval()
                return -float(self._loss(visible, asked))

        steps = STEPS if score is not None else DEFAULT_STEPS
        self.validated = descend(
            list(network.parameters()),
            loss,
            steps=steps,
            rate=RATE,
            decay=DECAY,
            score=score,
            every=EVERY,
            patience=PATIENCE,
        )
        network.eval()

    def _loss(self, visible: Visible, asked: Asked) -> Tensor:
        nodes = self.network(visible.graph, visible.liking, visible.seen)
        logits = self.network.scores(nodes, asked.tasks, asked.embeddings)
        return asked.loss(logits, linear=self.reward_scale is not None)

    def _asked(self, past: Past, rows: Ints) -> Asked:
        return Asked.of(past, rows, self.tasks, self.reward_scale)

    def _visible(self, past: Past, rows: Ints) -> Visible:
        """Return the graph of some queries of a past, and of nothing else."""
        torch = import_torch()
        from .gmt_network import Graph

        task = task_places(past.tasks[rows], self.tasks)
        order = np.argsort(task, kind="stable")
        past, task = past.of_queries(rows[order]), task[order]
        liking, seen = likings(past, self.scale)[0], past.seen
        slots, filled = _slots(task, self.tasks)
        popular = liking.sum(axis=0) / (seen.sum(axis=0) + 1)
        graph = Graph(
            content=floats(np.concatenate([self.space.content(past), popular[..., None]], -1)),
            ok=torch.as_tensor(past.ok),
            embeddings=floats(past.embeddings),
            tasks=torch.as_tensor(task),
            slots=torch.as_tensor(slots),
            filled=torch.as_tensor(filled),
            facts=floats(self.facts),
        )
        return Visible(graph, floats(liking), torch.as_tensor(seen))

    def _settle(self, past: Past) -> None:
        """Compute the states that routing uses, of all that is known; the last user is nobody."""
        torch = import_torch()
        self.past, self.user_ids, self.llm_ids = past, past.user_ids, past.llm_ids
        self.order = cheapest_first(past)
        visible = self._visible(past, np.arange(len(past.tasks)))
        U, Q, M = visible.seen.shape
        people = []
        with torch.no_grad(), one_thread():
            for start in range(0, U, BLOCK_USERS):
                part = visible.of(slice(start, start + BLOCK_USERS))
                people.append(self.network(part.graph, part.liking, part.seen).people)
            nothing = torch.zeros(1, Q, M)
            nodes = self.network(visible.graph, nothing, nothing > 0)
        self.nodes: Nodes = replace(nodes, people=torch.cat([*people, nodes.people]))


def _slots(task: Ints, count: int) -> tuple[Ints, Bools]:
    """Return the places [T, W] of each task's queries, and which of these there are."""
    bounds = np.searchsorted(task, np.arange(count + 1))
    place = bounds[:-1, None] + np.arange(np.diff(bounds).max(initial=0))
    filled = place < bounds[1:, None]
    return np.where(filled, place, 0), filled
