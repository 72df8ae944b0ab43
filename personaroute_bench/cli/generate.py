"""`bench generate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.cli.screen import ScreenReport
    from personaroute_bench.config import DataConfig, RunConfig
    from personaroute_bench.generate import Generated


class PresetName(StrEnum):
    """Population presets."""

    default = "default"
    paper = "paper"
    large = "large"


class ClientName(StrEnum):
    """Wires for OpenAI-compatible endpoints."""

    aiohttp = "aiohttp"
    openai = "openai"
    litellm = "litellm"


class FormName(StrEnum):
    """Whether interactions are written down."""

    stored = "stored"
    virtual = "virtual"


class EngineChoice(StrEnum):
    """Where the work is done."""

    local = "local"
    dask = "dask"


class JudgeName(StrEnum):
    """Kinds of judges."""

    embedded = "embedded"
    rubric = "rubric"
    direct = "direct"


def generate(
    users: int = typer.Option(1000, help="Number of simulated users."),
    out: Path = typer.Option(
        Path("personaroute-data"), help="Folder of the data set; run again to continue or extend."
    ),
    seed: int = typer.Option(0, help="Same seed and options, same rows."),
    strategy: list[str] = typer.Option(
        ["multi_cost_efficiency"],
        help="How users are simulated: multi_cost_efficiency, llm_judge (personas with taste), "
        "mixed, drift; repeatable, or 'all'.",
    ),
    preset: PresetName = typer.Option(
        PresetName.default,
        help="default: α uniform on [0, 1], cost by log-minmax; paper: α on [0.2, 1], minmax; "
        "large: as paper, six users a persona, one for each of six judge configurations.",
    ),
    pool: str | None = typer.Option(
        None,
        help="Candidate LLMs: a bundled pool (see: bench pools) or a YAML file. "
        "Default: simulated, which needs no key.",
    ),
    llms: str | None = typer.Option(None, help="Only these LLMs of the pool, separated by commas."),
    tasks: str = typer.Option(
        "embedded", help="embedded (no download), hub (the paper's public sets), gym, or a file."
    ),
    task_ids: str | None = typer.Option(None, help="Only these tasks, separated by commas."),
    queries_per_task: int | None = typer.Option(
        None, help="Sample so many queries a task. Default: 60; all of them for files."
    ),
    limit: int | None = typer.Option(
        None, help="At most so many queries in all, spread over the tasks: for a first try."
    ),
    responses: str | None = typer.Option(
        None, help="File of responses that exist already; it brings its own tasks and queries."
    ),
    max_cost: float | None = typer.Option(
        None, help="USD that the data set may cost, over all its runs. Reached: a clean stop."
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Show calls, tokens and USD; call nothing and write nothing."
    ),
    concurrency: int = typer.Option(32, help="Calls at the same time, at most."),
    ledger: Path | None = typer.Option(
        None,
        help="File that keeps every request and reply; several folders may share one. "
        "Default: ledger.sqlite in the folder.",
    ),
    client: ClientName | None = typer.Option(
        None, help="How to talk to providers. Default: aiohttp where OpenAI-compatible."
    ),
    temperature: float = typer.Option(0.0, help="Sampling temperature."),
    max_tokens: int = typer.Option(1024, help="Output tokens a call, at most."),
    timeout: float = typer.Option(120.0, help="Seconds a call may take."),
    max_attempts: int = typer.Option(6, help="Tries a call, with back-off between them."),
    max_error_rate: float = typer.Option(
        0.1, help="Stop when a larger share of an LLM's calls, or of all, has failed."
    ),
    allow_unknown_cost: bool = typer.Option(
        False, help="Go on although an LLM's price is unknown (its cost stays unknown, not zero)."
    ),
    estimate_usage: bool = typer.Option(
        False, help="Count tokens offline where a provider reports none, instead of an error."
    ),
    embedder: str = typer.Option(
        "hashing", help="hashing (no download), sentence-transformers:MODEL, or endpoint:MODEL."
    ),
    personas: str | None = typer.Option(
        None, help="Your own personas (see: bench personas validate FILE). Default: the bundled."
    ),
    judge: JudgeName = typer.Option(
        JudgeName.embedded,
        help="Who tells style: embedded measures the text itself, rubric has an LLM rate each "
        "response once, direct has it choose in each persona's place.",
    ),
    judge_llm: list[str] = typer.Option(
        [], help="LLM that judges, by its id; repeatable. For rubric and direct."
    ),
    judge_pool: str | None = typer.Option(
        None, help="Pool in which the judge LLMs are. Default: the candidates' pool."
    ),
    repeats: int = typer.Option(1, help="Ask each judgment so many times."),
    both_orders: bool = typer.Option(
        False, "--both-orders", help="Show the answers in the reverse order too."
    ),
    pairs: int | None = typer.Option(
        None, help="Show the direct judge so many pairs of answers (0: all pairs), not all at once."
    ),
    judge_schema: bool = typer.Option(
        False, "--judge-schema", help="The judge's provider can enforce a JSON schema: let it."
    ),
    audit: int = typer.Option(
        0, help="With rubric: ask directly too, for so many (persona, query) pairs, and compare."
    ),
    interactions: FormName | None = typer.Option(
        None,
        help="stored: every (user, query, LLM) is a row on disk; virtual: none is, rewards are "
        "computed when they are asked for, for millions of users. Default: as the folder has it, "
        "stored in a new one.",
    ),
    engine: EngineChoice = typer.Option(
        EngineChoice.local,
        help="Where the work is done: local is this process, dask the workers of a cluster.",
    ),
    scheduler: str | None = typer.Option(
        None,
        help="Address of your own Dask scheduler, for instance tcp://10.0.0.5:8786; it must be one "
        "that you trust. Default: a cluster on this machine, for this run only.",
    ),
    workers: int | None = typer.Option(
        None, help="Dask workers to start, or to wait for. Default: one a core; those there are."
    ),
    shard: str | None = typer.Option(
        None,
        help="Settle only this part of the calls, for instance 3/16, as one job of an array; then: "
        "bench merge. Cap and rate limits are those of all parts together.",
    ),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the result."),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest's facts as JSON."),
) -> None:
    """Make a personalised routing benchmark, or continue or extend one.

    With no options: 1,000 simulated users × 240 queries × 10 simulated LLMs, offline, in seconds.

    Ask real LLMs, at most for 25 USD, after a look at what it would cost:

    \b
        bench generate --pool paper-large --tasks hub --dry-run
        bench generate --pool paper-large --tasks hub --max-cost 25

    Use responses that you have already:

        bench generate --responses responses.parquet --pool pool.yaml
    """
    from personaroute_bench.cli.screen import ScreenReport
    from personaroute_bench.config import DataConfig, RunConfig
    from personaroute_bench.schemas import STRATEGIES

    data = DataConfig(
        users=users,
        seed=seed,
        strategies=STRATEGIES if strategy == ["all"] else tuple(dict.fromkeys(strategy)),
        preset=preset.value,
        pool=pool,
        llms=_listed(llms),
        tasks=tasks,
        task_ids=_listed(task_ids),
        queries_per_task=queries_per_task,
        limit=limit,
        responses=responses,
        embedder=embedder,
        temperature=temperature,
        max_tokens=max_tokens,
        estimate_usage=estimate_usage,
        personas=personas,
        judge=judge.value,
        judge_llms=tuple(dict.fromkeys(judge_llm)),
        judge_pool=judge_pool,
        repeats=repeats,
        both_orders=both_orders,
        pairs=pairs,
        judge_schema=judge_schema,
        audit=audit,
        interactions=interactions.value if interactions else None,
    )
    run = RunConfig(
        concurrency=concurrency,
        max_cost=max_cost,
        ledger=ledger,
        client=client.value if client else None,
        timeout_s=timeout,
        max_attempts=max_attempts,
        max_error_rate=max_error_rate,
        allow_unknown_cost=allow_unknown_cost,
        engine=engine.value,
        scheduler=scheduler,
        workers=workers,
    )
    report = ScreenReport(quiet=quiet)
    if dry_run:
        from personaroute_bench.cli.dry_run import print_dry_run

        print_dry_run(data, run, out, report, as_json=as_json)
        return
    if shard is not None:
        _settle_shard(data, run, out, shard, report)
        return
    from personaroute_bench.generate import generate as generate_data

    try:
        result = generate_data(data, out, run=run, report=report)
    finally:
        report.close()
    print_result(result, as_json=as_json)


def _listed(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _settle_shard(
    data: DataConfig, run: RunConfig, out: Path, shard: str, report: ScreenReport
) -> None:
    from personaroute_bench.engines.array import parse_shard, settle_shard
    from personaroute_bench.llms.progress import money

    part = parse_shard(shard)
    try:
        done = settle_shard(data, out, part, run=run, report=report)
    finally:
        report.close()
    say(
        f"Shard {part} is done: {done.calls:,} calls for {done.stage}, {money(done.spend_usd)}, in "
        f"{done.path}\nWhen all {part.of} are: bench merge {out}"
    )


def print_result(result: Generated, *, as_json: bool) -> None:
    """Print what a whole data set holds, or its manifest."""
    import json

    from personaroute_bench.cli.screen import print_dataset

    if as_json:
        say(json.dumps({"directory": str(result.directory), **result.manifest}, indent=2))
        return
    if not result.changed:
        say("Everything was there already; nothing was asked and nothing written.\n")
    print_dataset(result.directory, result.manifest)
    folder = "" if str(result.directory) == "personaroute-data" else f" {result.directory}"
    say(f"\nNext: bench show{folder}    then: bench evaluate{folder}")
