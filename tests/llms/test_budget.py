"""The cap holds at every moment of every schedule, and the account is exact."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.budget import Budget


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_cap_is_finite_and_above_zero(bad: float) -> None:
    with pytest.raises(UsageError, match=rf"--max-cost {bad}"):
        Budget(bad)


def test_a_call_in_all_its_ways() -> None:
    budget = Budget(10.0, spent=3.0, unknown_upper_bound=1.0)
    assert budget.left == 6.0
    assert budget.reserve(4.0)
    assert not budget.reserve(2.5)
    assert (budget.reserved, budget.outstanding) == (4.0, 1)
    assert budget.reserve(2.0)
    budget.settle(4.0, 0.5)
    assert (budget.spent, budget.reserved, budget.left) == (3.5, 2.0, 3.5)
    budget.settle(2.0, None)
    assert (budget.spent, budget.unknown, budget.outstanding) == (3.5, 3.0, 0)
    assert budget.reserve(3.5)
    assert budget.left == 0.0


def test_without_a_cap_all_fits_and_all_is_counted() -> None:
    budget = Budget(None)
    assert budget.reserve(1e6)
    assert budget.reserve(None)
    budget.settle(1e6, 2.0)
    budget.settle(None, None)
    assert (budget.spent, budget.unknown, budget.left) == (2.0, 0.0, None)


def test_an_unknown_price_never_fits_under_a_cap() -> None:
    assert not Budget(1.0).reserve(None)


def test_ten_dimes_are_a_dollar() -> None:
    budget = Budget(1.0)
    for _ in range(10):
        assert budget.reserve(0.1)
        budget.settle(0.1, 0.1)
    assert budget.spent == 1.0
    assert not budget.reserve(1e-12)


amounts = st.floats(0.0, 3.0)
shares = st.none() | st.floats(0.0, 1.0)


@given(st.floats(0.01, 10.0), amounts, amounts, st.lists(st.tuples(amounts, shares, st.booleans())))
def test_never_above_the_cap(
    cap: float, spent: float, unknown: float, steps: list[tuple[float, float | None, bool]]
) -> None:
    budget = Budget(cap, spent=spent, unknown_upper_bound=unknown)
    start = budget.spent + budget.unknown
    open_calls: list[tuple[float, float | None]] = []
    for bound, share, settle_first in steps:
        if settle_first and open_calls:
            reserved, part = open_calls.pop(0)
            budget.settle(reserved, None if part is None else reserved * part)
        if budget.reserve(bound):
            open_calls.append((bound, share))
        committed = budget.spent + budget.unknown + budget.reserved
        assert committed <= max(cap, start) + 1e-9
        assert budget.outstanding == len(open_calls)
    for reserved, part in open_calls:
        budget.settle(reserved, None if part is None else reserved * part)
    assert budget.reserved == 0.0
