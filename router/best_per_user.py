"""Best LLM per user: the simplest personalised router, and a hard one to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import Counts, Ints, Totals, first_best, past_totals, pooled, select


class BestPerUser:
    """The LLM with the highest mean for the user, shrunk to everybody's means.

    ``argmax_m (n · mean_um + k · mean_m) / (n + k)``: a user's own means, shrunk to everybody's.

    n counts the user's rows, k is selected on validation. A user without a past gets the best
    single LLM, and so does everybody at tier T0.
    """

    personal = True

    def fit(self, history: History) -> None:
        """Select k, then find one LLM a user from training and validation rows."""
        train, validation = past_totals(history, tasks=False)
        self.strength = _strength(train, validation, history.tie_order)
        past = pooled(train, validation)
        del train, validation  # of many users these are large
        self.counts = Counts.of(history, past)
        self._choose(self.counts)

    def adapt(self, support: History) -> None:
        """Count the rows of new users or LLMs too; k stays what validation has selected."""
        self._choose(self.counts.joined(support))

    def _choose(self, past: Counts) -> None:
        mine = past.totals.over(1)
        everybody = mine.over(0).mean
        self.choice = first_best(mine.shrunk(everybody, self.strength), past.order)
        self.choice[-1] = first_best(everybody, past.order)
        self.rows = past.rows

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return self.choice[self.rows(requests.user_ids.tolist())][requests.user_index]


def _strength(train: Totals, validation: Totals | None, order: Ints) -> float:
    """Return k, selected on validation."""
    mine = train.over(1)
    everybody = mine.over(0).mean
    checked = None if validation is None else validation.over(1)
    return select(lambda k: mine.shrunk(everybody, k), checked, order)
