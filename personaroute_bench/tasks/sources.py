"""From the value of ``--tasks`` to a task source."""

from __future__ import annotations

from pathlib import Path

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.tasks.types import TaskSource

NAMED = ("embedded", "hub", "gym")


def source_for(tasks: str) -> TaskSource:
    """Return the source that ``--tasks`` names: ``embedded``, ``hub``, ``gym``, or a path.

    Raises:
        UsageError: neither a known name nor a file.
    """
    if tasks == "embedded":
        from personaroute_bench.tasks.embedded.source import EmbeddedTasks

        return EmbeddedTasks()
    if tasks == "hub":
        from personaroute_bench.tasks.hub import Hub

        return Hub()
    if tasks == "gym":
        from personaroute_bench.tasks.gym import ReasoningGym

        return ReasoningGym()
    if Path(tasks).is_file():
        from personaroute_bench.tasks.files import TaskFile

        return TaskFile(tasks)
    raise UsageError(
        f"--tasks {tasks!r} is neither a name nor a file{did_you_mean(tasks, NAMED)}; "
        "give embedded, hub, gym (needs the extra [reasoning-gym]), or the path of a JSONL, CSV, "
        "Parquet or YAML file"
    )
