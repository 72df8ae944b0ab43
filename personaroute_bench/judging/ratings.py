"""Style ratings as arrays and as a table, whoever gave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.style import measure_style, standardise_within_query
from personaroute_bench.schemas import RATINGS
from personaroute_bench.tasks.types import Query
from personaroute_bench.users.rewards import Floats


def centred(ratings: Floats) -> Floats:
    """Measure an LLM's ratings [Q, M, D] against their query's average, which becomes 1/2."""
    known = ~np.isnan(ratings)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, ratings, 0).sum(axis=1, keepdims=True) / count
    result: Floats = (ratings - mean + 0.5).astype(np.float32)
    return result


def embedded_ratings(responses: pa.Table, queries: Sequence[Query], llms: int) -> Floats:
    """Measure the style dimensions on the text itself.

    Args:
        responses: the `responses` table, in the order of queries and LLMs.
        queries: [Q].
        llms: their number M.

    Returns:
        [Q, M, D] in [0, 1], NaN unless the response is ok.
    """
    shape = (len(queries), llms)
    texts = responses["response"].to_pylist()
    asked = [query.query for query in queries for _ in range(llms)]
    ok = np.asarray(responses["status"].cast(pa.string()).to_pylist()) == "ok"
    raw = measure_style(texts, asked).reshape(*shape, len(NAMES))
    return standardise_within_query(raw, ok.reshape(shape))


def ratings_table(
    ratings: Floats, query_ids: list[str], llm_ids: list[str], judge: str
) -> pa.Table:
    """Return ratings [Q, M, D] as the `ratings` table."""
    queries, llms, dimensions = ratings.shape
    flat = ratings.reshape(-1)

    def codes(values: np.ndarray[Any, Any], names: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32)), pa.array(names))

    return pa.Table.from_arrays(
        [
            codes(np.repeat(np.arange(queries), llms * dimensions), query_ids),
            codes(np.tile(np.repeat(np.arange(llms), dimensions), queries), llm_ids),
            codes(np.zeros(flat.size), [judge]),
            codes(np.tile(np.arange(dimensions), queries * llms), list(NAMES)),
            pa.array(flat, mask=np.isnan(flat)),
        ],
        schema=RATINGS,
    )


def mean_known(ratings: Sequence[Floats]) -> Floats:
    """Return the mean over judges of [Q, M, D] ratings, each over the judges that gave one."""
    stacked = np.stack(ratings)
    known = ~np.isnan(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0).sum(axis=0)
    result = np.full(count.shape, np.nan, dtype=np.float32)
    np.divide(total, count, out=result, where=count > 0, casting="unsafe")
    return result
