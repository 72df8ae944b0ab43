"""Elo: Bradley–Terry ratings of the LLMs from who beats whom, global or one scale a user.

    P(a beats b) = σ(θ_a − θ_b);  rating = 1000 + 400/ln 10 · θ

Chatbot Arena's model (arXiv 2403.04132), as a router in RouteLLM (arXiv 2406.18665) and LLMRouter.
Every pair of candidates of which a user prefers one is a game; ties tell nothing. Without a
penalty an LLM that always wins would rise for ever, so θ has a Gaussian prior.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .expectations import aligned, ranked
from .means import Doubles, first_best
from .past import Past, past_of, worth_of

# Precisions of a user's prior to select from; the last one all but ignores users.
PRECISIONS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e7)
DEFAULT_PRECISION = 10.0
GLOBAL_PRECISION = 0.1
NEWTON_STEPS = 50


def games(values: NDArray[Any]) -> Doubles:
    """Return [U, M, M] for how many queries a user prefers LLM a to LLM b; values are [U, Q, M]."""
    U, _, M = values.shape
    wins = np.zeros((U, M, M))
    for a in range(M):
        for b in range(M):
            if a != b:
                # A comparison with NaN is false, so what is not told is no game.
                wins[:, a, b] = (values[..., a] > values[..., b]).sum(axis=1)
    return wins


def bradley_terry(wins: Doubles, prior: Doubles, precision: float) -> Doubles:
    """Return the most probable θ, [..., M], by Newton's method for all users at once.

    Args:
        wins: [..., M, M] games won by the row's LLM over the column's.
        prior: [..., M] mean of the Gaussian prior.
        precision: its inverse variance, positive.
    """
    M = wins.shape[-1]
    played = wins + wins.swapaxes(-1, -2)
    theta = np.broadcast_to(prior, wins.shape[:-1]).copy()
    for _ in range(NEWTON_STEPS):
        gap = theta[..., :, None] - theta[..., None, :]
        chance = 0.5 + 0.5 * np.tanh(gap / 2)
        slope = (wins - played * chance).sum(axis=-1) - precision * (theta - prior)
        weight = played * chance * (1 - chance)
        curve = np.eye(M) * (weight.sum(axis=-1) + precision)[..., None] - weight
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        # A damped step cannot overshoot where the logistic is flat.
        theta += step / np.maximum(np.abs(step).max(axis=-1, keepdims=True) / 2.0, 1.0)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return theta


class Elo:
    """Bradley–Terry ratings of the LLMs from who beats whom.

    One rating an LLM, so one LLM for all; under rewards the one that wins, not the one that
    earns, which is what tells it from best-single. New LLMs enter with the games of the support.
    """

    def fit(self, history: History) -> None:
        """Rate the LLMs on training and validation.

        Raises:
            BenchError: the past tells nothing.
        """
        past = past_of(history)
        self.users = {name: i for i, name in enumerate(past.user_ids)}
        self.llm_ids, self.tie_order = past.llm_ids, past.order
        self.precision = self._select(past)
        self.wins = games(past.values)
        self._rate()

    def adapt(self, support: History) -> None:
        """Count the games of the support as well; strengths stay as they are."""
        fresh = [str(n) for n in support.user_ids if str(n) not in self.users]
        strange = [str(n) for n in support.llm_ids if str(n) not in self.llm_ids]
        self.wins = np.pad(self.wins, [(0, len(fresh)), (0, len(strange)), (0, len(strange))])
        self.users |= {name: len(self.users) + i for i, name in enumerate(fresh)}
        self.tie_order = np.append(self.tie_order, len(self.llm_ids) + np.arange(len(strange)))
        self.llm_ids = [*self.llm_ids, *strange]
        u = np.asarray([self.users[str(n)] for n in support.user_ids], dtype=np.int64)
        m = np.asarray([self.llm_ids.index(str(n)) for n in support.llm_ids], dtype=np.int64)
        self.wins[np.ix_(u, m, m)] += games(past_of(support, empty=True).values)
        self._rate()

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        candidates = requests.candidates.tolist()
        rows = [self.users.get(str(name), -1) for name in requests.user_ids]
        scores = aligned(self.theta[rows], self.llm_ids, candidates)
        order = ranked(self.llm_ids, self.tie_order, candidates)
        return first_best(scores, order)[requests.user_index]

    @property
    def ratings(self) -> Doubles:
        """[M] on the scale of chess, everybody's."""
        found: Doubles = 1000 + 400 / np.log(10) * self.theta[-1]
        return found

    def _select(self, past: Past) -> float:
        return DEFAULT_PRECISION

    def _rate(self) -> None:
        """Set theta, [U + 1, M], the last row for users without a past."""
        everybody = _everybody(self.wins)
        self.theta = np.tile(everybody, (len(self.wins) + 1, 1))


class EloPersonal(Elo):
    """Bradley–Terry ratings on a scale of each user's own, with everybody's as the prior.

    The prior's precision is selected in folds.
    """

    personal = True

    def _select(self, past: Past) -> float:
        folds = past.folds()
        if not folds:
            return DEFAULT_PRECISION
        parts = [games(past.values[:, held]) for held in folds]
        wins, total = sum(parts, np.zeros_like(parts[0])), np.zeros(len(PRECISIONS))
        for held, part in zip(folds, parts, strict=True):
            prior = _everybody(wins - part)
            for i, precision in enumerate(PRECISIONS):
                theta = bradley_terry(wins - part, prior, precision)
                total[i] += worth_of(theta[:, None], past.values[:, held], past.order)[0]
        distance = np.abs(np.log(np.asarray(PRECISIONS) / DEFAULT_PRECISION))
        # lexsort: the last key counts first, and of tied ones the nearest to the default wins
        return PRECISIONS[int(np.lexsort((distance, -total))[0])]

    def _rate(self) -> None:
        everybody = _everybody(self.wins)
        own = bradley_terry(self.wins, everybody, self.precision)
        self.theta = np.concatenate([own, everybody[None]])


def _everybody(wins: Doubles) -> Doubles:
    """[M] ratings from all users' games."""
    return bradley_terry(wins.sum(axis=0), np.zeros(wins.shape[-1]), GLOBAL_PRECISION)
