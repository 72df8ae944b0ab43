"""The page: what stands in it, section by section; texts are escaped where it is put together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from personaroute_bench.evaluation.table import FEW_USERS, PROTOCOL_NOTES
from personaroute_bench.reporting import plots
from personaroute_bench.reporting.by_user import by_user
from personaroute_bench.reporting.cold_start import WORDS
from personaroute_bench.reporting.numbers import count, percent, plain, usd
from personaroute_bench.reporting.plots import Drawing, Mark
from personaroute_bench.reporting.results import NORMALISED, Figure

if TYPE_CHECKING:
    from personaroute_bench.reporting.cold_start import ColdStart
    from personaroute_bench.reporting.joined import Joined
    from personaroute_bench.reporting.results import Result, Row

# With fewer of both, intervals are too narrow or very wide (docs/metrics.md).
FEW_QUERIES = 24
LITTLE_HEADROOM = 0.02
MOST_CURVES = 8
# What tells whom a router serves badly, from the results alone.
FAIRNESS = (
    ("regret_worst_decile", "Regret, worst tenth of users", plain),
    ("regret_cvar10", "Mean regret of the worst tenth", plain),
    ("regret_gini", "Gini of regret", plain),
    ("users_harmed", "Users worse off than with best-single", percent),
)


@dataclass
class Album:
    """The drawings of one report: ids in the page and names of files are each used once."""

    pictures: dict[str, bytes] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Of the ids in the next drawing."""
        return f"p{len(self.pictures)}-"

    def add(self, kind: str, drawing: Drawing) -> dict[str, str]:
        """Keep a drawing's picture as report-KIND.png; return what the page needs of it."""
        number, name = 1, f"report-{kind}.png"
        while name in self.pictures:
            number += 1
            name = f"report-{kind}-{number}.png"
        self.pictures[name] = drawing.png
        return {"svg": drawing.svg, "file": name}


