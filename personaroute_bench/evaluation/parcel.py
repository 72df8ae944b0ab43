"""Histories and requests as one file each, which another process maps into its memory.

    eight bytes, length of the outline │ outline, JSON │ arrays and tables, aligned

Only the runner writes such files. Whoever maps one has arrays that nobody can make writable, on
pages that all workers share; nothing is pickled.
"""

from __future__ import annotations

import importlib
import json
import mmap
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

ALIGNED = 64
# What may be sent, and where it is defined.
KINDS = {
    "History": "personaroute_bench.evaluation.history",
    "Requests": "personaroute_bench.evaluation.protocol",
    "Revealed": "personaroute_bench.evaluation.online",
    "Bought": "personaroute_bench.evaluation.cascade",
    "PairHistory": "personaroute_bench.evaluation.pairs",
    "PairRequests": "personaroute_bench.evaluation.pairs",
    "Pairs": "personaroute_bench.evaluation.pairs",
}


def write_parcel(path: Path, value: Any) -> None:
    """Write one value, or a list of them; the file's outline says what it is made of."""
    parts: list[tuple[int, bytes]] = []
    outline = json.dumps(_outline(value, parts, [0])).encode()
    with path.open("wb") as file:
        file.write(len(outline).to_bytes(8, "little"))
        file.write(outline)
        start = _up(8 + len(outline))
        for offset, part in parts:
            file.seek(start + offset)
            file.write(part)
        file.truncate(max(file.tell(), start + ALIGNED))  # an empty end can be mapped too


def read_parcel(path: Path) -> Any:
    """Map a file of `write_parcel` and return what is in it."""
    with path.open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    length = int.from_bytes(mapped[:8], "little")
    return _build(json.loads(bytes(mapped[8 : 8 + length])), mapped[_up(8 + length) :])


def _up(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _outline(value: Any, parts: list[tuple[int, bytes]], end: list[int]) -> Any:
    import pyarrow as pa

    def put(part: bytes) -> list[int]:
        offset = end[0]
        end[0] = _up(offset + len(part))
        parts.append((offset, part))
        return [offset, len(part)]

    if isinstance(value, np.ndarray):
        place = put(np.ascontiguousarray(value).tobytes())
        return {"array": place, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, pa.Table):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as stream:
            stream.write_table(value)
        return {"table": put(sink.getvalue().to_pybytes())}
    if is_dataclass(value) and type(value).__name__ in KINDS:
        inside = {f.name: _outline(getattr(value, f.name), parts, end) for f in fields(value)}
        return {"kind": type(value).__name__, "fields": inside}
    if isinstance(value, (list, tuple)):
        return {"list": [_outline(item, parts, end) for item in value]}
    if value is None or isinstance(value, (str, int, float, bool)):
        return {"value": value}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _build(outline: Any, data: memoryview) -> Any:
    import pyarrow as pa

    if "array" in outline:
        offset, size = outline["array"]
        kind, shape = np.dtype(outline["dtype"]), tuple(outline["shape"])
        return np.ndarray(shape, dtype=kind, buffer=data[offset : offset + size])
    if "table" in outline:
        offset, size = outline["table"]
        return pa.ipc.open_stream(pa.py_buffer(data[offset : offset + size])).read_all()
    if "kind" in outline:
        kind = outline["kind"]
        made = getattr(importlib.import_module(KINDS[kind]), kind)
        return made(**{name: _build(part, data) for name, part in outline["fields"].items()})
    if "list" in outline:
        return [_build(item, data) for item in outline["list"]]
    return outline["value"]
