"""Gradient descent for the small torch models among the baselines: Adam, the best point kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def import_torch() -> Any:
    """Return torch.

    Raises:
        BenchError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BenchError(
            "this router needs torch; install it with: pip install 'personaroute-bench[gnn]'"
        ) from error
    return torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small matrices on one thread: faster than many on a busy machine, and repeatable."""
    torch = import_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Draws:
    """Seeded starting points and noise; torch's global generator is left alone."""

    def __init__(self, seed: int) -> None:
        self.torch = import_torch()
        self.generator = self.torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0, learned: bool = True) -> torch.Tensor:
        """Return draws from N(0, scale²); `learned` ones take gradients."""
        drawn: torch.Tensor = self.torch.randn(*shape, generator=self.generator) * scale
        return drawn.requires_grad_(learned)

    def zeros(self, *shape: int) -> torch.Tensor:
        """Return learned zeros."""
        made: torch.Tensor = self.torch.zeros(*shape, requires_grad=True)
        return made

    def rows(self, count: int, size: int) -> torch.Tensor:
        """Return `size` indices below `count`, with replacement; all in order where they fit."""
        if count <= size:
            every: torch.Tensor = self.torch.arange(count)
            return every
        drawn: torch.Tensor = self.torch.randint(count, (size,), generator=self.generator)
        return drawn


class Perceptron:
    """An MLP of ReLU layers, [n, sizes[0]] to [n, sizes[-1]]; a `flat` one answers 0 at first."""

    def __init__(self, draws: Draws, *sizes: int, flat: bool = True) -> None:
        self.weights = [
            draws.normal(i, o, scale=float(np.sqrt(2.0 / i))) for i, o in itertools.pairwise(sizes)
        ]
        if flat:
            self.weights[-1] = draws.zeros(*sizes[-2:])
        self.biases = [draws.zeros(size) for size in sizes[1:]]
        self.parameters = [*self.weights, *self.biases]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs, without a nonlinearity at the end."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            if i + 1 < len(self.weights):
                x = x.relu()
        return x


def descend(
    parameters: Sequence[torch.Tensor],
    loss: Callable[[], torch.Tensor],
    *,
    steps: int,
    rate: float,
    decay: float = 0.0,
    fast: Sequence[torch.Tensor] = (),
    score: Callable[[], float] | None = None,
    every: int = 20,
    patience: int = 8,
) -> float:
    """Minimise the loss by Adam, in place.

    Args:
        parameters: leaves that take gradients.
        loss: computes the loss of a step, which may draw a batch.
        steps: at most so many.
        rate: learning rate.
        decay: decoupled weight decay.
        fast: further parameters, at ten times the rate and without decay: those of single users,
            who appear in few rows.
        score: what validation says of the parameters, higher is better; asked before the first
            step and after every `every` steps. The best parameters are put back at the end, and
            `patience` checks without a better one are the end.
        every: see there.
        patience: see there.

    Returns:
        The best score, -inf without `score`.
    """
    torch = import_torch()
    with one_thread():
        groups = [
            {"params": list(parameters), "lr": rate, "weight_decay": decay},
            {"params": list(fast), "lr": 10 * rate, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
        everything = [*parameters, *fast]
        best, kept, worse = -np.inf, [], 0

        def check() -> bool:
            nonlocal best, kept, worse
            assert score is not None
            with torch.no_grad():
                now = score()
            if now > best:
                best, kept, worse = now, [p.detach().clone() for p in everything], 0
            else:
                worse += 1
            return worse >= patience

        if score is not None:
            check()
        for step in range(1, steps + 1):
            optimiser.zero_grad()
            loss().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if score is not None and step % every == 0 and check():
                break
        if kept:
            with torch.no_grad():
                for parameter, value in zip(everything, kept, strict=True):
                    parameter.copy_(value)
    return float(best)


def ranking_loss(scores: Tensor, values: Tensor, least: float) -> Tensor:
    """Return the mean −log σ(difference of scores) over preferences, weighed by how strong.

    Args:
        scores: [..., M].
        values: [..., M] NaN where nothing is told: of two, the one of more value is preferred.
        least: the weights count for this much at least, so that nothing divides by nothing.
    """
    torch = import_torch()
    a, b = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1)
    gap = (values[..., a] - values[..., b]).nan_to_num(0.0)
    # Each pair once; as a product of matrices, whose gradient is one, too.
    every = torch.eye(scores.shape[-1], dtype=scores.dtype)
    ahead = scores @ (every[:, a] - every[:, b])
    lost = torch.nn.functional.softplus(-ahead * gap.sign())
    mean: Tensor = (lost * gap.abs()).sum() / gap.abs().sum().clamp(min=least)
    return mean
