"""What to expect of each LLM for a query: the frame of the routers that regress on embeddings.

embedding ──learn──► expected value, performance, cost (and style) of every LLM ──► the best
                                     └── times what the user cares about (tastes.py) ──► the best

A router of this kind supplies `learn` alone: from [Q, D] to [Q, P], cells weighted. Its setting is
the one whose choices are worth most on past queries that were left out while learning, in five
folds over training and validation: the validation split alone can be a few dozen queries, the
same for all users, too few to tell k = 3 from k = 50.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import Doubles, Ints, first_best
from .past import Bools, Past, past_of
from .tastes import Tastes, fit_tastes

Predict = Callable[[NDArray[Any]], Doubles]
"""[q, D] embeddings to [q, P] expectations."""

# Rows of an unseen LLM's support that weigh as much as the mean of the LLMs already known.
NEWCOMER_STRENGTH = 1.0


@dataclass(frozen=True, eq=False)
class Lessons:
    """What there is to learn from past queries: P numbers for each of M LLMs."""

    inputs: Doubles
    """[Q, D] embeddings."""
    targets: Doubles
    """[Q, M, P]; 0 where the weight is 0."""
    weights: Doubles
    """[Q, M, P] how many verdicts (of the value) or facts (0 or 1) stand behind a target."""

    def of(self, rows: NDArray[Any]) -> Lessons:
        """Return the lessons of some queries."""
        return Lessons(self.inputs[rows], self.targets[rows], self.weights[rows])


def lessons(past: Past, *, classify: bool = False, content: bool = False) -> Lessons:
    """Return the mean value over users as the first target, then the content where asked for.

    With `classify` the value becomes 1 for the LLM whose mean value is highest and 0 for the
    others, the label of the paper's baselines.
    """
    count = np.isfinite(past.values).sum(axis=0).astype(np.float64)
    value = np.nansum(past.values, axis=0, dtype=np.float64) / np.maximum(count, 1)
    if classify:
        best = first_best(np.where(count > 0, value, np.nan), past.order)
        value = (best[:, None] == np.arange(value.shape[1])).astype(np.float64)
        count = np.broadcast_to((count > 0).any(axis=1, keepdims=True), value.shape).astype(float)
    targets, weights = value[..., None], count[..., None]
    if content:
        known = np.isfinite(past.content)
        targets = np.concatenate([targets, np.where(known, past.content, 0.0)], axis=-1)
        weights = np.concatenate([weights, known.astype(np.float64)], axis=-1)
    return Lessons(past.embeddings, targets, weights)


def aligned(scores: Doubles, known: Sequence[str], candidates: Sequence[str]) -> Doubles:
    """Return [..., m] the scores [..., M] of `known` LLMs in the order of the candidates.

    An LLM that the router never saw gets the mean of the others: nothing speaks for it or against.
    """
    if list(known) == list(candidates):
        return scores
    place = {name: i for i, name in enumerate(known)}
    index = np.asarray([place.get(str(name), -1) for name in candidates])
    strangers = index < 0
    found: Doubles = np.array(scores[..., index])
    if strangers.any():
        found[..., strangers] = scores.mean(axis=-1, keepdims=True)
    return found


def ranked(known: Sequence[str], order: Ints, candidates: Sequence[str]) -> Ints:
    """Return [m] the candidates' indices in the order that settles ties, strangers last."""
    rank = {known[m]: i for i, m in enumerate(order.tolist())}
    return np.argsort([rank.get(str(name), len(rank)) for name in candidates], kind="stable")


