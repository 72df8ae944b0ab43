"""What sways a judge that should not: the place an answer is shown at, its length, its family.

Each figure is a pure function of arrays with its formula, an interval or a test, and the number
it is over. A tie of k counts 1/k for each LLM in it, but for the position test, which leaves ties
out. docs/judging.md says how to read them; known sizes elsewhere: 12.9 % of verdicts turn when the
order does, the longer answer wins 68.0 %, GPT-4 prefers itself in 87.2 % (FastChat issue 3911).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.bootstrap import interval
from personaroute_bench.judging.agreement import (
    CONFIDENCE,
    DRAWS,
    Agreement,
    bounds,
    cluster_weights,
    kappa,
    percent,
    ratio_interval,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from personaroute_bench.judging.verdicts import Matched
    from personaroute_bench.users.rewards import Bools, Doubles

    Ints = NDArray[np.int64]

SIGNIFICANT = 0.01
"""Below this p-value a report says that the order shown matters."""

SMALLEST_EXPECTED = 5.0
"""The chi-square law is trusted for cells of at least so many (Cochran, 1954)."""

LARGEST_ODDS = 1000.0
"""Odds ratios are cut off here and at its inverse; a judge that always takes the longest has no
finite one."""

_BLOCK_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Choices by the place at which the chosen answer was shown."""

    choices: int
    """Single choices among at least two answers; ties are left out."""
    ties: int
    shares: tuple[float, ...]
    """Share of the choices at each place, the first place first."""
    expected: tuple[float, ...]
    """The same if the order did not matter: the mean of 1/k over k answers shown."""
    moved: float | None
    """½ Σ |shares − expected|: at least this share of the choices would have to move."""
    chi_square: float | None
    degrees: int
    p_value: float | None
    """None where there are too few choices for the test."""

    @property
    def matters(self) -> bool:
        """Whether the test says that the order shown decides."""
        return self.p_value is not None and self.p_value < SIGNIFICANT

    def sentence(self) -> str:
        """Say it in words."""
        if not self.choices:
            return "position: not measured, no single choice to count"
        excess = np.subtract(self.shares, self.expected)
        place = int(excess.argmax())
        text = (
            f"place {place + 1} is chosen in {percent(self.shares[place])} of {self.choices:,} "
            f"single choices, {percent(self.expected[place])} expected if the order did not matter"
        )
        if self.p_value is None:
            return f"position: too few choices for a test; {text}"
        sign = "the order shown matters" if self.matters else "no sign that the order shown matters"
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return (
            f"position: {sign}; {text} (chi-square {self.chi_square:.1f}, "
            f"{self.degrees} degrees of freedom, {p}; {percent(self.moved)} would have to move)"
        )


def position_bias(place: Ints, shown: Ints, ties: int = 0) -> PositionBias:
    """Test whether choices depend on the place: the chi-square test of goodness of fit.

    If the order is shuffled anew for each asking and does not matter, each of the k places of an
    asking is chosen with probability 1/k, whatever the answers are worth. With O the counts, E
    and V their expectation and covariance, the statistic is (O − E)' V⁺ (O − E), which is
    Pearson's Σ (O − E)² / E (1900) where all askings show equally many.

    Args:
        place: [n] where the chosen answer was shown, counted from 0.
        shown: [n] number of answers shown; askings of a single one are left out.
        ties: number of choices that were ties, for the record.
    """
    place, shown = place[shown > 1], shown[shown > 1]
    n = len(place)
    if not n:
        return PositionBias(0, ties, (), (), None, None, 0, None)
    places = int(shown.max())
    observed = np.bincount(place, minlength=places).astype(np.float64)
    expected, covariance = np.zeros(places), np.zeros((places, places))
    for k, askings in zip(*np.unique(shown, return_counts=True), strict=True):
        expected[:k] += askings / k
        covariance[:k, :k] += askings * (np.eye(k) / k - 1 / k**2)
    # Later places are rare where some answers failed: put together what is too small to test.
    cells = places
    while cells > 1 and expected[cells - 1 :].sum() < SMALLEST_EXPECTED:
        cells -= 1
    merge = np.eye(places)[:cells]
    merge[-1, cells - 1 :] = 1.0
    chi_square, p_value = None, None
    if cells > 1 and (merge @ expected).min() >= SMALLEST_EXPECTED:
        gap = merge @ (observed - expected)
        chi_square = float(gap @ np.linalg.pinv(merge @ covariance @ merge.T) @ gap)
        p_value = chi_square_tail(chi_square, cells - 1)
    return PositionBias(
        choices=n,
        ties=ties,
        shares=tuple((observed / n).tolist()),
        expected=tuple((expected / n).tolist()),
        moved=float(np.abs(observed - expected).sum() / (2 * n)),
        chi_square=chi_square,
        degrees=cells - 1,
        p_value=p_value,
    )


