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
- Few queries make a poor judge, so every past query validates once (router/crossfit.py): a network
  a fold, stopped at the epoch with the least loss over all left-out folds. These networks are what
  is tested, their logits averaged; in routing, all past interactions are edges.

To the graph's score is added that of the utility head (router/explicit_utility.py), which knows how
preferences work and so needs few interactions; the graph learns what it misses. How much of the
graph is used (none to all) is selected on the left-out folds too: the least that is within one
standard error of the best; none where tastes drift. Where choices alone are told it is judged by
the utilities that the head infers, which leans to the head. The networks see some of the users,
since states are inductive; all users' edges count in routing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.protocol import History, Requests

from .answering import answers
from .crossfit import FOLDS, Asked, ask, train
from .edges import likings, llm_facts, query_folds, sum_edges
from .explicit_utility import ExplicitUtility, chosen_value, expected, trusted
from .records import Past
from .utility import Doubles, Floats, Ints, completed, infer

if TYPE_CHECKING:
    from .graph import Graph, Network

Head = Literal["joined", "graph"]
# Of the graph beside the head, plainest first.
SHARES = (0.0, 0.25, 0.5, 1.0)
# Standard errors (over queries) within which a smaller share is as good as the best.
TOLERANCE = 1.0
# Networks train on as many users as have told of so many queries together, within these bounds.
TRAINING_PAIRS = 20_000
TRAINING_USERS = (192, 512)
# A chance to win below this is as good as none; keeps the logarithm finite.
LEAST_CHANCE = 0.02
# Users scored at a time, as (user, query) pairs.
BLOCK_PAIRS = 60_000
# That a checkpoint may hold.
MOST_NETWORKS = 64


