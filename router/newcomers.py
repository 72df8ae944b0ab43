"""What an LLM that has answered little would have answered: empirical Bayes from the known LLMs.

    x[q, m] = base[q] + slope · (z_m − z̄) + a_m + g_{m, task} + e[q, m]

for each content x apart (performance, cost, ratings of manner). The base is the mean of the known
LLMs on the same query, so that a newcomer that met hard queries is not taken for a bad one; z is
the logarithm of the price, which is known beforehand. The slope and the variances of a, g and e are
those of the known LLMs, each predicted as if the others alone were known. A newcomer's a and g are
posterior means: nothing seen, the price decides; ten responses move it as far as the noise of ten
responses allows.

The chance to win hangs on more than means: who never varies never wins. So `Guess.draw` also gives
possible contents, e from the known LLMs' residuals, all contents of a response together. They
scatter a little less than those (`SCATTER`), and a and g stay at their posterior means: with more,
newcomers are taken too often for what they might be (docs/personalized.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Known is an LLM of whose responses at least this share is known, of those of the best known one.
KNOWN_SHARE = 0.5
# Of the least-squares slope on the price; none where LLMs left out are predicted best without.
SLOPES = (0.0, 0.5, 1.0)
LEAST_VARIANCE = 1e-6
# Of the known LLMs' residuals, chosen on development data, where .65 to .8 are as good.
SCATTER = 0.75
# Squared, of how far LLMs lie apart in a task, as a share of the mean over tasks.
LEAST_SPREAD = 0.05


@dataclass(frozen=True, eq=False)
class Guess:
    """Expected contents of Q queries × M LLMs × C contents, and how they may depart."""

    mean: Doubles
    """[Q, M, C] known contents, expected ones where they are unknown."""
    unknown: Bools
    """[Q, M, C] what is guessed."""
    tasks: Ints
    """[Q] from 0 to T − 1."""
    residuals: list[Doubles]
    """[T] of [n, C] residuals of known LLMs' responses."""

    def draw(self, rng: np.random.Generator) -> Doubles:
        """Return [Q, M, C] contents that may have been."""
        shift, llms = np.zeros_like(self.mean), self.unknown.shape[1]
        for task, bank in enumerate(self.residuals):
            rows = np.flatnonzero(self.tasks == task)
            if len(bank):
                shift[rows] = bank[rng.integers(len(bank), size=(len(rows), llms))]
        return np.where(self.unknown, self.mean + SCATTER * shift, self.mean)


def guess(content: NDArray[np.floating], ok: Bools, tasks: Ints, prices: Doubles) -> Guess:
    """Return what the unknown contents may be.

    Args:
        content: [Q, M, C]; NaN unknown.
        ok: [Q, M] false where a response failed: nothing is to be guessed there.
        tasks: [Q].
        prices: [M, 2] USD per million input and output tokens; NaN unknown.
    """
    x = content.astype(np.float64)
    seen = np.isfinite(x) & ok[..., None]
    names, place = np.unique(tasks, return_inverse=True)
    T, (_, M, C) = len(names), x.shape
    total = prices.sum(axis=1)
    z = np.log10(np.maximum(total, 1e-3))
    z = np.where(np.isfinite(z), z, np.nanmean(z) if np.isfinite(z).any() else 0.0)
    mean = np.where(seen, x, 0.0)
    rest = np.full(x.shape, np.nan)
    count = seen.sum(axis=0)  # [M, C]
    for c in range(C):
        old = count[:, c] >= max(KNOWN_SHARE * count[:, c].max(initial=0), 1)
        if not old.any():
            continue
        # Performance saturates: beyond the known prices no more is expected, and no less. Of manner
        # the price says nothing.
        price = (np.clip(z, z[old].min(), z[old].max()), z, np.zeros(M))[min(c, 2)]
        column = _Column(x[..., c], seen[..., c], old, place, T, price)
        mean[..., c], rest[..., c] = column.solve()
    residuals = []
    for t in range(T):
        bank = rest[place == t].reshape(-1, C)
        residuals.append(np.nan_to_num(bank[np.isfinite(bank).any(axis=1)]))
    return Guess(mean, ok[..., None] & ~seen, place, residuals)


