from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.scoring.structured import (
    boxed_answer,
    bracket_answer,
    final_answer,
    json_answer,
    strip_thinking,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"reasoning": "2+2", "answer": "4"}', "4"),
        ('Here it is:\n```json\n{"answer": "4"}\n```\nThat is 5 less.', "4"),
        ('{"answer": 4.5, "unit": "m"}', "4.5"),
        ('{"answer": true}', "True"),
        ('{"answer": null}', "None"),
        ('{"answer": ["a", {"b": false}]}', "['a', {'b': False}]"),
        ('{"final_answer": "x"}', "x"),
        ('{"Answer" : "x"}', "x"),
        ('{"answer": ""}', ""),
        (r'{"answer": "a\nb \"c\" \u00e9"}', 'a\nb "c" é'),
        ('{"answer": "one\nline break"}', "one\nline break"),
        ('{"answer": "he said "no" to it"}', 'he said "no" to it'),
        ('{"answer": "say "no"", "sure": "yes"}', 'say "no"'),
        ('{"answer": "cut off', "cut off"),
        ("{'answer': 'x'}", "x"),
        ('{"answer": False}', "False"),
        ('{"answer": "answer": "7/2"}', "7/2"),
        ('first {"answer": "1"} then {"answer": "2"}', "2"),
        (r'{"reasoning": "the field \"answer\": \"9\" is 4", "answer": "4"}', "4"),
        (r'{"answer": "\sqrt{2}"}', r"\sqrt{2}"),
        ('{"answer": [1, 2', "[1, 2"),
        ("the answer is 4", None),
        ("", None),
    ],
)
def test_json_answer(text: str, answer: str | None) -> None:
    assert json_answer(text) == answer


def test_brackets_and_boxes() -> None:
    assert bracket_answer("[[A]] or rather [[B]; [C]].") == "B]; [C"
    assert bracket_answer("[[A]") is None
    assert boxed_answer(r"\boxed{1} so \boxed{\frac{1}{2}} done") == r"\frac{1}{2}"
    assert boxed_answer(r"\boxed{1") == "1"
    assert boxed_answer("1") is None


def test_final_answer_prefers_the_field() -> None:
    assert final_answer('{"reasoning": "[[x]]", "answer": "y"}') == "y"
    assert final_answer("so [[x]]") == "x"
    assert final_answer("  plain ") == "plain"


def test_thinking_is_cut_off() -> None:
    assert strip_thinking("<think>5? no</think>\n4") == "4"
    assert strip_thinking("  <thinking>a</thinking>b") == "b"
    assert strip_thinking("<think>never closed 4") == ""
    assert strip_thinking("4 <think>late</think>") == "4 <think>late</think>"


@given(st.text() | st.text(alphabet="\"'answer:{}[],\\ \n4"))
def test_readers_are_total(text: str) -> None:
    wrapped = f'"answer": {text}'
    assert isinstance(json_answer(wrapped), str)
    for read in (final_answer, strip_thinking):
        assert isinstance(read(text), str)
    bracket_answer(text)
    boxed_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        '"answer": ' + "[" * 100_000,
        '"answer": ' + '{"answer": ' * 20_000,
        '"answer": "' + '"x ' * 50_000,
        '"answer": x' + " " * 200_000 + "y",
        "[[" * 100_000,
        "\\boxed{" * 30_000,
        "<think>" * 30_000,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    final_answer(text)
    boxed_answer(text)
    strip_thinking(text)
    assert time.perf_counter() - start < 2.0
