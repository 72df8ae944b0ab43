"""`bench export`: a data set in the layout of another project."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from personaroute_bench.cli.screen import say


class FormatName(StrEnum):
    """Layouts that can be written."""

    personaroute_csv = "personaroute-csv"


def export(
    directory: Path = typer.Argument(Path("personaroute-data"), help="Folder of the data set."),
    to: FormatName = typer.Option(..., "--to", help="Layout to write."),
    out: Path = typer.Option(..., "--out", help="New folder for the files."),
    strategy: str | None = typer.Option(None, help="Which strategy, where there are several."),
) -> None:
    """Write a data set in the layout of the published PersonaRoute-Bench CSVs.

    bench export data --to personaroute-csv --out csv
    """
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.interchange.personaroute_export import export_personaroute

    assert to is FormatName.personaroute_csv
    made = export_personaroute(Benchmark.load(directory), out, strategy=strategy)
    say(f"{made.rows:,} rows in {made.directory}: {', '.join(made.files)}")
    for note in made.notes:
        say(f"  {note}")
