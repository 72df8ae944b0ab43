from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.scoring import (
    check_metric,
    get_metric,
    is_recorded_only,
    metric_names,
    register_metric,
    registry,
    score,
    score_many,
)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_METRICS", dict(registry._METRICS))
    yield


def test_names() -> None:
    assert metric_names() == [
        "GSM8K",
        "em",
        "em_mc",
        "f1_score",
        "human_faithfulness",
        "num_em",
        "recorded_score",
    ]


def test_own_metric() -> None:
    @register_metric("starts_with")
    def starts_with(response: str, ground_truth: str) -> float:
        return float(response.startswith(ground_truth))

    assert score("starts_with", "Prague lies", "Prague") == 1.0
    assert get_metric("starts_with") is starts_with
    with pytest.raises(UsageError, match="'starts_with' exists already"):
        register_metric("starts_with")
    register_metric("starts_with", overwrite=True)(lambda response, truth: 0.5)
    assert score("starts_with", "a", "b") == 0.5


@pytest.mark.parametrize("name", ["", " em", "human_faithfulness"])
def test_bad_names(name: str) -> None:
    with pytest.raises(UsageError):
        register_metric(name, overwrite=True)


def test_unknown_metric() -> None:
    with pytest.raises(UsageError, match=r"unknown metric 'f1_scor'; did you mean 'f1_score'"):
        score("f1_scor", "a", "a")


def test_recorded_only() -> None:
    assert is_recorded_only("human_faithfulness")
    assert not is_recorded_only("em")
    check_metric("human_faithfulness", recorded_scores=True)
    with pytest.raises(UsageError, match="recorded verdict"):
        check_metric("human_faithfulness")
    with pytest.raises(UsageError, match="recorded verdict"):
        score("human_faithfulness", "a", "a")
    with pytest.raises(UsageError, match="unknown metric"):
        check_metric("no_such", recorded_scores=True)


def test_thinking_is_not_scored() -> None:
    assert score("GSM8K", "<think>17? no, 19</think>#### 18", "18") == 1.0
    assert score("GSM8K", "<think>18", "18") == 0.0


def test_no_ground_truth() -> None:
    with pytest.raises(UsageError, match="needs a ground truth"):
        score("em", "a", None)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_metric_out_of_range_is_an_error(value: float) -> None:
    register_metric("odd")(lambda response, truth: value)
    with pytest.raises(BenchError, match="between 0 and 1"):
        score("odd", "a", "a")


def test_score_many() -> None:
    scores = score_many("em", ["a", "b"], ["a", "a"])
    assert scores.dtype == np.float64
    assert scores.tolist() == [1.0, 0.0]
    assert score_many("em", [], []).shape == (0,)
    with pytest.raises(UsageError, match="2 responses and 1 ground truths"):
        score_many("em", ["a", "b"], ["a"])
