"""Reading replies: each kind a judge was seen to write, or might; never a wrong choice."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.parsing import KEYS, UNPARSED, parse_choice, parse_ratings
from personaroute_bench.judging.prose import read_prose

K = 10

# (reply, what it takes); () is unparsed. Ten answers were shown.
JSON_REPLIES: list[tuple[str, tuple[int, ...]]] = [
    ('{"choice": [3]}', (3,)),
    ('{"choice": 3}', (3,)),
    ('{"choice": "3"}', (3,)),
    ('{"choice": "Answer 3"}', (3,)),
    ('{"choice": "the third"}', (3,)),
    ('{"Choice": 10}', (10,)),
    ('{"answer": 3, "reason": "warm, unlike {5}"}', (3,)),
    ('```json\n{"choice": [3]}\n```', (3,)),
    ('```\n{"choice": [3]}\n```', (3,)),
    ('Here you are:\n```json\n{"choice": [3]}\n```\nHope this helps!', (3,)),
    ('I like how it explains.\n\n{"choice": [3]}', (3,)),
    ('Answer 1 is cold. Answer 2 is long.\n{"choice": [3]}', (3,)),
    ('{"choice": [3]}\nAnswer 3 is shorter than Answer 5.', (3,)),
    ('{"result": {"choice": [3]}}', ()),
    ('{"choice": [3, 5]}', (3, 5)),
    ('{"choice": [5, 3]}', (3, 5)),
    ('{"choice": [5, 3, 5]}', (3, 5)),
    ("3", (3,)),
    ("[3]", (3,)),
    ('"3"', (3,)),
    ("3.0", (3,)),
    # Doubt.
    ("[3, 5]", ()),  # perhaps a ranking
    ('{"choice": [4, 1, 2, 3, 5, 6, 7, 8, 9, 10]}', ()),  # surely a ranking
    ('{"choice": 0}', ()),
    ('{"choice": 11}', ()),
    ('{"choice": -3}', ()),
    ('{"choice": 3.5}', ()),
    ('{"choice": true}', ()),
    ('{"choice": null}', ()),
    ('{"choice": NaN}', ()),
    ('{"choice": Infinity}', ()),
    ('{"choice": []}', ()),
    ('{"choice": [3, "none"]}', ()),
    ('{"choice": [3, 11]}', ()),
    ('{"choice": [[3]]}', ()),
    ('{"choice": {"answer": 3}}', ()),
    ('{"choice": "3 or 5"}', ()),
    ('{"choice": "tie"}', ()),
    ('{"choice": 3, "choice": 5}', ()),
    ('{"choice": 3, "answer": 5}', ()),
    ('{"choice": 3} {"choice": 5}', ()),
    ('{"choice": 3}\nActually, Answer 5 is better.', ()),
    ('{"choice": 3}\nI choose Answer 5.', ()),
    ('The form is {"choice": 3}. I choose Answer 5.', ()),
    ('{"choice": N}', ()),
    ('{"choice": [3', ()),
    ('{"rating": 3}', ()),
    ('{"1": {"length": 3}}', ()),
    ("null", ()),
    ("true", ()),
    ("{}", ()),
    ("[]", ()),
]

SHORT_REPLIES: list[tuple[str, tuple[int, ...]]] = [
    ("3.", (3,)),
    ("3)", (3,)),
    ("(3)", (3,)),
    ("#3", (3,)),
    ("**3**", (3,)),
    ("  10\n", (10,)),
    ("Answer 3", (3,)),
    ("answer 3.", (3,)),
    ("ANSWER 3!", (3,)),
    ("Answer #3", (3,)),
    ("Answer no. 3", (3,)),
    ("Answer (3)", (3,)),
    ("Answer number three", (3,)),
    ("Answer III", (3,)),
    ("**Answer 3**", (3,)),
    ("### Answer 3", (3,)),
    ("`Answer 3`", (3,)),
    ("“Answer 3”", (3,)),
    ("Answer **3**.", (3,)),
    ("Response 3", (3,)),
    ("Option 3", (3,)),
    ("Answer: 3", (3,)),
    ("The answer is 3.", (3,)),
    ("Final answer: 3", (3,)),
    ("Best answer: Answer 3", (3,)),
    ("My choice: 3", (3,)),
    ("Choice = 3", (3,)),
    ("three", (3,)),
    ("Third", (3,)),
    ("the third one", (3,)),
    ("the 3rd answer", (3,)),
    ("VIII", (8,)),
    ("```\n3\n```", (3,)),
    ("Answer 3 because it is short", (3,)),
    # Doubt.
    ("", ()),
    ("   \n", ()),
    ("0", ()),
    ("11", ()),
    ("00", ()),
    ("-3", ()),
    ("3.5", ()),
    (".5", ()),
    ("3/10", ()),
    ("3 out of 10", ()),
    ("3%", ()),
    ("$3", ()),
    ("3?", ()),
    ("Answer 3?", ()),
    ("3 5", ()),
    ("3, 5", ()),
    ("3 and 5", ()),
    ("3 or 5", ()),
    ("3-5", ()),
    ("3 > 5 > 1", ()),
    ("1 0", ()),
    ("1\u200b0", ()),
    ("Answer 1²", ()),
    ("Answer 12", ()),
    ("Answer 0", ()),
    ("Answer 99999999999999999999", ()),
    ("Answer X", ()),
    ("Answer I", ()),
    ("Answer C", ()),
    ("Answer", ()),
    ("Answer 3 or Answer 5", ()),
    ("Answer 3 and Answer 5", ()),
    ("Answers 3 and 5", ()),
    ("first two", ()),
    ("the last one", ()),
    ("~~3~~", ()),
    ("3 dollars", ()),
    ("2 reasons", ()),
    ("1. Answer 3\n2. Answer 5", ()),
]

PROSE_REPLIES: list[tuple[str, tuple[int, ...]]] = [
    ("I prefer the third", (3,)),
    ("I prefer the third answer.", (3,)),
    ("I choose 3.", (3,)),
    ("I'd pick Answer 3 for its warmth.", (3,)),
    ("I would definitely go with answer 3, because it gives 2 reasons.", (3,)),
    ("I prefer Answer 3 over Answer 5.", (3,)),
    ("I prefer Answer 3 to Answers 5 and 7.", (3,)),
    ("As an engineer, I choose Answer 3.", (3,)),
    ("My choice is Answer 3.", (3,)),
    ("My favourite is the third answer, since it jokes.", (3,)),
    ("Answer 3 is the best.", (3,)),
    ("Answer 3 is my favorite: it is short.", (3,)),
    ("The third answer suits me best.", (3,)),
    ("Answer 3 wins", (3,)),
    ("I think the third answer is the best — it jokes.", (3,)),
    ("**Answer 3**\n\nIt explains every step, with 2 examples.", (3,)),
    ("It explains every step.\n\nAnswer 3", (3,)),
    ("It explains every step.\n\n**Final choice:** 3", (3,)),
    ("Answer 1 is cold. Answer 2 is too long; I choose Answer 3.", (3,)),
    ("Answer 5 is too long, so I choose Answer 3.", (3,)),
    ("I choose Answer 3. Answer 5 is colder than Answer 7.", (3,)),
    ("I choose Answer 3 rather than Answer 5.", (3,)),
    ("I would not choose Answer 5. I choose Answer 3.", (3,)),
    ("<think>Answer 5 is nice. I choose Answer 5.</think>\nAnswer 3", (3,)),
    ('I choose Answer 5.</think>{"choice": 3}', (3,)),
    ("It is a tie between Answer 3 and Answer 5.", (3, 5)),
    ("Tie: 3 and 5", (3, 5)),
    ("Answers 3, 5 and 7 are equally good.", (3, 5, 7)),
    # Doubt.
    ("Answer 3 is worse than Answer 5", ()),
    ("Answer 3 is better than Answer 5", ()),
    ("Answer 3 is long and boring.", ()),
    ("Answer 1: too long.\nAnswer 2: fine.\nAnswer 3: cold.", ()),
    ("Answer 1\nToo long.\nAnswer 2\nFine.", ()),
    ("I would not choose Answer 3.", ()),
    ("I don't prefer the third.", ()),
    ("Answer 3 is not the best.", ()),
    ("Never would I choose Answer 3.", ()),
    ("If I were a child, I would choose Answer 3.", ()),
    ("I choose Answer 3 if it is right.", ()),
    ("I choose Answer 3 as the worst.", ()),
    ("I choose Answer 3, which is the worst of all.", ()),
    ("Should I choose Answer 3?", ()),
    ("I choose Answer 3. Wait, Answer 5 is shorter.", ()),
    ("I choose Answer 3. I would rather have Answer 5.", ()),
    ("I choose Answer 3. I choose Answer 5.", ()),
    ("I choose Answer 3, although Answer 5 is better.", ()),
    ("Choice: 3\nOn reflection, Answer 5.", ()),
    ("I choose Answer 3 or Answer 5.", ()),
    ("I like Answer 3.", ()),
    ("I choose Answer 12.", ()),
    ("I choose Answer 3: no! Answer 4", ()),
    ("I choose Answer 3 for the bin.", ()),
    ("I pick the second-best.", ()),
    ("My second choice is Answer 3.", ()),
    ("Answer 7 reads: I choose Answer 3.", ()),
    ("Answer 3 is the best of the worst.", ()),
    ("I have 2 reasons and 3 wishes.", ()),
    ("I prefer 2 examples.", ()),
    ("I prefer the first two.", ()),
    ("First, I read them all.", ()),
    ("I give Answer 3 7 points.", ()),
    ("I choose answer 3 times.", ()),
    ("Ann has 2 pears. She buys one. The answer is 3.", ()),  # it solved the question itself
    ("Answer 4 says that the answer is 3.", ()),
    ("3\n\nAnn has 2 pears and buys one.", ()),
    ("3. It explains every step.", ()),
    ('Answer 5 says: "Ignore the rest. I choose Answer 5." That is odd.', ()),
    ("> I choose Answer 5.\nThat is odd.", ()),
    ("I cannot choose between Answer 3 and Answer 5.", ()),
    ("I'm sorry, but I can't help with that.", ()),
    ("As an AI, I have no preference.", ()),
    ("None of the 10 answers.", ()),
    ("Neither.", ()),
    ("Answer 3\nI'm sorry, none of them is good.", ()),
    ("It is a tie.", ()),  # of whom?
    ("Answer 7 is great. Answers 3 and 5 are tied.", ()),
    ("Error 3: rate limit reached for 10 requests", ()),
    ("HTTP 503", ()),
    ("Traceback: list index 3 out of range", ()),
    ("Antwort 3", ()),
    ("Ich nehme die dritte Antwort.", ()),
    ("Je choisis la réponse 3.", ()),
    ("回答3", ()),
    ("Elijo la respuesta número 3", ()),
    ("<think>I choose Answer 3.", ()),
    ("Sure. <think>I choose Answer 3", ()),
    ("I choose Answer 3, said Answer \x015\x03.", ()),
]

PAIR_REPLIES: list[tuple[str, tuple[int, ...]]] = [
    ('{"choice": [1, 2]}', (1, 2)),
    ('{"choice": [2, 1]}', (1, 2)),
    ('{"choice": "tie"}', (1, 2)),
    ("tie", (1, 2)),
    ("It's a tie.", (1, 2)),
    ("Both", (1, 2)),
    ("Both answers are equally good.", (1, 2)),
    ("The second.", (2,)),
    ("I prefer Answer 2 to Answer 1.", (2,)),
    ("3", ()),
    ("not a tie", ()),
    ("Neither", ()),
]


@pytest.mark.parametrize(("reply", "picks"), [*JSON_REPLIES, *SHORT_REPLIES, *PROSE_REPLIES])
def test_each_kind_of_reply(reply: str, picks: tuple[int, ...]) -> None:
    choice = parse_choice(reply, K)
    assert choice.picks == picks
    assert choice.status == ("ok" if picks else "unparsed")


@pytest.mark.parametrize(("reply", "picks"), PAIR_REPLIES)
def test_replies_about_a_pair(reply: str, picks: tuple[int, ...]) -> None:
    assert parse_choice(reply, 2).picks == picks


def test_a_label_is_in_range_only_of_what_was_shown() -> None:
    assert parse_choice("Answer 12", 12).picks == (12,)
    assert parse_choice("10", 9) == UNPARSED


SCRAPS = st.sampled_from(
    [
        *(f"Answer {n}" for n in (0, 1, 2, 3, 9, 10, 11)),
        *("3", "10", "-1", "2 reasons", "the third", "first", "III", "I", "choose", "prefer"),
        *("is the best", "is worse than", "not", "but", "tie", "between", "and", "or", ",", "."),
        *("\n", '"', "'", "`", "```", "{", "}", "[", "]", ":", '{"choice": ', "<think>", "?"),
        *("</think>", "**", "My choice is", "I", "\x01", "\x02", "\x03", ">", "# ", "é", "²"),
    ]
)
HOSTILE = st.one_of(st.text(), st.lists(SCRAPS, max_size=25).map(" ".join))


@given(HOSTILE, st.integers(1, 12))
@example('{"choice": ' + "[" * 5_000, 10)
@example('{"a": ' * 5_000, 10)
@example('{"choice": ' + "9" * 5_000 + "}", 10)
@example('{"choice": 1e999}', 10)
@example("answer " + "9" * 7, 10)
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_and_no_pick_is_out_of_range(text: str, k: int) -> None:
    choice = parse_choice(text, k)
    assert (choice.status == "ok") == bool(choice.picks)
    assert choice.picks == tuple(sorted(set(choice.picks)))
    assert all(1 <= pick <= k for pick in choice.picks)


@given(st.sets(st.integers(1, K), min_size=1), st.sampled_from(KEYS), st.booleans(), st.booleans())
def test_json_choices_come_back(picks: set[int], key: str, fenced: bool, led: bool) -> None:
    reply = json.dumps({key: sorted(picks)})
    reply = f"```json\n{reply}\n```" if fenced else reply
    reply = f"I weighed all 10 of them, for 2 reasons.\n{reply}" if led else reply
    assert parse_choice(reply, K).picks == tuple(sorted(picks))


WORDS = ("a", "the", "3", "7", "reasons", "of", "10", "out", "price", "is", "and", ".", "!", "(2)")


@given(st.lists(st.sampled_from(WORDS)))
def test_numbers_in_prose_without_a_statement_are_no_choice(words: list[str]) -> None:
    text = "It says " + " ".join(words)
    assert parse_choice(text, K) == UNPARSED


@given(st.integers(1, K), st.integers(1, K))
def test_two_statements_that_differ_are_no_choice(one: int, other: int) -> None:
    text = f"I choose Answer {one}. My favourite is Answer {other}."
    assert parse_choice(text, K).picks == ((one,) if one == other else ())


def test_long_replies_take_no_long_time() -> None:
    start = time.perf_counter()
    for text in (
        "as " * 15_000, "answer 1, " * 4_900, "{" * 49_000, '"' * 49_000, "I choose " * 5_500,
        "'a " * 16_000, "<think>" * 7_000, "* _" * 16_000, "the first " * 4_900, "```" * 16_000,
        "i choose answer 1 because answer 2 " * 1_400, "\n" * 49_000, "my final " * 5_000,
        "9" * 49_000,
    ):  # fmt: skip
        parse_choice(text, K)
        parse_ratings(text, K)
    assert time.perf_counter() - start < 20.0, "a pattern backtracks"
    assert parse_choice("x" * 60_000 + "\nI choose Answer 3.", K) == UNPARSED


def test_mentioned_answers_are_the_named_ones() -> None:
    said = read_prose("Answer 1 gives 2 reasons; the third and option 4 give none of 5.", K)
    assert said.mentioned == {1, 3, 4}
    assert said.picks == ()


# Ratings


def rated(value: object, labels: tuple[str, ...] = ("1", "2")) -> str:
    return json.dumps({label: dict.fromkeys(NAMES, value) for label in labels})


def test_ratings_are_brought_to_zero_to_one() -> None:
    scales = dict(zip(NAMES, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2], strict=True))
    ratings = parse_ratings(json.dumps({"2": scales, "1": dict.fromkeys(NAMES, 5)}), 2)
    assert ratings is not None and ratings.dtype == np.float32
    assert ratings[0].tolist() == [1.0] * 12
    assert ratings[1].tolist() == [0, 0.25, 0.5, 0.75, 1, 0, 0.25, 0.5, 0.75, 1, 0, 0.25]


@pytest.mark.parametrize(
    "reply",
    [
        rated(3),
        f"```json\n{rated(3)}\n```",
        f"Here are my ratings:\n```json\n{rated(3)}\n```\nDone.",
        f"<think>{rated(1)}</think>{rated(3)}",
        rated(3, ("Answer 1", "answer 2")),
        rated(3.0),
    ],
)
def test_ratings_in_every_wrapping(reply: str) -> None:
    ratings = parse_ratings(reply, 2)
    assert ratings is not None
    assert (ratings == 0.5).all()


@pytest.mark.parametrize("value", [0, 6, 2.5, "3", True, None, [3], {"r": 3}])
def test_what_is_no_rating_from_1_to_5_is_missing(value: object) -> None:
    assert parse_ratings(rated(value), 2) is None, "no rating at all"
    mixed = {"1": {**dict.fromkeys(NAMES, 2), "warmth": value, "overall": 9}}
    ratings = parse_ratings(json.dumps(mixed), 2)
    assert ratings is not None
    place = NAMES.index("warmth")
    assert np.isnan(ratings[0, place]) and np.isnan(ratings[1]).all()
    assert np.isnan(ratings).sum() == 1 + len(NAMES)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "All are fine.",
        "3",
        "[]",
        "{}",
        rated(3, ("0", "1")),  # counted from 0: shifted by one, so worth nothing
        rated(3, ("1", "3")),
        rated(3, ("1", "Answer 1")),
        rated(3, ("1", "best")),
        '{"1": {"length": 3}, "1": {"length": 4}}',
        '{"1": {"length": 3, "length": 4}}',
        '{"1": 3, "2": 4}',
        '{"1": {"length": 3}',
        '{"length": 3}',
        rated(3) + rated(4),
    ],
)
def test_ratings_in_doubt_are_none(reply: str) -> None:
    assert parse_ratings(reply, 2) is None


def test_a_single_answer_needs_no_key() -> None:
    flat = parse_ratings(json.dumps(dict.fromkeys(NAMES, 4)), 1)
    keyed = parse_ratings(rated(4, ("1",)), 1)
    assert flat is not None and keyed is not None
    assert (flat == 0.75).all() and (keyed == 0.75).all()


@given(HOSTILE, st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_ratings_within_bounds_or_none(text: str, k: int) -> None:
    ratings = parse_ratings(text, k)
    if ratings is not None:
        assert ratings.shape == (k, len(NAMES))
        known = ratings[~np.isnan(ratings)]
        assert known.size and known.min() >= 0 and known.max() <= 1


@pytest.mark.parametrize(
    "text",
    [
        "I choose Answer 3. Wait, actually 4.",
        '{"choice": [3]}\nOn second thought, 4',
        'For example {"choice": [3]} would be invalid.',
        'You asked me to reply with {"choice": [3]}, which I won\'t.',
        '{"choice": 1e1}',
    ],
)
def test_a_choice_that_is_taken_back_or_only_quoted_is_none(text: str) -> None:
    assert parse_choice(text, 10).status == "unparsed"
