"""Recorded choices between two answers: what a pair router learns from, and what it is asked.

A pair router has the two methods of any router, `fit(history)` and `route(requests)`, but its
past is a list of comparisons (a person may have compared many pairs of answers to one query), and
each of its requests names the two candidates that one person compared::

    class Shorter:
        def fit(self, history):            # a PairHistory
            self.rank = my_ranking(history)
        def route(self, requests):         # a PairRequests
            return self.rank[requests.candidates]      # [n, 2] scores, the higher is preferred
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.benchmark import MANIFEST, Benchmark, index_of
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.history import frozen
from personaroute_bench.evaluation.protocol import Request
from personaroute_bench.files import read_json
from personaroute_bench.schemas import SPLITS

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Doubles, Floats, Ints, Strings

A, B, TIE, UNKNOWN = 0, 1, 2, -1
OUTCOMES = ("a", "b", "tie")


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """The n comparisons of one split, as indices into the ids of a Benchmark."""

    user: Ints
    """[n]"""
    query: Ints
    """[n]"""
    candidates: Ints
    """[n, 2] the LLMs a and b."""
    outcome: Ints
    """[n] 0: a was preferred, 1: b was, 2: a tie; -1: not read."""

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Any) -> Pairs:
        """Return some of the comparisons."""
        return Pairs(self.user[rows], self.query[rows], self.candidates[rows], self.outcome[rows])


@dataclass(frozen=True, eq=False)
class PairData:
    """A data set of real people's choices, with the comparisons of its splits."""

    benchmark: Benchmark
    splits: Mapping[str, Pairs]


def holds_pairs(directory: str | Path) -> bool:
    """Whether the folder is a whole data set of pairs (and not of rewards)."""
    path = Path(directory) / MANIFEST
    if not path.is_file():
        return False
    manifest = read_json(path)
    return isinstance(manifest, dict) and "pairs" in manifest and not manifest.get("strategies")


def load_pairs(directory: str | Path) -> PairData:
    """Read a data set that `bench import preferences` has made, all splits with their outcomes.

    Raises:
        UsageError: there is no such data set in the folder.
    """
    benchmark = load_people(directory)
    return PairData(benchmark, {split: read_pairs(benchmark, split) for split in SPLITS})


def load_people(directory: str | Path) -> Benchmark:
    """Read the tables beside `pairs`; raises UsageError where the data set has no pairs."""
    benchmark = Benchmark.load(directory)
    if not holds_pairs(benchmark.directory or directory):
        raise UsageError(
            f"{directory} has no pairs of real people; make some with: bench import preferences "
            "FILE --out DIR"
        )
    return benchmark


