from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from personaroute_bench.evaluation.choices import (
    choices_digest,
    choices_file,
    read_answers,
    write_choices,
)

LLMS = np.asarray(["a", "b", "c"])


@pytest.mark.parametrize(
    "answers",
    [
        ["b", "a", "c"],
        np.asarray(["b", "a", "c"]),
        np.asarray(["b", "a", "c"], dtype=object),
        [1, 0, 2],
        [np.int32(1), "a", 2],
        np.asarray([1, 0, 2], dtype=np.uint8),
        iter(["b", "a", "c"]),
        (name for name in ("b", "a", "c")),
    ],
)
def test_ids_and_indices_in_any_sequence(answers: Any) -> None:
    choice, problem = read_answers(answers, 3, LLMS)
    assert choice.tolist() == [1, 0, 2]
    assert problem is None


@pytest.mark.parametrize(
    ("answers", "choice", "problem"),
    [
        (["a", "gpt-9", "c"], [0, -1, 2], "'gpt-9' is no candidate"),
        ([0, 3, -1], [0, -1, -1], "index 3 is outside 0…2"),
        (np.asarray([0, 3, -1]), [0, -1, -1], "index 3 is outside 0…2"),
        ([0, float("nan"), 1], [0, -1, 1], "nan (float) is neither"),
        (np.asarray([0.0, np.nan, 1.0]), [-1, -1, -1], "0.0 (float) is neither"),
        (["a", None, "b"], [0, -1, 1], "None (NoneType) is neither"),
        ([True, "a", "a"], [-1, 0, 0], "True (bool) is neither"),
        ([[0], "a", "a"], [-1, 0, 0], "[0] (list) is neither"),
        ([0, 1], [-1, -1, -1], "2 answers to 3 requests"),
        (np.asarray([0, 1, 2, 0]), [-1, -1, -1], "4 answers to 3 requests"),
        (["a"] * 9, [-1, -1, -1], "more than 3 answers to 3 requests"),
        (np.zeros((3, 3), np.int64), [-1, -1, -1], "an array of shape (3, 3)"),
        (None, [-1, -1, -1], "NoneType instead of a sequence"),
        ("abc", [-1, -1, -1], "str instead of a sequence"),
        ({"a": 1}, [-1, -1, -1], "dict instead of a sequence"),
    ],
)
def test_invalid_answers_are_minus_one_and_named(
    answers: Any, choice: list[int], problem: str
) -> None:
    found, words = read_answers(answers, 3, LLMS)
    assert found.tolist() == choice
    assert words is not None
    assert problem in words


def test_an_endless_answer_ends() -> None:
    import itertools

    found, words = read_answers(itertools.repeat("a"), 3, LLMS)
    assert found.tolist() == [-1, -1, -1]
    assert words == "more than 3 answers to 3 requests"


def test_the_digest_can_be_recomputed_from_the_file(tmp_path: Path) -> None:
    choice = np.asarray([[0, 2], [-1, 1]])
    users, queries = np.asarray(["u", "ü"]), np.asarray(["p", "q"])
    write_choices(tmp_path / "x.parquet", choice, users, queries, LLMS)
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert rows[0] == {"user_id": "u", "query_id": "p", "llm_id": "a"}
    assert [row["llm_id"] for row in rows] == ["a", "c", None, "b"]
    text = "".join(f"{r['user_id']}\x1f{r['query_id']}\x1f{r['llm_id'] or ''}\x1e" for r in rows)
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert choices_digest(choice, users, queries, LLMS) == expected


def test_file_names_are_safe() -> None:
    assert choices_file("best-single") == "best-single.parquet"
    assert choices_file("my_router:MyRouter", 2) == "my_router:MyRouter-seed2.parquet"
    assert choices_file("../../etc/x y") == "-..-etc-x-y.parquet"
    assert choices_file("...") == "router.parquet"
