"""`copl`: collaborative filtering over likes and dislikes (after CoPL, arXiv 2503.01658).

Users and items form a bipartite graph with two kinds of edges, liked and disliked. An item is an
LLM at one kind of query: (cluster of queries, LLM). A layer of message passing, for users and with
users and items exchanged for items:

    E' = φ(E W + [Z⁺ + (Z⁺ ⊙ E) W⁺] − [Z⁻ + (Z⁻ ⊙ E) W⁻]),    Z± = A± E_of_the_other_side

A±[u, i] is how much u liked (disliked) i, over √(d_u d_i), d being the sums of their edges. Scores
are products of user vectors, of unit length, with item vectors; they are trained on which of two
responses to the same query a user preferred (Bayesian personalised ranking).

What differs from the paper, whose items are responses and whose users choose between two:
- A query that nobody has asked before belongs, softly, to the clusters that it is near to.
- Edges and preferences weigh by how much more a response was liked, so that rewards count.
- The queries asked about are hidden from the graph (router/asked.py), the paper's are in it.
- A new LLM is the mean of the known ones, moved by the few preferences about it.
- The layers are 2 of width 64, not 4 of 512.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .answering import answers, cheapest_first
from .asked import Asked, floats, past_and_scale, task_places
from .descent import Draws, descend, import_torch, one_thread, ranking_loss
from .edges import likings, query_folds
from .records import Past
from .utility import Doubles, Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

CLUSTERS = 8
# Clusters part tasks before they part the queries of a task; near ones share a query.
SOFTNESS = 0.1
WIDTH, LAYERS = 64, 2
RATE, DECAY = 3e-3, 1e-2
NEWCOMER_STEPS, NEWCOMER_RATE, SHRINK = 100, 5e-2, 1e-3
STEPS, DEFAULT_STEPS, EVERY, PATIENCE = 600, 200, 20, 6
HIDDEN_SHARE = 0.2
DROPPED_EDGES = 0.1
# Users asked about in a step, and users on whom validation is checked.
USERS, CHECKED = 128, 256
# The paper's temperature for how much a new user resembles known ones.
RESEMBLANCE = 0.07
# Degrees count so much more, so that a lone edge is not everything.
NEUTRAL = 1.0
BLOCK_USERS = 64


@dataclass(frozen=True, eq=False)
class Clusters:
    """K kinds of queries, by task and embedding."""

    centres: Doubles
    """[K, T + D]"""
    tasks: int

    @classmethod
    def of(cls, past: Past, tasks: int, count: int, seed: int) -> Clusters:
        """Part the queries of a past by k-means."""
        from sklearn.cluster import KMeans

        places = _places(past.embeddings, past.tasks, tasks)
        count = min(count, len(np.unique(places, axis=0)))
        return cls(KMeans(count, n_init=3, random_state=seed).fit(places).cluster_centers_, tasks)

    def shares(self, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [n, K] how much queries belong to the clusters; rows sum to 1."""
        places = _places(embeddings, tasks, self.tasks)
        far = (places**2).sum(1)[:, None] - 2 * places @ self.centres.T + (self.centres**2).sum(1)
        near = np.exp((far.min(axis=1, keepdims=True) - far) / SOFTNESS)
        shares: Floats = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


@dataclass(frozen=True, eq=False)
class Signed:
    """The graph's two adjacencies, normalised."""

    liked: Tensor
    """[U, K·M]"""
    disliked: Tensor
    """[U, K·M]"""

    @classmethod
    def of(cls, past: Past, shares: Floats, scale: float) -> Signed:
        """Sum up what users told: [U, Q, M] likings by [Q, K] clusters."""
        liking = likings(past, scale)[0]
        return cls(*(_adjacency(np.maximum(sign * liking, 0), shares) for sign in (1, -1)))

    def thinned(self, draws: Draws) -> Signed:
        """Leave out some edges, in training."""

        def thin(edges: Tensor) -> Tensor:
            kept: Tensor = draws.torch.rand(edges.shape, generator=draws.generator) >= DROPPED_EDGES
            return edges * kept

        return Signed(thin(self.liked), thin(self.disliked))


