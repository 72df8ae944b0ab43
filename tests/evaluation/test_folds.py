"""Folds: every query is tested once, and no router was told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench import evaluate
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.folds import FOLDS, refolded, whole


def test_every_query_is_tested_in_one_fold_and_rewards_stay() -> None:
    benchmark = small_benchmark()
    every = whole(benchmark, STRATEGY)
    assert every.queries.tolist() == list(range(34))
    tested = []
    for fold in range(FOLDS):
        view = refolded(benchmark, STRATEGY, fold)
        test = view.interactions(STRATEGY, "test")
        np.testing.assert_array_equal(test.reward, every.reward[:, test.queries])
        np.testing.assert_array_equal(test.chosen, every.chosen[:, test.queries])
        assert len(view.split_queries("validation")) == 4  # a tenth of each task's 17
        tested += test.queries.tolist()
        assert (whole(view, STRATEGY).reward == every.reward).all()
    assert sorted(tested) == list(range(34))


def test_routers_are_told_of_the_other_folds_only() -> None:
    met: list[Any] = []

    class Listener:
        def fit(self, history: Any) -> None:
            met.append({*history.query_ids, *history.validation.query_ids})

        def route(self, requests: Any) -> Any:
            met.append(set(requests.query_ids))
            return np.zeros(len(requests), np.int64)

    benchmark = small_benchmark()
    for fold in range(FOLDS):
        met.clear()
        found = evaluate(refolded(benchmark, STRATEGY, fold), [Listener], bootstrap_draws=0)
        past, asked = met
        assert not past & asked
        assert past | asked == set(benchmark.query_ids)
        assert found.data["rows"]["total"] == 12 * len(asked)


@pytest.mark.parametrize(("fold", "folds"), [(5, 5), (-1, 5), (0, 1)])
def test_there_is_no_such_fold(fold: int, folds: int) -> None:
    with pytest.raises(UsageError, match=f"fold {fold} of {folds}"):
        refolded(small_benchmark(), STRATEGY, fold, folds)


def test_too_few_queries_are_named() -> None:
    with pytest.raises(UsageError, match="5 queries are too few for 5 folds: fold 0 has no valid"):
        refolded(small_benchmark(queries=(3, 1, 1)), STRATEGY, 0)


def test_what_cannot_be_split_anew_is_refused() -> None:
    with pytest.raises(UsageError, match="drift"):
        refolded(small_benchmark(), "drift", 0)
    benchmark = small_benchmark()
    told = {at: part for at, part in benchmark.memory.items() if at[1] != "test"}
    sealed = replace(benchmark, manifest={"seal": {"state": "sealed"}}, memory=told)
    with pytest.raises(UsageError, match="sealed"):
        refolded(sealed, STRATEGY, 0)
