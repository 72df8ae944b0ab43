"""Best LLM per task: the highest mean over all users and the past queries of a task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import first_best, past_totals, pooled


class BestPerTask:
    """``argmax_m mean_uq v[u, q, m]``, q of the task; a task without a past gets the best of all.

    Task labels are given with every request, which a router in use may not have.
    """

    def fit(self, history: History) -> None:
        """Find one LLM a task."""
        past = pooled(*past_totals(history)).over(0)
        mean = np.where(past.count > 0, past.mean, past.over(0).mean)
        self.choice = first_best(mean, history.tie_order)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        answers: NDArray[np.int64] = self.choice[requests.task_index]
        return answers
