"""LinUCB: a linear model of each LLM's worth, and a bonus for what it has hardly been tried on.

"A Contextual-Bandit Approach to Personalized News Article Recommendation" (arXiv 1003.0146):
θ = A⁻¹ b, and the LLM with the highest ``θ · z + a √(zᵀ A⁻¹ z)`` is asked; only what that one was
worth is told, and goes into its A and b. z = [1, principal components of the embedding, task].
It starts warm: all that the history tells has gone into A and b, whatever its feedback is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.online import Revealed
from personaroute_bench.evaluation.protocol import History, Requests

from .expectations import aligned, ranked
from .means import Doubles, Ints, first_best
from .past import Past, past_of

COMPONENTS = 8
BONUSES = (0.0, 0.1, 0.5, 1.0)
RIDGE = 1.0
# Strengths of the prior on a user's own model, in requests; the last one all but ignores users.
STRENGTHS = (3.0, 10.0, 30.0, 1e6)
# A replay on the past looks at no more users than this, evenly spread.
REPLAYED_USERS = 200
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Contexts:
    """From embeddings and tasks to z [n, P]."""

    mean: Doubles
    """[D]"""
    axes: Doubles
    """[D, C], scaled so that the components of the past have a mean square length of 1."""
    tasks: int

    @classmethod
    def of(cls, past: Past, tasks: int) -> Contexts:
        """Find the principal components of the past queries."""
        mean = past.embeddings.mean(axis=0)
        centred = past.embeddings - mean
        axes = np.linalg.svd(centred, full_matrices=False)[2][:COMPONENTS].T
        length = float(np.sqrt(((centred @ axes) ** 2).sum(axis=1).mean()))
        return cls(mean, axes / length if length > 0 else axes, tasks)

    def __call__(self, embeddings: NDArray[Any], tasks: Ints) -> Doubles:
        """Return [n, P] of embeddings [n, D] and tasks [n]."""
        task = np.asarray(tasks)[:, None] == np.arange(self.tasks)
        shown = (np.asarray(embeddings, np.float64) - self.mean) @ self.axes
        return np.concatenate([np.ones((len(shown), 1)), shown, task.astype(np.float64)], axis=1)


class Arms:
    """A and b of every LLM, for everybody, and where `strength` is given for each user too.

    A user's θ_um minimises ``Σ (v − θ · z)² + strength ‖θ − θ_m‖²``, θ_m being everybody's: the
    hybrid of the paper with a shared prior in the place of shared features.
    """

    def __init__(self, users: int, llms: int, width: int, strength: float | None) -> None:
        self.gram = np.broadcast_to(RIDGE * np.eye(width), (llms, width, width)).copy()
        self.cross = np.zeros((llms, width))
        self.strength = strength
        own = users if strength is not None else 0
        # [users, M, P, P] inverse of each user's A, kept by Sherman and Morrison's formula.
        fresh = np.eye(width) / (strength or 1.0)
        self.inverse = np.broadcast_to(fresh, (own, llms, width, width)).copy()
        self.own = np.zeros((own, llms, width))

    def grow(self, users: int, llms: int) -> None:
        """Make room for further users and LLMs; a new LLM is believed to be like the mean one."""
        M, P = self.cross.shape
        if llms > M:
            theta = np.linalg.solve(self.gram, self.cross[..., None])[..., 0].mean(axis=0)
            more = np.broadcast_to(RIDGE * np.eye(P), (llms - M, P, P))
            self.gram = np.concatenate([self.gram, more])
            self.cross = np.concatenate([self.cross, np.tile(RIDGE * theta, (llms - M, 1))])
        if self.strength is not None:
            grown = max(users, len(self.own))
            inverse = np.broadcast_to(np.eye(P) / self.strength, (grown, llms, P, P)).copy()
            own = np.zeros((grown, llms, P))
            inverse[: len(self.own), :M], own[: len(self.own), :M] = self.inverse, self.own
            self.inverse, self.own = inverse, own

    def learn_past(self, z: Doubles, values: NDArray[Any]) -> None:
        """Take in values [U, Q, M] of queries z [Q, P]; NaN is not told. Users come in order."""
        told = np.isfinite(values)
        count = told.sum(axis=0).astype(np.float64)  # [Q, M]
        outer = z[:, :, None] * z[:, None, :]
        self.gram += np.einsum("qm,qij->mij", count, outer, optimize=True)
        self.cross += np.nansum(values, axis=0, dtype=np.float64).T @ z
        if self.strength is None:
            return
        P = z.shape[1]
        for u in range(len(values)):
            seen = told[u].astype(np.float64)
            gram = (seen.T @ outer.reshape(len(z), -1)).reshape(-1, P, P)
            self.inverse[u] = np.linalg.inv(gram + self.strength * np.eye(P))
            self.own[u] = np.where(told[u], values[u], 0.0).T.astype(np.float64) @ z

    def learn(self, users: Ints, llms: Ints, z: Doubles, values: Doubles) -> None:
        """Take in n values, of LLMs [n] for users [n] and contexts z [n, P]."""
        np.add.at(self.gram, llms, z[:, :, None] * z[:, None, :])
        np.add.at(self.cross, llms, values[:, None] * z)
        if self.strength is None:
            return
        rest = np.arange(len(users))
        while len(rest):  # of one user and LLM, one request after the other
            pair = users[rest] * len(self.cross) + llms[rest]
            first = np.unique(pair, return_index=True)[1]
            now, rest = rest[first], np.delete(rest, first)
            u, m, x = users[now], llms[now], z[now]
            a = np.einsum("nij,nj->ni", self.inverse[u, m], x)
            shrink = 1.0 + np.einsum("ni,ni->n", a, x)
            self.inverse[u, m] -= a[:, :, None] * a[:, None, :] / shrink[:, None, None]
            self.own[u, m] += values[now, None] * x

    def scores(self, users: Ints, z: Doubles, bonus: float) -> Doubles:
        """Return [n, M] upper confidence bounds; a user of -1 is nobody in particular."""
        theta = np.linalg.solve(self.gram, self.cross[..., None])[..., 0]  # [M, P]
        if self.strength is None:
            inverse = np.linalg.inv(self.gram)
            spread = np.einsum("ni,mij,nj->nm", z, inverse, z, optimize=True)
            bound: Doubles = z @ theta.T + bonus * np.sqrt(np.maximum(spread, 0.0))
            return bound
        result = np.empty((len(z), len(theta)))
        for start in range(0, len(z), CHUNK):
            part = slice(start, start + CHUNK)
            u, x = users[part], z[part]
            known = u >= 0
            a = np.broadcast_to((x / self.strength)[:, None], (len(x), *theta.shape)).copy()
            pull = np.broadcast_to(self.strength * theta, a.shape).copy()
            a[known] = np.einsum("nmij,nj->nmi", self.inverse[u[known]], x[known], optimize=True)
            pull[known] += self.own[u[known]]
            mean = np.einsum("nmi,nmi->nm", a, pull)
            spread = np.einsum("nmi,ni->nm", a, x)
            result[part] = mean + bonus * np.sqrt(np.maximum(spread, 0.0))
        return result


class LinUcb:
    """A linear bandit: the LLM with the highest upper confidence bound, the same for all users.

    Settings: a of `BONUSES`, by replaying the validation split as a stream after the training
    split; then everything starts from both. Ties go to the cheaper.
    """

    personal: ClassVar[bool] = False

    def fit(self, history: History) -> None:
        """Select the settings, then start from all of the past.

        Raises:
            BenchError: the training split tells nothing.
        """
        past = past_of(history)
        self.users = {name: i for i, name in enumerate(past.user_ids)}
        self.llm_ids = list(past.llm_ids)
        self.tie_order = past.order
        self.contexts = Contexts.of(past, len(history.task_ids))
        z = self.contexts(past.embeddings, past.task)
        self.bonus, self.strength = self._select(past, z, len(history.query_ids))
        self.arms = Arms(len(self.users), len(self.llm_ids), z.shape[1], self.strength)
        self.arms.learn_past(z, past.values)

    def adapt(self, support: History) -> None:
        """Take in what new users, or users of new LLMs, have told."""
        self.llm_ids += [str(n) for n in support.llm_ids if str(n) not in self.llm_ids]
        more = np.arange(len(self.tie_order), len(self.llm_ids))
        self.tie_order = np.concatenate([self.tie_order, more])
        rows = self._rows(support.user_ids)
        u, q, m = np.nonzero(np.isfinite(support.values))
        z = self.contexts(support.embeddings, support.task_of_query)
        place = np.asarray([self.llm_ids.index(str(n)) for n in support.llm_ids], np.int64)
        self.arms.learn(rows[u], place[m], z[q], support.values[u, q, m].astype(np.float64))

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        candidates = requests.candidates.tolist()
        rows = np.asarray([self.users.get(str(n), -1) for n in requests.user_ids], np.int64)
        z = self.contexts(requests.embeddings, requests.task_of_query)
        scores = self.arms.scores(rows[requests.user_index], z[requests.query_index], self.bonus)
        order = ranked(self.llm_ids, self.tie_order, candidates)
        return first_best(aligned(scores, self.llm_ids, candidates), order)

    def update(self, revealed: Revealed) -> None:
        """Learn from what the chosen LLMs were worth."""
        requests = revealed.requests
        place = {name: m for m, name in enumerate(self.llm_ids)}
        column = np.asarray([place.get(str(n), -1) for n in requests.candidates], np.int64)
        llms = np.where(revealed.choice >= 0, column[revealed.choice], -1)
        told = np.flatnonzero((llms >= 0) & np.isfinite(revealed.values))
        z = self.contexts(requests.embeddings, requests.task_of_query)[requests.query_index]
        users = self._rows(requests.user_ids)[requests.user_index]
        self.arms.learn(users[told], llms[told], z[told], revealed.values[told].astype(np.float64))

    def _rows(self, user_ids: Sequence[str] | NDArray[Any]) -> Ints:
        """Return the row of each user, and make room for those who have none."""
        for name in user_ids:
            self.users.setdefault(str(name), len(self.users))
        self.arms.grow(len(self.users), len(self.llm_ids))
        return np.asarray([self.users[str(name)] for name in user_ids], np.int64)

    def _select(self, past: Past, z: Doubles, train: int) -> tuple[float, float | None]:
        """Return the bonus and strength that earn most when validation is replayed."""
        strengths: Sequence[float | None] = STRENGTHS if self.personal else (None,)
        some = slice(None, None, -(-len(past.values) // REPLAYED_USERS))
        values = past.values[some]
        held = values[:, train:]
        if not np.isfinite(held).any():
            return BONUSES[1], strengths[-1] if not self.personal else STRENGTHS[1]
        earned = []
        for strength, bonus in (settings := list(product(strengths, BONUSES))):
            arms = Arms(len(values), values.shape[-1], z.shape[1], strength)
            arms.learn_past(z[:train], values[:, :train])
            earned.append(_replay(arms, bonus, z[train:], held, past.order))
        strength, bonus = settings[int(np.argmax(earned))]
        return bonus, strength


class LinUcbPersonal(LinUcb):
    """A linear bandit for each user, who begins as everybody and departs with what is told.

    Settings: a of `BONUSES` and the strength of the prior of `STRENGTHS`, as in `LinUcb`.
    """

    personal: ClassVar[bool] = True


def _replay(arms: Arms, bonus: float, z: Doubles, values: NDArray[Any], order: Ints) -> float:
    """Return what a stream of queries z [q, P] earns, only the chosen LLM being told each time."""
    users, total = np.arange(len(values)), 0.0
    for q in range(len(z)):
        told = np.isfinite(values[:, q])
        x = np.broadcast_to(z[q], (len(users), z.shape[1]))
        choice = first_best(np.where(told, arms.scores(users, x, bonus), -np.inf), order)
        value = np.asarray(values[users, q, choice], dtype=np.float64)
        known = np.flatnonzero(np.isfinite(value))
        total += float(value[known].sum())
        arms.learn(users[known], choice[known], x[known], value[known])
    return total
