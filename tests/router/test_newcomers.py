"""New LLMs: what ten responses tell, what the price tells, and what is no more than chance."""

from __future__ import annotations

import numpy as np
import pytest
from personaroute_bench.router.newcomers import SCATTER, Guess, guess
from personaroute_bench.router.records import Past, Space
from personaroute_bench.router.utility import Evidence, infer

TASKS = np.repeat(np.arange(3), 40)
KNOWN = 6


def world(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Content [120, 12, 2] of 12 LLMs, and their prices; performance rises with the price."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1, 1, 12)
    ability = 0.1 * z + rng.normal(0, 0.1, 12)
    by_task = rng.normal(0, 0.05, (3, 12))
    hard = rng.normal(0, 0.3, (120, 1))
    performance = 0.5 + hard + (ability + by_task)[TASKS] + rng.normal(0, 0.3, (120, 12))
    cost = 0.5 + 0.2 * z + 0.02 * rng.normal(size=(120, 12))
    return np.stack([performance, cost], axis=-1), 10.0 ** np.stack([z, z], axis=1)


def seen_by(content: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Hide all but `shots` responses of each LLM behind the first six."""
    shown = content.copy()
    rng = np.random.default_rng(seed)
    for m in range(KNOWN, 12):
        hidden = rng.permutation(120)[shots:]
        shown[hidden, m] = np.nan
    return shown


def guessed(seed: int, shots: int) -> tuple[Guess, np.ndarray]:
    content, prices = world(seed)
    ok = np.ones(content.shape[:2], bool)
    return guess(seen_by(content, shots, seed), ok, TASKS, prices), content


def by_task(content: np.ndarray) -> np.ndarray:
    """Return [3, 6, 2] newcomers' means above the mean of the known."""
    above = content[:, KNOWN:] - content[:, :KNOWN].mean(axis=1, keepdims=True)
    return np.stack([above[t == TASKS].mean(axis=0) for t in range(3)])


def test_more_responses_never_lose_on_average_and_raw_means_do() -> None:
    errors, raw = {k: [] for k in (0, 3, 10, 60)}, []
    for seed in range(12):
        truth = by_task(world(seed)[0])
        for k, found in errors.items():
            found.append(((by_task(guessed(seed, k)[0].mean) - truth)[..., 0] ** 2).mean())
        shown = seen_by(world(seed)[0], 10, seed)
        plain = np.nanmean(shown[:, KNOWN:, 0], axis=0) - shown[:, :KNOWN, 0].mean()
        raw.append(((plain - truth[..., 0]) ** 2).mean())
    means = [float(np.mean(errors[k])) for k in (0, 3, 10, 60)]
    assert means == sorted(means, reverse=True)
    assert means[2] < 0.7 * np.mean(raw)  # the same ten responses


def test_the_price_tells_the_cost_before_anything_is_seen() -> None:
    found, content = guessed(1, 0)
    np.testing.assert_allclose(by_task(found.mean)[..., 1], by_task(content)[..., 1], atol=0.05)


def test_what_is_known_stays_and_draws_scatter_as_responses_do() -> None:
    found, content = guessed(2, 10)
    known = ~found.unknown
    np.testing.assert_array_equal(found.mean[known], content[known])
    rng = np.random.default_rng(0)
    draws = np.stack([found.draw(rng) for _ in range(60)])
    assert (draws[:, known] == content[known]).all()
    hidden = found.unknown[..., 0]
    bias = (draws.mean(axis=0) - found.mean)[..., 0][hidden]
    assert abs(bias.mean()) < 0.02
    # responses scatter by 0.3, and against the mean of five others
    assert draws.std(axis=0)[..., 0][hidden].mean() == pytest.approx(0.33 * SCATTER, abs=0.05)


def test_nothing_known_and_one_known_llm_are_no_error() -> None:
    content, prices = world(0)
    ok = np.ones(content.shape[:2], bool)
    for llms in (0, 1, 2):
        shown = content.copy()
        shown[:, llms:] = np.nan
        found = guess(shown, ok, TASKS, np.full_like(prices, np.nan))
        assert np.isfinite(found.mean).all()
        assert np.isfinite(found.draw(np.random.default_rng(0))).all()


def past(values: np.ndarray) -> Past:
    users, queries, llms = values.shape
    return Past(
        query_ids=np.asarray([f"q{i}" for i in range(queries)]),
        user_ids=np.asarray([f"u{i}" for i in range(users)]),
        llm_ids=np.asarray([f"m{i}" for i in range(llms)]),
        embeddings=np.eye(queries, 4, dtype=np.float32),
        tasks=np.zeros(queries, int),
        content=np.zeros((queries, llms, 2), np.float32),
        cost_usd=np.zeros((queries, llms)),
        ok=np.ones((queries, llms), bool),
        values=values.astype(np.float32),
        prices=np.ones((llms, 2)),
    )


def test_choices_whose_winner_was_not_there_are_choices() -> None:
    shares = np.asarray([[[1, 0, 0], [0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0]]])
    found = past(shares)
    assert found.is_choice()
    decided = found.decided().values[0]
    np.testing.assert_array_equal(decided[[0, 2, 3]], [[1, 0, 0], [0.5, 0.5, 0], [1, 0, 0]])
    assert np.isnan(decided[1]).all()
    for other in ([[[0.2, 0.3, 0.5]]], [[[1.0, -1.0, 0]]], [[[1.0, 1.0, 0]]], [[[0.0, 0.0, 0.0]]]):
        assert not past(np.asarray(other)).is_choice()


def test_rewards_of_some_candidates_tell_the_same_weights() -> None:
    """Features are centred over all candidates, of which these users saw three of six."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(30, 6, 2)).astype(np.float32) + rng.normal(size=(30, 1, 2)) * 3
    features = (features - features.mean(axis=1, keepdims=True)).astype(np.float32)
    weights = rng.normal(size=(40, 2))
    reward = np.einsum("uf,qmf->uqm", weights, features).astype(np.float32) + 5
    seen = np.zeros(reward.shape, bool)
    seen[:, :, :3] = True
    found = infer(Evidence(features, reward, seen, np.zeros(2, int), linear=True))
    np.testing.assert_allclose(found.mean, weights, atol=0.05)


def test_space_centres_newcomers_with_all_others() -> None:
    content, prices = world(4)
    told = past(np.zeros((1, 120, 12)))
    told = Past(
        **{**vars(told), "content": seen_by(content, 10, 4), "tasks": TASKS, "prices": prices}
    )
    space = Space.of(told)
    np.testing.assert_allclose(space.content(told).mean(axis=1), 0, atol=1e-5)
    drawn = space.drawn(told, 3, 0)
    assert len(drawn) == 3 and not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], space.drawn(told, 3, 0)[0])
