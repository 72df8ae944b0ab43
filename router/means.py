"""Means over the past, shared by the routers that rank LLMs by them.

All of them work on `History.values`: rewards under full feedback, wins under choice and pairwise.
Training and validation rows are pooled in the end; validation alone decides what is selected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

# Strengths of shrinkage to select from, in rows of a user; the last one all but ignores users.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e6)
DEFAULT_STRENGTH = 10.0


@dataclass(frozen=True)
class Totals:
    """Sums of values and how many rows they are over, both [..., M]."""

    sum: Doubles
    count: Doubles

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.sum + other.sum, self.count + other.count)

    def over(self, axis: int) -> Totals:
        """Return the totals over one axis (of users, of tasks)."""
        return Totals(self.sum.sum(axis=axis), self.count.sum(axis=axis))

    @property
    def mean(self) -> Doubles:
        """[..., M]; NaN where there are no rows."""
        result = np.full(self.sum.shape, np.nan)
        np.divide(self.sum, self.count, out=result, where=self.count > 0)
        return result

    def shrunk(self, prior: Doubles, strength: float) -> Doubles:
        """Return ``(n · mean + k · prior) / (n + k)``, n the rows here, k the strength."""
        return (self.sum + strength * prior) / (self.count + strength)

    def of(self, choice: Ints) -> float:
        """Return the mean value of choosing LLM `choice` [...] for the rows here."""
        pick = choice[..., None]
        rows = np.take_along_axis(self.count, pick, axis=-1).sum()
        total = np.take_along_axis(self.sum, pick, axis=-1).sum()
        return float(total / rows) if rows else -np.inf


def totals(history: History) -> Totals:
    """Return totals of values per user, task and LLM, [U, T, M]."""
    shape = (len(history.user_ids), len(history.task_ids), len(history.llm_ids))
    result = Totals(np.zeros(shape), np.zeros(shape))
    for task in np.unique(history.task_of_query):
        values = history.values[:, history.task_of_query == task]
        result.sum[:, task] = np.nansum(values, axis=1, dtype=np.float64)
        result.count[:, task] = np.isfinite(values).sum(axis=1)
    return result


def past_totals(history: History) -> tuple[Totals, Totals | None]:
    """Return totals of the training and of the validation split.

    Raises:
        BenchError: nothing is observed.
    """
    train = totals(history)
    validation = None if history.validation is None else totals(history.validation)
    if not train.count.any():
        raise BenchError("the training split tells nothing about any LLM; check the responses")
    return train, validation


def pooled(train: Totals, validation: Totals | None) -> Totals:
    """Return both splits as one."""
    return train if validation is None else train + validation


def first_best(values: Doubles, order: Ints) -> Ints:
    """Return [...] the index of the best of [..., M], of tied ones the first in `order` [M]."""
    shown = np.where(np.isnan(values), -np.inf, values)
    best: Ints = order[shown[..., order].argmax(axis=-1)]
    return best


def select(estimate: Callable[[float], Doubles], validation: Totals | None, order: Ints) -> float:
    """Return the strength whose choices do best on validation, of tied ones the strongest."""
    if validation is None:
        return DEFAULT_STRENGTH
    scores = [validation.of(first_best(estimate(k), order)) for k in STRENGTHS]
    return max(zip(scores, STRENGTHS, strict=True))[1]
