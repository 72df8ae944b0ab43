"""Section 3 of the page: what new users and new LLMs keep."""

from __future__ import annotations

from results_lib.plan import LLM_SHOTS, REFERENCE, SHOTS
from results_lib.tables import Case, Figures, aim, grid, interval, mark, per_cent, table

# setting: share wanted, the paper's, numbers of shots
WANTED = {"new-user": (0.85, 64.81, SHOTS), "new-llm": (0.90, 85.80, LLM_SHOTS)}
AT = 10


def few_shot(figures: Figures) -> list[str]:
    """Return section 3."""
    lines = [
        "## 3. New users and new LLMs",
        "",
        "*Retention*: the normalised reward with k shown interactions as a share of the same "
        "router's that was trained on everything, for the same users and queries. A dash where "
        "the whole may as well be zero. A third of the users, or five of the ten LLMs, are new.",
        "",
    ]
    for setting, (wanted, paper, shots) in WANTED.items():
        lines += [f"### {setting}", ""]
        cases, tables, nothing = [], [], 0
        for feedback in ("full", "choice"):
            columns = []
            for data, strategy in figures.sets:
                row = figures.find(data, strategy, setting, feedback, shots=AT)
                columns.append((figures.label(data, strategy), row))
                entry = (row or {"routers": {}})["routers"].get(REFERENCE, {}).get("retention")
                known = entry is not None and entry["mean"] is not None
                met = entry["mean"] >= wanted if known else None
                if not known and REFERENCE in (row or {"routers": {}})["routers"]:
                    nothing += 1  # measured, and the whole may as well be zero
                    continue
                label = f"{figures.label(data, strategy)}, {feedback}"
                cases.append(Case(label, met, per_cent(entry)))
            if any(row for _, row in columns):
                tables += [f"Retention at k = {AT}, feedback `{feedback}`:", ""]
                tables += grid(
                    figures,
                    columns,
                    lambda entry: per_cent(entry.get("retention")),
                    keep=lambda name: "oracle" not in name,
                )
                tables += [f"`{REFERENCE}` by k, normalised reward, feedback `{feedback}`:", ""]
                tables += _by_shots(figures, setting, feedback, shots)
        text = f"{setting}: `{REFERENCE}` keeps at least {wanted:.0%} at k = {AT}"
        lines += aim(f"{text} (the paper's router: {paper} %)", cases)
        if nothing:
            lines += [f"In {nothing} further places the whole may as well be zero.", ""]
        lines += tables
        if not tables:
            lines += ["Not measured yet.", ""]
    return lines


def _by_shots(figures: Figures, setting: str, feedback: str, shots: tuple[int, ...]) -> list[str]:
    """Return the reference by data set and number of shots, as a grid of one router a row."""
    lines = []
    for data, strategy in figures.sets:
        cells = [figures.label(data, strategy)]
        for k in shots:
            row = figures.find(data, strategy, setting, feedback, shots=k)
            entry = (row or {"routers": {}})["routers"].get(REFERENCE)
            cells.append(interval(entry and entry["normalised"]) + mark(entry))
        lines.append(cells)
    return table(["data", *(f"k = {k}" for k in shots)], lines)
