"""Best single LLM: the highest mean over all users and past queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import first_best, past_totals, pooled


class BestSingle:
    """``argmax_m mean_uq v[u, q, m]`` over training and validation; ties go to the cheaper."""

    def fit(self, history: History) -> None:
        """Find the LLM."""
        past = pooled(*past_totals(history))
        self.choice = int(first_best(past.over(0).over(0).mean, history.tie_order))

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return np.full(len(requests), self.choice)
