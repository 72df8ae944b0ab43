"""`personalized`: the reference, a graph network and a utility head (after arXiv 2511.16883).

The graph has user, task, query and LLM nodes. Users reach LLMs and tasks through what they told of
past queries; the edges carry how much a response was liked, its performance, its cost and, where
there are ratings, its manner. Two rounds of messages (means, never sums: sums shift with the number
of edges) give states; user, task and query state together give h_uqt, whose dot product with the
state of an LLM is its score (the paper's equations 4 to 8). Unlike the published code:

- A user's state comes from that user's edges and nothing else, no one-hot id. So it differs between
  users, and a new user with k interactions gets one with frozen weights; a new LLM likewise, from
  its description, prices and a few responses.
- Masked link prediction hides *all* edges of the queries asked about, everybody's, as for a query
  that nobody has asked before. The utility head is told as little.
- The weights of the epoch with the least validation loss are those that are tested; in routing,
  the validation interactions are edges like the others.

To the graph's score is added that of the utility head (router/explicit_utility.py), which knows how
preferences work and so needs few interactions; the graph learns what it misses. How much of the
graph is used (all, half, none) is selected on validation. The network sees at most
`TRAINING_USERS` users' targets, since states are inductive; all users' edges count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.protocol import History, Requests

from .answering import answers
from .edges import Edges, likings, llm_facts, query_folds, sum_edges
from .explicit_utility import ExplicitUtility, chosen_value, expected, trusted
from .records import Past
from .utility import Doubles, Floats, Ints, completed, infer

if TYPE_CHECKING:
    from .graph import Graph

Head = Literal["joined", "graph"]
SHARES = (1.0, 0.5, 0.0)
TRAINING_USERS = 512
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-1
# A chance to win below this is as good as none; keeps the logarithm finite.
LEAST_CHANCE = 0.02
# Users scored at a time, as (user, query) pairs.
BLOCK_PAIRS = 60_000


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries to answer, and the edges that may be used for it."""

    edges: Edges
    embeddings: Floats
    tasks: Ints
    head: Floats
    """[U, n, M]"""
    values: Floats
    """[U, n, M] likings, NaN where not told."""


