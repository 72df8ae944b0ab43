"""`bench submit`: make a submission to the leaderboard, and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from personaroute_bench.cli.screen import say


def submit(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The data set that bench generate made.")
    ] = Path("personaroute-data"),
    name: Annotated[str, typer.Option(help="Name of the row, at most 80 characters.")] = "",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the submission, new or empty.")
    ] = Path("submission"),
    router: Annotated[
        Optional[str],  # noqa: UP045 - read at run time by Typer
        typer.Option(metavar="NAME|MODULE:CLASS", help="The router to run, as in bench evaluate."),
    ] = None,
    choices: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="Instead of it, choices made elsewhere: Parquet, CSV or JSONL with user_id, "
            "query_id, llm_id. Once a seed.",
        ),
    ] = None,
    openness: Annotated[
        Literal["open", "closed"],
        typer.Option(help="Whether code and weights can be had."),
    ] = "closed",
    description: Annotated[str, typer.Option(help="What the router does.")] = "",
    url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="An https address with more about it."),
    ] = None,
    training_data: Annotated[
        str, typer.Option(help="What it was trained on beside the history.")
    ] = "",
    hardware: Annotated[str, typer.Option(help="What it ran on.")] = "",
    price_date: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="YYYY-MM-DD", help="Date of the prices it was told."),
    ] = None,
    contact: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="For whoever keeps the board; not shown on the page."),
    ] = None,
    strategy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Whose rewards count; needed only if the data set has several."),
    ] = None,
    setting: Annotated[str, typer.Option(help="As in bench evaluate.")] = "general",
    shots: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="K", min=0, help="As in bench evaluate."),
    ] = None,
    held_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="ID", help="As in bench evaluate. Repeatable."),
    ] = None,
    feedback: Annotated[
        Literal["full", "choice", "pairwise"], typer.Option(help="What the router was told.")
    ] = "full",
    interactions_per_user: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=1, help="Training queries a user; all without it."),
    ] = None,
    tier: Annotated[
        Literal["T0", "T1", "T2", "T3"], typer.Option(help="What it was told of a user.")
    ] = "T1",
    seeds: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=1, help="Repetitions of --router; 1 without it."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Make a submission to the leaderboard: run a router, or take choices, and check the result.

    Nothing leaves this machine. The folder holds submission.json and choices.parquet; hand it in
    as the board's keeper asks, and the line that is printed where choices are committed first.
    """
    from personaroute_bench.errors import UsageError
    from personaroute_bench.leaderboard.commitments import commitment_line
    from personaroute_bench.leaderboard.submission import About
    from personaroute_bench.leaderboard.submit import submit as make
    from personaroute_bench.leaderboard.track import Track

    if not name:
        raise UsageError("--name is missing; give the row a name, for instance --name my-router")
    if choices and seeds is not None and seeds != len(choices):
        raise UsageError(f"--seeds is {seeds}, but --choices is given {len(choices)} times")
    about = About(
        name=name,
        openness=openness,
        description=description,
        url=url,
        training_data=training_data,
        hardware=hardware,
        price_date=price_date,
        contact=contact,
    )
    track = Track(
        strategy=strategy or "",
        setting=setting,
        feedback=feedback,
        tier=tier,
        interactions_per_user=interactions_per_user,
        shots=shots,
        held_out=tuple(held_out or ()),
        seeds=len(choices) if choices else seeds or 1,
    )
    found = make(
        directory,
        out,
        about,
        track,
        router=router,
        choices=choices or (),
        on_progress=(lambda line: None) if quiet else lambda line: say(line, err=True),
    )
    submission = found.submission
    assert submission is not None, "a submission that was just checked"
    say(f"{out} is ready: {submission.about.name}")
    for figure, value in submission.reported.items():
        say(f"  {figure:26} {'unknown' if value is None else f'{value:.6g}'}")
    if found.row is None:
        say("  no figures: the data set is sealed")
    say("line for commitments.jsonl:")
    say(commitment_line(submission, submission.committed_at or ""))
