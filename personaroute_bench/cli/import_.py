"""`bench import`: data of other formats become a benchmark."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

app = typer.Typer(
    name="import",
    help="Make a benchmark from data of other formats: recorded human choices.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class ByName(StrEnum):
    """What is new in the test split."""

    query = "query"
    person = "person"


@app.callback()
def options() -> None:
    """Make a benchmark from data of other formats."""


@app.command()
def preferences(
    file: Path = typer.Argument(..., help="Parquet or JSONL; see docs/preferences.md."),
    out: Path = typer.Option(..., "--out", help="Folder of the data set."),
    dataset: list[str] = typer.Option(
        [], "--dataset", help="Only this data set of the file; repeatable. Default: all."
    ),
    by: ByName = typer.Option(
        ByName.query,
        help="query: test asks known people about queries new to them; person: test asks new "
        "people.",
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Decides the split."),
    exclude: list[str] = typer.Option(
        [], "--exclude", help="Leave out this candidate, say a human reference; repeatable."
    ),
    embedder: str = typer.Option(
        "hashing", help="hashing (no download), sentence-transformers:MODEL, or endpoint:MODEL."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest as JSON."),
) -> None:
    """Make a benchmark of real people from recorded choices: pairs, nothing simulated.

    bench import preferences preferences.parquet --dataset llmfao --out people
    """
    import json

    from personaroute_bench.cli.screen import print_table
    from personaroute_bench.interchange.preferences import import_preferences

    made = import_preferences(
        file,
        out,
        datasets=dataset or None,
        by=by.value,
        seed=seed,
        exclude=exclude,
        embedder=embedder,
    )
    if as_json:
        typer.echo(json.dumps({"directory": str(made.directory), **made.manifest}, indent=2))
        return
    if not made.changed:
        typer.echo("Everything was there already; nothing written.\n")
    columns = ("people", "queries", "llms", "pairs", "ties", "train", "validation", "test")
    print_table(
        f"RECORDED choices of real people, split by {made.manifest['pairs']['by']}: {out}",
        ("data set", *columns, "without test"),
        [
            (name, *(f"{of[c]:,}" for c in columns), f"{of['people_without_test']:,}")
            for name, of in made.manifest["pairs"]["datasets"].items()
        ],
    )
    merged = made.manifest["pairs"]["repeats_merged"]
    if merged:
        typer.echo(f"\n{merged:,} repeated verdicts on the same pair were merged (majority).")
    typer.echo(f"\nNext: bench evaluate {out}")
