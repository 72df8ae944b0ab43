"""Ridge regression from the embedding to what to expect of each LLM.

A linear probe is the plainest learned router, and on recorded routing data seldom far behind
(arXiv 2505.12601); the published rows of the paper gave it .260 where a user-blind oracle has .302.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .expectations import ExpectationRouter, Predict
from .means import Doubles


class Linear(ExpectationRouter):
    """Ridge regression from the embedding to what to expect of each LLM.

    ``ŷ = ȳ + (x − x̄) B`` with ``min Σ w (y − ŷ)² + λ ‖B‖²``, one fit for all equal weights.

    Settings: λ, per unit of mean weight, so that it means the same for 9 users and for 1,000.
    """

    settings: ClassVar = (1.0, 0.01, 0.03, 0.1, 0.3, 3.0, 10.0, 30.0, 100.0)

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: float) -> Predict:
        """Solve the normal equations in their smaller form, [Q, Q] or [D, D]."""
        Q, D = inputs.shape
        mean = np.zeros((targets.shape[1], D))
        level = np.zeros(targets.shape[1])
        slope = np.zeros((D, targets.shape[1]))
        kinds, kind = np.unique(weights, axis=1, return_inverse=True)
        for i, kind_weights in enumerate(kinds.T):
            if not kind_weights.any():
                continue
            own = np.flatnonzero(kind.ravel() == i)
            w = kind_weights / kind_weights.mean()
            root = np.sqrt(w)[:, None]
            centre = w @ inputs / Q
            base = w @ targets[:, own] / Q
            x, y = (inputs - centre) * root, (targets[:, own] - base) * root
            if Q < D:
                slope[:, own] = x.T @ np.linalg.solve(x @ x.T + setting * np.eye(Q), y)
            else:
                slope[:, own] = np.linalg.solve(x.T @ x + setting * np.eye(D), x.T @ y)
            mean[own], level[own] = centre, base
        shift = level - np.einsum("pd,dp->p", mean, slope)

        def predict(x: NDArray[Any]) -> Doubles:
            found: Doubles = x @ slope + shift
            return found

        return predict


class LinearPersonal(Linear):
    """`linear`, weighed by what the user's own history says the user cares about."""

    personal: ClassVar[bool] = True
