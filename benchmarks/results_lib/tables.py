"""Looking figures up, and writing them as Markdown: numbers, tables, aims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results_lib.plan import (
    ALL_QUERIES,
    COST,
    DRIFT,
    FOREST,
    JUDGE,
    REFERENCE,
    VARIANTS,
)

CONTROLS = ("oracle", "user-blind-oracle")
SIGNIFICANT = 0.05
SHORT = {COST: "cost-efficiency", JUDGE: "judge", DRIFT: "drift"}
NOTHING = "–"
OLDER = "°"
"""Marks figures of a router whose code has changed since."""


@dataclass(frozen=True)
class Figures:
    """figures.json."""

    made: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    def find(
        self,
        data: str,
        strategy: str,
        setting: str = "general",
        feedback: str = "full",
        few: int | None = None,
        shots: int | None = None,
    ) -> Mapping[str, Any] | None:
        """Return the row of a condition; None where it was not measured."""
        wanted = (data, strategy, setting, feedback, few, shots)
        for row in self.rows:
            at = (row[k] for k in ("data", "strategy", "setting", "feedback", "few", "shots"))
            if tuple(at) == wanted and row["routers"]:
                return row
        return None

    @property
    def sets(self) -> list[tuple[str, str]]:
        """The (data set, strategy) pairs of the main tables, small ones first."""
        data = [name for name in self.made["data"] if name != ALL_QUERIES.name]
        return [(name, strategy) for name in data for strategy in (COST, JUDGE)]

    def label(self, data: str, strategy: str) -> str:
        """Return a data set in words."""
        return f"{self.made['data'][data]}, {SHORT[strategy]}"

    def routers(self, rows: Iterable[Mapping[str, Any] | None]) -> list[str]:
        """Return the names of all routers in some rows, the best of the first row first."""
        names: dict[str, float] = {}
        for row in rows:
            for name, entry in (row or {"routers": {}})["routers"].items():
                names.setdefault(name, -(entry["normalised"]["mean"] or 0.0))
        return sorted(names, key=lambda name: names[name])


def best(row: Mapping[str, Any], *, personal: bool) -> str | None:
    """Return the baseline of the highest mean test reward, user-blind or personal."""
    names = [
        name
        for name, entry in row["routers"].items()
        if name not in (*CONTROLS, FOREST, REFERENCE, *VARIANTS) and entry["personal"] == personal
    ]
    return max(names, key=lambda name: row["routers"][name]["reward"]["mean"], default=None)


def number(value: float | None, digits: int = 3) -> str:
    """Return ``.312``, ``-.012``, ``1.204``; a dash for None."""
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def interval(entry: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return ``.312 [.298, .325]``."""
    if entry is None or entry["mean"] is None:
        return NOTHING
    text = number(entry["mean"], digits)
    if entry["low"] is None:
        return text
    return f"{text} [{number(entry['low'], digits)}, {number(entry['high'], digits)}]"


def per_cent(entry: Mapping[str, Any] | None) -> str:
    """Return ``93 [88, 99] %``."""
    if entry is None or entry["mean"] is None:
        return NOTHING
    text = f"{100 * entry['mean']:.0f}"
    if entry["low"] is not None:
        text += f" [{100 * entry['low']:.0f}, {100 * entry['high']:.0f}]"
    return f"{text} %"


def mark(entry: Mapping[str, Any] | None) -> str:
    """Return the mark of figures measured with older code; nothing for others."""
    return f" {OLDER}" if entry and entry.get("older") else ""


def p_text(p: float | None) -> str:
    """Return a p-value in three digits."""
    if p is None:
        return NOTHING
    return "< .001" if p < 0.001 else number(p)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; what would break a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_safe(cell) for cell in line) + " |" for line in lines] + [""]


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


@dataclass(frozen=True)
class Case:
    """One place in which an aim is looked at."""

    label: str
    met: bool | None
    """None: not measured."""
    shown: str = ""


def aim(text: str, cases: Sequence[Case], expected: int | None = None) -> list[str]:
    """Return the verdict on an aim as lines, computed from its cases alone."""
    expected = len(cases) if expected is None else expected
    missed = [case for case in cases if case.met is False]
    measured = sum(case.met is not None for case in cases)
    if missed:
        verdict = f"missed in {len(missed)} of {measured} places"
    elif measured < expected or not measured:
        verdict = f"not decided, {measured} of {expected} places measured"
    else:
        verdict = f"met in all {measured} places"
    lines = [f"**Aim: {text}. {verdict[0].upper()}{verdict[1:]}.**"]
    if missed:
        shown = "; ".join(f"{c.label} ({c.shown})" if c.shown else c.label for c in missed)
        lines[0] += f" Missed: {shown}."
    return [*lines, ""]


def grid(
    figures: Figures,
    columns: Sequence[tuple[str, Mapping[str, Any] | None]],
    show: Callable[[Mapping[str, Any]], str],
    *,
    keep: Callable[[str], bool] = lambda name: True,
    first: str = "router",
) -> list[str]:
    """Return a table of routers by conditions; empty where nothing was measured."""
    names = [name for name in figures.routers(row for _, row in columns) if keep(name)]
    if not names:
        return ["Not measured yet.", ""]

    def cell(row: Mapping[str, Any] | None, name: str) -> str:
        entry = (row or {"routers": {}})["routers"].get(name)
        return NOTHING if entry is None else show(entry) + mark(entry)

    lines = [[name, *(cell(row, name) for _, row in columns)] for name in names]
    return table([first, *(label for label, _ in columns)], lines)
