"""The embedded source: queries made on the spot, and the items behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import lru_cache
from typing import Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import digest
from personaroute_bench.tasks.embedded import arithmetic, instruction, news, reading
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import EmbeddedItem
from personaroute_bench.tasks.types import Task, TaskSet

# Raise it when a generator changes what it writes: the version is part of a data set's
# configuration, so that a folder is never continued with other queries under the same ids.
VERSION = 1
DEFAULT_QUERIES_PER_TASK = 60
MOST_QUERIES = 100_000
LICENCE = "Apache-2.0"

# How a family makes an item, and its kinds, which take turns.
_FAMILIES: dict[str, tuple[Callable[[int, int, str, int], EmbeddedItem], Callable[[], Sized]]] = {
    instruction.TASK_ID: (instruction.make, lambda: instruction.KINDS),
    arithmetic.TASK_ID: (arithmetic.make, arithmetic.stories),
    news.TASK_ID: (news.make, news.events),
    reading.TASK_ID: (reading.make, reading.domains),
}
_QUERY_ID = re.compile(r"^([a-z_]+)-([0-9]{5})$")

TASKS: tuple[Task, ...] = (
    Task(
        instruction.TASK_ID,
        "Instruction following",
        "Everyday requests: rewriting, lists, short emails, explanations, classification, "
        "ordering, extraction to JSON, ideas. Token F1 against a written reference.",
        instruction.METRIC,
        "embedded",
        LICENCE,
    ),
    Task(
        arithmetic.TASK_ID,
        "Maths word problems",
        "School arithmetic in short stories with two to five operations. The final number "
        "after #### must be right.",
        arithmetic.METRIC,
        "embedded",
        LICENCE,
    ),
    Task(
        news.TASK_ID,
        "Multi-document summarisation",
        "Two to five short reports of one event, to be told in one paragraph. Token F1 "
        "against the facts of the event.",
        news.METRIC,
        "embedded",
        LICENCE,
    ),
    Task(
        reading.TASK_ID,
        "Question answering over a passage",
        "A passage on one to three things and a question whose answer stands in it. Token F1 "
        "against the span.",
        reading.METRIC,
        "embedded",
        LICENCE,
    ),
)


class EmbeddedTasks:
    """Four procedural task families; any number of queries, none downloaded.

    Query i of a task depends on the seed, the task and i only: asking for more keeps the
    earlier ones. The ids tell i, for instance ``math_word_problems-00012``.
    """

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the version of the generators, which with the seed defines every query."""
        return {"source": "embedded", "version": VERSION}

    def load(
        self,
        *,
        seed: int,
        queries_per_task: int | None = None,
        task_ids: Sequence[str] | None = None,
    ) -> TaskSet:
        """Write the queries; None for ``queries_per_task`` gives 60 a task.

        Raises:
            UsageError: an unknown task, or a number of queries out of range.
        """
        chosen = tuple(task for task in TASKS if task_ids is None or task.task_id in task_ids)
        for task_id in task_ids or ():
            _family(task_id)
        if not chosen:
            raise UsageError(f"no task is chosen; known: {', '.join(sorted(_FAMILIES))}")
        count = DEFAULT_QUERIES_PER_TASK if queries_per_task is None else queries_per_task
        queries = tuple(
            item.query for task in chosen for item in self.items(seed, task.task_id, count)
        )
        return TaskSet(chosen, queries)

    def items(self, seed: int, task_id: str, n: int) -> list[EmbeddedItem]:
        """Return the first ``n`` items of a task: queries with their hidden structure.

        Raises:
            UsageError: an unknown task, or ``n`` out of range.
        """
        _family(task_id)
        if not 1 <= n <= MOST_QUERIES:
            raise UsageError(
                f"queries per task must be from 1 to {MOST_QUERIES:,}, got {n} (--queries-per-task)"
            )
        return [_item(seed, task_id, index) for index in range(n)]


def find_item(seed: int, query_id: str) -> EmbeddedItem | None:
    """Return the item with this id, or None where the id is no embedded one."""
    found = _QUERY_ID.match(query_id)
    if found is None or found[1] not in _FAMILIES:
        return None
    return _item(seed, found[1], int(found[2]))


@lru_cache(maxsize=8192)
def _item(seed: int, task_id: str, index: int) -> EmbeddedItem:
    make, kinds = _FAMILIES[task_id]
    order = _order(seed, task_id, len(kinds()), index)
    return make(seed, index, f"{task_id}-{index:05d}", order)


def _order(seed: int, task_id: str, kinds: int, index: int) -> int:
    """Return the kind of item ``index``: every block of as many items has each kind once."""
    return _block(seed, task_id, kinds, index // kinds)[index % kinds]


@lru_cache(maxsize=1024)
def _block(seed: int, task_id: str, kinds: int, block: int) -> tuple[int, ...]:
    return tuple(Draws(seed, "kinds", task_id, block).shuffled(range(kinds)))


def _family(task_id: str) -> None:
    if task_id not in _FAMILIES:
        raise UsageError(
            f"unknown embedded task {task_id!r}" + did_you_mean(task_id, list(_FAMILIES))
        )


def content_digest(seed: int, n: int) -> str:
    """Return a digest over the first ``n`` queries of every task, to notice unmeant changes."""
    loaded = EmbeddedTasks().load(seed=seed, queries_per_task=n)
    return digest([[q.query_id, q.query, q.prompt, q.ground_truth] for q in loaded.queries])
