"""Seconds and memory to score the choices of all routers: the figure of docs/metrics.md.

    .venv/bin/python benchmarks/scoring_speed.py [--users 1000] [--queries 48] [--llms 10]

Random rewards and, for as many routers as the package has, random choices of differing skill;
timed is everything from choices and outcomes to the results: scores, shuffled users, bootstrap,
differences, ranks, verdicts. Fits, routing and reading the data set are left out. Peak memory is
of the whole process.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import pyarrow as pa

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.controls import CONTROLS, control_choices, headroom
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.protocols import Trail
from personaroute_bench.evaluation.registry import LEARNED, ROUTERS
from personaroute_bench.evaluation.results import Plan, make_evaluation
from personaroute_bench.evaluation.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("users", 1000), ("queries", 48), ("llms", 10), ("draws", 1000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    benchmark, outcomes = world(options.users, options.queries, options.llms)
    rng = np.random.default_rng(1)
    runs = []
    for i, name in enumerate((*ROUTERS, *LEARNED)):
        runs.append(contestant(name, "router", skilled(outcomes.reward, i / 40, rng)))
    for name in CONTROLS:
        choice = control_choices(name, outcomes, benchmark.llm_ids)
        runs.append(contestant(name, "control", choice))
    plan = Plan("multi_cost_efficiency", "general", "full", "T1", None, 1, options.draws, 0.95)
    start, used = time.perf_counter(), time.process_time()
    gap = headroom(outcomes, benchmark.llm_ids)
    make_evaluation(
        benchmark,
        plan,
        runs,
        outcomes,
        users=np.arange(options.users),
        queries=np.arange(options.queries),
        headroom=gap,
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(runs)} routers on {options.users} users x {options.queries} queries x "
        f"{options.llms} LLMs, {options.draws} draws: {seconds:.1f} s ({cpu:.1f} s of CPU), "
        f"peak {peak:.0f} MB"
    )


def world(users: int, queries: int, llms: int) -> tuple[Benchmark, Outcomes]:
    """Return a data set of test queries alone, and its outcomes."""
    rng = np.random.default_rng(0)
    performance = rng.random((queries, llms)).astype(np.float32)
    cost = rng.random((queries, llms)).astype(np.float32)
    alpha = np.linspace(0, 1, users)
    reward = alpha[:, None, None] * performance - (1 - alpha)[:, None, None] * cost
    reward = reward.astype(np.float32)
    ids: dict[str, Any] = {
        "tasks": pa.table({"task_id": ["a"]}),
        "queries": pa.table(
            {
                "query_id": [f"q{i}" for i in range(queries)],
                "task_id": ["a"] * queries,
                "split": ["test"] * queries,
            }
        ),
        "llms": pa.table({"llm_id": [f"m{i}" for i in range(llms)]}),
        "users": pa.table(
            {"user_id": [f"u{i}" for i in range(users)], "performance_weight": alpha}
        ),
    }
    benchmark = Benchmark(
        directory=None,
        manifest={"provenance": "simulated"},
        performance=performance,
        cost_usd=cost.astype(np.float64),
        cost=cost,
        status=np.full((queries, llms), "ok"),
        memory={},
        **ids,
    )
    chosen = reward == reward.max(axis=-1, keepdims=True)
    return benchmark, Outcomes.of(reward, chosen, performance, cost.astype(np.float64))


def skilled(reward: Any, skill: float, rng: np.random.Generator) -> Any:
    """Return choices [U, Q] that are the best with a chance of `skill`."""
    best, other = reward.argmax(axis=-1), rng.integers(reward.shape[-1], size=reward.shape[:2])
    return np.where(rng.random(best.shape) < skill, best, other)


def contestant(name: str, kind: str, choice: Any) -> Run:
    return Run(name, kind, asked_for=True, choices=[choice], digests=["0" * 64], trails=[Trail()])


if __name__ == "__main__":
    main()
