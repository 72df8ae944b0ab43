"""Which tables and columns a router may see: users by tier, responses to past queries only."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.clock import places
from personaroute_bench.judging.dimensions import NAMES as DIMENSIONS

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Benchmark, Bools, Floats, Ints, Strings

Tier = Literal["T0", "T1", "T2", "T3"]
TIERS: tuple[Tier, ...] = get_args(Tier)


def disclosed_users(benchmark: Benchmark, tier: Tier) -> pa.Table:
    """Return the users table with the columns that a tier discloses.

    Raises:
        UsageError: tier T2 on a data set whose users have no personas.
    """
    if tier == "T3":
        return benchmark.users
    columns = ["user_id"]
    if tier == "T2":
        personas = [name for name in benchmark.users.column_names if name.startswith("persona")]
        if not personas:
            raise UsageError(
                "tier 'T2' discloses persona texts, and this data set's users have none; "
                "use --tier T1 (the default), or T3 for the weights of the reward"
            )
        columns += personas
    return benchmark.users.select(columns)


def past_responses(benchmark: Benchmark, queries: Ints) -> pa.Table:
    """Return the responses to past queries; texts only where the data set is on disk."""
    import pyarrow as pa

    ids = benchmark.query_ids[queries]
    if benchmark.directory is not None:
        everything = np.ones((len(ids), len(benchmark.llm_ids)), dtype=np.bool_)
        return only(benchmark.responses(), ids, benchmark.llm_ids, everything)
    M = len(benchmark.llm_ids)
    return pa.table(
        {
            "query_id": pa.array(np.repeat(ids, M).tolist(), pa.string()),
            "llm_id": pa.array(np.tile(benchmark.llm_ids, len(ids)).tolist(), pa.string()),
            "performance": pa.array(benchmark.performance[queries].ravel(), from_pandas=True),
            "cost": pa.array(benchmark.cost[queries].ravel(), from_pandas=True),
            "cost_usd": pa.array(benchmark.cost_usd[queries].ravel(), from_pandas=True),
            "status": pa.array(benchmark.status[queries].ravel().tolist(), pa.string()),
        }
    )


def past_style(benchmark: Benchmark, queries: Ints) -> Floats | None:
    """Return [Q, M, 12] how past responses were rated, the mean over judges, NaN where by none.

    None where the data set has no ratings.
    """
    from personaroute_bench.benchmark import read_table

    directory = benchmark.directory
    if directory is None or not any(
        (directory / name).exists() for name in ("ratings.parquet", "ratings")
    ):
        return None
    table = read_table(directory, "ratings", ["query_id", "llm_id", "dimension", "rating"])
    axes = (
        ("query_id", benchmark.query_ids[queries].tolist()),
        ("llm_id", benchmark.llm_ids.tolist()),
        ("dimension", list(DIMENSIONS)),
    )
    where = [places(table[name], {x: i for i, x in enumerate(ids)}) for name, ids in axes]
    shape = tuple(len(ids) for _, ids in axes)
    rating = table["rating"].to_numpy().astype(np.float64)
    use = np.isfinite(rating) & (np.stack(where) >= 0).all(axis=0)
    cell = np.ravel_multi_index(tuple(place[use] for place in where), shape)
    size = math.prod(shape)
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, weights=rating[use], minlength=size)
    mean = np.full(size, np.nan, dtype=np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="unsafe")
    return mean.reshape(shape)


def content_order(rewards: Floats) -> Ints:
    """Return [U] an order of the rows that only their content decides, so that it links nobody."""
    keys = [hashlib.sha256(row.tobytes()).digest() for row in rewards]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def anonymous(count: int, name: str) -> pa.Table:
    """Return a users table of names that belong to nobody."""
    import pyarrow as pa

    return pa.table({"user_id": pa.array([f"{name}-{i}" for i in range(count)], pa.string())})


def only(responses: pa.Table, query_ids: Strings, llm_ids: Strings, disclosed: Bools) -> pa.Table:
    """Return the rows of the responses of which disclosed [Q, M] is true."""
    rows, columns = (
        places(responses[name], {x: i for i, x in enumerate(ids.tolist())})
        for name, ids in (("query_id", query_ids), ("llm_id", llm_ids))
    )
    # The blank row and column behind are for queries and LLMs that are not among these.
    shown = np.pad(disclosed, ((0, 1), (0, 1)))
    return responses.filter(shown[rows, columns])
