from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.scoring.numeric import (
    answer_number,
    first_number,
    gsm8k,
    last_number,
    num_em,
)

WORKED = "She eats 16 - 3 = <<16-3=13>>13 eggs.\n13 - 4 = 9\n9 * 2 = 18\n#### 18"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18),
        ("-18", -18),
        ("−18", -18),
        ("$-18", -18),
        ("-$18", -18),
        ("1,234,567.50", Fraction(2469135, 2)),
        ("12,34", 12),  # no thousands separator
        (".5", Fraction(1, 2)),
        ("16.00", 16),
        ("2/4", Fraction(1, 2)),
        ("3 1/3", Fraction(10, 3)),
        ("5-3", 5),  # the minus is an operator
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"\frac12", Fraction(1, 2)),
        ("\x0crac{3}{4}", Fraction(3, 4)),  # JSON read \f as a form feed
        (r"10,\!000", 10_000),
        (r"1{,}152", 1152),
        (r"\$5", 5),
        ("212_3", 23),
        ("212₃", 23),
        ("100100_b", 100100),
        ("1/0", None),
        ("9" * 200, None),
        ("none", None),
        ("", None),
    ],
)
def test_first_number(text: str, value: Fraction | int | None) -> None:
    number = first_number(text)
    assert (None if number is None else number.value) == value


def test_last_number_skips_what_is_no_number() -> None:
    last = last_number("3 apples, then 4. (Not 1/0.)")
    assert last is not None
    assert last.value == 4


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ('{"reasoning": "16 - 3", "answer": "18"}', 18),
        ('```json\n{"answer": 18}\n```\nSo 99.', 18),
        ('{"reasoning": "= 18", "answer": "unknown"}', None),
        ("so 9 * 2 = 18\n#### 18\nDone in 3 steps", 18),
        ("The answer is **18** dollars, not 17.", 18),
        ("Answer: $18", 18),
        (r"thus \boxed{18} of 20", 18),
        ("[[18]] of 20", 18),
        ("First 3, then 18", 18),
        ("nothing", None),
    ],
)
def test_answer_number(response: str, value: int | None) -> None:
    number = answer_number(response)
    assert (None if number is None else number.value) == value


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("9 * 2 = 18\n#### 18", 1.0),
        ('{"answer": "$18.00 a day"}', 1.0),
        ('{"answer": "18%"}', 1.0),
        ('{"answer": "17"}', 0.0),
        ('{"answer": "Indeterminate"}', 0.0),
        ("", 0.0),
    ],
)
def test_gsm8k(response: str, expected: float) -> None:
    assert gsm8k(response, WORKED) == expected


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("102/17", "6", 1.0),
        (r"\frac{7}{2}", "3.5", 1.0),
        ("1152 cups", "1152", 1.0),
        ("x = 4", "4", 1.0),
        ("50%", "50", 1.0),
        ("50%", "0.5", 1.0),
        ("0.5", "50%", 1.0),
        ("0.5%", "50%", 0.0),
        ("-221_3", "-221_3", 1.0),
        ("-221", "-221_3", 1.0),
        ("-25_4", "-221_3", 0.0),
        ("6√2", "6", 0.0),
        (r"6\sqrt{2}", "6", 0.0),
        ("12 - 10d", "12", 0.0),
        ("√5373", "5373", 0.0),
        ("2^{48}", "2", 0.0),
        ("0.333", "1/3", 0.0),
        ("no solution", "0", 0.0),
    ],
)
def test_num_em(answer: str, truth: str, expected: float) -> None:
    assert num_em(answer, truth) == expected


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**4), st.sampled_from(["", "#### ", "$"]))
def test_the_same_number_written_otherwise(top: int, bottom: int, before: str) -> None:
    value = Fraction(top, bottom)
    assert num_em(f"{before}{top}/{bottom}", str(value)) == 1.0
    assert gsm8k(f"{before}{top:,}.00", str(top)) == 1.0
    assert gsm8k(f"{before}{top}", str(top + 1)) == 0.0


@given(st.text() | st.text(alphabet="0123456789.,/-_%$ \\frac{}"), st.text())
def test_metrics_are_total(response: str, truth: str) -> None:
    assert gsm8k(response, truth) in (0.0, 1.0)
    assert num_em(response, truth) in (0.0, 1.0)


@pytest.mark.parametrize(
    "text",
    ["1" * 200_000, "1,111" * 40_000, "1 1/" * 50_000, "answer is " * 20_000 + "3", "-$" * 99_999],
)
def test_hostile_numbers_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    num_em(text, "3")
    assert time.perf_counter() - start < 2.0
