"""From scores [u, n, M] of a router's own users and LLMs to the answers of requests."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import Requests

from .records import Past
from .utility import Floats, Ints


class Scorer(Protocol):
    """A router that scores every LLM for users and queries."""

    user_ids: NDArray[np.str_]
    llm_ids: NDArray[np.str_]
    order: Ints

    def scores(self, users: Ints, embeddings: Floats, tasks: Ints) -> Floats:
        """Return [u, n, M]; users are rows of `user_ids`, -1 for one without a past."""
        ...


def answers(router: Scorer, requests: Requests) -> NDArray[np.int64]:
    """Return [n] indices into the candidates of the requests; ties go to the cheaper.

    A candidate that the router has never met is only taken where there is no other.
    """
    place = {name: i for i, name in enumerate(router.user_ids.tolist())}
    users = np.asarray([place.get(str(name), -1) for name in requests.user_ids], np.int64)
    scores = router.scores(users, requests.embeddings, requests.task_of_query)
    best = best_candidate(router, scores, requests.candidates)
    return best[requests.user_index, requests.query_index]


def best_candidate(router: Scorer, scores: Any, candidates: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return [...] indices into `candidates` of the best of scores [..., M]."""
    column = {name: i for i, name in enumerate(candidates.tolist())}
    known = [m for m in router.order.tolist() if str(router.llm_ids[m]) in column]
    if not known:
        return np.zeros(scores.shape[:-1], np.int64)
    index = np.asarray([column[str(router.llm_ids[m])] for m in known], np.int64)
    best: NDArray[np.int64] = index[scores[..., known].argmax(axis=-1)]
    return best


def cheapest_first(past: Past) -> Ints:
    """Return [M] LLMs by mean USD a past query, unknown last, then by id: settles ties."""
    known = np.isfinite(past.cost_usd)
    count = known.sum(axis=0)
    total = np.where(known, past.cost_usd, 0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(len(count), np.inf), where=count > 0)
    return np.lexsort((past.llm_ids, mean))
