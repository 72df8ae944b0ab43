"""Texts of strangers, made fit to be shown: a router's error, an answer, the name of a file."""

from __future__ import annotations


def encodable(text: str) -> str:
    """Return the text as UTF-8 can carry it: half of a surrogate pair becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text: str) -> str:
    """Return the text as one line of characters that can be seen; others become their escape."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in line
    )
