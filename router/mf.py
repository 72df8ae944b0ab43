"""Matrix factorisation: a vector an LLM, a projection of the query, and a factor of the user.

    mf            δ(q, m)    = w · (v_m ⊙ W x_q),  v_m of unit length     RouteLLM, arXiv 2406.18665
    mf-embedllm   δ(q, m)    = w · (p_m ⊙ W x_q) + b                      EmbedLLM, arXiv 2410.02223
    mf-personal   δ(u, q, m) = w · (v_m ⊙ W x_q) + u_u · v_m + b_m + b_um

RouteLLM and the personal form learn from preferences, P(a preferred to b) = σ(δ_a − δ_b), over all
pairs of candidates of which a user prefers one. EmbedLLM learns σ(δ) = correctness, here the mean
value over users, brought to [0, 1]. All stop where validation choices are best; without
validation, after DEFAULT_STEPS.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .descent import Draws, descend, import_torch, one_thread, ranking_loss
from .expectations import aligned, lessons, ranked
from .means import Doubles, first_best
from .past import past_of, worth_of

STEPS, DEFAULT_STEPS = 300, 100
# Gaussian noise on each dimension of a query in training; RouteLLM has 0.1, EmbedLLM 0.05 on
# embeddings that are dense, which the default embedder's are not.
NOISES = (0.02, 0.1)
RATE = 3e-3
# (user, query) rows a step of the personal form.
BATCH = 4096
# Parameters of single users.
OF_USERS = ("user", "liking")


class Mf:
    """A vector an LLM against a projection of the query, learned from preferences.

    RouteLLM's form, dimension 128, the same for all users. Settings: noise.
    """

    extra = "gnn"

    dimension = 128
    unit = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Descend once a noise, keep what validates best.

        Raises:
            BenchError: the past tells nothing.
        """
        past_of(history)
        self.llm_ids: list[str] = history.llm_ids.tolist()
        self.tie_order = history.tie_order
        self.users: dict[str, int] = {}
        if self.personal:
            self.users = {name: i for i, name in enumerate(history.user_ids.tolist())}
        noises = NOISES if history.validation is not None else NOISES[:1]
        tried = [self._train(history, noise) for noise in noises]
        best = max(range(len(tried)), key=lambda i: tried[i][0])
        self.setting, self.table = noises[best], tried[best][1]

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        torch = import_torch()
        candidates = requests.candidates.tolist()
        with torch.no_grad(), one_thread():
            of_query = self._of_query(_tensor(requests.embeddings)).numpy().astype(np.float64)
        scores = aligned(of_query, self.llm_ids, candidates)
        order = ranked(self.llm_ids, self.tie_order, candidates)
        if not self.personal:
            return first_best(scores, order)[requests.query_index]
        rows = [self.users.get(str(name), -1) for name in requests.user_ids]
        own = aligned(self._of_user()[rows], self.llm_ids, candidates)
        return first_best(scores[requests.query_index] + own[requests.user_index], order)

    personal = False

    def _train(self, history: History, noise: float) -> tuple[float, dict[str, Any]]:
        """Return the validated worth of the best point, and its parameters."""
        draws = Draws(self.seed)
        self.table = self._start(draws, history)
        x = _tensor(history.embeddings)
        objective = self._objective(history, draws)

        def loss() -> Any:
            shaken = x
            if noise:
                shaken = x + draws.normal(*x.shape, scale=noise, learned=False)
            return objective(self._of_query(shaken))

        held = history.validation
        score = None
        if held is not None and np.isfinite(held.values).any():
            z = _tensor(held.embeddings)

            def score() -> float:
                guess = self._of_query(z).numpy()[None]
                if self.personal:
                    guess = guess + self._of_user()[:-1, None].astype(np.float32)
                return worth_of(guess, held.values, held.tie_order)[0]

        steps = DEFAULT_STEPS if score is None else STEPS
        shared = [value for name, value in self.table.items() if name not in OF_USERS]
        own = [value for name, value in self.table.items() if name in OF_USERS]
        best = descend(shared, loss, steps=steps, rate=RATE, decay=1e-5, fast=own, score=score)
        return best, self.table

    def _start(self, draws: Draws, history: History) -> dict[str, Any]:
        D, M, d = history.embeddings.shape[1], len(history.llm_ids), self.dimension
        return {
            "llm": draws.normal(M, d, scale=1.0 / np.sqrt(d)),
            "project": draws.normal(D, d, scale=1.0 / np.sqrt(D)),
            "weigh": draws.normal(d, scale=1.0),
        }

    def _vectors(self) -> Any:
        """[M, d]"""
        found = self.table["llm"]
        return found / found.norm(dim=1, keepdim=True) if self.unit else found

    def _of_query(self, x: Any) -> Any:
        """[q, D] to [q, M]."""
        return (x @ self.table["project"] * self.table["weigh"]) @ self._vectors().T

    def _of_user(self) -> Doubles:
        raise NotImplementedError

    def _objective(self, history: History, draws: Draws) -> Any:
        """Return the loss as a function of δ [Q, M]: all pairs of all users, counted beforehand."""
        torch = import_torch()
        values = history.values
        Q, M = values.shape[1:]
        wins = np.zeros((Q, M, M), dtype=np.float32)
        for a in range(M):
            wins[:, a] = (values[..., [a]] > values).sum(axis=0)
        count = _tensor(wins / max(wins.sum(), 1.0))

        def loss(score: Any) -> Any:
            gap = score[:, :, None] - score[:, None, :]
            return -(count * torch.nn.functional.logsigmoid(gap)).sum()

        return loss


