"""Instruction following: fourteen kinds of everyday requests, each with a written reference.

Example row: "Turn the following note into a list of tasks with a person and a day each: …",
whose reference is one line a task. The reference is what token F1 compares with, so it says
what a good answer must contain, in plain words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from personaroute_bench.tasks.embedded.banks import bank
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import EmbeddedItem, Point, mean_difficulty
from personaroute_bench.tasks.embedded.words import (
    DAYS,
    MONTHS,
    TOWNS,
    Person,
    counted,
    lead_person,
    listing,
    other_person,
    person,
    with_article,
)
from personaroute_bench.tasks.types import Query

TASK_ID = "instruction_following"
METRIC = "f1_score"


class Draft:
    """What a kind fills in: the user's words and the parts of the reference."""

    def __init__(
        self,
        text: str,
        points: list[Point],
        *,
        topic: str,
        base: float,
        head: str = "",
        separator: str = "\n",
        tail: str = "",
        fixed: bool = False,
    ) -> None:
        self.text, self.points, self.topic, self.base = text, points, topic, base
        self.head, self.separator, self.tail, self.fixed = head, separator, tail, fixed


def make(seed: int, index: int, query_id: str, order: int) -> EmbeddedItem:
    """Return item ``index``; ``order`` chooses among the kinds (any whole number)."""
    draws = Draws(seed, TASK_ID, index)
    kind = KINDS[order % len(KINDS)]
    draft = kind(draws, lead_person(seed, TASK_ID, index))
    truth = draft.head + draft.separator.join(point.text for point in draft.points) + draft.tail
    return EmbeddedItem(
        query=Query(query_id, TASK_ID, draft.text, draft.text, truth, METRIC),
        kind=kind.__name__.lstrip("_"),
        form="points",
        difficulty=mean_difficulty(draft.base, draws.normal()),
        topic=draft.topic,
        points=tuple(draft.points),
        head=draft.head,
        separator=draft.separator,
        tail=draft.tail,
        fixed=draft.fixed,
    )


def _bank(name: str) -> Any:
    return bank("instruction")[name]


def _rewrite_politely(draws: Draws, who: Person) -> Draft:
    chosen = draws.sample(_bank("blunt"), 3)
    other, town = other_person(draws, who), draws.pick(TOWNS)
    blunt = " ".join(rude for rude, _, _ in chosen)
    tone = draws.pick(("polite", "friendly and formal", "courteous", "calm and professional"))
    text = (
        f"Rewrite this message from {who.name} to {other.name} of the {town} office in "
        f'{with_article(tone)} tone, keeping every request: "{blunt}"'
    )
    points = [Point(polite, slip) for _, polite, slip in chosen]
    return Draft(
        text,
        points,
        topic="the message",
        base=-0.3,
        head=f"Dear {other.first}, ",
        separator=" ",
        tail=f" Kind regards, {who.first}",
    )


def _write_email(draws: Draws, who: Person) -> Draft:
    matter, lines = draws.pick(_bank("emails"))
    other = other_person(draws, who)
    slots = {
        "day": draws.pick(DAYS),
        "hour": str(draws.integer(8, 17)),
        "town": draws.pick(TOWNS),
        "count": str(draws.integer(3, 18)),
        "month": draws.pick(MONTHS),
    }
    wrong = {**slots, "day": "Sunday", "hour": str(int(slots["hour"]) + 1), "count": "twenty"}
    text = (
        f"Write a short email from {who.name} to {other.name} {matter.format(**slots)}. "
        f"Keep it under {draws.pick((80, 100, 120))} words."
    )
    points = []
    for line in lines:
        right, false = line.format(**slots), line.format(**wrong)
        points.append(Point(right, false if false != right else ""))
    return Draft(
        text,
        points,
        topic="the email",
        base=-0.4,
        head=f"Dear {other.first}, ",
        separator=" ",
        tail=f" Best wishes, {who.name}",
    )


def _explain(draws: Draws, who: Person) -> Draft:
    concept, sentences = draws.pick(_bank("concepts"))
    reader = draws.pick(_bank("readers")).format(name=who.name, age=draws.integer(9, 15))
    count = draws.integer(4, len(sentences))
    text = draws.pick(
        (
            f"Explain {concept} to {reader} in about {counted(count, 'sentence')}.",
            f"What is {concept}? Answer in about {count} sentences that suit {reader}.",
            f"I have to explain {concept} to {reader}. Write about {count} sentences for me.",
        )
    )
    points = [Point(good, bad) for good, bad in sentences[:count]]
    return Draft(text, points, topic=concept, base=0.1, separator=" ")


