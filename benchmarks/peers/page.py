"""The tables of docs/performance.md between its markers, from peers.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.environments import FLOOR, OURS


def write_page(told: dict[str, Any], page: Path) -> None:
    """Replace what stands between the markers.

    Raises:
        SystemExit: the page has no such markers.
    """
    text = page.read_text(encoding="utf-8")
    for name, lines in (("calls", calls(told)), ("expansion", expansion(told))):
        start, end = f"<!-- peers:{name} -->", f"<!-- /peers:{name} -->"
        if start not in text or end not in text:
            raise SystemExit(f"{page} has no markers {start} and {end}")
        before, after = text.split(start)[0], text.split(end)[1]
        text = "\n".join([f"{before}{start}", *lines, f"{end}{after}"])
    page.write_text(text, encoding="utf-8")


def calls(told: dict[str, Any]) -> list[str]:
    """Return the tables of the calls, one a condition, and what was skipped."""
    made = told["made"]
    lines = [
        f"{told['calls']:,} calls; {made['cores']} cores, Python {made['python']}, {made['date']}, "
        f"load {made['load']} at the end.",
    ]
    for condition, rows in told["conditions"].items():
        at_once, delay = (int(part) for part in condition.split("x"))
        lines += ["", f"**{at_once} at once, {delay} ms** (ideal {1000 * at_once / delay:,.0f}/s)"]
        lines += ["", "| way | requests/s | ours ÷ it (lowest to highest) | whole process |"]
        lines.append("|---|---|---|---|")
        lines += [_row(row, told["versions"].get(row["way"], "")) for row in rows]
    for name, why in told["skipped"].items():
        lines += ["", f"Skipped: {name}: {why}."]
    return [*lines, "", _verdict(told)]


def _row(row: dict[str, Any], version: str) -> str:
    name = f"{row['way']} {version}".strip()
    if not row["rounds"]:
        return f"| {name} | failed: {row['failed']} | | |"
    ratio = row["ours_to_it"]
    shown = "" if row["way"] == OURS or ratio is None else _spread(ratio)
    return f"| {name} | {row['rate']:,.0f} | {shown} | {row['whole_s']:.0f} s |"


def _verdict(told: dict[str, Any]) -> str:
    """Say whether ours is at least as fast as every peer."""
    ratios = {
        (condition, row["way"]): row["ours_to_it"][0]
        for condition, rows in told["conditions"].items()
        for row in rows
        if row["way"] not in (OURS, FLOOR) and row.get("ours_to_it")
    }
    if not ratios:
        return "No peer was measured."
    least = min(ratios, key=lambda key: ratios[key])
    met = "met" if ratios[least] >= 1 else "missed"
    return (
        f"Aim: throughput at least equal to every peer's: {met}; the least ratio of the medians is "
        f"{ratios[least]:.2f} ({least[1]}, {least[0].replace('x', ' at ')} ms)."
    )


def expansion(told: dict[str, Any]) -> list[str]:
    """Return the table of the expansion."""
    rows = told["expansion"]
    if not rows:
        return ["Not measured."]
    lines = [
        f"1,000 users × 240 queries × 10 LLMs = 2.4 million rows to Parquet, "
        f"{told['expansion_rounds']} rounds, each way in a process of its own.",
        "",
        "| way | wall | CPU | peak memory | ours is faster by, CPU | by wall |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        less = row["measured_users"] < max(other["measured_users"] for other in rows)
        name = row["way"] + (f", {row['measured_users']} users, multiplied" if less else "")
        ours = row["way"] == "ours"
        lines.append(
            f"| {name} | {row['seconds']:,.1f} s | {row['cpu_s']:,.1f} s | "
            f"{row['peak_mb']:,.0f} MB{' (of those users)' if less else ''} | "
            f"{'' if ours else _spread(row['ours_faster_cpu'])} | "
            f"{'' if ours else _spread(row['ours_faster'])} |"
        )
    slow = next(row for row in rows if "iterrows" in row["way"])["ours_faster"][0]
    met = "met" if slow >= 100 else "missed"
    return [*lines, "", f"Aim: at least 100 times faster than the row-wise way: {met}."]


def _spread(values: list[float]) -> str:
    middle, low, high = (f"{v:,.0f}" if values[0] >= 20 else f"{v:,.2f}" for v in values)
    return f"{middle} ({low} to {high})"
