"""Sections 1 and 2 of the page: the reference in the general setting, and the curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personaroute_bench.evaluation.significance import holm
from results_lib.plan import (
    BESIDE,
    COST,
    COUNT_BASED,
    CROSSED,
    CROSSED_ROUTERS,
    CURVE,
    FOLDS,
    FOREST,
    JUDGE,
    NAMED,
    REFERENCE,
)
from results_lib.tables import (
    NOTHING,
    SIGNIFICANT,
    Case,
    Figures,
    aim,
    best,
    grid,
    interval,
    mark,
    number,
    p_text,
    per_cent,
    table,
)

# Per cent above the strongest baseline that the paper reports, by (users, strategy).
PAPER = {("9", COST): 15.38, ("9", JUDGE): 9.83, ("1000", COST): 16.19, ("1000", JUDGE): 59.69}
GAIN_WANTED, ACCURACY_WANTED = 0.90, 0.90
FEW = 20
CURVE_ROUTERS = (*NAMED, *BESIDE, "best-single", *COUNT_BASED)

Row = Mapping[str, Any]


def reference(figures: Figures) -> list[str]:
    """Return section 1."""
    sets = [(d, s, figures.find(d, s)) for d, s in figures.sets]
    rows = [(figures.label(d, s), d, s, row) for d, s, row in sets if row is not None]
    lines = ["## 1. `personalized` against the best baselines", ""]
    lines += ["General setting, full feedback, all interactions.", ""]
    measured = [r for r in rows if REFERENCE in r[3]["routers"]]
    if not measured:
        return [*lines, "Not measured yet.", ""]
    titles = {"reward": "Reward", "normalised": "Normalised", "accuracy": "Accuracy, judge"}
    for metric, title in titles.items():
        shown = [r for r in measured if metric != "accuracy" or r[2] == JUDGE]
        lines += [f"{title}:", "", *_against(shown, metric)]
    lines += _differences(measured, len(sets))
    lines += ["What was tried where an aim is missed: [personalized.md](personalized.md).", ""]
    return lines


def crossed(figures: Figures) -> list[str]:
    """Return the comparison of section 1 on all queries, by cross-validation."""
    sets = [(d, s, figures.find(d, s, CROSSED)) for d, s in figures.sets]
    rows = [(figures.label(d, s), d, s, row) for d, s, row in sets if row is not None]
    measured = [r for r in rows if REFERENCE in r[3]["routers"]]
    if not measured:
        return []
    queries = max(row["queries"] for *_, row in measured)
    return [
        "### The same with every query tested once",
        "",
        f"A further protocol, beside the one above: {FOLDS} splits of the queries, each with a "
        "fifth of them for test and a tenth for validation; every router is trained anew for each, "
        f"once. Intervals and p-values are over the users and all {queries} queries, so they are "
        "narrower; that the splits share most of what they train on is not in them. Baselines: "
        f"the free ones, {', '.join(r for r in CROSSED_ROUTERS if r != REFERENCE)}. Normalised:",
        "",
        *_against(measured, "normalised"),
        *_differences(measured, len(sets), forest=False),
    ]


def _against(rows: list[tuple[str, str, str, Row]], metric: str) -> list[str]:
    head = ["data", "best-single", "best user-blind", "best personal", REFERENCE]
    head += ["forest, weights told", "user-blind-oracle", "oracle"]
    lines = []
    for label, _, _, row in rows:
        cells = [label]
        for name in ("best-single", best(row, personal=False), best(row, personal=True), REFERENCE):
            entry = row["routers"].get(name)
            text = interval(entry and entry[metric]) + mark(entry)
            cells.append(f"{text} {name}" if name not in ("best-single", REFERENCE) else text)
        for name in (FOREST, "user-blind-oracle", "oracle"):
            entry = row["routers"].get(name)
            cells.append(number(entry[metric]["mean"]) + mark(entry) if entry else NOTHING)
        lines.append(cells)
    return table(head, lines)


def _differences(
    rows: list[tuple[str, str, str, Row]], expected: int, *, forest: bool = True
) -> list[str]:
    """Return the paired differences, and the aims: that of the forest's gain only with a forest."""
    kinds = {"user-blind": False, "personal": True}
    named = {kind: [best(r[3], personal=p) for r in rows] for kind, p in kinds.items()}
    found: dict[str, list[Any]] = {
        kind: [r[3]["differences"].get(name) for r, name in zip(rows, names, strict=True)]
        for kind, names in named.items()
    }
    p = {kind: holm([d and d["p"] for d in gaps]) for kind, gaps in found.items()}
    head = ["data", "minus best user-blind", "p", "minus best personal", "p"]
    head += ["above the better of the two", "the paper's margin", "share of the forest's gain"]
    lines, cases = [], {"blind": [], "personal": [], "gain": []}
    for i, (label, data, strategy, row) in enumerate(rows):
        blind, personal = found["user-blind"][i], found["personal"][i]
        both = [n for n in (named["user-blind"][i], named["personal"][i]) if n]
        top = max(row["routers"][name]["reward"]["mean"] for name in both) if both else 0
        margin = row["routers"][REFERENCE]["reward"]["mean"] - top
        paper = PAPER.get((data.rpartition("-")[2], strategy))
        share = row["differences"].get(FOREST, {}).get("gain_share")
        lines.append(
            [
                label,
                interval(blind),
                p_text(p["user-blind"][i]),
                interval(personal),
                p_text(p["personal"][i]),
                f"{100 * margin / top:+.1f} %" if top > 0 else NOTHING,
                f"+{paper} %" if paper else NOTHING,
                per_cent(share),
            ]
        )
        p_blind, p_personal = p["user-blind"][i], p["personal"][i]
        above = blind and blind["mean"] > 0 and p_blind < SIGNIFICANT
        below = personal and personal["mean"] < 0 and p_personal < SIGNIFICANT
        shown = [
            f"{interval(d)}, p {p_text(v)}" for d, v in ((blind, p_blind), (personal, p_personal))
        ]
        cases["blind"].append(Case(label, None if blind is None else bool(above), shown[0]))
        cases["personal"].append(Case(label, None if personal is None else not below, shown[1]))
        known = share is not None and share["mean"] is not None
        enough = share["mean"] >= GAIN_WANTED if known else None
        cases["gain"].append(Case(label, enough, per_cent(share)))
    aims = [
        *aim("significantly above the best user-blind router (Holm)", cases["blind"], expected),
        *aim("not significantly below the best personal baseline", cases["personal"], expected),
    ]
    if not forest:
        return [
            "Paired differences of reward.",
            "",
            *table(head[:-1], [line[:-1] for line in lines]),
            *aims,
        ]
    aims += aim(
        "at least 90 % of the gain over best-single of a random forest that is given the true "
        "weights",
        cases["gain"],
        expected,
    )
    return [
        "Paired differences of reward. The forest is told the users' true weights (tier T3) and "
        "is no baseline; its gain and the reference's are over best-single. Per cent depend on "
        "where the reward's zero lies; the paper's are of its own data and baselines.",
        "",
        *table(head, lines),
        *aims,
    ]


