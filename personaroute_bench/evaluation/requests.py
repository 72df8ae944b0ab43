"""The requests of the test split, in blocks of users; nothing here reads an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.history import Tier, disclosed_users, frozen
from personaroute_bench.evaluation.protocol import Requests

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.clock import Timekeeper
    from personaroute_bench.evaluation.settings import Fold

# Requests are handed to route in blocks of users of about so many.
BLOCK_REQUESTS = 100_000


def make_requests(
    benchmark: Benchmark, fold: Fold, tier: Tier, clock: Timekeeper | None
) -> Iterator[Requests]:
    """Yield the requests of a fold, block by block of users."""
    test, data = fold.test, fold.view(benchmark)
    users = disclosed_users(benchmark, tier)
    step = max(1, BLOCK_REQUESTS // len(test))
    queries = data.queries.select(["query_id", "task_id", "query"]).take(test)
    query_ids, candidates = frozen(data.query_ids[test]), frozen(data.llm_ids)
    embeddings = frozen(data.embeddings[test])
    task_of_query, task_ids = frozen(data.task_of_query[test]), frozen(data.task_ids)
    for start in range(0, len(fold.asking), step):
        asking = fold.asking[start : start + step]
        now = None
        if clock is not None and tier != "T0":
            now = frozen(clock.at(asking, test).time.ravel())
        yield Requests(
            user_ids=frozen(data.user_ids[asking]),
            query_ids=query_ids,
            candidates=candidates,
            user_index=frozen(np.repeat(np.arange(len(asking)), len(test))),
            query_index=frozen(np.tile(np.arange(len(test)), len(asking))),
            embeddings=embeddings,
            task_of_query=task_of_query,
            task_ids=task_ids,
            queries=queries,
            users=users.take(asking),
            llms=data.llms,
            time=now,
        )