def _list_things(draws: Draws, who: Person) -> Draft:
    occasion, bank = draws.pick(_bank("packing"))
    count, days = draws.integer(5, 6), draws.integer(2, 12)
    by_name = draws.chance(0.5)
    chosen = list(bank[:count])
    if by_name:
        chosen.sort()
    order = "in alphabetical order" if by_name else "with the most important first"
    text = (
        f"{who.name} goes on {with_article(occasion)} for {days} days. List {count} things to "
        f"pack, {order}, each with the reason in a few words."
    )
    points = [Point(f"{thing}: {reason}", "") for thing, reason in chosen]
    return Draft(text, points, topic=f"the {occasion}", base=0.4)


def _classify(draws: Draws, who: Person) -> Draft:
    labels = ("complaint", "praise", "question")
    place = draws.pick(_bank("places"))
    drawn = [(draws.pick(labels)) for _ in range(draws.integer(4, 6))]
    lines, points = [], []
    used: set[str] = set()
    for number, label in enumerate(drawn, start=1):
        remark = draws.pick([text for text in _bank("remarks")[label] if text not in used])
        used.add(remark)
        lines.append(f"{number}. {remark.format(place=place)}")
        false = draws.pick([other for other in labels if other != label])
        points.append(Point(f"{number}. {label}", f"{number}. {false}"))
    text = (
        f"{who.name} runs {with_article(place)} in {draws.pick(TOWNS)} and got these remarks. "
        "Label each one as complaint, praise or question; give number and label only.\n"
        + "\n".join(lines)
    )
    return Draft(text, points, topic="the remarks", base=-0.5, fixed=True)


def _put_in_order(draws: Draws, who: Person) -> Draft:
    process, stages = draws.pick(_bank("processes"))
    count = draws.integer(2, 3)
    text = (
        f"{who.name} wrote down the stages of {process} in the wrong order: "
        + "; ".join(draws.shuffled(stages))
        + f". Which {count} come first? Give only these, in the right order."
    )
    points = [
        Point(f"{place + 1}. {stages[place]}", f"{place + 1}. {stages[-1 - place]}")
        for place in range(count)
    ]
    return Draft(text, points, topic=process, base=0.2, fixed=True)


def _extract_json(draws: Draws, who: Person) -> Draft:
    note, names = draws.pick(_bank("notes"))
    month, day = draws.pick(MONTHS), draws.integer(1, 28)
    values = {
        "name": who.name,
        "town": draws.pick(TOWNS),
        "date": f"{day} {month}",
        "hour": f"{draws.integer(8, 20)}:{draws.pick(('00', '15', '30', '45'))}",
        "count": str(draws.integer(2, 40)),
        "phone": f"0{draws.integer(20, 99)} {draws.integer(1000, 9999)} {draws.integer(100, 999)}",
        "price": str(draws.integer(12, 480)),
    }
    false = {
        **values,
        "date": f"{day + 1} {month}",
        "hour": "12:00",
        "count": str(int(values["count"]) + 1),
        "price": str(int(values["price"]) * 10),
        "town": "unknown",
        "name": who.last,
    }
    asked = draws.sample(names, draws.integer(3, len(names)))
    text = (
        f"Extract {listing(asked)} from this note as a JSON object with exactly these keys and "
        f'string values: "{note.format(**values)}"'
    )
    points = [Point(f'  "{key}": "{values[key]}"', f'  "{key}": "{false[key]}"') for key in asked]
    return Draft(
        text,
        points,
        topic="the note",
        base=-0.2,
        head="{\n",
        separator=",\n",
        tail="\n}",
        fixed=True,
    )


def _brainstorm(draws: Draws, who: Person) -> Draft:
    wish, ideas = draws.pick(_bank("ideas"))
    count = draws.integer(4, 5)
    text = (
        f"{who.name}, who lives in {draws.pick(TOWNS)} and likes {draws.pick(_bank('hobbies'))}, "
        f"is looking for {wish}. Suggest {count} ideas, one line each."
    )
    return Draft(text, [Point(idea) for idea in ideas[:count]], topic=wish, base=0.7)


def _compare(draws: Draws, who: Person) -> Draft:
    first, second, aspects = draws.pick(_bank("pairs"))
    chosen = aspects[: draws.integer(3, len(aspects))]
    text = (
        f"{who.name} wonders whether to choose {first} or {second}. Compare the two by "
        f"{listing([name for name, _, _ in chosen])} in one sentence each."
    )
    points = [Point(good, bad) for _, good, bad in chosen]
    return Draft(text, points, topic=f"{first} and {second}", base=0.3)


