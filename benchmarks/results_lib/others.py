"""Section 4 of the page: every further setting, and routers with a protocol of their own."""

from __future__ import annotations

from results_lib.plan import ALL_QUERIES, COST, DRIFT, JUDGE
from results_lib.tables import NOTHING, SHORT, Figures, grid, interval, number, per_cent, table


def other_settings(figures: Figures) -> list[str]:
    """Return section 4."""
    lines = ["## 4. Other settings", "", "Normalised reward throughout.", ""]
    for few in (5, 20):
        columns = [(figures.label(d, s), figures.find(d, s, few=few)) for d, s in figures.sets]
        if any(row for _, row in columns):
            lines += [f"### Full feedback, {few} interactions a user", ""]
            lines += grid(figures, columns, lambda entry: interval(entry["normalised"]))
    for feedback in ("full", "choice"):
        columns = [
            (figures.label(d, s), figures.find(d, s, "cross-task", feedback))
            for d, s in figures.sets
        ]
        if any(row for _, row in columns):
            lines += [f"### cross-task, feedback `{feedback}`", ""]
            lines += ["Each task left out in turn; in brackets retention.", ""]
            lines += grid(
                figures,
                columns,
                lambda e: f"{interval(e['normalised'])} ({per_cent(e.get('retention'))})",
            )
    names = list(dict.fromkeys(data for data, _ in figures.sets))
    columns = [
        (f"{figures.label(d, DRIFT)}, {feedback}", figures.find(d, DRIFT, "drift", feedback))
        for d in names
        for feedback in ("full", "choice")
    ]
    if any(row for _, row in columns):
        lines += ["### drift", "", "Tastes move; test queries come last in every life.", ""]
        lines += grid(figures, columns, lambda entry: interval(entry["normalised"]))
    if ALL_QUERIES.name in figures.made["data"]:
        columns = [(SHORT[s], figures.find(ALL_QUERIES.name, s)) for s in (COST, JUDGE)]
        if any(row for _, row in columns):
            lines += [f"### {ALL_QUERIES.label[0].upper()}{ALL_QUERIES.label[1:]}", ""]
            lines += ["General setting, full feedback, one seed.", ""]
            lines += grid(figures, columns, lambda entry: interval(entry["normalised"]))
    return [*lines, *_own_protocol(figures)]


def _own_protocol(figures: Figures) -> list[str]:
    """Return the table of cascades and online routers."""
    lines = []
    for data, strategy in figures.sets:
        for row in figures.rows:
            at = (row["data"], row["strategy"], row["setting"], row["feedback"], row["few"])
            if at != (data, strategy, "general", "full", None):
                continue
            for name, entry in row["own_protocol"].items():
                cost = entry.get("cost_usd", {}).get("mean")
                lines.append(
                    [
                        figures.label(data, strategy),
                        name,
                        entry["protocol"],
                        interval(entry.get("reward")),
                        interval(entry.get("normalised")),
                        NOTHING if cost is None else f"{1000 * cost:.3g}",
                        number(entry.get("accuracy", {}).get("mean")),
                    ]
                )
    if not lines:
        return []
    head = [
        "data",
        "router",
        "protocol",
        "reward",
        "normalised",
        "USD per 1,000 queries",
        "accuracy",
    ]
    return [
        "### Cascades and online routers",
        "",
        "They are charged for every call, or learn from the rewards of the test requests they "
        "have answered (docs/protocols.md), so they stand apart from the tables above.",
        "",
        *table(head, lines),
    ]