def chi_square_tail(value: float, degrees: int) -> float:
    """Return P(X ≥ value) of the chi-square law with so many degrees of freedom (at least 1).

    The closed form for whole degrees of freedom (Abramowitz and Stegun, 26.4.4 and 26.4.5).
    """
    half = max(value, 0.0) / 2
    odd = degrees % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    if half == 0.0:
        return 1.0
    powers = [i + odd / 2 for i in range((degrees - odd) // 2)]
    return min(
        1.0, tail + sum(math.exp(a * math.log(half) - half - math.lgamma(a + 1)) for a in powers)
    )


@dataclass(frozen=True, slots=True)
class OrderConsistency:
    """The same question in an order and in its reverse."""

    pairs: int
    """Both askings with a choice."""
    same: float | None
    """Share with the same choice, ties included."""
    low: float | None
    """95 % bootstrap interval of `same` over queries."""
    high: float | None
    same_place: float | None
    """Share with another LLM at the same place: the place was chosen, not the answer."""
    agreement: Agreement

    def sentence(self) -> str:
        """Say it in words."""
        if self.same is None:
            return "both orders: not measured, no question was asked in both"
        return (
            f"both orders: the same choice in {percent(self.same)}"
            f"{bounds(self.low, self.high, 100, 1)} of {self.pairs:,} pairs of askings; "
            f"in {percent(self.same_place)} another answer at the same place"
        )


def order_consistency(matched: Matched, *, draws: int = DRAWS, seed: int = 0) -> OrderConsistency:
    """Compare askings [n, 2, M] in both orders.

    Args:
        matched: from ``Verdicts.match("order", …)``.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    agreement = kappa(matched.choices, matched.query, draws=draws, seed=seed)
    n = len(matched.choices)
    if not n:
        return OrderConsistency(0, None, None, None, None, agreement)
    same = (matched.choices[:, 0] == matched.choices[:, 1]).all(axis=1)
    single = (matched.choices.sum(axis=2) == 1).all(axis=1)
    place = np.where(matched.choices, matched.places, 0).sum(axis=2)
    stuck = ~same & single & (place[:, 0] == place[:, 1])
    low, high = ratio_interval(
        same.astype(np.float64), np.ones(n), matched.query, draws=draws, seed=seed
    )
    return OrderConsistency(n, float(same.mean()), low, high, float(stuck.mean()), agreement)


@dataclass(frozen=True, slots=True)
class LengthBias:
    """Choices against the lengths of the answers shown beside."""

    choices: int
    """Among at least two answers of known length."""
    longer: float | None
    """How often a chosen answer is longer than another one shown; equal counts half, ½ expected."""
    low: float | None
    """95 % bootstrap interval of `longer` over queries."""
    high: float | None
    odds: float | None
    """Odds of being chosen, times this for an answer twice as long; 1 expected. None where all
    answers are equally long."""
    odds_low: float | None
    odds_high: float | None

    def sentence(self) -> str:
        """Say it in words."""
        if self.longer is None:
            return "length: not measured, no choice among answers of known length"
        text = (
            f"length: a chosen answer is longer than another one shown in {percent(self.longer)}"
            f"{bounds(self.low, self.high, 100, 1)} of comparisons, 50 % expected if length did "
            f"not matter, over {self.choices:,} choices"
        )
        if self.odds is None:
            return text
        return (
            f"{text}; twice the length multiplies the odds by {self.odds:.2f}"
            f"{bounds(self.odds_low, self.odds_high)}"
        )


def length_bias(
    chosen: Doubles,
    lengths: Doubles,
    shown: Bools,
    clusters: Ints,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> LengthBias:
    """Measure how choices go with relative length.

    The odds come from the conditional logit of the choice on log₂ length (McFadden, 1974): LLM m
    of a group is chosen with probability exp(b x_m) / Σ exp(b x), and the odds ratio is exp(b).

    Args:
        chosen: [G, M] number of choices of each LLM in a group of askings that showed the same
            answers, for instance all personas on one query; ties as fractions.
        lengths: [G, M], for instance characters; NaN where unknown, which counts as not shown.
        shown: [G, M].
        clusters: [G] numbers of queries, which are resampled for the intervals.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    shown = shown & np.isfinite(lengths)
    use = shown.sum(axis=1) > 1
    shown, lengths, clusters = shown[use], lengths[use], clusters[use]
    weight = np.where(shown, chosen[use], 0.0)
    total = weight.sum(axis=1)
    choices = round(float(total.sum()))
    if not choices:
        return LengthBias(0, None, None, None, None, None, None)
    # [G, M, M]: m longer than m', both shown and not the same.
    both = shown[:, :, None] & shown[:, None, :] & ~np.eye(shown.shape[1], dtype=bool)
    gap = np.where(both, lengths[:, :, None] - lengths[:, None, :], 0.0)
    beats = (both * (0.5 + 0.5 * np.sign(gap))).sum(axis=2) / both.sum(axis=2).clip(1)
    longer = (weight * beats).sum(axis=1)
    low, high = ratio_interval(longer, total, clusters, draws=draws, seed=seed)

    x = np.where(
        shown, np.log2(np.maximum(lengths, 1.0), where=shown, out=np.zeros(shown.shape)), 0
    )
    x -= x.sum(axis=1, keepdims=True) / shown.sum(axis=1, keepdims=True)
    x = np.where(shown, x, 0.0)
    odds = odds_low = odds_high = None
    if np.abs(x).max() > 1e-9:
        groups, cluster = np.unique(clusters, return_inverse=True)
        slope = _slopes(x, shown, weight, np.ones((1, len(x))), 0.0)
        odds = float(np.exp(slope[0]))
        if len(groups) > 1:
            samples = np.concatenate(
                [
                    _slopes(x, shown, weight, drawn[:, cluster], float(slope[0]))
                    for drawn in cluster_weights(len(groups), draws, seed)
                ]
            )
            odds_low, odds_high = interval(np.exp(samples), CONFIDENCE)
    return LengthBias(
        choices, float(longer.sum() / total.sum()), low, high, odds, odds_low, odds_high
    )


def _slopes(x: Doubles, shown: Bools, chosen: Doubles, weight: Doubles, start: float) -> Doubles:
    """[b] slopes of the conditional logit under weights [b, G], by Newton's method, cut off."""
    limit = math.log(LARGEST_ODDS)
    result = np.full(len(weight), start)
    step = max(1, _BLOCK_CELLS // x.size)
    moments = np.stack([np.ones_like(x), x, x**2])
    count, taken = chosen.sum(axis=1), (chosen * x).sum(axis=1)
    for first in range(0, len(weight), step):
        rows = slice(first, first + step)
        slope = result[rows]
        for _ in range(100):
            power = slope[:, None, None] * x
            power -= np.where(shown, power, -np.inf).max(axis=2, keepdims=True)
            odds = np.where(shown, np.exp(np.minimum(power, 0.0)), 0.0)
            scale, mean, square = (np.einsum("bgm,gm->bg", odds, moment) for moment in moments)
            mean /= scale
            gradient = weight[rows] @ taken - (weight[rows] * count * mean).sum(axis=1)
            curvature = (weight[rows] * count * (square / scale - mean**2)).sum(axis=1)
            move = np.divide(gradient, curvature, out=np.sign(gradient), where=curvature > 1e-12)
            new = np.clip(slope + np.clip(move, -1.0, 1.0), -limit, limit)
            change = np.abs(new - slope).max()
            slope = new
            if change < 1e-6:
                break
        result[rows] = slope
    return result


@dataclass(frozen=True, slots=True)
class FamilyPreference:
    """Choices of LLMs of the judge's own family."""

    family: str
    basis: str
    """``other judges``: expected is their share on the same questions; ``frequency``: the share of
    the answers shown that are of the family."""
    choices: int
    """Where both an answer of the family and another one were shown."""
    share: float | None
    """Of the own family among the choices."""
    expected: float | None
    low: float | None
    """95 % bootstrap interval of share − expected over queries."""
    high: float | None

    def sentence(self) -> str:
        """Say it in words."""
        if self.share is None or self.expected is None:
            return (
                f"own family: not measured, no choice between the family {self.family} and others"
            )
        said = "from other judges" if self.basis == "other judges" else "from its share of answers"
        gap = 100 * (self.share - self.expected)
        return (
            f"own family: {self.family} is chosen in {percent(self.share)} of {self.choices:,} "
            f"choices, {percent(self.expected)} expected {said}; difference {gap:+.1f} points"
            f"{bounds(self.low, self.high, 100, 1)}"
        )


def family_preference(
    family: str,
    basis: str,
    share: Doubles,
    expected: Doubles,
    clusters: Ints,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> FamilyPreference:
    """Compare how often a judge chooses its own family with what was to be expected.

    Args:
        family: of the judge.
        basis: what ``expected`` is from; see `FamilyPreference`.
        share: [n] 1 where the choice is of the family; for a tie, the share of it that is.
        expected: [n]
        clusters: [n] queries.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    n = len(share)
    if not n:
        return FamilyPreference(family, basis, 0, None, None, None, None)
    low, high = ratio_interval(share - expected, np.ones(n), clusters, draws=draws, seed=seed)
    return FamilyPreference(
        family, basis, n, float(share.mean()), float(expected.mean()), low, high
    )
