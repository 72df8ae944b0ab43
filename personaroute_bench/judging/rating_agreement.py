"""Do rubric judges agree on style? Their ratings are compared before they become a mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.bootstrap import interval
from personaroute_bench.judging.agreement import CONFIDENCE, DRAWS, bounds, cluster_weights

if TYPE_CHECKING:
    from personaroute_bench.users.rewards import Doubles, Floats


@dataclass(frozen=True, slots=True)
class RatingAgreement:
    """Two rubric judges on the same responses."""

    first: str
    second: str
    ratings: int
    """(response, dimension) that both rated."""
    correlation: float | None
    """Pearson's, of ratings measured against their query's average; None where one judge gives
    all the same."""
    low: float | None
    """95 % percentile bootstrap over queries; None with fewer than two of them."""
    high: float | None

    def sentence(self) -> str:
        """Say it in words."""
        start = f"{self.first} and {self.second}: ratings within a query correlate"
        if self.correlation is None:
            return f"{start}: not measured, {self.ratings:,} ratings of both that differ"
        return (
            f"{start} by {self.correlation:.2f}{bounds(self.low, self.high)}, "
            f"{self.ratings:,} ratings"
        )


def rating_agreement(
    ratings: Mapping[str, Floats], *, draws: int = DRAWS, seed: int = 0
) -> tuple[RatingAgreement, ...]:
    """Compare every two judges.

    Args:
        ratings: judge to its ratings [Q, M, D], measured against the query's average
            (`ratings.centred`): that is what the personas' weights see, and judges who merely use
            another part of the scale agree fully. NaN where there is none.
        draws: of the bootstrap over queries.
        seed: of the bootstrap.
    """
    return tuple(
        _pair(one, other, ratings[one], ratings[other], draws, seed)
        for one, other in combinations(ratings, 2)
    )


def _pair(
    first: str, second: str, one: Floats, other: Floats, draws: int, seed: int
) -> RatingAgreement:
    both = np.isfinite(one) & np.isfinite(other)
    x, y = (np.where(both, values, 0).astype(np.float64) for values in (one, other))
    # [Q, 6] sums of each query, from which the correlation of any weighting of queries follows
    sums = np.stack(
        [part.sum(axis=(1, 2)) for part in (both * 1.0, x, y, x * x, y * y, x * y)], axis=1
    )
    point = float(_correlation(sums.sum(axis=0)[None])[0])
    low, high = None, None
    if len(sums) > 1 and np.isfinite(point):
        drawn = [_correlation(w @ sums) for w in cluster_weights(len(sums), draws, seed)]
        low, high = interval(np.concatenate(drawn), CONFIDENCE)
    value = point if np.isfinite(point) else None
    return RatingAgreement(first, second, int(both.sum()), value, low, high)


def _correlation(sums: Doubles) -> Doubles:
    """[b] Pearson's correlation from [b, 6] sums of 1, x, y, x², y² and xy."""
    n, x, y, xx, yy, xy = np.maximum(sums[:, 0], 1), *sums.T[1:]
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    result: Doubles = np.full(len(sums), np.nan)
    np.divide(n * xy - x * y, spread, out=result, where=spread > 1e-9)
    return result
