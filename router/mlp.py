"""MLP: one hidden layer from the embedding to what to expect of all LLMs at once.

RouterBench (arXiv 2403.12031) regresses with hidden layers of 100; LLMRouter's classifier is the
variant `MlpClass`, trained on the label "which LLM is best on average over users".
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .descent import Draws, Perceptron, descend, import_torch, one_thread
from .expectations import ExpectationRouter, Predict
from .means import Doubles

HIDDEN = 100
RATE = 1e-3


class Mlp(ExpectationRouter):
    """One hidden layer from the embedding to what to expect of all LLMs.

    ``min Σ w (y − MLP(x))²`` on standardised targets, D → 100 → P, Adam at 10⁻³.

    Settings: steps, each over all queries; at 0 steps it would expect the means. Needs torch.
    """

    extra = "gnn"

    settings: ClassVar = (100, 30, 300)

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: int) -> Predict:
        """Descend for so many steps."""
        total = np.maximum(weights.sum(axis=0), 1e-12)
        mean = (weights * targets).sum(axis=0) / total
        spread = np.sqrt((weights * (targets - mean) ** 2).sum(axis=0) / total)
        spread = np.where(spread > 1e-9, spread, 1.0)
        x, y, w = (_tensor(a) for a in (inputs, (targets - mean) / spread, weights / total))
        network = Perceptron(Draws(self.seed), inputs.shape[1], HIDDEN, targets.shape[1])

        def loss() -> Any:
            return (w * (y - network(x)) ** 2).sum() / w.shape[1]

        descend(network.parameters, loss, steps=setting, rate=RATE)
        return lambda z: _outputs(network, z) * spread + mean


class MlpPersonal(Mlp):
    """`mlp`, weighed by what the user's own history says the user cares about."""

    personal: ClassVar[bool] = True


class MlpClass(ExpectationRouter):
    """A network that names the LLM that is best on average over users.

    Softmax over LLMs, cross-entropy on the best of each query, D → 100 → M. Needs torch.
    """

    extra = "gnn"

    settings: ClassVar = Mlp.settings
    classify: ClassVar[bool] = True

    def learn(self, inputs: Doubles, targets: Doubles, weights: Doubles, setting: int) -> Predict:
        """Descend for so many steps."""
        torch = import_torch()
        told = weights[:, 0] > 0
        x, label = _tensor(inputs[told]), torch.as_tensor(targets[told].argmax(axis=1))
        network = Perceptron(Draws(self.seed), inputs.shape[1], HIDDEN, targets.shape[1])

        def loss() -> Any:
            return torch.nn.functional.cross_entropy(network(x), label)

        descend(network.parameters, loss, steps=setting, rate=RATE)
        return lambda z: _outputs(network, z)


def _outputs(network: Perceptron, x: NDArray[Any]) -> Doubles:
    with import_torch().no_grad(), one_thread():
        return np.asarray(network(_tensor(x)).numpy(), dtype=np.float64)


def _tensor(x: NDArray[Any]) -> Any:
    return import_torch().as_tensor(np.asarray(x, dtype=np.float32))
