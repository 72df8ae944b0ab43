"""What a router may learn from: the past, as far as tier and feedback disclose it.

Interactions ──► keep N a user ──► feedback (full, choice, pairwise) ──► tier (T0 … T3) ──► History

A History holds copies that nobody can write to, and nothing from which a test outcome could be
reached. What is sampled or drawn here depends on (seed, user id, query id) alone, so every router
of a run is told the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.metrics import charge
from personaroute_bench.hashing import index_uniform

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import (
        Benchmark,
        Bools,
        Doubles,
        Floats,
        Interactions,
        Ints,
        Strings,
    )

Feedback = Literal["full", "choice", "pairwise"]
Tier = Literal["T0", "T1", "T2", "T3"]
FEEDBACKS: tuple[Feedback, ...] = get_args(Feedback)
TIERS: tuple[Tier, ...] = get_args(Tier)

# Users of one block of History.blocks: about so many (user, query, LLM) cells.
BLOCK_CELLS = 2_000_000

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """Past queries, the responses to them, and what users thought of these.

    U users, Q past queries, M LLMs, T tasks, D dimensions of the embedding. Every array is
    read-only; NaN stands for what has no value or is not disclosed.
    """

    user_ids: Strings
    """[U]; at tier T0 names that cannot be linked to any user."""
    query_ids: Strings
    """[Q]"""
    llm_ids: Strings
    """[M]"""
    task_ids: Strings
    """[T], all tasks of the data set."""
    task_of_query: Ints
    """[Q] index into task_ids."""
    embeddings: Floats
    """[Q, D], unit length."""
    observed: Bools
    """[U, Q, M]; true where the user's verdict on a candidate is disclosed: the candidates of the
    queries that were kept, under pairwise feedback the two that were compared."""
    rewards: Floats
    """[U, Q, M]; all NaN unless feedback is full; NaN where the response is not ok."""
    chosen: Bools
    """[U, Q, M]; full: every tied best; choice: the one taken; pairwise: the winner, or both."""
    pairs: Ints | None
    """[U, Q, 2] the LLMs a and b compared, -1 where none were; None unless pairwise."""
    performance: Floats
    """[Q, M], in [0, 1]."""
    cost: Floats
    """[Q, M], normalised within task to [0, 1]."""
    cost_usd: Doubles
    """[Q, M], USD."""
    status: Strings
    """[Q, M], ``ok`` or why a response has no score; see docs/statuses.md."""
    queries: pa.Table
    """query_id, task_id, query."""
    llms: pa.Table
    """The table `llms`, prices included."""
    users: pa.Table
    """user_id; from T2 the persona's text; at T3 all columns, the reward's weights included."""
    responses: pa.Table
    """What the LLMs answered to the past queries: query_id, llm_id, performance, cost, cost_usd,
    status, and the text with its tokens where the data set is on disk."""
    feedback: Feedback
    tier: Tier
    validation: History | None = None
    """The validation split, told in the same way; None on the validation split itself."""

    def __repr__(self) -> str:
        shape = f"{len(self.user_ids)} users × {len(self.query_ids)} queries"
        return f"History({shape} × {len(self.llm_ids)} LLMs, {self.feedback}, {self.tier})"

    @cached_property
    def values(self) -> Floats:
        """[U, Q, M] what is known of each candidate as one number; NaN where not observed.

        Full feedback: the reward, where a response that is not ok is charged the worst ok
        candidate's. Choice and pairwise: 1 for the winner, 0 for the others, 1/2 at a tie. Means
        of it rank LLMs, whatever the feedback is.
        """
        if self.feedback == "full":
            return frozen(np.where(self.observed, charge(self.rewards), np.float32(np.nan)))
        winners = np.maximum(self.chosen.sum(axis=-1, keepdims=True, dtype=np.float32), 1)
        return frozen(np.where(self.observed, self.chosen / winners, np.float32(np.nan)))

    @cached_property
    def tie_order(self) -> Ints:
        """[M] LLM indices, cheapest first by mean USD a past query, then by id: settles ties."""
        known = np.isfinite(self.cost_usd)
        total = np.where(known, self.cost_usd, 0).sum(axis=0)
        mean = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.inf)
        return frozen(np.lexsort((self.llm_ids, mean)))

    @cached_property
    def interactions(self) -> pa.Table:
        """The disclosed past as a table, users in order; large, so prefer the arrays or `blocks`.

        full: user_id, query_id, llm_id, reward, chosen; choice: user_id, query_id, llm_id (taken);
        pairwise: user_id, query_id, a, b, outcome (``a``, ``b`` or ``tie``).
        """
        import pyarrow as pa

        def names(index: Ints, ids: Strings) -> Any:
            codes = pa.array(index.astype(np.int32))
            return pa.DictionaryArray.from_arrays(codes, pa.array(ids.tolist(), pa.string()))

        if self.pairs is not None:
            u, q = np.nonzero(self.pairs[..., 0] >= 0)
            a, b = self.pairs[u, q, 0], self.pairs[u, q, 1]
            a_won, b_won = self.chosen[u, q, a], self.chosen[u, q, b]
            outcome = np.where(a_won & b_won, 2, np.where(a_won, 0, 1))
            columns = {
                "user_id": names(u, self.user_ids),
                "query_id": names(q, self.query_ids),
                "a": names(a, self.llm_ids),
                "b": names(b, self.llm_ids),
                "outcome": names(outcome, np.asarray(["a", "b", "tie"])),
            }
            return pa.table(columns)
        u, q, m = np.nonzero(self.observed if self.feedback == "full" else self.chosen)
        columns = {
            "user_id": names(u, self.user_ids),
            "query_id": names(q, self.query_ids),
            "llm_id": names(m, self.llm_ids),
        }
        if self.feedback == "full":
            columns["reward"] = pa.array(self.rewards[u, q, m], from_pandas=True)
            columns["chosen"] = pa.array(self.chosen[u, q, m])
        return pa.table(columns)

    def find_users(self, user_ids: Strings) -> Ints:
        """Return for each id its row in this history, -1 for a user without one."""
        place = {name: i for i, name in enumerate(self.user_ids.tolist())}
        return np.asarray([place.get(str(name), -1) for name in user_ids], dtype=np.int64)

    def blocks(self) -> Iterator[History]:
        """Yield this history block by block of users, for routers that need little memory."""
        per_user = max(1, len(self.query_ids) * len(self.llm_ids))
        step = max(1, BLOCK_CELLS // per_user)
        for start in range(0, len(self.user_ids), step):
            yield self._rows(slice(start, start + step))

    def _rows(self, rows: slice) -> History:
        return replace(
            self,
            user_ids=self.user_ids[rows],
            observed=self.observed[rows],
            rewards=self.rewards[rows],
            chosen=self.chosen[rows],
            pairs=None if self.pairs is None else self.pairs[rows],
            users=self.users[rows],
            validation=None if self.validation is None else self.validation._rows(rows),
        )


def make_history(
    benchmark: Benchmark,
    train: Interactions,
    validation: Interactions | None,
    responses: pa.Table,
    *,
    feedback: Feedback = "full",
    tier: Tier = "T1",
    interactions_per_user: int | None = None,
    seed: int = 0,
) -> History:
    """Return the training view of a data set.

    Args:
        benchmark: where queries, LLMs and users come from; the history keeps no reference to it.
        train: interactions of the training split.
        validation: of the validation split, for `History.validation`.
        responses: to past queries, see `past_responses`; others are left out.
        feedback: what users tell of a query (see `Feedback` in docs/evaluation.md).
        tier: what is known of a user.
        interactions_per_user: keep so many training queries a user, and the same share of the
            validation queries, rounded up; None: all.
        seed: decides which queries are kept, which of tied candidates is taken, who is compared.

    Raises:
        UsageError: tier T2 on a data set without personas, or no training interactions.
    """
    if not (len(train.users) and len(train.queries)):
        raise UsageError("the data set has no training interactions; generate it with more queries")
    users = disclosed_users(benchmark, tier).take(train.users)
    order = _content_order(train.reward) if tier == "T0" else np.arange(len(train.users))
    if tier == "T0":
        users = _anonymous(len(order))

    def split(part: Interactions, keep: int | None, inner: History | None) -> History:
        user_ids, query_ids = benchmark.user_ids[part.users], benchmark.query_ids[part.queries]
        kept = _keep(user_ids, query_ids, keep, seed)
        told = _tell(part, kept, user_ids, query_ids, feedback=feedback, seed=seed)
        rewards, chosen, observed, pairs = told
        return History(
            user_ids=frozen(np.asarray(users["user_id"].to_pylist(), dtype=np.str_)),
            query_ids=frozen(query_ids),
            llm_ids=frozen(benchmark.llm_ids),
            task_ids=frozen(benchmark.task_ids),
            task_of_query=frozen(benchmark.task_of_query[part.queries]),
            embeddings=frozen(benchmark.embeddings[part.queries]),
            observed=frozen(observed[order]),
            rewards=frozen(rewards[order]),
            chosen=frozen(chosen[order]),
            pairs=None if pairs is None else frozen(pairs[order]),
            performance=frozen(benchmark.performance[part.queries]),
            cost=frozen(benchmark.cost[part.queries]),
            cost_usd=frozen(benchmark.cost_usd[part.queries]),
            status=frozen(benchmark.status[part.queries]),
            queries=benchmark.queries.select(["query_id", "task_id", "query"]).take(part.queries),
            llms=benchmark.llms,
            users=users,
            responses=_of_queries(responses, query_ids),
            feedback=feedback,
            tier=tier,
            validation=inner,
        )

    inner = None
    if validation is not None and len(validation.queries):
        share = None
        if interactions_per_user is not None:
            ratio = len(validation.queries) / len(train.queries)
            share = math.ceil(interactions_per_user * ratio)
        inner = split(validation, share, None)
    return split(train, interactions_per_user, inner)


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
        return _of_queries(benchmark.responses(), ids)
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


def pair_uniform(seed: int, stream: str, users: Strings, queries: Strings) -> Doubles:
    """Return [U, Q] numbers in [0, 1), each depending only on seed, stream and the two ids."""
    u, q = (
        np.asarray(
            [int.from_bytes(hashlib.sha256(str(i).encode()).digest()[:8], "big") for i in ids],
            dtype=np.uint64,
        )
        for ids in (users, queries)
    )
    mixed = (u[:, None] * np.uint64(0x9E3779B97F4A7C15)) ^ q[None, :]
    return index_uniform(seed, stream, (mixed >> np.uint64(1)).astype(np.int64))


def frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a copy over immutable bytes: nobody can make it writable again."""
    raw = np.ascontiguousarray(array)
    copy: NDArray[_Scalar] = np.ndarray(array.shape, dtype=raw.dtype, buffer=raw.tobytes())
    return copy


