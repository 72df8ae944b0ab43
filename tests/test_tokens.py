from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.tokens import TOKENIZER, count_message_tokens, count_tokens

# Plain text, and text dense in the characters at which the kinds of pieces meet.
TEXTS = st.one_of(st.text(), st.text(alphabet="aZz09 '\\_\t\n{é中\x00\x7f\x85\u00a0", max_size=60))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Hello world", 2),
        ("Hello, world!", 4),  # Hello | , |  world | !
        ("understanding", 2),  # 13 letters: 11 + 2
        ("JSON", 2),
        ("it's they'll", 4),
        ("12345", 2),
        ("a  b", 3),  # a | two spaces | b
        (r"\frac{1}{2}", 6),  # \frac | { | 1 | }{ | 2 | }
        ('{"answer": 42}', 6),  # {" | answer | ": | space | 42 | }
        ("中文", 2),
        ("\U0001f600", 2),  # four bytes
        (" —", 1),
        ("\x00\x01", 2),
    ],
)
def test_hand_counted(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_messages_cost_four_each_and_three_for_the_reply() -> None:
    assert count_message_tokens([]) == 3
    assert count_message_tokens([("user", "Hello world")]) == 3 + 4 + 2
    assert count_message_tokens([("system", ""), ("user", "12345")]) == 3 + 4 + 4 + 2


def test_the_rule_is_frozen() -> None:
    # A changed count changes recorded costs: such a rule needs a new name.
    text = "Dr. O'Neil's 3 naïve µ-services cost $1,234.50 — isn't that TOO much?\n\n\t- yes\n"
    assert (TOKENIZER, count_tokens(text)) == ("personaroute-regex-1", 32)


@given(TEXTS, TEXTS)
def test_joining_texts_saves_at_most_one_token(a: str, b: str) -> None:
    joined = count_tokens(a + b)
    assert count_tokens(a) + count_tokens(b) - 1 <= joined <= count_tokens(a) + count_tokens(b)


@given(TEXTS, TEXTS, TEXTS)
def test_a_part_never_counts_more_than_the_whole(a: str, b: str, c: str) -> None:
    assert count_tokens(b) <= count_tokens(a + b + c)


@given(TEXTS)
def test_every_byte_belongs_to_a_piece(text: str) -> None:
    tokens = count_tokens(text)
    assert (tokens == 0) == (text == "")
    assert tokens <= len(text.encode("utf-8", "surrogatepass"))


def test_lone_surrogates_are_counted() -> None:
    assert count_tokens("\ud800") == 1
