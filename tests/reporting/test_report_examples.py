"""Examples, shares and users' rewards, by hand and against all pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.reporting.examples import most_telling, shorten, taste_of
from personaroute_bench.reporting.joined import join, llm_shares, user_normalised
from personaroute_bench.reporting.results import read_result


def test_a_swap_costs_what_both_lose() -> None:
    # Two users, one query: each got the LLM that is better by 0.5 and by 0.25.
    choice = np.array([[0], [1]])
    reward = np.array([[[0.75, 0.25]], [[0.25, 0.5]]], dtype=np.float32)
    good, bad = most_telling(choice, reward, 3)
    assert [(s.query, s.users, s.llms, s.worth) for s in good] == [(0, (0, 1), (0, 1), 0.75)]
    assert bad == []
    good, bad = most_telling(choice[::-1], reward, 3)
    assert good == []
    assert [s.worth for s in bad] == [-0.75]


def test_invalid_choices_and_rows_without_reward_give_no_example() -> None:
    reward = np.zeros((2, 2, 2), dtype=np.float32)
    reward[:, :, 1] = 1
    reward[:, 1] = np.nan
    assert most_telling(np.array([[0, 0], [-1, 1]]), reward, 3) == ([], [])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 4))
def test_no_pair_of_users_is_more_telling(seed: int, users: int, llms: int) -> None:
    rng = np.random.default_rng(seed)
    choice = rng.integers(-1, llms, (users, 3))
    reward = rng.integers(0, 5, (users, 3, llms)).astype(np.float32)
    worths: dict[int, list[float]] = {}
    for q in range(3):
        for u in range(users):
            for v in range(u):
                a, b = choice[u, q], choice[v, q]
                if a >= 0 and b >= 0 and a != b:
                    own = reward[u, q, a] + reward[v, q, b]
                    worths.setdefault(q, []).append(float(own - reward[u, q, b] - reward[v, q, a]))
    good, bad = most_telling(choice, reward, 3)
    assert {s.query: s.worth for s in good} == {
        q: max(of) for q, of in worths.items() if max(of) > 0
    }
    assert {s.query: s.worth for s in bad} == {
        q: min(of) for q, of in worths.items() if min(of) < 0
    }
    for swap in [*good, *bad]:
        assert tuple(choice[u, swap.query] for u in swap.users) == swap.llms


def test_shares_count_valid_choices_of_all_seeds() -> None:
    shares = llm_shares([np.array([[0, 1], [1, 1]]), np.array([[0, -1], [0, 1]])], 3)
    assert shares.tolist() == [[0.5, 0.25, 0.0], [0.25, 0.75, 0.0]]


def test_a_user_is_placed_between_chance_and_oracle() -> None:
    reward = np.array([[0.5, np.nan], [0.2, 0.4], [1.0, 1.0]])
    chance = np.array([[0.25, np.nan], [0.2, 0.2], [1.0, 1.0]])
    oracle = np.array([[0.75, np.nan], [0.6, 0.6], [1.0, 1.0]])
    found = user_normalised(reward, chance, oracle)
    assert found[:2] == pytest.approx([0.5, 0.25])
    assert np.isnan(found[2])


def test_users_means_are_those_of_the_results(result: Path, data: Path, choices: Path) -> None:
    read = read_result(result)
    joined = join(read, Benchmark.load(data), [choices])
    assert joined is not None
    assert joined.missing == {}
    for row in read.routers:
        of_user = joined.per_user(row)
        assert of_user is not None
        assert np.nanmean(of_user) == pytest.approx(row["oracle_normalised_reward"].mean)
        shares = joined.shares(row)
        assert shares is not None
        assert shares.sum(axis=1) == pytest.approx(1.0)


def test_tastes_are_the_weights_of_the_users_table(result: Path, data: Path, choices: Path) -> None:
    joined = join(read_result(result), Benchmark.load(data), [choices])
    assert joined is not None
    assert taste_of(joined, 0) == "weight of performance 0.00; weight of cost 1.00"
    assert taste_of(joined, 11) == "weight of performance 1.00; weight of cost 0.00"


def test_long_texts_are_cut_at_a_word() -> None:
    assert shorten("one  two\nthree", 40) == "one two three"
    assert shorten("one two three four", 14) == "one two …"
    assert len(shorten("x" * 900, 100)) == 100
    assert shorten("a\x00b\u202e", 40) == "a\\x00b\\u202e"
