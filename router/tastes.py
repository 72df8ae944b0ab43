"""Tastes: what a user cares about, by ridge regression on the content of the user's own history.

    value[u, q, m] ≈ a[u, q] + (w_0 + w_u) · content[q, m] + b_0m + b_um

a[u, q] cancels, since every row is centred over the candidates of its query; w_0, b_0 are common
to all users; w_u, b_um shrink to 0, so a user without a past is everybody. Rewards that are linear
in performance and cost are matched exactly, up to that shrinkage; of choices this is the linear
probability model. One normal equation of K + M unknowns a user, solved for all users at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import Requests

from .means import Doubles
from .past import Bools, Past, worth_of

# Ridge strengths to select from: on the weights of (standardised) content, on likings of LLMs.
WEIGHT_STRENGTHS = (1.0, 10.0, 100.0, 1e3, 1e7)
LIKING_STRENGTHS = (1.0, 10.0, 30.0, 100.0, 1e7)
DEFAULT_STRENGTHS = (10.0, 10.0)
# Users of one block of moments, and requests scored at a time: memory stays flat.
BLOCK = 128
CHUNK = 8192
# Strengths are selected on every second, third … user where there are more values than these.
SELECTION_CELLS = 3_000_000


@dataclass(frozen=True, eq=False)
class Moments:
    """Normal equations of each user, centred within the query; P = K + M unknowns."""

    gram: Doubles
    """[U, P, P]"""
    cross: Doubles
    """[U, P]"""

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.cross + other.cross)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.gram - other.gram, self.cross - other.cross)

    def of(self, users: slice) -> Moments:
        """Return the equations of some users."""
        return Moments(self.gram[users], self.cross[users])

    def common(self) -> Doubles:
        """Return [P] the coefficients of everybody, hardly shrunk."""
        gram = self.gram.sum(axis=0)
        found = np.linalg.solve(gram + np.eye(len(gram)), self.cross.sum(axis=0))
        return np.asarray(found, dtype=np.float64)

    def departures(self, common: Doubles, ridge: Doubles) -> Doubles:
        """Return [U, P] how users depart from the common [P], ridge [P] pulling them to it."""
        rest = self.cross - self.gram @ common
        found = np.linalg.solve(self.gram + np.diag(ridge), rest[..., None])[..., 0]
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Scaling:
    """How content [.., K] is standardised: by its spread within queries; unrated is usual."""

    usual: Doubles
    """[M, K] the mean of each LLM, which stands in where nobody rated."""
    spread: Doubles
    """[K]"""

    @classmethod
    def of(cls, content: Doubles) -> Scaling:
        """Measure past content [Q, M, K]."""
        known = np.isfinite(content)
        filled = np.where(known, content, 0.0)
        overall = filled.sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1)
        count = known.sum(axis=0)
        usual = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), overall)
        whole = np.where(known, content, usual)
        spread = (whole - whole.mean(axis=1, keepdims=True)).std(axis=(0, 1))
        return cls(usual, np.where(spread > 1e-9, spread, np.inf))

    def __call__(self, content: Doubles) -> Doubles:
        """Return [Q, M, K] standardised, finite."""
        return np.where(np.isfinite(content), content, self.usual) / self.spread


@dataclass(frozen=True, eq=False)
class Tastes:
    """Inferred tastes of U users; one more row, of zeros, is for users without a past."""

    users: dict[str, int]
    llm_ids: list[str]
    scaling: Scaling
    common: Doubles
    """[K + M]"""
    strengths: tuple[float, float]
    weights: Doubles
    """[U + 1, K] on standardised content."""
    likings: Doubles
    """[U + 1, M]"""

    def scores(
        self, requests: Requests, llm_ids: Sequence[str], value: Doubles, content: Doubles
    ) -> Doubles:
        """Return [n, M] the expected value for the user of each request.

        Args:
            requests: n of them, for q queries.
            llm_ids: [M] whom value and content are of; unknown ones are neither liked nor disliked.
            value: [q, M] expected of everybody.
            content: [q, M, K] expected.
        """
        rows = np.asarray([self.users.get(str(name), -1) for name in requests.user_ids])
        shown = np.ascontiguousarray(np.moveaxis(content / self.scaling.spread, 1, 2))  # [q, K, M]
        place = {name: i for i, name in enumerate(self.llm_ids)}
        column = np.asarray([place.get(name, -1) for name in llm_ids])
        likings = np.where(column >= 0, self.likings[rows][:, column], 0.0)
        weights = self.weights[rows]
        result = np.empty((len(requests), len(llm_ids)))
        for start in range(0, len(requests), CHUNK):
            part = slice(start, start + CHUNK)
            u, q = requests.user_index[part], requests.query_index[part]
            result[part] = value[q] + likings[u] + (weights[u][:, None, :] @ shown[q])[:, 0]
        return result

    def adapted(self, support: Past) -> Tastes:
        """Return these tastes and those of the users of the support who had none."""
        place = {name: m for m, name in enumerate(support.llm_ids)}
        column = np.asarray([place.get(name, -1) for name in self.llm_ids])
        strange = [i for i, name in enumerate(support.user_ids) if name not in self.users]
        values = np.where(column >= 0, support.values[strange][..., column], np.nan)
        facts = self.scaling(np.where((column >= 0)[:, None], support.content[:, column], np.nan))
        found = moments(values, facts, support.ok[:, column])
        K = self.weights.shape[1]
        theirs = found.departures(self.common, ridge_of(self.strengths, K, len(self.llm_ids)))
        names = [support.user_ids[i] for i in strange]
        return replace(
            self,
            users=self.users | {name: len(self.users) + i for i, name in enumerate(names)},
            weights=np.concatenate([self.weights[:-1], theirs[:, :K], self.weights[-1:]]),
            likings=np.concatenate([self.likings[:-1], theirs[:, K:], self.likings[-1:]]),
        )


def ridge_of(strengths: tuple[float, float], K: int, M: int) -> Doubles:
    """Return [K + M] the strengths of weights and of likings."""
    return np.repeat(np.asarray(strengths, dtype=np.float64), [K, M])


def moments(values: NDArray[Any], content: Doubles, ok: Bools) -> Moments:
    """Return the normal equations of each user.

    Args:
        values: [U, Q, M]; NaN where the user tells nothing.
        content: [Q, M, K] standardised, finite.
        ok: [Q, M] false where a response failed: its value is a charge, not an opinion.
    """
    U, Q, M = values.shape
    one = np.broadcast_to(np.eye(M), (Q, M, M))
    features = np.concatenate([content, one], axis=-1)  # [Q, M, P]
    P = features.shape[-1]
    outer = (features[..., :, None] * features[..., None, :]).reshape(Q * M, P * P)
    flat = features.reshape(Q * M, P)
    gram, cross = np.empty((U, P, P)), np.empty((U, P))
    for start in range(0, U, BLOCK):
        part = slice(start, start + BLOCK)
        told = np.isfinite(values[part]) & ok
        value = np.where(told, values[part], 0.0).astype(np.float64)
        seen = told.astype(np.float64)
        many = np.maximum(seen.sum(axis=-1), 1.0)  # [u, Q] candidates told about
        total = np.concatenate([np.einsum("uqm,qmk->uqk", seen, content, optimize=True), seen], -1)
        total /= np.sqrt(many)[..., None]
        block = (seen.reshape(len(seen), -1) @ outer).reshape(-1, P, P)
        gram[part] = block - total.swapaxes(1, 2) @ total
        level = value.sum(axis=-1) / np.sqrt(many)
        cross[part] = value.reshape(len(value), -1) @ flat - (level[:, None] @ total)[:, 0]
    return Moments(gram, cross)


def fit_tastes(past: Past, forecast: Doubles, folds: list[Bools]) -> Tastes:
    """Infer the tastes of all users.

    Args:
        past: what users told.
        forecast: [Q, M, 1 + K] value and content that were expected of each query from the other
            folds: strengths are those whose choices are worth most with these.
        folds: masks [Q].
    """
    scaling = Scaling.of(past.content)
    content = scaling(past.content)
    parts = [moments(past.values[:, held], content[held], past.ok[held]) for held in folds]
    found = sum(parts[1:], parts[0]) if parts else moments(past.values, content, past.ok)
    strengths = DEFAULT_STRENGTHS
    if folds:
        strengths = _select(past, found, parts, forecast, folds, scaling)
    K, M = past.content.shape[-1], past.content.shape[1]
    common = found.common()
    own = found.departures(common, ridge_of(strengths, K, M))
    own = np.concatenate([own, np.zeros((1, K + M))])
    return Tastes(
        users={name: i for i, name in enumerate(past.user_ids)},
        llm_ids=past.llm_ids,
        scaling=scaling,
        common=common,
        strengths=strengths,
        weights=own[:, :K],
        likings=own[:, K:],
    )


def _select(
    past: Past,
    found: Moments,
    parts: list[Moments],
    forecast: Doubles,
    folds: list[Bools],
    scaling: Scaling,
) -> tuple[float, float]:
    """Return the strengths whose choices are worth most."""
    M, K = past.content.shape[1:]
    pairs = [(w, b) for w in WEIGHT_STRENGTHS for b in LIKING_STRENGTHS]
    total = np.zeros(len(pairs))
    some = slice(None, None, 1 + past.values.size // SELECTION_CELLS)
    for held, part in zip(folds, parts, strict=True):
        rest = (found - part).of(some)
        common = (found - part).common()
        value, content = forecast[held, :, 0], forecast[held, :, 1:] / scaling.spread
        shown = content.reshape(-1, K).T
        values = past.values[some][:, held]
        for i, strengths in enumerate(pairs):
            own = rest.departures(common, ridge_of(strengths, K, M))
            guess = (own[:, :K] @ shown).reshape(len(own), -1, M) + own[:, None, K:] + value
            total[i] += worth_of(guess, values, past.order)[0]
    # Of tied ones those that say most by content: it carries over to LLMs that are new.
    best = max(range(len(pairs)), key=lambda i: (total[i], pairs[i][1], -pairs[i][0]))
    return pairs[best]
