"""bench compare: who is better, by how much, how surely."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.json...", help="Files that bench evaluate --json wrote."),
    ],
    metric: Annotated[
        Literal["reward", "oracle_normalised_reward", "accuracy", "performance", "cost_usd"],
        typer.Option(help="What to compare by."),
    ] = "reward",
    router: Annotated[
        Optional[list[str]],  # noqa: UP045 - read at run time by Typer
        typer.Option(
            metavar="NAME",
            help="Which routers; without it, those that were asked for. Repeatable.",
        ),
    ] = None,
    baseline: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="The router that the others are tested against; the first without it. Choose it "
            "before you see the results.",
        ),
    ] = None,
    across: Annotated[
        bool,
        typer.Option(
            "--across",
            help="Also compare runs whose routers learned under other conditions: feedback, tier, "
            "shots, seeds, setting.",
        ),
    ] = False,
    json: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Write the comparison there as JSON."),
    ] = None,
) -> None:
    """Compare routers from results of several runs on the same test outcomes.

    Differences are paired: all runs drew the same users and queries anew. p-values are two-sided
    and corrected for the number of comparisons (Holm); ranks are ranges. Results of different
    data sets are refused.
    """
    from personaroute_bench.evaluation.compare import compare as run
    from personaroute_bench.files import check_writable, write_json

    if json is not None:
        check_writable(json, "--json")
    comparison = run(results, metric=metric, routers=router or (), baseline=baseline, across=across)
    comparison.print()
    if json is not None:
        write_json(json, comparison.data, option="--json")
