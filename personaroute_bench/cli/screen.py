"""What the commands print: progress while they run, tables when they are done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from personaroute_bench.llms.progress import money
from personaroute_bench.report import Report
from personaroute_bench.secrets import hide_secrets

if TYPE_CHECKING:
    from personaroute_bench.llms.progress import Progress, ProgressPrinter

PROVENANCE_NOTE = {
    "simulated": "SIMULATED responses: no real LLM was asked.",
    "recorded": "RECORDED responses of real LLMs.",
    "live": "LIVE responses of real LLMs.",
}


class ScreenReport(Report):
    """Progress on standard error: moving on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._printer: ProgressPrinter | None = None
        self._rows_shown = time.monotonic()

    def stage(self, name: str, detail: str = "") -> None:
        """Print the stage's name."""
        self.close()
        if not self.quiet:
            self._line(f"{name}{': ' + detail if detail else ''}")

    def note(self, message: str) -> None:
        """Print a remark."""
        if not self.quiet:
            self._line(f"  {message}")

    def warn(self, message: str) -> None:
        """Print a warning, also where quiet."""
        self._line(f"warning: {message}")

    def calls(self, progress: Progress) -> None:
        """Show the calls."""
        if self.quiet:
            return
        if self._printer is None:
            from personaroute_bench.llms.progress import ProgressPrinter

            self._printer = ProgressPrinter()
        self._printer(progress)

    def rows(self, done: int, total: int) -> None:
        """Show the rows, every few seconds and at the end."""
        now = time.monotonic()
        if not self.quiet and (done == total or now - self._rows_shown > 5):
            self._rows_shown = now
            self._line(f"  {done:,} of {total:,} rows")

    def close(self) -> None:
        """End the moving display, if there is one."""
        if self._printer is not None:
            self._printer.close()
            self._printer = None

    @staticmethod
    def _line(text: str) -> None:
        say(text, err=True)


def say(text: object = "", *, err: bool = False) -> None:
    """Print lines that may hold what strangers wrote: no control characters, no secrets.

    Args:
        text: one or more lines.
        err: to standard error.
    """
    typer.echo(harmless(str(text)), err=err)


def harmless(text: str) -> str:
    """Return text that cannot move the cursor, ring, hide what it says, or tell a key."""
    return "\n".join(clean(line) for line in hide_secrets(text).split("\n"))


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output; numbers (all columns but the first) to the right.

    Plain text of our own rather than a drawn one: it survives pipes, logs and narrow terminals,
    and what LLMs and files put into names is shown as it is, without control characters.
    """
    cells = [[clean(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    if title:
        say(title)
    for number, row in enumerate(cells):
        parts = [row[0].ljust(widths[0])]
        parts += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        say(("  " + "  ".join(parts)).rstrip())
        if number == 0:
            say("  " + "  ".join("─" * width for width in widths))


def clean(text: object) -> str:
    """Return text without line breaks and control characters (hostile names, escape codes)."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def print_dataset(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Print tables, LLMs, spend, coverage and headroom of a data set."""
    from personaroute_bench.manifest_shape import check_manifest

    need = ("provenance", "tables", "strategies", "coverage", "spend", "configuration")
    manifest = check_manifest(manifest, directory / "manifest.json", need, whole=True)
    sources = manifest["provenance"]
    for name in [sources] if isinstance(sources, str) else sources:
        say(PROVENANCE_NOTE[name])
    print_table(
        f"\n{directory}",
        ("table", "rows"),
        [(name, f"{table['rows']:,}") for name, table in manifest["tables"].items()],
    )
    form = manifest.get("interactions") or {}
    if form.get("form") == "virtual":
        rows = sum(sum(found["rows"].values()) for found in manifest["strategies"].values())
        say(
            f"Interactions: virtual, {rows:,} rows that are computed when they are asked for "
            f"(bench materialise writes them); headroom over the first {form['headroom_users']:,} "
            "users"
        )
    print_llms(manifest)
    print_money(manifest)
    print_headroom(manifest)


def print_llms(manifest: Mapping[str, Any]) -> None:
    """Print each LLM's mean performance and cost, with coverage, and share of wins."""
    strategies = manifest["strategies"]
    wins = {name: result["headroom"]["win_shares"] for name, result in strategies.items()}
    print_table(
        "\nLLMs (performance over ok responses, USD over priced ones)",
        ("llm", "ok", "performance", "USD/response", *(f"wins {name}" for name in wins)),
        [
            (
                llm,
                f"{facts['ok']}/{facts['rows']}",
                number(facts["performance"]),
                number(facts["cost_usd"], "{:.3g}"),
                *(percent(shares[llm]) for shares in wins.values()),
            )
            for llm, facts in manifest["coverage"]["by_llm"].items()
        ],
    )
    statuses = manifest["coverage"]["statuses"]
    total = sum(statuses.values())
    others = ", ".join(f"{count:,} {name}" for name, count in statuses.items() if name != "ok")
    say(
        f"\nCoverage: {statuses.get('ok', 0):,} of {total:,} responses ok"
        f"{f' ({others})' if others else ''}"
    )


def print_money(manifest: Mapping[str, Any]) -> None:
    """Print what was spent, known and unknown."""
    spend = manifest["spend"]
    judged = manifest["configuration"].get("judge", "embedded") != "embedded"
    if "simulated" in manifest["provenance"] and not judged:
        say(f"Spend: none (simulated; at the pool's prices {money(spend['usd'])})")
        return
    if not spend["calls"]:
        say("Spend: none, nothing was asked")
        return
    text = f"Spend: {money(spend['usd'])} for {spend['calls']:,} calls"
    if "simulated" in manifest["provenance"]:
        text += " (the judge's are real money, the simulated LLMs' only at the pool's prices)"
    if spend["unknown_calls"]:
        bound = spend["unknown_usd_at_most"]
        text += f"; unknown for {spend['unknown_calls']:,} more calls (no reply came back), " + (
            "without a bound" if bound is None else f"at most {money(bound)}"
        )
    say(text)


def print_headroom(manifest: Mapping[str, Any]) -> None:
    """Print how much there is to personalise, and warn where it is little."""
    for name, result in manifest["strategies"].items():
        headroom = result["headroom"]
        say(
            f"Personalisation headroom of {name}: {percent(headroom['oracle_share'])} of the way "
            "from random to oracle at oracle level (user-aware against user-blind), "
            f"{percent(headroom['fixed_policy_share'])} at fixed-policy level (best LLM per user "
            "against best single LLM)"
        )
        for line in result.get("judge", {}).get("lines", ()):
            say(f"  {clean(line)}")
        if headroom["low"]:
            say(
                "warning: there is hardly anything to personalise here; every user's best LLM is "
                "nearly the same. Try --preset default, or LLMs that differ more in price."
            )


def number(value: float | None, form: str = "{:.3f}") -> str:
    """Return a number, or ``unknown``."""
    return "unknown" if value is None else form.format(value)


def percent(value: float | None) -> str:
    """Return a share as per cent, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"
