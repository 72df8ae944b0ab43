"""How long an import of the published layout takes, and how much memory.

    .venv/bin/python benchmarks/import_speed.py --users 1000 --dimensions 16
    .venv/bin/python benchmarks/import_speed.py --users 100 --dimensions 384

Writes CSVs of our own making (240 queries, 10 LLMs, official splits) into a temporary folder,
imports them with `bench import personaroute-csv` in a process of its own, exports them again, and
prints rows, bytes, wall and CPU seconds and peak memory. The files are deleted.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TASKS, PER_TASK, LLMS = 4, 60, 10
WORDS = "many plain words of an answer, some in\ntwo lines. "


def rows_of_one_user(dimensions: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return what of each row does not depend on the user, as CSV, and effect and cost."""
    rng = np.random.default_rng(0)
    count = TASKS * PER_TASK * LLMS
    effect, cost = np.round(rng.random((2, count)), 6)
    texts = []
    with np.printoptions(threshold=sys.maxsize):
        for row in range(count):
            task, query, llm = row // LLMS // PER_TASK, row // LLMS, row % LLMS
            if llm == 0:
                vector = str(rng.normal(0, 0.05, (1, dimensions)).astype(np.float32))
            if row % (LLMS * PER_TASK) == 0:
                described = str(rng.normal(0, 0.05, (1, dimensions)).astype(np.float32))
            cells = [
                f"task{task}",
                f"Question {query}, {WORDS * 8}",
                vector,
                f"truth {query}",
                "f1_score",
                f"LLM {llm}",
                effect[row],
                cost[row],
                f"what task {task} asks",
                described,
                f"Answer {llm} to {query}: {WORDS * 8}",
            ]
            line = io.StringIO()
            csv.writer(line, lineterminator="\r\n").writerow(cells)
            texts.append(line.getvalue()[:-2])
    return texts, effect, cost


def write(folder: Path, users: int, dimensions: int) -> int:
    """Write the three files; return their bytes."""
    texts, effect, cost = rows_of_one_user(dimensions)
    place = np.arange(len(texts)) // LLMS % PER_TASK
    splits = {"train": place < 42, "val": (place >= 42) & (place < 48), "test": place >= 48}
    head = (
        "user_id,performance_preference,task_id,query,query_embedding,ground_truth,metric,llm,"
        "effect,cost,task_description,task_description_embedding,response,reward,best_llm\n"
    )
    files = {
        name: (folder / f"router_user_{name}_data_v1_large.csv").open("w", encoding="utf-8")
        for name in splits
    }
    for file in files.values():
        file.write(head)
    for user in range(users):
        alpha = 0.2 + 0.8 * user / max(1, users - 1)
        reward = alpha * effect - (1 - alpha) * cost
        best = np.repeat(reward.reshape(-1, LLMS).argmax(axis=1), LLMS)
        lines = [
            f"{user + 1},{alpha!r},{text},{r!r},{b}\n"
            for text, r, b in zip(texts, reward.tolist(), best.tolist(), strict=True)
        ]
        for name, mine in splits.items():
            files[name].writelines(lines[row] for row in np.flatnonzero(mine))
    for file in files.values():
        file.close()
    return sum(path.stat().st_size for path in folder.iterdir())


def measure(*arguments: str) -> None:
    """Run `bench` and print what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "personaroute_bench.cli", *arguments], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"bench {arguments[0]}: {wall:.1f} s wall, {cpu:.1f} s CPU, peak "
        f"{after.ru_maxrss / 1e6:.2f} GB (of all so far), load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        size = write(folder / "files", options.users, options.dimensions)
        rows = options.users * TASKS * PER_TASK * LLMS
        print(f"{rows:,} rows, {size / 1e9:.2f} GB, {os.cpu_count()} cores", flush=True)
        data = str(folder / "data")
        measure("import", "personaroute-csv", str(folder / "files"), "--out", data)
        measure("export", data, "--to", "personaroute-csv", "--out", str(folder / "csv"))


if __name__ == "__main__":
    main()
