"""Compare query embeddings by how well they foretell the performance of each LLM.

    python benchmarks/embedders.py RESPONSES.parquet POOL.yaml

Queries of alpaca_eval, gsm8k and cruxeval, split 70/30 by query, five times. Columns: dimensions,
task identification (accuracy of 1-NN), and of the prediction of recorded performance R² over all
test cells by ridge and by 20-NN, R² within tasks by ridge (what is left once the task is known),
share of the way from the best single LLM to the per-query oracle that ridge routing goes, and MB
of text per second. TF-IDF + SVD is fitted on the training queries; the others have no state.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from personaroute_bench.embeddings.hashing import HashingEmbedder
from personaroute_bench.tasks.recorded import RecordedResponses

TASKS = ("alpaca_eval", "gsm8k", "cruxeval")
SKLEARN_WORDS = r"(?u)\b\w\w+\b"
Array = NDArray[np.float64]
Embed = Callable[[list[str], list[str]], tuple[Array, Array]]


def stateless(embedder: HashingEmbedder) -> Embed:
    return lambda train, test: (
        embedder.embed(train).astype(np.float64),
        embedder.embed(test).astype(np.float64),
    )


def tfidf_svd(dimension: int) -> Embed:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    def embed(train: list[str], test: list[str]) -> tuple[Array, Array]:
        pipe = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2)),
            TruncatedSVD(dimension, random_state=0),
            Normalizer(),
        )
        return pipe.fit_transform(train), pipe.transform(test)

    return embed


CANDIDATES: dict[str, Embed] = {
    "384, words (sklearn's pattern)": stateless(
        HashingEmbedder(384, token_pattern=SKLEARN_WORDS, sublinear=False)
    ),
    "384, words, log": stateless(HashingEmbedder(384, token_pattern=SKLEARN_WORDS)),
    "256, words and signs, log": stateless(HashingEmbedder(256)),
    "384, words and signs, log": stateless(HashingEmbedder(384)),
    "384, words and signs, no log": stateless(HashingEmbedder(384, sublinear=False)),
    "512, words and signs, log (default)": stateless(HashingEmbedder(512)),
    "1024, words and signs, log": stateless(HashingEmbedder(1024)),
    "384, words, signs and pairs, log": stateless(HashingEmbedder(384, ngrams=(1, 2))),
    "1024, words, signs and pairs, log": stateless(HashingEmbedder(1024, ngrams=(1, 2))),
    "512, characters 3-5, log": stateless(HashingEmbedder(512, analyzer="char_wb", ngrams=(3, 5))),
    "TF-IDF + SVD 128 (fitted)": tfidf_svd(128),
    "TF-IDF + SVD 384 (fitted)": tfidf_svd(384),
}


def r2(truth: Array, guess: Array, base: Array) -> float:
    return float(1 - np.square(truth - guess).sum() / np.square(truth - base).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("responses")
    parser.add_argument("pool")
    args = parser.parse_args()
    pool = yaml.safe_load(Path(args.pool).read_text(encoding="utf-8"))
    llm_ids = [llm["id"] for llm in pool["llms"]]
    recorded = RecordedResponses(args.responses, llm_ids)
    taskset = recorded.load(seed=0, queries_per_task=None, task_ids=TASKS)
    table = recorded.responses(taskset, llm_ids)
    performance = table["recorded_score"].to_numpy().reshape(-1, len(llm_ids))
    texts = np.array([query.query for query in taskset.queries], dtype=object)
    tasks = np.array([query.task_id for query in taskset.queries])
    heads = ("dims", "task", "R² ridge", "R² 20-NN", "R² in task", "routing", "MB/s")
    print(f"{len(texts)} queries, {len(llm_ids)} LLMs")
    print(f"{'embedding':<40}" + "".join(f"{head:>11}" for head in heads))
    for name, embed in CANDIDATES.items():
        rows = [measure(embed, texts, tasks, performance, seed) for seed in range(5)]
        dims, *mean = np.mean(rows, axis=0)
        print(f"{name:<40}{dims:>11.0f}" + "".join(f"{value:>11.3f}" for value in mean))


def measure(
    embed: Embed, texts: NDArray[np.object_], tasks: NDArray[np.str_], performance: Array, seed: int
) -> list[float]:
    from sklearn.linear_model import RidgeCV

    shuffled = np.random.default_rng(seed).permutation(len(texts))
    cut = int(0.7 * len(texts))
    train, test = shuffled[:cut], shuffled[cut:]
    start = time.perf_counter()
    x, z = embed(list(texts[train]), list(texts[test]))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    speed = megabytes / (time.perf_counter() - start)
    y, truth = performance[train], performance[test]

    near = z @ x.T
    task_hit = np.mean(tasks[train][near.argmax(axis=1)] == tasks[test])
    neighbours = np.argpartition(-near, 20, axis=1)[:, :20]
    by_neighbours = y[neighbours].mean(axis=1)
    by_ridge = RidgeCV(np.logspace(-2, 3, 11)).fit(x, y).predict(z)

    overall = np.broadcast_to(y.mean(axis=0), truth.shape)
    names, number = np.unique(tasks, return_inverse=True)
    task_mean = np.stack([y[number[train] == k].mean(axis=0) for k in range(len(names))])
    within_train = task_mean[number[train]]
    base = task_mean[number[test]]
    residual = RidgeCV(np.logspace(-2, 4, 13)).fit(x, y - within_train).predict(z)

    single = truth[:, y.mean(axis=0).argmax()].mean()
    oracle = truth.max(axis=1).mean()
    routed = truth[np.arange(len(test)), by_ridge.argmax(axis=1)].mean()
    return [
        x.shape[1],
        float(task_hit),
        r2(truth, by_ridge, overall),
        r2(truth, by_neighbours, overall),
        r2(truth, base + residual, base),
        float((routed - single) / (oracle - single)),
        speed,
    ]


if __name__ == "__main__":
    main()
