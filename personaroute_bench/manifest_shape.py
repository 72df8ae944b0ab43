"""What a manifest must look like before anything in it is believed: it may be a stranger's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.texts import printable

_COUNT, _MAYBE, _TEXT = "a whole number >= 0", "a number or null", "text"
_SOURCES = ("simulated", "recorded", "live")
_EACH = "*"  # every key of a mapping
_SHAPE: dict[str, Any] = {
    "dataset_id": _TEXT,
    "provenance": _SOURCES,
    "files": {_EACH: {"bytes": _COUNT, "sha256": _TEXT}},
    "tables": {_EACH: {"rows": _COUNT}},
    "interactions": {"form": _TEXT},
    "strategies": {
        _EACH: {
            "rows": {_EACH: _COUNT},
            "headroom": {
                "oracle_share": _MAYBE,
                "fixed_policy_share": _MAYBE,
                "win_shares": {_EACH: _MAYBE},
            },
        }
    },
    "coverage": {
        "statuses": {_EACH: _COUNT},
        "by_llm": {_EACH: {"rows": _COUNT, "ok": _COUNT, "performance": _MAYBE,
                           "cost_usd": _MAYBE}},
    },
    "spend": {"calls": _COUNT, "usd": _MAYBE, "unknown_calls": _COUNT,
              "unknown_usd_at_most": _MAYBE},
    "configuration": {},
    "defining": {},
    "generator": {},
}  # fmt: skip

_STAGES = {
    _EACH: {
        "inputs": _TEXT,
        "files": {_EACH: {"bytes": _COUNT, "mtime_ns": _COUNT, "sha256": _TEXT}},
        "result": {},
    }
}


def stages_problem(value: Any) -> str | None:
    """Return in words what is wrong with the stages that a folder's config.json lists."""
    return _problem(value, _STAGES, "stages", True)


def check_manifest(
    value: Any, path: Path, need: Sequence[str] = ("strategies",), *, whole: bool = False
) -> dict[str, Any]:
    """Return a manifest whose parts are of the kinds that this program reads.

    Args:
        value: what stands in the file.
        path: the file, for the message.
        need: keys that must be there.
        whole: whether what those keys hold must be complete, as for printing it.

    Raises:
        UsageError: a key is missing or holds something else; names the key and the value.
    """
    problem = _problem(value, dict.fromkeys(need, None), "it", True)
    if problem is None:
        for key, shape in _SHAPE.items():
            if key in value and problem is None:
                problem = _problem(value[key], shape, key, whole or key == "files")
    if problem is not None:
        raise UsageError(
            f"{path} is damaged ({problem}); run bench generate on the folder again, or fetch the "
            "data set again"
        )
    return dict(value)


def _problem(value: Any, shape: Any, where: str, whole: bool) -> str | None:  # noqa: PLR0911
    """Return in words the first place where a value has not its shape."""
    if isinstance(shape, tuple):
        if all(item in shape for item in (value if isinstance(value, list) else [value])):
            return None
        return f"{where} is {_short(value)}, not a list of {', '.join(shape)}"
    if not isinstance(shape, dict):
        return None if _is(value, shape) else f"{where} is {_short(value)}, not {shape}"
    if not isinstance(value, dict):
        return f"{where} is {_short(value)}, not an object"
    for key in value if _EACH in shape else shape:
        if key not in value:
            if whole:
                return f"{where} has no {key!r}"
            continue
        inner: Mapping[str, Any] | str | None = shape.get(_EACH, shape.get(key))
        found = None if inner is None else _problem(value[key], inner, f"{where}.{key[:60]}", whole)
        if found is not None:
            return found
    return None


def _is(value: Any, kind: str) -> bool:
    if kind == _TEXT:
        return isinstance(value, str)
    if value is None:
        return kind == _MAYBE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind == _COUNT:
        return isinstance(value, int) and 0 <= value < 2**63
    return abs(value) < 1e300 and math.isfinite(value)


def _short(value: Any) -> str:
    return printable(repr(value)[:60])
