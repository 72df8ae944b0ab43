"""Task metrics: pure functions of a response and its ground truth, by name in a registry."""

from __future__ import annotations

from personaroute_bench.scoring import choice, numeric, text_overlap  # noqa: F401  (they register)
from personaroute_bench.scoring.registry import (
    RECORDED_ONLY,
    Metric,
    check_metric,
    get_metric,
    is_recorded_only,
    metric_names,
    register_metric,
    score,
    score_many,
)
from personaroute_bench.scoring.structured import strip_thinking

__all__ = [
    "RECORDED_ONLY",
    "Metric",
    "check_metric",
    "get_metric",
    "is_recorded_only",
    "metric_names",
    "register_metric",
    "score",
    "score_many",
    "strip_thinking",
]
