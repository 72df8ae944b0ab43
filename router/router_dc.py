"""RouterDC: queries and LLMs in one space, brought together by two contrastive losses.

"RouterDC: Query-Based Router by Dual Contrastive Learning" (arXiv 2409.19886): sim(q, m) is the
cosine of the encoded query and a learned vector of the LLM. The sample-LLM loss pulls a query to
its best LLMs and away from its worst; the sample-sample loss pulls queries of one cluster together.
The paper fine-tunes mDeBERTa; here an MLP on the stored embeddings stands in for the encoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .descent import Draws, Perceptron, descend, import_torch, one_thread
from .expectations import aligned, lessons, ranked
from .means import first_best
from .past import past_of, worth_of

HIDDEN, SPACE = 128, 64
# How many LLMs are positives, and how many negatives; the paper has 3.
TOPS = (3, 1)
CLUSTERS = 8
STEPS, DEFAULT_STEPS, RATE, DECAY = 400, 150, 3e-3, 1e-2
# The paper divides cosines by 1; a small encoder on frozen embeddings needs more contrast.
TEMPERATURE = 0.2
USERS = 64


class RouterDC:
    """Queries and LLMs in one space, brought together by contrastive losses.

    MLP D → 128 → 64 against one vector an LLM; positives: its top k, negatives: its bottom k.

    An LLM that is worth more than the query's mean is never a negative, one worth less never a
    positive. Clusters: k-means of the embeddings, 8. Settings: k. The best point on
    validation is kept. New LLMs have no vector, so they are expected to be like the mean of the
    others.
    """

    extra = "gnn"

    note = "an MLP on the stored embeddings stands in for the fine-tuned mDeBERTa"
    personal = False
    encoder: Perceptron
    keys: Any
    """[M, SPACE]"""
    own: Any
    """[U, SPACE] of users; [0, SPACE] where users are all alike."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Descend once a k, keep what validates best.

        Raises:
            BenchError: the past tells nothing.
        """
        past_of(history)
        self.llm_ids: list[str] = history.llm_ids.tolist()
        self.tie_order = history.tie_order
        self.users = {name: i for i, name in enumerate(history.user_ids.tolist())}
        self.known = len(self.users)
        tried: list[tuple[float, int, Perceptron, Any, Any]] = []
        for top in TOPS if history.validation is not None else TOPS[:1]:
            worth = self._train(history, min(top, max(1, len(self.llm_ids) // 2)))
            tried.append((worth, top, self.encoder, self.keys, self.own))
        _, self.setting, self.encoder, self.keys, self.own = max(tried, key=lambda x: x[0])

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        torch = import_torch()
        candidates = requests.candidates.tolist()
        order = ranked(self.llm_ids, self.tie_order, candidates)
        with torch.no_grad(), one_thread():
            code = self._code(requests.embeddings)
            if not self.personal:
                likeness = _cosine(code, self._keys()).numpy().astype(np.float64)
                scores = aligned(likeness, self.llm_ids, candidates)
                return first_best(scores, order)[requests.query_index]
            rows = [self.users.get(str(name), len(self.own)) for name in requests.user_ids]
            own = torch.cat([self.own, self.own[: self.known].mean(0, keepdim=True)])[rows]
            found = _together(code, own, self._keys()).numpy()
        scores = found[requests.user_index, requests.query_index].astype(np.float64)
        return first_best(aligned(scores, self.llm_ids, candidates), order)

    def _train(self, history: History, top: int) -> float:
        """Learn encoder, keys and user vectors; return the validated worth."""
        draws = Draws(self.seed)
        torch = import_torch()
        D, M = history.embeddings.shape[1], len(self.llm_ids)
        self.encoder = Perceptron(draws, D, HIDDEN, SPACE, flat=False)
        self.keys = draws.normal(M, SPACE)
        U = len(history.user_ids)
        self.own = draws.zeros(U, SPACE) if self.personal else torch.zeros(0, SPACE)
        together = _clusters(history.embeddings, self.seed)
        if self.personal:
            values = torch.as_tensor(np.array(history.values))
        else:
            told = lessons(past_of(_alone(history)))
            mean = np.where(told.weights > 0, told.targets, np.nan)[None, ..., 0]
            values = torch.as_tensor(mean.astype(np.float32))

        def loss() -> Any:
            code = self._code(history.embeddings)
            if self.personal:
                rows = draws.rows(U, USERS)
                sims = _together(code, self.own[rows], self._keys())
                contrast = _contrast(sims / TEMPERATURE, values[rows], top)
            else:
                contrast = _contrast(_cosine(code, self._keys())[None] / TEMPERATURE, values, top)
            return contrast + _cluster_loss(code, together)

        held = history.validation
        score = None
        if held is not None and np.isfinite(held.values).any():

            def score() -> float:
                code = self._code(held.embeddings)
                if self.personal:
                    guess = _together(code, self.own, self._keys()).numpy()
                else:
                    guess = _cosine(code, self._keys()).numpy()[None]
                return worth_of(guess, held.values, held.tie_order)[0]

        steps = DEFAULT_STEPS if score is None else STEPS
        best = descend(
            [*self.encoder.parameters, self.keys],
            loss,
            steps=steps,
            rate=RATE,
            decay=DECAY,
            fast=[self.own] if self.personal else [],
            score=score,
        )
        self.own = self.own.detach()
        return best

    def _code(self, embeddings: NDArray[Any]) -> Any:
        """[q, D] to [q, SPACE]."""
        return self.encoder(_tensor(embeddings))

    def _keys(self) -> Any:
        return self.keys / self.keys.norm(dim=1, keepdim=True).clamp(min=1e-6)


class RouterDCPersonal(RouterDC):
    """`router-dc`, with a vector of each user's own.

    The user adds a vector to the query's: sim(u, q, m) = cos(f(x_q) + p_u, k_m).

    p_u starts at 0; users without a past get the mean. `adapt` learns
    those of new users, all else frozen.
    """

    personal = True

    def adapt(self, support: History) -> None:
        """Learn the vectors of new users from the LLMs already known."""
        torch = import_torch()
        names = support.llm_ids.tolist()
        place = [names.index(name) if name in names else -1 for name in self.llm_ids]
        strange = [i for i, n in enumerate(support.user_ids.tolist()) if n not in self.users]
        values = np.where(np.asarray(place) >= 0, support.values[strange][..., place], np.nan)
        self.users |= {str(support.user_ids[i]): len(self.users) + k for k, i in enumerate(strange)}
        draws = Draws(self.seed)
        fresh = draws.zeros(len(strange), SPACE)
        if np.isfinite(values).any():
            with torch.no_grad():
                code, keys = self._code(support.embeddings), self._keys()
            target = torch.as_tensor(values.astype(np.float32))
            top = min(self.setting, max(1, len(self.llm_ids) // 2))

            def loss() -> Any:
                rows = draws.rows(len(strange), USERS)
                sims = _together(code, fresh[rows], keys)
                return _contrast(sims / TEMPERATURE, target[rows], top)

            descend([], loss, steps=DEFAULT_STEPS, rate=RATE, fast=[fresh])
        self.own = torch.cat([self.own, fresh.detach()])


def _together(code: Any, own: Any, keys: Any) -> Any:
    """Return [u, q, M] the cosines of code [q, S] + own [u, S] and unit keys [M, S]."""
    dot = (code @ keys.T)[None] + (own @ keys.T)[:, None]
    square = (code**2).sum(1)[None] + 2 * own @ code.T + (own**2).sum(1)[:, None]
    return dot / square.clamp(min=1e-12).sqrt()[..., None]


def _cosine(code: Any, keys: Any) -> Any:
    """Return [q, M]."""
    return code / code.norm(dim=1, keepdim=True).clamp(min=1e-6) @ keys.T


def _contrast(sims: Any, values: Any, top: int) -> Any:
    """Return the sample-LLM loss: −log softmax of each positive against all negatives.

    Args:
        sims: [u, Q, M] divided by the temperature.
        values: [u, Q, M]; NaN where nothing is told.
        top: how many positives, and how many negatives, at most.
    """
    torch = import_torch()
    told = torch.isfinite(values)
    count = told.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(told, values, 0.0).sum(-1, keepdim=True) / count
    low, high = torch.where(told, values, torch.inf), torch.where(told, values, -torch.inf)
    best = high >= high.topk(top, dim=-1).values[..., -1:]
    worst = low <= low.topk(top, dim=-1, largest=False).values[..., -1:]
    positive = best & told & (values > mean)
    negative = worst & told & (values < mean)
    against = torch.where(negative, sims, -1e9).logsumexp(-1, keepdim=True)
    lost = torch.nn.functional.softplus(against - sims)
    used = positive & negative.any(-1, keepdim=True)
    return (lost * used).sum() / used.sum().clamp(min=1)


def _clusters(embeddings: NDArray[Any], seed: int) -> Any:
    """Return [Q, Q] true for two queries of one cluster, a query not with itself."""
    from sklearn.cluster import KMeans

    torch = import_torch()
    count = min(CLUSTERS, len(np.unique(embeddings, axis=0)))
    label = KMeans(count, n_init=3, random_state=seed).fit_predict(embeddings)
    same = label[:, None] == label[None, :]
    np.fill_diagonal(same, False)
    return torch.as_tensor(same)


def _cluster_loss(code: Any, together: Any) -> Any:
    """Return the sample-sample loss: each query against all others, its cluster's being right."""
    torch = import_torch()
    unit = code / code.norm(dim=1, keepdim=True).clamp(min=1e-6)
    sims = unit @ unit.T
    others = ~torch.eye(len(sims), dtype=torch.bool)
    log = sims - torch.where(others, sims, -1e9).logsumexp(-1, keepdim=True)
    mates = together.sum(1)
    each = -(log * together).sum(1) / mates.clamp(min=1)
    return (each * (mates > 0)).sum() / (mates > 0).sum().clamp(min=1)


def _alone(history: History) -> History:
    from dataclasses import replace

    return replace(history, validation=None)


def _tensor(x: NDArray[Any]) -> Any:
    return import_torch().as_tensor(np.array(x, dtype=np.float32))
