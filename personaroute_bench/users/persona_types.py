"""The values that personas are made of; personaroute_bench.users.personas composes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from personaroute_bench.judging.dimensions import NAMES

Scale = Literal["performance_weight", "cost_weight"]
SCALES: tuple[Scale, ...] = get_args(Scale)


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of a persona's text, and the weights on style dimensions that it stands for."""

    says: str
    taste: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Archetype:
    """A kind of person."""

    id: str
    name: str
    text: str
    """Who it is, in the second person."""
    wants: tuple[Statement, ...]
    performance_weight: float
    """How much right answers matter beside style, in [0, 1]."""
    cost_weight: float
    """How much the price of an answer matters, in [0, 1]."""
    skips: tuple[str, ...] = ()
    """Facets that this archetype never gets, because its text decides them."""
    tasks: tuple[str, ...] = ()
    """Ids of the tasks that such a person asks most; empty: any."""

    @property
    def taste(self) -> dict[str, float]:
        """The weights of all its statements."""
        return {name: weight for want in self.wants for name, weight in want.taste.items()}


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a facet."""

    id: str
    statement: Statement


@dataclass(frozen=True, slots=True)
class Facet:
    """One respect in which people of an archetype differ."""

    id: str
    name: str
    part: Literal["person", "style"]
    """The paragraph of the text: who the person is, or what they want."""
    chance: float
    """Share of people who have it, in (0, 1]; fewer where a sentence before speaks of the same."""
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """What is said of a weight from ``start`` up to the next level's."""

    id: str
    start: float
    says: str


@dataclass(frozen=True, slots=True)
class Levels:
    """A weight in words, and how far it varies between people of an archetype."""

    spread: float
    levels: tuple[Level, ...]

    def of(self, weight: float) -> Level:
        """Return the level of a weight."""
        return [level for level in self.levels if level.start <= weight][-1]


@dataclass(frozen=True, slots=True)
class Persona:
    """One simulated user's character."""

    persona_id: str
    text: str
    """System prompt in the second person."""
    archetype: str | None
    """Id of the archetype; None for an imported text."""
    facets: Mapping[str, str]
    """Facet or scale → option or level, in the order of the text."""
    taste: tuple[float, ...] | None
    """Weights in [-1, 1] over `NAMES`; None where only the text is known."""
    performance_weight: float | None
    cost_weight: float | None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; the taste by name, zeros left out."""
        value = asdict(self)
        if self.taste is not None:
            taste = zip(NAMES, self.taste, strict=True)
            value["taste"] = {name: round(weight, 4) for name, weight in taste if weight}
        for scale in SCALES:
            value[scale] = None if value[scale] is None else round(value[scale], 4)
        return value
