"""What sways a judge: place, order, length and family, each worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.judging.bias import (
    LARGEST_ODDS,
    chi_square_tail,
    family_preference,
    length_bias,
    order_consistency,
    position_bias,
)
from personaroute_bench.judging.verdicts import Matched


def places(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def test_position_by_hand() -> None:
    result = position_bias(places(30, 15, 15), np.full(60, 3), ties=4)
    assert (result.choices, result.ties) == (60, 4)
    assert result.shares == (0.5, 0.25, 0.25)
    assert result.expected == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert result.chi_square == pytest.approx((10**2 + 5**2 + 5**2) / 20)
    assert result.degrees == 2
    assert result.p_value == pytest.approx(math.exp(-7.5 / 2))
    assert result.moved == pytest.approx(10 / 60)
    assert not result.matters
    assert "place 1 is chosen in 50.0 % of 60 single choices, 33.3 % expected" in result.sentence()


def test_always_the_first_is_found_and_an_even_spread_is_not() -> None:
    first = position_bias(np.zeros(100, dtype=int), np.full(100, 10))
    assert first.matters and first.shares[0] == 1.0 and first.moved == pytest.approx(0.9)
    assert first.chi_square == pytest.approx(900.0) and first.degrees == 9
    assert "position: the order shown matters" in first.sentence()
    assert "p < 0.001" in first.sentence()
    even = position_bias(places(*[10] * 10), np.full(100, 10))
    assert even.chi_square == pytest.approx(0.0, abs=1e-9) and even.p_value == pytest.approx(1.0)
    assert "no sign that the order shown matters" in even.sentence()


def test_position_where_some_answers_are_missing() -> None:
    # 60 askings of three, 40 of two: places 1 and 2 expect 20 + 20, place 3 expects 20.
    place = np.concatenate([places(20, 20, 20), places(20, 20)])
    shown = np.repeat([3, 2], [60, 40])
    result = position_bias(place, shown)
    assert result.expected == pytest.approx((0.4, 0.4, 0.2))
    assert result.chi_square == pytest.approx(0.0, abs=1e-9)
    # All askings of two choose the first: the covariances of both kinds add up.
    place[60:] = 0
    skewed = position_bias(place, shown)
    covariance = np.array(
        [[2 / 9 * 60 + 10, -60 / 9 - 10, -60 / 9], [-60 / 9 - 10, 2 / 9 * 60 + 10, -60 / 9]]
    )[:, :2]
    gap = np.array([20.0, -20.0])
    assert skewed.chi_square == pytest.approx(float(gap @ np.linalg.solve(covariance, gap)))
    assert skewed.degrees == 2 and skewed.matters


def test_rare_places_are_put_together_and_few_choices_not_tested() -> None:
    # Place 3 expects 3/3 = 1 of 43: too few for a cell of its own.
    result = position_bias(
        np.concatenate([places(20, 20), places(1, 1, 1)]), np.repeat([2, 3], [40, 3])
    )
    assert result.degrees == 1 and result.p_value is not None and len(result.shares) == 3
    few = position_bias(places(3, 1), np.full(4, 2))
    assert few.p_value is None and few.chi_square is None and not few.matters
    assert "too few choices for a test" in few.sentence()
    alone = position_bias(places(5), np.ones(5, dtype=int))
    assert alone.choices == 0 and "not measured" in alone.sentence()


def test_position_test_keeps_its_level_under_mixed_numbers_of_answers() -> None:
    rng = np.random.default_rng(0)
    shown = rng.choice([2, 5, 10], 400)
    p = np.array(
        [position_bias((rng.random(400) * shown).astype(int), shown).p_value for _ in range(400)],
        dtype=float,
    )
    assert abs((p < 0.1).mean() - 0.1) < 0.045  # three standard errors
    assert abs(p.mean() - 0.5) < 0.045


@settings(deadline=None)  # the first call imports scipy
@given(st.floats(0, 400), st.integers(1, 30))
def test_tail_of_chi_square(value: float, degrees: int) -> None:
    from scipy.stats import chi2

    assert chi_square_tail(value, degrees) == pytest.approx(
        float(chi2.sf(value, degrees)), rel=1e-9, abs=1e-300
    )


def matched(choices: list[list[list[int]]], shown: list[list[list[int]]]) -> Matched:
    n = len(choices)
    return Matched(np.array(choices, dtype=bool), np.array(shown), np.arange(n), np.array([0, 1]))


def test_both_orders_by_hand() -> None:
    forth, back = [0, 1, 2], [2, 1, 0]
    result = order_consistency(
        matched(
            [
                [[1, 0, 0], [1, 0, 0]],  # the same answer
                [[1, 0, 0], [0, 0, 1]],  # the first place twice
                [[1, 1, 0], [1, 1, 0]],  # the same tie
                [[1, 0, 0], [0, 1, 0]],  # neither
                [[0, 1, 0], [0, 1, 0]],  # the middle: the same answer before the same place
                [[1, 1, 0], [0, 1, 1]],  # other ties
            ],
            [[forth, back]] * 6,
        )
    )
    assert result.pairs == 6
    assert result.same == pytest.approx(3 / 6) and result.same_place == pytest.approx(1 / 6)
    assert result.agreement.observed == pytest.approx((3 + 1 / 3) / 6)
    assert result.low is not None and result.high is not None
    assert result.low < 0.5 < result.high
    assert "the same choice in 50.0 %" in result.sentence()


def test_both_orders_not_asked() -> None:
    empty = Matched(
        np.zeros((0, 1, 3), bool), np.zeros((0, 1, 3), int), np.zeros(0, int), places(1)
    )
    result = order_consistency(empty)
    assert result.same is None and "no question was asked in both" in result.sentence()


def floats(values: object) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_length_by_hand() -> None:
    # Twice as long is chosen three times as often: the odds are 3.
    chosen, lengths = floats([[1, 3], [2, 6]]), floats([[100, 200], [50, 100]])
    result = length_bias(chosen, lengths, np.ones((2, 2), bool), np.arange(2))
    assert result.choices == 12
    assert result.longer == pytest.approx(0.75)
    assert result.odds == pytest.approx(3.0, rel=1e-5)
    assert result.odds_low == pytest.approx(3.0, rel=1e-5)  # both queries say the same
    assert (result.low, result.high) == (pytest.approx(0.75), pytest.approx(0.75))
    assert "longer than another one shown in 75.0 %" in result.sentence()
    assert "multiplies the odds by 3.00 [3.00, 3.00]" in result.sentence()


def test_length_compares_with_what_was_shown_only() -> None:
    # Lengths 1, 2, 4 and one unknown; the chosen 2 is longer than one and shorter than one.
    lengths = floats([[1, 2, 4, np.nan], [8, 8, 1000, 1]])
    shown = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)
    result = length_bias(floats([[0, 1, 0, 0], [1, 0, 0, 0]]), lengths, shown, np.arange(2))
    assert result.choices == 2 and result.longer == pytest.approx(0.5)  # equal counts half
    assert result.odds == pytest.approx(1.0)


def test_a_judge_that_always_takes_the_longest_has_odds_without_end() -> None:
    lengths = np.random.default_rng(0).uniform(50, 500, (30, 4))
    chosen = np.eye(4)[lengths.argmax(axis=1)]
    result = length_bias(chosen, lengths, np.ones((30, 4), bool), np.arange(30), draws=50)
    assert (result.longer, result.odds) == (1.0, pytest.approx(LARGEST_ODDS))
    shortest = np.eye(4)[lengths.argmin(axis=1)]
    other = length_bias(shortest, lengths, np.ones((30, 4), bool), np.arange(30), draws=50)
    assert (other.longer, other.odds) == (0.0, pytest.approx(1 / LARGEST_ODDS))


def test_length_recovers_the_odds_that_made_the_choices() -> None:
    rng = np.random.default_rng(1)
    lengths = np.exp(rng.normal(5, 0.7, (300, 5)))
    utility = 0.8 * np.log2(lengths) + rng.gumbel(size=(20, 300, 5))
    chosen = np.eye(5)[utility.argmax(axis=-1)].sum(axis=0)
    result = length_bias(chosen, lengths, np.ones((300, 5), bool), np.arange(300), draws=200)
    assert result.odds_low is not None and result.odds_high is not None
    assert result.odds_low < math.exp(0.8) < result.odds_high
    assert result.odds_high - result.odds_low < 0.4
    even = np.eye(5)[rng.integers(0, 5, (20, 300))].sum(axis=0)
    none = length_bias(even, lengths, np.ones((300, 5), bool), np.arange(300), draws=200)
    assert none.low is not None and none.high is not None and none.low < 0.5 < none.high


def test_length_without_any_difference_or_choice() -> None:
    same = length_bias(floats([[1, 2]]), floats([[9, 9]]), np.ones((1, 2), bool), np.arange(1))
    assert (same.longer, same.odds, same.low) == (0.5, None, None)
    assert "odds" not in same.sentence()
    unknown = length_bias(
        floats([[1, 2]]), floats([[9, np.nan]]), np.ones((1, 2), bool), np.arange(1)
    )
    assert unknown.choices == 0 and "not measured" in unknown.sentence()


def test_family_by_hand() -> None:
    result = family_preference(
        "qwen", "frequency", floats([1, 1, 0.5, 0]), np.full(4, 0.2), np.arange(4)
    )
    assert result.choices == 4 and result.share == pytest.approx(2.5 / 4)
    assert result.expected == pytest.approx(0.2)
    assert result.low is not None and result.high is not None
    assert result.low < 0.425 < result.high
    text = result.sentence()
    assert "qwen is chosen in 62.5 % of 4 choices, 20.0 % expected from its share" in text
    assert "difference +42.5 points" in text
    nothing = family_preference("qwen", "frequency", floats([]), floats([]), np.zeros(0, int))
    assert nothing.share is None and "not measured" in nothing.sentence()
