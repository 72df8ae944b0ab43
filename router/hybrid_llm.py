"""HybridLLM: is the small LLM good enough for this query, or is the large one needed?

"Hybrid LLM: Cost-Efficient and Quality-Aware Query Routing" (arXiv 2404.14618): a scorer of the
query learns P(H ≥ −t), H the gap between the small and the large LLM's quality, and the large one
is asked where that is below a threshold. The paper fine-tunes DeBERTa; here an MLP on the stored
embeddings stands in for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .descent import Draws, Perceptron, descend, import_torch, one_thread
from .means import Doubles
from .past import Bools, Past, past_of

HIDDEN = (128, 64)
STEPS, RATE, DECAY = 100, 1e-3, 1e-2
RELAXATIONS = 20
THRESHOLDS = np.linspace(0.05, 0.95, 19)
# Precisions of the prior on a user's own offset, in logits.
PRECISIONS = (0.3, 1.0, 3.0, 10.0, 100.0, 1e7)


class HybridLlm:
    """Is the small LLM of a pair good enough for this query?

    Two LLMs, chosen on the past, and an MLP D → 128 → 64 → 1 between them.

    The pair: the two LLMs whose better one, query by query and for the mean user, is worth most;
    the small one is the cheaper. A label is the share of users for whom H ≥ −t, t the relaxation
    that spreads labels most (the paper's probabilistic, transformed labels, users being the
    samples); under choice and pairwise feedback only verdicts that tell the two apart count. The
    threshold is the one that is worth most in folds over the past.
    """

    extra = "gnn"

    note = "an MLP on the stored embeddings stands in for the fine-tuned DeBERTa"
    personal = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Choose the pair, learn the scorer, select the threshold.

        Raises:
            BenchError: the past tells nothing.
        """
        past = past_of(history)
        self.users = {name: i for i, name in enumerate(past.user_ids)}
        self.small, self.large = _pair(past)
        self.names = past.llm_ids[self.small], past.llm_ids[self.large]
        self.gap_counts = history.feedback == "full"
        self.relaxation = 0.0
        gap = self._gap(past)
        self.relaxation = _relaxation(gap) if self.gap_counts else 0.0
        good, told = self._labels(gap)
        folds = past.folds()
        self.threshold, self.precision = 0.5, PRECISIONS[1]
        if folds:
            logits = np.zeros(len(past.task))
            for held in folds:
                logits[held] = self._learn(past.embeddings[~held], good[:, ~held], told[:, ~held])(
                    past.embeddings[held]
                )
            self._select(past, gap, logits, folds)
        self.logit = self._learn(past.embeddings, good, told)
        self.offsets = np.zeros(len(past.user_ids) + 1)
        if self.personal:
            self.offsets[:-1] = _offsets(self.logit(past.embeddings), good, told, self.precision)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices; where one of the pair is no candidate, the other; else -1."""
        place = {name: i for i, name in enumerate(requests.candidates.tolist())}
        small, large = (place.get(name, -1) for name in self.names)
        small, large = (large if small < 0 else small), (small if large < 0 else large)
        logit = self.logit(requests.embeddings)[requests.query_index]
        if self.personal:
            rows = [self.users.get(str(name), -1) for name in requests.user_ids]
            logit = logit + self.offsets[rows][requests.user_index]
        return np.where(_sigmoid(logit) >= self.threshold, small, large)

    def _gap(self, past: Past) -> Doubles:
        """[U, Q] how much better the small LLM was; NaN where nobody tells."""
        both = past.values[..., [self.small, self.large]].astype(np.float64)
        return both[..., 0] - both[..., 1]

    def _labels(self, gap: Doubles) -> tuple[Bools, Bools]:
        """[U, Q] whether the small one is good enough, and where that is told."""
        told = np.isfinite(gap) & (self.gap_counts | (gap != 0))
        return told & (gap >= -self.relaxation), told

    def _learn(self, inputs: Doubles, good: Bools, told: Bools) -> Any:
        """Return the scorer, [q, D] to logits [q]."""
        torch = import_torch()
        count = told.sum(axis=0)
        share = _tensor(good.sum(axis=0) / np.maximum(count, 1))
        weight = _tensor(count / max(count.sum(), 1))
        scale = float(np.sqrt(inputs.shape[1]))
        x = _tensor(inputs) * scale
        network = Perceptron(Draws(self.seed), inputs.shape[1], *HIDDEN, 1)

        def loss() -> Any:
            cross = torch.nn.functional.binary_cross_entropy_with_logits
            return cross(network(x)[:, 0], share, weight=weight, reduction="sum")

        descend(network.parameters, loss, steps=STEPS, rate=RATE, decay=DECAY)

        def logit(z: NDArray[Any]) -> Doubles:
            with torch.no_grad(), one_thread():
                found = network(_tensor(z) * scale)[:, 0].numpy()
            return np.asarray(found, dtype=np.float64)

        return logit

    def _select(self, past: Past, gap: Doubles, logits: Doubles, folds: list[Bools]) -> None:
        """Set the threshold (and precision) whose choices were worth most out of fold."""
        good, told = self._labels(gap)
        worth = np.zeros((len(PRECISIONS), len(THRESHOLDS)))
        gain = np.nan_to_num(gap)
        for held in folds:
            for k, precision in enumerate(PRECISIONS if self.personal else PRECISIONS[:1]):
                shown = logits[None, held]
                if self.personal:
                    own = _offsets(logits[~held], good[:, ~held], told[:, ~held], precision)
                    shown = shown + own[:, None]
                chance = _sigmoid(shown)
                worth[k] += [(gain[:, held] * (chance >= t)).sum() for t in THRESHOLDS]
        i, j = divmod(int(worth.argmax()), len(THRESHOLDS))
        self.precision, self.threshold = PRECISIONS[i], float(THRESHOLDS[j])


class HybridLlmPersonal(HybridLlm):
    """`hybrid-llm`, with an offset of each user's own.

    The same pair and scorer, and an offset a user in logits, with a Gaussian prior at 0.
    """

    personal = True

    def adapt(self, support: History) -> None:
        """Infer the offsets of new users; new LLMs do not enter the pair."""
        names = support.llm_ids.tolist()
        if not all(name in names for name in self.names):
            return
        strange = [i for i, n in enumerate(support.user_ids.tolist()) if n not in self.users]
        pair = [names.index(name) for name in self.names]
        both = support.values[strange][..., pair].astype(np.float64)
        good, told = self._labels(both[..., 0] - both[..., 1])
        own = _offsets(self.logit(support.embeddings), good, told, self.precision)
        self.users |= {str(support.user_ids[i]): len(self.users) + k for k, i in enumerate(strange)}
        self.offsets = np.concatenate([self.offsets[:-1], own, [0.0]])


def _pair(past: Past) -> tuple[int, int]:
    """Return the small and the large LLM."""
    M = len(past.llm_ids)
    count = np.isfinite(past.values).sum(axis=0)
    value = np.nansum(past.values, axis=0, dtype=np.float64) / np.maximum(count, 1)
    value = np.where(count > 0, value, -np.inf)
    rank = np.argsort(past.order)  # cheapest first
    best = (-np.inf, 0, 0)
    for a in range(M):
        for b in range(M):
            if rank[a] < rank[b] or M == 1:
                both = np.maximum(value[:, a], value[:, b])
                known = np.isfinite(both)
                worth = float(both[known].mean()) if known.any() else -np.inf
                best = max(best, (worth, a, b))
    return best[1], best[2]


def _relaxation(gap: Doubles) -> float:
    """Return t ≥ 0 that spreads the labels P(gap ≥ −t) most: the mean of |p_i − p_j| over pairs."""
    known = np.isfinite(gap)
    if not known.any():
        return 0.0
    tries = np.linspace(0.0, max(0.0, -float(np.nanquantile(gap, 0.05))), RELAXATIONS)
    spread = []
    for t in tries:
        share = np.sort((gap >= -t).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        spread.append(float((np.arange(len(share)) * 2 - len(share) + 1) @ share))
    return float(tries[int(np.argmax(spread))])


def _offsets(logits: Doubles, good: Bools, told: Bools, precision: float) -> Doubles:
    """Return [U] the most probable offset of each user, by Newton's method.

    Args:
        logits: [Q] of the scorer.
        good: [U, Q] labels.
        told: [U, Q] where they count.
        precision: of the Gaussian prior at 0.
    """
    offset = np.zeros(len(good))
    for _ in range(25):
        chance = _sigmoid(logits[None, :] + offset[:, None])
        slope = ((good - chance) * told).sum(axis=1) - precision * offset
        curve = (chance * (1 - chance) * told).sum(axis=1) + precision
        step = np.clip(slope / curve, -2.0, 2.0)
        offset += step
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    return offset


def _sigmoid(x: Doubles) -> Doubles:
    return 0.5 + 0.5 * np.tanh(x / 2)


def _tensor(x: NDArray[Any]) -> Any:
    return import_torch().as_tensor(np.array(x, dtype=np.float32))
