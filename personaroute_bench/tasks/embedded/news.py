"""Multi-document summarisation: two to five short reports of one invented event.

Example row: three outlets on a flood, each with some of the facts in its own words, early
figures partly corrected later; the reference is the facts in plain words, one sentence each.
"""

from __future__ import annotations

from typing import Any

from personaroute_bench.tasks.embedded.banks import bank
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import EmbeddedItem, Point, mean_difficulty
from personaroute_bench.tasks.embedded.words import (
    DAYS,
    MONTHS,
    NUMBERS,
    TOWNS,
    lead_person,
    other_person,
    sentence,
)
from personaroute_bench.tasks.types import Query

TASK_ID = "multi_doc_summary"
METRIC = "f1_score"
INSTRUCTION = "Summarise these reports in one short paragraph."


def events() -> tuple[dict[str, Any], ...]:
    """Return all events, in the order of their file."""
    found: tuple[dict[str, Any], ...] = bank("news")["events"]
    return found


def make(seed: int, index: int, query_id: str, order: int) -> EmbeddedItem:
    """Return item ``index``; ``order`` chooses among the events (any whole number)."""
    draws = Draws(seed, TASK_ID, index)
    event = events()[order % len(events())]
    title, facts, choices = event["title"], event["facts"], event["lists"]
    lead = lead_person(seed, TASK_ID, index)
    other = other_person(draws, lead)
    slots = {
        "name": lead.name,
        "last": lead.last,
        "other": other.name,
        "town": draws.pick(TOWNS),
        "day": draws.pick(DAYS),
        "month": draws.pick(MONTHS),
        "small": draws.pick(NUMBERS[2:]),
        "hundreds": str(draws.integer(12, 98) * 10),
        "millions": str(draws.integer(2, 60)),
        "percent": str(draws.integer(51, 94)),
        **{key: draws.pick(values) for key, values in choices.items()},
    }
    wrong = {
        **slots,
        "town": draws.pick([town for town in TOWNS if town != slots["town"]]),
        "day": draws.pick([day for day in DAYS if day != slots["day"]]),
        "small": draws.pick([number for number in NUMBERS[2:] if number != slots["small"]]),
        "hundreds": str(int(slots["hundreds"]) * 2),
        "millions": str(int(slots["millions"]) + 15),
        "percent": str(100 - int(slots["percent"])),
        "name": other.name,
        "other": lead.name,
        **{
            key: draws.pick([value for value in values if value != slots[key]])
            for key, values in choices.items()
        },
    }
    count = draws.integer(5, len(facts))
    told = facts[:count]
    documents = draws.integer(2, 5)
    articles = _articles(draws, told, slots, title.format(**slots), documents)
    conflict = draws.chance(0.4)
    if conflict:
        early = int(slots["hundreds"]) // 10 * draws.integer(4, 7)
        articles[0] += " " + draws.pick(bank("news")["early"]).format(number=early)
    reports = "\n\n".join(articles)
    text = f"Here are {NUMBERS[documents]} reports on the same event. What happened?\n\n{reports}"
    points = tuple(
        Point(sentence(fact[0].format(**slots)), sentence(fact[0].format(**wrong))) for fact in told
    )
    truth = " ".join(point.text for point in points)
    base = -0.5 + 0.25 * (documents - 2) + 0.12 * (count - 5) + 0.5 * conflict
    return EmbeddedItem(
        query=Query(query_id, TASK_ID, text, f"{text}\n\n{INSTRUCTION}", truth, METRIC),
        kind=event["name"],
        form="points",
        difficulty=mean_difficulty(base, draws.normal()),
        topic=title.format(**slots),
        points=points,
        separator=" ",
    )


def _articles(
    draws: Draws,
    facts: tuple[tuple[str, ...], ...],
    slots: dict[str, str],
    title: str,
    documents: int,
) -> list[str]:
    """Return the reports: each fact stands in at least one, in words that vary."""
    outlets = draws.sample(bank("news")["outlets"], documents)
    articles = []
    for number, outlet in enumerate(outlets):
        lines = [draws.pick(bank("news")["openers"]).format(title=title)]
        for place, fact in enumerate(facts):
            if place % documents == number or draws.chance(0.45):
                lines.append(draws.pick(fact[1:]).format(**slots))
        lines.insert(draws.integer(1, len(lines)), draws.pick(bank("news")["fillers"]))
        body = " ".join(sentence(line) for line in lines)
        articles.append(f"[{outlet.format(**slots)}] {body}")
    return articles
