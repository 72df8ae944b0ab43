"""How a simulated LLM writes: from an item and its traits to the text of one answer.

The order is that of a writer: what is known (right or wrong by the item-response model), what is
said of it (coverage, asides), how it is laid out (bullets, steps, headings), how it sounds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from personaroute_bench.llms import simulated_phrases as phrases
from personaroute_bench.llms.simulated_traits import DISCRIMINATION, Traits
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import EmbeddedItem, Point, equation, worked

_WORD = re.compile(r"[A-Za-z]+")
_INTEGER = re.compile(r"\d+")
_LATEX = str.maketrans({"×": "\\times", "÷": "\\div", "−": "-"})
_SLIPS = (1, -1, 2, -2, 10, -10, 20, 5)
# The first point of an open answer is easier than an item of its difficulty, the later harder.
_POINT_EASE, _POINT_SLOPE = 0.5, 0.15
GUESSING = 0.05
"""Lower asymptote c of the item-response model where the answer is one of a few spans."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One LLM about to answer one prompt: its traits, and draws of its own."""

    model: str
    traits: Traits
    draws: Draws

    def knows(self, item: EmbeddedItem, *, ease: float = 0.0, guessing: float = 0.0) -> bool:
        """Draw whether it is right: P = c + (1 − c) σ(a (ability − difficulty))."""
        ability = self.traits.ability(self.model, item.query.task_id, item.kind)
        chance = 1.0 / (1.0 + math.exp(-DISCRIMINATION * (ability - item.difficulty + ease)))
        return self.draws.chance(guessing + (1.0 - guessing) * chance)

    def opening(self, topic: str) -> str:
        """Return an opening line in its tone, or nothing."""
        return self._line(self.traits.opens, phrases.OPENINGS, topic)

    def closing(self, topic: str) -> str:
        """Return a closing line in its tone, or nothing."""
        return self._line(self.traits.closes, phrases.CLOSINGS, topic)

    def _line(self, share: float, bank: Mapping[str, tuple[str, ...]], topic: str) -> str:
        if not self.draws.chance(share):
            return ""
        line = self.draws.pick(bank[self.traits.tone]).format(topic=topic)
        if self.draws.chance(self.traits.emoji):
            line += " " + self.draws.pick(phrases.EMOJI)
        return line

    def asides(self, family: str, topic: str, mean: float) -> list[str]:
        """Return further sentences, on average ``mean`` of them."""
        bank = phrases.ASIDES.get(family, phrases.ASIDES["instruction_following"])
        count = int(mean * (0.4 + 1.2 * self.draws.uniform()) + 0.5)
        return [line.format(topic=topic) for line in self.draws.sample(bank, count)]

    def say(self, text: str) -> str:
        """Return a sentence in its own words: some synonyms, and perhaps a reservation."""
        if self.traits.rewording:
            text = _WORD.sub(self._reword, text)
        if text.endswith(".") and self.draws.chance(self.traits.hedges):
            text = text[:-1] + self.draws.pick(phrases.HEDGES)
        return text

    def _reword(self, match: re.Match[str]) -> str:
        word = match[0]
        other = phrases.SYNONYMS.get(word.lower())
        if other is None or not self.draws.chance(self.traits.rewording):
            return word
        return other.capitalize() if word[0].isupper() else other


def write(item: EmbeddedItem, voice: Voice) -> str:
    """Return the answer of one simulated LLM to one item."""
    if item.form == "steps":
        return _calculation(item, voice)
    if item.form == "span":
        return _span(item, voice)
    return _open(item, voice)


def ramble(voice: Voice, text: str, words: int) -> str:
    """Return the text, followed by repetitions until it has at least ``words`` words."""
    parts = [text]
    length = len(text.split())
    while length < words:
        line = " ".join(voice.asides("", "this", 6.0)) or "And so on."
        parts.append(line)
        length += len(line.split())
    return "\n\n".join(parts)


def _calculation(item: EmbeddedItem, voice: Voice) -> str:
    """Worked steps and a final number; a slip goes on through the later steps."""
    traits, draws = voice.traits, voice.draws
    right = voice.knows(item)
    lines, answer = _steps(item, voice, right)
    in_words = draws.chance(traits.working)
    if draws.chance(traits.numbered):
        lines = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    elif in_words and draws.chance(traits.bullets):
        lines = [f"- {line}" for line in lines]
    notes = voice.asides(item.query.task_id, item.topic, traits.extra * 0.6)
    before = draws.pick(phrases.PREAMBLES) if draws.chance(traits.extra / 4.0) else ""
    if draws.chance(traits.format_slip):
        ending = f"So that makes {answer} in the end, and it took {len(lines)} steps."
    elif draws.chance(traits.bold):
        ending = f"The answer is **{answer}**.\n#### {answer}"
    else:
        ending = f"#### {answer}"
    opening, closing = voice.opening(item.topic), voice.closing(item.topic)
    return _paragraphs(opening, before, "\n".join(lines), " ".join(notes), closing, ending)


def _steps(item: EmbeddedItem, voice: Voice, right: bool) -> tuple[list[str], str]:
    """Return the lines of the working and the final number, right or wrong."""
    traits, draws = voice.traits, voice.draws
    if not item.steps:  # a worked solution from a file: no operations are known
        lines = [voice.say(point.text) for point in item.points]
        return lines, item.answer if right else draws.pick(item.wrong_answers)
    truth = worked(item.steps)
    results = truth
    if not right:
        place = draws.integer(0, len(item.steps) - 1)
        by = draws.pick(_SLIPS)
        results = worked(item.steps, place, abs(by) if truth[place] + by <= 0 else by)
        if results[-1] == truth[-1] or min(results) <= 0:  # the slip came to nothing, or to less
            results = [*truth[:-1], truth[-1] + abs(by)]
    latex = draws.chance(traits.latex)
    lines = []
    for place, step in enumerate(item.steps):
        told = equation(step, results, place)
        if latex:
            told = f"\\({told.translate(_LATEX)}\\)"
        in_words = draws.chance(traits.working)
        lines.append(voice.say(step.text.format(eq=told)) if in_words else told)
    return lines, str(results[-1])


