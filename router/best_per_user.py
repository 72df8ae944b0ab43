"""Best LLM per user: the simplest personalised router, and a hard one to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests

from .means import first_best, past_totals, pooled, select


class BestPerUser:
    """``argmax_m (n · mean_um + k · mean_m) / (n + k)``: a user's own means, shrunk to everybody's.

    n counts the user's rows, k is selected on validation. A user without a past gets the best
    single LLM, and so does everybody at tier T0.
    """

    def fit(self, history: History) -> None:
        """Select k, then find one LLM a user from training and validation rows."""
        train, validation = past_totals(history)
        mine, order = train.over(1), history.tie_order
        everybody = mine.over(0).mean
        checked = None if validation is None else validation.over(1)
        self.strength = select(lambda k: mine.shrunk(everybody, k), checked, order)
        past = pooled(train, validation).over(1)
        everybody = past.over(0).mean
        own = first_best(past.shrunk(everybody, self.strength), order)
        # The last row is for users without a past, whom find_users calls -1.
        self.choice = np.append(own, first_best(everybody, order))
        self.history = history

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        return self.choice[self.history.find_users(requests.user_ids)][requests.user_index]
