"""Facts about a data set that its manifest does not hold: for `bench show`."""

from __future__ import annotations

from typing import Any

import numpy as np

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.schemas import SPLITS

# What divides users shows in a few hundred of them; reading all would cost memory for nothing.
SAMPLED_USERS = 500


def describe(benchmark: Benchmark, *, examples: int = 3) -> dict[str, Any]:
    """Return tasks, users and example queries as JSON values."""
    splits = np.asarray(benchmark.queries["split"].to_pylist())
    tasks = [
        {
            **row,
            "queries": [
                int(((benchmark.task_of_query == number) & (splits == split)).sum())
                for split in SPLITS
            ],
        }
        for number, row in enumerate(benchmark.tasks.to_pylist())
    ]
    return {
        "tasks": tasks,
        "users": {
            "count": benchmark.users.num_rows,
            "population": ", ".join(sorted(set(benchmark.users["population"].to_pylist()))),
            "performance_weight": _spread(benchmark),
        },
        "examples": [
            example
            for strategy in benchmark.strategies
            for example in divided_queries(benchmark, strategy, examples)
        ],
    }


def _spread(benchmark: Benchmark) -> dict[str, float] | None:
    """Return lowest, median and highest α; None for real people, who have no known weights."""
    if "performance_weight" not in benchmark.users.schema.names:
        return None
    alpha = benchmark.users["performance_weight"].to_numpy()
    return {
        "low": float(alpha.min()),
        "median": float(np.median(alpha)),
        "high": float(alpha.max()),
    }


def divided_queries(benchmark: Benchmark, strategy: str, count: int) -> list[dict[str, Any]]:
    """Return the training queries on which the fewest users agree, with who wins for how many.

    Training queries only: a test query's outcome is nobody's business before its evaluation.
    """
    block = next(iter(benchmark.blocks(strategy, "train")))
    chosen = block.chosen[:SAMPLED_USERS].astype(np.float64)  # [u, q, m]
    share = (chosen / np.maximum(chosen.sum(axis=-1, keepdims=True), 1)).mean(axis=0)
    order = np.argsort(share.max(axis=-1), kind="stable")[:count]
    texts = benchmark.queries["query"]
    return [
        {
            "strategy": strategy,
            "query_id": str(benchmark.query_ids[query]),
            "query": _shorten(texts[int(query)].as_py()),
            "choices": [
                {
                    "llm_id": str(benchmark.llm_ids[m]),
                    "users": float(share[place, m]),
                    "performance": float(benchmark.performance[query, m]),
                    "cost_usd": float(benchmark.cost_usd[query, m]),
                }
                for m in np.argsort(-share[place])[:4]
                if share[place, m] >= 0.01
            ],
        }
        for place, query in zip(order, block.queries[order], strict=True)
    ]


def _shorten(text: str, length: int = 160) -> str:
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
