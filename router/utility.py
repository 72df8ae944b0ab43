"""What a user wants, inferred from the content of what they chose among.

    utility(u, q, m) = w_u · x[q, m],      w_u ~ Normal(μ, Σ)

x holds the performance, cost and manner of the response, and which LLM wrote it (for likings that
nothing else explains). Choices follow the multinomial logit (McFadden 1974); rewards are linear
with Gaussian error. μ and Σ are the population's and estimated from all users by empirical Bayes
(EM with a Laplace approximation), so a user with three choices is told mostly by the others, and
one with a hundred speaks for themselves. What all candidates of a query share cannot be told from
choices, so features are centred within the query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

ROUNDS = 10
# Of the weights, for the chance to win.
DRAWS = 8
NEWTON_STEPS = 25
LONGEST = 2.0
# The expected gain in log posterior of one more step, twice.
ARRIVED = 1e-4
# The population is estimated from so many users at most, evenly spread over all.
POPULATION_USERS = 256
# Users of one block: about so many (user, query, LLM) cells.
BLOCK_CELLS = 2_000_000
# The population's covariance counts for so many users of its own diagonal, averaged by group.
PRIOR_USERS = 8.0
START_VARIANCE = 4.0
LEAST_VARIANCE = 1e-4
# Rewards that a linear utility explains entirely still have this share of their variance as error.
LEAST_ERROR = 1e-3


@dataclass(frozen=True)
class Tastes:
    """Gaussian posteriors of users' weights, and the population they come from."""

    mean: Doubles
    """[U, F]"""
    root: Doubles
    """[U, F, F] lower Cholesky factor of the posterior covariance."""
    prior_mean: Doubles
    """[F]"""
    prior_covariance: Doubles
    """[F, F]"""
    error: float = 1.0
    """Variance of a reward about its mean; of no meaning for choices."""


@dataclass(frozen=True)
class Evidence:
    """What users have told of past queries."""

    features: Floats
    """[Q, M, F], centred within each query over the responses that are ok."""
    target: Floats
    """[U, Q, M] shares of the choice (sum 1), or rewards; read only where seen."""
    seen: Bools
    """[U, Q, M] true for what counts as told; responses that are not ok are not seen."""
    groups: Ints
    """[F] features of one group have a similar spread of weights over users."""
    linear: bool
    """Whether the target is a reward, and not a choice."""


