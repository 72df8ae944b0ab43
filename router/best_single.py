"""Best single LLM: the highest mean over all users and past queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import Counts, first_best


class BestSingle:
    """The LLM with the highest mean over all users and past queries.

    ``argmax_m mean_uq v[u, q, m]`` over training and validation; ties go to the cheaper.
    """

    def fit(self, history: History) -> None:
        """Find the LLM."""
        self.counts = Counts.of_everybody(history)
        self._choose(self.counts)

    def adapt(self, support: History) -> None:
        """Count the support too; a new LLM is shrunk to the mean of the others."""
        self._choose(self.counts.joined(support))

    def _choose(self, past: Counts) -> None:
        mean = past.totals.over(0).over(0).mean
        self.choice = int(first_best(mean, past.order))

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return np.full(len(requests), self.choice)
