"""Best LLM per user and task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import Doubles, Totals, first_best, past_totals, pooled, select


class BestPerUserTask:
    """A user's means on a task, shrunk to what user and task let expect together.

    The prior is ``mean_tm + (shrunken mean_um − mean_m)``: how the LLM does on the task, plus how
    much more this user likes it than others do. Both strengths are selected on validation.
    """

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

        past = pooled(train, validation)
        own = first_best(past.shrunk(_expected(past, self.user_strength), self.strength), order)
        # The last row is for users without a past, whom find_users calls -1.
        blind = first_best(_of_task(past), order)
        self.choice = np.concatenate([own, blind[None, :]])
        self.history = history

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        rows = self.history.find_users(requests.user_ids)[requests.user_index]
        return self.choice[rows, requests.task_index]


def _of_task(past: Totals) -> Doubles:
    """[T, M] means over everybody; of a task without a past, over all tasks."""
    tasks = past.over(0)
    return np.where(tasks.count > 0, tasks.mean, tasks.over(0).mean)


def _expected(past: Totals, strength: float) -> Doubles:
    """[U, T, M] the prior of the class docstring."""
    mine = past.over(1)
    everybody = mine.over(0).mean
    liking = mine.shrunk(everybody, strength) - everybody
    return _of_task(past)[None, :, :] + liking[:, None, :]
