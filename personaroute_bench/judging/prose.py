"""Plain sentences in which a judge says which answer it takes; `parsing` is the way in.

    text ──► labels marked ("the third answer" ──► ⟨3⟩) ──► sentences ──► statements

Every pattern here matches a sentence from its first word on, so that "I would not choose Answer
3", "Answer 3 says that I choose it" and "2 reasons" match none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Numbers in words


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_ORDINALS = _words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
# Single letters are left out: "I" is a pronoun, and "X" stands for anything.
_ROMAN = {"II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12}
_VALUE = {
    **{word: place for place, word in enumerate(_WORDS, 1)},
    **{word: place for place, word in enumerate(_ORDINALS, 1)},
    **{numeral.lower(): value for numeral, value in _ROMAN.items()},
}

# Labels. A marked one is \x01 (named as an answer) or \x02 (a bare number), its value, \x03.

_NAMED = r"\x01[0-9]+\x03"
_ANY = r"[\x01\x02][0-9]+\x03"
_MORE = rf"(?:(?:,| and| &| or|, and|, or) {_ANY})"

# No number of "3.5", "3/10", "3 out of 5", "$3", "3-5", "2 + 3" is a label.
_NUMBER = (
    r"(?<![\x01\x02\w.,:/$€£%+*=^\\-])[0-9]{1,6}"
    r"(?!\w|[.,:/]?[0-9]|\s*[/%+*=^<>-]|\s+(?:out\s+)?of\b)"
)
_LABEL = rf"(?:{_NUMBER}|\b(?:{'|'.join((*_WORDS, *map(str.lower, _ROMAN)))})\b)"
_NOUN = r"(?:answer|response|reply|option|candidate)"
_AFTER_NOUN = re.compile(
    rf"\b(?:{_NOUN}s?|choice) *(?:numbers? *|no\. *|# *)?[(\[]?"
    rf"({_LABEL}(?:(?:, *|,? +(?:and|or|&) +)(?:{_NOUN} +)?{_LABEL})*)[)\]]?"
)
_LISTED = re.compile(rf"(?:{_NOUN} +)?({_LABEL})")
_ORDINAL = rf"(?:{'|'.join(_ORDINALS)}|[0-9]{{1,3}}(?:st|nd|rd|th))"
_BEFORE_NOUN = re.compile(rf"\b(?:the +)?({_ORDINAL}) +(?:{_NOUN}|one)\b")
_THE_ORDINAL = re.compile(rf"\bthe +({_ORDINAL})\b(?!-)")
_BARE = re.compile(rf"#?({_NUMBER})")

# What is not the judge's own prose, and what only decorates it.

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_QUOTED_LINE = re.compile(r"(?m)^[ \t]*>.*$")
_QUOTED = re.compile(
    r"```.*?```|`[^`\n]*`|\"[^\"]*\"|“[^”]*”|«[^»]*»|(?<!\w)'[^'\n]*'(?!\w)", re.DOTALL
)
_LINE_MARKUP = re.compile(r"(?m)^[ \t]*(?:#+|[-*•])[ \t]+")
_EMPHASIS = re.compile(r"(?<!\w)[*_]+|[*_]+(?!\w)")
_WRAP = " \t\n*_`\"'“”‘’(["
_SENTENCE_END = re.compile(r"[.!;]+(?=\s|$)|\n+|(?<=\?)\s|, (?=so |therefore |thus )")

# Sentences that take an answer: @ is the label, ~ what may follow it.

_LEAD = (
    r"(?:(?:but|however|still|so|thus|therefore|hence|overall|finally|ultimately|personally|"
    r"for me|to me|i think|i believe|in my (?:opinion|view)|in conclusion|in summary|"
    r"in the end|all in all|on balance),? |"
    r"(?:as|given|based on|considering|having|after) [^,.;]{1,80}, |"
    r"(?:my |the |final )*(?:verdict|decision|conclusion): ){0,2}"
)
_REASON = (
    r"(?: for (?:me|my taste))?(?P<rest>"
    r"(?:,? (?:over|to|rather than|instead of|because|since|due to|thanks to|with|which|"
    r"as (?:it|its|this|that|i)|for (?:its|how))\b.*|,? (?:although|though|but) .*|"
    r"(?:: | [-–—] | -- |—).*)?)"
)
_I_TAKE = (
    r"(?:i|we)(?: would|'d| will|'ll| shall| am going to)?"
    r"(?: (?:personally|definitely|clearly|strongly|much|still|therefore|thus|must|have to))* "
    r"(?:choose|pick|select|prefer|favou?r|take|go with|vote for|opt for):? (?:the )?"
)
_CHOICE = r"(?:choice|pick|preference|vote|selection|decision|verdict)"
_MY_CHOICE = (
    r"(?:(?:my|the) )?"
    r"(?:(?:final|own|personal|clear|overall|top|first|best|preferred|favou?rite|chosen) )*"
    rf"(?:{_CHOICE}|favou?rite|winner|best|answer|response|one)"
)
_IS_BEST = (
    r"(?:(?:is|was|would be)(?: (?:clearly|definitely|by far|overall|easily))?"
    r"(?: best| the (?:best|winner)(?: (?:one|answer|response|choice|fit))?|"
    r" (?:my|the) (?:clear |top |first |personal )?(?:favou?rite|choice|pick|preference)|"
    r" the (?:one|answer) (?:that )?i(?: would|'d)? (?:choose|pick|prefer|take))|"
    r"wins|gets my vote|(?:suits|serves|helps|fits) me (?:the )?best)"
)


def _patterns(label: str, *sentences: str) -> tuple[re.Pattern[str], ...]:
    filled = (s.replace("@", f"(?P<label>{label})").replace("~", _REASON) for s in sentences)
    return tuple(re.compile(sentence) for sentence in filled)


_ANYWHERE = _patterns(
    _NAMED,
    f"{_LEAD}{_I_TAKE}@~",
    f"{_LEAD}{_MY_CHOICE}(?: (?:is|would be|goes to)|:|=) ?@~",
    f"{_LEAD}@ {_IS_BEST}~",
)
_ALONE = _patterns(
    _ANY,
    f"{_I_TAKE}@~",
    f"{_MY_CHOICE}(?: (?:is|would be)|:|=)? ?@(?P<rest>)",
    r"(?:the )?@(?P<rest>(?: because [^,]*)?)",
)
"""Patterns for a reply of one sentence, where a bare number can only be the choice."""
_HEADING = re.compile(f"(?:the )?({_NAMED})[.:!]*")
_CHOICE_LINE = re.compile(rf"(?:my |the |final )*{_CHOICE} ?[:=] ?({_ANY})[.!]*")
_TIES = (
    re.compile(
        rf"{_LEAD}(?:(?:it is|it's|there is|this is|i call it|i declare) )?"
        rf"(?:an? )?(?:exact |clear )?(?:tie|tied|draw)(?: between|:| of| among)? ({_ANY}{_MORE}+)"
    ),
    re.compile(
        rf"{_LEAD}(?:both )?({_ANY}{_MORE}+) "
        r"(?:(?:are )?(?:a tie|tied|tie)|are (?:both |exactly )?equally good)(?: for me)?"
    ),
)
_TIE_OF_TWO = re.compile(
    r"(?:(?:it is|it's|this is) )?(?:a )?(?:tie|draw)|both|"
    r"(?:both|they)(?: answers| of them)? are equally good"
)

# Words that cast doubt on such a sentence, on a mere heading, and on a choice made before.

_SLUR = re.compile(
    r"\b(?:worst|worse|reject|eliminat|discard|dislik|remov|avoid|runner|second choice|if|unless|"
    r"least (?:good|suitable|helpful|favou?rite))|\bliked? least|\?"
)
_REFUSES = re.compile(
    r"\b(?:cannot|can't|can not|unable|won't|refuse|sorry|not able|decline|none|neither|not sure|"
    r"unsure|don't know|do not know|no preference|error|failed)\b"
)
_UNDOES = re.compile(
    r"\b(?:but|however|although|though|yet|actually|wait|correction|sorry|hmm|oops|mistake|meant|"
    r"second thoughts?|reconsider|my mind|except|scratch|on reflection|rather|instead|better|best|"
    r"choose|pick|select|prefer|take)\b|(?:^|[.!?,:;\n–—-] *)no\b"
)
_COMPARES = re.compile(rf"\b(?:over|to|rather than|instead of|better than) (?:the )?{_ANY}{_MORE}*")


@dataclass(frozen=True, slots=True)
class Statements:
    """What a text says of the answers."""

    picks: tuple[frozenset[int], ...]
    """What each statement takes; an empty set stands for doubt."""
    mentioned: frozenset[int]
    """Every answer that is spoken of."""


def bare_label(text: str) -> int | None:
    """Return the label that a text is from end to end: ``3``, ``Answer 3``, ``the third``."""
    core = _CONTROL.sub(" ", text).strip(_WRAP).rstrip(_WRAP + ")].!")
    if core in _ROMAN:
        return _ROMAN[core]
    word = core.lower().removeprefix("the ")
    if word in _WORDS or word in _ORDINALS or re.fullmatch(_ORDINAL, word):
        return _value(word)
    label = re.fullmatch(f"(?:the )?({_ANY})", _mark(core.lower()))
    return _value(label[1]) if label else None


def takes_back(after: str, said: frozenset[int]) -> bool:
    """Tell whether the text after a choice speaks of another answer as if minds had changed."""
    return _takes_back(_mark(_CONTROL.sub(" ", after.lower())), said)


def read_prose(text: str, k: int) -> Statements:
    """Find the sentences that take an answer.

    Args:
        text: a reply, or what stands around its JSON.
        k: how many answers were shown; the labels that are found may lie outside 1..k.
    """
    alone = bare_label(text)
    if alone is not None:
        return Statements((frozenset((alone,)),), frozenset((alone,)))
    text = _CONTROL.sub(" ", text.lower().replace("’", "'"))
    text = text.replace("e.g.", "eg").replace("i.e.", "ie").strip(_WRAP)
    text = _EMPHASIS.sub("", _LINE_MARKUP.sub("", text))
    mentioned = _labels(_mark(text))
    text = _mark(_QUOTED.sub('"', _QUOTED_LINE.sub("", text)))
    text = re.sub(r" +([.,;:!?])", r"\1", re.sub(r"[ \t]+", " ", text)).strip()
    parts = [part.strip() for part in _SENTENCE_END.split(text)]
    sentences = [part for part in parts if part]
    picks = [*_from_sentences(sentences), *_from_lines(text, mentioned)]
    if len(sentences) == 1:
        picks += _from_whole(sentences[0], k)
    picks += [tie for sentence in sentences for tie in _ties(sentence) if mentioned <= tie]
    return Statements(tuple(dict.fromkeys(picks)), mentioned)


def _from_sentences(sentences: list[str]) -> list[frozenset[int]]:
    """Read the sentences that say outright what is taken."""
    picks: list[frozenset[int]] = []
    last, rest = -1, ""
    for number, sentence in enumerate(sentences):
        for pattern in _ANYWHERE:
            if match := pattern.fullmatch(sentence):
                picks.append(_unless_slurred(match))
                last, rest = number, match["rest"]
                break
    if picks and picks[-1] and _takes_back("\n".join((rest, *sentences[last + 1 :])), picks[-1]):
        picks.append(frozenset())
    return picks


def _from_lines(text: str, mentioned: frozenset[int]) -> list[frozenset[int]]:
    """Read a first or last line that is a label and nothing else, or ``Choice: 3``."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    picks: list[frozenset[int]] = []
    for place in {0, len(lines) - 1} if lines else ():
        if match := _CHOICE_LINE.fullmatch(lines[place]):
            said = frozenset((_value(match[1]),))
            after = "\n".join(lines[place + 1 :])
            picks.append(frozenset() if _takes_back(after, said) else said)
        elif (match := _HEADING.fullmatch(lines[place])) and not _REFUSES.search(text):
            # Above a review of several answers, a heading is no choice.
            said = frozenset((_value(match[1]),))
            picks += [said] if mentioned == said else []
    return picks


