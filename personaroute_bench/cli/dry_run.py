"""`bench generate --dry-run`: what a run would ask and cost, without asking."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from personaroute_bench.cli.screen import print_table
from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.llms.estimate import LLMEstimate, estimate
from personaroute_bench.llms.progress import money
from personaroute_bench.report import Report


def print_dry_run(
    data: DataConfig, run: RunConfig, out: Path, report: Report, *, as_json: bool
) -> None:
    """Print calls, tokens and USD per LLM."""
    from personaroute_bench.folder import check_definition
    from personaroute_bench.plan import make_plan
    from personaroute_bench.responses import requests_for
    from personaroute_bench.settle import ledger_path

    plan = make_plan(data, run, report)
    check_definition(out, plan.defining)
    if plan.recorded is not None:
        rows: list[LLMEstimate] = []
    else:
        requests = requests_for(plan.taskset, plan.pool.llms, data)
        keys = [request.key() for request in requests]
        rows = estimate(requests, settled=_settled(ledger_path(out, run), keys))
    total = {
        "calls": sum(row.calls for row in rows),
        "interactions": data.users * len(plan.taskset.queries) * len(plan.pool.llms),
        **{
            name: _sum([getattr(row, name) for row in rows])
            for name in ("usd_low", "usd_expected", "usd_high")
        },
    }
    if as_json:
        typer.echo(json.dumps({"llms": [asdict(row) for row in rows], "total": total}, indent=2))
        return
    typer.echo(
        f"Dry run: nothing is asked and nothing is written.\n{data.users:,} users × "
        f"{len(plan.taskset.queries):,} queries × {len(plan.pool.llms)} LLMs = "
        f"{total['interactions']:,} interactions"
    )
    if plan.recorded is not None:
        typer.echo("All responses are recorded ones: no calls, no cost.")
        return
    print_table(
        "\nCalls to make, and USD from the pool's prices",
        ("llm", "calls", "settled", "prompt tok.", "output tok.", "low", "expected", "high"),
        [
            (
                row.llm_id,
                f"{row.calls:,}",
                f"{row.settled:,}",
                f"{row.prompt_tokens:,}",
                f"{row.output_expected:,}",
                _money(row.usd_low),
                _money(row.usd_expected),
                _money(row.usd_high),
            )
            for row in rows
        ]
        + [
            (
                "all",
                f"{total['calls']:,}",
                f"{sum(row.settled for row in rows):,}",
                f"{sum(row.prompt_tokens for row in rows):,}",
                f"{sum(row.output_expected for row in rows):,}",
                _money(total["usd_low"]),
                _money(total["usd_expected"]),
                _money(total["usd_high"]),
            )
        ],
    )
    if all(llm.provider == "simulated" for llm in plan.pool.llms):
        typer.echo("These LLMs are simulated: a run really costs nothing.")
    typer.echo('How the figures come about: docs/pools.md, "Estimates".')


def _settled(path: Path, keys: list[str]) -> set[str]:
    if not path.is_file():
        return set()
    from personaroute_bench.llms.ledger import Ledger

    with Ledger(path, read_only=True) as ledger:
        return ledger.settled(keys)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _money(value: float | None) -> str:
    return "unknown" if value is None else money(value)