def everybody(figures: Figures) -> list[str]:
    """Return the table of all routers in the general setting."""
    columns = [(figures.label(d, s), figures.find(d, s)) for d, s in figures.sets]
    lines = ["### All routers", "", "Normalised reward, general setting, full feedback.", ""]
    return lines + grid(figures, columns, lambda entry: interval(entry["normalised"]))


def curve(
    figures: Figures, plot: str
) -> tuple[list[str], list[tuple[str, dict[str, list[float | None]]]], list[str]]:
    """Return section 2, and the charts and ticks of its plot (none where nothing is measured)."""
    lines = ["## 2. Few interactions", ""]
    lines += ["General setting, feedback `choice`: N choices of each user are known.", ""]
    ticks = ["all" if n is None else str(n) for n in CURVE]
    charts: list[tuple[str, dict[str, list[float | None]]]] = []
    tables: list[str] = []
    for data, strategy in sorted(figures.sets, key=lambda s: s[1] != JUDGE):
        rows = {n: figures.find(data, strategy, feedback="choice", few=n) for n in CURVE}
        if not any(rows.values()):
            continue
        metric = "accuracy" if strategy == JUDGE else "normalised"
        title = f"{figures.label(data, strategy)}, {metric}"
        columns = [(f"N = {tick}", rows[n]) for n, tick in zip(CURVE, ticks, strict=True)]
        tables += [f"### {title[0].upper()}{title[1:]}", ""]
        tables += grid(figures, columns, lambda e, m=metric: interval(e[m]), keep=_on_curve)
        names = [n for n in figures.routers(rows.values()) if _on_curve(n)]
        charts.append((title, {name: _line(rows, name, metric) for name in names}))
    if not charts:
        return [*lines, "Not measured yet.", ""], [], ticks
    lines += [*_curve_aims(figures), f"![The curves]({plot})", "", *tables]
    return lines, charts, ticks


def _on_curve(name: str) -> bool:
    return name in CURVE_ROUTERS


def _line(rows: Mapping[int | None, Row | None], name: str, metric: str) -> list[float | None]:
    entries = [(row or {"routers": {}})["routers"].get(name) for row in rows.values()]
    return [entry[metric]["mean"] if entry else None for entry in entries]


def _curve_aims(figures: Figures) -> list[str]:
    """Return the verdicts on the judge's data sets."""
    few: list[Case] = []
    ratio: list[Case] = []
    many: list[Case] = []
    compared = []
    for data, strategy in figures.sets:
        if strategy != JUDGE:
            continue
        for n in CURVE:
            row = figures.find(data, strategy, feedback="choice", few=n)
            label = f"{figures.label(data, strategy)}, N = {'all' if n is None else n}"
            compared.append((label, n, _count_based(row), row))
    small = [c for c in compared if c[1] is not None and c[1] <= FEW]
    large = [c for c in compared if c not in small]
    for group, cases in ((small, few), (large, many)):
        adjusted = holm([gap and gap["p"] for _, _, gap, _ in group])
        for (label, _, gap, _), p in zip(group, adjusted, strict=True):
            met = None
            if gap is not None and p is not None:
                sure = p < SIGNIFICANT
                met = gap["mean"] > 0 and sure if group is small else not (gap["mean"] < 0 and sure)
            cases.append(Case(label, met, f"{interval(gap)}, p {p_text(p)}"))
    for label, _, _, row in small:
        share = (row or {"differences": {}})["differences"].get("explicit-utility", {})
        share = share.get("accuracy_ratio")
        known = share is not None and share["mean"] is not None
        met = share["mean"] >= ACCURACY_WANTED if known else None
        ratio.append(Case(label, met, per_cent(share)))
    return [
        *aim(
            f"judge, N ≤ {FEW}: significantly above the better of best-per-user and "
            "best-per-user-task (Holm)",
            few,
        ),
        *aim(f"judge, N ≤ {FEW}: at least 90 % of explicit-utility's accuracy", ratio),
        *aim("judge, N = 60 and all: not significantly below the count-based", many),
    ]


def _count_based(row: Row | None) -> Any:
    """Return the difference to the better count-based baseline; None where not measured."""
    if row is None:
        return None
    known = [name for name in COUNT_BASED if name in row["differences"]]
    top = max(known, key=lambda name: row["routers"][name]["reward"]["mean"], default=None)
    return row["differences"].get(top)
