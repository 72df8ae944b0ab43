"""The style dimensions that responses are rated on and personas have tastes for.

A rating is a number in [0, 1]: 0 is the low end, 1 the high end. A taste is a weight in [-1, 1]
for each dimension: positive likes the high end, negative the low end, 0 does not care.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dimension:
    """One way in which two right answers can differ."""

    name: str
    low: str
    """What a response at 0 is like."""
    high: str
    """What a response at 1 is like."""


DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("length", "a sentence or less", "several paragraphs"),
    Dimension("depth", "the bare answer", "explains why, with background"),
    Dimension("structure", "one running text", "headings, lists or numbered steps"),
    Dimension("steps", "only the result", "every step of the way is shown"),
    Dimension("simplicity", "long words and sentences", "short words and sentences"),
    Dimension("formality", "casual, as between friends", "formal, as in a report"),
    Dimension("warmth", "cool and impersonal", "kind, encouraging, speaks to the reader"),
    Dimension("humour", "entirely serious", "playful, jokes, emoji"),
    Dimension("directness", "hedges, or comes late to the point", "answers first, no hedging"),
    Dimension("examples", "no example or comparison", "concrete examples and comparisons"),
    Dimension("formulas", "words only", "formulas, symbols, code"),
    Dimension("relevance", "wanders off the question", "stays with the question"),
)
NAMES: tuple[str, ...] = tuple(dimension.name for dimension in DIMENSIONS)
