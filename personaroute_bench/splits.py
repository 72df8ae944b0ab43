"""Which queries are for training, validation and test: 70/20/10 by query within each task.

The same queries for all users, as in the paper. Queries whose text is the same but for case and
white space stay on one side, so that no test text is met in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import hash_uniform, text_digest
from personaroute_bench.schemas import SPLITS

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1


def normalise_text(text: str) -> str:
    """Return text with case folded and white space runs made one space."""
    return " ".join(text.casefold().split())


def split_queries(
    query_ids: Sequence[str], task_ids: Sequence[str], texts: Sequence[str], seed: int
) -> list[str]:
    """Assign each query to train, validation or test.

    Within a task the groups of equal text are ordered by a seeded hash of the text; test takes
    the first groups up to its share, then validation, then train. A group goes to the task in
    which its text comes first, so that a text that two tasks share stays on one side too.

    Args:
        query_ids: [Q], for the message only.
        task_ids: [Q].
        texts: [Q] what the user asks.
        seed: the data set's seed.

    Returns:
        [Q] names of splits.

    Raises:
        UsageError: too few different queries to fill three splits.
    """
    groups, by_task = _grouped(task_ids, texts)
    split = _place(list(by_task.values()), groups, len(texts), seed)
    if missing_splits(split):
        # Tasks of a handful of queries each: share out all of them together instead.
        split = _share_out(groups, len(texts), seed)
    if missing := missing_splits(split):
        raise UsageError(
            f"{len(query_ids)} queries ({len(groups)} different texts) are too few for a "
            f"{' and a '.join(missing)} split; give at least 3 different queries "
            "(see --queries-per-task and --limit)"
        )
    return split


def fold_queries(task_ids: Sequence[str], texts: Sequence[str], fold: int, folds: int) -> list[str]:
    """Assign each query to a split so that every query is for test in exactly one of the folds.

    Within a task the groups of equal text stand in a circle, ordered by a hash of the text. The
    fold's part of it is for test, what follows up to the validation share for validation, the rest
    for training.

    Args:
        task_ids: [Q].
        texts: [Q] what the user asks.
        fold: which, below `folds`.
        folds: into how many parts each task's queries go.

    Returns:
        [Q] names of splits.
    """
    groups, by_task = _grouped(task_ids, texts)
    split = ["train"] * len(texts)
    for pool in by_task.values():
        total, placed = sum(len(groups[key]) for key in pool), 0
        places: list[tuple[int, str]] = []
        for key in sorted(pool, key=lambda key: hash_uniform(0, "fold", key)):
            places.append((placed * folds // total, key))
            placed += len(groups[key])
        tested = [key for place, key in places if place == fold]
        after = [key for place, key in places if place > fold]
        before = [key for place, key in places if place < fold]
        checked, share = [], round(total * VALIDATION_SHARE)
        for key in after + before:
            if share > 0:
                checked.append(key)
                share -= len(groups[key])
        for name, keys in (("test", tested), ("validation", checked)):
            for index in (index for key in keys for index in groups[key]):
                split[index] = name
    return split


def _grouped(
    task_ids: Sequence[str], texts: Sequence[str]
) -> tuple[dict[str, list[int]], dict[str, list[str]]]:
    """Return queries by text, and texts by the task in which they come first."""
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault(text_digest(normalise_text(text)), []).append(index)
    by_task: dict[str, list[str]] = {}
    for key, members in groups.items():
        by_task.setdefault(task_ids[members[0]], []).append(key)
    return groups, by_task


def missing_splits(split: Sequence[str]) -> list[str]:
    """Return the names of the splits that got no query."""
    return [name for name in SPLITS if name not in split]


def _place(
    pools: Sequence[list[str]], groups: Mapping[str, Sequence[int]], count: int, seed: int
) -> list[str]:
    split = [""] * count
    for pool in pools:
        total = sum(len(groups[key]) for key in pool)
        test, validation = round(total * TEST_SHARE), round(total * VALIDATION_SHARE)
        placed = 0
        for key in sorted(pool, key=lambda key: hash_uniform(seed, "split", key)):
            name = "test" if placed < test else "train"
            if test <= placed < test + validation:
                name = "validation"
            for index in groups[key]:
                split[index] = name
            placed += len(groups[key])
    return split


def _share_out(groups: Mapping[str, Sequence[int]], count: int, seed: int) -> list[str]:
    """Give each split one group, then each further group to the split that lacks most."""
    lacks = {
        "test": TEST_SHARE * count,
        "validation": VALIDATION_SHARE * count,
        "train": (1 - TEST_SHARE - VALIDATION_SHARE) * count,
    }
    split = [""] * count
    order = sorted(groups, key=lambda key: hash_uniform(seed, "split", key))
    for number, key in enumerate(order):
        name = list(lacks)[number] if number < len(lacks) else max(lacks, key=lambda n: lacks[n])
        lacks[name] -= len(groups[key])
        for index in groups[key]:
            split[index] = name
    return split
