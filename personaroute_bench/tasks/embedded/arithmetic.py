"""Maths word problems: 26 stories of two to five operations on whole numbers.

Example row: "Amina Falk bakes 6 trays of rolls with 12 rolls on each tray. She keeps 8 rolls
for her family and sells the rest for $3 each. How many dollars does Amina earn?", whose ground
truth works out 6 × 12 = 72, 72 − 8 = 64, 64 × 3 = 192 and ends in ``#### 192``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from personaroute_bench.tasks.embedded.banks import bank
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import (
    EmbeddedItem,
    Point,
    Step,
    equation,
    mean_difficulty,
    worked,
)
from personaroute_bench.tasks.embedded.words import TOWNS, lead_person, other_person
from personaroute_bench.tasks.types import Query

TASK_ID = "math_word_problems"
METRIC = "GSM8K"
INSTRUCTION = "Work it out step by step and end with a last line of the form '#### number'."
_OPERATION = re.compile(r"^\s*(#?\w+)\s*([-+*/])\s*(#?\w+)\s*$")


@dataclass(frozen=True, slots=True)
class Story:
    """A word problem with slots.

    ``numbers`` gives the range of every number (both ends included), ``derived`` numbers that
    follow from them, so that divisions come out even; ``steps`` pairs a sentence with an
    operation on slots (``trays * rolls``) or earlier results (``#0 - kept``).
    """

    name: str
    text: str
    ask: str
    numbers: Mapping[str, tuple[int, int]]
    steps: tuple[tuple[str, str], ...]
    unit: str = ""
    """``money`` where the answer is a sum of dollars in somebody's pocket."""
    derived: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@lru_cache(maxsize=1)
def stories() -> tuple[Story, ...]:
    """Return all stories, in the order of their file."""
    return tuple(Story(**row) for row in bank("arithmetic")["stories"])


def make(seed: int, index: int, query_id: str, order: int) -> EmbeddedItem:
    """Return item ``index``; ``order`` chooses among the stories (any whole number)."""
    draws = Draws(seed, TASK_ID, index)
    story = stories()[order % len(stories())]
    who = lead_person(seed, TASK_ID, index)
    slots: dict[str, str] = {
        **who.slots(),
        **other_person(draws, who).slots("o_"),
        "town": draws.pick(TOWNS),
        **{name: draws.pick(choices) for name, choices in story.words.items()},
    }
    numbers = {name: draws.integer(low, high) for name, (low, high) in story.numbers.items()}
    for name, expression in story.derived.items():
        numbers[name] = worked([_step("", expression, numbers)])[0]
    steps = [_step(text, operation, numbers) for text, operation in story.steps]
    body, ask = story.text, story.ask
    if story.unit == "money" and draws.chance(0.5):
        body, ask, steps = _extend(draws, body, steps, numbers)
    distractor = draws.chance(0.35)
    if distractor:
        numbers["d"] = draws.integer(2, 95)
        body = f"{body} {draws.pick(bank('arithmetic')['distractors'])}"
    slots |= {name: str(value) for name, value in numbers.items()}
    # The leading person is introduced by the full name, and called by the first name later.
    text = f"{body} {ask}".replace("{who}", "{name}", 1).format(**slots)
    steps = [
        Step(step.text.format(eq="{eq}", **slots), step.left, step.op, step.right) for step in steps
    ]
    results = worked(steps)
    points = tuple(
        Point(step.text.format(eq=equation(step, results, place)))
        for place, step in enumerate(steps)
    )
    truth = "\n".join(point.text for point in points) + f"\n#### {results[-1]}"
    large = sum(value >= 100 for value in results) + sum(step.op in "*/" for step in steps)
    base = -1.1 + 0.4 * (len(steps) - 2) + 0.5 * distractor + 0.18 * large
    return EmbeddedItem(
        query=Query(query_id, TASK_ID, text, f"{text}\n\n{INSTRUCTION}", truth, METRIC),
        kind=story.name,
        form="steps",
        difficulty=mean_difficulty(base, draws.normal()),
        topic=f"{who.first}'s problem",
        points=points,
        answer=str(results[-1]),
        steps=tuple(steps),
    )


def _step(text: str, operation: str, numbers: Mapping[str, int]) -> Step:
    found = _OPERATION.match(operation)
    if found is None:
        raise ValueError(f"cannot read the operation {operation!r}")
    left, op, right = found.groups()
    return Step(text, _value(left, numbers), op, _value(right, numbers))


def _value(name: str, numbers: Mapping[str, int]) -> int | str:
    if name.startswith("#"):
        return name
    return int(name) if name.isdigit() else numbers[name]


def _extend(
    draws: Draws, body: str, steps: list[Step], numbers: dict[str, int]
) -> tuple[str, str, list[Step]]:
    """Add one more thing that happens to the money: a harder problem of the same story."""
    so_far = worked(steps)[-1]
    ending = draws.pick(bank("arithmetic")["endings"])
    low, high = (1, max(1, so_far - 1)) if ending["spends"] else (5, 90)
    numbers["x"] = draws.integer(low, high)
    step = _step(str(ending["step"]), f"#{len(steps) - 1} {ending['op']} x", numbers)
    return f"{body} {ending['text']}", str(ending["ask"]), [*steps, step]