class Personalized:
    """Graph network and utility head.

    Args:
        seed: of the weights, the folds and the draws.
        device: a torch device, ``cpu`` or ``cuda``.
        head: ``joined``, or ``graph`` alone.
        width: of states.
        layers: rounds of messages.
        edge_features: whether messages carry the content of responses.
        user_state: whether users' edges reach the score (the ablation's user-blind variant).
        mask_share: of the training queries, hidden at a time.
        epochs: at most.
        patience: epochs without a better validation loss.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        device: str = "cpu",
        head: Head = "joined",
        width: int = 32,
        layers: int = 2,
        edge_features: bool = True,
        user_state: bool = True,
        mask_share: float = 0.2,
        epochs: int = 80,
        patience: int = 12,
    ) -> None:
        if not 0 < mask_share <= 0.5:
            raise UsageError(f"mask_share is {mask_share}; give a number above 0, at most 0.5")
        self.seed, self.device, self.head = seed, device, head
        self.mask_share, self.epochs, self.patience = mask_share, epochs, patience
        self.settings: dict[str, Any] = {
            "width": width,
            "layers": layers,
            "edge_features": edge_features,
            "user_state": user_state,
            "offset": head == "joined",
        }

    def fit(self, history: History) -> None:
        """Fit the utility head, train the network, keep the epoch that validates best."""
        torch = import_torch()
        from .graph import Network, Shape

        self.utility = ExplicitUtility(self.seed)
        self.utility.fit(history)
        self.tasks = len(history.task_ids)
        self.llms = llm_facts(history.llms, self.utility.llm_ids.tolist())
        train = Past.of(history)
        self.scale = likings(train)[1]
        self.head_scale = float(self._head_of(self.utility.verdicts).std()) or 1.0
        content = self.utility.space.content(train)
        self.shape = Shape(
            contents=content.shape[-1],
            embedding=train.embeddings.shape[1],
            llm_facts=self.llms.shape[1],
            **self.settings,
        )
        some = slice(None, None, -(-len(train.user_ids) // TRAINING_USERS))
        folds = query_folds(len(train.tasks), self.mask_share, self.seed)
        asked = [self._asked(train, fold, some) for fold in folds]
        checked = None
        if history.validation is not None:
            both = train + Past.of(history.validation)
            new = np.arange(len(train.tasks), len(both.tasks))
            checked = self._asked(both, new, some)
        # The process's own generator stays as it is: two fits do not disturb each other.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = Network(self.shape).to(self.device)
            self._train(asked, checked)
        self.share = 1.0
        if checked is not None and self.head == "joined":
            self.share = self._select_share(checked)
        self._settle(self.utility.past)

    def adapt(self, support: History) -> None:
        """Meet new users or LLMs: their interactions become edges, the weights stay as they are."""
        self.utility.adapt(support)
        known = llm_facts(support.llms, self.utility.llm_ids.tolist())
        known[: len(self.llms)] = self.llms
        self.llms = known
        self._settle(self.utility.past)

    def _settle(self, past: Past) -> None:
        """Sum up the edges that routing uses: all that is known."""
        from .graph import Graph

        self.user_ids, self.llm_ids = past.user_ids, past.llm_ids
        self.order = self.utility.order
        liking = likings(past, self.scale)[0]
        self.edges = sum_edges(past, liking, self.utility.space.content(past), self.tasks)
        self.graph: Graph = Graph.of(self.edges, self.llms, self.device)

    def _asked(self, past: Past, hidden: Ints, some: slice) -> Asked:
        """Hide queries, and what the utility head would say of them without having seen them."""
        kept = np.setdiff1d(np.arange(len(past.tasks)), hidden)
        rest, new = past.of_queries(kept), past.of_queries(hidden)
        space, utility = self.utility.space, self.utility
        liking = likings(rest, self.scale)[0]
        edges = sum_edges(rest, liking, space.content(rest), self.tasks)
        values = likings(new, self.scale)[0][some]
        values = np.where(new.seen[some], values, np.float32(np.nan))
        head = np.zeros(values.shape, np.float32)
        if self.shape.offset:
            mine = replace(rest, values=rest.values[some], user_ids=rest.user_ids[some])
            evidence = space.evidence(mine, linear=utility.linear)
            tastes = infer(evidence, utility.tastes, start=utility.tastes.mean[some])
            table = completed(tastes, evidence.features, mine.ok, linear=utility.linear)
            table = trusted(table, mine, utility.trust, utility.linear)
            matrix = utility.smoother.matrix(new.embeddings, new.tasks, rest.embeddings, rest.tasks)
            head = self._head_of(expected(table, matrix)) / np.float32(self.head_scale)
        chosen = Edges(
            edges.liking[some],
            edges.told[some],
            edges.liked[some],
            edges.content,
            edges.answered,
            edges.centroid,
        )
        return Asked(chosen, new.embeddings, new.tasks, head, values)

    def _head_of(self, scores: Floats) -> Floats:
        """Return the utility head's scores as logits, centred over the LLMs."""
        if not self.utility.linear:
            scores = np.log(np.maximum(scores, 0) + np.float32(LEAST_CHANCE))
        centred: Floats = scores - scores.mean(axis=-1, keepdims=True)
        return centred

    def _train(self, asked: list[Asked], checked: Asked | None) -> None:
        """Train on folds in turn; keep the weights of the best epoch (the last, unchecked)."""
        torch = import_torch()
        from .graph import Graph

        batches = [self._batch(a, Graph.of(a.edges, self.llms, self.device)) for a in asked]
        check = None
        if checked is not None:
            check = self._batch(checked, Graph.of(checked.edges, self.llms, self.device))
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        order = np.random.default_rng(self.seed)
        self.losses: list[float] = []
        best, state = np.inf, None
        self.best_epoch = -1
        for epoch in range(self.epochs):
            self.network.train()
            for k in order.permutation(len(batches)):
                optimiser.zero_grad()
                loss = self._loss(batches[k])
                if not loss.requires_grad:  # nobody has told anything of these queries
                    continue
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
            self.network.eval()
            if check is None:
                continue
            with torch.no_grad():
                self.losses.append(float(self._loss(check)))
            if self.losses[-1] < best:
                best, self.best_epoch = self.losses[-1], epoch
                state = {k: v.clone() for k, v in self.network.state_dict().items()}
            if epoch - self.best_epoch >= self.patience:
                break
        if state is not None:
            self.network.load_state_dict(state)

    def _batch(self, asked: Asked, graph: Graph) -> tuple[Any, ...]:
        torch = import_torch()
        values = torch.as_tensor(asked.values, device=self.device)
        return graph, *self._query_tensors(asked.embeddings, asked.tasks), asked.head, values

    def _query_tensors(self, embeddings: Floats, tasks: Ints) -> tuple[Any, Any]:
        """Return [n] tasks, T where unknown, and [n, D] embeddings on the device."""
        torch = import_torch()
        place = np.where((tasks >= 0) & (tasks < self.tasks), tasks, self.tasks)
        return (
            torch.as_tensor(place, device=self.device),
            torch.tensor(embeddings, dtype=torch.float32, device=self.device),
        )

    def _loss(self, batch: tuple[Any, ...]) -> Any:
        """Choices: cross-entropy with the (tied) choice. Rewards: minus the expected reward."""
        torch = import_torch()
        graph, tasks, embeddings, head, values = batch
        logits = self.network(graph, tasks, embeddings, torch.as_tensor(head, device=self.device))
        seen = torch.isfinite(values)
        rows = seen.any(-1)
        if not bool(rows.any()):
            return torch.zeros(())
        logits = logits[rows].masked_fill(~seen[rows], -1e9)
        values = torch.nan_to_num(values[rows])
        if self.utility.linear:
            return -(torch.softmax(logits, -1) * values).sum(-1).mean()
        best = (values >= values.max(-1, keepdim=True).values - 1e-6) & seen[rows]
        target = best / best.sum(-1, keepdim=True)
        return -(target * torch.log_softmax(logits, -1)).sum(-1).mean()

    def _select_share(self, checked: Asked) -> float:
        """Return the share of the graph whose choices do best on validation; the most of tied."""
        torch = import_torch()
        from .graph import Graph

        batch = self._batch(checked, Graph.of(checked.edges, self.llms, self.device))
        with torch.no_grad():
            joined = self.network(*batch[:3], torch.as_tensor(checked.head, device=self.device))
        trust = self.network.trust.item()
        graph = joined.cpu().numpy() - trust * checked.head
        seen = np.isfinite(checked.values)
        if not seen.any():
            return 1.0
        found = [
            float(np.nanmean(chosen_value(s * graph + trust * checked.head, checked.values, seen)))
            for s in SHARES
        ]
        return SHARES[int(np.argmax(found))]

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M] logits of users (rows of `user_ids`, -1 unknown)."""
        torch = import_torch()
        where = self._query_tensors(embeddings, tasks)
        head = np.zeros((len(users), len(tasks), len(self.llm_ids)), np.float32)
        if self.shape.offset:
            raw = self.utility.scores(users, embeddings, tasks)
            head = self._head_of(raw) / np.float32(self.head_scale)
            if self.share == 0:
                return head
        result = np.empty_like(head)
        step = max(1, BLOCK_PAIRS // max(1, len(tasks)))
        trust = self.network.trust.item() if self.shape.offset else 0.0
        with torch.no_grad():
            for start in range(0, len(users), step):
                rows = slice(start, start + step)
                nothing = torch.zeros(head[rows].shape, device=self.device)
                logits = self.network(self.graph.users(users[rows]), *where, nothing)
                result[rows] = self.share * logits.cpu().numpy() + trust * head[rows]
        return result

    def expectations(self, embeddings: Floats, tasks: Ints) -> dict[str, Doubles]:
        """Return [n, M] expected performance, normalised cost, and cost in USD, of new queries."""
        return self.utility.expectations(embeddings, tasks)

    def reason(self, user: int) -> dict[str, float]:
        """Return the weights of a user (a row, -1 unknown) on content, as the head infers them."""
        return self.utility.reason(user)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a checkpoint holds: the network, the head and the past."""
        meta, arrays = self.utility.state()
        held = {f"utility.{name}": array for name, array in arrays.items()}
        for name, tensor in self.network.state_dict().items():
            held[f"network.{name}"] = tensor.cpu().numpy()
        held["llms"] = self.llms
        mine = {
            "utility": meta,
            "shape": asdict(self.shape),
            "tasks": self.tasks,
            "scale": self.scale,
            "head_scale": self.head_scale,
            "share": self.share,
            "best_epoch": self.best_epoch,
        }
        return mine, held

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], device: str = "cpu"
    ) -> Personalized:
        """Return the router of a checkpoint; ValueError or KeyError where it does not fit."""
        torch = import_torch()
        from .graph import Network, Shape

        shape = Shape(**meta["shape"])
        if not (1 <= shape.width <= 4096 and 0 <= shape.layers <= 64):
            raise ValueError(f"a network of width {shape.width} and {shape.layers} layers")
        router = cls(int(meta["utility"]["seed"]), device=device)
        parts = _split(arrays, "utility.")
        router.utility = ExplicitUtility.from_state(meta["utility"], parts)
        past = router.utility.past
        router.shape, router.tasks = shape, int(meta["tasks"])
        router.scale, router.head_scale = float(meta["scale"]), float(meta["head_scale"])
        router.share, router.best_epoch = float(meta["share"]), int(meta["best_epoch"])
        router.llms = arrays["llms"]
        if router.llms.shape != (len(past.llm_ids), shape.llm_facts):
            raise ValueError(f"facts of LLMs are {router.llms.shape}")
        if (past.content.shape[-1], past.embeddings.shape[1]) != (shape.contents, shape.embedding):
            raise ValueError("the network's shape is not that of the past")
        weights = _split(arrays, "network.")
        router.network = Network(shape).to(device)
        router.network.eval()
        router.network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        router._settle(past)
        return router

    def route(self, requests: Requests) -> Any:
        """Return [n] indices."""
        return answers(self, requests)


class PersonalizedGraph(Personalized):
    """The graph network alone, without the utility head (`personalized-graph`)."""

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        super().__init__(seed, **{"head": "graph", **settings})


def _split(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def import_torch() -> Any:
    """Return torch.

    Raises:
        BenchError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BenchError(
            "the router 'personalized' needs torch; install it with: "
            "pip install 'personaroute-bench[gnn]'"
        ) from error
    return torch
