"""The embedded judge's eyes: style measured on the text itself, with no LLM and no key.

    responses [n] ──► measure_style ──► raw features [n, D] ──► standardise_within_query ──► ratings

The raw features are what can be counted (personaroute_bench.judging.style_features says how);
their units differ and mean little by themselves. Ratings compare the candidates of one query with
each other, which is what a person does who is shown them side by side. docs/judging.md tells what
such a measure cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.judging import style_features as features
from personaroute_bench.judging.dimensions import NAMES

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

STYLE_VERSION = "embedded-style-1"
"""Name of the measure, stored as the judge of its ratings; if any rating changes, so does this."""

NOTICEABLE: Floats = np.array(
    [0.10, 0.20, 0.20, 0.15, 0.40, 0.12, 0.10, 0.10, 0.12, 0.10, 0.05, 0.02], dtype=np.float32
)
"""Smallest raw difference that counts in full, one a dimension in the order of `NAMES`."""


def measure_style(responses: Sequence[str], queries: Sequence[str]) -> Floats:
    """Measure the raw style features of responses.

    A row depends on its own response and query only: not on the other rows, the machine or the
    day. Any string is measured, the empty one and lone surrogates included.

    Args:
        responses: n texts, verbatim.
        queries: n texts; the query that each response answers.

    Returns:
        [n, D] float32, finite, in the order of `dimensions.NAMES`; larger is nearer to the high
        end of the dimension.

    Raises:
        ValueError: the two sequences differ in length.
    """
    if len(responses) != len(queries):
        raise ValueError(f"{len(responses)} responses but {len(queries)} queries")
    raw = np.empty((len(responses), len(NAMES)), dtype=np.float32)
    for row, response, query in zip(raw, responses, queries, strict=True):
        text = features.Text(response)
        row[:] = (
            features.length(text),
            features.depth(text),
            features.structure(text),
            features.steps(text),
            features.simplicity(text),
            features.formality(text),
            features.warmth(text),
            features.humour(text),
            features.directness(text),
            features.examples(text),
            features.formulas(text),
            features.relevance(text, query),
        )
    return raw


def standardise_within_query(raw: Floats, ok: Bools, noticeable: Floats = NOTICEABLE) -> Floats:
    """Turn raw features into ratings in [0, 1] that compare the candidates of each query.

    On each dimension, with mean μ and standard deviation σ over the query's usable candidates,

        rating = 1 / (1 + exp(−(x − μ) / √(σ² + δ²)))

    where δ is the dimension's `NOTICEABLE` difference. Without δ, candidates that nobody could
    tell apart would be spread over the same range as those that differ like night and day. A
    rating of 0.5 is the query's average; a dimension on which all candidates are alike, or a
    query with a single usable candidate, is 0.5 throughout.

    Args:
        raw: [Q, M, D], from `measure_style` or a judge's ratings.
        ok: [Q, M], true where the response is usable; the others neither set μ and σ nor get a
            rating. A raw NaN is treated so too, for its dimension alone.
        noticeable: [D], δ; zeros give plain z-scores.

    Returns:
        [Q, M, D] float32; NaN where there is no rating.
    """
    values = raw.astype(np.float64)
    known = ok[..., None] & np.isfinite(values)
    values = np.where(known, values, 0.0)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)  # [Q, 1, D]
    centred = np.where(known, values - values.sum(axis=1, keepdims=True) / count, 0.0)
    variance = (centred**2).sum(axis=1, keepdims=True) / count
    scale = np.sqrt(variance + np.square(noticeable, dtype=np.float64))
    # Rounding alone can leave a difference between equal numbers; it is no difference in style.
    flat = variance <= (1e-6 * np.abs(values).max(axis=1, keepdims=True, initial=0.0)) ** 2
    score = np.divide(centred, scale, out=np.zeros_like(centred), where=~flat)
    return np.where(known, 1.0 / (1.0 + np.exp(-score)), np.nan).astype(np.float32)
