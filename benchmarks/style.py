"""Style measured on recorded responses of real LLMs, and what personas with taste choose by it.

    .venv/bin/python benchmarks/style.py ../shared/recorded [--users 1000] [--noise 0.03]

Reads responses.parquet and core-pool.yaml of that folder; prints the speed of the measure, who
wins, how much there is to personalise, how steady the choices are, and whether the personas can
be told apart. Tastes are random and sparse: three dimensions of the twelve at ±1, the performance
weight uniform on [0, 0.6]; and then the composed personas of preset `default`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import yaml

from personaroute_bench.hashing import index_uniform
from personaroute_bench.judging.choice import (
    NOISE_SCALE,
    choose,
    gumbel_noise,
    persona_utility,
    style_utility,
)
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.separability import persona_separability
from personaroute_bench.judging.style import (
    STYLE_VERSION,
    measure_style,
    standardise_within_query,
)
from personaroute_bench.users.personas import compose

TASKS = ("alpaca_eval", "gsm8k", "cruxeval")
SEED = 0
BLOCK = 100
LIKED = 3


class Recorded(NamedTuple):
    query_ids: list[str]
    llm_ids: list[str]
    task: np.ndarray  # [Q]
    performance: np.ndarray  # [Q, M]
    raw: np.ndarray  # [Q, M, D]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=NOISE_SCALE)
    options = parser.parse_args()

    data = read(options.folder)
    ok = np.ones(data.performance.shape, dtype=bool)
    ratings = standardise_within_query(data.raw, ok)
    tastes = {
        "random sparse tastes": sparse_tastes(options.users),
        "composed personas, labelled by archetype": personas(options.users),
    }
    for name, (taste, weight, labels) in tastes.items():
        print(f"\n{name}, {options.users} users, noise {options.noise}")
        print(
            f"{'queries':<13}{'single':>8}{'per user':>9}{'blind':>8}{'retest':>8}"
            f"{'correct':>9}{'single is':>11}{'wins (min-max)':>16}{'> 60 %':>8}"
            f"{'separable (chance)':>24}"
        )
        for task in (*TASKS, "all"):
            rows = np.flatnonzero((data.task == task) | (task == "all"))
            part = Recorded(
                [data.query_ids[row] for row in rows],
                data.llm_ids,
                data.task[rows],
                data.performance[rows],
                data.raw[rows],
            )
            show(task, part, ratings[rows], taste, weight, labels, options.noise)


def read(folder: Path) -> Recorded:
    pool = yaml.safe_load((folder / "core-pool.yaml").read_text(encoding="utf-8"))
    llm_ids = sorted(llm["id"] for llm in pool["llms"])
    columns = ["task_id", "query_id", "query", "llm", "response", "score"]
    wanted = [("llm", "in", llm_ids), ("task_id", "in", list(TASKS))]
    table = pq.read_table(folder / "responses.parquet", columns=columns, filters=wanted)
    table = table.sort_by([("query_id", "ascending"), ("llm", "ascending")])
    shape = (len(table) // len(llm_ids), len(llm_ids))
    responses, queries = table["response"].to_pylist(), table["query"].to_pylist()
    start = time.process_time()
    raw = measure_style(responses, queries)
    seconds = time.process_time() - start
    characters = sum(map(len, responses)) / 1e6
    print(
        f"{STYLE_VERSION}: {len(raw):,} responses, {characters:.1f} M characters, "
        f"{seconds:.1f} s CPU"
    )
    return Recorded(
        table["query_id"].to_pylist()[:: len(llm_ids)],
        llm_ids,
        np.array(table["task_id"].to_pylist()[:: len(llm_ids)]),
        table["score"].to_numpy().reshape(shape).astype(np.float32),
        raw.reshape(*shape, -1),
    )


def sparse_tastes(users: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three liked or disliked dimensions a user; each user is a persona of its own."""
    rng = np.random.default_rng(SEED)
    taste = np.zeros((users, len(NAMES)))
    for row in taste:
        row[rng.choice(len(NAMES), LIKED, replace=False)] = rng.choice([-1.0, 1.0], LIKED)
    weight = 0.6 * index_uniform(SEED, "benchmark/weight", np.arange(users))
    return taste, weight, [f"u{number}" for number in range(users)]


def personas(users: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Composed personas with their archetypes as labels."""
    people = [compose(number, SEED) for number in range(users)]
    return (
        np.array([person.taste for person in people], dtype=np.float64),
        np.array([person.performance_weight for person in people]),
        [str(person.archetype) for person in people],
    )


def show(
    task: str,
    data: Recorded,
    ratings: np.ndarray,
    taste: np.ndarray,
    weight: np.ndarray,
    labels: list[str],
    noise: float,
) -> None:
    users, (queries, llms) = len(taste), data.performance.shape
    ok = np.ones((queries, llms), dtype=bool)
    chosen, again = np.zeros((2, users, queries, llms), dtype=bool)
    for start in range(0, users, BLOCK):
        block = np.arange(start, min(start + BLOCK, users))
        style = style_utility(ratings, taste[block])
        for repeat, target in enumerate((chosen, again)):
            draws = gumbel_noise(SEED, block, data.query_ids, data.llm_ids, noise, repeat)
            utility = persona_utility(data.performance, style, weight[block], ok, draws)
            target[block] = choose(utility)
    share = chosen / chosen.sum(axis=-1, keepdims=True)
    # Policies are chosen on the odd queries and paid out on the even ones.
    train, test = share[:, 1::2], share[:, 0::2]
    best = train.mean(axis=(0, 1)).argmax()
    single = test[..., best].mean()
    own = train.mean(axis=1).argmax(axis=-1)
    per_user = np.take_along_axis(test, own[:, None, None], axis=-1).mean()
    blind = test.mean(axis=0).max(axis=-1).mean()
    retest = (share * again).sum(axis=-1).mean()
    correct = (share * data.performance).sum(axis=-1).mean()
    wins = share.mean(axis=(0, 1))
    dominated = (share.mean(axis=1).max(axis=-1) > 0.6).mean()
    report = persona_separability(chosen, ratings, labels, SEED)
    print(
        f"{task:<13}{single:>8.1%}{per_user:>9.1%}{blind:>8.1%}{retest:>8.1%}{correct:>9.3f}"
        f"{data.llm_ids[best].split('/')[1][:10]:>11}{wins.min():>9.1%}-{wins.max():<6.1%}"
        f"{dominated:>8.1%}{report.accuracy:>9.1%} [{report.low:.1%}, {report.high:.1%}]"
        f" ({report.chance:.1%})"
    )


if __name__ == "__main__":
    main()
