"""bench train: fit a router and write it to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from personaroute_bench.cli.screen import say


def train(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The data set that bench generate made.")
    ] = Path("personaroute-data"),
    router: Annotated[
        str,
        typer.Option(metavar="NAME", help="personalized, personalized-graph or explicit-utility."),
    ] = "personalized",
    out: Annotated[
        Path, typer.Option(metavar="MODEL", help="Folder to write the trained router to.")
    ] = Path("personaroute-model"),
    strategy: Annotated[
        Optional[str],  # noqa: UP045 - read at run time by Typer
        typer.Option(help="Whose rewards count; needed only if the data set has several."),
    ] = None,
    feedback: Annotated[
        Literal["full", "choice", "pairwise"],
        typer.Option(help="What the past tells: all rewards, the one taken, or one of two."),
    ] = "full",
    interactions_per_user: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=1, help="Training queries a user; all without it."),
    ] = None,
    tier: Annotated[
        Literal["T0", "T1", "T2", "T3"], typer.Option(help="What is known of a user.")
    ] = "T1",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the training.")] = 0,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="cpu, or cuda where there is one.")
    ] = "cpu",
    users: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=1, help="Train on the first N users of the data set only."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the result.")] = False,
) -> None:
    """Train a router on the training and validation splits, for bench route.

    The test split is not read. To score a router, use bench evaluate.
    """
    from personaroute_bench.training import train as run

    trained = run(
        directory,
        router,
        strategy=strategy,
        feedback=feedback,
        interactions_per_user=interactions_per_user,
        tier=tier,
        seed=seed,
        device=device,
        users=users,
        on_progress=None if quiet else lambda line: say(line, err=True),
    )
    trained.save(out)
    facts = trained.training
    say(f"{out}: {router}, {facts['users']:,} users × {facts['queries']:,} past queries")
    if facts["task_accuracy"] is not None:
        share = 100 * facts["task_accuracy"]
        say(f"the task of a query is predicted right for {share:.0f} % of validation queries")
    say(f'try it: bench route {out} --user {trained.user_ids[0]} "your query"')
