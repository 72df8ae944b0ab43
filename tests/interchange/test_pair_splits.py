from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.interchange.pair_splits import deal, split_by_person, split_by_query


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([7], ["train"]),
        ([1, 1], ["test", "train"]),
        ([9, 1], ["test", "train"]),
        ([1, 1, 1], ["test", "train", "train"]),
        ([1] * 5, ["test", "validation", "train", "train", "train"]),
        ([1] * 10, ["test"] * 2 + ["validation"] + ["train"] * 7),
        ([26] * 13, ["test"] * 3 + ["validation"] + ["train"] * 9),
        ([1] * 100, ["test"] * 20 + ["validation"] * 10 + ["train"] * 70),
    ],
)
def test_deal(sizes: list[int], expected: list[str]) -> None:
    assert deal(sizes) == expected


ROWS = st.lists(
    st.tuples(st.sampled_from("uvwxyz"), st.sampled_from(["A?", "a?", " B", "b", "C", "D", "E"])),
    min_size=1,
    max_size=60,
)


@given(ROWS, st.integers(0, 9))
def test_a_query_stays_on_one_side_and_nobody_depends_on_others(
    rows: list[tuple[str, str]], seed: int
) -> None:
    users, queries = [list(column) for column in zip(*rows, strict=True)]
    split = split_by_query(users, queries, seed)
    sides = defaultdict(set)
    for (user, query), name in zip(rows, split, strict=True):
        sides[user, query.strip().casefold()].add(name)
    assert all(len(names) == 1 for names in sides.values())
    for user in set(users):
        mine = [i for i, other in enumerate(users) if other == user]
        alone = split_by_query([user] * len(mine), [queries[i] for i in mine], seed)
        assert alone == [split[i] for i in mine]
        groups = [names for (other, _), names in sides.items() if other == user]
        met = set.union(*groups)
        assert met == {"train"} if len(groups) == 1 else {"train", "test"} <= met


@given(ROWS, st.integers(0, 9))
def test_people_stay_on_one_side(rows: list[tuple[str, str]], seed: int) -> None:
    users = [user for user, _ in rows]
    split = split_by_person(users, ["d"] * len(users), seed)
    side = dict(zip(users, split, strict=True))
    assert [side[user] for user in users] == split
    assert sorted(side.values()) == sorted(deal([1] * len(side)))


def test_people_split_within_each_data_set() -> None:
    users = [f"{name}{i}" for name in "ab" for i in range(10)]
    split = split_by_person(users, ["a"] * 10 + ["b"] * 10, 0)
    assert [split[:10].count(name) for name in ("test", "validation")] == [2, 1]
    assert [split[10:].count(name) for name in ("test", "validation")] == [2, 1]


def test_the_seed_decides() -> None:
    users, queries = ["u"] * 20, [f"q{i}" for i in range(20)]
    assert len({tuple(split_by_query(users, queries, seed)) for seed in range(5)}) == 5
    # Not the same queries for everybody, or nobody could learn what others think of them.
    other = split_by_query(["v"] * 20, queries, 0)
    assert other != split_by_query(users, queries, 0)
