from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.evaluation.texts import encodable, printable

ANY = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs too


@given(ANY)
def test_whatever_it_was_it_can_be_written_and_shown(text: str) -> None:
    encodable(text).encode("utf-8")
    line = printable(text)
    line.encode("utf-8")
    assert line.isprintable()
    assert printable(line) == line


def test_by_hand() -> None:
    assert encodable("a\ud800\nb") == "a\\ud800\nb"
    assert printable(" Übel\n\tund \x1b[31m\ud800 ") == "Übel und \\x1b[31m\\ud800"
