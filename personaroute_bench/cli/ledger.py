"""`bench ledger`."""

from __future__ import annotations

from pathlib import Path

import typer

from personaroute_bench.cli.screen import say


def ledger(
    path: Path = typer.Argument(
        Path("personaroute-data"), help="A ledger file, or the folder of a data set."
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
    from personaroute_bench.errors import UsageError
    from personaroute_bench.llms.ledger import Ledger, export_ledger, ledger_summary
    from personaroute_bench.llms.progress import money
    from personaroute_bench.settle import LEDGER

    file = path / LEDGER if path.is_dir() else path
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
        say(json.dumps({**asdict(summary), "failures": failures}, indent=2))
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
                money(llm.spend.unknown_usd)
                + (f" + {llm.spend.unbounded} calls" if llm.spend.unbounded else ""),
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
