"""Token F1 and exact match between a response and its reference."""

from __future__ import annotations

import re
import string
from collections import Counter
from functools import lru_cache

from personaroute_bench.scoring.registry import register_metric
from personaroute_bench.scoring.structured import final_answer

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = frozenset({"a", "an", "the"})
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_ESCAPE = re.compile(r"\\([\\'\"nrt])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_SINGLE = re.compile(r"\[\s?([^\[\]]{1,200})\]\W*\Z")
_SPACE = re.compile(r"\s+")


def tokens(text: str) -> list[str]:
    """Return the words of a text after SQuAD's normalisation.

    Lower case, ASCII punctuation removed (not replaced: ``it's`` becomes ``its``), the articles
    a, an and the removed, split at white space (Rajpurkar et al., arXiv 1606.05250).

    >>> tokens("The cat's  hat, a hat!")
    ['cats', 'hat', 'hat']
    """
    words = text.lower().translate(_NO_PUNCTUATION).split()
    if text.isascii():
        return [word for word in words if word not in _ARTICLES]
    found: list[str] = []
    for word in words:
        if word.isalnum():
            if word not in _ARTICLES:
                found.append(word)
        else:  # a Unicode dash or quote bounds words too: “the → “
            found.extend(_ARTICLE.sub(" ", word).split())
    return found


@lru_cache(maxsize=4096)
def _reference_counts(text: str) -> Counter[str]:
    # One reference is compared with the responses of every LLM.
    return Counter(tokens(text))


@register_metric("f1_score")
def f1_score(response: str, ground_truth: str) -> float:
    """Return the harmonic mean of precision and recall over the multiset of tokens.

    With k tokens in common, F1 = 2k / (tokens of the response + tokens of the reference). Two
    texts that both have no tokens at all are equal, 1.0 (SQuAD 2's convention); one of them, 0.0.
    """
    truth = _reference_counts(ground_truth)
    given = Counter(tokens(response))
    total = truth.total() + given.total()
    if total == 0:
        return 1.0
    small, large = (given, truth) if len(given) < len(truth) else (truth, given)
    common = sum(min(count, large[token]) for token, count in small.items() if token in large)
    return 2.0 * common / total


@register_metric("em")
def em(response: str, ground_truth: str) -> float:
    """Return 1.0 where the final answer equals the reference, else 0.0.

    The final answer is the JSON field ``answer``, else the content of the last ``[[…]]``, else
    the whole response. Quotes and white space around either side do not count; nothing is
    evaluated, so ``{"a": 1}`` and ``{'a': 1}`` differ. A reference in double brackets is compared
    without any white space, quotes at its ends or order among alternatives joined by ``or``;
    single brackets at the end of the response then do as well.
    """
    answer = final_answer(response)
    truth = ground_truth.strip()
    if truth.startswith("[[") and truth.endswith("]]"):
        if answer == response.strip():  # no field and no double brackets: perhaps single ones
            single = _SINGLE.search(response)
            answer = single[1] if single else answer
        return float(_alternatives(answer) == _alternatives(truth))
    wanted = _unquote(truth)
    return float(wanted in (answer, _unquote(answer)))


def _unquote(text: str) -> str:
    """Strip white space, then one pair of quotes with the escapes inside it."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
        return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
    return text


def _alternatives(text: str) -> frozenset[str]:
    """Return what is left of ``[[4 or -12]]`` without brackets and space, as a set: {4, -12}."""
    parts = _SPACE.sub("", text).split("or")
    return frozenset(part.strip("[]\"'") for part in parts)
