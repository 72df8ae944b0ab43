"""`explicit-utility`: what the user wants, and what the LLMs are likely to do.

Idea: nobody likes an LLM for its name. A user weighs performance, cost and manner; the weights
can be told from the content of what they chose among (router/utility.py), with a population prior
where they have told little. With them every user's verdict on *every* past response follows, asked
or not, and a new query is expected to be like past ones (router/smoothing.py):

    score[u, q, m] = Σ_q' S[q, q'] · E[verdict of u on the response of m to q']

The verdict is the reward where rewards are told, and where these are shares of a choice the chance
to win: an LLM that is second best for every query is worth nothing to who takes only the best.
Where the user did tell, the verdict is moved towards what they said by a share ρ, since likings may
hang on what no feature shows.

Where choices alone are told (feedback `choice`, `pairwise`), they are signs of how well a user is
served and not the aim itself: a close second serves nearly as well, which a choice cannot say.
Utilities are then kept to a spread at which the chance to win rises with utility all the
way, and ρ is 0. Likings that are weak enough to start with (few choices, noisy ones) stay as they
are.

S and ρ are selected by cross-validation over past queries (training and validation; all verdicts on
the left-out queries are hidden from S); few queries make a poor judge, so of settings that are
about as good the plainest is taken. A user without a past gets the average of all users. Where
tastes drift (`History.segments`), verdicts are by the weights of the time to come
(router/forecast.py).

Sources: multinomial logit (McFadden 1974); empirical Bayes over users (Train 2009, ch. 12); the
closed form under full feedback is design.md's. Shapes: U users, Q past queries, M LLMs, F features
(performance, cost, 12 ratings where there are any, M for authorship).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.judging.dimensions import NAMES as DIMENSIONS

from .answering import answers, cheapest_first
from .forecast import forecast
from .records import Past, Space
from .smoothing import SMOOTHERS, Smoother
from .utility import (
    DRAWS,
    Bools,
    Doubles,
    Floats,
    Ints,
    Tastes,
    completed,
    infer,
    widened,
)

TRUSTS = (0.0, 0.5, 1.0)
FOLDS = 5
# Settings within so many standard errors (over queries) of the best are as good as the best.
TOLERANCE = 1.0
# Where choices alone are told, the standard deviation of a user's utilities at most.
SPREAD = 1.5
# Settings are compared on so many users at most, evenly spread over all.
JUDGES = 256


class ExplicitUtility:
    """Tastes inferred from content, then the expected verdict on a new query's responses.

    Args:
        seed: of the draws from the posterior and of the folds.
    """

    personal = True

    tastes: Tastes
    verdicts: Floats

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Infer tastes, select smoother and trust, complete the table of verdicts."""
        past, segments = Past.of(history), history.segments
        if history.validation is not None:
            past += Past.of(history.validation)
            if segments is not None:
                segments = np.concatenate([segments, history.validation.segments], axis=1)
        self.llm_ids, self.user_ids = past.llm_ids, past.user_ids
        self.order = cheapest_first(past)
        self.linear = not past.is_choice()
        self.spread = np.inf if history.feedback == "full" else SPREAD
        if not self.linear:
            past = past.decided()
        self.space = Space.of(past)
        self._learn(past, None)
        # That one was not chosen does not tell how bad it would have been: its utility does.
        trusts = TRUSTS if self.spread == np.inf else TRUSTS[:1]
        self.smoother, self.trust = select(self.verdicts, past, self.linear, trusts, self.seed)
        self.drifts = segments is not None
        if segments is not None:  # what was said is of other times; what it told is in the weights
            evidence = self.space.evidence(past, linear=self.linear)
            mean, self.forecasts = forecast(evidence, self.tastes, past.values, segments)
            self.tastes, self.trust = replace(self.tastes, mean=mean), 0.0
            self.verdicts = self._complete(past)
        self._settle(past)

    def adapt(self, support: History) -> None:
        """Meet new users or LLMs: `support` is added to the past, all that was learned stays.

        The population, smoother and trust are the fitted ones; a new LLM's authorship has no
        weight yet, and what it has not answered is expected to be like what it has.
        """
        fitted = self.llm_ids
        more = Past.of(support)
        past = self.past + (more if self.linear else more.decided())
        self.llm_ids, self.user_ids = past.llm_ids, past.user_ids
        self.order = cheapest_first(past)
        prior = widened(self.tastes, len(fitted), len(past.llm_ids))
        self.space = replace(self.space, llms=len(past.llm_ids))
        self._learn(past, prior)
        self._settle(past)

    def _learn(self, past: Past, prior: Tastes | None) -> None:
        evidence = self.space.evidence(past, linear=self.linear)
        self.features = evidence.features
        self.tastes = infer(evidence, prior)
        self.verdicts = self._complete(past)

    def _complete(self, past: Past) -> Floats:
        """Return [U, Q, M] what users would have said of every past response."""
        shown = [self.features] if self.linear else self.space.drawn(past, DRAWS, self.seed)
        return completed(
            self.tastes, shown, past.ok, linear=self.linear, spread=self.spread, seed=self.seed
        )

    def _settle(self, past: Past) -> None:
        """Keep what routing needs: the table [U + 1, Q, M], its last row for unknown users."""
        told = trusted(self.verdicts, past, self.trust, self.linear)
        self.table = np.concatenate([told, told.mean(axis=0, keepdims=True)])
        self.past = past
        self.smoothing = self.smoother.on(past.embeddings, past.tasks)

    def smooth(self, embeddings: Floats, tasks: Ints) -> Floats:
        """Return S [n, Q] for new queries."""
        return self.smoothing(embeddings, tasks)

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M] expected verdicts of users (rows of the history, -1 unknown)."""
        matrix = self.smooth(embeddings, tasks)
        return expected(self.table[users], matrix)

    def expectations(self, embeddings: Floats, tasks: Ints) -> dict[str, Doubles]:
        """Return [n, M] expected performance, normalised cost, and cost in USD, of new queries."""
        matrix = self.smooth(embeddings, tasks)
        facts: dict[str, tuple[NDArray[Any], float]] = {
            "performance": (self.past.content[..., 0], 1.0),
            "cost": (self.past.content[..., 1], 1.0),
            "cost_usd": (self.past.cost_usd, np.inf),
        }
        return {
            name: np.clip(matrix @ _filled(past), 0, most) for name, (past, most) in facts.items()
        }

    def reason(self, user: int) -> dict[str, float]:
        """Return the weights of a user (a row, -1 unknown) on content, by name."""
        weights = self.tastes.prior_mean if user < 0 else self.tastes.mean[user]
        names = ("performance", "cost", *DIMENSIONS)[: len(self.space.scale)]
        return {name: float(w) for name, w in zip(names, weights, strict=False)}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a checkpoint holds: settings and ids, and arrays."""
        ids, arrays = self.past.state()
        setting = self.smoother.setting
        meta = {
            "seed": self.seed,
            "linear": self.linear,
            "trust": self.trust,
            "spread": None if np.isinf(self.spread) else self.spread,
            "error": self.tastes.error,
            "smoother": [self.smoother.form, None if np.isinf(setting) else setting],
            "ids": ids,
        }
        return meta, {
            **arrays,
            "table": self.table,
            "scale": self.space.scale,
            "weights": self.tastes.mean,
            "prior_mean": self.tastes.prior_mean,
            "prior_covariance": self.tastes.prior_covariance,
        }

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], device: str = "cpu"
    ) -> ExplicitUtility:
        """Return the router of a checkpoint; ValueError or KeyError where it does not fit."""
        router = cls(int(meta["seed"]))
        past = Past.from_state(meta["ids"], arrays)
        form, setting = meta["smoother"]
        if form not in ("ridge", "kernel"):
            raise ValueError(f"unknown smoother {form!r}")
        router.smoother = Smoother(form, np.inf if setting is None else float(setting))
        router.linear, router.trust = bool(meta["linear"]), float(meta["trust"])
        router.spread = np.inf if meta.get("spread") is None else float(meta["spread"])
        router.space = Space(arrays["scale"], len(past.llm_ids))
        U, (Q, M), C = len(past.user_ids), past.ok.shape, past.content.shape[-1]
        expected = {
            "table": (U + 1, Q, M),
            "scale": (C,),
            "weights": (U, C + M),
            "prior_mean": (C + M,),
            "prior_covariance": (C + M, C + M),
        }
        for name, shape in expected.items():
            if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
                raise ValueError(f"{name} is {arrays[name].shape}, expected {shape}")
        router.tastes = Tastes(
            arrays["weights"],
            np.zeros((0, C + M, C + M)),  # needed for fitting only
            arrays["prior_mean"],
            arrays["prior_covariance"],
            float(meta["error"]),
        )
        router.past, router.table = past, arrays["table"]
        router.smoothing = router.smoother.on(past.embeddings, past.tasks)
        router.user_ids, router.llm_ids = past.user_ids, past.llm_ids
        router.order = cheapest_first(past)
        return router

    def route(self, requests: Requests) -> Any:
        """Return [n] indices."""
        return answers(self, requests)


