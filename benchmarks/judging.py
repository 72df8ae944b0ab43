"""The judge report on recorded responses of real LLMs, and on simulated judges of known faults.

    .venv/bin/python benchmarks/judging.py ../shared/recorded [--users 1000]

Reads responses.parquet and core-pool.yaml of that folder. Prints the report of the embedded judge
for composed personas on each task, with the seconds it takes; then the bias figures of simulated
direct judges, which show 200 personas' answers to 60 queries of alpaca_eval and have one fault
each, so that what the report says can be compared with the truth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from style import TASKS, Recorded, personas, read

from personaroute_bench.judging.choice import (
    NOISE_SCALE,
    choose,
    gumbel_noise,
    persona_utility,
    style_utility,
)
from personaroute_bench.judging.report import judge_report
from personaroute_bench.judging.style import standardise_within_query
from personaroute_bench.schemas import JUDGMENTS

SEED = 0
BLOCK = 100
Utility = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, default=1000)
    options = parser.parse_args()

    data = read(options.folder)
    lengths = characters(options.folder, data)
    ok = np.ones(data.performance.shape, dtype=bool)
    ratings = standardise_within_query(data.raw, ok)
    taste, weight, labels = personas(options.users)
    for task in (*TASKS, "all"):
        rows = np.flatnonzero((data.task == task) | (task == "all"))
        ids = [data.query_ids[row] for row in rows]
        chosen, again = (
            choices(data, ratings, rows, ids, taste, weight, repeat) for repeat in (0, 1)
        )
        start = time.perf_counter()
        result = judge_report(
            "embedded",
            chosen,
            ok[rows],
            ids,
            data.llm_ids,
            lengths=lengths[rows],
            ratings=ratings[rows],
            performance=data.performance[rows],
            labels=labels,
            again=again,
            seed=SEED,
        )
        print(f"\n{task}: {options.users} users, report in {time.perf_counter() - start:.1f} s")
        print("\n".join(f"  {line}" for line in result.lines()))

    rows = np.flatnonzero(data.task == "alpaca_eval")[:60]
    ids = [data.query_ids[row] for row in rows]
    style = style_utility(ratings[rows], taste[:200])
    base = persona_utility(data.performance[rows], style, weight[:200], ok[rows])
    simulated(base, np.log2(np.maximum(lengths[rows], 1)), ids, data.llm_ids, lengths[rows])


def characters(folder: Path, data: Recorded) -> np.ndarray:
    """[Q, M] characters of the responses, in the order of `style.read`."""
    wanted = [("llm", "in", data.llm_ids), ("task_id", "in", list(TASKS))]
    table = pq.read_table(
        folder / "responses.parquet", columns=["query_id", "llm", "response"], filters=wanted
    ).sort_by([("query_id", "ascending"), ("llm", "ascending")])
    count = [len(text) for text in table["response"].to_pylist()]
    return np.array(count, dtype=np.float64).reshape(data.performance.shape)


def choices(
    data: Recorded,
    ratings: np.ndarray,
    rows: np.ndarray,
    ids: list[str],
    taste: np.ndarray,
    weight: np.ndarray,
    repeat: int,
) -> np.ndarray:
    """[U, Q, M] what the embedded judge's personas take."""
    ok = np.ones((len(rows), len(data.llm_ids)), dtype=bool)
    result = np.zeros((len(taste), *ok.shape), dtype=bool)
    for start in range(0, len(taste), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(taste)))
        style = style_utility(ratings[rows], taste[block])
        noise = gumbel_noise(SEED, block, ids, data.llm_ids, NOISE_SCALE, repeat)
        result[block] = choose(
            persona_utility(data.performance[rows], style, weight[block], ok, noise)
        )
    return result


def simulated(
    base: np.ndarray,
    log_length: np.ndarray,
    query_ids: list[str],
    llm_ids: list[str],
    lengths: np.ndarray,
) -> None:
    """Ask judges of known faults twice and in both orders, and print what the report finds."""
    k = len(llm_ids)
    faults: dict[str, Utility] = {
        "none": lambda rng, place, own: own + rng.gumbel(0, 0.03, own.shape),
        "names the first answer": lambda rng, place, own: -place.astype(float),
        "adds 0.1 to the first place": lambda rng, place, own: (
            own + 0.1 * (place == 0) + rng.gumbel(0, 0.03, own.shape)
        ),
        "odds of 2 for twice the length, nothing else": lambda rng, place, own: (
            np.log(2.0) * log_length + rng.gumbel(size=own.shape)
        ),
        "random": lambda rng, place, own: rng.random(own.shape),
    }
    for name, utility in faults.items():
        rng = np.random.default_rng(SEED)
        tables = []
        for repeat in range(2):
            shuffled = rng.random(base.shape).argsort(axis=-1)  # LLM at each place
            for order in range(2):
                shown = shuffled[..., ::-1] if order else shuffled
                pick = utility(rng, shown.argsort(axis=-1), base).argmax(axis=-1)
                tables.append(rows_of(pick, shown, query_ids, llm_ids, order, repeat))
        first = tables[0]["chosen"].combine_chunks().flatten().to_pylist()
        chosen = np.eye(k, dtype=bool)[[llm_ids.index(llm) for llm in first]].reshape(base.shape)
        start = time.perf_counter()
        result = judge_report(
            "direct",
            chosen,
            np.ones(base.shape[1:], dtype=bool),
            query_ids,
            llm_ids,
            judgments=pa.concat_tables(tables),
            lengths=lengths,
            seed=SEED,
        )
        print(f"\nsimulated judge, fault: {name}; report in {time.perf_counter() - start:.1f} s")
        print("\n".join(f"  {line}" for line in result.judges[0].lines()))


def rows_of(
    pick: np.ndarray,
    shown: np.ndarray,
    query_ids: list[str],
    llm_ids: list[str],
    order: int,
    repeat: int,
) -> pa.Table:
    """One JUDGMENTS row a persona and query."""
    personas, queries, k = shown.shape
    n = personas * queries
    names = np.array(llm_ids, dtype=object)

    def lists(values: np.ndarray, size: int) -> pa.Array:
        offsets = np.arange(n + 1, dtype=np.int32) * size
        return pa.ListArray.from_arrays(offsets, pa.array(names[values.ravel()], pa.string()))

    columns = {
        "persona_id": np.repeat([f"u{i}" for i in range(personas)], queries),
        "query_id": np.tile(query_ids, personas),
        "judge": ["simulated"] * n,
        "prompt_hash": ["none"] * n,
        "mode": ["listwise"] * n,
        "order_id": np.full(n, order),
        "repeat": np.full(n, repeat),
        "pair": np.zeros(n, dtype=int),
        "shown": lists(shown, k),
        "chosen": lists(pick, 1),
        "status": ["ok"] * n,
        "reply": [""] * n,
        "cost_usd": np.zeros(n),
    }
    return pa.table(
        [pa.array(columns[field.name]).cast(field.type) for field in JUDGMENTS], schema=JUDGMENTS
    )


if __name__ == "__main__":
    main()