class _Column:
    """One content of all responses."""

    def __init__(
        self, x: Doubles, seen: Bools, old: Bools, place: Ints, tasks: int, z: Doubles
    ) -> None:
        self.x, self.seen, self.old, self.place, self.z = np.where(seen, x, 0), seen, old, place, z
        self.member = np.eye(tasks)[place]  # [Q, T]
        known = seen & old
        number = known.sum(axis=1)
        total = np.where(known, self.x, 0).sum(axis=1)
        own = np.where(known, 1, 0)
        # Of each LLM the mean of the *other* known ones [Q, M], where there is one.
        others = number[:, None] - own
        self.compared = others > 0
        self.base = (total[:, None] - np.where(known, self.x, 0)) / np.maximum(others, 1)
        self._fill_base(number > 0)
        self.gap = np.where(seen & self.compared, self.x - self.base, 0.0)
        self.count = self.member.T @ (seen & self.compared)  # [T, M]
        self.level = (self.member.T @ self.gap) / np.maximum(self.count, 1)

    def _fill_base(self, known: Bools) -> None:
        """Queries that no known LLM has answered are like their task."""
        for t in range(self.member.shape[1]):
            rows = self.member[:, t] > 0
            usual = self.base[rows & known].mean(axis=0) if (rows & known).any() else 0.0
            self.base[rows & ~known] = usual

    def solve(self) -> tuple[Doubles, Doubles]:
        """Return [Q, M] means and [Q, M] known residuals."""
        T, M = self.level.shape
        residual = np.where(self.seen & self.compared, self.gap - self.level[self.place], np.nan)
        residual[:, ~self.old] = np.nan
        error, spread = self._spreads(residual)
        self.level /= spread[:, None]
        error /= spread**2
        prior, between, within = self._population(error)
        covariance = between + within * np.eye(T)
        precision = np.linalg.inv(covariance + LEAST_VARIANCE * np.eye(T))
        mean = np.empty(self.x.shape)
        for m in range(M):
            weight = self.count[:, m] / error
            posterior = np.linalg.inv(precision + np.diag(weight))
            shift = posterior @ (weight * (self.level[:, m] - prior[m]))
            mean[:, m] = self.base[:, m] + (spread * (prior[m] + shift))[self.place]
        return np.where(self.seen, self.x, mean), residual

    def _spreads(self, residual: Doubles) -> tuple[Doubles, Doubles]:
        """Return [T] variances of responses about an LLM's mean, and [T] how far LLMs lie apart.

        Tasks differ in both: what all LLMs can do tells little about any of them.
        """
        squares = self.member.T @ np.nan_to_num(residual**2)  # [T, M]
        count, old = self.count[:, self.old], (self.count > 0) & self.old
        freedom = np.maximum(count.sum(axis=1) - old.sum(axis=1), 1)
        error = np.maximum(squares.sum(axis=1) / freedom, LEAST_VARIANCE)
        chance = error[:, None] / np.maximum(self.count, 1)
        apart = np.where(old, self.level**2 - chance, 0).sum(axis=1) / np.maximum(old.sum(1), 1)
        least = LEAST_SPREAD * max(float(apart.mean()), LEAST_VARIANCE)
        return error, np.sqrt(np.maximum(apart, least))

    def _population(self, error: Doubles) -> tuple[Doubles, float, float]:
        """Return [M] prior means, and variances between LLMs and within them between tasks."""
        told = self.count > 0
        level = np.where(told, self.level, 0).sum(axis=0) / np.maximum(told.sum(axis=0), 1)
        old = np.flatnonzero(self.old & told.any(axis=0))
        if len(old) < 3:  # nothing can be said of how LLMs differ: believe what is seen
            return np.zeros(len(self.z)), 1.0, 1.0
        z = self.z - self.z[old].mean()
        z[old] *= len(old) / (len(old) - 1)  # against the mean of the others
        found = []
        for share in SLOPES:
            misses = [
                level[m] - share * _slope(z[old[old != m]], level[old[old != m]]) * z[m]
                for m in old
            ]
            found.append(float(np.mean(np.square(misses))))
        best = int(np.argmin(found))
        slope = SLOPES[best] * _slope(z[old], level[old])
        chances = error[:, None] / np.maximum(self.count[:, old], 1)
        noise = chances.mean(axis=0) / len(self.level)
        between = max(found[best] - float(noise.mean()), LEAST_VARIANCE)
        cells = told[:, old]
        part = np.where(cells, (self.level - level)[:, old], 0)
        freedom = max(int((cells.sum(axis=0) - 1).clip(min=0).sum()), 1)
        chance = float(chances[cells].mean())
        within = max(float((part**2).sum()) / freedom - chance, LEAST_VARIANCE)
        return slope * z, between, within


def _slope(z: Doubles, y: Doubles) -> float:
    square = float((z**2).sum())
    return float((z * y).sum()) / square if square > 0 else 0.0
