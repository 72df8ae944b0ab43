from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.interchange.preferences_file import read_preferences

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
THREE = {"candidates": ["x", "y", "z"], "responses": ["1", "2", "3"]}


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({}, [("org/a", "org/b", -1)]),
        ({"chosen": "org/a"}, [("org/a", "org/b", 1)]),
        ({"chosen": None, "outcome": "tie"}, [("org/a", "org/b", 0)]),
        # Ratings compare every pair, those of equal rating as ties.
        (
            THREE | {"chosen": "z", "ratings": [2.0, 2.0, 3.5]},
            [("x", "y", 0), ("x", "z", -1), ("y", "z", -1)],
        ),
        (
            THREE | {"chosen": None, "outcome": "tie", "ratings": [5.0, 1.0, 5.0]},
            [("x", "y", 1), ("x", "z", 0), ("y", "z", -1)],
        ),
        # Without ratings nothing is known of those that were not chosen.
        (THREE | {"chosen": "y"}, [("x", "y", -1), ("y", "z", 1)]),
        (THREE | {"chosen": None, "outcome": "tie"}, []),
    ],
)
def test_pairs(row: Row, write: Write, changes: dict[str, Any], pairs: list[Any]) -> None:
    [found] = read_preferences(write([row(**changes)]))
    assert list(found.pairs()) == pairs


def test_jsonl_and_parquet_say_the_same(people: list[Any], write: Write) -> None:
    assert read_preferences(write(people)) == read_preferences(write(people, "p.jsonl"))


def test_data_sets(people: list[Any], row: Row, write: Write) -> None:
    broken_elsewhere = [*people, row(dataset="other", outcome="?")]
    [story] = read_preferences(write(broken_elsewhere), ["stories"])
    assert (story.row, story.licence, story.responses) == (41, "CC0", ("once", "upon", ""))
    with pytest.raises(UsageError, match="no data set 'storys'; did you mean 'stories'"):
        read_preferences(write(people), ["storys"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_id": None}, "user_id is None; give a text"),
        ({"query": "  "}, "query is '  '"),
        ({"candidates": ["org/a"], "responses": ["x"]}, "no comparison"),
        ({"candidates": ["org/a", "org/a"]}, "no comparison"),
        ({"candidates": ["org/b", ""]}, "candidates holds ''"),
        ({"candidates": None}, "candidates is None; give a list"),
        ({"responses": ["one"]}, "1 responses to 2 candidates"),
        ({"responses": ["one", None]}, "responses holds None"),
        ({"outcome": "draw"}, "outcome is 'draw'; give 'chosen' or 'tie'"),
        ({"outcome": "tie"}, "outcome is 'tie', but chosen is 'org/b'; leave chosen null"),
        ({"chosen": None}, "chosen is None, which is none of the candidates"),
        ({"chosen": "org/x"}, "chosen is 'org/x', which is none of the candidates"),
        ({"chosen_index": 1}, "chosen_index is 1, but chosen is number 0"),
        ({"ratings": [1.0]}, r"ratings are \[1.0\]; give one number a candidate"),
        ({"ratings": [1.0, float("nan")]}, "ratings hold nan"),
        ({"ratings": [1.0, 2.0]}, r"chosen is 'org/b', but \['org/a'\] have the highest"),
        ({"ratings": [2.0, 2.0]}, "'org/a'] have the highest rating"),
    ],
)
def test_the_first_wrong_row_is_named(
    row: Row, write: Write, changes: dict[str, Any], message: str
) -> None:
    path = write([row(), row(**changes)])
    with pytest.raises(UsageError, match=message) as caught:
        read_preferences(path)
    assert f"{path}, row 2: " in str(caught.value)


def test_a_long_value_is_shortened(row: Row, write: Write) -> None:
    with pytest.raises(UsageError) as caught:
        read_preferences(write([row(outcome="x" * 10_000)]))
    assert len(str(caught.value)) < 400


def test_wrong_files(tmp_path: Path, row: Row, write: Write) -> None:
    with pytest.raises(UsageError, match="no file"):
        read_preferences(tmp_path / "absent.parquet")
    (tmp_path / "p.csv").write_text("dataset\n")
    with pytest.raises(UsageError, match=r"cannot read '.csv'; give .parquet or .jsonl"):
        read_preferences(tmp_path / "p.csv")
    for name, words in (
        ("broken.parquet", "broken.parquet cannot be read as"),
        ("broken.jsonl", "broken.jsonl, line 1: not valid JSON"),
    ):
        (tmp_path / name).write_text("{not")
        with pytest.raises(UsageError, match=words):
            read_preferences(tmp_path / name)
    least = {name: value for name, value in row().items() if name != "outcome"}
    with pytest.raises(UsageError, match="no column 'outcome'"):
        read_preferences(write([least]))
