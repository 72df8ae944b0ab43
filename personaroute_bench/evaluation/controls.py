"""The two controls that no router can be: they are computed from the test outcomes.

Their gap is what there is to gain from knowing users; see `headroom`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.metrics import charge, mean

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Bools, Doubles, Floats, Ints, Strings
    from personaroute_bench.evaluation.metrics import Outcomes

CONTROLS = ("user-blind-oracle", "oracle")


def control_choices(name: str, outcomes: Outcomes, llm_ids: Strings) -> Ints:
    """Return [U, Q] the choices of `oracle` or `user-blind-oracle`.

    oracle: ``argmax_m r[u, q, m]``. user-blind-oracle: ``argmax_m mean_u r[u, q, m]``, the best
    that one choice a query for all users can do. Ties go to the cheapest, then to the first id;
    neither picks a response that is not ok. Rows without any candidate that is ok are -1.
    """
    order = cheapest_first(outcomes.cost_usd, llm_ids)
    scored = outcomes.scored
    if name == "oracle":
        return np.where(scored, _first_best(outcomes.reward, order), -1)
    ok = np.isfinite(outcomes.reward)
    # A candidate that failed for some users only (no reward there) is charged for these.
    total = np.where(scored[:, :, None], charge(outcomes.reward), 0).sum(axis=0, dtype=np.float64)
    best = best_for_all(total, np.asarray(ok.any(axis=0)), outcomes.cost_usd, llm_ids)
    return np.where(scored, best[None, :], -1)


def best_for_all(total: Doubles, ok: Bools, cost_usd: Doubles, llm_ids: Strings) -> Ints:
    """Return [Q] the LLM of the highest total [Q, M] among those that anybody has a reward of."""
    shown = np.where(ok, total, np.nan)
    return _first_best(shown, cheapest_first(cost_usd, llm_ids))


def headroom(outcomes: Outcomes, llm_ids: Strings) -> dict[str, float | None]:
    """Return how much there is to gain from knowing users, at the oracles' level.

    Keys: `oracle`, `user_blind_oracle` and `random`, mean rewards on the test split, and
    `share`, ``(oracle − user-blind) / (oracle − random)``; None where there is no range.
    """
    blind = control_choices("user-blind-oracle", outcomes, llm_ids)
    picked = np.take_along_axis(charge(outcomes.reward), np.maximum(blind, 0)[:, :, None], axis=-1)
    top, middle, low = (
        mean(np.where(outcomes.scored, x, np.nan).astype(np.float64))
        for x in (outcomes.best, picked[:, :, 0], outcomes.chance)
    )
    share = None
    if top is not None and middle is not None and low is not None and top - low > 1e-9:
        share = (top - middle) / (top - low)
    return {"oracle": top, "user_blind_oracle": middle, "random": low, "share": share}


def cheapest_first(cost_usd: Doubles, llm_ids: Strings) -> Ints:
    """[Q, M] LLM indices by cost of the query's response, unknown last, then by id."""
    by_id = np.argsort(llm_ids, kind="stable")
    return by_id[np.argsort(cost_usd[:, by_id], axis=-1, kind="stable")]


def _first_best(values: Floats | Doubles, order: Ints) -> Ints:
    """[...,] index of the best value, of tied ones the first in `order` [Q, M]."""
    shown = np.where(np.isfinite(values), values, -np.inf)
    ordered = np.take_along_axis(shown, np.broadcast_to(order, values.shape), axis=-1)
    place = ordered.argmax(axis=-1)
    best = np.take_along_axis(np.broadcast_to(order, values.shape), place[..., None], axis=-1)
    return best[..., 0]
