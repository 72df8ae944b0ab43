"""Tasks of reasoning-gym: procedural puzzles with exact answers (extra ``reasoning-gym``).

Example row of ``gym_simple_equations``: "Solve for e: 56 - 98*e = -1218", ground truth "13".
Each is scored by one of our own metrics on the text, never by the package's scorers, so that a
data set can be scored again without the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import digest
from personaroute_bench.tasks.types import Query, Task, TaskSet

PREFIX = "gym_"
DEFAULT_QUERIES_PER_TASK = 60
LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class _Puzzle:
    name: str
    description: str
    metric: str


_NUMBER, _WORD = "GSM8K", "f1_score"
_PUZZLES: Mapping[str, _Puzzle] = {
    "basic_arithmetic": _Puzzle("Basic arithmetic", "Short calculations.", _NUMBER),
    "chain_sum": _Puzzle("Chain sums", "Sums and differences of several numbers.", _NUMBER),
    "gsm_symbolic": _Puzzle(
        "Symbolic word problems", "School word problems with drawn names and numbers.", _NUMBER
    ),
    "leg_counting": _Puzzle("Leg counting", "How many legs have these animals?", _NUMBER),
    "letter_counting": _Puzzle("Letter counting", "How often does a letter appear?", _NUMBER),
    "simple_equations": _Puzzle("Simple equations", "Linear equations with one unknown.", _NUMBER),
    "family_relationships": _Puzzle(
        "Family relationships", "What is one person to another?", _WORD
    ),
    "spell_backward": _Puzzle("Spelling backward", "A word from its end to its start.", _WORD),
    "syllogism": _Puzzle("Syllogisms", "Does a statement follow from two others?", _WORD),
}
_INSTRUCTIONS = {
    _NUMBER: "End with a last line of the form '#### number'.",
    _WORD: "Answer with the word only.",
}


class ReasoningGym:
    """A task source over reasoning-gym's generators, each task one of its data sets."""

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the package's version: another release may write other puzzles.

        Raises:
            UsageError: the package is not installed.
        """
        _package()
        from importlib.metadata import version

        return {"source": "reasoning-gym", "version": version("reasoning-gym"), "rules": 1}

    def load(
        self,
        *,
        seed: int,
        queries_per_task: int | None = None,
        task_ids: Sequence[str] | None = None,
    ) -> TaskSet:
        """Write the puzzles; None for ``queries_per_task`` gives 60 a task.

        A puzzle that repeats an earlier one of its task is left out, and the next is taken, so
        asking for more keeps the earlier ones.

        Raises:
            UsageError: the package is not installed, a task is unknown, or a generator does not
                have as many different puzzles.
        """
        known = [PREFIX + name for name in _PUZZLES]
        for task_id in task_ids or ():
            if task_id not in known:
                raise UsageError(f"unknown task {task_id!r}{did_you_mean(task_id, known)}")
        count = DEFAULT_QUERIES_PER_TASK if queries_per_task is None else queries_per_task
        if count < 1:
            raise UsageError(f"queries per task must be at least 1, got {count}")
        chosen = sorted(task_id for task_id in known if task_ids is None or task_id in task_ids)
        if not chosen:
            raise UsageError(f"no task is chosen; known: {', '.join(known)}")
        tasks, queries = [], []
        for task_id in chosen:
            puzzle = _PUZZLES[task_id.removeprefix(PREFIX)]
            tasks.append(
                Task(
                    task_id,
                    puzzle.name,
                    puzzle.description,
                    puzzle.metric,
                    "reasoning-gym",
                    LICENCE,
                )
            )
            queries += _queries(task_id, puzzle.metric, seed, count)
        return TaskSet(tuple(tasks), tuple(queries))


def _package() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise UsageError(
            "the tasks of reasoning-gym need the package; install it with: "
            "pip install 'personaroute-bench[reasoning-gym]'"
        ) from error
    return reasoning_gym


def _queries(task_id: str, metric: str, seed: int, count: int) -> list[Query]:
    # A seed of its own for each task; the package draws item i from seed + i.
    own = int(digest([seed, task_id])[:7], 16)
    most = 20 * count + 200
    entries = _package().create_dataset(task_id.removeprefix(PREFIX), size=most, seed=own)
    queries: list[Query] = []
    seen: set[str] = set()
    for place in range(most):
        entry = entries[place]
        text, answer = str(entry["question"]).strip(), str(entry["answer"]).strip()
        if text in seen:
            continue
        seen.add(text)
        prompt = f"{text}\n\n{_INSTRUCTIONS[metric]}"
        query_id = f"{task_id}-{len(queries):05d}"
        queries.append(Query(query_id, task_id, text, prompt, answer, metric))
        if len(queries) == count:
            return queries
    raise UsageError(
        f"task {task_id!r} has only {len(queries)} different puzzles within {most}, and {count} "
        "are wanted; lower --queries-per-task"
    )
