"""`bench import`: data of other formats become a benchmark."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.interchange.response_file import Source

app = typer.Typer(
    name="import",
    help="Make a benchmark, or a file of responses for bench generate, from other formats.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class ByName(StrEnum):
    """What is new in the test split."""

    query = "query"
    person = "person"


@app.callback()
def options() -> None:
    """Make a benchmark, or a file of responses for bench generate, from other formats."""


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
        say(json.dumps({"directory": str(made.directory), **made.manifest}, indent=2))
        return
    if not made.changed:
        say("Everything was there already; nothing written.\n")
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
        say(f"\n{merged:,} repeated verdicts on the same pair were merged (majority).")
    say(f"\nNext: bench evaluate {out}")


_OUT = typer.Option(..., "--out", help="New folder for what is made.")
_JSON = typer.Option(False, "--json", help="Print what was made as JSON.")


@app.command("personaroute-csv")
def personaroute_csv(
    path: Path = typer.Argument(..., help="Folder of the published CSVs, or one CSV."),
    out: Path = typer.Option(..., "--out", help="Folder of the data set."),
    config: str | None = typer.Option(
        None, help="Which configuration of the folder, for instance Router_user_data_v1."
    ),
    descriptions: Path | None = typer.Option(
        None, help="JSON of the LLMs' descriptions and prices, as the authors' code has it."
    ),
    embedder: str = typer.Option(
        "published", help="published: the vectors of the files; or one of bench generate."
    ),
    allow_mismatch: bool = typer.Option(
        False, help="Count rewards that do not follow from the other columns; keep them as is."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest as JSON."),
) -> None:
    """Make a data set of CSVs in the layout of the published PersonaRoute-Bench.

    bench import personaroute-csv PersonaRoute-Bench --config Router_user_data_v1 --out data
    """
    import json

    from personaroute_bench.cli.screen import print_dataset
    from personaroute_bench.interchange.personaroute import import_personaroute

    made = import_personaroute(
        path,
        out,
        config=config,
        descriptions=descriptions,
        embedder=embedder,
        allow_mismatch=allow_mismatch,
    )
    if as_json:
        say(json.dumps({"directory": str(made.directory), **made.manifest}, indent=2))
        return
    if not made.changed:
        say("Everything was there already; nothing written.\n")
    print_dataset(out, made.manifest)
    say(f"Splits: {made.manifest['configuration']['splits']}")
    for name, count in made.manifest["mismatches"].items():
        if count:
            say(f"warning: {count:,} contradictions or gaps ({name}); see README.md there")
    say(f"\nNext: bench evaluate {out}")


@app.command()
def routerbench(
    path: Path = typer.Argument(..., help="RouterBench, converted to Parquet or CSV."),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of RouterBench. Its pickles are never opened; docs/exchange.md helps."""
    from personaroute_bench.interchange.routerbench import open_routerbench

    _convert(open_routerbench(path), out, as_json)


@app.command()
def llmrouterbench(
    path: Path = typer.Argument(..., help="Folder of result files (bench/), or one JSON."),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of LLMRouterBench results; the latest full run of each counts."""
    from personaroute_bench.interchange.llmrouterbench import open_llmrouterbench

    _convert(open_llmrouterbench(path), out, as_json)


@app.command()
def embedllm(
    path: Path = typer.Argument(..., help="CSV of EmbedLLM, or a folder of its CSVs."),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of EmbedLLM: right or wrong, without texts and usage."""
    from personaroute_bench.interchange.embedllm import open_embedllm

    _convert(open_embedllm(path), out, as_json)


@app.command()
def xroutebench(
    path: Path = typer.Argument(..., help="Parquet of one configuration, or its folder."),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of an xRouteBench routing table; llm_candidates beside it gives prices."""
    from personaroute_bench.interchange.xroutebench import open_xroutebench

    _convert(open_xroutebench(path), out, as_json)


@app.command("alpaca-eval")
def alpaca_eval(
    path: Path = typer.Argument(..., help="JSON of outputs, or a folder of them."),
    reference: str = typer.Option(
        ..., help="LLM (generator) whose outputs are the ground truth; it is no candidate."
    ),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of AlpacaEval outputs, scored by token F1 against a reference's."""
    from personaroute_bench.interchange.alpaca_eval import open_alpaca_eval

    _convert(open_alpaca_eval(path, reference), out, as_json)


@app.command("lm-eval")
def lm_eval(
    path: Path = typer.Argument(..., help="samples_*.jsonl, or a folder with a folder an LLM."),
    metric: str | None = typer.Option(None, help="Key of the score; default: the first named."),
    answer_filter: str | None = typer.Option(
        None, "--filter", help="Which answer filter; default: the first of each file."
    ),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of sample logs of lm-evaluation-harness (--log_samples)."""
    from personaroute_bench.interchange.lm_eval import open_lm_eval

    _convert(open_lm_eval(path, metric=metric, filter_=answer_filter), out, as_json)


@app.command()
def parquet(
    path: Path = typer.Argument(..., help="Parquet or CSV with one row a (query, LLM)."),
    columns: list[str] = typer.Option(
        [], "--map", help="FIELD=COLUMN, for instance query=question; repeatable."
    ),
    constants: list[str] = typer.Option(
        [], "--set", help="FIELD=TEXT for every row, for instance metric=em_mc; repeatable."
    ),
    out: Path = _OUT,
    as_json: bool = _JSON,
) -> None:
    """Make responses of a table of your own, by a mapping of its columns."""
    from personaroute_bench.interchange.mapped_parquet import open_mapped

    source = open_mapped(path, _pairs(columns, "--map"), _pairs(constants, "--set"))
    _convert(source, out, as_json)


def _pairs(options: list[str], name: str) -> dict[str, str]:
    from personaroute_bench.errors import UsageError

    pairs: dict[str, str] = {}
    for option in options:
        field, equals, value = option.partition("=")
        if not equals or not value or field in pairs:
            raise UsageError(f"{name} {option!r}: give FIELD=VALUE, each field once")
        pairs[field] = value
    return pairs


def _convert(source: Source, out: Path, as_json: bool) -> None:
    """Write the responses and say what to do with them."""
    import json

    from personaroute_bench.cli.screen import clean
    from personaroute_bench.interchange.response_file import write_responses

    made = write_responses(source, out)
    if as_json:
        facts = {
            "directory": str(made.directory),
            "format": source.format,
            "rows": made.rows,
            "queries": made.queries,
            "tasks": made.tasks,
            "llms": made.llms,
            "unpriced": made.unpriced,
            "notes": made.notes,
        }
        say(json.dumps(facts, indent=2))
        return
    say(
        f"RECORDED responses from {clean(source.format)}: {made.rows:,} of {len(made.llms)} LLMs "
        f"to {made.queries:,} queries of {made.tasks} tasks, in {out}"
    )
    for note in made.notes:
        say(f"  {clean(note)}")
    unknown = ""
    if made.unpriced:
        say(
            f"  what {len(made.unpriced)} LLMs cost is unknown: fill in their prices in "
            f"{out / 'pool.yaml'} (USD per million tokens)"
        )
    else:
        unknown = " --allow-unknown-cost"  # costs stand in the rows; the pool may lack prices
    say(
        f"\nNext: bench generate --responses {out / 'responses.parquet'} --pool "
        f"{out / 'pool.yaml'}{unknown} --out DATA"
    )
