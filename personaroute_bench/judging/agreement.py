"""Do askings agree: one judge twice, two judges, both orders, an LLM against a formula?

    JUDGMENTS table ──► Verdicts.match ──► askings of each item [n, R, M] ──► kappa, with interval

A choice is a set of LLMs: one, or several for a tie. Two choices A and B agree by their overlap
(Jaccard, 1901), |A ∩ B| / |A ∪ B|: the same tie twice agrees fully, one LLM against a tie of two
that holds it by half. Without ties this is 1 or 0, and the kappas below are the classic ones. An
asking without a choice (unparsed, refused, failed) is never compared, and everything says over how
many it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.bootstrap import interval

if TYPE_CHECKING:
    from personaroute_bench.users.rewards import Bools, Doubles

    Ints = NDArray[np.int64]

DRAWS = 1000
CONFIDENCE = 0.95
_BLOCK_DRAWS = 50


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far choices agree beyond chance; numbers are None where there is nothing to compare."""

    method: str
    """``Cohen`` for two askings of each item, ``Fleiss`` for more."""
    items: int
    """Compared; each was asked at least twice with a choice."""
    observed: float | None
    """Mean overlap of two askings of one item."""
    expected: float | None
    """Mean overlap if choices were dealt out at random, each asking keeping its frequencies."""
    kappa: float | None
    """(observed − expected) / (1 − expected): 0 chance, 1 complete. None where expected is 1."""
    low: float | None
    """95 % percentile bootstrap over the clusters; None with fewer than two of them."""
    high: float | None

    def sentence(self, what: str) -> str:
        """Say it in words; ``what`` are the items, for instance ``askings``."""
        if self.observed is None or self.expected is None:
            return f"not measured: no {what} to compare"
        text = (
            f"{percent(self.observed)} of {self.items:,} {what}, {percent(self.expected)} expected "
            f"by chance; {self.method}'s kappa "
        )
        if self.kappa is None:
            return text + "undefined, since all choices are the same"
        return text + f"{self.kappa:.2f}{bounds(self.low, self.high)}"


def percent(share: float | None) -> str:
    """Write a share for people."""
    return "unknown" if share is None else f"{100 * share:.1f} %"


