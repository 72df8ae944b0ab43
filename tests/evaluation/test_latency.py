"""Decision times: percentiles that claim no more than was measured, and requests one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.latency import decision_times, percentiles, single
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.runner import evaluate


def test_percentiles_by_hand() -> None:
    assert percentiles(range(1, 101)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles(range(1, 100))["p99"] is None
    assert percentiles(range(1, 20)) == {"p50": 10.0, "p95": None, "p99": None}
    assert percentiles([1.0]) == {"p50": None, "p95": None, "p99": None}


@given(st.lists(st.floats(0, 10), min_size=100, max_size=150))
def test_percentiles_are_times_and_in_order(times: list[float]) -> None:
    found = list(percentiles(times).values())
    assert all(value in times for value in found)
    assert found == sorted(found)  # type: ignore[type-var]


class Recording:
    """Notes what it is asked, and answers by the candidates' order."""

    asked: list[Any]

    def __init__(self) -> None:
        self.asked = []

    def fit(self, history: History) -> None: ...

    def route(self, requests: Requests) -> Any:
        self.asked.append(requests)
        return np.zeros(len(requests), np.int64)


def test_single_requests_are_those_of_the_block(benchmark: Benchmark) -> None:
    router = Recording()
    evaluate(benchmark, [router], bootstrap_draws=0)
    block = router.asked[0]
    whole = list(block)
    for i in (0, 5, len(block) - 1):
        (alone,) = single(block, i)
        for name in ("user_id", "query_id", "query", "task_id", "candidates", "time"):
            assert getattr(alone, name) == getattr(whole[i], name)
        np.testing.assert_array_equal(alone.embedding, whole[i].embedding)
        assert single(block, i).users["user_id"].to_pylist() == [alone.user_id]
    ticks = itertools.count()
    seconds = decision_times(router, block, 7, clock=lambda: float(next(ticks)))
    assert seconds == [1.0] * 7
    assert [len(requests) for requests in router.asked[1:]] == [1] * 7
    pairs = {(r.user_ids[0], r.query_ids[0]) for r in router.asked[1:]}
    assert len(pairs) == 7
    assert len(decision_times(router, block, 10_000)) == len(block)
    with pytest.raises(ValueError, match="read-only"):
        router.asked[-1].embeddings[0, 0] = 1


class Blockwise(Recording):
    """Answers whole blocks only."""

    def route(self, requests: Requests) -> Any:
        if len(requests) == 1:
            raise ValueError("too short")
        return super().route(requests)


def test_decision_times_in_the_results(benchmark: Benchmark) -> None:
    router, blockwise = Recording(), Blockwise()
    plain = evaluate(benchmark, [router], bootstrap_draws=0)
    assert all(entry["latency_s"] is None for entry in plain.routers)
    router.asked.clear()
    results = evaluate(
        benchmark, [router, blockwise], bootstrap_draws=0, timed_requests=20, seeds=2
    )
    entries = {entry["name"].rpartition(":")[2]: entry for entry in results.routers}
    found = entries["Recording"]["latency_s"]
    assert found["requests"] == 40
    assert 0 < found["p50"] <= found["p95"]
    assert found["p99"] is None
    assert [len(requests) for requests in router.asked].count(1) == 40
    assert entries["oracle"]["latency_s"] is None
    assert entries["Blockwise"]["latency_s"] is None
    assert entries["Blockwise"]["metrics"] == entries["Recording"]["metrics"] | {
        "decision_s": entries["Blockwise"]["metrics"]["decision_s"]
    }
    assert results.data["timed_requests"] == 20
