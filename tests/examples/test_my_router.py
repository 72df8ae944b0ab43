from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_benchmark import STRATEGY, small_benchmark, with_interactions

from personaroute_bench.evaluation.runner import evaluate

PATH = Path(__file__).resolve().parents[2] / "examples" / "my_router.py"


def my_router() -> Any:
    spec = importlib.util.spec_from_file_location("my_router", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MyRouter


def test_it_is_short() -> None:
    lines = PATH.read_text().partition("class MyRouter")[2].splitlines()
    assert sum(1 for line in lines if line.strip()) <= 20


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_it_beats_the_best_single_llm(feedback: Any) -> None:
    data = small_benchmark(users=40, queries=(60, 10, 40), failures=0.05)
    results = evaluate(data, [my_router()], feedback=feedback, bootstrap_draws=0)
    mine = next(entry for entry in results.routers if entry["asked_for"])
    assert mine["status"] == "ok"
    assert mine["reward_difference"]["mean"] > 0.02


def test_it_listens_to_the_right_user() -> None:
    data = small_benchmark()
    swapped = data
    order = np.asarray([11, *range(1, 11), 0])
    for split in ("train", "validation"):
        part = data.memory[STRATEGY, split]
        swapped = with_interactions(
            swapped, split, reward=part.reward[order], chosen=part.chosen[order]
        )
    answers: list[np.ndarray] = []

    class Recorder(my_router()):  # type: ignore[misc]
        def route(self, requests: Any) -> Any:
            answers.append(super().route(requests).reshape(12, 8))
            return answers[-1].ravel()

    for benchmark in (data, swapped):
        evaluate(benchmark, [Recorder], bootstrap_draws=0)
    assert (answers[0][0] != answers[0][11]).any()
    np.testing.assert_array_equal(answers[1], answers[0][order])
