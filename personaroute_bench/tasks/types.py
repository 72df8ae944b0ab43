"""The values that every task source gives: tasks and their queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the `tasks` table."""

    task_id: str
    name: str
    description: str
    metric: str
    """Name in the registry of personaroute_bench.scoring."""
    source: str
    """Where the queries come from, for instance ``embedded`` or a data set's name."""
    licence: str


@dataclass(frozen=True, slots=True)
class Query:
    """One row of the `queries` table (without its embedding and split)."""

    query_id: str
    task_id: str
    query: str
    """What the user asks, in their words; this is embedded and shown to routers."""
    prompt: str
    """The user message that is sent to the LLMs: the query, possibly with an instruction."""
    ground_truth: str | None
    metric: str


@dataclass(frozen=True, slots=True)
class TaskSet:
    """Tasks with their queries, queries sorted by (task_id, query_id)."""

    tasks: tuple[Task, ...]
    queries: tuple[Query, ...]


class TaskSource(Protocol):
    """Anything that can deliver a TaskSet; new sources implement this."""

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the JSON value that defines the source (with a hash of its files' content)."""
        ...

    def load(
        self, *, seed: int, queries_per_task: int | None, task_ids: Sequence[str] | None
    ) -> TaskSet:
        """Deliver the queries.

        Args:
            seed: the data set's seed.
            queries_per_task: at most so many a task, sampled by seeded hash; None: all.
            task_ids: only these tasks; None: all.

        Raises:
            UsageError: unknown task, unreadable file, missing column, too few queries.
        """
        ...
