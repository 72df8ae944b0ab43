"""Who the users are: performance and cost weights, drawn by user number.

The paper (arXiv 2511.16883) has nine users with α = 0.2, 0.3, …, 1.0 and β = 1 − α, and a large
set of 1,000 whose law it does not publish. A user's draw depends on the seed and on the user's
own number only, so the first 1,000 of 2,000 users are the 1,000 users.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from personaroute_bench.config import Preset
from personaroute_bench.hashing import index_uniform
from personaroute_bench.schemas import USERS

PAPER_ALPHAS = np.round(np.arange(2, 11) / 10, 1)


def user_ids(start: int, stop: int) -> list[str]:
    """Return the ids of users ``start`` to ``stop`` (exclusive), counted from 0."""
    return [f"u{number:07d}" for number in range(start + 1, stop + 1)]


def draw_weights(
    preset: Preset, seed: int, start: int, stop: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the weights of users ``start`` to ``stop`` (exclusive).

    Args:
        preset: ``paper``: users 1 to 9 at α = 0.2 … 1.0, later ones uniform on [0.2, 1];
            ``default``: α uniform on [0, 1].
        seed: the data set's seed.
        start: first user, counted from 0.
        stop: one past the last user.

    Returns:
        α and β = 1 − α, each of shape [stop - start].
    """
    index = np.arange(start, stop, dtype=np.int64)
    uniform = index_uniform(seed, f"users/{preset}/alpha", index)
    if preset == "paper":
        alpha = 0.2 + 0.8 * uniform
        listed = index < len(PAPER_ALPHAS)
        alpha[listed] = PAPER_ALPHAS[index[listed]]
    else:
        alpha = uniform
    return alpha, 1.0 - alpha


def users_table(preset: Preset, seed: int, count: int) -> pa.Table:
    """Return the `users` table of ``count`` users."""
    alpha, beta = draw_weights(preset, seed, 0, count)
    return pa.table(
        {
            "user_id": pa.array(user_ids(0, count)),
            "population": pa.repeat(pa.scalar(preset), count),
            "performance_weight": alpha,
            "cost_weight": beta,
            "cohort": pa.repeat(pa.scalar("known"), count),
        },
        schema=USERS,
    )
