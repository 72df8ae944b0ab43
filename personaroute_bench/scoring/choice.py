"""Multiple choice: the letter of the option that a response chooses."""

from __future__ import annotations

import re

from personaroute_bench.scoring.registry import register_metric
from personaroute_bench.scoring.structured import (
    boxed_answer,
    bracket_answer,
    json_answer,
    last_match,
)

_LEADING = re.compile(r"[\s(\[{*\"'`]*(?:\\(?:text|mathrm)\{)?([A-Za-z])(?![A-Za-z'’])")
_OPENING = r"[\s*(\[\"'`$]*+(?:\\(?:text|mathrm|boxed)\{[\s*(\[]*+)?"
# In the order of trust; within each, MMLU-Pro's rule (arXiv 2406.01574): the first hit counts,
# since some LLMs go on to make up further questions.
_PHRASES = (
    re.compile(rf"(?i:answer\s+is\s*:?){_OPENING}([A-Z])(?![A-Za-z'’])"),
    re.compile(rf"(?i:answer\s*:|option|choice\s+is){_OPENING}([A-Z])(?![A-Za-z'’])"),
)
# In running text a letter counts only where it is marked as an option: (C), C), C. or **C**;
# the F of 56°F, the D of D-ribose and the pronoun I do not.
_MARKED = re.compile(r"[(\[]([A-Z])[)\]]|(?<![\w\\°$'’(-])([A-Z])(?=\)|\.(?:\s|\Z)|\*\*|\s*\Z)")


def option_letter(response: str) -> str | None:
    """Return the option that a response chooses, in upper case, or None.

    The first that exists of: the JSON field ``answer``, the last ``[[…]]``, the last
    ``\\boxed{…}``, "answer is (X)", "answer: X" or "option X", the last letter in the
    text that is marked as one: (X), [X], X) or X.
    """
    for answer in (json_answer(response), bracket_answer(response), boxed_answer(response)):
        letter = _LEADING.match(answer) if answer else None
        if letter:
            return letter[1].upper()
    for phrase in _PHRASES:
        hit = phrase.search(response)
        if hit:
            return hit[1]
    last = last_match(_MARKED, response)
    return last[1] or last[2] if last else None


@register_metric("em_mc")
def em_mc(response: str, ground_truth: str) -> float:
    """Return 1.0 where the response chooses the reference's option, else 0.0."""
    truth = _LEADING.match(ground_truth)
    return float(truth is not None and option_letter(response) == truth[1].upper())
