from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.scoring.choice import em_mc, option_letter


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("[B]", "B"),
        ("B. Mitochondria", "B"),
        ('{"reasoning": "not A", "answer": "b) it"}', "B"),
        ("I first thought of [[A]], but it is [[C]].", "C"),
        ("[[B. Cloning on Kamino]]", "B"),
        ("The answer is (D). Question: … the answer is (A).", "D"),
        ("The answer is: **D**", "D"),
        (r"The answer is $\boxed{\text{D}}$", "D"),
        ("Answer: C", "C"),
        ("so the correct option is E", "E"),
        ("(A) is wrong. Therefore it is (H).", "H"),
        ("We get 56°F and D-ribose, and I do not know", None),
        ("A long time ago", None),
        ("the answer is Apple", None),
        ("", None),
    ],
)
def test_option_letter(response: str, letter: str | None) -> None:
    assert option_letter(response) == letter


def test_em_mc() -> None:
    assert em_mc("The answer is (B).", "B") == 1.0
    assert em_mc("The answer is (B).", "(b)") == 1.0
    assert em_mc("The answer is (B).", "C") == 0.0
    assert em_mc("no idea", "") == 0.0


@given(st.text(), st.text())
def test_em_mc_is_total(response: str, truth: str) -> None:
    assert em_mc(response, truth) in (0.0, 1.0)


@pytest.mark.parametrize(
    "text", ["answer is" + " (" * 100_000, "(A" * 100_000, " " * 300_000 + "!"]
)
def test_hostile_choices_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    option_letter(text)
    assert time.perf_counter() - start < 2.0
