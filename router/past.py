"""The past as learned baselines read it: training and validation as one, in folds to select on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History

from .means import Doubles, Ints, first_best

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Past:
    """U users, Q past queries, M LLMs; K facts of a response."""

    embeddings: Doubles
    """[Q, D]"""
    values: Floats
    """[U, Q, M] see `History.values`; NaN where a user tells nothing."""
    content: Doubles
    """[Q, M, K] see `content_of`."""
    ok: Bools
    """[Q, M] false where a response failed: its value is a charge, not an opinion."""
    task: Ints
    """[Q]"""
    order: Ints
    """[M] settles ties."""
    user_ids: list[str]
    llm_ids: list[str]

    def folds(self, count: int = FOLDS) -> list[Bools]:
        """Return masks [Q] that part the queries, each task evenly; none of a single query."""
        Q = len(self.task)
        if Q < 2:
            return []
        place = np.empty(Q, dtype=np.int64)
        place[np.argsort(self.task, kind="stable")] = np.arange(Q)
        return [place % min(count, Q) == i for i in range(min(count, Q))]

    def worth(self, scores: NDArray[Any]) -> float:
        """Return the mean value of the best-scored among the candidates that users tell about.

        Args:
            scores: [U, Q, M], or [1, Q, M] where they are the same for all users.
        """
        total, count = worth_of(scores, self.values, self.order)
        return total / count if count else -np.inf


def worth_of(scores: NDArray[Any], values: Floats, order: Ints) -> tuple[float, int]:
    """Return the sum of the values [U, Q, M] of the best-scored candidates, and of how many."""
    told = np.isfinite(values)
    pick = first_best(np.where(told, scores, -np.inf), order)
    found = np.take_along_axis(values, pick[..., None], axis=-1)
    return float(np.nansum(found, dtype=np.float64)), int(np.isfinite(found).sum())


def past_of(history: History, *, empty: bool = False) -> Past:
    """Return both splits as one.

    Raises:
        BenchError: nothing is observed; an `empty` past may be so, as the support of 0 shots is.
    """
    held = history.validation
    splits = [history] if held is None else [history, held]
    values = np.concatenate([split.values for split in splits], axis=1)
    if not empty and not np.isfinite(values).any():
        raise BenchError("the past tells nothing about any LLM; check the responses")
    return Past(
        embeddings=np.concatenate([split.embeddings for split in splits]).astype(np.float64),
        values=values,
        content=np.concatenate([content_of(split) for split in splits]),
        ok=np.concatenate([np.isfinite(split.performance) for split in splits]),
        task=np.concatenate([split.task_of_query for split in splits]),
        order=history.tie_order,
        user_ids=history.user_ids.tolist(),
        llm_ids=history.llm_ids.tolist(),
    )


def content_of(history: History) -> Doubles:
    """Return what past responses were like, [Q, M, K]: performance, cost and, where rated, style.

    A response that failed counts as the worst of its query on performance and cost, so that an LLM
    that often refuses is not expected to shine; where all failed, as 0 and 1. Style stays NaN
    where nobody rated.
    """
    performance, cost = history.performance.astype(np.float64), history.cost.astype(np.float64)
    ok, priced = np.isfinite(performance), np.isfinite(cost)
    worst = np.where(ok, performance, np.inf).min(axis=1, keepdims=True)
    worst = np.where(np.isfinite(worst), worst, 0.0)
    dearest = np.where(priced, cost, -np.inf).max(axis=1, keepdims=True)
    dearest = np.where(np.isfinite(dearest), dearest, 1.0)
    parts = [
        np.where(ok, performance, worst)[..., None],
        np.where(ok & priced, cost, dearest)[..., None],
    ]
    style = getattr(history, "style", None)
    if style is not None:
        parts.append(np.asarray(style, dtype=np.float64))
    return np.concatenate(parts, axis=-1)
