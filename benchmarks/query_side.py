"""What the text of a query tells of its responses, beyond the query's task.

    python benchmarks/query_side.py DIR [DIR ...]

Ten folds over the training and validation queries; never the test split. *Within the query*: the
squared error of each response above the mean of its query, which is all that ranks LLMs. Printed
is how much less it is than that of the LLM's mean in the task, in per cent. Seconds a data set.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from personaroute_bench.router.smoothing import Smoother

from personaroute_bench.benchmark import Benchmark

FOLDS = 10
TASK_MEAN = Smoother("ridge", np.inf)
# Embeddings [n, D], tasks [n], log lengths [n]. A model is told the past's, its targets [n, M], and
# those of new queries.
Side = tuple[np.ndarray, np.ndarray, np.ndarray]
Model = Callable[[Side, np.ndarray, Side], np.ndarray]


def smooth(smoother: Smoother) -> Model:
    return lambda old, y, new: smoother.matrix(*new[:2], *old[:2]) @ y


def low_rank(smoother: Smoother, rank: int) -> Model:
    """Only the leading factors over LLMs (difficulty × ability) are told from the embedding."""

    def predict(old: Side, y: np.ndarray, new: Side) -> np.ndarray:
        rest = y - TASK_MEAN.matrix(*old[:2], *old[:2]) @ y
        factors = np.linalg.svd(rest, full_matrices=False)[2][:rank]
        usual = TASK_MEAN.matrix(*new[:2], *old[:2])
        more = smoother.matrix(*new[:2], *old[:2]) - usual
        return usual @ y + more @ (rest @ factors.T) @ factors

    return predict


def length(strength: float) -> Model:
    """A slope for each task and LLM on the logarithm of the query's length."""

    def predict(old: Side, y: np.ndarray, new: Side) -> np.ndarray:
        found = TASK_MEAN.matrix(*new[:2], *old[:2]) @ y
        for task in np.unique(new[1]):
            a, b = old[1] == task, new[1] == task
            x = old[2][a] - old[2][a].mean()
            spread = x.std() or 1.0
            slope = (x / spread) @ (y[a] - y[a].mean(axis=0)) / (len(x) + strength)
            found[b] += (new[2][b] - old[2][a].mean())[:, None] / spread * slope
        return found

    return predict


def forest(old: Side, y: np.ndarray, new: Side) -> np.ndarray:
    from sklearn.ensemble import RandomForestRegressor

    tasks = np.eye(int(max(old[1].max(), new[1].max())) + 1)
    trees = RandomForestRegressor(100, min_samples_leaf=5, max_features=1 / 3, random_state=0)
    trees.fit(np.c_[old[0], tasks[old[1]]], y)
    return np.asarray(trees.predict(np.c_[new[0], tasks[new[1]]]))


MODELS: dict[str, Model] = {
    "mean of the task": smooth(TASK_MEAN),
    **{f"ridge on embeddings, {p:g}": smooth(Smoother("ridge", p)) for p in (30.0, 10.0, 3.0)},
    **{f"kernel mean, {p:g}": smooth(Smoother("kernel", p)) for p in (3.0, 6.0)},
    "one factor over LLMs, ridge 10": low_rank(Smoother("ridge", 10.0), 1),
    "two factors over LLMs, ridge 3": low_rank(Smoother("ridge", 3.0), 2),
    "length by task and LLM": length(50.0),
    "random forest": forest,
}


def errors(data: Benchmark, target: np.ndarray) -> dict[str, float]:
    """Return each model's mean squared error within the query."""
    known = np.concatenate([data.split_queries(s) for s in ("train", "validation")])
    texts: list[Any] = data.queries["query"].to_pylist()
    lengths = np.log1p([len(texts[q]) for q in known])
    sides = (data.embeddings[known], data.task_of_query[known], lengths)
    y = target[known].astype(np.float64)
    fold = np.random.default_rng(0).permutation(len(known)) % FOLDS
    total = dict.fromkeys(MODELS, 0.0)
    for k in range(FOLDS):
        old, new = (tuple(side[rows] for side in sides) for rows in (fold != k, fold == k))
        past = np.where(np.isfinite(y[fold != k]), y[fold != k], np.nanmean(y[fold != k], axis=0))
        for name, model in MODELS.items():
            miss = y[fold == k] - model(old, past, new)  # type: ignore[arg-type]
            total[name] += float(np.nansum((miss - np.nanmean(miss, 1, keepdims=True)) ** 2))
    return {name: value / np.isfinite(y).sum() for name, value in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="+")
    sets = [Benchmark.load(path) for path in parser.parse_args().directory]
    found = {what: [errors(d, getattr(d, what)) for d in sets] for what in ("performance", "cost")}
    print("| what is told from the query | performance | cost |\n|---|---|---|")
    for name in MODELS:
        cells = []
        for runs in found.values():
            gains = [100 * (1 - run[name] / run["mean of the task"]) for run in runs]
            cells.append(f"{np.mean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f})")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
