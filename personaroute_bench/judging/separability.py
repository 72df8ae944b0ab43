"""Are the personas told apart by what they choose? If not, there is nothing to personalise.

A person's choices are summed up in a profile: on each style dimension, how much higher the chosen
response was rated than the average of those on offer. A classifier sees the profiles from some of
the queries, with their labels, and has to name the label from a profile of the other queries. It
is the nearest class mean and nothing cleverer, so what it finds lies on the surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import index_uniform
from personaroute_bench.users.rewards import Bools, Doubles, Floats

FOLDS = 5
_BLOCK_USERS = 256


@dataclass(frozen=True, slots=True)
class SeparabilityReport:
    """How often a classifier names the right label from choices it has not seen."""

    accuracy: float
    """Mean over users of the share of folds in which the label is found."""
    chance: float
    """Share of the most frequent label: what always naming that one would reach."""
    low: float
    """Lower end of the 95 % interval: percentile bootstrap over users."""
    high: float
    users: int
    labels: int
    folds: int

    @property
    def above_chance(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.low > self.chance

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for the manifest."""
        return {**asdict(self), "above_chance": self.above_chance}


def choice_profiles(chosen: Bools, ratings: Floats, fold: NDArray[np.int64]) -> Doubles:
    """Sum up what a block of users took, for each fold of the queries.

    Args:
        chosen: [U, Q, M], every tied best candidate.
        ratings: [Q, M, D]; NaN where there is none, which counts as the average ½.
        fold: [Q] fold of each query, from `query_folds`.

    Returns:
        [U, F, D + 1]: sums over the fold's queries of the chosen rating (mean of the tied) less
        the mean rating on offer, and last the number of queries with a choice.
    """
    offered: Bools = np.any(np.isfinite(ratings), axis=-1)  # [Q, M]
    filled = np.where(np.isnan(ratings), 0.5, ratings).astype(np.float32)
    count = np.maximum(offered.sum(axis=1), 1)[:, None]
    mean = (filled * offered[..., None]).sum(axis=1) / count  # [Q, D]
    ones = np.ones((*ratings.shape[:2], 1), dtype=np.float32)
    gain = np.concatenate([filled - mean[:, None], ones], axis=2)  # [Q, M, D + 1]
    result = np.zeros((len(chosen), FOLDS, gain.shape[-1]))
    for start in range(0, len(chosen), _BLOCK_USERS):
        block = chosen[start : start + _BLOCK_USERS]
        ties = block.sum(axis=-1, keepdims=True, dtype=np.float32)
        weight = block / np.maximum(ties, 1)
        rows = result[start : start + _BLOCK_USERS]
        for number in range(FOLDS):
            here = fold == number
            rows[:, number] = np.einsum(
                "uqm,qmd->ud", weight[:, here], gain[here], optimize=True, dtype=np.float64
            )
    return result


def query_folds(queries: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each of Q queries: random, and of equal size within one query."""
    order = np.argsort(index_uniform(seed, "judging/folds", np.arange(queries)), kind="stable")
    fold = np.empty(queries, dtype=np.int64)
    fold[order] = np.arange(queries) % FOLDS
    return fold


def persona_separability(
    chosen: Bools, ratings: Floats, labels: Sequence[str], seed: int, *, draws: int = 1000
) -> SeparabilityReport:
    """Measure whether a persona, or its archetype, is recovered from choices.

    Cross-validated over queries: for each fold, class means come from the other folds' queries.
    A user never helps to describe its own class where others share its label, so archetypes must
    carry over from person to person; a label of one user's own asks whether that person is
    recognised again on other queries.

    Args:
        chosen: [U, Q, M].
        ratings: [Q, M, D].
        labels: [U], for instance archetype names, or persona ids.
        seed: the data set's seed; it sets the folds and the bootstrap.
        draws: of the bootstrap.

    Raises:
        UsageError: fewer than two labels, or too few queries.
    """
    profiles = choice_profiles(chosen, ratings, query_folds(ratings.shape[0], seed))
    return separability_of_profiles(profiles, labels, seed, draws=draws)


def separability_of_profiles(
    profiles: Doubles, labels: Sequence[str], seed: int, *, draws: int = 1000
) -> SeparabilityReport:
    """Do the same from the profiles [U, F, D + 1] of `choice_profiles`, collected by blocks.

    Raises:
        UsageError: fewer than two labels, a number of labels other than U, or a user without
            any choice in a fold (too few queries).
    """
    if len(labels) != len(profiles):
        raise UsageError(f"{len(labels)} labels for {len(profiles)} users; give one a user")
    names, label = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise UsageError(
            f"personas cannot be told apart: all users have the label {str(names[0])!r}"
            if len(names)
            else "personas cannot be told apart: there are no users"
        )
    counts = profiles[..., -1:]
    if not (counts > 0).all():
        user = int(np.flatnonzero(~(counts > 0).all(axis=(1, 2)))[0])
        raise UsageError(
            f"user {user} has no choice in one of {FOLDS} parts of the queries; persona "
            "separability needs more queries with a choice (raise --queries-per-task)"
        )
    sums, total = profiles[..., :-1], profiles.sum(axis=1)
    hits = np.zeros((len(profiles), FOLDS))
    for number in range(FOLDS):
        seen = (total[:, :-1] - sums[:, number]) / (total[:, -1:] - counts[:, number])
        unseen = sums[:, number] / counts[:, number]
        hits[:, number] = _found(seen, unseen, label, len(names))
    share = hits.mean(axis=1)
    weights = np.random.default_rng(seed).multinomial(
        len(share), np.full(len(share), 1 / len(share)), draws
    )
    low, high = np.quantile(weights @ share / len(share), [0.025, 0.975])
    return SeparabilityReport(
        accuracy=float(share.mean()),
        chance=float(np.bincount(label).max() / len(label)),
        low=float(low),
        high=float(high),
        users=len(profiles),
        labels=len(names),
        folds=FOLDS,
    )


def _found(seen: Doubles, unseen: Doubles, label: NDArray[np.int64], classes: int) -> Doubles:
    """[U] 1 where a user's own class mean is the nearest, 1/k where k are equally near."""
    scale = seen.std(axis=0)
    scale[scale == 0] = 1.0  # a dimension on which all users are alike tells nothing
    seen, unseen = seen / scale, unseen / scale
    member = np.zeros((classes, len(seen)))
    member[label, np.arange(len(seen))] = 1.0
    size = member.sum(axis=1)
    mean = (member @ seen) / size[:, None]
    # |x − m|² without |x|², which is the same for all classes.
    distance = (mean**2).sum(axis=1)[None] - 2.0 * unseen @ mean.T  # [U, C]
    others = size[label] - 1
    shared = others > 0
    without = seen.copy()  # the class of one: itself, on other queries
    own = mean[label[shared]] * size[label[shared], None] - seen[shared]
    without[shared] = own / others[shared, None]
    at_home = (without**2).sum(axis=1) - 2.0 * (unseen * without).sum(axis=1)
    distance[np.arange(len(seen)), label] = at_home
    near = distance <= distance.min(axis=1, keepdims=True) + 1e-12
    found: Doubles = near[np.arange(len(seen)), label] / near.sum(axis=1)
    return found
