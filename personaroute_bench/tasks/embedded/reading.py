"""Question answering: a passage of invented facts, a question, and a span as the answer.

Example row: a passage on two museums of one town, "In which year was the Marlow Museum
founded?", ground truth "1874". Other values of the same kind in the passage are the traps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from personaroute_bench.tasks.embedded.banks import bank
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import EmbeddedItem, Point, mean_difficulty
from personaroute_bench.tasks.embedded.words import (
    MONTHS,
    NUMBERS,
    SURNAMES,
    TOWNS,
    Person,
    lead_person,
    person,
    sentence,
)
from personaroute_bench.tasks.types import Query

TASK_ID = "passage_qa"
METRIC = "f1_score"
INSTRUCTION = "Answer with a short span of the passage."


@dataclass(frozen=True, slots=True)
class Attribute:
    """One kind of fact: how its value is drawn, told and asked for.

    Every sentence has ``{v}`` for the value and ``{e}`` for the thing it is told of.
    """

    kind: str
    tells: tuple[str, ...]
    asks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of thing that passages are about; ``names`` are patterns with {s} and {t}."""

    name: str
    names: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    lists: Mapping[str, tuple[str, ...]]
    """What attributes of the kind ``list:KEY`` draw from."""


_SIMPLE: Mapping[str, Callable[[Draws], str]] = {
    "year": lambda draws: str(draws.integer(1836, 1998)),
    "person": lambda draws: person(draws.integer(0, 4095)).name,
    "town": lambda draws: draws.pick(TOWNS),
    "month": lambda draws: draws.pick(MONTHS),
    "date": lambda draws: f"{draws.integer(1, 28)} {draws.pick(MONTHS)}",
    "small": lambda draws: draws.pick(NUMBERS[3:]),
    "metres": lambda draws: f"{draws.integer(12, 940)} metres",
    "thousands": lambda draws: f"{draws.integer(4, 98)},{draws.integer(100, 999)}",
    "percent": lambda draws: f"{draws.integer(6, 94)} percent",
}


@lru_cache(maxsize=1)
def domains() -> tuple[Domain, ...]:
    """Return all domains, in the order of their file."""
    return tuple(
        Domain(
            row["name"],
            row["names"],
            tuple(Attribute(**attribute) for attribute in row["attributes"]),
            row["lists"],
        )
        for row in bank("reading")["domains"]
    )


def make(seed: int, index: int, query_id: str, order: int) -> EmbeddedItem:
    """Return item ``index``; ``order`` chooses among the domains (any whole number)."""
    draws = Draws(seed, TASK_ID, index)
    domain = domains()[order % len(domains())]
    lead = lead_person(seed, TASK_ID, index)
    things = draws.integer(1, 3)
    names = _names(draws, domain, things)
    facts = [_facts(draws, domain, lead if thing == 0 else None) for thing in range(things)]
    told = draws.integer(3, len(domain.attributes)) if things > 1 else len(domain.attributes)
    target = draws.integer(0, things - 1)
    places = sorted(draws.sample(range(len(domain.attributes)), told))
    # The leading person stands in every passage, so that no two passages are alike.
    anchor = next(i for i, a in enumerate(domain.attributes) if a.kind == "person")
    places = sorted({*places, anchor})
    asked = draws.pick(places)
    paragraphs = []
    evidence = ""
    for thing, name in enumerate(names):
        lines = []
        for number, place in enumerate(places):
            line = draws.pick(domain.attributes[place].tells)
            clumsy = " of {e}" in line or " at {e}" in line  # "the rooms of it"
            named = number == 0 or clumsy or draws.chance(0.45)
            subject = f"the {name}" if named else "it"
            lines.append(sentence(line.format(e=subject, v=facts[thing][place])))
            if thing == target and place == asked:
                evidence = sentence(line.format(e=f"the {name}", v=facts[thing][place]))
        if draws.chance(0.6):
            lines.insert(draws.integer(1, len(lines)), draws.pick(bank("reading")["fillers"]))
        paragraphs.append(" ".join(lines))
    question = draws.pick(domain.attributes[asked].asks).format(e=f"the {names[target]}")
    answer = facts[target][asked]
    same = [facts[thing][asked] for thing in range(things) if thing != target]
    rest = [facts[target][place] for place in places if place != asked]
    wrong = tuple(value for value in (*same * 2, *rest) if value != answer)
    text = "\n\n".join(paragraphs) + f"\n\nQuestion: {question}"
    base = -0.7 + 0.55 * (things - 1) + 0.12 * len(places)
    return EmbeddedItem(
        query=Query(query_id, TASK_ID, text, f"{text}\n{INSTRUCTION}", answer, METRIC),
        kind=domain.name,
        form="span",
        difficulty=mean_difficulty(base, draws.normal()),
        topic=f"the {names[target]}",
        points=(Point(evidence),),
        answer=answer,
        wrong_answers=wrong,
    )


def _names(draws: Draws, domain: Domain, count: int) -> list[str]:
    surnames, towns = draws.sample(SURNAMES, count), draws.sample(TOWNS, count)
    patterns = draws.shuffled(domain.names)
    return [patterns[i % len(patterns)].format(s=surnames[i], t=towns[i]) for i in range(count)]


def _facts(draws: Draws, domain: Domain, lead: Person | None) -> list[str]:
    """Return one value an attribute; the first person named is the lead, if there is one."""
    facts: list[str] = []
    for attribute in domain.attributes:
        if attribute.kind.startswith("list:"):
            facts.append(draws.pick(domain.lists[attribute.kind[5:]]))
        elif attribute.kind == "person" and lead is not None:
            facts.append(lead.name)
            lead = None
        else:
            facts.append(_SIMPLE[attribute.kind](draws))
    return facts
