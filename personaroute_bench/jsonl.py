"""Lines of JSON as an Arrow table, parsed by Python.

Arrow's own JSON readers are faster, but version 26 can crash the process or hang on a line that is
cut short or nested deeply; a stranger's file must not be able to do that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 4096


def read_json_table(path: Path, types: Mapping[str, pa.DataType]) -> tuple[pa.Table, list[str]]:
    """Read one object a line.

    Args:
        path: the file; blank lines are passed over.
        types: what to read: name to type. A key that a line lacks is null there.

    Returns:
        The columns of `types` that the file has, in its order, and all of its keys.

    Raises:
        UsageError: unreadable, a line that is no JSON object, or a value of another type; names
            the line.
    """
    import pyarrow as pa

    seen: dict[str, None] = {}
    blocks = [_block(path, lines, types, seen) for lines in _blocks(path)]
    wanted = [name for name in seen if name in types]
    schema = pa.schema([(name, types[name]) for name in wanted])
    tables = [
        pa.table([block.get(name, pa.nulls(rows, types[name])) for name in wanted], schema=schema)
        for block, rows in blocks
    ]
    return (pa.concat_tables(tables) if tables else schema.empty_table()), list(seen)


def parse_line(line: str, where: str) -> dict[str, Any]:
    """Return the object of a line.

    Raises:
        UsageError: it holds none; `where` names the line.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"{where}: not valid JSON: {reason}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected an object {{…}}, got {type(value).__name__}")
    return value


def _blocks(path: Path) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    block: list[tuple[int, dict[str, Any]]] = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    block.append((number, parse_line(line, f"{path}, line {number}")))
                if len(block) == _ROWS:
                    yield block
                    block = []
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: it is not UTF-8 text: {error}") from error
    if block:
        yield block


def _block(
    path: Path,
    lines: list[tuple[int, dict[str, Any]]],
    types: Mapping[str, pa.DataType],
    seen: dict[str, None],
) -> tuple[dict[str, pa.Array], int]:
    columns = {}
    for _, row in lines:
        seen.update(dict.fromkeys(row))
    for name in seen:
        if name in types:
            columns[name] = _column(path, name, types[name], lines)
    return columns, len(lines)


def _column(
    path: Path, name: str, kind: pa.DataType, lines: list[tuple[int, dict[str, Any]]]
) -> pa.Array:
    import pyarrow as pa

    refused = (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError, ValueError)
    try:
        return pa.array([row.get(name) for _, row in lines], kind)
    except refused:
        for number, row in lines:
            try:
                pa.array([row.get(name)], kind)
            except refused:
                shown = repr(row[name])[:80].encode("ascii", "backslashreplace").decode()
                raise UsageError(
                    f"{path}, line {number}: {name} is {shown}; give {_words(kind)}"
                ) from None
        raise


def _words(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return "a list of texts" if pa.types.is_string(kind.value_type) else "a list of numbers"
    if pa.types.is_string(kind):
        return "text in quotes (in whole characters), or null"
    return "a whole number, or null" if pa.types.is_integer(kind) else "a number, or null"
