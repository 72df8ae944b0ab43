"""The strategies: how each makes rewards of responses and users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.config import DataConfig
from personaroute_bench.hashing import index_uniform
from personaroute_bench.interactions import Block, Law, ResponseGrid
from personaroute_bench.judging.choice import (
    NOISE_SCALE,
    choice_reward,
    choose,
    gumbel_noise,
    persona_utility,
    style_utility,
)
from personaroute_bench.users.drift import drift_weights, query_times, segments_of
from personaroute_bench.users.personas import PersonaSource
from personaroute_bench.users.populations import draw_weights
from personaroute_bench.users.rewards import Bools, Floats, cost_efficiency_rewards

# Strategies that need the responses' style and the users' personas.
STYLE_STRATEGIES = ("llm_judge", "mixed")


@dataclass(frozen=True, slots=True)
class Style:
    """What the persona strategies need beside the responses."""

    personas: PersonaSource
    ratings: Floats
    """[Q, M, D] in [0, 1], NaN where there is none."""
    fingerprint: str
    """Hash of all that decides ratings, personas and choices."""
    chosen: Callable[[int, int], Bools] | None = None
    """(start, stop) of users to what a direct judge chose [u, Q, M]; None: choices follow from
    the ratings."""


def make_law(strategy: str, data: DataConfig, grid: ResponseGrid, style: Style | None) -> Law:
    """Return the law of a strategy.

    Args:
        strategy: one of `personaroute_bench.schemas.STRATEGIES`.
        data: preset and seed.
        grid: responses.
        style: needed by `STYLE_STRATEGIES`.
    """
    if strategy == "multi_cost_efficiency":
        return _cost_efficiency(data, grid)
    if strategy == "drift":
        return _drift(data, grid)
    assert style is not None, f"{strategy} needs ratings and personas"
    return _llm_judge(data, grid, style) if strategy == "llm_judge" else _mixed(data, grid, style)


def mixed_weights(
    seed: int, start: int, stop: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw α, β and γ of the mixed strategy, each [u]: uniform over all that sum to 1."""
    index = np.arange(start, stop, dtype=np.int64)
    # Exponentials over their sum are uniform on the simplex (Dirichlet(1, 1, 1)).
    parts = np.stack(
        [
            -np.log1p(-index_uniform(seed, f"users/mixed/{name}", index))
            for name in ("alpha", "beta", "gamma")
        ]
    )
    alpha, beta, gamma = parts / parts.sum(axis=0)
    return alpha, beta, gamma


def _priced(grid: ResponseGrid) -> Bools:
    """[Q, M] true where performance and cost are known."""
    known: Bools = ~(np.isnan(grid.performance) | np.isnan(grid.cost))
    return known


def _cost_efficiency(data: DataConfig, grid: ResponseGrid) -> Law:
    def block(start: int, stop: int) -> Block:
        alpha, beta = draw_weights(data.preset, data.seed, start, stop)
        return Block(cost_efficiency_rewards(grid.performance, grid.cost, alpha, beta))

    return Law("multi_cost_efficiency", _priced(grid), block)


def _drift(data: DataConfig, grid: ResponseGrid) -> Law:
    def block(start: int, stop: int) -> Block:
        times = query_times(grid.split, grid.query_ids, data.seed, start, stop)
        segments = segments_of(times, len(grid.query_ids))
        weights = drift_weights(data.seed, start, stop)
        alpha = np.take_along_axis(weights, segments.astype(np.int64), axis=1)  # [u, Q]
        reward = alpha[..., None] * grid.performance - (1 - alpha[..., None]) * grid.cost
        return Block(reward.astype(np.float32), {"time": times, "segment": segments})

    return Law("drift", _priced(grid), block)


def judged_choices(
    data: DataConfig,
    grid: ResponseGrid,
    style: Style,
    stop: int,
    *,
    start: int = 0,
    repeat: int = 0,
    noise_scale: float = NOISE_SCALE,
) -> Bools:
    """Return what users ``start`` to ``stop`` choose: [u, Q, M], every tied choice.

    Args:
        data: preset and seed.
        grid: responses.
        style: personas, and either ratings or a direct judge's choices.
        stop: one past the last user.
        start: first user, counted from 0.
        repeat: another asking of the same personas, with noise of its own.
        noise_scale: 0 gives what tastes and ratings alone would choose.
    """
    if style.chosen is not None:
        return style.chosen(start, stop)
    draw = style.personas.draw(data.preset, data.seed, start, stop)
    noise = gumbel_noise(
        data.seed,
        np.arange(start, stop, dtype=np.int64),
        grid.query_ids.tolist(),
        grid.llm_ids.tolist(),
        scale=noise_scale,
        repeat=repeat,
    )
    liking = style_utility(style.ratings, draw.taste)
    utility = persona_utility(grid.performance, liking, draw.performance_weight, grid.ok, noise)
    return choose(utility)


def _llm_judge(data: DataConfig, grid: ResponseGrid, style: Style) -> Law:
    def block(start: int, stop: int) -> Block:
        chosen = judged_choices(data, grid, style, stop, start=start)
        return Block(choice_reward(chosen, grid.ok))

    return Law("llm_judge", grid.ok, block)


def _mixed(data: DataConfig, grid: ResponseGrid, style: Style) -> Law:
    def block(start: int, stop: int) -> Block:
        draw = style.personas.draw(data.preset, data.seed, start, stop)
        liking = style_utility(style.ratings, draw.taste)
        alpha, beta, gamma = mixed_weights(data.seed, start, stop)
        reward = cost_efficiency_rewards(grid.performance, grid.cost, alpha, beta)
        reward += gamma[:, None, None].astype(np.float32) * liking
        return Block(reward, {"style": liking})

    return Law("mixed", _priced(grid), block)
