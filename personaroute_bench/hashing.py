"""Stable hashes: of configurations, of text, and as a source of per-item random numbers.

Nothing here depends on Python's ``hash``, on dictionary order or on how many other items
there are, so a user's draw and a query's place in a split stay the same for ever.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Made once: `json.dumps` makes a new encoder for every call that has options.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces; NaN and unknown types are errors."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:
    """Return the SHA-256 hex digest of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 hex digest of a text (lone surrogates are kept, not rejected)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_uniform(seed: int, stream: str, key: str) -> float:
    """Return a number in [0, 1) that depends only on seed, stream and key."""
    raw = hashlib.sha256(f"{seed}\x1f{stream}\x1f{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(raw[:7], "big") / 2.0**56


def shard_of(key: str, parts: int) -> int:
    """Return which of `parts` shards, from 0, a ledger key (64 hex digits) belongs to."""
    return int(key[:15], 16) % parts


def index_uniform(seed: int, stream: str, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return numbers in [0, 1), one an index, each depending only on seed, stream and index.

    SplitMix64 over a key derived from (seed, stream): vectorised, and the number of index i is
    the same whatever else is in the array (invariant 4 of the design).

    Args:
        seed: the data set's seed.
        stream: names what is drawn, for instance ``"users/alpha"``.
        index: shape [n], non-negative.

    Returns:
        Array of shape [n], float64 in [0, 1).
    """
    raw = hashlib.sha256(f"{seed}\x1f{stream}".encode()).digest()
    key = np.uint64(int.from_bytes(raw[:8], "big"))
    with np.errstate(over="ignore"):
        z = key + (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53
