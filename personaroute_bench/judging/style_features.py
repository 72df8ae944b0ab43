"""Style read off a text: one pass that finds its parts, then one small formula a dimension.

Every count is linear in the length of the text: tokens and symbols by regular expressions that
cannot backtrack far, phrases by ``str.count`` on the normalised tokens. Manner is a density, so
that a longer answer is not also the kinder one; a density is shrunk (k markers in w words count
as k / (w + 50)), so that one marker in a short answer does not outweigh ten in a long one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from personaroute_bench.judging import lexicon

READ_CHARACTERS = 50_000
"""Manner is read from so much of a text; only the length counts the rest."""

_SHRINK_WORDS = 50.0
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"')*]|\Z)|[。！？]")
_MARKED_LINE = re.compile(r"#{1,6} |[-*+•] |\d{1,3}[.)] |\|")
_NUMBERED_LINE = re.compile(r"[#* ]{0,8}(?:[Ss]tep )?\d{1,3}[.):]")
_CALCULATION = re.compile(r"\d(?: ?[=+*/×÷<>−] ?| - )(?=\$?\d)")  # 2019-2020 is none
_OPERATORS = "=+^<>$"
_MATHEMATICS = re.compile("[×÷≤≥≠≈√∑∫∞π→∈∀∃]")
_LATEX = re.compile(r"\\[A-Za-z]+|\\[\[(]|\$\$")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u26ff\u2728\u2764]")
_EMOTICON = re.compile(r"[:;](?<!\S.)-?[)dp](?!\w)")
_CONTRACTION = ("n't ", "'re ", "'ll ", "'ve ", "'m ", "'d ")
_ABSTRACT = ("tion", "sion", "ment", "ity", "ance", "ence", "ness", "ism")
_ESCAPED_BREAK = re.compile(r"(?<!\\)\\[nt]")
_JSON_FENCE = re.compile(r"```json\b")
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'"})


@dataclass(frozen=True)
class Text:
    """A response taken apart; what several dimensions need is found once."""

    raw: str

    @cached_property
    def clean(self) -> str:
        """The first `READ_CHARACTERS`, with an answer in JSON read as the text that it holds.

        Tasks that demand JSON make every LLM write line breaks as ``\\n`` inside a string; that
        is the task's wish, not the LLM's style.
        """
        text = self.raw[:READ_CHARACTERS]
        if not text.isascii():
            text = text.translate(_APOSTROPHES)
        if '":' in text:
            text = _ESCAPED_BREAK.sub("\n", _JSON_FENCE.sub("", text))
        return text

    @cached_property
    def lower(self) -> str:
        """`clean` in lower case."""
        return self.clean.lower()

    @cached_property
    def tokens(self) -> list[str]:
        """Words and numbers in lower case, contractions whole."""
        return _TOKEN.findall(self.lower)

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each token occurs."""
        return Counter(self.tokens)

    @cached_property
    def words(self) -> int:
        """Number of tokens that begin with a letter."""
        return sum([n for token, n in self.counts.items() if token[0].isalpha()])

    @cached_property
    def flow(self) -> str:
        """The tokens with one space around each, in which phrases are looked up."""
        return f" {' '.join(self.tokens)} "

    @cached_property
    def content_words(self) -> int:
        """Number of distinct tokens that are no stop words."""
        return len(self.counts.keys() - lexicon.STOP_WORDS)

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank, without white space around them."""
        return [line for line in map(str.strip, self.clean.splitlines()) if line]

    @cached_property
    def sentences(self) -> int:
        """Number of sentences, or of lines where these are more; at least 1."""
        return max(1, len(self.lines), len(_SENTENCE_END.findall(self.clean)))

    @cached_property
    def numbered_lines(self) -> int:
        """Number of lines that begin like ``1.``, ``2)`` or ``**Step 3:``."""
        return sum(1 for line in self.lines if _NUMBERED_LINE.match(line))

    @cached_property
    def calculations(self) -> int:
        """Number of places such as ``3 * 4`` or ``= 12`` between digits."""
        return len(_CALCULATION.findall(self.clean))

    @cached_property
    def emoji(self) -> int:
        """Number of emoji, and of emoticons that stand alone."""
        found = 0 if self.clean.isascii() else len(_EMOJI.findall(self.clean))
        return found + len(_EMOTICON.findall(self.lower))

    @cached_property
    def exclamations(self) -> int:
        """Number of exclamation marks, ``!=`` of programs not counted."""
        return self.clean.count("!") - self.clean.count("!=")

    def count(self, entries: tuple[str, ...]) -> int:
        """Return how often the words and phrases of a lexicon list occur."""
        counts, flow = self.counts, self.flow
        words, phrases = _words_and_phrases(entries)
        found = sum([counts[word] for word in counts.keys() & words])
        # A phrase can only be there if its first word is, and most are not.
        for first in counts.keys() & phrases.keys():
            found += sum(map(flow.count, phrases[first]))
        return found

    def density(self, count: float) -> float:
        """Return a count as shrunken markers per hundred words, then damped: ln(1 + d)."""
        return math.log1p(100.0 * max(count, 0.0) / (self.words + _SHRINK_WORDS))


@lru_cache(maxsize=64)
def _words_and_phrases(
    entries: tuple[str, ...],
) -> tuple[frozenset[str], dict[str, list[str]]]:
    """Part a list into words, counted as tokens, and phrases by first word, for the flow."""
    cut = [" ".join(_TOKEN.findall(entry)) for entry in entries]
    phrases: dict[str, list[str]] = {}
    for entry in cut:
        first, space, _ = entry.partition(" ")
        if space:
            phrases.setdefault(first, []).append(f" {entry} ")
    return frozenset(entry for entry in cut if " " not in entry), phrases


def length(text: Text) -> float:
    """ln(1 + standard words), a standard word being five characters without white space."""
    return math.log1p(len("".join(text.raw.split())) / 5.0)


def depth(text: Text) -> float:
    """Connectives of reason and contrast, and the vocabulary that the answer brings in."""
    return math.log1p(2.0 * text.count(lexicon.REASON)) + math.log1p(text.content_words / 20.0)


def structure(text: Text) -> float:
    """Marked lines (headings, bullets, numbers, tables), their share of all, and bold spans."""
    marked = sum(1 for line in text.lines if _MARKED_LINE.match(line))
    bold = text.clean.count("**") // 2
    return math.log1p(marked + 0.5 * bold) + marked / max(len(text.lines), 1)


def steps(text: Text) -> float:
    """Ordinal words, numbered lines and calculations written out."""
    stages = text.count(lexicon.SEQUENCE) + text.numbered_lines + text.calculations
    return math.log1p(stages)


def simplicity(text: Text) -> float:
    """Minus the school grade that the text asks for: the mean of two character-based indices.

    Automated Readability Index (Senter and Smith, 1967): 4.71 letters/word + 0.5 words/sentence
    − 21.43; Coleman and Liau (1975): 5.88 letters/word − 29.6 sentences/word − 15.8. Both need
    neither syllables nor a dictionary. Ten words of grade 8 are added, so that an answer of two
    words gets no wild grade.
    """
    words = text.words
    if not words:
        return -8.0
    letters = sum([len(word) * n for word, n in text.counts.items() if word[0].isalpha()]) / words
    per_sentence = words / text.sentences
    readability = 4.71 * letters + 0.5 * min(per_sentence, 60.0) - 21.43
    coleman_liau = 5.88 * letters - 29.6 / per_sentence - 15.8
    grade = min(max((readability + coleman_liau) / 2.0, -5.0), 30.0)
    return -(words * grade + 80.0) / (words + 10.0)


def formality(text: Text) -> float:
    """Formal connectives and abstract nouns, less contractions, casual words and address."""
    counts = text.counts
    abstract = sum([n for word, n in counts.items() if len(word) > 6 and word.endswith(_ABSTRACT)])
    contracted = sum([text.flow.count(ending) for ending in _CONTRACTION])
    formal = text.density(2.0 * text.count(lexicon.FORMAL) + 0.5 * abstract)
    casual = contracted + text.count(lexicon.CASUAL) + text.exclamations + text.emoji
    return formal - text.density(casual + 0.5 * text.count(lexicon.PERSONAL))


def warmth(text: Text) -> float:
    """Kind and encouraging words, and half as much for each word that addresses the reader."""
    return text.density(text.count(lexicon.KIND) + 0.5 * text.count(lexicon.READER))


def humour(text: Text) -> float:
    """Playful words, emoji and emoticons; exclamation marks count half."""
    playful = text.count(lexicon.PLAYFUL) + 2.0 * text.emoji + 0.5 * text.exclamations
    return text.density(playful)


def directness(text: Text) -> float:
    """Minus what stands in the way: courtesies first, hedges, a late verdict, a question back."""
    opening = Text(" ".join(text.clean[:400].split()[:15])).count(lexicon.PREAMBLE)
    delay = 0.0
    if text.words > 40:
        last = max(text.flow.rfind(f" {phrase} ") for phrase in lexicon.VERDICT)
        delay = max(last, 0) / len(text.flow)
    back = 1.0 if text.clean.rstrip(" \n\t\"'*)}`").endswith("?") else 0.0
    hedges = text.density(text.count(lexicon.HEDGE))
    return -(0.5 * min(opening, 3) + hedges + delay + back)


def examples(text: Text) -> float:
    """Phrases that open an example, a comparison or a scene to imagine."""
    return text.density(text.count(lexicon.EXAMPLE))


def formulas(text: Text) -> float:
    """Symbols, LaTeX and calculations per character, and the share of the text that is code."""
    clean = text.clean
    parts = clean.split("```")
    code = sum(map(len, parts[1::2])) if len(parts) > 2 else 0
    inline = (clean.count("`") - 3 * (len(parts) - 1)) // 2
    marks = sum([clean.count(mark) for mark in _OPERATORS])
    if not clean.isascii():
        marks += len(_MATHEMATICS.findall(clean))
    latex = len(_LATEX.findall(clean)) if "\\" in clean else 0
    weight = marks + 2 * latex + text.calculations + 3 * max(inline, 0)
    return math.log1p(100.0 * weight / (len(clean) + 200.0)) + 2.0 * code / (len(clean) + 200.0)


def relevance(text: Text, query: str) -> float:
    """Cosine of the content terms of response and query, counts damped as 1 + ln n, in [0, 1].

    Terms are words and numbers cut to six characters, which brings most inflections together.
    For questions about a passage the passage is part of the query, and so of this measure.
    """
    wanted, norm = _query_vector(query)
    given = _term_weights(text.counts)
    length_ = math.sqrt(math.fsum(weight * weight for weight in given.values()))
    if norm == 0.0 or length_ == 0.0:
        return 0.0
    shared = math.fsum(weight * given[term] for term, weight in wanted.items() if term in given)
    return min(1.0, shared / (norm * length_))


def _term_weights(counts: Counter[str]) -> dict[str, float]:
    """Return 1 + ln n for each content term, tokens cut to six characters."""
    terms: dict[str, int] = {}
    for token, count in counts.items():
        if token not in lexicon.STOP_WORDS:
            stem = token[:6]
            terms[stem] = terms.get(stem, 0) + count
    return {term: 1.0 + math.log(count) for term, count in terms.items()}


@lru_cache(maxsize=1024)
def _query_vector(query: str) -> tuple[dict[str, float], float]:
    """Return the term weights of a query and their Euclidean norm."""
    # One query is compared with the responses of every LLM.
    weights = _term_weights(Text(query).counts)
    return weights, math.sqrt(math.fsum(weight * weight for weight in weights.values()))
