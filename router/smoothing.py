"""What a new query will be like, from past ones: a linear smoother over past queries.

A smoother is a matrix S [n, Q]; whatever is known of past queries as a table [Q, …] becomes an
expectation for n new ones by S @ table. Two forms:

- ``ridge``: the mean of the task, plus kernel ridge regression on the embeddings of what is left;
  a large penalty is the plain mean of the task;
- ``kernel``: a weighted mean, weights exp(sharpness · cosine), other tasks damped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

# A task's mean counts as if so many more queries of all tasks were in it.
TASK_PRIOR = 1.0
OTHER_TASK = 0.02


@dataclass(frozen=True)
class Smoother:
    """A form and its one setting: the ridge penalty, or the sharpness of the kernel."""

    form: str
    setting: float

    def matrix(
        self, embeddings: Floats, tasks: Ints, past_embeddings: Floats, past_tasks: Ints
    ) -> Floats:
        """Return S [n, Q], rows summing to 1; see `Smoothing`."""
        return self.on(past_embeddings, past_tasks)(embeddings, tasks)

    def on(self, past_embeddings: Floats, past_tasks: Ints) -> Smoothing:
        """Return the smoother of one past, embeddings [Q, D] and tasks [Q].

        What does not depend on the new query is computed here, once.
        """
        past, kernel = past_embeddings.astype(np.float64), None
        if self.form == "ridge" and np.isfinite(self.setting):
            inner = _task_means(past_tasks, past_tasks)
            residual = np.eye(len(past)) - inner
            # Embeddings lose their task's mean too, or the kernel would explain it a second time.
            centred = past - inner @ past
            penalty = self.setting * np.eye(len(past))
            kernel = centred.T @ np.linalg.solve(centred @ centred.T + penalty, residual)
        return Smoothing(self, past, past_tasks, kernel)


@dataclass(frozen=True, eq=False)
class Smoothing:
    """A smoother on a past of Q queries; call it with new queries."""

    smoother: Smoother
    past: Doubles
    """[Q, D]"""
    tasks: Ints
    """[Q]"""
    kernel: Doubles | None
    """[D, Q] from an embedding above its task's mean to weights; ridge only."""

    def __call__(self, embeddings: Floats, tasks: Ints) -> Floats:
        """Return S [n, Q], rows summing to 1.

        Args:
            embeddings: [n, D] of the new queries.
            tasks: [n] their tasks; -1 or a task without a past: nothing is known of the task.
        """
        new = embeddings.astype(np.float64)
        mean = _task_means(tasks, self.tasks)
        if self.smoother.form == "kernel":
            same = tasks[:, None] == self.tasks[None, :]
            unseen = ~same.any(axis=1, keepdims=True)
            weight = np.exp(self.smoother.setting * (new @ self.past.T - 1)) * np.where(
                same | unseen, 1.0, OTHER_TASK
            )
            weight += 1e-3 * mean * weight.sum(axis=1, keepdims=True)
            return _f32(weight / weight.sum(axis=1, keepdims=True))
        if self.kernel is None:
            return _f32(mean)
        return _f32(mean + (new - mean @ self.past) @ self.kernel)


SMOOTHERS = (
    *(Smoother("ridge", penalty) for penalty in (np.inf, 100.0, 30.0, 10.0, 3.0, 1.0)),
    *(Smoother("kernel", sharpness) for sharpness in (3.0, 6.0, 12.0)),
)


def _task_means(tasks: Ints, past_tasks: Ints) -> Doubles:
    """[n, Q] weights of the mean over the queries of the same task, shrunk to all."""
    same = (tasks[:, None] == past_tasks[None, :]).astype(np.float64)
    everything = TASK_PRIOR / len(past_tasks)
    weights: Doubles = (same + everything) / (same.sum(axis=1, keepdims=True) + TASK_PRIOR)
    return weights


def _f32(array: NDArray[Any]) -> Floats:
    result: Floats = np.ascontiguousarray(array, np.float32)
    return result
