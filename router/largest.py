"""Largest: the LLM with the most parameters, for everybody and everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import first_best
from .smallest import sizes


class Largest:
    """LLMs of unknown size are passed over; ties go to the cheaper, then to the first id."""

    def fit(self, history: History) -> None:
        """Find the LLM.

        Raises:
            BenchError: no size is known.
        """
        self.choice = int(first_best(sizes(history), history.tie_order))

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return np.full(len(requests), self.choice)
