"""Best LLM per user and task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import Counts, Doubles, Totals, first_best, of_task, past_totals, pooled, select


class BestPerUserTask:
    """The user's means on the task, shrunk to what user and task let expect together.

    The prior is ``mean_tm + (shrunken mean_um − mean_m)``: how the LLM does on the task, plus how
    much more this user likes it than others do. Both strengths are selected on validation.
    """

    personal = True

    def fit(self, history: History) -> None:
        """Select both strengths, then find one LLM a user and task."""
        train, validation = past_totals(history)
        order = history.tie_order
        mine = train.over(1)
        everybody = mine.over(0).mean
        checked = None if validation is None else validation.over(1)
        self.user_strength = select(lambda k: mine.shrunk(everybody, k), checked, order)
        prior = _expected(train, self.user_strength)
        self.strength = select(lambda k: train.shrunk(prior, k), validation, order)
        self.counts = Counts.of(history, pooled(train, validation))
        self._choose(self.counts)

    def adapt(self, support: History) -> None:
        """Count the rows of new users or LLMs too; both strengths stay as selected."""
        self._choose(self.counts.joined(support))

    def _choose(self, past: Counts) -> None:
        own = past.totals.shrunk(_expected(past.totals, self.user_strength), self.strength)
        self.choice = first_best(own, past.order)
        self.choice[-1] = first_best(of_task(past.totals), past.order)
        self.rows = past.rows

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        rows = self.rows(requests.user_ids.tolist())[requests.user_index]
        return self.choice[rows, requests.task_index]


def _expected(past: Totals, strength: float) -> Doubles:
    """[U, T, M] the prior of the class docstring."""
    mine = past.over(1)
    everybody = mine.over(0).mean
    liking = mine.shrunk(everybody, strength) - everybody
    return of_task(past)[None, :, :] + liking[:, None, :]
