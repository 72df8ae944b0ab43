"""Cold-start curves: what routers earn with few interactions of a user or an LLM, over files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from personaroute_bench.errors import UsageError
from personaroute_bench.reporting.results import NORMALISED, Figure

if TYPE_CHECKING:
    from personaroute_bench.reporting.results import Result

Axis = Literal["shots", "interactions_per_user"]
WORDS: dict[Axis, str] = {
    "shots": "interactions shown of each new user or LLM (shots)",
    "interactions_per_user": "interactions shown of each user",
}


@dataclass(frozen=True, slots=True)
class Point:
    """What a router earns with so many interactions."""

    shown: int
    figure: Figure
    """Oracle-normalised reward: 0 is a random choice, 1 the oracle."""


@dataclass(frozen=True)
class ColdStart:
    """Results that are alike but for how much of a user or an LLM was shown."""

    axis: Axis
    results: tuple[Result, ...]
    """Least shown first."""
    curves: dict[str, tuple[Point, ...]]
    """By router; of `results`, in which it has a figure. Controls are left out."""

    @property
    def last(self) -> tuple[Result, ...]:
        """The results with the most shown."""
        most = shown(self.results[-1], self.axis)
        return tuple(result for result in self.results if shown(result, self.axis) == most)


def shown(result: Result, axis: Axis) -> int:
    """Return how many interactions were shown; without a limit, all training queries."""
    if axis == "shots":
        return result.shots or 0
    return result.train if result.interactions_per_user is None else result.interactions_per_user


def find_cold_starts(results: Sequence[Result]) -> tuple[list[ColdStart], list[Result]]:
    """Return the curves, and the results that belong to none.

    A curve needs at least two numbers of shots (or else of interactions a user) on the same test
    outcomes and data set, everything else being equal.

    Raises:
        UsageError: a router has two results with the same number of interactions.
    """
    found: list[ColdStart] = []
    rest = list(results)
    axes: tuple[Axis, ...] = ("shots", "interactions_per_user")
    for axis in axes:
        groups: dict[object, list[Result]] = {}
        for result in rest:
            if result.outcomes is None or (axis == "shots" and result.shots is None):
                continue
            groups.setdefault(_conditions(result, axis), []).append(result)
        for group in groups.values():
            if len({shown(result, axis) for result in group}) > 1:
                found.append(_cold_start(axis, group))
                rest = [result for result in rest if result not in group]
    return found, rest


def _conditions(result: Result, axis: Axis) -> object:
    """What must be equal: who is asked what, and all that routers are told beside."""
    told = replace(result, shots=None) if axis == "shots" else result
    if axis == "interactions_per_user":
        told = replace(result, interactions_per_user=None)
    return (
        told.outcomes,
        told.manifest,
        told.strategy,
        told.setting,
        told.held_out,
        told.feedback,
        told.tier,
        told.seeds,
        told.shots,
        told.interactions_per_user,
    )


def _cold_start(axis: Axis, group: Sequence[Result]) -> ColdStart:
    ordered = sorted(group, key=lambda result: shown(result, axis))
    curves: dict[str, dict[int, Point]] = {}
    sources: dict[tuple[str, int], tuple[Result, tuple[str, ...]]] = {}
    for result in ordered:
        count = shown(result, axis)
        for row in result.routers:
            if row.control or row[NORMALISED].mean is None:
                continue
            other = sources.setdefault((row.name, count), (result, row.digests))
            if other[0] is not result and other[1] != row.digests:
                raise UsageError(
                    f"{other[0].path} and {result.path} both have router {row.name!r} with "
                    f"{count} interactions, and other choices; name one of the two files"
                )
            curves.setdefault(row.name, {})[count] = Point(count, row[NORMALISED])
    kept = {name: tuple(points.values()) for name, points in curves.items()}
    return ColdStart(axis, tuple(ordered), kept)