class MfEmbedLlm(Mf):
    """EmbedLLM's matrix factorisation (arXiv 2410.02223), learned from mean values.

    EmbedLLM's form, dimension 232, the same for all users. Settings: noise.
    """

    dimension = 232
    unit = False

    def _start(self, draws: Draws, history: History) -> dict[str, Any]:
        return super()._start(draws, history) | {"level": draws.zeros(1)}

    def _of_query(self, x: Any) -> Any:
        return super()._of_query(x) + self.table["level"]

    def _objective(self, history: History, draws: Draws) -> Any:
        torch = import_torch()
        told = lessons(past_of(replace(history, validation=None)))
        value, weight = told.targets[..., 0], told.weights[..., 0]
        low, high = value[weight > 0].min(), value[weight > 0].max()
        label = _tensor(np.clip((value - low) / max(high - low, 1e-9), 0, 1))
        share = _tensor(weight / weight.sum())

        def loss(score: Any) -> Any:
            cross = torch.nn.functional.binary_cross_entropy_with_logits
            return cross(score, label, weight=share, reduction="sum")

        return loss


class MfPersonal(Mf):
    """Matrix factorisation with a factor and biases of the user.

    RouteLLM's form with a user factor and user biases, both shrunk to 0.

    A preference weighs by how much more the preferred LLM was worth, so that rewards count.
    The last user, whom nobody is, stands for those without a past: the mean of all. `adapt` fits
    the factors of new users, and the vectors of new LLMs, with everything else frozen.
    """

    personal = True
    shrink = 1e-3

    def _start(self, draws: Draws, history: History) -> dict[str, Any]:
        U, M = len(history.user_ids), len(history.llm_ids)
        return super()._start(draws, history) | {
            "bias": draws.zeros(M),
            "user": draws.normal(U, self.dimension, scale=0.01),
            "liking": draws.zeros(U, M),
        }

    def _of_query(self, x: Any) -> Any:
        return super()._of_query(x) + self.table["bias"]

    def _user_scores(self) -> Any:
        """[U, M]"""
        return self.table["user"] @ self._vectors().T + self.table["liking"]

    def _of_user(self) -> Doubles:
        """[U + 1, M]"""
        torch = import_torch()
        with torch.no_grad(), one_thread():
            own: Doubles = self._user_scores().numpy().astype(np.float64)
        return np.concatenate([own, own[: self.known].mean(axis=0, keepdims=True)])

    def _objective(self, history: History, draws: Draws) -> Any:
        """Return the loss as a function of δ [Q, M]: pairs within a batch of rows."""
        self.known = len(history.user_ids)

        def penalty() -> Any:
            return (self.table["user"] ** 2).sum() + (self.table["liking"] ** 2).sum()

        return self._pairs(history.values, np.arange(self.known), penalty, draws)

    def _pairs(
        self, values: NDArray[Any], rows: NDArray[np.int64], penalty: Any, draws: Draws
    ) -> Any:
        """Return the loss over preferences in values [U, Q, M], users being these rows."""
        torch = import_torch()
        told = np.nonzero(np.isfinite(values).any(axis=-1))
        row, query = torch.as_tensor(rows[told[0]]), torch.as_tensor(told[1])
        kept = _tensor(values[told])  # [rows told, M]

        def loss(score: Any) -> Any:
            batch = draws.rows(len(row), BATCH)
            guess = score[query[batch]] + self._user_scores()[row[batch]]
            lost = ranking_loss(guess, kept[batch], 1e-6)
            return lost + self.shrink * penalty() / len(rows)

        return loss

    def adapt(self, support: History) -> None:
        """Fit the factors of new users and the vectors of new LLMs, all else frozen."""
        torch = import_torch()
        draws = Draws(self.seed)
        strangers = [str(n) for n in support.user_ids if str(n) not in self.users]
        newcomers = [str(n) for n in support.llm_ids if str(n) not in self.llm_ids]
        old = {name: value.detach() for name, value in self.table.items()}
        self.users |= {n: len(self.users) + i for i, n in enumerate(strangers)}
        self.llm_ids = [*self.llm_ids, *newcomers]
        self.tie_order = np.append(self.tie_order, len(self.tie_order) + np.arange(len(newcomers)))
        usual = {name: old[name][: self.known].mean(dim=0) for name in ("user", "liking")}
        U, M, m = len(strangers), len(old["bias"]), len(newcomers)
        free = {
            "user": draws.zeros(U, self.dimension),
            "liking": draws.zeros(U, M),
            "llm": draws.normal(m, self.dimension, scale=1.0 / np.sqrt(self.dimension)),
            "bias": draws.zeros(m),
        }

        def join() -> None:
            liking = torch.cat([old["liking"], usual["liking"] + free["liking"]])
            self.table = old | {
                "user": torch.cat([old["user"], usual["user"] + free["user"]]),
                "liking": torch.cat([liking, torch.zeros(len(liking), m)], dim=1),
                "llm": torch.cat([old["llm"], free["llm"]]),
                "bias": torch.cat([old["bias"], free["bias"]]),
            }

        join()
        place = {str(name): i for i, name in enumerate(support.llm_ids)}
        column = np.asarray([place.get(name, -1) for name in self.llm_ids])
        values = np.where(column >= 0, support.values[..., column], np.nan)
        if not (np.isfinite(values).any() and U + m):
            return
        rows = np.asarray([self.users[str(n)] for n in support.user_ids], dtype=np.int64)
        objective = self._pairs(
            values, rows, lambda: (free["user"] ** 2).sum() + (free["liking"] ** 2).sum(), draws
        )
        x = _tensor(support.embeddings)

        def loss() -> Any:
            join()
            return objective(self._of_query(x))

        leaves = [leaf for leaf in free.values() if leaf.numel()]
        descend(leaves, loss, steps=DEFAULT_STEPS, rate=RATE * 3)
        with torch.no_grad():
            join()


def _tensor(x: NDArray[Any]) -> Any:
    return import_torch().as_tensor(np.array(x, dtype=np.float32))
