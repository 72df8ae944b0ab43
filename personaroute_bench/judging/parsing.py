"""Reading a judge's reply: the JSON that was asked for, or plain words that leave no doubt.

    reply ──► without its thinking ──► JSON {"choice": [N]} ──► choice
                                  └──► sentences that name one answer as the taken one ──► choice
                                  └──► anything else ──► unparsed

A wrong choice is worse than none, so a number is never fished out of a text: a sentence has to
say that an answer is taken, and no other may say something else. What only nearly says so is
`unparsed`, a status of its own that is counted and shown. Judges who hold to the JSON that the
prompts ask for never meet these rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.prose import bare_label, read_prose, takes_back
from personaroute_bench.llms.reply import strip_thinking
from personaroute_bench.users.rewards import Floats

KEYS = ("choice", "choices", "answer", "answers", "best", "pick", "winner")
"""Keys of a JSON object that name what is chosen; an object has to have exactly one of them."""
RATING_STEPS = 4
"""Ratings run from 1 to 5."""

_MAX_CHARS = 50_000  # a judge that writes a novel has not chosen
_THOUGHT = re.compile(
    r"<(think|thinking|reasoning)>.*?</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE
)
_LOOSE_TAG = re.compile(r"</?(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)\n?[ \t]*```", re.DOTALL)
_FLAT_OBJECT = re.compile(r"\{[^{}]{0,2000}\}")
_ANSWER_KEY = re.compile(r"(?:answer\s*)?([0-9]{1,4})", re.IGNORECASE)


# Said anywhere beside a choice, these put it in doubt: the judge changes its mind ...
_SECOND_THOUGHTS = re.compile(
    r"\b(?:wait|actually|second thoughts?|scratch that|correction|changed? my mind|"
    r"let me (?:re|think again))",
    re.IGNORECASE,
)
# ... or only speaks of the JSON that it was asked for.
_NOT_MEANT = re.compile(
    r"\b(?:for (?:example|instance)|e\.g|such as|would be|could be|invalid|format|asked me|"
    r"won['’]t|will not|cannot|can['’]t|refuse|instead)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a reply says."""

    status: Literal["ok", "unparsed"]
    picks: tuple[int, ...] = ()
    """Numbers of the answers taken, from 1, ascending; several for a tie, none unless ok."""


UNPARSED = Choice("unparsed")


def parse_choice(text: str, k: int) -> Choice:
    """Read which of `k` answers a reply takes.

    Total: every text gives a choice or `UNPARSED`, and the picks are always within 1..k.

    Args:
        text: the reply's text, verbatim.
        k: how many answers were shown, numbered from 1.
    """
    body = _visible(text)
    if not body or len(body) > _MAX_CHARS:
        return UNPARSED
    whole = _load(body)
    if whole is not None:
        # A list by itself may be a ranking; under the key that was asked for it is a tie.
        listed = isinstance(whole.value, list) and len(whole.value) != 1
        return UNPARSED if listed else _choice([_picks_of(whole.value, k)], k)
    found = list(_FLAT_OBJECT.finditer(body))
    choices = [(match, loaded) for match in found if (loaded := _object_choice(match[0]))]
    around = _FLAT_OBJECT.sub("\n", body)
    if _SECOND_THOUGHTS.search(around) or (choices and _NOT_MEANT.search(around)):
        return UNPARSED
    if not choices:
        # Braces that are no choice may hold anything: quoted text, code, ratings.
        return UNPARSED if found else _choice(read_prose(body, k).picks, k)
    said = [_picks_of(loaded.value, k) for _, loaded in choices]
    after = body[choices[-1][0].end() :]
    if takes_back(after, said[-1]):
        return UNPARSED
    return _choice([*said, *read_prose(around, k).picks], k)


