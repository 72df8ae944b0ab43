"""`bench generate --dry-run`: what a run would ask and cost, without asking."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from personaroute_bench.cli.screen import print_table, say
from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.llms.estimate import EXPECTED_OUTPUT_TOKENS, LLMEstimate, estimate
from personaroute_bench.llms.progress import money
from personaroute_bench.report import Report

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.plan import Plan


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
    judging = estimate_judging(plan, out)
    if as_json:
        facts = {
            "llms": [asdict(row) for row in rows],
            "judge": [asdict(row) for row in judging],
            "total": total,
        }
        say(json.dumps(facts, indent=2))
        return
    say(
        f"Dry run: nothing is asked and nothing is written.\n{data.users:,} users × "
        f"{len(plan.taskset.queries):,} queries × {len(plan.pool.llms)} LLMs = "
        f"{total['interactions']:,} interactions"
    )
    if plan.recorded is not None:
        say("All responses are recorded ones: no calls for them, no cost.")
    else:
        _print_estimates("Calls to make, and USD from the pool's prices", rows)
    if all(llm.provider == "simulated" for llm in plan.pool.llms):
        say("The candidates are simulated: asking them really costs nothing.")
    if judging and data.audit:
        say(f"The audit's {data.audit:,} direct calls a judge LLM come on top.")
    if judging:
        _print_estimates(f"Calls of the {data.judge} judge", judging)
    say('How the figures come about: docs/pools.md, "Estimates".')


def estimate_judging(plan: Plan, out: Path) -> list[LLMEstimate]:
    """Return what the judge would ask and cost; empty where none is asked.

    Responses that are not there yet count as texts of the length that estimates expect.
    """
    from personaroute_bench.judge_calls import direct_options, judge_pool
    from personaroute_bench.judging.calls import check_judges, judge_estimate
    from personaroute_bench.judging.direct import direct_requests
    from personaroute_bench.judging.rubric import RubricOptions, rubric_requests
    from personaroute_bench.users.laws import STYLE_STRATEGIES

    data = plan.data
    needed = {"llm_judge"} if data.judge == "direct" else set(STYLE_STRATEGIES)
    if data.judge == "embedded" or not set(data.strategies) & needed:
        return []
    judges = judge_pool(plan).llms
    check_judges(judges)
    responses, queries = _responses(plan, out), plan.taskset.queries
    if data.judge == "rubric":
        calls = rubric_requests(queries, responses, judges, RubricOptions(seed=data.seed))
        return judge_estimate(calls)
    people = plan.personas.compose(data.preset, data.seed, 0, data.users)
    asked = direct_requests(people, queries, responses, judges, direct_options(plan))
    return judge_estimate(asked)


def _responses(plan: Plan, out: Path) -> pa.Table:
    """Return the responses that are there, or stand-ins of the expected length."""
    import pyarrow as pa

    if plan.recorded is not None:
        table = plan.recorded.responses(plan.taskset, [llm.id for llm in plan.pool.llms])
        return table.append_column("status", pa.array(["ok"] * table.num_rows))
    if (out / "responses.parquet").is_file():
        import pyarrow.parquet as pq

        return pq.read_table(out / "responses.parquet")
    pairs = [(q.query_id, llm.id) for q in plan.taskset.queries for llm in plan.pool.llms]
    return pa.table(
        {
            "query_id": [query for query, _ in pairs],
            "llm_id": [llm for _, llm in pairs],
            "response": ["word " * EXPECTED_OUTPUT_TOKENS] * len(pairs),
            "status": ["ok"] * len(pairs),
        }
    )


def _print_estimates(title: str, rows: list[LLMEstimate]) -> None:
    """Print a table of estimates, with their sum."""
    head = ("llm", "calls", "settled", "prompt tok.", "output tok.", "low", "expected", "high")
    lines = [
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
    whole = (
        "all",
        f"{sum(row.calls for row in rows):,}",
        f"{sum(row.settled for row in rows):,}",
        f"{sum(row.prompt_tokens for row in rows):,}",
        f"{sum(row.output_expected for row in rows):,}",
        _money(_sum([row.usd_low for row in rows])),
        _money(_sum([row.usd_expected for row in rows])),
        _money(_sum([row.usd_high for row in rows])),
    )
    print_table(f"\n{title}", head, [*lines, whole])


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
