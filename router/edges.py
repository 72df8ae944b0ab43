"""The edges of the graph, summed up: what message passing needs of millions of interactions.

An interaction edge runs from (user u, query q) to LLM m and carries v, how much the user liked the
response above the query's average, in units of its spread, and x[q, m], the response's content
above the query's average. A mean of messages that are linear in the sender's state,

    mean over q told of Σ_m v[u, q, m] · W h_m  =  W Σ_m (mean_q v[u, q, m]) h_m,

needs of the edges only their mean liking by user, task and LLM. So 1.7 million edges become arrays
of [U, T, M], [U, C] and [T, M, C], computed once for every set of hidden queries, and an epoch
costs milliseconds. tests/router/test_personalized.py shows that this equals torch-geometric's
layers on the graph itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .records import Past
from .utility import Doubles, Floats, Ints

if TYPE_CHECKING:
    import pyarrow as pa

# A mean counts so many neutral edges beside the real ones: who has told little is near to neutral.
NEUTRAL = 1.0


@dataclass(frozen=True, eq=False)
class Edges:
    """Sums over the visible interactions of a graph with U users, T tasks and M LLMs."""

    liking: Floats
    """[U, T, M] Σ_q v over a task's queries."""
    told: Floats
    """[U, T] queries told about."""
    liked: Floats
    """[U, C] Σ_qm v · x: the content of what was liked."""
    content: Floats
    """[T, M, C] Σ_q x."""
    answered: Floats
    """[T, M] responses that are ok."""
    centroid: Floats
    """[T, D] mean embedding of a task's queries; zeros for a task without a past."""

    def __sub__(self, other: Edges) -> Edges:
        """Hide the edges of `other`, which are among these; centroids stay."""
        return Edges(
            self.liking - other.liking,
            self.told - other.told,
            self.liked - other.liked,
            self.content - other.content,
            self.answered - other.answered,
            self.centroid,
        )


def sum_edges(past: Past, liking: Floats, content: Floats, tasks: int) -> Edges:
    """Sum up the edges of all queries of a past.

    Args:
        past: U users, Q queries, M LLMs.
        liking: [U, Q, M] v; zeros where not told.
        content: [Q, M, C] x; zeros where the response failed.
        tasks: T; a query of task -1 belongs to none, and only counts in `liked`.
    """
    U, _, M = liking.shape
    told = np.asarray(past.seen.any(axis=-1))
    by_task = [np.flatnonzero(past.tasks == t) for t in range(tasks)]
    result = Edges(
        liking=np.zeros((U, tasks, M), np.float32),
        told=np.zeros((U, tasks), np.float32),
        liked=liking.reshape(U, -1) @ content.reshape(-1, content.shape[-1]),
        content=np.zeros((tasks, M, content.shape[-1]), np.float32),
        answered=np.zeros((tasks, M), np.float32),
        centroid=np.zeros((tasks, past.embeddings.shape[1]), np.float32),
    )
    for t, rows in enumerate(by_task):
        if len(rows):
            result.liking[:, t] = liking[:, rows].sum(axis=1)
            result.told[:, t] = told[:, rows].sum(axis=1)
            result.content[t] = content[rows].sum(axis=0)
            result.answered[t] = past.ok[rows].sum(axis=0)
            result.centroid[t] = past.embeddings[rows].mean(axis=0)
    return result


def likings(past: Past, scale: float | None = None) -> tuple[Floats, float]:
    """Return v [U, Q, M] and its scale: values above the query's mean, in standard deviations."""
    seen = past.seen
    count = np.maximum(seen.sum(axis=-1, keepdims=True), 1)
    values = np.where(seen, past.values, 0)
    v = np.where(seen, values - values.sum(axis=-1, keepdims=True) / count, 0)
    if scale is None:
        scale = float(np.sqrt((v.astype(np.float64) ** 2).sum() / max(int(seen.sum()), 1))) or 1.0
    return (v / scale).astype(np.float32), scale


def describe_llms(descriptions: list[str], prices: Doubles) -> Floats:
    """Return [M, 66] what is known of an LLM beforehand: hashed words of its description, prices.

    Args:
        descriptions: name, family and description in one text.
        prices: [M, 2] USD per million input and output tokens; NaN unknown, the log becomes 0.
    """
    from personaroute_bench.embeddings import make_embedder

    words: NDArray[np.float32] = make_embedder("hashing").embed(descriptions)
    # A fixed random projection keeps the distances of a few LLMs in 64 dimensions.
    mix = np.random.default_rng(0).standard_normal((words.shape[1], 64)) / 8
    logs = np.nan_to_num(np.log10(np.maximum(prices, 1e-3)))
    return np.concatenate([words @ mix, logs], axis=1).astype(np.float32)


def llm_facts(llms: pa.Table, llm_ids: list[str]) -> Floats:
    """Return [M, K] facts of the LLMs in this order; zeros for one that the table lacks."""
    rows = {row["llm_id"]: row for row in llms.to_pylist()}
    found = [rows.get(name, {}) for name in llm_ids]
    texts = [
        " ".join(str(row.get(key) or "") for key in ("name", "family", "description"))
        for row in found
    ]
    prices = [
        [np.nan if row.get(key) is None else row[key] for key in ("input_price", "output_price")]
        for row in found
    ]
    return describe_llms(texts, np.asarray(prices, np.float64).reshape(-1, 2))


def query_folds(count: int, share: float, seed: int) -> list[Ints]:
    """Split queries into folds of about `share` of them, each hidden in its turn."""
    folds = max(2, round(1 / share)) if count > 1 else 1
    fold = np.random.default_rng(seed).permutation(count) % folds
    return [np.flatnonzero(fold == k) for k in range(min(folds, count))]
