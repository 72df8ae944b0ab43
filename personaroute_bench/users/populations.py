"""Who the users are: performance and cost weights, drawn by user number.

The paper (arXiv 2511.16883) has nine users with α = 0.2, 0.3, …, 1.0 and β = 1 − α, and a large
set of 1,000 whose law it does not publish. A user's draw depends on the seed and on the user's
own number only, so the first 1,000 of 2,000 users are the 1,000 users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from personaroute_bench.config import Preset
from personaroute_bench.hashing import index_uniform
from personaroute_bench.schemas import USERS
from personaroute_bench.users.drift import KINDS, drift_kinds, drift_weights

if TYPE_CHECKING:
    from personaroute_bench.users.persona_types import Persona
    from personaroute_bench.users.personas import PersonaSource

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
            ``large``: uniform on [0.2, 1]; ``default``: α uniform on [0, 1].
        seed: the data set's seed.
        start: first user, counted from 0.
        stop: one past the last user.

    Returns:
        α and β = 1 − α, each of shape [stop - start].
    """
    index = np.arange(start, stop, dtype=np.int64)
    uniform = index_uniform(seed, f"users/{preset}/alpha", index)
    if preset == "large":
        alpha = 0.2 + 0.8 * uniform
    elif preset == "paper":
        alpha = 0.2 + 0.8 * uniform
        listed = index < len(PAPER_ALPHAS)
        alpha[listed] = PAPER_ALPHAS[index[listed]]
    else:
        alpha = uniform
    return alpha, 1.0 - alpha


def users_table(
    preset: Preset,
    seed: int,
    count: int,
    strategies: Sequence[str] = ("multi_cost_efficiency",),
    personas: PersonaSource | None = None,
    *,
    start: int = 0,
) -> pa.Table:
    """Return the `users` table of users ``start`` (counted from 0) to ``count`` (exclusive).

    Args:
        preset: law of α, and of the personas.
        seed: the data set's seed.
        count: number of users, one past the last.
        strategies: columns that none of them needs are null.
        personas: needed where a strategy has to do with style.
        start: first user.
    """
    stop, count = count, count - start
    alpha, beta = draw_weights(preset, seed, start, stop)
    columns: dict[str, Any] = {
        "user_id": pa.array(user_ids(start, stop)),
        "population": pa.repeat(pa.scalar(preset), count),
        "cohort": pa.repeat(pa.scalar("known"), count),
        "performance_weight": alpha,
        "cost_weight": beta,
    }
    if personas is not None and {"llm_judge", "mixed"} & set(strategies):
        columns |= _persona_columns(personas.compose(preset, seed, start, stop))
    if "mixed" in strategies:
        from personaroute_bench.users.laws import mixed_weights

        names = ("mixed_performance_weight", "mixed_cost_weight", "mixed_style_weight")
        columns |= dict(zip(names, mixed_weights(seed, start, stop), strict=True))
    if "drift" in strategies:
        weights = drift_weights(seed, start, stop)
        columns["drift_kind"] = pa.array([KINDS[kind] for kind in drift_kinds(seed, start, stop)])
        columns["drift_performance_weights"] = pa.FixedSizeListArray.from_arrays(
            pa.array(weights.reshape(-1)), weights.shape[1]
        )
    for field in USERS:
        columns.setdefault(field.name, pa.nulls(count, field.type))
    return pa.table({name: columns[name] for name in USERS.names}, schema=USERS)


def _persona_columns(people: Sequence[Persona]) -> dict[str, Any]:
    kind = USERS.field("taste").type
    return {
        "persona_id": pa.array([person.persona_id for person in people]),
        "persona": pa.array([person.text for person in people]),
        "archetype": pa.array([person.archetype for person in people], pa.string()),
        "taste": pa.array([person.taste for person in people], kind),
        "style_performance_weight": pa.array(
            [person.performance_weight for person in people], pa.float64()
        ),
    }
