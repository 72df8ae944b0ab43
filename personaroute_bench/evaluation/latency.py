"""How long a router takes to decide: one request at a time, as a server would ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from personaroute_bench.evaluation.protocol import Requests, Router

PERCENTILES = (50, 95, 99)


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Return p50, p95 and p99 of decision times in seconds; None where too few were measured.

    The q-th percentile is the smallest time that q % do not exceed; it is told from
    ``100 / (100 − q)`` times on, since of fewer it is nothing but the slowest.
    """
    times, told = np.asarray(seconds, dtype=np.float64), {}
    for q in PERCENTILES:
        enough = len(times) * (100 - q) >= 100
        value = float(np.percentile(times, q, method="inverted_cdf")) if enough else None
        told[f"p{q}"] = value
    return told


def latency(seconds: Sequence[float]) -> dict[str, Any] | None:
    """Return what results say of decision times; None where none were taken."""
    if not seconds:
        return None
    return {"requests": len(seconds), "mean": float(np.mean(seconds)), **percentiles(seconds)}


def single(requests: Requests, i: int) -> Requests:
    """Return request i of a block as a block of its own."""
    from personaroute_bench.evaluation.history import frozen

    u, q = int(requests.user_index[i]), int(requests.query_index[i])
    zero = frozen(np.zeros(1, dtype=np.int64))
    return replace(
        requests,
        user_ids=frozen(requests.user_ids[u : u + 1]),
        query_ids=frozen(requests.query_ids[q : q + 1]),
        user_index=zero,
        query_index=zero,
        embeddings=frozen(requests.embeddings[q : q + 1]),
        task_of_query=frozen(requests.task_of_query[q : q + 1]),
        queries=requests.queries.slice(q, 1),
        users=requests.users.slice(u, 1),
        time=None if requests.time is None else frozen(requests.time[i : i + 1]),
    )


def decision_times(
    router: Router,
    requests: Requests,
    count: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the seconds of `route` for requests asked one at a time; answers are thrown away.

    Args:
        router: after it has answered everything, so that nothing it does here counts.
        requests: a block; every (len / count)-th of its requests is asked.
        count: how many, at most.
        clock: returns seconds.
    """
    places = np.unique(np.linspace(0, len(requests) - 1, min(count, len(requests))).astype(int))
    asked: list[Any] = [single(requests, int(i)) for i in places]
    seconds: list[float] = []
    for request in asked:
        start = clock()
        router.route(request)
        seconds.append(clock() - start)
    return seconds


def clock_of(router: object) -> Callable[[], float]:
    """Return a clock in seconds that stands while values are sent to a router's process."""
    return lambda: time.perf_counter() - getattr(router, "transport_s", 0.0)


def times_of(router: Any, protocol: str, requests: Requests, count: int) -> list[float]:
    """Return the decision times of a router that has answered; none where it cannot be asked so.

    Only batch routers can: a single question to a cascade or an online router is no decision. A
    router that raises when it is asked one request alone has no times, and keeps its results.
    """
    if protocol != "batch" or not count:
        return []
    try:
        return decision_times(router, requests, count, clock_of(router))
    except Exception:
        return []
