"""`bench leaderboard`: check submissions, build the page, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from personaroute_bench.cli.screen import say

app = typer.Typer(
    help="Check submissions to the leaderboard, build its page, show it; see bench submit.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Submissions = Annotated[
    list[Path],
    typer.Argument(metavar="SUB…", help="Submissions, or folders of them."),
]
Data = Annotated[
    list[Path],
    typer.Option(metavar="DIR", help="A data set that they answer. Repeatable."),
]


@app.command("verify")
def verify(
    submissions: Submissions,
    data: Data,
    as_json: Annotated[
        Optional[Path],  # noqa: UP045 - read at run time by Typer
        typer.Option("--json", metavar="FILE", help="Write what came out there as JSON."),
    ] = None,
) -> None:
    """Compute every figure of submissions from their choices, and compare with those reported.

    The exit code is 0 if all can go on the board as they are, 1 if one cannot.
    """
    from personaroute_bench.evaluation.texts import printable
    from personaroute_bench.files import check_writable, write_json
    from personaroute_bench.leaderboard.datasets import load_all
    from personaroute_bench.leaderboard.scoring import figures
    from personaroute_bench.leaderboard.submission import find_submissions
    from personaroute_bench.leaderboard.verify import verify as check

    if as_json is not None:
        check_writable(as_json, "--json")
    # Names of folders are strangers' too: a terminal must not obey them.
    found = check(find_submissions(submissions), load_all(data))
    for one in found:
        if one.problem is not None or one.submission is None:
            say(f"{printable(str(one.folder))}: WRONG")
            say(f"  {printable(str(one.problem))}")
            continue
        if one.row is None:
            folder = printable(str(one.folder))
            say(f"{folder}: form and hashes hold; the data set is sealed, no figures")
            continue
        count = len(one.differences)
        wrong = f"{count} reported {'figure differs' if count == 1 else 'figures differ'}"
        say(f"{printable(str(one.folder))}: {wrong if count else 'ok'}")
        differs = {difference.figure for difference in one.differences}
        for figure, value in figures(one.row).items():
            said = one.submission.reported.get(figure)
            mark = "  DIFFERS" if figure in differs else ""
            say(f"  {figure:26} {_show(value):>12}  reported {_show(said)}{mark}")
    if as_json is not None:
        write_json(as_json, {"submissions": [one.as_json() for one in found]}, option="--json")
    if not all(one.ok for one in found):
        raise typer.Exit(1)


@app.command("build")
def build(
    submissions: Submissions,
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the site.")] = Path("site"),
    commitments: Annotated[
        Optional[Path],  # noqa: UP045 - read at run time by Typer
        typer.Option(
            metavar="FILE", help="commitments.jsonl: what was committed before the opening."
        ),
    ] = None,
    opened: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="DATE",
            help="When the data sets were opened, if they were sealed; only choices committed "
            "before are ranked.",
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(help="Title of the page.")
    ] = "PersonaRoute-Bench leaderboard",
    draws: Annotated[
        int, typer.Option(metavar="N", min=0, help="Bootstrap draws, 100 or more; 0: no intervals.")
    ] = 1000,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Score submissions and write the page; one file, no network needed to read it.

    A submission that cannot be scored is named on the page and here, with the reason.
    """
    from personaroute_bench.leaderboard.build import build as make

    found = make(
        submissions,
        data,
        out,
        commitments=commitments,
        opened=opened,
        title=title,
        draws=draws,
        on_progress=(lambda line: None) if quiet else lambda line: say(line, err=True),
    )
    for entry in found["rejected"]:
        say(f"left out: {entry['folder']}: {entry['reason']}", err=True)
    rows = sum(row["kind"] == "submission" for board in found["boards"] for row in board["rows"])
    boards = len(found["boards"])
    say(
        f"{out / 'index.html'}: {rows} {'submission' if rows == 1 else 'submissions'} on "
        f"{boards} {'board' if boards == 1 else 'boards'}, {len(found['rejected'])} left out"
    )


@app.command("serve")
def serve(
    site: Annotated[Path, typer.Argument(metavar="[SITE]", help="What build wrote.")] = Path(
        "site"
    ),
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: a free one.")] = 8000,
) -> None:
    """Show the page to the browser of this machine, and to nobody else; end with Ctrl-C."""
    from personaroute_bench.leaderboard.serve import make_server

    with make_server(site, port) as server:
        say(f"http://127.0.0.1:{server.server_port}/ (end with Ctrl-C)")
        server.serve_forever()


def _show(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
