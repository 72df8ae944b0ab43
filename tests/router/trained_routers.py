"""Tiny pasts for the personal routers: users who weigh performance and cost, or who choose."""

from __future__ import annotations

from typing import Any

import numpy as np
from small_benchmark import STRATEGY, small_benchmark, with_interactions

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.history import History, make_history, past_responses


def told(benchmark: Benchmark, **options: Any) -> History:
    """Return the history of a data set in memory."""
    train, validation = (benchmark.interactions(STRATEGY, s) for s in ("train", "validation"))
    responses = past_responses(benchmark, np.concatenate([train.queries, validation.queries]))
    return make_history(benchmark, train, validation, responses, **options)


class Asked:
    """The columns of requests: every user asks every test query."""

    def __init__(self, benchmark: Benchmark, users: Any = None) -> None:
        test = benchmark.split_queries("test")
        self.user_ids = benchmark.user_ids if users is None else np.asarray(users)
        self.query_ids = benchmark.query_ids[test]
        self.candidates = benchmark.llm_ids
        self.embeddings = benchmark.embeddings[test]
        self.task_of_query = benchmark.task_of_query[test]
        U, Q = len(self.user_ids), len(test)
        self.user_index = np.repeat(np.arange(U), Q)
        self.query_index = np.tile(np.arange(Q), U)
        self.shape = (U, Q)


def choices(router: Any, benchmark: Benchmark, users: Any = None) -> np.ndarray:
    """[U, Q] what a fitted router chooses for the test requests."""
    asked = Asked(benchmark, users)
    return np.asarray(router.route(asked)).reshape(asked.shape)


def gained(benchmark: Benchmark, choice: np.ndarray) -> float:
    """Return the mean test reward of choices, 0 for a random one and 1 for the oracle."""
    reward = benchmark.interactions(STRATEGY, "test").reward
    reward = np.where(np.isnan(reward), np.nanmin(reward, axis=-1, keepdims=True), reward)
    got = np.take_along_axis(reward, choice[..., None], axis=-1).mean()
    return float((got - reward.mean()) / (reward.max(axis=-1).mean() - reward.mean()))


def swapped(benchmark: Benchmark) -> Benchmark:
    """Return the data set with the pasts of the first and the last user exchanged."""
    for split in ("train", "validation"):
        part = benchmark.memory[STRATEGY, split]
        order = np.arange(len(part.users))
        order[[0, -1]] = order[[-1, 0]]
        benchmark = with_interactions(
            benchmark, split, reward=part.reward[order], chosen=part.chosen[order]
        )
    return benchmark


def people(**options: Any) -> Benchmark:
    """Return 24 users over 30 + 10 + 12 queries."""
    return small_benchmark(**{"users": 24, "queries": (30, 10, 12), **options})
