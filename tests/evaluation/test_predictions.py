from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.predictions import read_predictions

USERS, QUERIES, LLMS = np.asarray(["007", "8"]), np.asarray(["p", "q"]), np.asarray(["a", "b"])
ROWS = [
    {"user_id": "8", "query_id": "q", "llm_id": "b", "note": "x"},
    {"user_id": "007", "query_id": "p", "llm_id": "a", "note": "y"},
    {"user_id": "007", "query_id": "q", "llm_id": "b", "note": "z"},
    {"user_id": "8", "query_id": "p", "llm_id": "a", "note": ""},
]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(pa.Table.from_pylist(rows), path)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_three_formats(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"mine{suffix}", ROWS)
    choice, problem = read_predictions(path, USERS, QUERIES, LLMS)
    assert choice.tolist() == [[0, 1], [0, 1]]
    assert problem is None


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_missing_row_is_an_invalid_choice(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"mine{suffix}", ROWS[:3])
    choice, problem = read_predictions(path, USERS, QUERIES, LLMS)
    assert choice.tolist() == [[0, 1], [-1, 1]]
    assert problem == "no choice for user '8', query 'p'"


def test_an_empty_llm_is_an_invalid_choice(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("user_id,query_id,llm_id\n007,p,\n007,q,a\n8,p,b\n8,q,a\n")
    assert read_predictions(path, USERS, QUERIES, LLMS)[0].tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_id": "9"}, r"row 2: user_id '9' is no user"),
        ({"query_id": "train-1"}, r"row 2: query_id 'train-1' is no test query"),
        ({"llm_id": "gpt"}, r"row 2: llm_id 'gpt' is no candidate; known, for instance: a, b"),
        ({"user_id": "8", "query_id": "q"}, r"row 2: a second choice for user '8' and query 'q'"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    rows = [ROWS[0], ROWS[1] | change, *ROWS[2:]]
    with pytest.raises(UsageError, match=message):
        read_predictions(write(tmp_path / "mine.jsonl", rows), USERS, QUERIES, LLMS)


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    broken, text = tmp_path / "broken.parquet", tmp_path / "mine.txt"
    broken.write_bytes(b"PAR1 not really")
    lacking = write(tmp_path / "lacking.csv", [{"user_id": "8", "query": "p", "llm_id": "a"}])
    for path, message in (
        (broken, "cannot read the prediction file"),
        (text, "unknown kind of prediction file"),
        (tmp_path / "absent.csv", "cannot read the prediction file"),
        (tmp_path / "half\udcff.parquet", "cannot read the prediction file"),
        (lacking, "no column 'query_id'"),
    ):
        with pytest.raises(UsageError, match=message):
            read_predictions(path, USERS, QUERIES, LLMS)


# What is no text


def strings(raw: bytes) -> pa.Array:
    """Return one Arrow string of these bytes, which need not be UTF-8."""
    offsets = pa.py_buffer(np.asarray([0, len(raw)], np.int32).tobytes())
    return pa.StringArray.from_buffers(1, offsets, pa.py_buffer(raw))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([["a"]]), "list"),
        (pa.array([{"id": "a"}]), "struct"),
        (pa.array([b"\xff"]), "binary"),
        (strings(b"\xff"), "string"),
    ],
)
@pytest.mark.parametrize("name", ["user_id", "llm_id"])
def test_a_parquet_column_that_is_no_text_is_named(
    tmp_path: Path, name: str, column: pa.Array, kind: str
) -> None:
    table = {"user_id": ["8"], "query_id": ["q"], "llm_id": ["a"]} | {name: column}
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(UsageError, match=rf"mine\.parquet, column '{name}' \({kind}"):
        read_predictions(path, USERS, QUERIES, LLMS)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.csv", b"user_id,query_id,llm_id\n8,q,\xff\n", r"a\.csv: .*invalid UTF8"),
        ("a.csv", b"user_id,query_id,llm_id,\xff\n8,q,a,b\n", r"cannot read .*a\.csv"),
        ("a.csv", b"user_id,query_id,llm_id,llm_id\n8,q,a,b\n", r"a\.csv has 2 columns 'llm_id'"),
        ("a.jsonl", b'{"user_id":"\xff","query_id":"q","llm_id":"a"}\n', r"a\.jsonl.*not UTF-8"),
        (
            "a.jsonl",
            b'{"user_id":["8"],"query_id":"q","llm_id":"a"}\n',
            r"line 1: user_id is \['8'\]; give text",
        ),
        (
            "a.jsonl",
            b'{"user_id":"\\ud800","query_id":"q","llm_id":"a"}\n',
            r"line 1: user_id is .*ud800",
        ),
    ],
)
def test_text_that_is_none_is_named(tmp_path: Path, file: str, text: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(text)
    with pytest.raises(UsageError, match=message):
        read_predictions(tmp_path / file, USERS, QUERIES, LLMS)
