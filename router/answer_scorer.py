"""The scorer of a cascade: how well will this answer to this query turn out to be?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .means import Doubles, Ints
from .past import Bools

if TYPE_CHECKING:
    import pyarrow as pa

DIMENSION = 256
# Ridge strengths to select from; the last one expects the mean of the LLM.
STRENGTHS = (1.0, 0.1, 0.3, 3.0, 10.0, 100.0, 1e6)


def answer_features(answers: pa.Table, embeddings: NDArray[Any]) -> Doubles:
    """Return [n, D + 258] what is seen of n answers: the query, hashed words, length and price.

    Args:
        answers: n rows with, as far as they are known, response, completion_tokens and cost_usd.
        embeddings: [n, D] of their queries.
    """
    from personaroute_bench.embeddings.hashing import HashingEmbedder

    n, columns = answers.num_rows, answers.column_names
    words = np.zeros((n, DIMENSION))
    if "response" in columns and n:
        texts = [text or "" for text in answers["response"].to_pylist()]
        words = HashingEmbedder(DIMENSION).embed(texts).astype(np.float64)

    def logged(name: str) -> Doubles:
        if name not in columns:
            return np.zeros((n, 1))
        known = np.asarray(answers[name].to_pylist(), dtype=np.float64)
        positive = np.isfinite(known) & (known > 0)
        return np.where(positive, np.log10(np.where(positive, known, 1.0)), 0.0)[:, None]

    parts = [np.asarray(embeddings, np.float64), words]
    return np.concatenate([*parts, logged("completion_tokens"), logged("cost_usd")], axis=1)


@dataclass(frozen=True, eq=False)
class AnswerScorer:
    """A ridge regression for each LLM, from what is seen of an answer to its performance."""

    slope: Doubles
    """[M, F]"""
    level: Doubles
    """[M]"""
    out_of_fold: Doubles
    """[Q, M] scores of the past answers, each from the other folds; performance without folds."""
    strength: float

    @classmethod
    def fit(
        cls, features: Doubles, performance: Doubles, ok: Bools, folds: list[Bools]
    ) -> AnswerScorer:
        """Learn from past answers; the strength is that of the least error in other folds.

        Args:
            features: [Q, M, F] see `answer_features`.
            performance: [Q, M].
            ok: [Q, M] answers that failed teach nothing.
            folds: masks [Q]; none for a single query.
        """
        M = performance.shape[1]
        found = np.repeat(performance[None], len(STRENGTHS), axis=0)  # [strengths, Q, M]
        for held in folds:
            for m in range(M):
                rest = ~held & ok[:, m]
                slope, level = ridge_path(features[rest, m], performance[rest, m])
                found[:, held, m] = slope @ features[held, m].T + level[:, None]
        missed = ((found - performance) ** 2 * ok).sum(axis=(1, 2))
        best = int(missed.argmin())
        paths = [ridge_path(features[ok[:, m], m], performance[ok[:, m], m]) for m in range(M)]
        slopes = np.stack([slope[best] for slope, _ in paths])
        levels = np.asarray([level[best] for _, level in paths])
        return cls(slopes, levels, found[best], STRENGTHS[best])

    def __call__(self, features: Doubles, llms: Ints) -> Doubles:
        """Return [n] scores of answers [n, F] of LLMs [n]."""
        score: Doubles = np.einsum("nf,nf->n", features, self.slope[llms]) + self.level[llms]
        return score


def ridge_path(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Regress y [n] on x [n, F] with every strength: slopes [S, F] and levels [S].

    ``min Σ (y − level − x · slope)² + strength ‖slope‖²``, from one decomposition; of nothing
    nothing is learnt, and 0 is expected.
    """
    n, F = x.shape
    if not n:
        return np.zeros((len(STRENGTHS), F)), np.zeros(len(STRENGTHS))
    centre, mean = x.mean(axis=0), y.mean()
    shown, gap = x - centre, y - mean
    ridge = np.asarray(STRENGTHS)[:, None]
    wide = n <= F
    size, axes = np.linalg.eigh(shown @ shown.T if wide else shown.T @ shown)
    pull = (gap if wide else gap @ shown) @ axes / (np.maximum(size, 0.0) + ridge)
    slope = pull @ axes.T @ shown if wide else pull @ axes.T
    return slope, mean - slope @ centre
