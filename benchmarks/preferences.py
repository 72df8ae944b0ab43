"""Baselines on recorded choices of real people, by data set: the tables of docs/preferences.md.

    .venv/bin/python benchmarks/preferences.py ../shared/recorded [--splits 10]

Reads preferences.parquet of that folder. Each data set is imported and evaluated alone, split by
query and by person, once with seed 0 (mean and interval) and then with further seeds of the split
(mean of the means), since a few test pairs a person make one split a matter of luck.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.pair_baselines import PAIR_ROUTERS
from personaroute_bench.evaluation.pairwise import evaluate_pairs
from personaroute_bench.interchange.preferences import import_preferences

# data set, candidates to leave out
CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("llmfao", ()),
    ("tulu1", ()),
    ("pandalm", ()),
    ("sottana_summ", ()),
    ("sottana_summ", ("human-reference",)),
    ("ttcw", ()),
    ("ttcw", ("human-writer",)),
    ("confederacy", ()),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    options = parser.parse_args()
    for by in ("query", "person"):
        print(f"\nsplit by {by}: seed 0 with 95 % interval / mean over {options.splits} splits")
        print("| data set | people | pairs | " + " | ".join(PAIR_ROUTERS) + " |")
        print("|---" * (3 + len(PAIR_ROUTERS)) + "|")
        for dataset, exclude in CASES:
            print(row(options.folder / "preferences.parquet", dataset, exclude, by, options.splits))


def row(path: Path, dataset: str, exclude: tuple[str, ...], by: Any, splits: int) -> str:
    name = f"{dataset} without {exclude[0]}" if exclude else dataset
    results = []
    for seed in range(splits):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "people"
            import_preferences(path, out, datasets=[dataset], by=by, seed=seed, exclude=exclude)
            try:
                results.append(evaluate_pairs(out, bootstrap_draws=0 if seed else 1000))
            except UsageError as error:
                return f"| {name} | {str(error).partition(' ')[2]} |"
    cells = []
    for router in PAIR_ROUTERS:
        metrics = [result[router]["metrics"]["pairwise_accuracy"] for result in results]
        first = metrics[0]
        text = f"{first['mean']:.3f}"
        if first["low"] is not None:
            text += f" [{first['low']:.3f}, {first['high']:.3f}]"
        cells.append(f"{text} / {np.mean([m['mean'] for m in metrics]):.3f}")
    sizes = results[0].data["sizes"]
    return f"| {name} | {sizes['people_scored']} | {sizes['decided']} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
