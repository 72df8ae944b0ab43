"""Hostile input, made from good input: what is nearly right reaches further than noise."""

from __future__ import annotations

import copy
import datetime
import decimal
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

ODD_TEXTS = (
    "", " ", "\x00", "\x1b]0;owned\x07\x1b[2J", "\ud800", "a\ud800b", "\u202egnp.exe", "\ufeff",
    "../../etc/passwd", "/etc/passwd", "C:\\CON", "NUL", "=cmd|' /C calc'!A0", "{{7*7}}",
    "{% raw %}", "{0.__class__}", "%s%n", "<script>alert(1)</script>", "'; DROP TABLE calls; --",
    "NaN", "inf", "1e999", "-0", "null", "true", "\r\n", "a\nb", ",", '"', "é" * 300, "x" * 5_000,
    "🂡", "٣", "²", "1_000", "0x10", "2025-13-45", "9999999999-01-01",
)  # fmt: skip
ODD_NUMBERS = (
    0, -1, 1, 2, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, -(10**400),
    0.0, -0.0, 0.5, 1.5, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip

odd_texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(st.characters(codec=None), max_size=20),
)
odd_scalars = st.one_of(
    st.none(), st.booleans(), st.sampled_from(ODD_NUMBERS), st.integers(), st.floats(), odd_texts
)
odd_values = st.recursive(
    odd_scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(odd_texts, inner, max_size=3)
    ),
    max_leaves=6,
)
"""Any JSON value, and the numbers and halves of characters that JSON can only just spell."""


def deep(levels: int = 100_000) -> str:
    """Return JSON (and YAML) that is nested as deep as no parser likes."""
    return "[" * levels + "]" * levels


@st.composite
def changed(draw: st.DrawFn, good: Any) -> Any:
    """Return a good value with one to three of its parts exchanged, lost, doubled or renamed."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            return draw(odd_values)
        holder, key = draw(st.sampled_from(places))
        action = draw(st.sampled_from(("swap", "swap", "lose", "rename", "double", "wrap", "odd")))
        inside = holder[key]
        if action in ("swap", "odd"):
            holder[key] = draw(odd_values if action == "odd" else odd_scalars)
        elif action == "wrap":
            holder[key] = [inside]
        elif isinstance(holder, list):
            if action == "lose":
                del holder[key]
            else:
                holder.insert(key, copy.deepcopy(inside))
        else:
            del holder[key]
            if action != "lose":
                holder[draw(odd_texts)] = inside
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield value, place
            yield from _places(inner)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Return good bytes cut short, with bytes changed, put in or taken out; or mere noise."""
    kind = draw(st.sampled_from(("cut", "flip", "insert", "remove", "noise", "double", "tail")))
    if kind == "noise":
        return draw(st.binary(max_size=200))
    if kind == "double":
        return good + good
    if kind == "tail":
        return good[draw(st.integers(0, len(good))) :]
    at = draw(st.integers(0, len(good)))
    if kind == "cut":
        return good[:at]
    some = draw(st.binary(min_size=1, max_size=8))
    keep = at if kind == "insert" else at + len(some)
    return good[:at] + (b"" if kind == "remove" else some) + good[keep:]


def json_bytes(value: Any) -> bytes:
    """Spell a value as JSON, with NaN and half characters as they come."""
    return json.dumps(value).encode("ascii")


def json_files(good: Any) -> st.SearchStrategy[bytes]:
    """Bytes of a file that should hold JSON like `good`."""
    return st.one_of(
        changed(good).map(json_bytes),
        odd_values.map(json_bytes),
        damaged(json_bytes(good)),
        st.sampled_from([b"", b"\xef\xbb\xbf{}", b"\xff\xfe", deep().encode(), b'{"a":1,"a":2}']),
    )


def line_files(good: list[Any]) -> st.SearchStrategy[bytes]:
    """Bytes of a file that should hold lines of JSON like those of `good`."""
    return st.one_of(
        changed(good).map(
            lambda rows: b"\n".join(map(json_bytes, rows if isinstance(rows, list) else [rows]))
        ),
        damaged(b"\n".join(map(json_bytes, good))),
        st.sampled_from([b"", b"\n\n", b"\xff", deep().encode(), b"{}\n[]\n1"]),
    )


def yaml_files(good: Any) -> st.SearchStrategy[bytes]:
    """Bytes of a file that should hold YAML like `good`."""
    import yaml

    text = yaml.safe_dump(good, sort_keys=False).encode()
    bomb = b"a: &a [x,x]\n" + b"".join(
        b"%c: &%c [*%c,*%c]\n" % (n + 1, n + 1, n, n) for n in range(ord("a"), ord("z"))
    )
    top = next(iter(good)).encode()
    return st.one_of(
        changed(good).map(json_bytes),  # JSON is YAML, but for what JSON alone can spell
        changed(good).map(_as_yaml),
        damaged(text),
        st.sampled_from(
            [b"", b"---", b"\t", b"!!python/object/apply:os.system ['true']", bomb,
             bomb + b"llms: [*z]\ntasks: [*z]\narchetypes: *z", top + b": 2025-02-30",
             b"a: *a", deep(5000).encode(), b"%YAML 9.9\n---\n{}", b"? [a]\n: b", b"- !!float x",
             b"a: !!binary '\xff'", b"2025-02-30: 1", b"a: 2025-02-30", b"<<: [1]", b"a: 0o9",
             b"a: 1:99:99", b"=: 1", b"a: !!set {b}", b"a: 0b", b"a: 190:20:30.15", b"a: 1__0"]
        ),
    )  # fmt: skip


