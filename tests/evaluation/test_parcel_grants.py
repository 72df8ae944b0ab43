"""What crosses to a router's process: values, the right to read, and what it prints."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.choices import Answered, read_answers
from personaroute_bench.evaluation.conversation import PRINTED, Printed
from personaroute_bench.evaluation.grants import grants, hidden_parts, tried
from personaroute_bench.evaluation.history import make_history, past_responses
from personaroute_bench.evaluation.parcel import read_parcel, write_parcel
from personaroute_bench.evaluation.sandbox import LIST, READ


def equal(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
        assert not right.flags.writeable
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            right.flags.writeable = True
    elif isinstance(left, pa.Table):
        assert left.equals(right)
    elif hasattr(left, "__dataclass_fields__"):
        for field in fields(left):
            equal(getattr(left, field.name), getattr(right, field.name))
    else:
        assert left == right


@pytest.mark.parametrize("feedback", ["full", "pairwise"])
def test_a_history_arrives_whole_and_read_only(
    benchmark: Benchmark, tmp_path: Path, feedback: Any
) -> None:
    train = benchmark.interactions("multi_cost_efficiency", "train")
    validation = benchmark.interactions("multi_cost_efficiency", "validation")
    known = past_responses(benchmark, np.arange(20))
    history = make_history(benchmark, train, validation, known, feedback=feedback)
    write_parcel(tmp_path / "h", history)
    found = read_parcel(tmp_path / "h")
    (tmp_path / "h").unlink()
    equal(history, found)


@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4),
    st.lists(st.integers(0, 3), min_size=2, max_size=3),
)
def test_arrays_and_lists_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], shape: list[int]
) -> None:
    path = tmp_path_factory.mktemp("parcels") / "p"
    values = [np.asarray(words, dtype="U5"), np.ones(shape, np.float32), None, "x", 3, True]
    write_parcel(path, values)
    for left, right in zip(values, read_parcel(path), strict=True):
        equal(left, right)


def test_nothing_else_is_sent(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path cannot be sent"):
        write_parcel(tmp_path / "p", [tmp_path])


def allows(found: list[tuple[str, int]], path: Path) -> int:
    real = os.path.realpath(path)
    access = 0
    for name, kinds in found:
        if Path(real).is_relative_to(name):
            access |= kinds
    return access


def test_code_is_granted_and_no_data(tmp_path: Path) -> None:
    for name in ("mine.py", ".env", "notes.txt", "lib/a.py", "lib/data/manifest.json",
                 "lib/more/w.bin", "data/t.parquet", "name/space/c.py", ".git/x.py"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "lib" / "link").symlink_to(tmp_path / "lib" / "data")
    hidden = [tmp_path / "lib" / "data", tmp_path / "data"]
    found = grants("name.space.c", tmp_path, hidden)
    for name in ("mine.py", "lib/a.py", "lib/more/w.bin", "name/space/c.py"):
        assert allows(found, tmp_path / name) & READ == READ, name
    for name in (".env", "notes.txt", "lib/data/manifest.json", "data/t.parquet", ".git/x.py"):
        assert allows(found, tmp_path / name) & READ == LIST, name
    assert allows(found, Path(np.__file__)) & READ == READ
    assert allows(found, Path.home() / ".ssh") == 0


def test_a_router_in_the_folder_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x")
    (tmp_path / "interactions").mkdir()
    (tmp_path / "interactions" / "0.parquet").write_text("x")
    found = grants("mine", tmp_path, hidden_parts(tmp_path))
    assert allows(found, tmp_path / "mine.py") & READ == READ
    assert allows(found, tmp_path / "interactions" / "0.parquet") & READ == LIST
    assert tried([tmp_path]) == [str(tmp_path / "interactions" / "0.parquet")]


def test_python_stays_readable_where_it_lies_in_the_folder_of_the_data() -> None:
    installed = Path(np.__file__).parents[1]
    parts = hidden_parts(installed.parent)
    assert installed not in parts
    assert allows(grants("m", installed, parts), Path(np.__file__)) & READ == READ


@given(st.lists(st.integers(0, 3 * PRINTED // 2), max_size=8))
def test_first_and_last_of_what_is_printed(sizes: list[int]) -> None:
    printed, whole = Printed(), b""
    for n, size in enumerate(sizes):
        chunk = bytes([65 + n]) * size
        printed.add(chunk)
        whole += chunk
    text = printed.text.encode()
    assert printed.total == len(whole)
    if len(whole) <= 2 * PRINTED:
        assert text == whole
    else:
        assert text.startswith(whole[:PRINTED])
        assert text.endswith(whole[-PRINTED:])
        assert f"{len(whole) - 2 * PRINTED} bytes left out".encode() in text
        assert sum(map(len, printed.tail)) < 3 * PRINTED


def test_answers_of_a_stranger_are_checked_again() -> None:
    ids = np.asarray(["a", "b"])
    found, problem = read_answers(Answered(np.asarray([0, 1, 7, -5]), None), 4, ids)
    assert found.tolist() == [0, 1, -1, -1]
    assert problem == "index 7 is outside 0…1"
    found, problem = read_answers(Answered(np.asarray([0]), "theirs"), 2, ids)
    assert found.tolist() == [-1, -1]
    assert problem == "theirs"
