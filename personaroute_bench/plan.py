"""The plan of a data set: its queries, its LLMs and what defines it. Making one spends nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import digest, hash_uniform
from personaroute_bench.llms.pool import Pool, load_pool
from personaroute_bench.llms.prices import resolve_prices
from personaroute_bench.report import Report
from personaroute_bench.responses import request_fingerprint
from personaroute_bench.splits import split_queries
from personaroute_bench.tasks.types import Query, TaskSet, TaskSource

if TYPE_CHECKING:
    from personaroute_bench.embeddings import Embedder
    from personaroute_bench.tasks.recorded import RecordedResponses
    from personaroute_bench.users.personas import PersonaSource

# Raise it when scoring or the simulated LLMs give other rows for the same configuration.
GENERATION_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first call."""

    data: DataConfig
    taskset: TaskSet
    pool: Pool
    split: list[str]
    """[Q] split of each query."""
    embedder: Embedder
    personas: PersonaSource
    """Who the users of the strategies with style are."""
    recorded: RecordedResponses | None
    """Where the responses come from if they exist already."""
    defining: dict[str, Any]
    """JSON value of all that decides queries and responses."""


def make_plan(data: DataConfig, run: RunConfig, report: Report) -> Plan:
    """Read tasks and pool, sample the queries and split them.

    Raises:
        UsageError: an unknown pool, task or LLM, a broken file, a price that is not known.
    """
    from personaroute_bench.embeddings import make_embedder

    pool = load_pool(pool_name(data), data.llms)
    pool = resolve_prices(pool, allow_unknown=run.allow_unknown_cost)
    recorded, source = open_source(data, pool)
    taskset = source.load(
        seed=data.seed, queries_per_task=data.sampled_per_task, task_ids=data.task_ids
    )
    if recorded is not None and recorded.dropped:
        report.note(recorded.dropped)
    if data.limit is not None:
        taskset = limit_queries(taskset, data.limit, data.seed)
    embedder = make_embedder(data.embedder)
    split = split_queries(
        [query.query_id for query in taskset.queries],
        [query.task_id for query in taskset.queries],
        [query.query for query in taskset.queries],
        data.seed,
    )
    defining = {
        "generation": GENERATION_VERSION,
        "seed": data.seed,
        "tasks": dict(source.fingerprint()),
        "task_ids": list(data.task_ids) if data.task_ids else None,
        "queries_per_task": data.sampled_per_task,
        "limit": data.limit,
        "queries": digest([(q.query_id, q.prompt, q.ground_truth) for q in taskset.queries]),
        "embedder": dict(embedder.fingerprint()),
        "pool": pool.fingerprint(),
        "preset": data.preset,
        "sampling": None if recorded is not None else request_fingerprint(data),
    }
    plan = Plan(data, taskset, pool, split, embedder, open_personas(data), recorded, defining)
    check_style(plan)
    return plan


def check_style(plan: Plan) -> None:
    """Find mistakes in judge options and personas now, before anything is paid for.

    Raises:
        UsageError: an unknown or simulated judge LLM, personas without tastes where choices follow
            from them, or too few of them.
    """
    from personaroute_bench.judge_calls import judge_pool
    from personaroute_bench.judging.calls import check_judges
    from personaroute_bench.users.laws import STYLE_STRATEGIES

    data = plan.data
    wanted = set(data.strategies) & set(STYLE_STRATEGIES)
    if not wanted:
        return
    if data.judge != "embedded":
        check_judges(judge_pool(plan).llms)
    plan.personas.compose(data.preset, data.seed, data.users - 1, data.users)
    if data.judge != "direct" or "mixed" in wanted:
        plan.personas.draw(data.preset, data.seed, 0, 1)


def open_personas(data: DataConfig) -> PersonaSource:
    """Return the bundled personas or those of a file.

    Raises:
        UsageError: the file is not a good one.
    """
    from personaroute_bench.users.persona_files import bundled_personas, load_personas

    return bundled_personas() if data.personas is None else load_personas(Path(data.personas))


def pool_name(data: DataConfig) -> str:
    """Return the pool that is asked for, or the default.

    Raises:
        UsageError: recorded responses without a pool, which gives the prices.
    """
    if data.pool is None and data.responses is not None:
        raise UsageError(
            f"--responses {data.responses} needs --pool FILE with its LLMs and their prices "
            "(docs/pools.md shows one)"
        )
    return data.pool or "simulated"


def open_source(data: DataConfig, pool: Pool) -> tuple[RecordedResponses | None, TaskSource]:
    """Return where the queries come from, and the recorded responses if that is they."""
    if data.responses is not None:
        from personaroute_bench.tasks.recorded import RecordedResponses

        recorded = RecordedResponses(data.responses, llm_ids=[llm.id for llm in pool.llms])
        return recorded, recorded
    from personaroute_bench.tasks.sources import source_for

    return None, source_for(data.tasks)


def limit_queries(taskset: TaskSet, limit: int, seed: int) -> TaskSet:
    """Keep at most so many queries, the same number a task as far as it goes."""
    by_task: dict[str, list[Query]] = {task.task_id: [] for task in taskset.tasks}
    for query in taskset.queries:
        by_task[query.task_id].append(query)
    for queries in by_task.values():
        queries.sort(key=lambda query: hash_uniform(seed, "limit", query.query_id))
    # Deal one query a task in turn, so that a small limit still meets every task.
    longest = max(len(queries) for queries in by_task.values())
    dealt = [
        queries[turn]
        for turn in range(longest)
        for queries in by_task.values()
        if turn < len(queries)
    ]
    kept = sorted(dealt[:limit], key=lambda query: (query.task_id, query.query_id))
    held = {query.task_id for query in kept}
    return replace(
        taskset,
        tasks=tuple(task for task in taskset.tasks if task.task_id in held),
        queries=tuple(kept),
    )
