"""How fast interactions are written, and in how much memory.

    python benchmarks/rows.py [--users 1000,10000] [--rounds 3]

"straight" is the same arrays, computed beforehand and held whole in memory, given to
pyarrow.parquet.write_table with zstd. "ours" computes rewards, choices and headroom, and streams
three splits. Each in a process of its own, so that the peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.config import DataConfig
from personaroute_bench.interactions import ResponseGrid, write_interactions
from personaroute_bench.schemas import interactions_schema
from personaroute_bench.users.laws import make_law
from personaroute_bench.users.populations import draw_weights, user_ids
from personaroute_bench.users.rewards import cost_efficiency_rewards, normalise_cost, tied_best

QUERIES, LLMS = 240, 10


def make_grid() -> ResponseGrid:
    rng = np.random.default_rng(0)
    performance = rng.random((QUERIES, LLMS)).astype(np.float32)
    cost_usd = rng.lognormal(-8, 2, (QUERIES, LLMS))
    task = np.repeat(np.arange(4), QUERIES // 4)
    return ResponseGrid(
        query_ids=np.asarray([f"query-{n:05d}" for n in range(QUERIES)]),
        llm_ids=np.asarray([f"family/llm-{n}" for n in range(LLMS)]),
        split=np.asarray((["train"] * 7 + ["validation"] + ["test"] * 2) * (QUERIES // 10)),
        completion_tokens=np.full((QUERIES, LLMS), 100.0),
        ok=np.ones_like(performance, bool),
        performance=performance,
        cost_usd=cost_usd,
        cost=normalise_cost(cost_usd, np.ones_like(cost_usd, bool), task, "log-minmax"),
    )


def write_ours(users: int, folder: Path) -> float:
    grid = make_grid()
    law = make_law("multi_cost_efficiency", DataConfig(users=users), grid, None)
    names = np.asarray(user_ids(0, users))
    start = time.perf_counter()
    write_interactions(folder / "interactions", grid, names, law)
    return time.perf_counter() - start


def write_straight(users: int, folder: Path) -> float:
    grid = make_grid()
    reward = cost_efficiency_rewards(
        grid.performance, grid.cost, *draw_weights("default", 0, 0, users)
    )
    cells = QUERIES * LLMS

    def ids(values: np.ndarray, codes: np.ndarray) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(values.tolist()))

    columns = [
        ids(np.asarray(user_ids(0, users)), np.repeat(np.arange(users), cells)),
        ids(grid.query_ids, np.tile(np.repeat(np.arange(QUERIES), LLMS), users)),
        ids(grid.llm_ids, np.tile(np.arange(LLMS), users * QUERIES)),
        *(np.tile(v.ravel(), users) for v in (grid.performance, grid.cost_usd, grid.cost)),
        reward.ravel(),
        tied_best(reward).ravel(),
    ]
    table = pa.Table.from_arrays(
        [pa.array(column) for column in columns],
        schema=interactions_schema("multi_cost_efficiency"),
    )
    start = time.perf_counter()
    pq.write_table(table, folder / "straight.parquet", compression="zstd")
    return time.perf_counter() - start


def measure(way: str, users: int) -> dict[str, float]:
    """Run one way in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, str(users)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--users", default="1000,10000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, users = options.one[0], int(options.one[1])
        with tempfile.TemporaryDirectory() as folder:
            seconds = {"ours": write_ours, "straight": write_straight}[way](users, Path(folder))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "megabytes": size / 1e6, "peak_mb": peak}))
        return
    print("users      rows        way       seconds (median)  peak MB  file MB  speed/straight")
    for users in map(int, options.users.split(",")):
        runs: dict[str, list[dict[str, float]]] = {"straight": [], "ours": []}
        for _ in range(options.rounds):
            for way, results in runs.items():
                results.append(measure(way, users))
        for way, results in runs.items():
            ratios = [
                b["seconds"] / a["seconds"] for a, b in zip(results, runs["straight"], strict=True)
            ]
            print(
                f"{users:<10} {users * QUERIES * LLMS:<11,} {way:<9} "
                f"{statistics.median(r['seconds'] for r in results):8.2f}          "
                f"{max(r['peak_mb'] for r in results):7.0f}  {results[0]['megabytes']:7.1f}  "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
