"""Which licences let text be passed on, and what the Hub calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from personaroute_bench.errors import UsageError

# Normalised name to the Hub's identifier. Licences that let anybody pass the text on, if only
# unchanged (ND) or without profit (NC); what is not here is refused until somebody vouches for it.
OPEN = {
    **{
        name: name
        for name in (
            "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "odbl",
            "odc-by", "pddl", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
            "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
            "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
            "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-3.0",
            "cc-by-nc-nd-4.0",
        )
    },
    "apache": "apache-2.0",
    "apache-2": "apache-2.0",
    "apache2": "apache-2.0",
    "cc0": "cc0-1.0",
    "odc-by-1.0": "odc-by",
    # Creative Commons without a version: what is meant is clear, the Hub has no name for it.
    **dict.fromkeys(
        ("cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd"), "other"
    ),
    "public-domain": "other",
}  # fmt: skip


def parts(licence: str) -> list[str]:
    """Return the single licences of a text such as ``"MIT; CC BY 4.0"``."""
    return [part for part in (piece.strip() for piece in licence.split(";")) if part]


def normalise(licence: str) -> str:
    """Return a licence's name in lower case, with dashes, without the word licence."""
    words = re.sub(r"\blicen[cs]e\b|\bversion\b", " ", licence.lower())
    return "-".join(re.findall(r"[a-z0-9.+]+", words))


def hub_licences(licences: Iterable[str]) -> list[str]:
    """Return the Hub's identifiers, sorted; ``other`` for what it has no name for."""
    return sorted(
        {OPEN.get(normalise(part), "other") for text in licences for part in parts(text) or [""]}
    )


def refused_tasks(tasks: Sequence[Mapping[str, Any]], allowed: Sequence[str]) -> dict[str, str]:
    """Return task ids whose licence lets nobody pass the text on, with the licence.

    Args:
        tasks: rows of the table.
        allowed: licences that whoever publishes vouches for, as they stand in the table.

    Raises:
        UsageError: an allowed licence is that of no task.
    """
    vouched = {normalise(text) for text in allowed}
    known = {
        normalise(text) for task in tasks for text in (task["licence"], *parts(task["licence"]))
    }
    for text in allowed:
        if normalise(text) not in known:
            said = ", ".join(sorted({repr(task["licence"]) for task in tasks}))
            raise UsageError(
                f"--allow-licence {text!r} is the licence of no task; the tasks have {said}"
            )

    def is_open(licence: str) -> bool:
        if normalise(licence) in vouched:
            return True
        single = [normalise(part) for part in parts(licence)]
        return bool(single) and all(name in OPEN or name in vouched for name in single)

    return {task["task_id"]: task["licence"] for task in tasks if not is_open(task["licence"])}


def refuse(refused: Mapping[str, str]) -> UsageError:
    """Return the error for tasks whose text may not be passed on."""
    lines = "\n".join(f"  {task}: {licence!r}" for task, licence in refused.items())
    first = next(iter(refused.values()))
    return UsageError(
        "these tasks have a licence that is not known to let their text be passed on:\n"
        f"{lines}\n"
        f"If you may publish it, say so with --allow-licence {first!r} (repeatable); "
        "--without-text publishes these tasks without queries, references and responses"
    )
