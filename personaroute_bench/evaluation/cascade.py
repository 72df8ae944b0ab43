"""Cascades: a router buys one answer after the other, sees each, and pays for all of them.

    step(requests, nothing) ──► buy ──► Till ──► step(requests, bought) ──► buy … ──► stop with m

What a router is shown of an answer is what a deployment would have: text, tokens, USD, seconds and
status. Performance, ratings and rewards of the test split are never read here. The till hands out
the answers that were bought, and no other; what it has sold is hashed with the choices.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.choices import INVALID, read_answers, shown
from personaroute_bench.evaluation.clock import places
from personaroute_bench.evaluation.history import History, frozen
from personaroute_bench.evaluation.protocol import Requests

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Benchmark, Ints, Strings
    from personaroute_bench.evaluation.settings import Fold

Places = NDArray[np.int16]

_NOTHING = np.zeros((2, 0), dtype=np.int64)
# What a deployment sees of an answer that it has paid for.
SHOWN = (
    "response",
    "status",
    "error_type",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cost_usd",
    "latency_s",
)


class Step(NamedTuple):
    """What a cascade decides for each of n requests."""

    llm: Any
    """[n] ids or indices into ``requests.candidates``."""
    stop: Any
    """[n] bool: true to answer with what `llm` said, which must be bought; false to buy it."""


@dataclass(frozen=True, eq=False)
class Bought:
    """The answers that n requests have so far, r each, in the order in which they were bought."""

    llms: Ints
    """[n, r] indices into ``requests.candidates``."""
    rows: Ints
    """[n, r] where the answers stand in `responses`."""
    responses: pa.Table
    """query_id, llm_id, and as far as the data set has them `SHOWN`. A row serves all requests
    that bought it; judge a request by its own rows only."""

    def __getitem__(self, i: int) -> list[dict[str, Any]]:
        """Return the answers of request i, in the order in which they were bought."""
        rows: list[dict[str, Any]] = self.responses.take(self.rows[i]).to_pylist()
        return rows


class CascadeRouter(Protocol):
    """A router with `step` in the place of `route`."""

    def fit(self, history: History) -> None:
        """Learn, as any router does."""
        ...

    def step(self, requests: Requests, bought: Bought) -> Step:
        """Decide for each open request which LLM to buy, or with which of the bought to stop.

        Called again and again, with the requests that are still open, until none is. A request
        whose answer is invalid (an LLM that is none, bought twice, or stopped with and not bought)
        is closed: it is counted, charged the worst candidate's reward, and pays for what it has
        bought.
        """
        ...


class Till:
    """Sells the responses to a fold's test queries: nothing is read before it is bought."""

    def __init__(self, benchmark: Benchmark, fold: Fold) -> None:
        self._benchmark, self._fold = benchmark, fold
        shape = (len(fold.test), len(fold.llms))
        self._row = np.full(shape, -1, dtype=np.int64)
        self._sold: list[pa.Table] = [self._look_up(*_NOTHING)]

    @property
    def responses(self) -> pa.Table:
        """All that was sold."""
        import pyarrow as pa

        if len(self._sold) > 1:
            self._sold = [pa.concat_tables(self._sold, promote_options="permissive")]
        return self._sold[0]

    def sell(self, queries: Ints, llms: Ints) -> Ints:
        """Return [k] the rows of `responses` that answer.

        Args:
            queries: [k] index into the queries of the fold.
            llms: [k] index into its candidates.
        """
        new = np.unique(np.stack([queries, llms])[:, self._row[queries, llms] < 0], axis=1)
        if new.size:
            start = self.responses.num_rows
            self._row[new[0], new[1]] = np.arange(start, start + new.shape[1])
            self._sold.append(self._look_up(*new))
        return self._row[queries, llms]

    def _look_up(self, queries: Ints, llms: Ints) -> pa.Table:
        """Read responses; of the file, the columns and rows that are sold and no others."""
        import pyarrow as pa

        benchmark = self._benchmark
        q, m = self._fold.test[queries], self._fold.llms[llms]
        query_ids, llm_ids = benchmark.query_ids[q], benchmark.llm_ids[m]
        sold = pa.table(
            {
                "query_id": pa.array(query_ids.tolist(), pa.string()),
                "llm_id": pa.array(llm_ids.tolist(), pa.string()),
            }
        )
        if benchmark.directory is None:
            status = pa.array(benchmark.status[q, m].tolist(), pa.string())
            cost = pa.array(benchmark.cost_usd[q, m], from_pandas=True)
            return sold.append_column("status", status).append_column("cost_usd", cost)
        found = _read(benchmark.directory, query_ids, llm_ids)
        cells = [
            places(found[name], {x: i for i, x in enumerate(ids.tolist())}) * step
            for name, ids, step in (
                ("query_id", benchmark.query_ids, len(benchmark.llm_ids)),
                ("llm_id", benchmark.llm_ids, 1),
            )
        ]
        row = np.full(benchmark.performance.size, -1, dtype=np.int64)
        row[cells[0] + cells[1]] = np.arange(found.num_rows)
        wanted = row[q * len(benchmark.llm_ids) + m]
        answers = found.take(pa.array(wanted, mask=wanted < 0))
        for name in found.column_names[2:]:
            sold = sold.append_column(name, answers[name])
        # A pair without a row was never asked for; it cannot be had for money either.
        at = sold.column_names.index("status")
        return sold.set_column(at, "status", sold["status"].fill_null("skipped_budget"))


