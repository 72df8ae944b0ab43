"""The printed table of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from personaroute_bench.evaluation.facts import footnotes
from personaroute_bench.evaluation.significance import LEAST_UNITS

if TYPE_CHECKING:
    from rich.console import Console

BASELINE = "best-single"
# Columns, the most telling first: a narrow terminal drops the last.
COLUMNS = (
    "reward",
    "normalised",
    "rank",
    f"Δ {BASELINE}",
    "accuracy",
    "Δ shuffled",
    "performance",
    "USD/query",
    "charged",
)
RETENTION = "retention"
# With fewer, 95 % intervals of skewed figures cover as little as 90 % (benchmarks/coverage.py).
FEW_USERS = 30


def rank_range(rank: Mapping[str, int] | None) -> str:
    """Return ``2`` or ``1–3``; a dash for controls, which have none."""
    if rank is None:
        return "–"
    return str(rank["best"]) + (f"–{rank['worst']}" if rank["worst"] > rank["best"] else "")


def verdicts(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each router that was asked for: does it personalise, whom does it beat?"""
    for entry in entries:
        if entry["asked_for"] and entry.get("verdict"):
            yield f"{entry['name']} {entry['verdict']}"


PROTOCOL_NOTES = {
    "cascade": "(cascade) sees the answers that it buys and pays for all of them: its reward and "
    "USD are after every call, its rank is among cascades",
    "online": "(online) is told what its choices were worth, block by block: it learns from the "
    "test stream, others do not, and its rank is among online routers",
}


def print_table(data: Mapping[str, Any], console: Console | None = None) -> None:
    """Print results; a narrow terminal gets fewer columns, a pipe all of them."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=2000, color_system=None)
    for line in _heading(data):
        console.print(Text(line))
    shown, left_out = list(COLUMNS), []
    if data["retention"]:
        shown.insert(2, RETENTION)
    status = 40 if console.is_terminal else 400  # longer ones are wrapped
    roomy = console.options.update(width=2000)
    while True:
        table = _table(data["routers"], shown, status)
        wanted = Measurement.get(console, roomy, table).maximum
        if wanted <= console.width or len(shown) == 1:
            break
        left_out.append(shown.pop())
    console.print()
    width = console.width
    # Too wide even so: let the terminal wrap the lines rather than cut them.
    console.width = max(width, wanted)
    console.print(table)
    console.width = width
    if left_out:
        console.print(Text(f"no room for {', '.join(reversed(left_out))}; --json has them"))
    for line in (*verdicts(data["routers"]), *footnotes(data["routers"])):
        console.print(Text(line))
    asked = {entry.get("protocol", "batch") for entry in data["routers"]}
    for protocol in sorted(asked & PROTOCOL_NOTES.keys()):
        console.print(Text(PROTOCOL_NOTES[protocol]))
    console.print(Text("† a control that uses test outcomes; no router can beat the oracle"))


def _table(entries: Sequence[Mapping[str, Any]], columns: Sequence[str], status_width: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("router", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("status", max_width=status_width)
    for entry in entries:
        protocol = entry.get("protocol", "batch")
        name = entry["name"] + ("" if protocol == "batch" else f" ({protocol})")
        name += " †" if entry["uses_test_outcomes"] else ""
        cells = _cells(entry)
        row = (name, *(cells[column] for column in columns), entry["status"])
        table.add_row(*(Text(cell) for cell in row))
    return table


def _heading(data: Mapping[str, Any]) -> list[str]:
    source, sizes = data["data"], data["sizes"]
    per_user, gap = data["interactions_per_user"], data["headroom"]["share"]
    setting = f"setting {data['setting']}"
    if data["held_out"]:
        setting += f" ({len(data['held_out'])} held out"
        setting += f", {data['shots']} shots)" if data["shots"] is not None else ")"
    percent = round(100 * data["confidence"])
    rows = data["rows"]
    left_out = rows["total"] - rows["scored"]
    lines = [
        f"{source['directory'] or 'data in memory'}: {source['provenance']} responses, "
        f"{sizes['users']} users × {sizes['test']} test queries × {sizes['llms']} LLMs",
        f"strategy {data['strategy']}, {setting}, feedback {data['feedback']}"
        f"{f', {per_user} interactions a user' if per_user else ''}, tier {data['tier']}, "
        f"{data['seeds']} seed{'s' if data['seeds'] > 1 else ''}",
        f"personalisation headroom: {'none' if gap is None else f'{100 * gap:.1f} %'} of the "
        "way from random to oracle is beyond a user-blind oracle"
        + (f"; [{percent} % intervals over users and queries]" if data["bootstrap_draws"] else ""),
    ]
    if sizes["users"] < FEW_USERS and data["bootstrap_draws"]:
        lines.append(
            f"{sizes['users']} users are few: such intervals miss the truth more often than they "
            "say (docs/metrics.md)"
        )
    units = min(sizes["users"], sizes["test"])
    if units < LEAST_UNITS and data["bootstrap_draws"]:
        lines.append(
            f"with {sizes['users']} users and {sizes['test']} test queries no difference is "
            f"tested: it takes {LEAST_UNITS} of each"
        )
    if left_out:
        lines.append(
            f"{left_out} of {rows['total']} (user, query) rows are left out of every mean: no "
            "candidate has a reward there"
        )
    return lines


def _cells(entry: Mapping[str, Any]) -> dict[str, str]:
    if not entry["metrics"]:
        return dict.fromkeys((*COLUMNS, RETENTION), "–")

    def show(value: Mapping[str, Any] | None, form: str, interval: bool = True) -> str:
        if value is None or value["mean"] is None:
            return "unknown"
        text = format(value["mean"], form)
        if interval and value["low"] is not None:
            text += f" [{format(value['low'], form)}, {format(value['high'], form)}]"
        return text

    metrics = entry["metrics"]
    cells = {
        "reward": show(metrics["reward"], "z.4f"),
        "normalised": show(metrics["oracle_normalised_reward"], "z.3f", interval=False),
        f"Δ {BASELINE}": show(entry["reward_difference"], "+z.4f"),
        "rank": rank_range(entry["rank"]),
        "accuracy": show(metrics["accuracy"], "z.3f", interval=False),
        "Δ shuffled": show(metrics["shuffled_gain"], "+z.4f", interval=False),
        "performance": show(metrics["performance"], "z.3f", interval=False),
        "USD/query": show(metrics["cost_usd"], ".3g", interval=False),
        "charged": show(metrics["charged"], ".2%", interval=False),
        RETENTION: "–",
    }
    if "normalised_retention" in metrics:
        cells[RETENTION] = show(metrics["normalised_retention"], ".1%")
    return cells