def _span(item: EmbeddedItem, voice: Voice) -> str:
    """A short answer: the bare span, or a sentence or two around it."""
    traits, draws = voice.traits, voice.draws
    right = voice.knows(item, guessing=GUESSING) or not item.wrong_answers
    answer = item.answer if right else draws.pick(item.wrong_answers)
    if '"answer"' in item.query.prompt:  # asked for as a field of a JSON object
        reasoning = " ".join(voice.asides("passage_qa", item.topic, 1.0 + traits.extra))
        return json.dumps({"reasoning": reasoning, "answer": answer}, ensure_ascii=False)
    if item.fixed or draws.chance(traits.follows):
        return answer
    told = f"**{answer}**" if draws.chance(traits.bold) else answer
    parts = [
        draws.pick(
            (
                f"The answer is {told}.",
                f"According to the passage, it is {told}.",
                f"It is {told}.",
            )
        )
    ]
    parts[0] = voice.say(parts[0])
    if right and item.points and item.points[0].text and draws.chance(0.15 * traits.extra):
        parts.append(f'The passage says: "{item.points[0].text}"')
    parts += voice.asides(item.query.task_id, item.topic, traits.extra * 0.35)
    opening = voice.opening(item.topic) if draws.chance(0.5) else ""
    closing = voice.closing(item.topic) if draws.chance(0.3) else ""
    return _paragraphs(opening, " ".join(parts), closing)


def _open(item: EmbeddedItem, voice: Voice) -> str:
    """An open answer: as many points as it cares to make, some false, in its layout."""
    traits, draws = voice.traits, voice.draws
    points = _chosen_points(item, voice)
    if item.fixed:
        return _fixed(item, voice, points)
    lines = [voice.say(point) for point in points]
    family, topic = item.query.task_id, item.topic
    summary = family == "multi_doc_summary"
    asides = voice.asides(family, topic, traits.extra * (0.5 if summary else 0.8))
    if item.head:  # a letter stays a letter; remarks stand outside it
        body = f"{item.head.strip()}\n\n{' '.join(lines)}\n\n{item.tail.strip()}"
        return _paragraphs(
            voice.opening(topic), body, " ".join(asides[: len(asides) // 2]), voice.closing(topic)
        )
    if not summary and draws.chance(traits.bullets):
        body = "\n".join(f"- {_lead(line, voice)}" for line in lines)
    elif not summary and draws.chance(traits.numbered):
        body = "\n".join(f"{n}. {_lead(line, voice)}" for n, line in enumerate(lines, start=1))
    elif item.separator == "\n":
        body = "\n".join(lines)
    else:
        body = " ".join(lines)
    if draws.chance(traits.headings):
        body = f"## {topic[:1].upper()}{topic[1:]}\n\n{body}"
    return _paragraphs(voice.opening(topic), body, " ".join(asides), voice.closing(topic))


def _chosen_points(item: EmbeddedItem, voice: Voice) -> list[str]:
    """Return the points it makes, true or false; never none."""
    traits, draws = voice.traits, voice.draws
    coverage = 1.0 - (1.0 - traits.coverage) * (0.15 if item.fixed else 1.0)
    said: list[str] = []
    for place, point in enumerate(item.points):
        true = voice.knows(item, ease=_POINT_EASE - _POINT_SLOPE * place)
        if not draws.chance(coverage):
            continue
        if true:
            said.append(point.text)
        elif point.slip:
            said.append(point.slip)
    if not said:
        first: Point = item.points[0] if item.points else Point("")
        said.append(first.slip or first.text)
    return said


def _fixed(item: EmbeddedItem, voice: Voice, points: list[str]) -> str:
    """Lay out what has a requested format, with remarks around it from the talkative."""
    traits, draws = voice.traits, voice.draws
    body = item.head + item.separator.join(points) + item.tail
    if item.head.startswith("{"):
        if draws.chance(traits.bold):
            body = f"```json\n{body}\n```"
        if draws.chance(traits.format_slip):
            body = "\n".join(point.strip().replace('"', "") for point in points)
    remark = " ".join(voice.asides(item.query.task_id, item.topic, traits.extra * 0.3))
    opening = voice.opening(item.topic) if draws.chance(0.7) else ""
    return _paragraphs(opening, body, remark)


def _lead(line: str, voice: Voice) -> str:
    """Set the words before a colon, or the first two, in bold type where it likes bold."""
    if not voice.draws.chance(voice.traits.bold):
        return line
    if ": " in line:
        first, rest = line.split(": ", 1)
        return f"**{first}:** {rest}"
    words = line.split(" ")
    return f"**{' '.join(words[:2])}** {' '.join(words[2:])}".strip()


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def wrong_numbers(answer: str) -> tuple[str, ...]:
    """Return plausible slips of an answer with digits in it, none equal to it."""
    found = _INTEGER.search(answer)
    if found is None:
        return ()
    value = int(found[0])
    near = {value + 1, value + 10, value * 2 + 1, abs(value - 1)} - {value}
    head, tail = answer[: found.start()], answer[found.end() :]
    return tuple(f"{head}{other}{tail}" for other in sorted(near))
