"""Cross-fitting: one network a fold, each validated on the fold that it never saw.

With some 200 past queries a validation split of 24 chooses by luck. Here network k learns from all
folds but k, and fold k validates it, so that *every* past query validates once. All networks go
through their epochs side by side, and one epoch is chosen for all: the least loss over all left-out
folds together, epoch 0 (no training) included. The networks at that epoch are what is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .utility import Floats, Ints

if TYPE_CHECKING:
    import torch

    from .graph import Graph, Network

FOLDS = 4
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-1
# Users of one step, drawn anew each time.
STEP_USERS = 192
# Values that differ by less are tied.
TIED = 1e-6
# The logit of what was not among the candidates.
NEVER = -1e9
# Of logits, to start from.
SCALES = (1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True, eq=False)
class Asked:
    """n queries to answer for U users, with the graph that may be used for it."""

    graph: Graph
    tasks: torch.Tensor
    """[n]"""
    embeddings: torch.Tensor
    """[n, D]"""
    head: torch.Tensor
    """[U, n, M] scores of the utility head, zeros without one."""
    values: torch.Tensor
    """[U, n, M] likings, 0 where not told."""
    target: torch.Tensor
    """[U, n, M] shares of the choice, tied: shared; 0 where not told."""
    unseen: torch.Tensor
    """[U, n, M] 0 where told, else a logit that nothing chooses."""

    @property
    def where(self) -> tuple[Graph, torch.Tensor, torch.Tensor]:
        """The graph and the queries."""
        return self.graph, self.tasks, self.embeddings

    def users(self, rows: Ints) -> Asked:
        """Return the same for some users."""
        graph = self.graph.users(rows)
        parts = (x[rows] for x in (self.head, self.values, self.target, self.unseen))
        return Asked(graph, self.tasks, self.embeddings, *parts)

    @property
    def seen(self) -> torch.Tensor:
        """[U, n, M] whether told."""
        return self.unseen == 0


def ask(graph: Graph, tasks: Ints, embeddings: Floats, head: Floats, values: Floats) -> Asked:
    """Return arrays as tensors, on the graph's device; values are NaN where not told."""
    import torch

    device = graph.facts.device

    def put(array: Any) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=device)

    seen = np.isfinite(values)
    best = seen & (values >= np.where(seen, values, -np.inf).max(-1, keepdims=True) - TIED)
    target = best / np.maximum(best.sum(-1, keepdims=True), 1)
    where = torch.as_tensor(tasks, device=device)
    parts = (head, np.where(seen, values, 0), target, np.where(seen, 0, NEVER))
    return Asked(graph, where, put(embeddings), *map(put, parts))


def loss_of(network: Network, asked: Asked, linear: bool) -> tuple[Any, int]:
    """Return the mean loss over told (user, query) pairs, and how many there are.

    Choices: cross-entropy with the choice (tied: shared). Rewards: minus the expected reward.
    """
    import torch

    count = round(float(asked.target.sum()))
    if not count:
        return torch.zeros(()), 0
    logits = network(*asked.where, asked.head) + asked.unseen
    if linear:
        return -(torch.softmax(logits, -1) * asked.values).sum() / count, count
    return -(asked.target * torch.log_softmax(logits, -1)).sum() / count, count


def train(
    networks: Sequence[Network],
    batches: Sequence[Sequence[Asked]],
    checks: Sequence[Asked],
    *,
    linear: bool,
    epochs: int,
    patience: int,
    seed: int,
) -> tuple[list[float], int]:
    """Train network k on batches k, and give all the weights of the epoch with the least loss.

    Args:
        networks: [K], changed in place.
        batches: [K] of each one's batches.
        checks: [K] the fold that each one never sees.
        linear: whether values are rewards, and not choices.
        epochs: at most.
        patience: epochs without a smaller loss.
        seed: of the order of batches and of the users of a step.

    Returns:
        The loss over all left-out folds before training and after each epoch; the epoch chosen.
    """
    import torch

    optimisers = [
        torch.optim.AdamW(
            network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        for network in networks
    ]
    _set_scale(networks, checks, linear)
    rng = np.random.default_rng(seed)
    losses = [_check(networks, checks, linear)]
    best, states = 0, [_copy(network) for network in networks]
    for epoch in range(1, epochs + 1):
        for network, optimiser, mine in zip(networks, optimisers, batches, strict=True):
            network.train()
            for j in rng.permutation(len(mine)):
                users = len(mine[j].values)
                batch = mine[j]
                if users > STEP_USERS:
                    batch = batch.users(np.sort(rng.choice(users, STEP_USERS, replace=False)))
                loss, count = loss_of(network, batch, linear)
                if not count:  # nobody has told anything of these queries
                    continue
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
        losses.append(_check(networks, checks, linear))
        if losses[-1] < losses[best]:
            best, states = epoch, [_copy(network) for network in networks]
        if epoch - best >= patience:
            break
    for network, state in zip(networks, states, strict=True):
        network.load_state_dict(state)
        network.eval()
    return losses, best


def _set_scale(networks: Sequence[Network], checks: Sequence[Asked], linear: bool) -> None:
    """Start at the scale of logits that fits the left-out folds: else it is all they learn."""
    import torch

    def start_at(scale: float) -> float:
        with torch.no_grad():
            for network in networks:
                (network.trust if network.shape.offset else network.direct).fill_(scale)
        return _check(networks, checks, linear)

    start_at(min(SCALES, key=start_at))


def _check(networks: Sequence[Network], checks: Sequence[Asked], linear: bool) -> float:
    """Return the mean loss over the left-out folds; infinite where nothing is told of them."""
    import torch

    total, rows = 0.0, 0
    with torch.no_grad():
        for network, check in zip(networks, checks, strict=True):
            network.eval()
            loss, count = loss_of(network, check, linear)
            total, rows = total + float(loss) * count, rows + count
    return total / rows if rows else np.inf


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
