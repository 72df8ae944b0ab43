"""Past queries asked about again: what a network is to score, and how far its scores are off.

Training hides all interactions with the queries it asks about, as if nobody had asked them before
(masked link prediction); that is how test queries come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History

from .descent import import_torch
from .records import Past
from .utility import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

# Standardised rewards are hardly larger than 3; this is a chance of nothing.
UNSEEN = -1e9


@dataclass(frozen=True, eq=False)
class Asked:
    """n queries, and what U users told of the M responses to them."""

    tasks: Tensor
    """[n] T where unknown."""
    embeddings: Tensor
    """[n, D]"""
    target: Tensor
    """[U, n, M] shares of the choice; or rewards above the mean of what was told, standardised, a
    failed response being charged. Zeros where not told."""
    told: Tensor
    """[U, n, M]"""

    @classmethod
    def of(cls, past: Past, rows: Any, tasks: int, scale: float | None) -> Asked:
        """Ask about some queries of a past.

        Args:
            past: U users.
            rows: which of its queries.
            tasks: T.
            scale: standard deviation of rewards within queries; None where users choose.
        """
        torch = import_torch()
        values = past.values[:, rows]
        told = np.isfinite(values)
        target = np.where(told, values, 0)
        if scale is not None:
            count = np.maximum(told.sum(axis=-1, keepdims=True), 1)
            level = target.sum(axis=-1, keepdims=True) / count
            target = np.where(told, target - level, 0) / scale
        return cls(
            torch.as_tensor(task_places(past.tasks[rows], tasks)),
            floats(past.embeddings[rows]),
            floats(target),
            torch.as_tensor(told),
        )

    def some(self, users: Any, queries: Any) -> Asked:
        """Return what some users told of some of the queries."""
        return Asked(
            self.tasks[queries],
            self.embeddings[queries],
            self.target[users][:, queries],
            self.told[users][:, queries],
        )

    def loss(self, logits: Tensor, *, linear: bool) -> Tensor:
        """Return how far logits [U, n, M] are off, a mean over what was told.

        Rewards: the squared error above the query's mean, since the expected reward decides what
        is best to choose. Choices: the cross-entropy with the choice, among what was told.
        """
        if linear:
            count = self.told.sum(-1, keepdim=True).clamp(min=1)
            centred = logits - (logits * self.told).sum(-1, keepdim=True) / count
            lost = ((centred - self.target) * self.told).square().sum()
            return lost / self.told.sum().clamp(min=1)
        logs = logits.masked_fill(~self.told, UNSEEN).log_softmax(-1)
        return -(self.target * logs).sum() / self.told.any(-1).sum().clamp(min=1)


def past_and_scale(history: History) -> tuple[Past, float | None]:
    """Return the training split, and the scale of its rewards; None where users choose.

    Raises:
        BenchError: nothing is observed.
    """
    past = Past.of(history)
    told = np.isfinite(past.values)
    if not told.any():
        raise BenchError("the past tells nothing about any LLM; check the responses")
    if past.is_choice():
        return past, None
    count = np.maximum(told.sum(axis=-1, keepdims=True), 1)
    values = np.where(told, past.values, 0).astype(np.float64)
    centred = np.where(told, values - values.sum(axis=-1, keepdims=True) / count, 0)
    return past, float(np.sqrt((centred**2).sum() / told.sum())) or 1.0


def task_places(tasks: NDArray[np.int64], count: int) -> Ints:
    """Return tasks with `count` for those that are unknown."""
    return np.where((tasks >= 0) & (tasks < count), tasks, count).astype(np.int64)


def floats(array: NDArray[Any] | Floats) -> Tensor:
    """Return a float32 tensor over memory of its own."""
    tensor: Tensor = import_torch().as_tensor(np.array(array, dtype=np.float32))
    return tensor