def read_pairs(benchmark: Benchmark, split: str, *, outcomes: bool = True) -> Pairs:
    """Read the comparisons of one split.

    Args:
        benchmark: read from a folder.
        split: train, validation or test.
        outcomes: False leaves the column with the outcomes unread.

    Raises:
        UsageError: missing or broken file.
        BenchError: a row names an id that its own table lacks.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert benchmark.directory is not None, "pairs are read from a folder"
    path = benchmark.directory / "pairs" / f"{split}.parquet"
    columns = ["user_id", "query_id", "a", "b", *(["outcome"] if outcomes else [])]
    try:
        table = pq.read_table(path, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"cannot read {path}: {error}; import the data set again") from error

    def positions(column: str, of: Any) -> Ints:
        return index_of(table[column], of, f"pairs.{column}")

    a, b = (positions(name, benchmark.llms["llm_id"]) for name in ("a", "b"))
    known = pa.array(OUTCOMES)
    return Pairs(
        user=positions("user_id", benchmark.users["user_id"]),
        query=positions("query_id", benchmark.queries["query_id"]),
        candidates=np.stack([a, b], axis=1),
        outcome=positions("outcome", known) if outcomes else np.full(len(a), UNKNOWN),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PairHistory:
    """What people chose before: n comparisons of U people on Q queries between M LLMs.

    Every array is read-only. `validation` has the same ids, so that indices mean the same.
    """

    user_ids: Strings
    """[U] the people with a past, in training or validation."""
    query_ids: Strings
    """[Q] the queries of the past."""
    llm_ids: Strings
    """[M]"""
    task_ids: Strings
    """[T], the data sets."""
    user: Ints
    """[n] index into user_ids."""
    query: Ints
    """[n] index into query_ids."""
    candidates: Ints
    """[n, 2] the two LLMs compared, index into llm_ids."""
    outcome: Ints
    """[n] 0: the first was preferred, 1: the second was, 2: a tie."""
    task_of_query: Ints
    """[Q] index into task_ids."""
    embeddings: Floats
    """[Q, D], unit length."""
    queries: pa.Table
    """[Q] query_id, task_id, query."""
    llms: pa.Table
    """[M] the table `llms`; prices are unknown."""
    responses: pa.Table
    """query_id, llm_id, response, status: what was answered to the queries of the past."""
    validation: PairHistory | None = None
    """The validation split, told in the same way; None on the validation split itself."""

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        return f"PairHistory({len(self)} comparisons of {len(self.user_ids)} people)"

    @cached_property
    def score(self) -> Doubles:
        """[n, 2] what each of the two won: 1 and 0, 0 and 1, or 1/2 each at a tie."""
        return np.asarray([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])[self.outcome]

    @property
    def task_index(self) -> Ints:
        """[n] index into task_ids, one a comparison."""
        return self.task_of_query[self.query]

    def find_users(self, user_ids: Strings) -> Ints:
        """Return for each id its row in user_ids, -1 for a person without a past."""
        place = {name: i for i, name in enumerate(self.user_ids.tolist())}
        return np.asarray([place.get(str(name), -1) for name in user_ids], dtype=np.int64)

    def pooled(self) -> PairHistory:
        """Return training and validation as one, for the last fit after selection."""
        other = self.validation
        if other is None:
            return self
        return replace(
            self,
            user=np.concatenate([self.user, other.user]),
            query=np.concatenate([self.query, other.query]),
            candidates=np.concatenate([self.candidates, other.candidates]),
            outcome=np.concatenate([self.outcome, other.outcome]),
            validation=None,
        )


@dataclass(frozen=True, eq=False, repr=False)
class PairRequests:
    """n requests, each with its two candidates: iterate over them, or use the columns.

    Every array is read-only. A request carries neither responses nor what was chosen; pairs that
    end in a tie are asked like all others.
    """

    user_ids: Strings
    """[u] the people asked about, each once."""
    query_ids: Strings
    """[q]"""
    llm_ids: Strings
    """[M] as in the history."""
    task_ids: Strings
    """[T] as in the history."""
    user_index: Ints
    """[n] index into user_ids."""
    query_index: Ints
    """[n] index into query_ids."""
    candidates: Ints
    """[n, 2] index into llm_ids; ordered by id, so the order tells nothing."""
    task_of_query: Ints
    """[q] index into task_ids."""
    embeddings: Floats
    """[q, D], unit length."""
    queries: pa.Table
    """[q] query_id, task_id, query."""
    llms: pa.Table
    """[M] the table `llms`."""

    def __len__(self) -> int:
        return len(self.user_index)

    def __iter__(self) -> Iterator[Request]:
        texts = self.queries["query"].to_pylist()
        for u, q, pair in zip(self.user_index, self.query_index, self.candidates, strict=True):
            yield Request(
                user_id=str(self.user_ids[u]),
                query_id=str(self.query_ids[q]),
                query=texts[q],
                task_id=str(self.task_ids[self.task_of_query[q]]),
                embedding=self.embeddings[q],
                candidates=tuple(self.llm_ids[pair].tolist()),
            )

    def __repr__(self) -> str:
        return f"PairRequests({len(self)} pairs of {len(self.user_ids)} people)"

    @property
    def task_index(self) -> Ints:
        """[n] index into task_ids, one a request."""
        return self.task_of_query[self.query_index]


def make_pair_history(benchmark: Benchmark, train: Pairs, validation: Pairs) -> PairHistory:
    """Return the training view; it keeps no reference to the data set.

    Raises:
        UsageError: there is nothing to learn from.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(train):
        raise UsageError("the data set has no training pairs; import more rows")
    users = np.unique(np.concatenate([train.user, validation.user]))
    queries = np.unique(np.concatenate([train.query, validation.query]))
    told = benchmark.responses(["query_id", "llm_id", "response", "status"])
    past = pa.array(benchmark.query_ids[queries].tolist())
    told = told.filter(pc.is_in(told["query_id"].cast(pa.string()), value_set=past))

    def view(part: Pairs, inner: PairHistory | None) -> PairHistory:
        return PairHistory(
            user_ids=frozen(benchmark.user_ids[users]),
            query_ids=frozen(benchmark.query_ids[queries]),
            llm_ids=frozen(benchmark.llm_ids),
            task_ids=frozen(benchmark.task_ids),
            user=frozen(np.searchsorted(users, part.user)),
            query=frozen(np.searchsorted(queries, part.query)),
            candidates=frozen(part.candidates),
            outcome=frozen(part.outcome),
            task_of_query=frozen(benchmark.task_of_query[queries]),
            embeddings=frozen(benchmark.embeddings[queries]),
            queries=benchmark.queries.select(["query_id", "task_id", "query"]).take(queries),
            llms=benchmark.llms,
            responses=told,
            validation=inner,
        )

    return view(train, view(validation, None) if len(validation) else None)


def make_pair_requests(benchmark: Benchmark, test: Pairs) -> PairRequests:
    """Return all comparisons of the test split as requests."""
    users, user_index = np.unique(test.user, return_inverse=True)
    queries, query_index = np.unique(test.query, return_inverse=True)
    return PairRequests(
        user_ids=frozen(benchmark.user_ids[users]),
        query_ids=frozen(benchmark.query_ids[queries]),
        llm_ids=frozen(benchmark.llm_ids),
        task_ids=frozen(benchmark.task_ids),
        user_index=frozen(user_index),
        query_index=frozen(query_index),
        candidates=frozen(test.candidates),
        task_of_query=frozen(benchmark.task_of_query[queries]),
        embeddings=frozen(benchmark.embeddings[queries]),
        queries=benchmark.queries.select(["query_id", "task_id", "query"]).take(queries),
        llms=benchmark.llms,
    )
