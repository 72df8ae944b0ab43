"""`bench ledger`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.llms.ledger import Spend


def ledger(
    path: Path = typer.Argument(
        Path("personaroute-data"),
        help="A ledger file, or the folder of a data set, of its shards, or of one shard.",
    ),
    export: Path | None = typer.Option(
        None, help="Write every request and reply, verbatim, as JSON lines to this file."
    ),
    retry: list[str] = typer.Option(
        [], help="Error types to ask again with the next run, for instance bad_request; repeatable."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
) -> None:
    """Show what was asked, answered and paid; list unknown spend; export it all."""
    import json
    from dataclasses import asdict

    from personaroute_bench.cli.screen import print_table
    from personaroute_bench.config import RunConfig
    from personaroute_bench.engines.shard_note import shard_folders
    from personaroute_bench.errors import UsageError
    from personaroute_bench.llms.ledger import Ledger, export_ledger, ledger_summary
    from personaroute_bench.llms.progress import money
    from personaroute_bench.settle import ledger_path

    file = ledger_path(path, RunConfig()) if path.is_dir() else path
    shards = shard_folders(path)
    if shards and not file.is_file():
        if export is not None or retry:
            raise UsageError(
                f"{path} holds {len(shards)} shards that are not merged, each with its own "
                f"ledger; name one of them, for instance {shards[0]}, or merge them first: "
                f"bench merge {path}"
            )
        show_shards(shards, as_json)
        return
    if not file.is_file():
        raise UsageError(
            f"there is no ledger {file}; data sets of recorded responses have none, others keep "
            "it as ledger.sqlite or where --ledger said"
        )
    if retry:
        with Ledger(file) as book:
            say(f"{book.reopen(retry)} calls will be asked again by the next bench generate")
    with Ledger(file, read_only=True) as book:
        if export is not None:
            say(f"{export_ledger(book, export):,} calls written to {export}")
        summary, failures = ledger_summary(book), book.failures()
    if as_json:
        facts = {**asdict(summary), "failures": failures}
        if shards:
            facts["shards"] = [shard_facts(shard) for shard in shards]
        say(json.dumps(facts, indent=2))
        return
    print_table(
        str(file),
        ("llm", "calls", "settled", "attempts", "spend", "unknown, at most"),
        [
            (
                llm.llm_id,
                f"{llm.calls:,}",
                f"{llm.settled:,}",
                f"{llm.attempts:,}",
                money(llm.spend.known_usd),
                at_most(llm.spend),
            )
            for llm in summary.llms
        ],
    )
    states = ", ".join(f"{count:,} {state}" for state, count in summary.attempts.items())
    say(f"\nSpend: {money(summary.spend.known_usd)}; attempts: {states or 'none'}")
    if summary.attempts.get("unknown") or summary.attempts.get("lost"):
        say(
            f"Unknown spend: at most {money(summary.spend.unknown_usd)} for calls whose reply "
            "never came back (killed, timed out or cut off); the provider may have billed them."
        )
    if failures:
        listed = ", ".join(f"{count:,} {kind}" for kind, count in failures.items())
        say(f"Settled as errors: {listed} (ask again with --retry TYPE)")
    if shards:
        say(f"\n{len(shards)} shards beside it are not merged yet (bench merge {path}):")
        show_shards(shards, as_json=False)


def show_shards(folders: list[Path], as_json: bool) -> None:
    """Print what the shards of an array have asked and paid, each and all together."""
    import json

    from personaroute_bench.cli.screen import print_table
    from personaroute_bench.llms.ledger import Spend
    from personaroute_bench.llms.progress import money

    facts = [shard_facts(folder) for folder in folders]
    if as_json:
        say(json.dumps({"shards": facts}, indent=2))
        return
    spends = [Spend(**shard["spend"]) for shard in facts]
    print_table(
        str(folders[0].parent),
        ("shard", "finished", "calls", "settled", "attempts", "spend", "unknown, at most"),
        [
            (
                shard["shard"],
                "yes" if shard["finished"] else "no",
                f"{shard['calls']:,}",
                f"{shard['settled']:,}",
                f"{sum(shard['attempts'].values()):,}",
                money(spend.known_usd),
                at_most(spend),
            )
            for shard, spend in zip(facts, spends, strict=True)
        ],
    )
    known = sum(spend.known_usd for spend in spends)
    unknown = sum(spend.unknown_usd for spend in spends)
    without = sum(spend.unbounded for spend in spends)
    say(
        f"\nSpend of these {len(facts)} shards: {money(known)}; unknown, at most: {money(unknown)}"
        + (f" and {without} calls without a bound" if without else "")
    )


def shard_facts(folder: Path) -> dict[str, Any]:
    """Return a shard's number, and its ledger's summary, as JSON values."""
    from dataclasses import asdict

    from personaroute_bench.engines.shard_note import ShardNote
    from personaroute_bench.llms.ledger import Ledger, LedgerSummary, Spend, ledger_summary

    note = ShardNote.read(folder)
    summary, failures = LedgerSummary(0, 0, {}, Spend(), ()), {}
    if note.ledger.is_file():  # else it has not begun to ask
        with Ledger(note.ledger, read_only=True) as book:
            summary, failures = ledger_summary(book), book.failures()
    return {
        "shard": str(note.shard),
        "finished": note.finished,
        "stage": note.stage,
        **asdict(summary),
        "failures": failures,
    }


def at_most(spend: Spend) -> str:
    """Return an upper bound of unknown spend, and the calls that have none."""
    from personaroute_bench.llms.progress import money

    return money(spend.unknown_usd) + (f" + {spend.unbounded} calls" if spend.unbounded else "")