class Personalized:
    """Graph network over users, tasks, queries and LLMs, with a utility head.

    Args:
        seed: of the weights, the folds and the draws.
        device: a torch device, ``cpu`` or ``cuda``.
        head: ``joined``, or ``graph`` alone.
        width: of states.
        layers: rounds of messages.
        edge_features: whether messages carry the content of responses.
        user_state: whether users' edges reach the score (the ablation's user-blind variant).
        mask_share: of the queries a network trains on, hidden and asked about at a time.
        epochs: at most.
        patience: epochs without a smaller loss on the left-out folds.
    """

    personal = True
    extra = "gnn"

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
        mask_share: float = 1 / 3,
        epochs: int = 80,
        patience: int = 4,
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
        """Fit the utility head, train the networks, keep the epoch that validates best."""
        torch = import_torch()
        from .graph import Network, Shape

        self.utility = ExplicitUtility(self.seed)
        self.utility.fit(history)
        past = self.utility.past
        self.fitted_llms = len(past.llm_ids)
        self.tasks = len(history.task_ids)
        self.llms = llm_facts(history.llms, self.utility.llm_ids.tolist())
        self.scale = likings(past)[1]
        self.head_scale = float(self._head_of(self.utility.verdicts).std()) or 1.0
        self.shape = Shape(
            contents=self.utility.space.content(past).shape[-1],
            embedding=past.embeddings.shape[1],
            llm_facts=self.llms.shape[1],
            **self.settings,
        )
        folds = query_folds(len(past.tasks), 1 / FOLDS, self.seed)
        # The process's own generator stays as it is: two fits do not disturb each other.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.networks: list[Network] = [Network(self.shape).to(self.device) for _ in folds[:1]]
            self.share = 0.0 if self.shape.offset else 1.0
            self.losses: list[float] = []
            self.best_epoch = 0
            # Where tastes drift, edges of the whole past tell of other times than what is to come;
            # the head knows better. A single query cannot validate anything.
            if len(folds) > 1 and not (self.shape.offset and self.utility.drifts):
                self.networks += [Network(self.shape).to(self.device) for _ in folds[1:]]
                self._cross_fit(past, folds)
        for network in self.networks:
            network.eval()
        self._settle(past)

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
        liking = self._with_newcomers(likings(past, self.scale)[0], past)
        self.edges = sum_edges(past, liking, self.utility.space.content(past), self.tasks)
        self.graph: Graph = Graph.of(self.edges, self.llms, self.device)

    def _with_newcomers(self, liking: Floats, past: Past) -> Floats:
        """Return likings in which users would have liked new LLMs as their head expects it.

        Few users have met a newcomer, and no edge would tell the network that nobody likes it.
        """
        if len(past.llm_ids) == self.fitted_llms:
            return liking
        seen, told = past.seen, self.utility.table[:-1]
        count = np.maximum(seen.sum(axis=-1, keepdims=True), 1)
        level = np.where(seen, told, 0).sum(axis=-1, keepdims=True) / count
        missing = seen.any(axis=-1, keepdims=True) & ~seen & past.ok
        missing[..., : self.fitted_llms] = False
        filled: Floats = np.where(missing, (told - level) / np.float32(self.scale), liking)
        return filled

    def _cross_fit(self, past: Past, folds: list[Ints]) -> None:
        """Train a network a fold on the other folds; select epoch and share on what is left out."""
        told = max(float(past.seen.any(axis=-1).sum(axis=1).mean()), 1.0)
        users = int(np.clip(TRAINING_PAIRS / told, *TRAINING_USERS))
        some = slice(None, None, -(-len(past.user_ids) // users))
        few = replace(past, values=past.values[some], user_ids=past.user_ids[some])
        head = np.zeros(few.values.shape, np.float32)
        if self.shape.offset:
            for held in folds:
                head[:, held] = self._left_out_head(few, held, self.utility.tastes.mean[some])
        batches, checks = [], []
        for held in folds:
            rest = np.setdiff1d(np.arange(len(past.tasks)), held)
            masks = query_folds(len(rest), self.mask_share, self.seed)
            batches.append([self._ask(few, head, rest[m], np.delete(rest, m)) for m in masks])
            checks.append(self._ask(few, head, held, rest))
        self.losses, self.best_epoch = train(
            self.networks,
            batches,
            checks,
            linear=self.utility.linear,
            epochs=self.epochs,
            patience=self.patience,
            seed=self.seed,
        )
        worths = [self._worth(few, held, self.utility.verdicts[some]) for held in folds]
        self.share = self._select_share(checks, worths) if self.shape.offset else 1.0

    def _ask(self, past: Past, head: Floats, asked: Ints, known: Ints) -> Asked:
        """Return queries to ask about, and a graph of what is told of the known ones only."""
        from .graph import Graph

        rest = past.of_queries(known)
        content = self.utility.space.content(rest)
        edges = sum_edges(rest, likings(rest, self.scale)[0], content, self.tasks)
        new = past.of_queries(asked)
        values = np.where(new.seen, likings(new, self.scale)[0], np.float32(np.nan))
        graph = Graph.of(edges, self.llms, self.device)
        return ask(graph, self._place(new.tasks), new.embeddings, head[:, asked], values)

    def _left_out_head(self, past: Past, hidden: Ints, start: Doubles) -> Floats:
        """Return what the utility head says of hidden queries [U, n, M] without having seen them.

        Args:
            past: of U users.
            hidden: [n] rows of queries.
            start: [U, F] weights near to the users', for speed.
        """
        utility, space = self.utility, self.utility.space
        mine, new = (
            past.of_queries(np.delete(np.arange(len(past.tasks)), hidden)),
            past.of_queries(hidden),
        )
        evidence = space.evidence(mine, linear=utility.linear)
        tastes = infer(evidence, utility.tastes, start=start)
        linear, spread = utility.linear, utility.spread
        table = completed(tastes, [evidence.features], mine.ok, linear=linear, spread=spread)
        table = trusted(table, mine, utility.trust, utility.linear)
        matrix = utility.smoother.matrix(new.embeddings, new.tasks, mine.embeddings, mine.tasks)
        scores: Floats = self._head_of(expected(table, matrix)) / np.float32(self.head_scale)
        return scores

    def _head_of(self, scores: Floats) -> Floats:
        """Return the utility head's scores as logits, centred over the LLMs."""
        if not self.utility.linear:
            scores = np.log(np.maximum(scores, 0) + np.float32(LEAST_CHANCE))
        centred: Floats = scores - scores.mean(axis=-1, keepdims=True)
        return centred

    def _place(self, tasks: Ints) -> Ints:
        """Return tasks [n] as the graph counts them: T where unknown."""
        return np.where((tasks >= 0) & (tasks < self.tasks), tasks, self.tasks)

    def _worth(self, past: Past, asked: Ints, verdicts: Floats) -> Floats:
        """Return [U, n, M] what responses to past queries were worth to users; NaN where not told.

        What was told; of choices alone, the verdicts of the inferred weights: that a response was
        not chosen does not tell how bad it would have been.
        """
        new = past.of_queries(asked)
        told = new.values if self.utility.spread == np.inf else verdicts[:, asked]
        worth: Floats = np.where(new.seen, told, np.float32(np.nan))
        return worth

    def _select_share(self, checks: list[Asked], worths: list[Floats]) -> float:
        """Return the least share of the graph that is about as good as the best on left-out folds.

        As good: within `TOLERANCE` standard errors of the paired difference over queries.

        Args:
            checks: what is left out by each network.
            worths: what the candidates were worth, see `_worth`.
        """
        torch = import_torch()
        parts: list[list[Doubles]] = [[] for _ in SHARES]
        for network, check, values in zip(self.networks, checks, worths, strict=True):
            seen = np.isfinite(values)
            with torch.no_grad():
                graph = network.graph_logits(*check.where).cpu().numpy()
            mine = np.float32(network.trust.item()) * check.head.cpu().numpy()
            for i, share in enumerate(SHARES):
                parts[i].append(chosen_value(np.float32(share) * graph + mine, values, seen))
        gains = np.asarray([np.concatenate(part) for part in parts])
        gains = gains[:, np.isfinite(gains).all(axis=0)]
        if not gains.size:
            return 0.0
        behind = gains[gains.mean(axis=1).argmax()] - gains
        error = behind.std(axis=1) / np.sqrt(max(behind.shape[1] - 1, 1))
        return SHARES[int(np.argmax(behind.mean(axis=1) <= TOLERANCE * error))]

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M] logits of users (rows of `user_ids`, -1 unknown)."""
        torch = import_torch()
        result = np.zeros((len(users), len(tasks), len(self.llm_ids)), np.float32)
        if self.shape.offset:
            raw = self.utility.scores(users, embeddings, tasks)
            trust = np.mean([network.trust.item() for network in self.networks])
            result = self._head_of(raw) * np.float32(trust / self.head_scale)
            if self.share == 0:
                return result
        step = max(1, BLOCK_PAIRS // max(1, len(tasks)))
        place = torch.as_tensor(self._place(tasks), device=self.device)
        asked = torch.tensor(embeddings, dtype=torch.float32, device=self.device)
        weight = self.share / len(self.networks)
        with torch.no_grad():
            for start in range(0, len(users), step):
                rows = slice(start, start + step)
                graph = self.graph.users(users[rows])
                for network in self.networks:
                    result[rows] += weight * network.graph_logits(graph, place, asked).cpu().numpy()
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
        for k, network in enumerate(self.networks):
            for name, tensor in network.state_dict().items():
                held[f"network.{k}.{name}"] = tensor.cpu().numpy()
        held["llms"] = self.llms
        mine = {
            "utility": meta,
            "shape": asdict(self.shape),
            "tasks": self.tasks,
            "fitted_llms": self.fitted_llms,
            "scale": self.scale,
            "head_scale": self.head_scale,
            "share": self.share,
            "networks": len(self.networks),
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
        router.fitted_llms = int(meta["fitted_llms"])
        router.scale, router.head_scale = float(meta["scale"]), float(meta["head_scale"])
        router.share, router.best_epoch = float(meta["share"]), int(meta["best_epoch"])
        router.llms = arrays["llms"]
        if router.llms.shape != (len(past.llm_ids), shape.llm_facts):
            raise ValueError(f"facts of LLMs are {router.llms.shape}")
        if (past.content.shape[-1], past.embeddings.shape[1]) != (shape.contents, shape.embedding):
            raise ValueError("the network's shape is not that of the past")
        if not 1 <= int(meta["networks"]) <= MOST_NETWORKS:
            raise ValueError(f"{meta['networks']} networks")
        router.networks = []
        for k in range(int(meta["networks"])):
            weights = _split(arrays, f"network.{k}.")
            network = Network(shape).to(device)
            network.eval()
            network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
            router.networks.append(network)
        router._settle(past)
        return router

    def route(self, requests: Requests) -> Any:
        """Return [n] indices."""
        return answers(self, requests)


class PersonalizedGraph(Personalized):
    """The graph network of `personalized` alone, without its utility head."""

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
