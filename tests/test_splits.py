from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.splits import fold_queries, normalise_text, split_queries


def split(tasks: dict[str, list[str]], seed: int = 0) -> dict[tuple[str, str], str]:
    rows = [
        (task, f"{task}-{i}", text) for task, texts in tasks.items() for i, text in enumerate(texts)
    ]
    names = split_queries([r[1] for r in rows], [r[0] for r in rows], [r[2] for r in rows], seed)
    return {(row[0], row[1]): name for row, name in zip(rows, names, strict=True)}


def test_sixty_queries_a_task_are_42_6_12_in_each_task() -> None:
    placed = split({task: [f"{task} {i}" for i in range(60)] for task in "abcd"})
    for task in "abcd":
        counts = Counter(name for (of, _), name in placed.items() if of == task)
        assert counts == {"train": 42, "validation": 6, "test": 12}


@given(
    st.lists(st.sampled_from(["A b", "a  B", "c", "d", "e", "f", "g", "h"]), min_size=40),
    st.integers(0, 99),
)
def test_equal_text_is_never_on_two_sides(texts: list[str], seed: int) -> None:
    try:
        placed = split({"one": texts[::2], "two": texts[1::2]}, seed)
    except UsageError:
        assert len({normalise_text(text) for text in texts}) < 3
        return
    sides: dict[str, set[str]] = {}
    for (task, query), name in placed.items():
        text = {"one": texts[::2], "two": texts[1::2]}[task][int(query.split("-")[1])]
        sides.setdefault(normalise_text(text), set()).add(name)
    assert all(len(names) == 1 for names in sides.values())


def test_another_seed_splits_otherwise_and_the_same_seed_the_same() -> None:
    tasks = {"a": [f"text {i}" for i in range(100)]}
    assert split(tasks, 1) == split(tasks, 1) != split(tasks, 2)


def test_ten_queries_in_four_tasks_still_fill_three_splits() -> None:
    placed = split({"a": ["1", "2", "3"], "b": ["4", "5", "6"], "c": ["7", "8"], "d": ["9", "10"]})
    assert Counter(placed.values()) == {"train": 7, "validation": 1, "test": 2}


@pytest.mark.parametrize("count", range(3, 12))
def test_a_few_queries_still_fill_three_splits(count: int) -> None:
    placed = split({"a": [str(n) for n in range(count)]})
    assert set(placed.values()) == {"train", "validation", "test"}


def test_too_few_queries_say_so() -> None:
    with pytest.raises(UsageError, match=r"3 queries \(2 different texts\).*--queries-per-task"):
        split({"a": ["x", "X ", "y"]})


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1), st.integers(2, 6))
def test_folds_part_the_queries_and_keep_equal_texts_together(texts: list[str], folds: int) -> None:
    tasks = ["one" if text < "i" else "two" for text in texts]
    tested: list[int] = []
    for fold in range(folds):
        names = fold_queries(tasks, texts, fold, folds)
        tested += [i for i, name in enumerate(names) if name == "test"]
        for text in set(texts):
            assert len({name for name, of in zip(names, texts, strict=True) if of == text}) == 1
    assert sorted(tested) == list(range(len(texts)))
