"""2.4 million rows: this project's expansion of users against the pandas ways, same numbers.

    python benchmarks/peers/expansion.py --one WAY USERS     # one way, in this process, as JSON

ours           `write_interactions`: arrays, streamed to Parquet by splits
cross merge    `users.merge(responses, how="cross")`, reward and best LLM vectorised, `to_parquet`
row by row     `iterrows` over the responses, a copy of the row for every user with the user's
               columns set on it, the list of rows made a frame; then as cross merge. The loop of
               the published code, but without its text columns and without its CSV, which both
               would take longer still. Measured with fewer users and multiplied: it is linear.
lean loop      the best that a loop over rows can do: `itertuples`, a tuple for every new row
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from rows import LLMS, QUERIES, make_grid, write_ours

from personaroute_bench.users.populations import draw_weights, user_ids

USERS, ROW_USERS = 1000, 5
OURS, MERGE = "ours", "pandas cross merge"
ROWS, LEAN = "pandas row by row (iterrows)", "lean loop (itertuples)"


NUMBERS = ("performance", "cost_usd", "cost", "alpha")


def responses() -> pd.DataFrame:
    """Return the 2,400 responses that `make_grid` holds, one a row."""
    grid = make_grid()
    return pd.DataFrame(
        {
            "query_id": np.repeat(grid.query_ids, LLMS),
            "llm_id": np.tile(grid.llm_ids, QUERIES),
            "performance": grid.performance.reshape(-1),
            "cost_usd": grid.cost_usd.reshape(-1),
            "cost": grid.cost.reshape(-1),
        }
    )


def people(users: int) -> pd.DataFrame:
    alpha, _ = draw_weights("default", 0, 0, users)  # β = 1 − α, as in the published data
    return pd.DataFrame({"user_id": user_ids(0, users), "alpha": alpha})


def finished(frame: pd.DataFrame, path: Path) -> None:
    """Add reward and best LLM to expanded rows, and write them."""
    frame["reward"] = frame["alpha"] * frame["performance"] - (1 - frame["alpha"]) * frame["cost"]
    best = frame.groupby(["user_id", "query_id"], sort=False)["reward"].transform("max")
    frame["chosen"] = frame["reward"] == best
    frame.drop(columns="alpha").to_parquet(path, compression="zstd", index=False)


def merge(users: int, folder: Path) -> float:
    left, right = people(users), responses()
    start = time.perf_counter()
    finished(left.merge(right, how="cross"), folder / "merged.parquet")
    return time.perf_counter() - start


def row_by_row(users: int, folder: Path) -> float:
    left, right = people(users), responses()
    start = time.perf_counter()
    rows = []
    for _, row in right.iterrows():
        for user in left.itertuples():
            mine = row.copy()
            mine["user_id"] = user.user_id
            mine["alpha"] = user.alpha
            rows.append(mine)
    frame = pd.DataFrame(rows).sort_values(["user_id", "query_id"], kind="stable")
    finished(frame.astype(dict.fromkeys(NUMBERS, float)), folder / "rows.parquet")
    return time.perf_counter() - start


def lean_loop(users: int, folder: Path) -> float:
    left, right = people(users), responses()
    start = time.perf_counter()
    names = ["user_id", "alpha", *right.columns]
    rows = [
        (user.user_id, user.alpha, *row)
        for user in left.itertuples()
        for row in right.itertuples(index=False, name=None)
    ]
    finished(pd.DataFrame(rows, columns=names), folder / "lean.parquet")
    return time.perf_counter() - start


WAYS: dict[str, Callable[[int, Path], float]] = {
    OURS: write_ours,
    MERGE: merge,
    LEAN: lean_loop,
    ROWS: row_by_row,
}


def one(way: str, users: int) -> dict[str, float]:
    """Run a way in this process: seconds, CPU seconds, peak MB, and what the rewards add up to."""
    import pyarrow.dataset as ds

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = time.process_time()
        seconds = WAYS[way](users, folder)
        cpu = time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table = ds.dataset(folder, format="parquet").to_table(columns=["reward", "chosen"])
    return {
        "users": users,
        "rows": table.num_rows,
        "seconds": seconds,
        "cpu_s": cpu,
        "peak_mb": peak,
        "reward": float(np.sum(table["reward"].to_numpy(), dtype=np.float64)),
        "chosen": int(np.count_nonzero(table["chosen"].to_numpy())),
    }


def measure(way: str, users: int) -> dict[str, float]:
    """Run a way in a process of its own."""
    command = [sys.executable, __file__, "--one", way, str(users)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def check_same() -> None:
    """Raise unless all ways give the same rewards and choices."""
    told = {way: measure(way, ROW_USERS) for way in WAYS}
    for way, mine in told.items():
        rows = (mine["rows"], mine["chosen"])
        off = abs(mine["reward"] - told[OURS]["reward"]) / mine["rows"]
        if rows != (told[OURS]["rows"], told[OURS]["chosen"]) or off > 1e-6:
            raise SystemExit(f"{way} gives other rows than ours: {mine}, {told[OURS]}")


def round_of(kept: list[dict[str, Any]]) -> None:
    """Measure all ways once, one after the other, and keep them as one round."""
    kept.append({way: measure(way, ROW_USERS if way == ROWS else USERS) for way in WAYS})


def summary(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each way the medians, extrapolated to USERS, and how much faster ours is."""
    told = []
    for way in WAYS:
        factor = USERS / rounds[0][way]["users"]
        seconds = [r[way]["seconds"] * factor for r in rounds]
        cpu = [r[way]["cpu_s"] * factor for r in rounds]
        wall = [s / r[OURS]["seconds"] for s, r in zip(seconds, rounds, strict=True)]
        cpus = [s / r[OURS]["cpu_s"] for s, r in zip(cpu, rounds, strict=True)]
        told.append(
            {
                "way": way,
                "measured_users": rounds[0][way]["users"],
                "seconds": statistics.median(seconds),
                "cpu_s": statistics.median(cpu),
                "peak_mb": max(r[way]["peak_mb"] for r in rounds),
                "ours_faster": [statistics.median(wall), min(wall), max(wall)],
                "ours_faster_cpu": [statistics.median(cpus), min(cpus), max(cpus)],
            }
        )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--one", nargs=2, required=True, metavar=("WAY", "USERS"))
    way, users = parser.parse_args().one
    print(json.dumps(one(way, int(users))))


if __name__ == "__main__":
    main()
