"""Choices that follow from taste: hand-computed utilities, ties, and noise with a known law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.judging.choice import (
    choice_reward,
    choose,
    gumbel_noise,
    persona_utility,
    style_utility,
)

NAN = float("nan")
QUERIES = ["q1", "q2", "q3"]
LLMS = ["a", "b", "c", "d"]


def floats(values: object) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_style_utility_by_hand() -> None:
    ratings = floats([[[0.9, 0.5], [0.1, 1.0], [NAN, NAN]]])  # one query, three LLMs
    taste = np.array([[1.0, 0.0], [-0.3, 0.0], [0.6, 0.8], [0.0, 0.0]])
    expected = [
        [[0.8, -0.8, 0.0]],
        [[-0.8, 0.8, 0.0]],  # only the direction of a taste counts
        [[0.48, 2 * (-0.4 * 0.6 + 0.5 * 0.8), 0.0]],
        [[0.0, 0.0, 0.0]],
    ]
    result = style_utility(ratings, taste)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_taste_that_is_not_known_is_refused() -> None:
    taste = np.array([[1.0, 0.0], [NAN, 0.0]])
    with pytest.raises(UsageError, match=r"persona 1 .*--judge direct"):
        style_utility(np.zeros((1, 2, 2), np.float32), taste)


def test_persona_utility_by_hand() -> None:
    performance = floats([[1.0, 0.0, 0.5]])
    style = floats([[[0.2, 0.4, 0.6]], [[0.2, 0.4, 0.6]]])
    ok = np.array([[True, True, False]])
    result = persona_utility(performance, style, np.array([0.25, 1.0]), ok)
    np.testing.assert_allclose(result, [[[0.4, 0.3, NAN]], [[1.0, 0.0, NAN]]], atol=1e-6)
    noise = floats([[[0.0, 0.5, 9.0]], [[0.0, 0.0, 9.0]]])
    result = persona_utility(performance, style, np.array([0.25, 1.0]), ok, noise)
    np.testing.assert_allclose(result, [[[0.4, 0.8, NAN]], [[1.0, 0.0, NAN]]], atol=1e-6)


def test_an_unscored_response_is_not_a_wrong_one() -> None:
    performance = floats([[1.0, NAN], [1.0, NAN]])
    ok = np.array([[True, True], [True, False]])
    style = floats([[[0.0, 0.2], [0.0, 0.2]]])
    result = persona_utility(performance, style, np.array([0.5]), ok)
    # First query: performance is left out for both. Second: the NaN is that of a failure.
    np.testing.assert_allclose(result, [[[0.0, 0.1], [0.5, NAN]]], atol=1e-6)


def test_choose_marks_every_tied_best() -> None:
    utility = floats([[0.1, 0.9, 0.9 + 1e-7], [NAN, -3.0, -4.0], [NAN, NAN, NAN], [0, 0, 0]])
    expected = [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_array_equal(choose(utility), np.array(expected, dtype=bool))


def test_reward_is_shared_among_the_tied() -> None:
    chosen = np.array([[[1, 0, 0], [1, 1, 0], [0, 0, 0]]], dtype=bool)
    ok = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=bool)
    expected = [[[1.0, 0.0, NAN], [0.5, 0.5, 0.0], [NAN, NAN, NAN]]]
    result = choice_reward(chosen, ok)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


@given(
    st.integers(0, 2**31),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=4, unique=True),
    st.permutations(QUERIES),
    st.sets(st.sampled_from(LLMS), min_size=1),
)
def test_a_draw_depends_on_its_own_user_query_and_llm(
    seed: int, users: list[int], queries: list[str], llms: set[str]
) -> None:
    everybody = np.array([*range(5), *users], dtype=np.int64)
    whole = gumbel_noise(seed, everybody, QUERIES, LLMS, 1.0)
    kept = sorted(llms)
    part = gumbel_noise(seed, np.array(users, dtype=np.int64), queries, kept, 1.0)
    rows = [QUERIES.index(query) for query in queries]
    columns = [LLMS.index(llm) for llm in kept]
    np.testing.assert_array_equal(part, whole[5:][:, rows][:, :, columns])


def test_seed_and_repeat_give_other_draws() -> None:
    users = np.arange(3)
    first = gumbel_noise(0, users, QUERIES, LLMS, 1.0)
    for other in (
        gumbel_noise(1, users, QUERIES, LLMS, 1.0),
        gumbel_noise(0, users, QUERIES, LLMS, 1.0, repeat=1),
    ):
        assert not np.isin(other, first).any()
    np.testing.assert_array_equal(first, gumbel_noise(0, users, QUERIES, LLMS, 1.0))


def test_noise_follows_the_gumbel_law() -> None:
    noise = gumbel_noise(0, np.arange(5000), QUERIES, LLMS, 1.0).astype(np.float64)
    assert np.isfinite(noise).all()
    n = noise.size  # 60,000: tolerances of five standard errors
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=5 * np.pi / np.sqrt(6 * n))
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=5 * np.sqrt(4.4 / n) * np.pi**2 / 6)
    below = (noise < 0.3665).mean()  # the median, −ln ln 2
    assert below == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(n))
    flat = noise.reshape(5000, -1)
    correlation = np.corrcoef(flat.T)[np.triu_indices(12, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(5000)
    neighbours = np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(n)
    np.testing.assert_allclose(gumbel_noise(0, np.arange(5000), QUERIES, LLMS, 0.1), 0.1 * noise,
                               rtol=1e-5)  # fmt: skip


def test_choices_are_a_multinomial_logit() -> None:
    users, scale = 20_000, 0.2
    utility = floats([0.0, 0.1, 0.3, -0.2])
    noise = gumbel_noise(7, np.arange(users), ["q"], LLMS, scale)
    shares = choose(utility + noise)[:, 0].mean(axis=0)
    expected = np.exp(utility / scale) / np.exp(utility / scale).sum()
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / np.sqrt(users))


def test_no_noise_and_bad_scales() -> None:
    assert not gumbel_noise(0, np.arange(2), QUERIES, LLMS, 0.0).any()
    for scale in (-0.1, NAN, float("inf")):
        with pytest.raises(UsageError, match="noise scale"):
            gumbel_noise(0, np.arange(2), QUERIES, LLMS, scale)
