"""The metrics by name, and the one way to score a response.

A metric is a pure function of two texts: ``metric(response, ground_truth) -> float`` in [0, 1].
It never sees who answered, what it cost or who asked, and it accepts any text without raising.

    from personaroute_bench import register_metric

    @register_metric("starts_with")
    def starts_with(response: str, ground_truth: str) -> float:
        return float(response.startswith(ground_truth))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError, UsageError, did_you_mean
from personaroute_bench.scoring.structured import strip_thinking

Metric = Callable[[str, str], float]
_MetricT = TypeVar("_MetricT", bound=Metric)

_METRICS: dict[str, Metric] = {}

# Verdicts that were recorded with the responses; no function of two texts gives them.
RECORDED_ONLY = frozenset({"human_faithfulness", "recorded_score"})


def register_metric(name: str, *, overwrite: bool = False) -> Callable[[_MetricT], _MetricT]:
    """Make a function available as a metric under ``name``; use as a decorator.

    Raises:
        UsageError: the name is empty or taken, and ``overwrite`` is not set.
    """
    if not name or name != name.strip():
        raise UsageError(f"metric name {name!r} is empty or has spaces around it; give a word")
    if name in RECORDED_ONLY or (name in _METRICS and not overwrite):
        raise UsageError(
            f"a metric named {name!r} exists already; choose another name, or pass "
            "overwrite=True to register_metric to replace one of your own"
        )

    def register(metric: _MetricT) -> _MetricT:
        _METRICS[name] = metric
        return metric

    return register


def metric_names() -> list[str]:
    """Return the names of all metrics, recorded-only ones included, sorted."""
    return sorted({*_METRICS, *RECORDED_ONLY})


def is_recorded_only(name: str) -> bool:
    """Return whether a metric is a recorded verdict that no function of text can give."""
    return name in RECORDED_ONLY


def check_metric(name: str, *, recorded_scores: bool = False) -> None:
    """Check that responses can be scored by this metric, before anything is paid for.

    Args:
        name: the metric.
        recorded_scores: the source brings its own scores, so that a recorded-only metric is fine.

    Raises:
        UsageError: unknown metric, or a recorded-only one without recorded scores.
    """
    if not (recorded_scores and name in RECORDED_ONLY):
        get_metric(name)


def get_metric(name: str) -> Metric:
    """Return the function behind a metric's name.

    Raises:
        UsageError: unknown metric, or one whose scores can only be recorded.
    """
    if name in RECORDED_ONLY:
        raise UsageError(
            f"metric {name!r} is a recorded verdict and cannot be computed from text; use a "
            "source whose column 'score' holds it, or leave its tasks out with --task-ids"
        )
    try:
        return _METRICS[name]
    except KeyError:
        raise UsageError(
            f"unknown metric {name!r}{did_you_mean(name, metric_names())} "
            "(register one of your own with personaroute_bench.register_metric)"
        ) from None


def score(metric: str, response: str, ground_truth: str | None) -> float:
    """Score one response in [0, 1].

    A leading ``<think>…</think>`` block is not part of the answer and is cut off first.

    Raises:
        UsageError: unknown or recorded-only metric, or no ground truth.
        BenchError: a metric of one's own returned something outside [0, 1].
    """
    function = get_metric(metric)
    if ground_truth is None:
        raise UsageError(
            f"metric {metric!r} needs a ground truth, and this query has none; fill the column "
            "'ground_truth', or leave the query out"
        )
    value = float(function(strip_thinking(response), ground_truth))
    if not 0.0 <= value <= 1.0:  # also catches NaN
        raise BenchError(f"metric {metric!r} returned {value}; a score lies between 0 and 1")
    return value


def score_many(
    metric: str, responses: Sequence[str], ground_truths: Sequence[str | None]
) -> NDArray[np.float64]:
    """Score many responses by one metric.

    Put the responses to one query next to each other: the metrics keep recent references in
    their prepared form.

    Args:
        metric: name in the registry.
        responses: length n.
        ground_truths: length n, aligned with the responses.

    Returns:
        Scores, float64, shape [n].

    Raises:
        UsageError: as `score`, or the lengths differ.
    """
    if len(responses) != len(ground_truths):
        raise UsageError(
            f"got {len(responses)} responses and {len(ground_truths)} ground truths; "
            "give one ground truth a response"
        )
    pairs = zip(responses, ground_truths, strict=True)
    scores = (score(metric, response, truth) for response, truth in pairs)
    return np.fromiter(scores, np.float64, count=len(responses))