def _filled(facts: NDArray[Any]) -> Doubles:
    """[Q, M] facts of past responses, unknown ones the mean of their LLM."""
    known = np.isfinite(facts)
    count = known.sum(axis=0)
    total = np.where(known, facts, 0).sum(axis=0, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return np.where(known, facts, mean)


def expected(table: Floats, matrix: Floats) -> Floats:
    """Return [u, n, M] = S [n, Q] applied to a table [u, Q, M]."""
    result: Floats = np.matmul(matrix[None], table)
    return result


def trusted(verdicts: Floats, past: Past, trust: float, linear: bool) -> Floats:
    """Return verdicts, moved by the share `trust` towards what users said where they said it.

    What they said is of the candidates that they saw, and leaves these together as they are.
    """
    if trust == 0:
        return verdicts
    seen, said = past.seen, np.nan_to_num(past.values)
    mine = np.where(seen, verdicts, 0).sum(axis=-1, keepdims=True)
    if linear:
        count = np.maximum(seen.sum(axis=-1, keepdims=True), 1)
        said = said + (mine - np.where(seen, said, 0).sum(axis=-1, keepdims=True)) / count
    else:
        said = said * mine
    return np.where(seen, verdicts + np.float32(trust) * (said - verdicts), verdicts)


def select(
    verdicts: Floats, past: Past, linear: bool, trusts: Sequence[float], seed: int
) -> tuple[Smoother, float]:
    """Return the smoother and the trust whose choices do best on left-out queries.

    Settings come plainest first, and the first within `TOLERANCE` standard errors of the best is
    taken; the error is that of the mean over queries, which all users share.
    """
    some = slice(None, None, -(-len(verdicts) // JUDGES))
    verdicts, past = verdicts[some], replace(past, values=past.values[some])
    settings = [(s, t) for t in trusts for s in SMOOTHERS]
    tables = {t: trusted(verdicts, past, t, linear) for t in trusts}
    fold = np.random.default_rng(seed).permutation(len(past.tasks)) % FOLDS
    gains = np.full((len(settings), len(past.tasks)), np.nan)
    for k in range(FOLDS):
        new, old = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        if not (len(new) and len(old)):
            continue
        matrices = {
            s: s.matrix(
                past.embeddings[new], past.tasks[new], past.embeddings[old], past.tasks[old]
            )
            for s in SMOOTHERS
        }
        for i, (s, t) in enumerate(settings):
            score = expected(tables[t][:, old], matrices[s])
            gains[i, new] = chosen_value(score, past.values[:, new], past.seen[:, new])
    if not np.isfinite(gains).any():
        return settings[0]
    means = np.nanmean(gains, axis=1)
    best = int(means.argmax())
    for i, setting in enumerate(settings):
        paired = gains[best] - gains[i]
        paired = paired[np.isfinite(paired)]
        error = paired.std() / np.sqrt(max(len(paired) - 1, 1))
        if paired.mean() <= TOLERANCE * error:
            return setting
    return settings[best]


def chosen_value(score: Floats, values: Floats, seen: Bools) -> Doubles:
    """Return [q] the mean over users of the value of the best-scored candidate among the seen."""
    choice = np.where(seen, score, -np.inf).argmax(axis=-1)
    got = np.take_along_axis(values, choice[..., None], axis=-1)[..., 0]
    told = seen.any(axis=-1)
    count = told.sum(axis=0)
    total = np.where(told, got, 0).sum(axis=0, dtype=np.float64)
    mean: Doubles = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean
