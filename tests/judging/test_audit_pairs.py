from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.judging.audit_pairs import audit_pairs

QUERIES = [f"q{i}" for i in range(10)]


def people(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def test_more_users_leave_the_audit_as_it_was() -> None:
    few, many = (audit_pairs(people(n), QUERIES, 18, seed=3) for n in (5, 300))
    assert few == many
    assert [person for person, _ in few] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 2
    # a larger audit holds the smaller one
    assert set(few) < set(audit_pairs(people(300), QUERIES, 30, seed=3))
    assert few != audit_pairs(people(5), QUERIES, 18, seed=4)


def test_who_shares_a_persona_is_asked_about_once() -> None:
    pairs = audit_pairs(["a", "a", "b", "a", "b"], QUERIES, 20, seed=0)
    assert {person for person, _ in pairs} == {0, 2}
    assert len(pairs) == 20


@given(st.integers(1, 7), st.integers(1, 10), st.integers(0, 80))
def test_as_many_different_pairs_as_asked_for(users: int, queries: int, count: int) -> None:
    pairs = audit_pairs(people(users), QUERIES[:queries], count, seed=0)
    assert len(set(pairs)) == len(pairs) == min(count, users * queries)
