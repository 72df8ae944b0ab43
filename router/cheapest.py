"""Cheapest: the LLM that has cost least, for everybody and everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History, Requests


class Cheapest:
    """Chooses the least mean USD a training query (what was paid, not what is listed)."""

    def fit(self, history: History) -> None:
        """Find the LLM; ties go to the first id.

        Raises:
            BenchError: no response has a known cost.
        """
        if not np.isfinite(history.cost_usd).any():
            raise BenchError("no response has a known cost; give prices in the pool")
        self.choice = int(history.tie_order[0])

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return np.full(len(requests), self.choice)