def _keep(users: Strings, queries: Strings, count: int | None, seed: int) -> Bools:
    """[U, Q] true for the `count` queries a user whose hash is smallest."""
    kept = np.ones((len(users), len(queries)), dtype=np.bool_)
    if count is None or count >= len(queries):
        return kept
    rank = np.argsort(pair_uniform(seed, "evaluation/interactions", users, queries), axis=1)
    np.put_along_axis(kept, rank[:, count:], np.bool_(False), axis=1)
    return kept


def _tell(
    part: Interactions,
    kept: Bools,
    users: Strings,
    queries: Strings,
    *,
    feedback: Feedback,
    seed: int,
) -> tuple[Floats, Bools, Bools, Ints | None]:
    """Return rewards, chosen, observed [U, Q, M] and pairs [U, Q, 2] as the feedback tells them."""
    told = kept[:, :, None]
    if feedback == "full":
        rewards = np.where(told, part.reward, np.float32(np.nan))
        observed = np.broadcast_to(told, part.reward.shape)
        return rewards, part.chosen & told, observed, None
    hidden = np.broadcast_to(np.float32(np.nan), part.reward.shape)
    if feedback == "choice":
        draw = pair_uniform(seed, "evaluation/tie", users, queries)
        place = np.floor(draw * part.chosen.sum(axis=-1))
        nth = np.cumsum(part.chosen, axis=-1, dtype=np.int16) - 1
        taken = part.chosen & (nth == place[:, :, None]) & told
        # A query whose every response failed has no choice to tell.
        observed = np.broadcast_to(taken.any(axis=-1, keepdims=True), part.reward.shape)
        return hidden, taken, observed, None
    ok = np.isfinite(part.reward).all(axis=0)
    count = ok.sum(axis=-1)
    first, second = (pair_uniform(seed, f"evaluation/{x}", users, queries) for x in ("a", "b"))
    i = np.floor(first * count).astype(np.int64)
    j = np.floor(second * (count - 1)).astype(np.int64)
    j += j >= i
    nth_ok = np.argsort(~ok, axis=-1, kind="stable")
    rows = np.arange(len(queries))[None, :]
    comparable = kept & (count >= 2)[None, :]
    last = ok.shape[-1] - 1
    both = np.stack([nth_ok[rows, np.clip(k, 0, last)] for k in (i, j)], axis=-1)
    reward = np.take_along_axis(part.reward, both, axis=-1)
    wins = (reward == reward.max(axis=-1, keepdims=True)) & comparable[:, :, None]
    chosen, observed = np.zeros((2, *part.reward.shape), dtype=np.bool_)
    np.put_along_axis(chosen, both, wins, axis=-1)
    np.put_along_axis(observed, both, comparable[:, :, None], axis=-1)
    return hidden, chosen, observed, np.where(comparable[:, :, None], both, -1)


def _content_order(rewards: Floats) -> Ints:
    """[U] an order of the rows that only their content decides, so that it links nobody."""
    keys = [hashlib.sha256(row.tobytes()).digest() for row in rewards]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _anonymous(count: int) -> pa.Table:
    import pyarrow as pa

    return pa.table({"user_id": [f"anonymous-{i}" for i in range(count)]})


def _of_queries(responses: pa.Table, query_ids: Strings) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = responses["query_id"].cast(pa.string())
    return responses.filter(pc.is_in(ids, value_set=pa.array(query_ids.tolist(), pa.string())))
