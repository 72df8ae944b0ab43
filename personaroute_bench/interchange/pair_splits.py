"""Which recorded comparisons are for training, validation and test: by query, or by person.

Shares are those of `personaroute_bench.splits`: 20 % test, 10 % validation, the rest training.
A group of comparisons (all that a person said of one query, or all that a person said) stays on
one side, so shares are met as nearly as whole groups allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from personaroute_bench.hashing import hash_uniform, text_digest
from personaroute_bench.splits import TEST_SHARE, VALIDATION_SHARE, normalise_text


def split_by_query(user_ids: Sequence[str], queries: Sequence[str], seed: int) -> list[str]:
    """Split each person's comparisons by query: known people, queries new *to them*.

    Each person's queries are ordered by a hash of (seed, person, text), so nobody's split
    depends on who else is there. Other people may have judged the same query in training.
    A person with one query is for training only; two queries are one for training and one for
    test; from three on there may be validation too.

    Args:
        user_ids: [n] who compared.
        queries: [n] the query's text; equal but for case and white space is the same query.
        seed: of the data set.

    Returns:
        [n] names of splits.
    """
    texts = {text: text_digest(normalise_text(text)) for text in set(queries)}
    of_user: dict[str, dict[str, list[int]]] = {}
    for i, (user, text) in enumerate(zip(user_ids, queries, strict=True)):
        of_user.setdefault(user, {}).setdefault(texts[text], []).append(i)
    split = [""] * len(user_ids)
    for user, groups in of_user.items():
        order = sorted(groups, key=lambda key: hash_uniform(seed, "pairs/query", user + key))
        names = deal([len(groups[key]) for key in order])
        for key, name in zip(order, names, strict=True):
            _put(split, groups[key], name)
    return split


def split_by_person(user_ids: Sequence[str], datasets: Sequence[str], seed: int) -> list[str]:
    """Split the people of each data set: those of test are new, whatever they were asked.

    People count alike, however much they compared; a data set with one person is for training.

    Args:
        user_ids: [n] who compared.
        datasets: [n] where; each person in one.
        seed: of the data set.

    Returns:
        [n] names of splits.
    """
    people: dict[str, dict[str, list[int]]] = {}
    for i, (user, dataset) in enumerate(zip(user_ids, datasets, strict=True)):
        people.setdefault(dataset, {}).setdefault(user, []).append(i)
    split = [""] * len(user_ids)
    for groups in people.values():
        order = sorted(groups, key=lambda user: hash_uniform(seed, "pairs/person", user))
        for user, name in zip(order, deal([1] * len(order)), strict=True):
            _put(split, groups[user], name)
    return split


def deal(sizes: Sequence[int]) -> list[str]:
    """Name the split of each group, given their sizes in order.

    A group belongs where its middle row falls. The first of two groups or more is for test where
    no other is, and the last one is always for training.
    """
    total, placed, names = sum(sizes), 0, []
    for size in sizes:
        middle = (placed + size / 2) / total
        names.append(
            "test"
            if middle <= TEST_SHARE
            else "validation"
            if middle <= TEST_SHARE + VALIDATION_SHARE
            else "train"
        )
        placed += size
    if "test" not in names and len(names) > 1:
        names[0] = "test"
    return names


def _put(split: list[str], places: Iterable[int], name: str) -> None:
    for place in places:
        split[place] = name