class Copl:
    """Signed graph filtering of users × (cluster, LLM).

    Unknown users are the mean of all known ones.

    Args:
        seed: of the vectors, the clusters, the folds and the draws.
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
        import_torch()
        train, _ = past_and_scale(history)
        self.tasks = len(history.task_ids)
        self.scale = likings(train)[1]
        past = train if history.validation is None else train + Past.of(history.validation)
        self.clusters = Clusters.of(train, self.tasks, CLUSTERS, self.seed)
        self._train(train, past)
        self.known, self.fitted_llms = len(train.user_ids), len(past.llm_ids)
        self._settle(past)

    def adapt(self, support: History) -> None:
        """Meet new users as the mean of those who are like them, and new LLMs; weights stay."""
        self._settle(self.past + Past.of(support))

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return answers(self, requests)

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M] of users (rows of `user_ids`, -1 unknown)."""
        found: Floats = np.matmul(self.clusters.shares(embeddings, tasks)[None], self.table[users])
        return found

    def _train(self, train: Past, past: Past) -> None:
        """Descend on folds of hidden queries drawn in turn; `past` is training and validation."""
        torch = import_torch()
        draws, rng = Draws(self.seed), np.random.default_rng(self.seed)
        clusters = self.clusters
        U, Q, M = train.values.shape
        K, d = len(clusters.centres), WIDTH
        weights = {
            "user": draws.normal(U, d, scale=0.1),
            "item": draws.normal(K, M, d, scale=0.1),
            "self": draws.normal(LAYERS, d, d, scale=1 / np.sqrt(d)),
            "liked": draws.normal(LAYERS, d, d, scale=1 / np.sqrt(d)),
            "disliked": draws.normal(LAYERS, d, d, scale=1 / np.sqrt(d)),
        }

        def lesson(visible: Past, hidden: Past) -> tuple[Signed, Tensor, Asked]:
            edges = Signed.of(
                visible, clusters.shares(visible.embeddings, visible.tasks), self.scale
            )
            asked = Asked.of(hidden, slice(None), self.tasks, None)
            return edges, floats(clusters.shares(hidden.embeddings, hidden.tasks)), asked

        every = np.arange(Q)
        folds = [
            lesson(train.of_queries(np.setdiff1d(every, hidden)), train.of_queries(hidden))
            for hidden in query_folds(Q, HIDDEN_SHARE, self.seed)
        ]

        def loss() -> Tensor:
            edges, shares, asked = folds[rng.integers(len(folds))]
            users, items = propagate(weights, edges.thinned(draws))
            some = torch.as_tensor(rng.permutation(U)[:USERS])
            return _lost(shares @ rate(users[some], items), asked.some(some, slice(None)))

        score = None
        if len(past.tasks) > Q:
            some = slice(0, U, -(-U // CHECKED))
            edges, shares, asked = lesson(train, past.of_queries(np.arange(Q, len(past.tasks))))
            asked = asked.some(some, slice(None))

            def score() -> float:
                users, items = propagate(weights, edges)
                return -float(_lost(shares @ rate(users[some], items), asked))

        steps = STEPS if score is not None else DEFAULT_STEPS
        self.validated = descend(
            list(weights.values()),
            loss,
            steps=steps,
            rate=RATE,
            decay=DECAY,
            score=score,
            every=EVERY,
            patience=PATIENCE,
        )
        self.weights = {name: value.detach() for name, value in weights.items()}

    def _settle(self, past: Past) -> None:
        """Rate all items for all users; the last row of the table is for those without a past."""
        torch = import_torch()
        self.past, self.user_ids, self.llm_ids = past, past.user_ids, past.llm_ids
        self.order = cheapest_first(past)
        shares = self.clusters.shares(past.embeddings, past.tasks)
        fitted = replace(
            past,
            user_ids=past.user_ids[: self.known],
            llm_ids=past.llm_ids[: self.fitted_llms],
            values=past.values[: self.known, :, : self.fitted_llms],
            ok=past.ok[:, : self.fitted_llms],
        )
        with torch.no_grad(), one_thread():
            users, items = propagate(self.weights, Signed.of(fitted, shares, self.scale))
            strange = past.values[self.known :, :, : self.fitted_llms]
            alike = self._resemblance(strange, rate(users, items), floats(shares))
            everybody = users.mean(0, keepdim=True)
            users = torch.cat([users, alike @ users])
        items = torch.cat([items, self._newcomers(past, users, items, floats(shares))], 1)
        self.table: Floats = rate(torch.cat([users, everybody]), items).numpy()

    def _newcomers(self, past: Past, users: Tensor, items: Tensor, shares: Tensor) -> Tensor:
        """Return [K, m, d] item vectors of new LLMs: the mean LLM's, moved by what users told.

        One step aside for all clusters, since the interactions are few; all else is frozen.
        """
        torch = import_torch()
        usual: Tensor = items.mean(1, keepdim=True)
        aside: Tensor = torch.zeros(past.ok.shape[1] - self.fitted_llms, items.shape[-1])
        told = np.asarray(np.isfinite(past.values[..., self.fitted_llms :]).any(axis=-1))
        rows, queries = (np.flatnonzero(told.any(axis=axis)) for axis in (1, 0))
        new: Tensor = usual + aside
        if not len(rows):
            return new
        values = np.where(told[..., None], past.values, np.float32(np.nan))[rows]
        some = replace(past, user_ids=past.user_ids[rows], values=values).of_queries(queries)
        asked = Asked.of(some, slice(None), self.tasks, None)
        mine, share = users[rows], shares[queries]
        aside.requires_grad_()

        def loss() -> Tensor:
            scores = share @ rate(mine, torch.cat([items, usual + aside], 1))
            lost: Tensor = _lost(scores, asked) + SHRINK * aside.square().sum()
            return lost

        descend([aside], loss, steps=NEWCOMER_STEPS, rate=NEWCOMER_RATE)
        moved: Tensor = usual + aside.detach()
        return moved

    def _resemblance(self, strange: Floats, ratings: Tensor, shares: Tensor) -> Tensor:
        """Return [new, known] how much new users resemble known ones; rows sum to 1.

        By how likely the known user would have made the new one's choices: the softmax of the mean
        log σ(difference of scores) over the new user's preferences.

        Args:
            strange: [new, Q, M] what new users told; NaN where they did not.
            ratings: [known, K, M].
            shares: [Q, K].
        """
        torch = import_torch()
        result: Tensor = torch.full((len(strange), self.known), 1 / self.known)
        rows = np.flatnonzero(np.isfinite(strange).any(axis=(0, 2)))
        if not len(strange) or not len(rows):
            return result
        better = preferences(floats(strange[:, rows])).flatten(1)
        total = better.sum(1, keepdim=True)
        likely = torch.empty(len(strange), self.known)
        for start in range(0, self.known, BLOCK_USERS):
            block = slice(start, start + BLOCK_USERS)
            scores = shares[rows] @ ratings[block]
            logs = torch.nn.functional.logsigmoid(scores[..., :, None] - scores[..., None, :])
            likely[:, block] = better @ logs.flatten(1).T
        alike: Tensor = torch.softmax(likely / total.clamp(min=1e-9) / RESEMBLANCE, -1)
        return alike


def propagate(weights: dict[str, Tensor], edges: Signed) -> tuple[Tensor, Tensor]:
    """Return vectors of users [U, d], of unit length, and of items [K, M, d]."""
    torch = import_torch()
    users, items = weights["user"], weights["item"].flatten(0, 1)

    def layer(i: int, mine: Tensor, others: Tensor, liked: Tensor, disliked: Tensor) -> Tensor:
        up, down = liked @ others, disliked @ others
        likes = up + (up * mine) @ weights["liked"][i]
        dislikes = down + (down * mine) @ weights["disliked"][i]
        out: Tensor = torch.nn.functional.leaky_relu(
            mine @ weights["self"][i] + likes - dislikes, 0.2
        )
        return out

    for i in range(len(weights["self"])):
        users, items = (
            layer(i, users, items, edges.liked, edges.disliked),
            layer(i, items, users, edges.liked.T, edges.disliked.T),
        )
    users = torch.nn.functional.normalize(users, dim=1)
    return users, items.reshape(weights["item"].shape)


def rate(users: Tensor, items: Tensor) -> Tensor:
    """Return [U, K, M] the products of users [U, d] with items [K, M, d]."""
    ratings: Tensor = users @ items.flatten(0, 1).T
    return ratings.reshape(len(users), *items.shape[:2])


def preferences(values: Tensor) -> Tensor:
    """Return [..., M, M] by how much the first was worth more than the second; zeros elsewhere."""
    gap = values[..., :, None] - values[..., None, :]
    return gap.nan_to_num(0.0).clamp(min=0)


def _lost(scores: Tensor, asked: Asked) -> Tensor:
    """Return the ranking loss of scores [U, n, M]."""
    return ranking_loss(scores, asked.target.masked_fill(~asked.told, np.nan), 1e-9)


def _adjacency(sums: Floats, shares: Floats) -> Tensor:
    """Return [U, K·M] from likings or dislikings [U, Q, M]."""
    edges = np.matmul(shares.T[None], sums).reshape(len(sums), -1)
    mine, theirs = (edges.sum(axis=axis, keepdims=True) + NEUTRAL for axis in (1, 0))
    return floats(edges / np.sqrt(mine * theirs))


def _places(embeddings: Floats, tasks: Ints, count: int) -> Doubles:
    """Return [n, T + D] indicators of tasks (none where unknown) and embeddings."""
    indicator = np.eye(count + 1)[task_places(tasks, count), :count]
    return np.concatenate([indicator, embeddings.astype(np.float64)], axis=1)
