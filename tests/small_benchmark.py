"""A data set in memory, with users whose tastes differ and with responses that failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from personaroute_bench.benchmark import Benchmark, Interactions

STRATEGY = "multi_cost_efficiency"


def small_benchmark(
    users: int = 12,
    queries: tuple[int, int, int] = (20, 6, 8),
    llms: int = 4,
    seed: int = 0,
    failures: float = 0.0,
    **changes: Any,
) -> Benchmark:
    """Rewards α·s − (1−α)·c on random responses; (train, validation, test) queries, 2 tasks.

    LLM m costs more and is better with m; `failures` is the share of responses with no score.
    """
    rng = np.random.default_rng(seed)
    Q, M = sum(queries), llms
    performance = np.clip(0.3 + 0.5 * np.arange(M) / M + rng.normal(0, 0.2, (Q, M)), 0, 1).astype(
        np.float32
    )
    cost = np.clip(np.arange(M) / M + rng.normal(0, 0.05, (Q, M)), 0, 1).astype(np.float32)
    cost_usd = 0.001 * (1 + np.arange(M)) * np.ones((Q, M))
    status = np.full((Q, M), "ok", dtype="U16")
    failed = rng.random((Q, M)) < failures
    status[failed] = "refused"
    performance[failed] = np.nan
    alpha = np.linspace(0, 1, users)
    reward = alpha[:, None, None] * performance - (1 - alpha)[:, None, None] * cost
    reward = reward.astype(np.float32)
    chosen = reward == np.fmax.reduce(reward, axis=-1, keepdims=True)
    embeddings = rng.normal(size=(Q, 3)).astype(np.float32)
    split = np.repeat(["train", "validation", "test"], queries)
    part = {
        name: Interactions(
            np.arange(users),
            np.flatnonzero(split == name),
            reward[:, split == name],
            chosen[:, split == name],
        )
        for name in ("train", "validation", "test")
    }
    fields: dict[str, Any] = {
        "directory": None,
        "manifest": {"provenance": "simulated"},
        "tasks": pa.table({"task_id": ["maths", "reading"]}),
        "queries": pa.table(
            {
                "query_id": [f"q{i}" for i in range(Q)],
                "task_id": [("maths", "reading")[i % 2] for i in range(Q)],
                "split": split.tolist(),
                "query": [f"What is {i}?" for i in range(Q)],
                "ground_truth": [str(i) for i in range(Q)],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), 3),
            }
        ),
        "llms": pa.table(
            {
                "llm_id": [f"llm-{m}" for m in range(M)],
                "parameters": pa.array([None, *range(7, 6 + M)], pa.float64()),
                "input_price": [0.1 * (1 + m) for m in range(M)],
            }
        ),
        "users": pa.table(
            {
                "user_id": [f"user-{u}" for u in range(users)],
                "performance_weight": alpha,
                "cost_weight": 1 - alpha,
            }
        ),
        "performance": performance,
        "cost_usd": cost_usd,
        "cost": cost,
        "status": status,
        "memory": {(STRATEGY, name): value for name, value in part.items()},
    }
    return Benchmark(**(fields | changes))


def with_interactions(benchmark: Benchmark, split: str, **changes: Any) -> Benchmark:
    """Return the data set with other interactions in one split."""
    import dataclasses

    memory = dict(benchmark.memory)
    memory[STRATEGY, split] = dataclasses.replace(memory[STRATEGY, split], **changes)
    return dataclasses.replace(benchmark, memory=memory)


def save(benchmark: Benchmark, directory: Any) -> None:
    """Write the data set as the folder that Benchmark.load reads, with response texts."""
    import json

    import pyarrow.parquet as pq

    directory.mkdir(parents=True, exist_ok=True)
    for name in ("tasks", "queries", "llms", "users"):
        pq.write_table(getattr(benchmark, name), directory / f"{name}.parquet")
    Q, M = benchmark.performance.shape
    pairs = {
        "query_id": np.repeat(benchmark.query_ids, M).tolist(),
        "llm_id": np.tile(benchmark.llm_ids, Q).tolist(),
    }
    responses = pa.table(
        pairs
        | {
            "response": [f"answer {q} {m}" for q, m in zip(*pairs.values(), strict=True)],
            "performance": pa.array(benchmark.performance.ravel(), from_pandas=True),
            "cost_usd": benchmark.cost_usd.ravel(),
            "cost": benchmark.cost.ravel(),
            "status": pa.array(benchmark.status.ravel().tolist()).dictionary_encode(),
            "provenance": pa.array(["simulated"] * (Q * M)).dictionary_encode(),
        }
    )
    for name in ("query_id", "llm_id"):
        at = responses.column_names.index(name)
        responses = responses.set_column(at, name, responses[name].dictionary_encode())
    pq.write_table(responses, directory / "responses.parquet")
    for (strategy, split), part in benchmark.memory.items():
        u, q, m = (x.ravel() for x in np.indices(part.reward.shape))
        folder = directory / "interactions" / strategy / split
        folder.mkdir(parents=True)
        table = pa.table(
            {
                "user_id": benchmark.user_ids[part.users][u].tolist(),
                "query_id": benchmark.query_ids[part.queries][q].tolist(),
                "llm_id": benchmark.llm_ids[m].tolist(),
                "reward": pa.array(part.reward.ravel(), from_pandas=True),
                "chosen": part.chosen.ravel(),
            }
        )
        pq.write_table(table, folder / "0.parquet")
    manifest = {"strategies": {STRATEGY: {}}, "provenance": "simulated", "files": {}}
    (directory / "manifest.json").write_text(json.dumps(manifest))
