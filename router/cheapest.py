"""Cheapest: the LLM that has cost least, for everybody and everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History, Requests


class Cheapest:
    """The LLM that has cost least, for everybody and everything.

    Chooses the least mean USD a training query (what was paid, not what is listed).
    """

    def fit(self, history: History) -> None:
        """Find the LLM; ties go to the first id.

        Raises:
            BenchError: no response has a known cost.
        """
        if not np.isfinite(history.cost_usd).any():
            raise BenchError("no response has a known cost; give prices in the pool")
        self.choice = int(history.tie_order[0])
        self.known = len(history.llm_ids)

    def adapt(self, support: History) -> None:
        """Compare new LLMs, on the queries that the support shows of them, with the cheapest.

        Paired by query, since some queries cost many times others whoever answers.
        """
        gap = support.cost_usd - support.cost_usd[:, [self.choice]]
        seen = np.isfinite(gap)
        mean = np.where(seen, gap, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        mean[: self.known] = np.inf
        mean[~seen.any(axis=0)] = np.inf
        cheapest = int(mean.argmin())
        if mean[cheapest] < 0:
            self.choice = cheapest

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return np.full(len(requests), self.choice)
