"""Read foreign JSON: a file at a time, and every surprise with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError


def find(path: Path, pattern: str) -> list[Path]:
    """Return the file itself, or the files below a folder that match, sorted.

    Raises:
        UsageError: there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob(pattern) if file.is_file()) if path.is_dir() else []
    if not found:
        raise UsageError(f"{path} holds no file named like {pattern}; give a file or its folder")
    return found


def read_document(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        UsageError: unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}") from error


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, object) of a JSONL file; blank lines are passed over.

    Raises:
        UsageError: unreadable, or a line that is no JSON object.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}, line {number}: not valid JSON: {error}") from error
                yield number, as_object(row, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def as_object(value: Any, where: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return the value, which must be an object with these keys.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected an object {{…}}, got {type(value).__name__}")
    for key in keys:
        if key not in value:
            raise UsageError(f"{where}: no {key!r}; it has {', '.join(map(str, value))[:200]}")
    return value


def as_text(value: Any) -> str | None:
    """Return text as it is, a list of texts joined by line breaks, and anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)


def as_number(value: Any, where: str, what: str) -> float | None:
    """Return a number, None where there is none (NaN included); truth values count as 0 and 1.

    Raises:
        UsageError: something else.
    """
    if value is None:
        return None
    if not isinstance(value, bool | int | float):
        raise UsageError(f"{where}: {what} is {str(value)[:40]!r}; give a number, or null")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise UsageError(f"{where}: {what} is not finite; give a number, or null")
    return None if math.isnan(number) else number


def as_count(value: Any, where: str, what: str) -> int | None:
    """Return a whole number >= 0, or None.

    Raises:
        UsageError: something else.
    """
    number = as_number(value, where, what)
    if number is None:
        return None
    if number < 0 or number != int(number):
        raise UsageError(f"{where}: {what} is {number:g}; give a whole number, or null")
    return int(number)
