"""k nearest neighbours: an LLM will do on a query as it did on similar ones.

RouterBench (arXiv 2403.12031) predicts quality and cost so; "Rethinking Predictive Modeling for
LLM Routing" (arXiv 2505.12601) finds it hard to beat when k is tuned. `KnnClass` votes for the
best LLM of each neighbour, as the paper's baselines do.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .expectations import ExpectationRouter, Predict
from .means import Doubles

# Nearer than this is the same query: only such neighbours count then.
SAME = 1e-3


class Knn(ExpectationRouter):
    """An LLM will do on a query as it did on the k most similar ones.

    Mean of the k nearest past queries by cosine, each weighted by 1 / distance.

    Settings: k. Distances are Euclidean between unit vectors. Neighbours without a verdict weigh
    nothing; where none of the k has one, the mean over all queries answers.
    """

    settings: ClassVar = (10, 1, 3, 5, 20, 50, 100)

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: int) -> Predict:
        """Keep the past, [Q, D] and [Q, P]."""
        past, weighted = _unit(inputs), targets * weights
        k = min(setting, len(past))
        mean = weighted.sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)

        def predict(x: NDArray[Any]) -> Doubles:
            likeness = _unit(x) @ past.T  # [q, Q]
            near = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
            cosine = np.take_along_axis(likeness, near, axis=1)
            distance = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
            same = distance < SAME
            only = same.any(axis=1, keepdims=True)
            closeness = np.where(only, same, 1.0 / np.maximum(distance, SAME))
            spread = np.zeros_like(likeness)
            np.put_along_axis(spread, near, closeness, axis=1)
            total = spread @ weights
            found: Doubles = np.where(total > 0, spread @ weighted / np.maximum(total, 1e-12), mean)
            return found

        return predict


class KnnPersonal(Knn):
    """`knn`, weighed by what the user's own history says the user cares about."""

    personal: ClassVar[bool] = True


class KnnClass(Knn):
    """Votes of the k nearest queries for the LLM that was best there, equal for all users."""

    classify: ClassVar[bool] = True


def _unit(x: NDArray[Any]) -> Doubles:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1.0), dtype=np.float64)
