"""What one contestant did: choices, their hashes, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personaroute_bench.evaluation.facts import OwnWords
from personaroute_bench.evaluation.metrics import Outcomes, Scores, score
from personaroute_bench.evaluation.protocols import Trail

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints
    from personaroute_bench.evaluation.bill import Bill


@dataclass
class Run:
    """What one contestant did, over all seeds."""

    name: str
    kind: str
    """router, predictions or control."""
    asked_for: bool
    choices: list[Ints] = field(default_factory=list)
    """One [U, Q] a seed; index of the LLM, -1 where invalid."""
    digests: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Their files' names, where they are written."""
    fit_s: list[float] = field(default_factory=list)
    route_s: list[float] = field(default_factory=list)
    problem: str | None = None
    """The first invalid choice, in words."""
    error: str | None = None
    """Why there are no choices to score; None where all went well."""
    trace: str | None = None
    """The traceback behind `error`, for the author of the router."""
    adapt_s: list[float] = field(default_factory=list)
    single_s: list[float] = field(default_factory=list)
    """Of requests that were asked one at a time; see `latency`."""
    twin: Run | None = None
    """The same router, fully trained; where retention is asked for."""
    said: list[OwnWords] = field(default_factory=list)
    """What the router said of itself, after every fold of every seed."""
    trails: list[Trail] = field(default_factory=list)
    """What its protocol leaves beside the choices, one a seed."""

    isolation: dict[str, Any] | None = None
    """How the router was kept apart, see `isolation.isolation_of`; None for what is no router."""
    ended: str | None = None
    """Why its process ended while it was asked; what it had not answered is invalid."""
    changed: tuple[int, int] | None = None
    """Of the requests asked again in another order: answers that differ, and all; see `order`."""

    @property
    def protocol(self) -> str:
        """batch, cascade or online."""
        return self.trails[0].protocol if self.trails else "batch"

    @property
    def bills(self) -> list[Bill | None]:
        """What a cascade has bought, one a seed."""
        return [trail.bill for trail in self.trails]

    def scores(self, outcomes: Outcomes, seed: int) -> Scores:
        """Return the scores of one seed; a cascade has paid all its calls."""
        return self.trails[seed].billed(score(outcomes, self.choices[seed]))
