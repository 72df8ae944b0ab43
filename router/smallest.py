"""Smallest: the LLM with the fewest parameters, for everybody and everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History, Requests

from .means import Doubles, cheapest_first, first_best, spending, with_new


def sizes(history: History) -> Doubles:
    """Return [M] parameters in 10^9, NaN where unknown.

    Raises:
        BenchError: no size is known at all.
    """
    column = history.llms["parameters"].to_pylist()
    known = np.asarray([np.nan if size is None else size for size in column], dtype=np.float64)
    if not np.isfinite(known).any():
        raise BenchError("no LLM has a known size; give parameters_billion in the pool")
    return known


class Smallest:
    """The LLM with the fewest parameters, for everybody and everything.

    LLMs of unknown size are passed over; ties go to the cheaper, then to the first id.
    """

    def fit(self, history: History) -> None:
        """Find the LLM.

        Raises:
            BenchError: no size is known.
        """
        self.usd = spending(history)
        self.choice = int(first_best(-sizes(history), history.tie_order))

    def adapt(self, support: History) -> None:
        """Consider new LLMs too; their sizes are known without any interaction."""
        usd = with_new(self.usd, spending(support))
        order = cheapest_first(usd, support.llm_ids.tolist())
        self.choice = int(first_best(-sizes(support), order))

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return np.full(len(requests), self.choice)
