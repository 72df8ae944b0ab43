r"""Numbers in free text, and the two metrics that compare them.

Numbers are exact fractions, so that ``16.00``, ``16``, ``32/2`` and ``\frac{32}{2}`` are equal and
no tolerance has to be chosen. An answer that gives a rounded number is not the exact one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from personaroute_bench.scoring.registry import register_metric
from personaroute_bench.scoring.structured import (
    boxed_answer,
    bracket_answer,
    json_answer,
    last_match,
)

# Longer runs of digits are no answer, and would make arithmetic slow.
_MAX_DIGITS = 100
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?+|\.[0-9]++"
_SIGN = r"(?:(?<![\w)\]}])-\s?)?[$€£]?(?:(?<=[$€£])-)?"
_NUMBER = re.compile(
    rf"""
    (?P<sign>{_SIGN})
    (?:
        \\[dt]?frac\s*(?:\{{\s*(?P<ltop>-?(?:{_DIGITS}))\s*\}}|(?P<ltop1>[0-9]))
                   \s*(?:\{{\s*(?P<lbottom>{_DIGITS})\s*\}}|(?P<lbottom1>[0-9]))
      | (?P<whole>[0-9]++)\s(?P<mtop>[0-9]++)/(?P<mbottom>[0-9]++)(?![.,][0-9])
      | (?P<digits>{_DIGITS})(?:_\{{?(?P<base>[0-9]{{1,2}})\}}?)?
        (?:\s?/\s?(?P<bottom>{_DIGITS}))?
    )
    (?P<percent>\s?%)?
    """,
    re.VERBOSE,
)
_PHRASE = re.compile(r"answer(?:\s+is|\s*[:=])", re.IGNORECASE)
# What binds a number into an expression: it is then a part of the answer and not the answer.
_BOUND_AFTER = re.compile(r"\s*(?:\\?sqrt|√|\\?pi\b|π|\^|\*\*|[*×·(]|\\(?:cdot|times)|[+\-−]\s*\S)")
_BOUND_BEFORE = re.compile(r"(?:√|sqrt[({]?|\^[{(]?|[*×·/]\s?|\\(?:cdot|times)\s*)\Z")
_SUBSCRIPTS = str.maketrans({chr(0x2080 + digit): f"_{digit}" for digit in range(10)} | {"−": "-"})


@dataclass(frozen=True, slots=True)
class Number:
    r"""A number as it stands in a text.

    Understood: signs, thousands separators, decimals, currency signs, percentages, ``a/b``, mixed
    numbers (``3 1/3``), ``\frac{a}{b}`` and bases (``212_3``).
    """

    value: Fraction
    percent: bool
    """Whether a percent sign follows; the value is the number before it."""
    face: Fraction
    """The digits read as decimal: 212 for ``212_3``; else the value."""
    based: bool
    """Whether a base is given."""
    bound: bool
    """Whether it is part of a larger expression, as 6 in ``6√2``."""


def _tidy(text: str) -> str:
    """Undo what LaTeX and JSON do to numbers: ``10,\\!000``, ``\\$5``, a lost ``\\f`` of frac."""
    if not text.isascii():
        text = text.translate(_SUBSCRIPTS)
    text = text.replace("\x0crac", "\\frac").replace("\x08oxed", "\\boxed")
    if "\\" in text or "{" in text:
        for written, plain in (("\\!", ""), ("{,}", ","), ("\\,", ""), ("\\$", "$"), ("\\%", "%")):
            text = text.replace(written, plain)
    return text


def _value(match: re.Match[str]) -> Fraction | None:
    """Return the number that a match of `_NUMBER` stands for; None where it stands for none."""
    if len(match.group()) > _MAX_DIGITS:
        return None
    part = {name: text.replace(",", "") for name, text in match.groupdict("").items()}
    if part["mbottom"]:
        top = Fraction(int(part["mtop"]) + int(part["whole"]) * int(part["mbottom"]))
        bottom = Fraction(part["mbottom"])
    elif part["base"]:
        base, digits = int(part["base"]), part["digits"]
        if not 2 <= base <= 36 or "." in digits or any(int(d) >= base for d in digits):
            return None
        top, bottom = Fraction(int(digits, base)), Fraction(part["bottom"] or 1)
    else:
        top = Fraction(part["ltop"] or part["ltop1"] or part["digits"])
        bottom = Fraction(part["lbottom"] or part["lbottom1"] or part["bottom"] or 1)
    if bottom == 0:
        return None
    return -top / bottom if "-" in part["sign"] else top / bottom


def _read(text: str, match: re.Match[str]) -> Number | None:
    value = _value(match)
    if value is None:
        return None
    face = value
    if match["base"]:
        face = Fraction(match["digits"].replace(",", "")) * (-1 if "-" in match["sign"] else 1)
    before = text[max(0, match.start() - 12) : match.start()]
    bound = bool(_BOUND_AFTER.match(text, match.end()) or _BOUND_BEFORE.search(before))
    return Number(value, bool(match["percent"]), face, bool(match["base"]), bound)


def first_number(text: str) -> Number | None:
    """Return the first number of a text, or None."""
    text = _tidy(text)
    found = (_read(text, match) for match in _NUMBER.finditer(text))
    return next((number for number in found if number is not None), None)


def last_number(text: str) -> Number | None:
    """Return the last number of a text, or None."""
    text = _tidy(text)
    found = (_read(text, match) for match in reversed(list(_NUMBER.finditer(text))))
    return next((number for number in found if number is not None), None)


def answer_number(text: str) -> Number | None:
    r"""Return the number that a response gives as its answer, or None.

    The first that exists of: the JSON field ``answer``, what follows the last ``####``, the last
    ``\boxed{…}``, the last ``[[…]]``, what follows the last "answer is" (or ``answer:``): in
    these the first number counts. Else the last number of the response.
    """
    field = json_answer(text)
    if field is not None:  # a field that holds no number is an answer that is no number
        return first_number(boxed_answer(_tidy(field)) or field)
    candidates = [boxed_answer(text), bracket_answer(text)]
    if "####" in text:
        candidates.insert(0, text.rpartition("####")[2])
    phrase = last_match(_PHRASE, text)
    if phrase is not None:
        candidates.append(text[phrase.end() :])
    for candidate in candidates:
        number = first_number(candidate) if candidate is not None else None
        if number is not None:
            return number
    return last_number(text)


@lru_cache(maxsize=4096)
def _reference(ground_truth: str) -> Number | None:
    if "####" in ground_truth:
        return first_number(ground_truth.rpartition("####")[2])
    return last_number(ground_truth)


@register_metric("GSM8K")
def gsm8k(response: str, ground_truth: str) -> float:
    """Return 1.0 where the response's answer is the number after ``####`` in the reference.

    The reference is a worked solution (Cobbe et al., arXiv 2110.14168) or the bare number. Units,
    currency and percent signs do not count.
    """
    truth, answer = _reference(ground_truth), answer_number(response)
    return float(truth is not None and answer is not None and answer.value == truth.value)


@register_metric("num_em")
def num_em(response: str, ground_truth: str) -> float:
    """Return 1.0 where the response's answer is numerically equal to the reference.

    Stricter than GSM8K: 6 in ``6√2`` or 12 in ``12 - 10d`` is not the answer. Looser where just
    one side says so: ``50%`` equals both 50 and 0.5, and ``212`` equals ``212_3``.
    """
    truth, answer = _reference(ground_truth), answer_number(response)
    if truth is None or answer is None or answer.bound:
        return 0.0
    if answer.value == truth.value:
        return 1.0
    if answer.based != truth.based:
        return float(answer.face == truth.face)
    if answer.percent != truth.percent:
        scaled, plain = (answer, truth) if answer.percent else (truth, answer)
        return float(scaled.value == plain.value * 100)
    return 0.0
