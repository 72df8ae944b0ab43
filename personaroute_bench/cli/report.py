"""bench report: results as a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from personaroute_bench.cli.screen import say


def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.json...", help="Files that bench evaluate --json wrote."),
    ],
    data: Annotated[
        Optional[Path],  # noqa: UP045 - read at run time by Typer
        typer.Option(
            metavar="DIR",
            help="The data set of the results, or ORG/NAME on the Hub: for how users fare, who is "
            "sent where, and examples.",
        ),
    ] = None,
    choices: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            metavar="DIR",
            help="The folder that bench evaluate --choices wrote with the results. Repeatable.",
        ),
    ] = None,
    router: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="Whose choices are shown by user, the first one's with examples; without it, "
            "those that lose most when users are shuffled. Repeatable.",
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(metavar="N", min=0, help="How many examples; 0: none.")
    ] = 6,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for report.html and the pictures.")
    ] = Path("report"),
    quiet: Annotated[bool, typer.Option("--quiet", help="Only what was written.")] = False,
) -> None:
    """Write a page about results: one HTML file that needs no network, and its plots as PNG.

    Results that differ only in --shots or --interactions-per-user become one cold-start curve.
    """
    from personaroute_bench.reporting import report as run

    tell = None if quiet else lambda line: say(line, err=True)
    written = run(
        results,
        out,
        data=data,
        choices=choices or (),
        routers=router or (),
        examples=examples,
        on_progress=tell,
    )
    for note in written.notes:
        say(note, err=True)
    for path in (written.page, *written.pictures):
        say(path)
