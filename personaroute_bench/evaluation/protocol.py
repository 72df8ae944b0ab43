"""What a router is: it learns from a History and answers Requests.

A router need not inherit from anything here. The smallest one::

    class Always:
        def fit(self, history):
            self.best = int(np.nanmean(history.values, axis=(0, 1)).argmax())

        def route(self, requests):
            return np.full(len(requests), self.best)

See examples/my_router.py for one that treats users differently, and docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.history import History

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Floats, Ints, Strings


__all__ = ["History", "Request", "Requests", "Router"]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One user asks one query; the router names one of the candidates."""

    user_id: str
    query_id: str
    query: str
    task_id: str
    embedding: Floats
    """[D], unit length."""
    candidates: tuple[str, ...]
    """Ids of the LLMs to choose from."""
    time: int | None = None
    """Place in the user's life, from 0; None unless tastes drift."""


@dataclass(frozen=True, eq=False, repr=False)
class Requests:
    """n requests of u users for q queries: iterate over them, or use the columns.

    Request i is of ``user_ids[user_index[i]]`` for ``query_ids[query_index[i]]``. Every array is
    read-only. A request never carries a response.
    """

    user_ids: Strings
    """[u] the users of this block, each once."""
    query_ids: Strings
    """[q]"""
    candidates: Strings
    """[m] ids of the LLMs to choose from, in the order of `History.llm_ids`; LLMs that were new
    after `fit` stand behind the others."""
    user_index: Ints
    """[n] index into user_ids."""
    query_index: Ints
    """[n] index into query_ids."""
    embeddings: Floats
    """[q, D], unit length."""
    task_of_query: Ints
    """[q] index into task_ids."""
    task_ids: Strings
    """[T], all tasks of the data set, as in the history."""
    queries: pa.Table
    """[q] query_id, task_id, query."""
    users: pa.Table
    """[u] user_id, and what the tier discloses beside it."""
    llms: pa.Table
    """[m] the candidates with their prices."""
    time: NDArray[np.int32] | None = None
    """[n] place of each request in its user's life, from 0; None unless tastes drift."""

    def __len__(self) -> int:
        return len(self.user_index)

    def __getitem__(self, i: int) -> Request:
        return self._request(range(len(self))[i], self._texts, tuple(self.candidates.tolist()))

    def __iter__(self) -> Iterator[Request]:
        texts, candidates = self._texts, tuple(self.candidates.tolist())
        for i in range(len(self)):
            yield self._request(i, texts, candidates)

    def __repr__(self) -> str:
        return f"Requests({len(self.user_ids)} users × {len(self.query_ids)} queries)"

    @property
    def task_index(self) -> Ints:
        """[n] index into task_ids, one a request."""
        return self.task_of_query[self.query_index]

    @property
    def _texts(self) -> list[str]:
        texts: list[str] = self.queries["query"].to_pylist()
        return texts

    def _request(self, i: int, texts: list[str], candidates: tuple[str, ...]) -> Request:
        q = int(self.query_index[i])
        return Request(
            user_id=str(self.user_ids[self.user_index[i]]),
            query_id=str(self.query_ids[q]),
            query=texts[q],
            task_id=str(self.task_ids[self.task_of_query[q]]),
            embedding=self.embeddings[q],
            candidates=candidates,
            time=None if self.time is None else int(self.time[i]),
        )


@runtime_checkable
class Router(Protocol):
    """Anything with `fit` and `route`.

    A constructor that takes a keyword `seed` is given the number of the repetition; one that does
    not is called without arguments. A router may also have ``adapt(self, support: History)``: it
    is called once after `fit` in the settings new-user and new-llm, with the few rows that are
    known of the new users or LLMs (none at all with 0 shots), and is to keep its weights.
    ``support.llm_ids`` are those of the training history, then the new ones. A router without
    `adapt` answers as well as it can: an unknown user like the average one, an LLM it never met
    not at all.
    """

    def fit(self, history: History) -> None:
        """Learn from the training split, and select on ``history.validation``.

        `history.values` ranks LLMs whatever the feedback is; `history.rewards` is NaN unless
        it is full. Called once a seed, before any `route`.
        """
        ...

    def route(self, requests: Requests) -> Sequence[str] | Sequence[int] | Any:
        """Answer a block of requests; called once a block of users.

        Returns:
            One answer a request, in their order: the id of an LLM, or an integer index into
            ``requests.candidates`` (a NumPy array of integers is fastest). Anything else is
            an invalid choice: counted, and charged the worst candidate's reward.
        """
        ...
