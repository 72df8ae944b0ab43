"""Best LLM per task: the highest mean over all users and the past queries of a task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import Counts, first_best, of_task


class BestPerTask:
    """The LLM with the highest mean over all users, task by task.

    ``argmax_m mean_uq v[u, q, m]``, q of the task; a task without a past gets the best of all.

    Task labels are given with every request, which a router in use may not have.
    """

    def fit(self, history: History) -> None:
        """Find one LLM a task."""
        self.counts = Counts.of_everybody(history)
        self._choose(self.counts)

    def adapt(self, support: History) -> None:
        """Count the support too; a new LLM is shrunk to the mean of the others."""
        self._choose(self.counts.joined(support))

    def _choose(self, past: Counts) -> None:
        self.choice = first_best(of_task(past.totals), past.order)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        answers: NDArray[np.int64] = self.choice[requests.task_index]
        return answers