def _from_whole(sentence: str, k: int) -> list[frozenset[int]]:
    """Read a reply of one sentence, in which a bare number can only be the choice."""
    if _REFUSES.search(sentence):
        return []
    if k == 2 and _TIE_OF_TWO.fullmatch(sentence):
        return [frozenset((1, 2))]
    for pattern in _ALONE:
        if match := pattern.fullmatch(sentence):
            said = _unless_slurred(match)
            return [frozenset() if _takes_back(match["rest"], said) else said]
    return []


def _ties(sentence: str) -> list[frozenset[int]]:
    """Read a sentence that declares two or more answers to be equal."""
    matches = [match for pattern in _TIES if (match := pattern.fullmatch(sentence))]
    return [frozenset(map(_value, re.findall(_ANY, match[1]))) for match in matches]


def _unless_slurred(match: re.Match[str]) -> frozenset[int]:
    """Return what a statement takes; nothing where it is blame, a condition or a question."""
    return frozenset() if _SLUR.search(match[0]) else frozenset((_value(match["label"]),))


def _takes_back(after: str, said: frozenset[int]) -> bool:
    after = _COMPARES.sub("", after)
    return bool(_labels(after) - said) and _UNDOES.search(after) is not None


def _mark(text: str) -> str:
    """Put marks around all labels of a lower-case text; marks that stand already stay."""

    def named(match: re.Match[str]) -> str:
        return f"\x01{_value(match[1])}\x03"

    text = _AFTER_NOUN.sub(lambda labels: _LISTED.sub(named, labels[1]), text)
    for pattern in (_BEFORE_NOUN, _THE_ORDINAL):
        text = pattern.sub(named, text)
    return _BARE.sub(lambda match: f"\x02{_value(match[1])}\x03", text)


def _labels(marked: str) -> frozenset[int]:
    """Return the answers that a marked text names; bare numbers are none."""
    return frozenset(_value(label) for label in re.findall(_NAMED, marked))


def _value(label: str) -> int:
    """Return the number of a label in digits or words, or of a marked one."""
    digits = re.search("[0-9]+", label)
    return int(digits[0]) if digits else _VALUE[label]
