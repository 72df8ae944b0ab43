"""Cross-validation: the same data set split anew, so that every query is tested in one fold.

A split that tests 48 of 240 queries says little of the queries of the world, whatever the number of
users; the folds together test all 240, each by routers that were not told of it:

    for fold in range(5):
        evaluate(refolded(benchmark, "llm_judge", fold), routers)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from personaroute_bench.benchmark import Benchmark, Interactions
from personaroute_bench.errors import UsageError
from personaroute_bench.schemas import SPLITS
from personaroute_bench.splits import fold_queries, missing_splits

FOLDS = 5


def refolded(benchmark: Benchmark, strategy: str, fold: int, folds: int = FOLDS) -> Benchmark:
    """Return the data set, with the interactions of one strategy, split for one of the folds.

    Raises:
        UsageError: there is no such fold; there are too few queries; the order of a user's queries
            matters; or the data set is sealed, so that its test rows may not become training rows.
    """
    if not 0 <= fold < folds or folds < 2:
        raise UsageError(f"fold {fold} of {folds}; give 2 folds or more, and one of 0…{folds - 1}")
    if strategy == "drift":
        raise UsageError("strategy drift tests what comes last in every life; it has no folds")
    every = whole(benchmark, strategy)
    texts = [str(text) for text in benchmark.queries["query"].to_pylist()]
    split = fold_queries(benchmark.queries["task_id"].to_pylist(), texts, fold, folds)
    if missing := missing_splits(split):
        raise UsageError(
            f"{len(texts)} queries are too few for {folds} folds: fold {fold} has no "
            f"{' and no '.join(missing)} query"
        )
    names = np.asarray(split)
    memory = {}
    for name in SPLITS:
        rows = np.flatnonzero(names == name)
        parts = (rows, every.reward[:, rows], every.chosen[:, rows])
        memory[strategy, name] = Interactions(every.users, *parts)
    column = benchmark.queries.column_names.index("split")
    queries = benchmark.queries.set_column(column, "split", pa.array(split, pa.string()))
    return replace(benchmark, queries=queries, memory=memory)


def whole(benchmark: Benchmark, strategy: str) -> Interactions:
    """Return the interactions of all splits, in the order of the queries table.

    Raises:
        UsageError: the data set is sealed.
    """
    parts = [
        benchmark.interactions(strategy, name)
        for name in SPLITS
        if len(benchmark.split_queries(name))
    ]
    queries = np.concatenate([part.queries for part in parts])
    order = np.argsort(queries)
    return Interactions(
        parts[0].users,
        queries[order],
        np.concatenate([part.reward for part in parts], axis=1)[:, order],
        np.concatenate([part.chosen for part in parts], axis=1)[:, order],
    )
