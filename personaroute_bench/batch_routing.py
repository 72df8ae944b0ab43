"""Requests from a file, choices to a file: the batch form of bench route."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from personaroute_bench.checkpoints import Decision
from personaroute_bench.errors import UsageError
from personaroute_bench.files import write_table
from personaroute_bench.jsonl import parse_line


def read_requests(
    path: Path, user: str | None = None, task: str | None = None
) -> tuple[list[str], list[str], list[str | None]]:
    """Read JSON lines of requests.

    Args:
        path: one object a line: query, user_id, and task_id if it is known.
        user: for lines without user_id.
        task: for lines without task_id.

    Returns:
        Queries, users and tasks, one a request.

    Raises:
        UsageError: the file cannot be read, or a line lacks something; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    texts: list[str] = []
    users: list[str] = []
    tasks: list[str | None] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = parse_line(line, where)
        found = (row.get("query"), row.get("user_id", user), row.get("task_id", task))
        for name, value in zip(("query", "user_id", "task_id"), found, strict=True):
            if not isinstance(value, str) and not (name == "task_id" and value is None):
                raise UsageError(
                    f"{where}: {name} is {repr(value)[:80]}; give a text (or use --user)"
                )
        texts.append(found[0])  # type: ignore[arg-type]
        users.append(found[1])  # type: ignore[arg-type]
        tasks.append(found[2])
    if not texts:
        raise UsageError(f"{path} holds no requests")
    return texts, users, tasks


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Write one row a decision: user_id, query, task_id, llm_id, score and what to expect."""
    import pyarrow as pa

    write_table(
        path,
        pa.table(
            {
                "user_id": [d.user for d in decisions],
                "query": [d.query for d in decisions],
                "task_id": [d.task for d in decisions],
                "llm_id": [d.choice for d in decisions],
                "score": [d.scores[d.choice] for d in decisions],
                "expected_performance": pa.array(
                    [d.expected_performance for d in decisions], pa.float64()
                ),
                "expected_cost_usd": pa.array(
                    [d.expected_cost_usd for d in decisions], pa.float64()
                ),
            }
        ),
    )
