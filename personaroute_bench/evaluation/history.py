"""What a router may learn from: the past, as far as tier and feedback disclose it.

Interactions ──► keep N a user ──► feedback (full, choice, pairwise) ──► tier (T0 … T3) ──► History

A History holds copies that nobody can write to, and nothing from which a test outcome could be
reached. What is sampled or drawn here depends on (seed, user id, query id) alone, so every router
of a run is told the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.clock import Timekeeper
from personaroute_bench.evaluation.disclosure import (
    TIERS,
    Tier,
    anonymous,
    content_order,
    disclosed_users,
    only,
    past_responses,
    past_style,
)
from personaroute_bench.evaluation.feedback import (
    FEEDBACKS,
    Feedback,
    Told,
    keep,
    pair_uniform,
    tell,
)
from personaroute_bench.evaluation.metrics import charge

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

__all__ = [
    "FEEDBACKS",
    "TIERS",
    "Feedback",
    "History",
    "Tier",
    "disclosed_users",
    "frozen",
    "make_history",
    "make_support",
    "pair_uniform",
    "past_responses",
    "past_style",
]


# Users of one block of History.blocks: about so many (user, query, LLM) cells.
BLOCK_CELLS = 2_000_000
# The status of a response that nobody has been shown.
UNDISCLOSED = "undisclosed"

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
    style: Floats | None = None
    """[Q, M, 12] ratings in [0, 1] of the past responses on `judging.dimensions`, in their order
    (of several judges the mean): users saw these responses. NaN where there is no rating; None
    where the data set has none."""
    time: NDArray[np.int32] | None = None
    """[U, Q] place of the query in the user's life, from 0; None unless tastes drift."""
    segments: NDArray[np.int8] | None = None
    """[U, Q] segment of that time, from 0; None unless tastes drift."""

    @property
    def streamed(self) -> bool:
        """Whether there are so many users that arrays of them are told by `blocks` only."""
        return False

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
        place = self._rows_of
        return np.asarray([place.get(str(name), -1) for name in user_ids], dtype=np.int64)

    @cached_property
    def _rows_of(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.user_ids.tolist())}

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
            time=None if self.time is None else self.time[rows],
            segments=None if self.segments is None else self.segments[rows],
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
    clock: Timekeeper | None = None,
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
        clock: when users asked; disclosed unless the tier hides who they are.

    Raises:
        UsageError: tier T2 on a data set without personas, or no training interactions.
    """
    if not (len(train.users) and len(train.queries)):
        raise UsageError("the data set has no training interactions; generate it with more queries")
    view = _View(benchmark, responses, feedback, tier, clock)
    order, users = view.users_of(train, "anonymous")

    def split(part: Interactions, count: int | None, inner: History | None) -> History:
        user_ids, query_ids = benchmark.user_ids[part.users], benchmark.query_ids[part.queries]
        kept = keep(user_ids, query_ids, count, seed)
        told = tell(part, kept, user_ids, query_ids, feedback=feedback, seed=seed)
        return view.history(part, told, users, order, validation=inner)

    inner = None
    if validation is not None and len(validation.queries):
        share = validation_share(interactions_per_user, len(train.queries), len(validation.queries))
        inner = split(validation, share, None)
    return split(train, interactions_per_user, inner)


def validation_share(kept: int | None, train: int, validation: int) -> int | None:
    """Return how many validation queries a user keeps of whom so many training queries are kept."""
    return None if kept is None else math.ceil(kept * (validation / train))


def make_support(
    benchmark: Benchmark,
    part: Interactions,
    told: Told,
    responses: pa.Table,
    *,
    feedback: Feedback,
    tier: Tier,
    clock: Timekeeper | None = None,
    disclosed: Bools | None = None,
) -> History:
    """Return what `Router.adapt` is given: a few rows, users and queries without any left out.

    Args:
        benchmark, responses, feedback, tier, clock: as in `make_history`.
        part: interactions the rows come from.
        told: what they tell, [U, Q, M].
        disclosed: [Q, M] the responses that were shown to somebody; None: all.
    """
    view = _View(benchmark, responses, feedback, tier, clock)
    # T0: no name may be one that the training view gave to somebody else.
    order, users = view.users_of(part, "anonymous-support")
    return view.history(part, told, users, order, disclosed=disclosed)


@dataclass(frozen=True)
class _View:
    """What every part of a history is made with."""

    benchmark: Benchmark
    responses: pa.Table
    feedback: Feedback
    tier: Tier
    clock: Timekeeper | None

    def users_of(self, part: Interactions, name: str) -> tuple[Ints, pa.Table]:
        """Return the order of the users' rows, and their table in that order."""
        if self.tier == "T0":
            return content_order(part.reward), anonymous(len(part.users), name)
        return np.arange(len(part.users)), disclosed_users(self.benchmark, self.tier).take(
            part.users
        )

    def history(
        self,
        part: Interactions,
        told: Told,
        users: pa.Table,
        order: Ints,
        *,
        validation: History | None = None,
        disclosed: Bools | None = None,
    ) -> History:
        benchmark, queries = self.benchmark, part.queries
        query_ids = benchmark.query_ids[queries]
        if disclosed is None:
            disclosed = np.ones((len(queries), len(benchmark.llm_ids)), dtype=np.bool_)

        def shown(values: NDArray[Any], blank: Any = np.nan) -> Any:
            mask = disclosed if values.ndim == 2 else disclosed[:, :, None]
            return frozen(np.where(mask, values, np.asarray(blank, dtype=values.dtype)))

        style = past_style(benchmark, queries)
        # Times would tell at T0 whose row it is.
        clock = None if self.tier == "T0" else self.clock
        now = None if clock is None else clock.at(part.users, queries)
        return History(
            user_ids=frozen(np.asarray(users["user_id"].to_pylist(), dtype=np.str_)),
            query_ids=frozen(query_ids),
            llm_ids=frozen(benchmark.llm_ids),
            task_ids=frozen(benchmark.task_ids),
            task_of_query=frozen(benchmark.task_of_query[queries]),
            embeddings=frozen(benchmark.embeddings[queries]),
            observed=frozen(told.observed[order]),
            rewards=frozen(told.rewards[order]),
            chosen=frozen(told.chosen[order]),
            pairs=None if told.pairs is None else frozen(told.pairs[order]),
            performance=shown(benchmark.performance[queries]),
            cost=shown(benchmark.cost[queries]),
            cost_usd=shown(benchmark.cost_usd[queries]),
            status=shown(benchmark.status[queries], UNDISCLOSED),
            queries=benchmark.queries.select(["query_id", "task_id", "query"]).take(queries),
            llms=benchmark.llms,
            users=users,
            responses=only(self.responses, query_ids, benchmark.llm_ids, disclosed),
            feedback=self.feedback,
            tier=self.tier,
            validation=validation,
            style=None if style is None else shown(style),
            time=None if now is None else frozen(now.time),
            segments=None if now is None else frozen(now.segment),
        )


def frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a copy over immutable bytes: nobody can make it writable again."""
    raw = np.ascontiguousarray(array)
    copy: NDArray[_Scalar] = np.ndarray(array.shape, dtype=raw.dtype, buffer=raw.tobytes())
    return copy