def _read(directory: Path, query_ids: Strings, llm_ids: Strings) -> pa.Table:
    """Return query_id, llm_id and what is `SHOWN` of the responses of these queries and LLMs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = directory / "responses.parquet"
    paths = [whole] if whole.is_file() else sorted((directory / "responses").glob("*.parquet"))
    keep = [
        (name, "in", np.unique(ids).tolist())
        for name, ids in (("query_id", query_ids), ("llm_id", llm_ids))
    ]
    parts = []
    try:
        for path in paths:
            known = set(pq.read_schema(path).names)
            columns = ["query_id", "llm_id", *(name for name in SHOWN if name in known)]
            filters = keep if len(query_ids) else None
            part = pq.read_table(path, columns=columns, filters=filters, partitioning=None)
            parts.append(part if len(query_ids) else part.slice(0, 0))
    except (pa.ArrowException, OSError) as error:
        raise BenchError(f"cannot read the responses of {directory}: {error}") from error
    table = pa.concat_tables(parts, promote_options="permissive")
    fields = [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def ask_cascade(
    router: CascadeRouter, requests: Requests, till: Till
) -> tuple[Ints, Places, str | None]:
    """Ask a router until every request of a block is answered.

    Args:
        router: fitted.
        requests: n requests for all queries of the till's fold, in its order.
        till: where answers are bought.

    Returns:
        [n] the answers, indices into the candidates, -1 where invalid; [n, m] the place of each
        candidate among what was bought, from 1, 0 where it was not; and the first problem.
    """
    n, m = len(requests), len(requests.candidates)
    choice = np.full(n, INVALID, dtype=np.int64)
    purchases = np.zeros((n, m), dtype=np.int16)
    open_ = np.arange(n)
    llms, rows = np.zeros((2, n, 0), dtype=np.int64)
    problem: str | None = None
    # All can be bought, and then a router can only stop.
    for place in range(1, m + 2):
        asked = replace(
            requests,
            user_index=frozen(requests.user_index[open_]),
            query_index=frozen(requests.query_index[open_]),
            time=None if requests.time is None else frozen(requests.time[open_]),
        )
        answer = router.step(asked, Bought(frozen(llms), frozen(rows), till.responses))
        llm, stop, complaint = read_step(answer, len(open_), requests.candidates)
        own = (llm >= 0) & (purchases[open_, llm] > 0)
        done, buy = stop & own, ~stop & (llm >= 0) & ~own
        problem = problem or complaint or _misstep(llm, stop, done | buy, requests.candidates)
        choice[open_[done]] = llm[done]
        open_, llm = open_[buy], llm[buy]
        if not len(open_):
            break
        purchases[open_, llm] = place
        sold = till.sell(requests.query_index[open_], llm)
        llms = np.column_stack([llms[buy], llm])
        rows = np.column_stack([rows[buy], sold])
    return choice, purchases, problem


def read_step(answer: Any, count: int, candidates: Strings) -> tuple[Ints, Any, str | None]:
    """Return LLMs [n], -1 where invalid, whether to stop [n], and the first problem."""
    nothing = np.full(count, INVALID, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    if not (isinstance(answer, tuple) and len(answer) == len(Step._fields)):
        return *nothing, f"step returned {shown(answer)} instead of a Step(llm, stop)"
    llm, problem = read_answers(answer[0], count, candidates)
    try:
        stop = np.asarray(answer[1])
    except ValueError:  # rows of unequal length
        stop = np.zeros(0)
    if stop.shape != (count,) or stop.dtype != np.bool_:
        kind = f"{stop.dtype} of shape {stop.shape}"
        return *nothing, problem or f"stop is {kind} instead of bool of shape ({count},)"
    return llm, stop, problem


def _misstep(llm: Ints, stop: Any, fine: Any, candidates: Strings) -> str | None:
    """Return in words what the first request did wrong whose LLM is known."""
    wrong = np.flatnonzero(~fine & (llm >= 0))
    if not len(wrong):
        return None
    name = str(candidates[llm[wrong[0]]])
    if stop[wrong[0]]:
        return f"stopped with {name!r}, which was not bought"
    return f"bought {name!r} twice"


def purchases_digest(
    purchases: Places, user_ids: Strings, query_ids: Strings, llm_ids: Strings
) -> str:
    """Return the SHA-256 hex digest that commits to purchases [U, Q, M].

    Over the rows of the choices file in order, each ``user␟query␟llm␟llm…␞`` with the LLMs in the
    order in which they were bought; separators and encoding as in `choices_digest`.
    """
    lists, code = _lists(purchases, llm_ids)
    texts = ["".join(f"\x1f{name}" for name in names) + "\x1e" for names in lists]
    queries = [f"\x1f{name}" for name in query_ids.tolist()]
    running = hashlib.sha256()
    for user, row in zip(user_ids.tolist(), code.tolist(), strict=True):
        text = "".join([user + q + texts[i] for q, i in zip(queries, row, strict=True)])
        running.update(text.encode("utf-8", "surrogatepass"))
    return running.hexdigest()


def purchases_column(purchases: Places, llm_ids: Strings) -> Any:
    """Return [U · Q] Arrow lists of the LLMs bought, in order: `bought` of the choices file."""
    import pyarrow as pa

    lists, code = _lists(purchases, llm_ids)
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(code.ravel()))


def _lists(purchases: Places, llm_ids: Strings) -> tuple[list[list[str]], Ints]:
    """Return the different ways of buying, in names, and [U, Q] which was whose."""
    U, Q, M = purchases.shape
    ways, code = np.unique(purchases.reshape(-1, M), axis=0, return_inverse=True)
    names = llm_ids.tolist()
    lists = [[names[m] for m in np.argsort(way, kind="stable") if way[m] > 0] for way in ways]
    return lists, np.asarray(code, dtype=np.int64).reshape(U, Q)
