"""The requests of the test split, in blocks of users; nothing here reads an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from personaroute_bench.evaluation.history import Tier, disclosed_users, frozen
from personaroute_bench.evaluation.protocol import Requests

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints
    from personaroute_bench.evaluation.clock import Timekeeper
    from personaroute_bench.evaluation.settings import Fold

# Requests are handed to route in blocks of users of about so many.
BLOCK_REQUESTS = 100_000


def make_requests(
    benchmark: Benchmark, fold: Fold, tier: Tier, clock: Timekeeper | None
) -> RequestBlocks:
    """Return the requests of a fold, block by block of users."""
    return RequestBlocks(benchmark, fold, tier, clock)


class RequestBlocks(Sequence[Requests]):
    """Blocks of requests that are made when they are asked for, and not kept."""

    def __init__(
        self, benchmark: Benchmark, fold: Fold, tier: Tier, clock: Timekeeper | None
    ) -> None:
        test, data = fold.test, fold.view(benchmark)
        self.fold, self.ids, self.llms = fold, data.user_ids, data.llms
        self.clock = None if tier == "T0" else clock
        self.users = disclosed_users(benchmark, tier)
        self.step = max(1, BLOCK_REQUESTS // len(test))
        self.queries = data.queries.select(["query_id", "task_id", "query"]).take(test)
        self.query_ids, self.candidates = frozen(data.query_ids[test]), frozen(data.llm_ids)
        self.embeddings = frozen(data.embeddings[test])
        self.task_of_query = frozen(data.task_of_query[test])
        self.task_ids = frozen(data.task_ids)
        self.places = self._index(min(self.step, len(fold.asking)))

    def __len__(self) -> int:
        return len(range(0, len(self.fold.asking), self.step))

    @overload
    def __getitem__(self, number: int) -> Requests: ...
    @overload
    def __getitem__(self, number: slice) -> list[Requests]: ...
    def __getitem__(self, number: int | slice) -> Requests | list[Requests]:
        if isinstance(number, slice):
            return [self[i] for i in range(len(self))[number]]
        start = range(len(self))[number] * self.step
        asking, test = self.fold.asking[start : start + self.step], self.fold.test
        now = None if self.clock is None else frozen(self.clock.at(asking, test).time.ravel())
        full = len(asking) * len(test) == len(self.places[0])
        user_index, query_index = self.places if full else self._index(len(asking))
        return Requests(
            user_ids=frozen(self.ids[asking]),
            query_ids=self.query_ids,
            candidates=self.candidates,
            user_index=user_index,
            query_index=query_index,
            embeddings=self.embeddings,
            task_of_query=self.task_of_query,
            task_ids=self.task_ids,
            queries=self.queries,
            users=self.users.take(asking),
            llms=self.llms,
            time=now,
        )

    def _index(self, users: int) -> tuple[Ints, Ints]:
        """Return the place of the user and of the query of each request."""
        queries = len(self.fold.test)
        return (
            frozen(np.repeat(np.arange(users), queries)),
            frozen(np.tile(np.arange(queries), users)),
        )