def bounds(low: float | None, high: float | None, scale: float = 1.0, digits: int = 2) -> str:
    """Write an interval for people, with a space before it; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f" [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def overlap(first: Bools, second: Bools) -> Doubles:
    """Return |A ∩ B| / |A ∪ B| of choices [..., M]; NaN where either is empty."""
    both = (first & second).sum(axis=-1, dtype=np.float64)
    union = (first | second).sum(axis=-1, dtype=np.float64)
    known = first.any(axis=-1) & second.any(axis=-1)
    result: Doubles = np.divide(both, union, out=np.full(both.shape, np.nan), where=known)
    return result


def kappa(
    choices: Bools, clusters: Ints | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Agreement:
    """Compare the askings of each item: (observed − expected) / (1 − expected) over sets.

    An item's agreement is the mean overlap of its pairs of askings. Chance is p' J q with J the
    overlaps of any two choices. For two askings p and q are the frequencies of the choices of
    each (Cohen, 1960, doi 10.1177/001316446002000104); for more, both are the frequencies of all
    askings together (Fleiss, 1971, doi 10.1037/h0031619).

    Args:
        choices: [n, R, M]; an asking whose choice is empty did not happen, and an item with fewer
            than two is left out.
        clusters: [n] numbers of what is resampled for the interval, for instance queries, since
            items of one query are alike; None: the items themselves.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    cohen = choices.shape[1] == 2
    method = "Cohen" if cohen else "Fleiss"
    asked: Bools = np.any(choices, axis=-1)
    usable = asked.sum(axis=1) >= 2
    choices, asked = choices[usable], asked[usable]
    items = len(choices)
    if not items:
        return Agreement(method, 0, None, None, None, None, None)
    numbers = np.arange(items) if clusters is None else clusters[usable]
    cluster, groups = renumber(numbers)

    code, sets = set_codes(choices)  # [n, R], [K, M]
    agree, pairs = np.zeros(items), np.zeros(items)
    for one in range(choices.shape[1]):
        for other in range(one):
            same = overlap(choices[:, one], choices[:, other])
            agree += np.nan_to_num(same)
            pairs += np.isfinite(same)
    table = sets.astype(np.float64)
    size = table.sum(axis=1)
    shared = table @ table.T
    overlaps = shared / (size[:, None] + size[None, :] - shared)  # J [K, K]

    def frequencies(raters: slice) -> Doubles:
        """[groups, K] how often each set was chosen in each cluster."""
        here = asked[:, raters]
        cell = (cluster[:, None] * len(sets) + code[:, raters])[here]
        counts = np.bincount(cell, minlength=groups * len(sets))
        return counts.reshape(groups, len(sets)).astype(np.float64)

    first = frequencies(slice(0, 1) if cohen else slice(None))
    second = frequencies(slice(1, 2)) if cohen else first
    total = np.bincount(cluster, agree / pairs, groups)
    count = np.bincount(cluster, minlength=groups).astype(np.float64)

    def statistic(weight: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        observed = weight @ total / (weight @ count)
        p, q = weight @ first, weight @ second
        p /= p.sum(axis=1, keepdims=True)
        q /= q.sum(axis=1, keepdims=True)
        expected = ((p @ overlaps) * q).sum(axis=1)
        room = 1.0 - expected
        return (
            observed,
            expected,
            np.divide(observed - expected, room, out=np.full_like(room, np.nan), where=room > 1e-9),
        )

    observed, expected, point = (float(value[0]) for value in statistic(np.ones((1, groups))))
    low, high = None, None
    if groups > 1 and np.isfinite(point):
        samples = [statistic(weight)[2] for weight in cluster_weights(groups, draws, seed)]
        low, high = interval(np.concatenate(samples), CONFIDENCE)
    value = point if np.isfinite(point) else None
    return Agreement(method, items, observed, expected, value, low, high)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a direct judge chose beside what the personas' weights chose from ratings."""

    agreement: Agreement
    """Over (persona, query) pairs, which are resampled for the interval."""
    other_persona: float | None
    """Observed overlap if the weights of another persona had chosen, the mean over all others: so
    much is agreed on the query alone."""

    def sentence(self) -> str:
        """Say it in words."""
        text = f"direct against weights: {self.agreement.sentence('(persona, query) pairs')}"
        if self.other_persona is None:
            return text
        return f"{text}; with the weights of another persona {percent(self.other_persona)} agree"


def audit(direct: Bools, weighed: Bools, *, draws: int = DRAWS, seed: int = 0) -> Audit:
    """Compare direct choices [P, Q, M], empty where not audited, with all choices [P, Q, M]."""
    persona, query = np.nonzero(direct.any(axis=-1) & weighed.any(axis=-1))
    pairs = np.stack([direct[persona, query], weighed[persona, query]], axis=1)
    total, count = 0.0, 0
    for number in np.unique(query):
        asked = persona[query == number]
        share = overlap(direct[asked, number][:, None], weighed[None, :, number])  # [n, P]
        share[np.arange(len(asked)), asked] = np.nan
        total += float(np.nansum(share))
        count += int(np.isfinite(share).sum())
    return Audit(kappa(pairs, draws=draws, seed=seed), total / count if count else None)


def cluster_weights(groups: int, draws: int, seed: int) -> Iterator[Doubles]:
    """Yield blocks [b, groups] of bootstrap weights: how often each cluster was drawn anew."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _BLOCK_DRAWS):
        size = min(_BLOCK_DRAWS, draws - start)
        yield rng.multinomial(groups, np.full(groups, 1 / groups), size).astype(np.float64)


def ratio_interval(
    total: Doubles, count: Doubles, clusters: Ints, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float | None, float | None]:
    """Return the 95 % bootstrap interval of Σ total / Σ count over clusters, all three [n]."""
    cluster, groups = renumber(clusters)
    if groups < 2:
        return None, None
    top, bottom = np.bincount(cluster, total, groups), np.bincount(cluster, count, groups)
    samples = []
    for weight in cluster_weights(groups, draws, seed):
        below = weight @ bottom
        ratio = np.full(len(below), np.nan)
        np.divide(weight @ top, below, out=ratio, where=below > 0)
        samples.append(ratio)
    return interval(np.concatenate(samples), CONFIDENCE)


def renumber(*columns: NDArray[Any]) -> tuple[Ints, int]:
    """Number the distinct rows of columns [n] from 0: [n] numbers, and how many there are."""
    number, found = np.zeros(len(columns[0]), dtype=np.int64), 1
    for column in columns:
        values, place = np.unique(column, return_inverse=True)
        # Renumbered after each column, so that the product cannot overflow.
        keys, number = np.unique(number * max(len(values), 1) + place, return_inverse=True)
        found = len(keys)
    return number, found


def set_codes(choices: Bools) -> tuple[Ints, Bools]:
    """Number the distinct sets in [..., M]: codes [...], and the sets [K, M]."""
    flat = choices.reshape(-1, choices.shape[-1])
    packed = np.packbits(flat, axis=1)
    padded = np.zeros((len(flat), -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    words = padded.view(np.uint64)
    code, found = renumber(*words.T)
    sets = np.zeros((found, flat.shape[1]), dtype=np.bool_)
    sets[code] = flat
    # The empty set is no choice and must not count as one with an overlap of 0/0.
    sets[~sets.any(axis=1)] = True
    return code.reshape(choices.shape[:-1]), sets
