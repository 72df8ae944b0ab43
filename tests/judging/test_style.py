"""Style on text: hand-computed features, the right direction for each, and hostile text."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from personaroute_bench.judging import lexicon
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.style import (
    NOTICEABLE,
    STYLE_VERSION,
    measure_style,
    standardise_within_query,
)
from personaroute_bench.judging.style_features import READ_CHARACTERS, Text

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)  # surrogates included

# One pair a dimension: the second is nearer to the high end.
PAIRS = {
    "length": ("Paris.", "Paris is the capital of France, and has been so for centuries."),
    "depth": (
        "The sky is blue. It is day. The sun is up.",
        "The sky is blue because air scatters short waves more; therefore blue reaches us.",
    ),
    "structure": ("Buy milk, eggs and bread.", "# Shopping\n\n- milk\n- eggs\n- bread"),
    "steps": (
        "The total is 42 apples.",
        "First, add the red ones: 20 + 10 = 30. Then add 12: 30 + 12 = 42. Finally, write 42.",
    ),
    "simplicity": (
        "Photosynthetic organisms synthesise carbohydrates utilising electromagnetic radiation.",
        "Green plants use the light of the sun to make their own food. They need it to grow.",
    ),
    "formality": (
        "Yeah, it's pretty much okay, you know! I'm cool with that, don't you think?",
        "Furthermore, the implementation demonstrates conformity regarding the requirement.",
    ),
    "warmth": (
        "The procedure has three stages. The device is switched off before cleaning.",
        "Great question! Don't worry, you can do this, and please feel free to ask me again.",
    ),
    "humour": (
        "The cat slept on the mat. It did not move for an hour.",
        "Haha, the cat took its job as a doormat seriously! Pun intended 😹",
    ),
    "directness": (
        "Sure, I'd be happy to help! It might perhaps be Paris, but that possibly depends.",
        "Paris. It has been the capital of France since the tenth century.",
    ),
    "examples": (
        "Metals conduct heat well. Wood does not conduct heat well at all.",
        "Metals conduct heat well; for example, imagine a spoon in tea. Wood is like a coat.",
    ),
    "formulas": (
        "The area of a circle grows with the square of its radius.",
        r"The area is $A = \pi r^2$, so $r = \sqrt{A / \pi}$, in code `r = (A / pi) ** 0.5`.",
    ),
    "relevance": (
        "Whales sing in the ocean, and their songs travel far.",
        "The capital of France is Paris.",
    ),
}
QUERY = "What is the capital of France?"


def feature(name: str, text: str, query: str = QUERY) -> float:
    return float(measure_style([text], [query])[0, NAMES.index(name)])


def test_every_dimension_has_a_pair() -> None:
    assert tuple(PAIRS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_higher_of_a_pair_measures_higher(name: str) -> None:
    low, high = PAIRS[name]
    assert feature(name, high) - feature(name, low) > NOTICEABLE[NAMES.index(name)]


def test_output_is_float32_and_one_row_a_response() -> None:
    raw = measure_style(["a", "b b", ""], ["q", "q", "q"])
    assert raw.shape == (3, len(NAMES)) and raw.dtype == np.float32
    assert measure_style([], []).shape == (0, len(NAMES))
    assert STYLE_VERSION == "embedded-style-1"


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 responses but 1 queries"):
        measure_style(["a", "b"], ["q"])


def test_length_is_the_log_of_standard_words() -> None:
    assert feature("length", "abcde fghij\n klmno") == pytest.approx(math.log(1 + 15 / 5))
    long = "x" * (2 * READ_CHARACTERS)
    assert feature("length", long) == pytest.approx(math.log(1 + 2 * READ_CHARACTERS / 5))


def test_simplicity_follows_the_published_indices() -> None:
    # 12 words of 51 letters in 2 sentences: 4.25 letters a word, 6 words a sentence.
    text = "The quick brown foxes jumped over lazy dogs. They never came back."
    words = [word.strip(".") for word in text.split()]
    letters, n = sum(map(len, words)), len(words)
    readability = 4.71 * letters / n + 0.5 * n / 2 - 21.43
    coleman_liau = 0.0588 * (100 * letters / n) - 0.296 * (100 * 2 / n) - 15.8
    grade = (readability + coleman_liau) / 2
    assert feature("simplicity", text) == pytest.approx(-(n * grade + 80) / (n + 10), rel=1e-5)
    assert feature("simplicity", "42") == -8.0


def test_densities_are_shrunk() -> None:
    # One kind word and one that addresses the reader in ten: (1 + 0.5) / (10 + 50).
    text = "Thanks for the report, which shows your figures very well"
    assert Text(text).words == 10
    assert feature("warmth", text) == pytest.approx(math.log(1 + 100 * 1.5 / 60))
    # A long answer of the same manner measures warmer than one such line, but not ten times so.
    ratio = feature("warmth", " ".join([text] * 10)) / feature("warmth", text)
    assert 1.0 < ratio < 2.0


def test_structure_counts_marked_lines_and_their_share() -> None:
    text = "Intro\n\n1. one\n2. two\n* **three**\n| a | b |\n## Head"
    assert feature("structure", text) == pytest.approx(math.log(1 + 5 + 0.5) + 5 / 6, rel=1e-6)
    assert feature("structure", "a - b, 3.5 and #4 of 2) in one line") == 0.0


def test_relevance_is_a_cosine() -> None:
    assert feature("relevance", QUERY) == pytest.approx(1.0)
    assert feature("relevance", "Bananas grow slowly") == 0.0
    assert feature("relevance", "France") == pytest.approx(1 / math.sqrt(2))
    assert feature("relevance", "the of and", query="what is it") == 0.0


def test_possession_is_not_casual_but_contraction_is() -> None:
    assert feature("formality", "John’s house") == feature("formality", "Johns house")
    assert feature("formality", "They don’t know") < feature("formality", "They do not know")


def test_a_span_of_years_is_no_calculation() -> None:
    assert Text("3 * 4 = 12 - 2 and 7/2, $3 +$4").calculations == 5
    assert Text("from 2019-2020, page 3-4, 555-1234").calculations == 0


def test_emoticons_stand_alone() -> None:
    assert Text("Hi :) and ;-) 😀 :D").emoji == 4
    assert Text("x[:d], a :param, f(a;) 1:0 ✓").emoji == 0


def test_not_equal_is_no_exclamation() -> None:
    assert Text("if a != b: raise").exclamations == 0
    assert Text("Hello! Well!").exclamations == 2


def test_an_answer_in_json_is_read_as_its_text() -> None:
    plain = "1. Add the numbers.\n2. Halve the sum."
    wrapped = "```json\n" + json.dumps({"reasoning": plain, "answer": "4"}) + "\n```"
    assert Text(wrapped).numbered_lines == 1  # the first one follows the field's name
    assert feature("formulas", wrapped) == 0.0
    # Only where there are JSON fields: \n begins \nu, \nabla and \neq elsewhere.
    assert Text(r"the gradient \nabla f").clean == r"the gradient \nabla f"
    assert Text(r'{"a": "\\nabla"}').clean == r'{"a": "\\nabla"}'


def test_every_lexicon_entry_can_be_found() -> None:
    lists = {name: value for name, value in vars(lexicon).items() if isinstance(value, tuple)}
    assert len(lists) > 8
    for name, entries in lists.items():
        for entry in entries:
            assert Text(f"Well, {entry} it").count(entries) >= 1, (name, entry)


def test_a_row_does_not_depend_on_the_others() -> None:
    texts = [text for pair in PAIRS.values() for text in pair]
    together = measure_style(texts, [QUERY] * len(texts))
    alone = np.concatenate([measure_style([text], [QUERY]) for text in reversed(texts)])
    np.testing.assert_array_equal(together, alone[::-1])


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_measures_finite(response: str, query: str) -> None:
    raw = measure_style([response], [query])
    assert np.isfinite(raw).all()
    assert 0.0 <= raw[0, NAMES.index("relevance")] <= 1.0


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "\n", "\t \n", "*", "**", "# ", "1.", "`", "\\", "\\a", '"', '":\\n', "!", "a'", "?",
     "1 ", "= ", "\ud800", "\x00", "İ", "| ", "the answer is ", "```", "🙂", "ß."],
)  # fmt: skip
def test_time_is_linear_on_hostile_text(unit: str) -> None:
    text = unit * (2_000_000 // len(unit))
    start = time.process_time()
    raw = measure_style([text], [text])
    # A quadratic rule would take minutes on what is read; 1 s is ten times what is needed.
    assert time.process_time() - start < 1.0
    assert np.isfinite(raw).all()


def ratings(raw: list[list[float]], ok: list[list[bool]], noticeable: float) -> np.ndarray:
    values = np.array(raw, dtype=np.float32)[..., None]
    floor = np.array([noticeable], dtype=np.float32)
    return standardise_within_query(values, np.array(ok), floor)[..., 0]


def test_ratings_are_logistic_z_scores() -> None:
    high = 1 / (1 + math.exp(-1))  # two candidates: z = ±1
    result = ratings([[1.0, 3.0]], [[True, True]], 0.0)
    np.testing.assert_allclose(result, [[1 - high, high]], rtol=1e-6)
    # With δ = σ√3 the difference counts for half as much.
    half = 1 / (1 + math.exp(-0.5))
    result = ratings([[1.0, 3.0]], [[True, True]], math.sqrt(3))
    np.testing.assert_allclose(result, [[1 - half, half]], rtol=1e-6)


def test_what_is_not_usable_neither_counts_nor_is_rated() -> None:
    high = 1 / (1 + math.exp(-1))
    result = ratings([[1.0, 1e30, 3.0]], [[True, False, True]], 0.0)
    np.testing.assert_allclose(result, [[1 - high, np.nan, high]], rtol=1e-6)
    result = ratings([[1.0, np.nan, 3.0]], [[True, True, True]], 0.0)
    np.testing.assert_allclose(result, [[1 - high, np.nan, high]], rtol=1e-6)


def test_alike_or_alone_is_one_half() -> None:
    third = 1 / 3
    result = ratings([[third] * 3, [7, 8, 9]], [[True] * 3, [False, True, False]], 0.0)
    np.testing.assert_array_equal(result, [[0.5] * 3, [np.nan, 0.5, np.nan]])
    assert np.isnan(ratings([[1.0, 2.0]], [[False, False]], 0.0)).all()


@settings(max_examples=50)
@given(
    npst.arrays(np.float32, (2, 4, 3), elements=st.floats(-100, 100, width=32)),
    npst.arrays(np.bool_, (2, 4)),
    st.permutations(range(4)),
)
def test_ratings_keep_the_order_and_not_the_place(
    raw: np.ndarray, ok: np.ndarray, order: list[int]
) -> None:
    floor = np.full(3, 0.1, dtype=np.float32)
    result = standardise_within_query(raw, ok, floor)
    assert (np.isnan(result) == ~ok[..., None]).all()
    known = result[ok]
    assert ((known > 0) & (known < 1)).all()
    moved = standardise_within_query(raw[:, order], ok[:, order], floor)
    np.testing.assert_allclose(moved, result[:, order], atol=1e-6)
    for q, a, b in np.ndindex(2, 4, 4):
        if ok[q, a] and ok[q, b]:
            assert (result[q, a] >= result[q, b] - 1e-6)[raw[q, a] >= raw[q, b]].all()
