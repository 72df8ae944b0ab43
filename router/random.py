"""Random: a uniform choice among the candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.history import pair_uniform
from personaroute_bench.evaluation.protocol import History, Requests


class Random:
    """A uniform choice among the candidates, by a hash.

    Draws by a hash of (seed, user, query), so the order of the requests does not matter.

    The normalised reward is measured from the exact expectation of this router, not from a draw.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Nothing to learn."""

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        draw = pair_uniform(self.seed, "router/random", requests.user_ids, requests.query_ids)
        cell = draw[requests.user_index, requests.query_index]
        return np.floor(cell * len(requests.candidates)).astype(np.int64)
