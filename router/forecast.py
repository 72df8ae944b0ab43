"""Where tastes drift: a user's weights in the time that is to come.

A user's past falls into segments of time, with weights inferred for each (router/utility.py). Four
simple forecasts lead from them to the next segment: the weights of the whole past, those of the
last segment, the mean trend carried on, and those of the segment before the last (tastes that come
and go). Which of them serves a user is told by the user's own past, from rolling origins: each
forecast chooses for the queries of a past segment, knowing only the ones before, and is judged by
what the choices were worth, shrunk to what it was worth to everybody.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .utility import Doubles, Evidence, Floats, Tastes, infer

FORECASTS = ("whole past", "last segment", "trend", "alternating")
# A forecast's worth to everybody counts for so many queries of a user.
PRIOR_QUERIES = 10.0


def forecast(
    evidence: Evidence, tastes: Tastes, values: Floats, segments: NDArray[np.int8]
) -> tuple[Doubles, NDArray[np.int64]]:
    """Return [U, F] weights for the time after the last segment, and [U] which forecast it is.

    Args:
        evidence: what users told of Q queries.
        tastes: of the whole past.
        values: [U, Q, M] what each told response was worth, read where it is seen.
        segments: [U, Q] of each query in the user's life, from 0.
    """
    told = np.asarray(evidence.seen.any(axis=-1))
    last = int(segments[told].max(initial=0))
    parts = [_within(evidence, tastes, segments == s) for s in range(last + 1)]
    worth = np.zeros((len(FORECASTS), len(values)))
    count = np.zeros(len(values))
    for target in range(1, last + 1):
        whole = _within(evidence, tastes, segments < target)
        asked = told & (segments == target)
        count += asked.sum(axis=1)
        for i, weights in enumerate(_forecasts(whole, parts[:target])):
            worth[i] += _worth(weights, evidence, values, asked)
    common = worth.sum(axis=1, keepdims=True) / max(count.sum(), 1.0)
    shrunk = (worth + PRIOR_QUERIES * common) / (count + PRIOR_QUERIES)
    best = shrunk.argmax(axis=0)
    now = np.stack(_forecasts(tastes.mean, parts))
    return now[best, np.arange(len(best))], best


def _forecasts(whole: Doubles, parts: list[Doubles]) -> list[Doubles]:
    """Return the four forecasts [U, F] from the weights of the whole past and of its segments."""
    last, steps = parts[-1], len(parts) - 1
    trend = last + (last - parts[0]) / steps if steps else last
    return [whole, last, trend, parts[-2] if steps else last]


def _within(evidence: Evidence, tastes: Tastes, when: NDArray[np.bool_]) -> Doubles:
    """Return [U, F] weights by what was told then [U, Q]; of the whole past where it was nothing.

    The population is that of the whole past.
    """
    seen = evidence.seen & when[..., None]
    found = infer(replace(evidence, seen=seen), tastes, start=tastes.mean).mean
    known = np.asarray(seen.any(axis=(1, 2)))
    return np.where(known[:, None], found, tastes.mean)


def _worth(
    weights: Doubles, evidence: Evidence, values: Floats, asked: NDArray[np.bool_]
) -> Doubles:
    """Return [U] the sum over asked queries [U, Q] of the value of the response liked most."""
    Q, M, F = evidence.features.shape
    liking = (weights.astype(np.float32) @ evidence.features.reshape(-1, F).T).reshape(-1, Q, M)
    choice = np.where(evidence.seen, liking, -np.inf).argmax(axis=-1)
    got = np.take_along_axis(values, choice[..., None], axis=-1)[..., 0]
    total: Doubles = np.where(asked, got, 0).sum(axis=1, dtype=np.float64)
    return total
