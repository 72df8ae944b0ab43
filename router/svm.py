"""Support vector machines: one linear regression an LLM, or one classifier of the best LLM.

RouterBench (arXiv 2403.12031) regresses quality with one LinearSVR an LLM; LLMRouter classifies
with an RBF kernel (C = 1, gamma = scale). Inputs are standardised.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .expectations import ExpectationRouter, Predict
from .means import Doubles


class Svm(ExpectationRouter):
    """Support vector regression of what to expect of each LLM.

    LinearSVR with squared ε-insensitive loss (ε = 0.01) for every expectation.

    Settings: C, small, since standardised embeddings have hundreds of dimensions.
    """

    settings: ClassVar = (1e-3, 1e-5, 1e-4, 1e-2)

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: float) -> Predict:
        """Fit one regression a column, P of them."""
        from sklearn.svm import LinearSVR

        scale = _standard(inputs)
        x = scale(inputs)
        slope = np.zeros((x.shape[1], targets.shape[1]))
        shift = np.zeros(targets.shape[1])
        for p in range(targets.shape[1]):
            told = weights[:, p] > 0
            y, w = targets[told, p], weights[told, p]
            if not told.any():
                continue
            shift[p] = np.average(y, weights=w)
            if np.ptp(y) < 1e-12:
                continue
            model = LinearSVR(
                epsilon=0.01,
                C=setting,
                loss="squared_epsilon_insensitive",
                dual=False,
                intercept_scaling=10.0,  # the intercept is regularised too: make that cheap
                max_iter=2000,
            )
            model.fit(x[told], y - shift[p], sample_weight=w / w.mean())
            slope[:, p] = model.coef_
            shift[p] += float(np.ravel(model.intercept_)[0])

        def predict(z: NDArray[Any]) -> Doubles:
            found: Doubles = scale(z) @ slope + shift
            return found

        return predict


class SvmPersonal(Svm):
    """`svm`, weighed by what the user's own history says the user cares about."""

    personal: ClassVar[bool] = True


class SvmClass(ExpectationRouter):
    """Support vector classification: which LLM is best on average over users?

    SVC with an RBF kernel on the label "which LLM is best on average over users"; setting: C.
    """

    settings: ClassVar = (1.0, 0.1, 10.0, 100.0)
    classify: ClassVar[bool] = True

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: float) -> Predict:
        """Fit the classifier; one class alone is answered without one."""
        from sklearn.svm import SVC

        told = weights[:, 0] > 0
        scale = _standard(inputs[told])
        label = targets[told].argmax(axis=1)
        seen, M = np.unique(label), targets.shape[1]
        share = np.bincount(label, minlength=M) / len(label)
        if len(seen) == 1:
            return lambda z: np.tile(share, (len(z), 1))
        model = SVC(C=setting, gamma="scale", decision_function_shape="ovr")
        model.fit(scale(inputs[told]), label)

        def predict(z: NDArray[Any]) -> Doubles:
            # Ranks of the decision function; LLMs that were never best stay at -1.
            found = np.full((len(z), M), -1.0)
            found[np.arange(len(z)), model.predict(scale(z))] = 1.0
            return found

        return predict


def _standard(inputs: Doubles) -> Any:
    """Return what standardises [n, D] by the columns of the inputs; constant ones become 0."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    return lambda x: (x - mean) * factor
