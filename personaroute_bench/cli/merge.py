"""`bench merge`."""

from __future__ import annotations

from pathlib import Path

import typer

from personaroute_bench.cli.screen import say


def merge(
    shards: list[Path] = typer.Argument(
        ..., help="Folder of the data set that the shards were written to, or the shards' folders."
    ),
    out: Path | None = typer.Option(
        None, help="Folder of the data set. Default: the one that is given, if it holds the shards."
    ),
    partial: bool = typer.Option(
        False,
        "--partial",
        help="Merge what is there, though shards are missing or not finished; the next run asks "
        "the rest.",
    ),
    ledger: Path | None = typer.Option(
        None, help="Ledger of the data set. Default: ledger.sqlite in its folder."
    ),
    max_error_rate: float = typer.Option(
        0.1, help="Refuse when a larger share of an LLM's calls has failed."
    ),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the result."),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest's facts as JSON."),
) -> None:
    """Merge the shards of an array of jobs into one data set; asks nothing and spends nothing.

    In a Slurm array of 16 jobs, each with the same options:

    \b
        bench generate --pool pool.yaml --max-cost 25 --out data \\
            --shard $SLURM_ARRAY_TASK_ID/16

    and when all of them are done:

        bench merge data
    """
    from personaroute_bench.cli.generate import print_result
    from personaroute_bench.cli.screen import ScreenReport
    from personaroute_bench.config import RunConfig
    from personaroute_bench.engines.merge import merge_shards

    report = ScreenReport(quiet=quiet)
    run = RunConfig(ledger=ledger, max_error_rate=max_error_rate)
    try:
        merged = merge_shards(shards, out, partial=partial, run=run, report=report)
    finally:
        report.close()
    if merged.generated is None:
        say(
            f"{merged.shards} shards are merged into {merged.directory}; "
            f"{'; '.join(merged.missing)}.\nNext: the array again, or bench generate for all that "
            "is left"
        )
        return
    print_result(merged.generated, as_json=as_json)
