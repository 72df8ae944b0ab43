"""The bundled texts and their weights say the same: a second reader goes by words alone."""

from __future__ import annotations

import re

from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.users.persona_files import bundled_personas
from personaroute_bench.users.persona_types import Statement

# dimension: what shows that a sentence speaks of it, and what shows that it means the low end.
WORDS = {
    "length": (
        r"short(er)? (answers?|is)\b|\bit short|be short|the shorter|line or two|few words"
        r"|long (answers?|account|text)|too long|at length|several paragraphs",
        r"short|line or two|few words",
    ),
    "depth": (
        r"\bwhy\b|background|\bdepth\b",
        r"no background|not interest|wasted|padding|your staff",
    ),
    "structure": (
        r"\blists?\b|headings?|bullet point|numbered|\btables\b|running text",
        r"running text|no place",
    ),
    "steps": (r"\bsteps?\b", r"result only|only the result"),
    "simplicity": (
        r"(short|plain|rich|rare|long)\b.*\b(words?|sentences?)\b|words.*\bplain\b",
        r"long|rich|rare",
    ),
    "formality": (r"formal|casual", r"casual"),
    "warmth": (r"\bkind(ness)?\b|encourag|warmth|\bcool\b", r"cool|noise|cold|flattery"),
    "humour": (r"\bjokes?\b|emoji|playful|laugh|serious", r"serious|without jokes"),
    "directness": (r"\bfirst\b|\bhedg", r"\bhedge[sd]?\b"),
    "examples": (r"\bexamples?\b|comparisons?", r"hold you up"),
    "formulas": (
        r"formulas?|symbols?|\bcode\b",
        r"words (only|rather|will|are)|(need|hold|in) words",
    ),
    "relevance": (r"the question\b|wander", r"wander"),
}


def bundled_statements() -> list[Statement]:
    source = bundled_personas()
    return [want for kind in source.archetypes for want in kind.wants] + [
        option.statement for facet in source.facets for option in facet.options
    ]


def read_words(text: str) -> dict[str, int]:
    """Return the sign of every dimension that a sentence speaks of."""
    found = {}
    for name, (topic, low) in WORDS.items():
        if re.search(topic, text, re.IGNORECASE):
            found[name] = -1 if re.search(low, text, re.IGNORECASE) else 1
    return found


def test_the_second_reader_knows_every_dimension() -> None:
    assert tuple(WORDS) == NAMES


def test_a_sentence_says_its_weights_and_nothing_else() -> None:
    wrong = {}
    for statement in bundled_statements():
        weights = {name: 1 if weight > 0 else -1 for name, weight in statement.taste.items()}
        if read_words(statement.says) != weights:
            wrong[statement.says] = (weights, read_words(statement.says))
    assert not wrong


def test_every_clear_taste_of_a_person_is_in_the_text() -> None:
    for preset in ("default", "paper"):
        for person in bundled_personas().compose(preset, 1, 0, 400):
            assert person.taste is not None
            wants = person.text.split("\n\n")[1]
            for name, weight in zip(NAMES, person.taste, strict=True):
                if abs(weight) >= 0.5:
                    assert re.search(WORDS[name][0], wants, re.IGNORECASE), (name, wants)


def test_the_texts_read_as_a_system_prompt() -> None:
    source = bundled_personas()
    for kind in source.archetypes:
        assert kind.text.startswith("You ")
        assert re.search(r"\byour?\b", " ".join(want.says for want in kind.wants), re.IGNORECASE)
    levels = [level.says for scale in source.scales.values() for level in scale.levels]
    texts = [kind.text for kind in source.archetypes]
    for sentence in [*texts, *levels, *(statement.says for statement in bundled_statements())]:
        assert re.fullmatch(r"[A-Z].*\.", sentence), sentence
        assert "  " not in sentence


def test_no_sentence_stands_twice() -> None:
    says = [statement.says for statement in bundled_statements()]
    assert sorted(says) == sorted(set(says))


def test_person_facets_carry_no_taste() -> None:
    for facet in bundled_personas().facets:
        for option in facet.options:
            assert bool(option.statement.taste) == (facet.part == "style"), option


def test_prices_are_spoken_of_only_where_they_are_shown() -> None:
    """A judge that sees no price must not take thrift for a taste."""
    for level in bundled_personas().scales["cost_weight"].levels:
        assert level.says.startswith("Where an answer has a price you ")