def render(
    results: Sequence[Result],
    curves: Sequence[Mapping[str, Any]],
    sections: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page. Its policy allows its own style, by its hash, and nothing else."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = resources.files("personaroute_bench.reporting")
    style, frame = ((here / f"page.{kind}").read_text("utf-8") for kind in ("css", "html"))
    policy = f"default-src 'none'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["drawing"] = Markup
    environment.filters["signed"] = "{:z.3f}".format
    return environment.from_string(frame).render(
        style=Markup(style),
        policy=policy,
        files=[str(result.path) for result in results],
        curves=curves,
        sections=[{**section, "id": f"s{i}"} for i, section in enumerate(sections, 1)],
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def result_part(
    result: Result, joined: Joined | None, album: Album, routers: Sequence[str], examples: int
) -> dict[str, Any]:
    """Return the section of one result.

    Args:
        result: of the section.
        joined: the same with data set and choices, where these were given.
        album: takes the drawings.
        routers: whose choices are shown by user, as in `report`.
        examples: how many.
    """
    done = [row for row in result.routers if row.metrics]
    part: dict[str, Any] = {
        "title": result.heading,
        "provenance": result.provenance,
        "kind": result.provenance
        if result.provenance in ("live", "recorded", "simulated")
        else "mixed",
        "facts": facts(result),
        "warnings": warnings(result),
        "verdicts": [(row.name, row.verdict) for row in done if row.asked_for and row.verdict],
        "percent": round(100 * result.confidence),
        "rows": [_cells(i, row) for i, row in enumerate(result.routers, 1)],
        "notes": _notes(result),
        "cost": _cost(result, album),
        "fairness": _fairness(done),
    }
    return part | by_user(result, joined, album, routers, examples)


def facts(result: Result) -> list[tuple[str, str]]:
    """Return what the results stand on, as pairs of a name and a text."""
    shown = f", {result.interactions_per_user} interactions a user"
    draws = f"{round(100 * result.confidence)} %, {count(result.draws)} draws of users and queries"
    return [
        ("Responses", result.provenance),
        (
            "Size",
            f"{count(result.users)} users × {count(result.queries)} test queries × "
            f"{count(result.llms)} LLMs",
        ),
        ("Strategy", result.strategy),
        ("Setting", result.heading.partition(", ")[2]),
        ("Feedback", result.feedback + (shown if result.interactions_per_user else "")),
        ("Disclosure tier", result.tier),
        ("Repetitions", f"{result.seeds} seed{'s' if result.seeds > 1 else ''}"),
        ("Intervals", draws if result.draws else "none"),
        (
            "Personalisation headroom",
            "none"
            if result.headroom is None
            else f"{100 * result.headroom:.1f} % of the way from random to oracle is beyond a "
            "user-blind oracle",
        ),
        ("Data set", result.directory or "in memory"),
        ("Manifest SHA-256", result.manifest or "none"),
        ("Results", str(result.path)),
    ]


def warnings(result: Result) -> list[str]:
    """Return what a reader must know before believing a figure."""
    found = []
    if result.provenance == "simulated":
        found.append("The responses are simulated: nothing here is about any real LLM.")
    elif result.provenance not in ("live", "recorded"):
        found.append(f"The responses are of mixed or unknown provenance ({result.provenance}).")
    if not result.draws:
        found.append("There are no intervals: the run was made with --draws 0.")
    if result.users < FEW_USERS:
        found.append(
            f"{result.users} users are few: intervals miss the truth more often than they say."
        )
    if result.queries < FEW_QUERIES:
        found.append(
            f"{result.queries} test queries are few: intervals are wide, and miss the truth more "
            "often than they say."
        )
    if result.headroom is None or result.headroom < LITTLE_HEADROOM:
        found.append(
            "There is next to nothing to gain from knowing users here: a user-blind oracle is as "
            "good as the oracle."
        )
    if result.scored < result.rows:
        found.append(
            f"{count(result.rows - result.scored)} of {count(result.rows)} (user, query) rows are "
            "left out of every mean: no candidate has a reward there."
        )
    for row in result.routers:
        if not row.metrics:
            found.append(f"{row.name} has no results: {row.status}")
        elif row.invalid:
            found.append(
                f"{row.name} made {count(row.invalid)} invalid choices; each is charged the worst "
                "candidate's reward."
            )
    return found


def _cells(number: int, row: Row) -> dict[str, Any]:
    """Return one row of the table of results."""
    protocol = "" if row.protocol == "batch" else f" ({row.protocol})"
    found: dict[str, Any] = {
        "number": number,
        "name": row.name + protocol,
        "control": row.control,
        "asked": row.asked_for,
        "status": None if row.status == "ok" else row.status,
    }
    if not row.metrics:
        return found | {"cells": None}
    p = "" if row.p_value is None else f"p = {row.p_value:.3f}"
    own = "unknown" if row.own_cost_usd is None else usd(Figure(row.own_cost_usd))[0]
    shuffled = plain(row["shuffled_gain"], sign=True)
    cells = [
        plain(row["reward"]),
        plain(row[NORMALISED]),
        plain(row.gain, sign=True),
        (row.rank, ""),
        (*shuffled, p),
        plain(row["accuracy"]),
        plain(row["performance"]),
        usd(row["cost_usd"]),
        ("–" if row.control else own, ""),
        percent(row["charged"]),
    ]
    return found | {"cells": cells}


def _notes(result: Result) -> list[str]:
    notes = [f"{row.name}: {row.note}" for row in result.routers if row.note]
    protocols = sorted({row.protocol for row in result.routers} & PROTOCOL_NOTES.keys())
    return notes + [PROTOCOL_NOTES[protocol] for protocol in protocols]


def _cost(result: Result, album: Album) -> dict[str, Any]:
    """Reward against cost: what answers cost, and the router's own calls where they are known."""
    marks, left_out, own = [], [], False
    for number, row in enumerate(result.routers, 1):
        cost = row["cost_usd"]
        if not row.metrics:
            continue
        if cost.mean is None:
            left_out.append(row.name)
            continue
        more = row.own_cost_usd or 0.0
        own |= more > 0
        total = Figure(*(None if x is None else x + more for x in (cost.mean, cost.low, cost.high)))
        marks.append(Mark(number, total, row["reward"], row.control))
    if not marks:
        return {"drawing": None, "left_out": left_out}
    names = {number: row.name for number, row in enumerate(result.routers, 1)}
    best = [names[mark.number] for mark in plots.front(marks)]
    label = (
        f"Mean reward against USD a query of {len(marks)} routers. On the Pareto front, cheapest "
        f"first: {', '.join(best) or 'none'}. All figures are in the table above."
    )
    return {
        "drawing": album.add("cost", plots.draw_cost(marks, album.prefix, label)),
        "front": best,
        "own": own,
        "left_out": left_out,
        "unknown": [
            row.name
            for row in result.routers
            if row.metrics
            and not row.control
            and row.own_cost_usd is None
            and row.name not in left_out
        ],
    }


def _fairness(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "head": [title for _, title, _ in FAIRNESS],
        "rows": [
            (row.name, row.control, [show(row[metric]) for metric, _, show in FAIRNESS])
            for row in rows
        ],
    }


def cold_start_part(curve: ColdStart, album: Album) -> dict[str, Any]:
    """Return the section of one cold-start curve."""
    first = curve.results[0]
    asked = {row.name for result in curve.results for row in result.routers if row.asked_for}
    names = sorted(curve.curves, key=lambda name: (name not in asked, _last_mean(curve, name)))
    drawn = {name: curve.curves[name] for name in names[:MOST_CURVES]}
    counts = sorted({point.shown for points in curve.curves.values() for point in points})
    label = (
        f"Oracle-normalised reward of {len(drawn)} routers after {', '.join(map(str, counts))} "
        "interactions. All figures are in the table below."
    )
    rows = []
    for name in names:
        of = {point.shown: point.figure for point in curve.curves[name]}
        rows.append((name, [plain(of.get(shown, Figure())) for shown in counts]))
    return {
        "title": f"{first.strategy.replace('_', ' ')}, {first.setting}, feedback {first.feedback}",
        "provenance": first.provenance,
        "axis": WORDS[curve.axis],
        "counts": counts,
        "rows": rows,
        "percent": round(100 * first.confidence),
        "not_drawn": names[MOST_CURVES:],
        "drawing": album.add(
            "cold-start", plots.draw_cold_start(drawn, WORDS[curve.axis], album.prefix, label)
        )
        if drawn
        else None,
    }


def _last_mean(curve: ColdStart, name: str) -> float:
    return -(curve.curves[name][-1].figure.mean or 0.0)
