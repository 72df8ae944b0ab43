"""Weights of the time to come: each kind of drift is met by the forecast that fits it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench
from personaroute_bench.router.explicit_utility import ExplicitUtility
from personaroute_bench.router.forecast import FORECASTS, forecast
from personaroute_bench.router.utility import Evidence, infer

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.runner import evaluate

SEGMENTS, EACH = 4, 20
LIVES = {
    "whole past": [0.5, 0.5, 0.5, 0.5],
    "last segment": [0.1, 0.9, 0.9, 0.9],
    "trend": [0.05, 0.30, 0.55, 0.80],
    "alternating": [0.1, 0.9, 0.1, 0.9],
}
NEXT = {"whole past": 0.5, "last segment": 0.9, "trend": 1.05, "alternating": 0.1}


def lives(copies: int = 5) -> tuple[Evidence, Any, Any]:
    """Users of every kind, who weigh two features by (α, α − 1); Q queries, one a step of time."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((SEGMENTS * EACH, 5, 2)).astype(np.float32)
    features -= features.mean(axis=1, keepdims=True)
    alpha = np.repeat(np.asarray([LIVES[name] for name in FORECASTS]), copies, axis=0)
    segments = np.tile(np.repeat(np.arange(SEGMENTS), EACH), (len(alpha), 1)).astype(np.int8)
    at = np.take_along_axis(alpha, segments.astype(np.int64), axis=1)
    weights = np.stack([at, at - 1], axis=-1)
    values = np.einsum("uqf,qmf->uqm", weights, features).astype(np.float32)
    seen = np.ones(values.shape, bool)
    return Evidence(features, values, seen, np.asarray([0, 1]), True), values, segments


def test_every_kind_of_life_gets_the_forecast_that_fits() -> None:
    evidence, values, segments = lives()
    weights, which = forecast(evidence, infer(evidence), values, segments)
    for i, name in enumerate(FORECASTS):
        mine = which.reshape(len(FORECASTS), -1)[i]
        if name != "whole past":  # all forecasts of a constant life are the same
            assert (mine == i).all(), name
        alpha = weights.reshape(len(FORECASTS), -1, 2)[i, :, 0]
        np.testing.assert_allclose(alpha, NEXT[name], atol=0.06, err_msg=name)


def test_one_segment_or_nothing_told_is_the_whole_past() -> None:
    evidence, values, segments = lives()
    tastes = infer(evidence)
    same, which = forecast(evidence, tastes, values, np.zeros_like(segments))
    np.testing.assert_allclose(same, tastes.mean)
    assert (which == 0).all()
    silent = dataclasses.replace(evidence, seen=np.zeros_like(evidence.seen))
    nobody = infer(silent)
    found, _ = forecast(silent, nobody, values, segments)
    np.testing.assert_allclose(found, nobody.mean)


class Timeless(ExplicitUtility):
    """The same without knowing when."""

    def fit(self, history: Any) -> None:
        def blind(part: Any) -> Any:
            return part and dataclasses.replace(part, time=None, segments=None)

        super().fit(dataclasses.replace(blind(history), validation=blind(history.validation)))


def test_knowing_when_earns_reward_where_tastes_drift(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert bench("generate", "--users", "60", "--strategy", "drift", "--out", out).code == 0
    data = Benchmark.load(out)
    found = evaluate(data, [ExplicitUtility, Timeless], setting="drift", bootstrap_draws=0)
    aware, timeless = (
        found[f"{kind.__module__}:{kind.__qualname__}"]["metrics"]["reward"]["mean"]
        for kind in (ExplicitUtility, Timeless)
    )
    assert aware > timeless


def test_the_graph_is_left_out_where_tastes_drift() -> None:
    pytest.importorskip("torch")
    from personaroute_bench.router.personalized import Personalized
    from trained_routers import people, told

    history = told(people())
    part = history.validation
    assert part is not None
    drifting = dataclasses.replace(
        history,
        segments=np.zeros(history.values.shape[:2], np.int8),
        validation=dataclasses.replace(part, segments=np.ones(part.values.shape[:2], np.int8)),
    )
    router = Personalized(width=8, epochs=2)
    router.fit(drifting)
    assert router.share == 0 and router.losses == []
