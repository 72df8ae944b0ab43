"""Which (persona, query) pairs a direct judge is asked about, to audit a rubric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from personaroute_bench.hashing import hash_uniform

# Queries a persona is asked about before the next persona's turn comes.
QUERIES_A_PERSONA = 4


def audit_pairs(
    personas: Sequence[str], queries: Sequence[str], count: int, seed: int
) -> list[tuple[int, int]]:
    """Return the places of `count` pairs, or of all there are.

    Each persona is asked about four queries, drawn for that persona alone, in the order of the
    personas; where the count is larger than that, about four more, and so on. So a pair depends
    on nobody else, and more users leave the audit as it is, and as it was paid for, while a
    quarter as many personas as pairs are there.

    Args:
        personas: [P] ids, in the order of the users.
        queries: [Q] ids.
        count: of pairs.
        seed: of the data set.
    """
    first: dict[str, int] = {}
    for person, name in enumerate(personas):
        first.setdefault(name, person)  # who shares a persona is asked about once
    step = min(QUERIES_A_PERSONA, len(queries))
    turns = -(-count // max(1, len(first) * step))
    own = {}
    for name, person in list(first.items())[: -(-count // step)]:
        key = [hash_uniform(seed, "judging/audit", f"{name}\x1f{query}") for query in queries]
        own[person] = np.argsort(key, kind="stable").tolist()
    pairs = [
        (person, query)
        for turn in range(turns)
        for person in own
        for query in own[person][turn * step : (turn + 1) * step]
    ]
    return pairs[:count]
