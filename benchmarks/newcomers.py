"""What `explicit-utility`, the head of `personalized`, keeps when half of the LLMs are new.

    python benchmarks/newcomers.py DIR [DIR ...] --strategy llm_judge [--draws 5] [--shots 0,3,10]

The setting new-llm of `bench evaluate` holds out one half of the LLMs; which half matters much, so
here it is drawn several times. Printed is the oracle-normalised reward on the test split with k
shown interactions a new LLM, as a share of that of the router trained on everything. With k of some
thousand every past response of the new LLMs is known: what then is missing comes of users who never
chose among them. About 10 s a data set, half and k at 1,000 users. Meant for development data.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
from personaroute_bench.router.answering import best_candidate
from personaroute_bench.router.explicit_utility import ExplicitUtility

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.history import past_responses
from personaroute_bench.evaluation.metrics import charge
from personaroute_bench.evaluation.results import Plan
from personaroute_bench.evaluation.settings import Fold, Teacher, trained_on_all


def halves(data: Benchmark, draws: int) -> list[Fold]:
    """Return folds, the new half of the LLMs drawn anew for each."""
    M, users = len(data.llm_ids), np.arange(len(data.user_ids))
    test, none = data.split_queries("test"), np.zeros(0, np.int64)
    folds = []
    for draw in range(draws):
        new = np.sort(np.random.default_rng(1000 + draw).permutation(M)[: M // 2])
        llms = np.concatenate([np.setdiff1d(np.arange(M), new), new])
        folds.append(Fold(users, llms, M - len(new), -1, users, test, none))
    return folds


def normalised(router: Any, data: Benchmark, strategy: str) -> float:
    """Return the oracle-normalised reward on the test split."""
    test = data.interactions(strategy, "test")
    reward = charge(test.reward)
    users = np.arange(len(test.users))
    score = router.scores(users, data.embeddings[test.queries], data.task_of_query[test.queries])
    choice = best_candidate(router, score, data.llm_ids)[..., None]
    got, chance = np.take_along_axis(reward, choice, -1).mean(), reward.mean()
    return float((got - chance) / (reward.max(-1).mean() - chance))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="+")
    parser.add_argument("--strategy", required=True)
    parser.add_argument("--feedback", default="full", choices=("full", "choice", "pairwise"))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--shots", default="0,3,10")
    arguments = parser.parse_args()
    shots = [int(k) for k in arguments.shots.split(",")]

    rows = []
    for path in arguments.directory:
        data = Benchmark.load(path)
        parts = {s: data.interactions(arguments.strategy, s) for s in ("train", "validation")}
        known = np.concatenate([part.queries for part in parts.values()])
        past = parts, past_responses(data, known)

        def told(fold: Fold, k: int | None = None, data: Any = data, past: Any = past) -> Any:
            plan = Plan(
                arguments.strategy, "new-llm", arguments.feedback, "T1", None, 1, 0, 0.95, k
            )
            teacher = Teacher(data, plan, *past, None)
            return teacher.history(fold, 0) if k is None else teacher.support(fold, 0)

        folds = halves(data, arguments.draws)
        full = ExplicitUtility(0)
        full.fit(told(trained_on_all(folds[:1], data)))
        whole = normalised(full, data, arguments.strategy)
        for fold in folds:
            base = ExplicitUtility(0)
            base.fit(told(fold))
            found = [whole]
            for k in shots:
                router = copy.deepcopy(base)
                router.adapt(told(fold, k))
                found.append(normalised(router, data, arguments.strategy))
            rows.append(found)
            print(path.name, data.llm_ids[fold.llms[fold.known :]].tolist(), np.round(found, 3))
    table = np.asarray(rows)
    mean, error = table.mean(axis=0), table.std(axis=0) / np.sqrt(max(len(table) - 1, 1))
    print("| | normalised reward | ± | share |\n|---|---|---|---|")
    names = ["trained on everything", *(f"k = {k}" for k in shots)]
    for name, m, e in zip(names, mean, error, strict=True):
        print(f"| {name} | {m:.3f} | {e:.3f} | {100 * m / mean[0]:.0f} % |")


if __name__ == "__main__":
    main()
