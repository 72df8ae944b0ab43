"""How fast `personalized` trains and routes, beside plain Python over rows of the same data.

    python benchmarks/speed.py [DIR] [--threads 2] [--out benchmarks/results/speed.json]

On the CPU, and on CUDA where torch finds a device. DIR is a data set of `bench generate` with the
strategy multi_cost_efficiency; without it, 1,000 users × 240 queries × 10 LLMs are made anew.
Each device runs in a process of its own, so that peak memory is its own. About 2 min on two idle
cores; on busy ones two threads wait for each other, and --threads 1 is faster.

Training is the whole of `fit`: the utility head, the epochs, and those after the best one that it
takes to know that it was the best. A single decision is one call of `route` with one request whose
query is embedded. "Row by row" reads every (user, query, LLM) row in a Python loop into mean
rewards by user, task and LLM, and answers each request by a loop over the candidates.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

STRATEGY = "multi_cost_efficiency"
ROUNDS, SINGLES = 5, 200
OUT = Path(__file__).resolve().parent / "results" / "speed.json"


def measure(directory: Path, device: str, threads: int) -> dict[str, Any]:
    """Return the figures of one device; call it in a fresh process."""
    import torch
    from personaroute_bench.router.personalized import Personalized

    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.history import make_history, past_responses
    from personaroute_bench.evaluation.requests import make_requests
    from personaroute_bench.evaluation.settings import Fold

    torch.set_num_threads(threads)
    benchmark = Benchmark.load(directory)
    users, llms = np.arange(len(benchmark.user_ids)), np.arange(len(benchmark.llm_ids))
    test, none = benchmark.split_queries("test"), np.zeros(0, dtype=np.int64)
    train, validation = (benchmark.interactions(STRATEGY, s) for s in ("train", "validation"))
    responses = past_responses(benchmark, np.concatenate([train.queries, validation.queries]))
    history = make_history(benchmark, train, validation, responses)
    fold = Fold(users, llms, len(llms), -1, users, test, none)
    (requests,) = make_requests(benchmark, fold, "T1", None)

    router = Personalized(0, device=device)
    start = time.perf_counter()
    router.fit(history)
    train_s = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    batch = [timed(lambda: router.route(requests)) for _ in range(ROUNDS)]
    one = replace(
        requests,
        user_ids=requests.user_ids[:1],
        users=requests.users.slice(0, 1),
        query_ids=requests.query_ids[:1],
        queries=requests.queries.slice(0, 1),
        embeddings=requests.embeddings[:1],
        task_of_query=requests.task_of_query[:1],
        user_index=requests.user_index[:1],
        query_index=requests.query_index[:1],
    )
    singles = [timed(lambda: router.route(one)) for _ in range(SINGLES)]
    means, loop_read_s = read_rows(history)
    loop_s = timed(lambda: route_rows(means, requests))
    found = {
        "users": len(users),
        "queries": len(benchmark.query_ids),
        "llms": len(llms),
        "requests": len(requests),
        "threads": threads,
        "train_s": round(train_s, 2),
        "epochs": len(router.losses),
        "best_epoch": router.best_epoch + 1,
        "peak_mb": round(peak_mb),
        "per_second": round(len(requests) / float(np.median(batch))),
        "single_ms": round(1000 * float(np.median(singles)), 3),
        "loop_rows": int(np.isfinite(history.rewards).sum()),
        "loop_read_s": round(loop_read_s, 2),
        "loop_per_second": round(len(requests) / loop_s),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if device == "cuda":
        found["device"] = torch.cuda.get_device_name()
        found["peak_device_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found


def timed(call: Any) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def read_rows(history: Any) -> tuple[dict[Any, list[float]], float]:
    """Return sum and count of rewards by (user, task, LLM), read row by row, and the seconds."""
    columns = [history.interactions[name] for name in ("user_id", "query_id", "llm_id", "reward")]
    task_of = dict(zip(history.query_ids.tolist(), history.task_of_query.tolist(), strict=True))
    start = time.perf_counter()
    means: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for user, query, llm, reward in zip(*(c.to_pylist() for c in columns), strict=True):
        if reward is not None:
            entry = means[user, task_of[query], llm]
            entry[0] += reward
            entry[1] += 1
    return means, time.perf_counter() - start


def route_rows(means: dict[Any, list[float]], requests: Any) -> list[str]:
    """Return the best LLM of each request's user and task, one request at a time."""
    candidates, tasks = requests.candidates.tolist(), requests.task_of_query.tolist()
    answers = []
    for u, q in zip(requests.user_index.tolist(), requests.query_index.tolist(), strict=True):
        user, best, most = str(requests.user_ids[u]), candidates[0], -np.inf
        for llm in candidates:
            total, count = means.get((user, tasks[q], llm), (0.0, 0.0))
            if count and total / count > most:
                best, most = llm, total / count
        answers.append(best)
    return answers


def main() -> None:
    """Measure each device in a process of its own; write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="only this one, printed as JSON")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    options = parser.parse_args()
    if options.threads < 1:
        parser.error(f"--threads is {options.threads}; give 1 or more")
    if options.device and options.directory:  # the process that measures
        print(json.dumps(measure(options.directory, options.device, options.threads)))
        return
    import torch

    from personaroute_bench.files import read_json, write_json

    found = read_json(options.out) if options.out.is_file() else {}
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with tempfile.TemporaryDirectory() as folder:
        directory = options.directory or _made(Path(folder) / "data")
        for device in [options.device] if options.device else devices:
            command = [sys.executable, __file__, str(directory), "--device", device]
            command += ["--threads", str(options.threads)]
            # numpy's own threads are set by the environment, before it is imported.
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
            env = os.environ | dict.fromkeys(names, str(options.threads))
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
            found[device] = json.loads(done.stdout.splitlines()[-1])
            print(device, json.dumps(found[device], indent=1))
    write_json(options.out, found)


def _made(folder: Path) -> Path:
    from personaroute_bench.config import DataConfig
    from personaroute_bench.generate import generate

    generate(DataConfig(users=1000, seed=101), folder)
    return folder


if __name__ == "__main__":
    main()