def infer(evidence: Evidence, prior: Tastes | None = None, start: Doubles | None = None) -> Tastes:
    """Infer users' weights; with `prior` the population stays as it is (few-shot).

    `start` [U, F] are weights near to the result, for instance with some queries more.

    Users about whom nothing is known get the prior.
    """
    if prior is not None:
        population = (prior.prior_mean, prior.prior_covariance, prior.error)
        return _posterior(evidence, population, start=start)
    width = evidence.features.shape[-1]
    population = (np.zeros(width), START_VARIANCE * np.eye(width), 0.05)
    known = np.flatnonzero(evidence.seen.any(axis=(1, 2)))
    if len(known):
        some = known[:: -(-len(known) // POPULATION_USERS)]
        few = replace(evidence, target=evidence.target[some], seen=evidence.seen[some])
        tastes = _posterior(few, population)
        for _ in range(ROUNDS):
            population = _population(tastes, evidence.groups)
            # The modes move little between rounds, so a few steps follow them.
            tastes = _posterior(few, population, start=tastes.mean, steps=3)
        population = _population(tastes, evidence.groups)
    return _posterior(evidence, population)


def _population(tastes: Tastes, groups: Ints) -> tuple[Doubles, Doubles, float]:
    """The M step: mean and covariance over users, the covariance shrunk to groups' variances."""
    mean, root = tastes.mean, tastes.root
    centre = mean.mean(axis=0)
    spread = mean - centre
    covariance = (spread.T @ spread + np.einsum("uij,ukj->ik", root, root)) / len(mean)
    variance = np.diag(covariance)
    shared = np.asarray([variance[groups == g].mean() for g in groups])
    pooled = (len(mean) * covariance + PRIOR_USERS * np.diag(shared)) / (len(mean) + PRIOR_USERS)
    return centre, pooled + LEAST_VARIANCE * np.eye(len(centre)), tastes.error


def _posterior(
    evidence: Evidence,
    population: tuple[Doubles, Doubles, float],
    start: Doubles | None = None,
    steps: int = NEWTON_STEPS,
) -> Tastes:
    """The E step: each user's mode and curvature, all users of a block at once."""
    centre, covariance, error = population
    users, width = len(evidence.target), len(centre)
    flat = evidence.features.reshape(-1, width)
    outer = (flat[:, :, None] * flat[:, None, :]).reshape(len(flat), -1)
    precision: Doubles = np.asarray(np.linalg.inv(covariance), np.float64)
    mean = np.broadcast_to(centre, (users, width)).copy() if start is None else start.copy()
    root = np.empty((users, width, width))
    squares, cells, spread = 0.0, 0.0, 0.0
    for rows in _blocks(evidence):
        told = _Told(evidence, rows, flat, outer)
        if evidence.linear:
            curvature, pull = told.linear(error)
            total = curvature + precision
            mean[rows] = np.linalg.solve(total, (pull + precision @ centre)[..., None])[..., 0]
            squares += told.squares(mean[rows])
            cells += told.cells
            spread += told.total
        else:
            told.climb(mean[rows], centre, precision, steps)
            total = told.logit(mean[rows])[0] + precision
        inverse = np.linalg.inv(total)
        inverse = (inverse + inverse.swapaxes(-1, -2)) / 2
        jitter = 1e-9 * np.trace(inverse, axis1=1, axis2=2)[:, None, None]
        root[rows] = np.linalg.cholesky(inverse + jitter * np.eye(width))
    if spread > 0:
        error = max(squares, LEAST_ERROR * spread) / cells
    return Tastes(mean, root, centre, covariance, error)


class _Told:
    """One block of users; sums over its cells are matrix products with x and with x xᵀ."""

    def __init__(self, evidence: Evidence, rows: slice, flat: Floats, outer: Floats) -> None:
        self.flat, self.outer = flat, outer
        self.seen = evidence.seen[rows]
        self.target = np.where(self.seen, evidence.target[rows], np.float32(0))
        self.features = evidence.features
        self.cells = max(float(self.seen.sum()), 1.0)
        self.total = 0.0

    def climb(self, mean: Doubles, centre: Doubles, precision: Doubles, steps: int) -> None:
        """Move `mean` [u, F] to the mode of each user's posterior, in place, by Newton's method.

        A step changes utilities by no more than `LONGEST` on average, where the quadratic model
        still holds; users who have arrived are left alone.
        """
        spread = (self.outer.mean(axis=0)).reshape(mean.shape[1], -1)
        moving = np.arange(len(mean))
        for _ in range(steps):
            curvature, pull = self.logit(mean[moving], moving)
            gradient = pull - (mean[moving] - centre) @ precision
            step = np.linalg.solve(curvature + precision, gradient[..., None])[..., 0]
            change = np.sqrt(np.einsum("ui,ij,uj->u", step, spread, step))[:, None]
            mean[moving] += step * np.minimum(1, LONGEST / np.maximum(change, 1e-12))
            moving = moving[(gradient * step).sum(axis=-1) > ARRIVED]
            if not len(moving):
                break

    def linear(self, error: float) -> tuple[Doubles, Doubles]:
        """Return Σ x xᵀ / σ² [u, F, F] and Σ x r / σ² [u, F], r centred within the query."""
        users, width = len(self.seen), self.flat.shape[1]
        count = np.maximum(self.seen.sum(axis=-1, keepdims=True), 1)
        level = self.target.sum(axis=-1, keepdims=True) / count
        centred = np.where(self.seen, self.target - level, 0).astype(np.float64)
        # In double precision: rewards without noise leave little error, and amplify rounding.
        weight = self.seen.reshape(users, -1).astype(np.float64)
        square = (weight @ self.outer.astype(np.float64)).reshape(users, width, width)
        # Features are centred over all candidates, which are more than a user may have seen.
        seen = self.seen.astype(np.float32)
        average = np.einsum("uqm,qmf->uqf", seen, self.features, optimize=True)
        average = (average / np.sqrt(count)).astype(np.float64)
        square -= average.swapaxes(1, 2) @ average
        pull = centred.reshape(users, -1) @ self.flat
        self.total = float((centred**2).sum())
        self.square, self.pull = square, pull
        return self.square / error, self.pull / error

    def squares(self, mean: Doubles) -> float:
        """Return the sum of squared errors of rewards at these weights."""
        fit = np.einsum("ui,uij,uj->", mean, self.square, mean)
        return float(self.total - 2 * (mean * self.pull).sum() + fit)

    def logit(self, mean: Doubles, rows: Any = slice(None)) -> tuple[Doubles, Doubles]:
        """Return the curvature [u, F, F] and gradient [u, F] of the log likelihood, negated once.

        Curvature is Σ_q (E x xᵀ − E x E xᵀ) under the chances of choice, gradient Σ_q (x − E x).
        """
        users, width = mean.shape
        chance = choice_chances(mean, self.features, self.seen[rows])
        flat = chance.reshape(users, -1)
        average = np.einsum("uqm,qmf->uqf", chance, self.features, optimize=True)
        square = (flat @ self.outer).reshape(users, width, width)
        square -= average.swapaxes(1, 2) @ average
        pull = (self.target[rows] - chance).reshape(users, -1) @ self.flat
        return square.astype(np.float64), pull.astype(np.float64)


def choice_chances(mean: Doubles, features: Floats, seen: Bools) -> Floats:
    """Return [U, Q, M] the chance that a user with weights `mean` takes m among what is seen.

    Args:
        mean: [U, F].
        features: [Q, M, F].
        seen: [U, Q, M] or broadcast to it; a query with nothing seen gets zeros.
    """
    Q, M, F = features.shape
    utility = (mean.astype(np.float32) @ features.reshape(-1, F).T).reshape(len(mean), Q, M)
    utility = np.where(seen, utility, -np.inf)
    best = utility.max(axis=-1, keepdims=True)
    utility -= np.where(np.isfinite(best), best, 0)
    np.exp(utility, out=utility)
    total = utility.sum(axis=-1, keepdims=True)
    chances: Floats = np.divide(utility, total, out=np.zeros_like(utility), where=total > 0)
    return chances


def completed(
    tastes: Tastes,
    features: Sequence[Floats],
    ok: Bools,
    *,
    linear: bool,
    spread: float = np.inf,
    seed: int = 0,
) -> Floats:
    """Return [U, Q, M] what each user would have said of every past response.

    Choices: the chance to win, averaged over the posterior of the weights (the same antithetic
    standard normal draws for all users). Rewards: the expected reward above the query's mean.
    What is not ok never wins; in rewards it is charged the worst ok candidate's.

    Who is sure of the best has chances of 0 and 1, in which the second best is worth no more than
    the worst. A `spread` keeps the utilities of such a user to this standard deviation, so that
    chances rise with utility: what to maximise where choices stand for how well one is served.

    Args:
        tastes: of U users.
        features: [Q, M, F], one for each draw in turn where they are not certain.
        ok: [Q, M].
        linear: whether rewards are told.
        spread: at most, over past queries and candidates; of no meaning for rewards.
        seed: of the draws.
    """
    Q, M, F = features[0].shape
    if linear or np.isfinite(spread):
        shown = np.mean(features, axis=0, dtype=np.float32).reshape(-1, F)
        value = (tastes.mean.astype(np.float32) @ shown.T).reshape(-1, Q, M)
    if linear:
        worst = np.where(ok, value, np.inf).min(axis=-1, keepdims=True)
        return np.where(ok, value, np.where(np.isfinite(worst), worst, 0)).astype(np.float32)
    if np.isfinite(spread):
        count = max(int(ok.sum()), 1)
        wide = np.sqrt(np.where(ok, value**2, 0).sum(axis=(1, 2), dtype=np.float64) / count)
        calm = np.minimum(1.0, spread / np.maximum(wide, 1e-12))[:, None]
        tastes = replace(tastes, mean=tastes.mean * calm, root=tastes.root * calm[..., None])
    half = np.random.default_rng(seed).standard_normal((DRAWS // 2, F))
    table = np.zeros((len(tastes.mean), Q, M), np.float32)
    for i, noise in enumerate(np.concatenate([half, -half])):
        shown = features[i % len(features)]
        table += choice_chances(tastes.mean + tastes.root @ noise, shown, ok[None])
    return table / np.float32(2 * len(half))


def _blocks(evidence: Evidence) -> Iterator[slice]:
    users, queries, llms = evidence.target.shape
    step = max(1, BLOCK_CELLS // max(1, queries * llms))
    for start in range(0, users, step):
        yield slice(start, min(start + step, users))


def widened(tastes: Tastes, llms: int, wider: int) -> Tastes:
    """Return the population with the authorship of ``wider - llms`` further LLMs.

    A new author is liked by nobody in particular, and users differ about it as they do about the
    others. The last `llms` features are the authorships known.
    """
    more, width = wider - llms, len(tastes.prior_mean)
    spread = float(np.diag(tastes.prior_covariance)[width - llms :].mean())
    covariance = spread * np.eye(width + more)
    covariance[:width, :width] = tastes.prior_covariance
    centre = np.concatenate([tastes.prior_mean, np.zeros(more)])
    return replace(tastes, prior_mean=centre, prior_covariance=covariance)