class ExpectationRouter:
    """``argmax_m v̂(q, m)``, or for a personal router ``argmax_m v̂(q, m) + w_u · ĉ(q, m) + b_um``.

    v̂ is the expected mean value over users, ĉ [K] the expected performance, cost and style. The
    weights w_u and likings b_um are a ridge regression on the user's own history, see tastes.py.
    Users without a past get the first form; an LLM that `adapt` brings is expected to differ from
    the mean of the known ones by what its few rows show.
    """

    settings: ClassVar[Sequence[Any]] = ()
    """What is tried on validation; the first is used where there is none."""
    personal: ClassVar[bool] = False
    classify: ClassVar[bool] = False
    setting: Any
    """The chosen one."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: Any) -> Predict:
        """Regress targets [Q, P], each with its weights [Q, P], on inputs [Q, D]."""
        raise NotImplementedError

    def fit(self, history: History) -> None:
        """Select the setting, infer tastes, then learn from all of the past.

        Raises:
            BenchError: the training split tells nothing.
        """
        past = past_of(history)
        self.llm_ids: list[str] = history.llm_ids.tolist()
        self.tie_order = past.order
        folds = past.folds()
        self.setting = self._select(past, folds)
        told = lessons(past, classify=self.classify, content=self.personal)
        if self.personal:
            forecast = self._forecast(told, self.setting, folds)
            self.tastes: Tastes = fit_tastes(past, forecast, folds)
        self.expect = self._learned(told, self.setting)
        self.offsets = np.zeros((0, told.targets.shape[-1]))  # [new LLMs, P]

    def adapt(self, support: History) -> None:
        """Take in new LLMs and new users from a few rows; what was learnt stays as it is."""
        past = past_of(support, empty=True)
        newcomers = [m for m, name in enumerate(support.llm_ids) if name not in self.llm_ids]
        if newcomers:
            told = lessons(
                past_of(support, empty=True), classify=self.classify, content=self.personal
            )
            seen = np.any(support.observed, axis=0)[:, newcomers, None]
            weights = (told.weights[:, newcomers] > 0) & seen  # [Q, new, P]
            usual = self._expected(support.embeddings).mean(axis=1, keepdims=True)
            gap = ((told.targets[:, newcomers] - usual) * weights).sum(axis=0)
            offsets = gap / (weights.sum(axis=0) + NEWCOMER_STRENGTH)
            self.offsets = np.concatenate([self.offsets, offsets])
            self.llm_ids += [str(support.llm_ids[m]) for m in newcomers]
            self.tie_order = np.append(
                self.tie_order, len(self.tie_order) + np.arange(len(newcomers))
            )
        if self.personal:
            self.tastes = self.tastes.adapted(past)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        candidates = requests.candidates.tolist()
        expected = self._expected(requests.embeddings)  # [q, M, P]
        columns = aligned(np.moveaxis(expected, 1, -1), self.llm_ids, candidates)  # [q, P, m]
        order = ranked(self.llm_ids, self.tie_order, candidates)
        value, content = columns[:, 0], np.moveaxis(columns[:, 1:], 1, -1)
        if not self.personal:
            return first_best(value, order)[requests.query_index]
        return first_best(self.tastes.scores(requests, candidates, value, content), order)

    def _expected(self, embeddings: NDArray[Any]) -> Doubles:
        """[q, D] to [q, M, P], new LLMs behind the known."""
        known = self.expect(embeddings)
        if not len(self.offsets):
            return known
        return np.concatenate([known, known.mean(axis=1, keepdims=True) + self.offsets], axis=1)

    def _learned(self, told: Lessons, setting: Any) -> Predict:
        """Return the regression as [q, D] to [q, M, P]."""
        shape = told.targets.shape
        flat = [x.reshape(shape[0], -1) for x in (told.targets, told.weights)]
        predict = self.learn(told.inputs, flat[0], flat[1], setting)
        return lambda x: predict(np.asarray(x, np.float64)).reshape(len(x), *shape[1:])

    def _forecast(self, told: Lessons, setting: Any, folds: list[Bools]) -> Doubles:
        """[Q, M, P] what each fold would have been expected to be from the others."""
        found = np.zeros(told.targets.shape)
        for held in folds:
            found[held] = self._learned(told.of(~held), setting)(told.inputs[held])
        return found

    def _select(self, past: Past, folds: list[Bools]) -> Any:
        if not folds or len(self.settings) == 1:
            return self.settings[0]
        told = lessons(past, classify=self.classify)
        found = [
            past.worth(self._forecast(told, setting, folds)[None, ..., 0])
            for setting in self.settings
        ]
        return self.settings[int(np.argmax(found))]
