"""`bench materialise`."""

from __future__ import annotations

from pathlib import Path

import typer

from personaroute_bench.cli.screen import say


def materialise(
    directory: Path = typer.Argument(Path("personaroute-data"), help="Folder of the data set."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the result."),
) -> None:
    """Write down the interactions of a virtual data set, for bench publish and other readers.

    bench generate --users 100000 --interactions virtual --out data

    bench materialise data
    """
    from personaroute_bench.cli.screen import ScreenReport
    from personaroute_bench.materialise import materialise as write

    report = ScreenReport(quiet=quiet)
    try:
        made = write(directory, report)
    finally:
        report.close()
    if not made.rows:
        say(f"The interactions of {directory} are stored already; nothing was written.")
        return
    for strategy, rows in made.rows.items():
        say(f"{strategy}: {rows:,} rows in {made.directory / 'interactions' / strategy}")
