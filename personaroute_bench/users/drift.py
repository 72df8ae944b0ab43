"""The drift strategy: people whose weights move over time, with known ground truth.

A user's queries are ordered in time: first the training ones, then validation, then test, each in
an order of the user's own. Time is cut into `DRIFT_SEGMENTS` segments of equal length; α of
`multi_cost_efficiency` is constant within a segment:

- gradual: from one value to another in equal steps;
- sudden: one value, then another from some segment on;
- recurring: two values in turn.

The paper (arXiv 2511.16883) names drifting preferences as an open question; the kinds are those of
concept drift in the stream-mining literature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.hashing import hash_uniform, index_uniform
from personaroute_bench.schemas import DRIFT_SEGMENTS, SPLITS

KINDS = ("gradual", "sudden", "recurring")
# The two values of a user lie at least so far apart: a drift that nobody could notice is none.
SMALLEST_CHANGE = 0.3


def drift_kinds(seed: int, start: int, stop: int) -> NDArray[np.int64]:
    """Return [u] places in KINDS."""
    index = np.arange(start, stop, dtype=np.int64)
    return (index_uniform(seed, "users/drift/kind", index) * len(KINDS)).astype(np.int64)


def drift_weights(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Draw the weights of users ``start`` to ``stop`` (exclusive).

    Returns:
        [u, DRIFT_SEGMENTS] performance weights α in [0, 1]; cost weights are 1 − α.
    """
    index = np.arange(start, stop, dtype=np.int64)
    kind = drift_kinds(seed, start, stop)[:, None]
    first = index_uniform(seed, "users/drift/first", index)
    # The other value is uniform on what lies far enough from the first, on a circle of length 1.
    gap = SMALLEST_CHANGE + (1 - 2 * SMALLEST_CHANGE) * index_uniform(
        seed, "users/drift/second", index
    )
    second = (first + gap) % 1.0
    segment = np.arange(DRIFT_SEGMENTS)[None, :]
    # Not at the last segment, which is the test: a change that no past shows cannot be learnt.
    turn = 1 + (index_uniform(seed, "users/drift/turn", index) * (DRIFT_SEGMENTS - 2)).astype(
        np.int64
    )
    share = np.select(
        [kind == 0, kind == 1],
        [segment / (DRIFT_SEGMENTS - 1), (segment >= turn[:, None]).astype(np.float64)],
        default=(segment % 2).astype(np.float64),
    )
    return (1 - share) * first[:, None] + share * second[:, None]


def query_times(
    split: NDArray[np.str_], query_ids: NDArray[np.str_], seed: int, start: int, stop: int
) -> NDArray[np.int32]:
    """Return [u, Q] the place of each query in each user's life, from 0.

    Training queries come before validation, validation before test: a router learns from the
    past and is tested on the present.
    """
    return times_of(split, query_ids, seed, np.arange(start, stop, dtype=np.int64))


def times_of(
    split: NDArray[np.str_],
    query_ids: NDArray[np.str_],
    seed: int,
    users: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return the same of any users [u], by their numbers."""
    phase = np.asarray([SPLITS.index(name) for name in split], dtype=np.float64)
    key = np.asarray([hash_uniform(seed, "users/drift/query", name) for name in query_ids])
    # Each user rotates the queries' keys by an own amount and stretches them by an own odd factor:
    # a different order for everyone, in two draws a user and no loop.
    shift = index_uniform(seed, "users/drift/shift", users)
    factor = 1 + 2 * (index_uniform(seed, "users/drift/factor", users) * 500).astype(np.int64)
    order = (key[None, :] * factor[:, None] + shift[:, None]) % 1.0 + phase[None, :]
    times = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(
        times,
        np.argsort(order, axis=1, kind="stable"),
        np.arange(order.shape[1], dtype=np.int32)[None, :],
        axis=1,
    )
    return times


def segments_of(times: NDArray[np.int32], queries: int) -> NDArray[np.int8]:
    """Return [u, Q] the segment of each place in time."""
    return (times.astype(np.int64) * DRIFT_SEGMENTS // queries).astype(np.int8)