def _action_items(draws: Draws, who: Person) -> Draft:
    people = [who, *(person(draws.integer(0, 4095)) for _ in range(draws.integer(2, 4)))]
    jobs, days = draws.sample(_bank("jobs"), len(people)), draws.sample(DAYS, len(people))
    said, points = [], []
    for doer, job, day in zip(people, jobs, days, strict=True):
        phrase = draws.pick(_bank("promises"))
        said.append(phrase.format(name=doer.name, job=job, day=day))
        wrong = draws.pick([other for other in DAYS if other != day])
        points.append(Point(f"{doer.name}: {job} by {day}", f"{doer.name}: {job} by {wrong}"))
    chatter = draws.pick(_bank("chatter"))
    text = (
        'Turn this note of a meeting into a list of tasks, each with a person and a day: "'
        + " ".join((*said[:1], chatter, *said[1:]))
        + '"'
    )
    return Draft(text, points, topic="the meeting", base=-0.3)


def _scale_recipe(draws: Draws, who: Person) -> Draft:
    dish, stuff = draws.pick(_bank("recipes"))
    small, factor = draws.integer(2, 4), draws.integer(2, 5)
    given, points = [], []
    for name, unit, low, high in stuff:
        amount = draws.integer(low, high)
        given.append(f"{amount} {unit} {name}".replace("  ", " "))
        right, slip = amount * factor, amount * factor + amount
        points.append(
            Point(
                f"{right} {unit} {name}".replace("  ", " "),
                f"{slip} {unit} {name}".replace("  ", " "),
            )
        )
    text = (
        f"{who.name} makes {dish} for {small} people with {listing(given)}. Write the list of "
        f"amounts for {small * factor} people, one ingredient a line."
    )
    return Draft(text, points, topic=dish, base=0.0, fixed=True)


def _describe_product(draws: Draws, who: Person) -> Draft:
    product, features = draws.pick(_bank("products"))
    chosen, price = draws.sample(features, draws.integer(3, 4)), draws.integer(15, 240)
    colour = draws.pick(_bank("colours"))
    text = (
        f"Write a product description of four to six sentences for {with_article(colour)} "
        f"{product} from {who.name}'s workshop in {draws.pick(TOWNS)}. Mention: "
        f"{listing([name for name, _ in chosen])}; price ${price}."
    )
    points = [
        Point(f"Meet the {colour} {product} from {who.name}'s workshop."),
        *(Point(line) for _, line in chosen),
        Point(f"It is yours for ${price}.", f"It is yours for ${price + 10}."),
    ]
    return Draft(text, points, topic=f"the {product}", base=0.2, separator=" ")


def _proofread(draws: Draws, who: Person) -> Draft:
    town, other = draws.pick(TOWNS), other_person(draws, who)
    chosen = draws.sample(_bank("misspelt"), draws.integer(3, 5))
    slots = {"name": who.name, "other": other.name, "town": town}
    wrong = " ".join(bad.format(**slots) for bad, _ in chosen)
    points = [Point(good.format(**slots), bad.format(**slots)) for bad, good in chosen]
    text = (
        f"{who.name} asks for help with English. Correct spelling and grammar, and return only "
        f'the corrected text: "{wrong}"'
    )
    return Draft(text, points, topic="the text", base=-0.6, separator=" ", fixed=True)


def _timetable(draws: Draws, who: Person) -> Draft:
    start = draws.integer(7, 9)
    chosen = draws.sample(_bank("activities"), draws.integer(4, 5))
    minutes = [draws.pick((30, 60, 90)) for _ in chosen]
    clock, points = start * 60, []
    for activity, length in zip(chosen, minutes, strict=True):
        end = clock + length
        points.append(
            Point(
                f"{_clock(clock)}-{_clock(end)} {activity}",
                f"{_clock(clock + 30)}-{_clock(end + 30)} {activity}",
            )
        )
        clock = end
    wanted = listing([f"{a} ({m} minutes)" for a, m in zip(chosen, minutes, strict=True)])
    text = (
        f"{who.name} starts the day at {_clock(start * 60)} and has planned, in this order and "
        f"without breaks: {wanted}. Write the timetable, one line each, as HH:MM-HH:MM and the "
        "activity."
    )
    return Draft(text, points, topic="the day", base=0.5, fixed=True)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


KINDS: tuple[Callable[[Draws, Person], Draft], ...] = (
    _rewrite_politely,
    _write_email,
    _explain,
    _list_things,
    _classify,
    _put_in_order,
    _extract_json,
    _brainstorm,
    _compare,
    _action_items,
    _scale_recipe,
    _describe_product,
    _proofread,
    _timetable,
)