def parse_ratings(text: str, k: int) -> Floats | None:
    """Read the ratings of `k` answers: ``{"1": {"length": 3, …}, …}``.

    Strict: one JSON object, alone, in a fence or within prose; keys ``1`` or ``Answer 1``; for a
    single answer also its scales without the key. A rating that is missing or no whole number
    from 1 to 5 is NaN; scales that were not asked for do not count.

    Returns:
        [k, D] float32 in [0, 1], that is (r − 1) / 4, in the order of `dimensions.NAMES`; None
        where the reply is no such object, names an answer that was not shown or one twice, or
        holds no rating at all.
    """
    body = _visible(text)
    if not body or len(body) > _MAX_CHARS:
        return None
    loaded = _load(body) or _load(body[body.find("{") : body.rfind("}") + 1])
    if loaded is None or not isinstance(loaded.value, dict):
        return None
    rated = loaded.value
    if k == 1 and set(rated) & set(NAMES):
        rated = {"1": rated}
    ratings = np.full((k, len(NAMES)), np.nan, dtype=np.float32)
    seen: set[int] = set()
    for key, scales in rated.items():
        label = _ANSWER_KEY.fullmatch(key.strip())
        number = int(label[1]) if label else 0
        if not 1 <= number <= k or number in seen or not isinstance(scales, dict):
            return None
        seen.add(number)
        for place, name in enumerate(NAMES):
            value = _whole(scales.get(name))
            if value is not None and 1 <= value <= RATING_STEPS + 1:
                ratings[number - 1, place] = (value - 1) / RATING_STEPS
    return None if np.isnan(ratings).all() else ratings


def _choice(said: Iterable[frozenset[int]], k: int) -> Choice:
    """Return the one thing that is said; unparsed where nothing is, or two different things."""
    different = set(said)
    if len(different) != 1:
        return UNPARSED
    picks = tuple(sorted(different.pop()))
    if not picks or not all(1 <= pick <= k for pick in picks):
        return UNPARSED
    return Choice("ok", picks)


def _visible(text: str) -> str:
    """Return the reply without its thinking; empty where the thinking never ends."""
    body = _THOUGHT.sub("\n", strip_thinking(text)).strip()
    return "" if _LOOSE_TAG.search(body) else body


@dataclass(frozen=True, slots=True)
class _Loaded:
    value: Any
    """A JSON value; its own box, since null is one."""


def _load(body: str) -> _Loaded | None:
    """Read a text that is JSON from end to end, or one fence around JSON; None where it is not."""
    fence = _FENCE.fullmatch(body)
    try:
        text = fence[1] if fence else body
        return _Loaded(json.loads(text, object_pairs_hook=_no_twins, parse_float=_plain_number))
    except (ValueError, RecursionError):
        return None


def _plain_number(text: str) -> float | None:
    """Read 3.0, but not 1e1, which nobody means as a label."""
    return None if "e" in text.lower() else float(text)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says the same key twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _object_choice(text: str) -> _Loaded | None:
    """Return a flat object that names a choice."""
    loaded = _load(text)
    if loaded is None or not isinstance(loaded.value, dict):
        return None
    return loaded if _named(loaded.value) else None


def _named(value: dict[str, Any]) -> list[Any]:
    return [content for key, content in value.items() if key.strip().lower() in KEYS]


def _picks_of(value: Any, k: int) -> frozenset[int]:
    """Return the labels that a JSON value names; empty where it names none without doubt."""
    if isinstance(value, dict):
        named = _named(value)
        if len(named) != 1:
            return frozenset()
        value = named[0]
    if isinstance(value, str) and k == 2 and value.strip().lower() in ("tie", "both"):
        return frozenset((1, 2))
    labels = value if isinstance(value, list) else [value]
    numbers = [bare_label(label) if isinstance(label, str) else _whole(label) for label in labels]
    known = [number for number in numbers if number is not None]
    # All of them, and not in the order shown: that is a ranking, whatever it was meant for.
    ranking = len(known) == k > 2 and known != sorted(known)
    return frozenset() if ranking or len(known) < len(numbers) else frozenset(known)


def _whole(value: Any) -> int | None:
    """Return a JSON number without a fraction as int; None for all else, true and false too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value // 1 else None  # neither NaN nor infinity is
