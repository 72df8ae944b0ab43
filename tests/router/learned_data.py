"""A past in which both the query and the user decide which LLM is best, and requests about it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.benchmark import Benchmark, Interactions
from personaroute_bench.evaluation.history import History, make_history, past_responses
from personaroute_bench.evaluation.protocol import Requests

THRIFTY = np.arange(12) % 3 == 2
"""[12] users who pay for every answer and care for nothing else; the other eight want quality."""


def past_with_tastes(failures: float = 0.0, seed: int = 0, users: int = 12) -> Benchmark:
    """Users, a third thrifty, 40 + 12 + 16 queries of two kinds that embeddings tell apart, 4 LLMs.

    LLM 0 is cheap and bad, LLM 1 good at the first kind, LLM 2 at the second, LLM 3 dear and fair.
    """
    data = small_benchmark(users, queries=(40, 12, 16))
    rng = np.random.default_rng(seed)
    Q = 68
    kind = rng.permutation(np.arange(Q) % 2)
    embeddings = np.eye(3)[kind] + rng.normal(0, 0.1, (Q, 3))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    performance = np.asarray([[0.2, 0.9, 0.4, 0.5], [0.2, 0.4, 0.9, 0.5]])[kind]
    performance = np.clip(performance + rng.normal(0, 0.03, (Q, 4)), 0, 1).astype(np.float32)
    cost = np.clip(rng.normal([0.05, 0.4, 0.4, 0.9], 0.02, (Q, 4)), 0, 1).astype(np.float32)
    performance[rng.random((Q, 4)) < failures] = np.nan
    alpha = np.where(np.arange(users) % 3 == 2, 0.05, 0.95)[:, None, None]
    reward = (alpha * performance - (1 - alpha) * cost).astype(np.float32)
    chosen = reward == np.fmax.reduce(reward, axis=-1, keepdims=True)
    memory = {
        (strategy, split): Interactions(
            part.users, part.queries, reward[:, part.queries], chosen[:, part.queries]
        )
        for (strategy, split), part in data.memory.items()
    }
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), 3)
    at = data.queries.column_names.index("embedding")
    return dataclasses.replace(
        data,
        queries=data.queries.set_column(at, "embedding", vectors),
        performance=performance,
        cost=cost,
        memory=memory,
    )


def told(data: Benchmark, *, validated: bool = True, **options: Any) -> History:
    """Return the training view."""
    train, held = (data.interactions(STRATEGY, s) for s in ("train", "validation"))
    responses = past_responses(data, np.concatenate([train.queries, held.queries]))
    return make_history(data, train, held if validated else None, responses, **options)


def asked(data: Benchmark, users: list[str] | None = None) -> Requests:
    """Return requests of all users (or of these ids) for all test queries, users in order."""
    test = data.interactions(STRATEGY, "test")
    ids = data.user_ids if users is None else np.asarray(users)
    U, Q = len(ids), len(test.queries)
    return Requests(
        user_ids=ids,
        query_ids=data.query_ids[test.queries],
        candidates=data.llm_ids,
        user_index=np.repeat(np.arange(U), Q),
        query_index=np.tile(np.arange(Q), U),
        embeddings=data.embeddings[test.queries],
        task_of_query=data.task_of_query[test.queries],
        task_ids=data.task_ids,
        queries=data.queries.select(["query_id", "task_id", "query"]).take(test.queries),
        users=data.users.select(["user_id"]).slice(0, U),
        llms=data.llms,
    )


def reward_of(data: Benchmark, choice: np.ndarray) -> float:
    """Return the mean test reward of choices [U, Q]."""
    reward = data.interactions(STRATEGY, "test").reward
    return float(np.take_along_axis(reward, choice[..., None], axis=-1).mean())


def rows_of(data: Benchmark, keep: np.ndarray, columns: np.ndarray | None = None) -> Benchmark:
    """Return the data set with some users only, and some LLMs."""
    m = np.arange(4) if columns is None else columns
    memory = {
        key: Interactions(
            np.arange(len(keep)), p.queries, p.reward[keep][..., m], p.chosen[keep][..., m]
        )
        for key, p in data.memory.items()
    }
    return dataclasses.replace(
        data,
        users=data.users.take(keep),
        llms=data.llms.take(m),
        performance=data.performance[:, m],
        cost=data.cost[:, m],
        cost_usd=data.cost_usd[:, m],
        status=data.status[:, m],
        memory=memory,
    )