def _as_yaml(value: Any) -> bytes:
    import yaml

    try:
        text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        return text.encode("utf-8")
    except (yaml.YAMLError, UnicodeError, ValueError):
        return json_bytes(value)


def _column(kind: str, rows: int) -> pa.Array:
    makers: dict[str, Callable[[], pa.Array]] = {
        "null": lambda: pa.nulls(rows),
        "bool": lambda: pa.array([True] * rows),
        "int": lambda: pa.array([2**63 - 1] * rows, pa.int64()),
        "uint": lambda: pa.array([2**64 - 1] * rows, pa.uint64()),
        "nan": lambda: pa.array([float("nan")] * rows),
        "inf": lambda: pa.array([float("-inf")] * rows),
        "text": lambda: pa.array(["x"] * rows),
        "empty": lambda: pa.array([""] * rows),
        "odd text": lambda: pa.array(["\x1b[2J\x00=1+1"] * rows),
        "large text": lambda: pa.array(["x"] * rows, pa.large_string()),
        "view": lambda: pa.array(["x"] * rows, pa.string_view()),
        "bytes": lambda: pa.array([b"\xff\xfe"] * rows),
        "no utf-8": lambda: pa.array([b"\xff\xfe"] * rows).view(pa.string()),
        "list": lambda: pa.array([["x", None]] * rows),
        "numbers": lambda: pa.array([[1.0, float("nan")]] * rows),
        "struct": lambda: pa.array([{"a": 1}] * rows),
        "map": lambda: pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int64())),
        "date": lambda: pa.array([datetime.date(2025, 1, 1)] * rows),
        "time": lambda: pa.array([datetime.datetime(9999, 1, 1)] * rows, pa.timestamp("us", "UTC")),
        "decimal": lambda: pa.array([decimal.Decimal("1.5")] * rows),
        "dictionary": lambda: pa.array(["x"] * rows).dictionary_encode(),
        "null in dictionary": lambda: pa.DictionaryArray.from_arrays(
            pa.array([0] * rows, pa.int32()), pa.array([None, "x"])
        ),
    }
    return makers[kind]()


COLUMN_KINDS = (
    "null", "bool", "int", "uint", "nan", "inf", "text", "empty", "odd text", "large text", "view",
    "bytes", "no utf-8", "list", "numbers", "struct", "map", "date", "time", "decimal",
    "dictionary", "null in dictionary",
)  # fmt: skip


@st.composite
def changed_tables(draw: st.DrawFn, good: pa.Table) -> pa.Table:
    """Return a table with columns retyped, lost, doubled or with holes, or rows lost or doubled."""
    table = good
    for _ in range(draw(st.integers(1, 2))):
        if not table.num_columns:
            return table
        place = draw(st.integers(0, table.num_columns - 1))
        name = table.schema.field(place).name
        action = draw(
            st.sampled_from(("retype", "retype", "lose", "double", "hole", "rows", "again", "none"))
        )
        if action == "retype":
            column = _column(draw(st.sampled_from(COLUMN_KINDS)), table.num_rows)
            table = table.set_column(place, name, column)
        elif action == "lose":
            table = table.remove_column(place)
        elif action == "double":
            table = table.append_column(name, table.column(place))
        elif action == "hole" and table.num_rows:
            row = draw(st.integers(0, table.num_rows - 1))
            kept = [None if number == row else number for number in range(table.num_rows)]
            rows = pa.array(kept, pa.int64())
            table = table.set_column(place, name, table.column(place).take(rows))
        elif action == "rows":
            table = table.slice(0, draw(st.integers(0, table.num_rows)))
        elif action == "again":
            table = pa.concat_tables([table, table])
        elif action == "none":
            table = table.slice(0, 0)
    return table


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def parquet_files(good: pa.Table) -> st.SearchStrategy[bytes]:
    """Bytes of a Parquet file that should hold a table like `good`."""
    return st.one_of(
        changed_tables(good).map(_parquet_or_none), damaged(parquet_bytes(good)),
        st.sampled_from([b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1"]),
    )  # fmt: skip


def _parquet_or_none(table: pa.Table) -> bytes:
    try:
        return parquet_bytes(table)
    except pa.ArrowException:  # what Parquet cannot hold, nobody can send
        return b"PAR1"


def csv_files(good: str) -> st.SearchStrategy[bytes]:
    """Bytes of a CSV file that should look like `good`."""
    cells = st.sampled_from(
        ("", '"', '""', ",", "\n", "\r", "nan", "inf", "1e999", "-1", "x" * 300, "\x00", "é",
         "=1+1", "[1. 2.", "0", "9" * 400, "None", "\u2028")
    )  # fmt: skip

    @st.composite
    def exchanged(draw: st.DrawFn) -> bytes:
        rows = [line.split(",") for line in good.splitlines()]
        for _ in range(draw(st.integers(1, 3))):
            row = draw(st.sampled_from(rows))
            row[draw(st.integers(0, len(row) - 1))] = draw(cells)
        return "\n".join(map(",".join, rows)).encode()

    return st.one_of(
        exchanged(), damaged(good.encode()),
        st.sampled_from([b"", b"\n", b"a", b"\xff\xfe", b'"', b"a,a\n1,2", b",,\n,,"]),
    )  # fmt: skip
