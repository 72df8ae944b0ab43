from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.cost_quality import (
    aiq,
    apgr,
    cost_save,
    cpt,
    nauc,
    pareto_distance,
    pareto_front,
    pgr,
    qnc,
    upper_hull,
)

COST, QUALITY = [1.0, 2.0, 3.0, 4.0], [0.2, 0.3, 0.8, 0.7]
points = st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1)), min_size=1, max_size=12)


def split(found: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [c for c, _ in found], [q for _, q in found]


def test_front_and_hull_by_hand() -> None:
    assert pareto_front(COST, QUALITY).tolist() == [0, 1, 2]
    c, q = upper_hull(COST, QUALITY)
    assert (c.tolist(), q.tolist()) == ([1.0, 3.0], [0.2, 0.8])  # (2, 0.3) lies below the line
    assert pareto_front([1, 1, 1], [0.5, 0.9, 0.9]).tolist() == [1]


def test_aiq_by_hand() -> None:
    # level at 0.2 from 0, up to 0.8 at 3, level to 4: areas 0.2 + 1.0 + 0.8
    assert aiq(COST, QUALITY, cost_range=(0, 4)) == pytest.approx(2.0 / 4)
    # left of 1 the zero router's line through (0, 0.1) and (2, 0.3): mean 0.15 there
    zero = ([0.0, 2.0], [0.1, 0.3])
    assert aiq(COST, QUALITY, cost_range=(0, 4), zero=zero) == pytest.approx((0.15 + 1.8) / 4)
    # a router dearer than the range is the zero router within it
    assert aiq([9.0], [1.0], cost_range=(0, 2), zero=zero) == pytest.approx(0.2)
    assert aiq([0.0], [0.7], cost_range=(1, 2)) == pytest.approx(0.7)


def test_zero_router_has_its_own_aiq() -> None:
    zero = (COST, QUALITY)
    assert aiq(*zero, cost_range=(1, 4), zero=zero) == aiq(*zero, cost_range=(1, 4))


@given(points)
def test_hull_is_concave_rising_and_above_all(found: list[tuple[float, float]]) -> None:
    cost, quality = split(found)
    c, q = upper_hull(cost, quality)
    assert (np.diff(c) > 0).all()
    assert (np.diff(q) > 0).all()
    for one, level in found:
        assert np.interp(one, c, q) >= level - 1e-9 or one < c[0]
    slopes = np.diff(q) / np.diff(c)
    assert (np.diff(slopes) <= 1e-6 * (1 + np.abs(slopes[1:]))).all()


@given(points, st.floats(0.1, 5))
def test_aiq_lies_between_the_qualities_and_ignores_the_unit_of_money(
    found: list[tuple[float, float]], unit: float
) -> None:
    cost, quality = split(found)
    value = aiq(cost, quality, cost_range=(0, 10))
    assert min(quality) - 1e-9 <= value <= max(quality) + 1e-9
    scaled = [unit * c for c in cost]
    assert aiq(scaled, quality, cost_range=(0, 10 * unit)) == pytest.approx(value, abs=1e-6)


def test_nauc_has_no_made_up_end() -> None:
    assert nauc([1.0, 3.0], [0.2, 0.8], 4.0) == pytest.approx(0.5 * 2 / 4)
    assert nauc([2.0], [0.9], 4.0) == 0.0


def test_pgr_apgr_cpt_by_hand() -> None:
    assert pgr(0.6, 0.4, 0.8) == pytest.approx(0.5)
    assert pgr(0.6, 0.8, 0.8) is None
    # quality 0.4, 0.8, 0.8 at 0, 1/2, 1 of the calls: area 0.3 + 0.4
    assert apgr([0.5], [0.8], 0.4, 0.8) == pytest.approx((0.7 - 0.4) / 0.4)
    assert apgr([0.0, 1.0], [0.4, 0.8], 0.4, 0.8) == pytest.approx(0.5)  # at random
    assert cpt([0, 0.5, 1], [0.4, 0.7, 0.8], 0.4, 0.8, 0.5) == pytest.approx(1 / 3)
    # a dip does not undo what was reached
    assert cpt([0, 0.2, 0.4, 1], [0.4, 0.7, 0.5, 0.8], 0.4, 0.8, 0.6) == pytest.approx(0.2 * 0.8)
    assert cpt([0, 0.2, 0.4, 1], [0.4, 0.6, 0.5, 0.8], 0.4, 0.8, 0.75) == pytest.approx(0.7)
    assert cpt([0, 0.5], [0.4, 0.5], 0.4, 0.8, 0.8) is None
    assert cpt([0.3], [0.9], 0.4, 0.8, 0.2) == 0.3
    with pytest.raises(UsageError, match=r"\[0, 1\]"):
        apgr([2.0], [0.5], 0, 1)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9))
def test_cpt_rises_with_what_is_asked(found: list[tuple[float, float]]) -> None:
    calls, quality = split(found)
    assume(max(quality) > 0.05)
    values = [cpt(calls, quality, 0.0, 1.0, share) for share in (0.2, 0.5, 0.8)]
    known = [value for value in values if value is not None]
    assert known == sorted(known)
    assert values[: len(known)] == known


def test_qnc_and_what_it_saves() -> None:
    assert qnc([1.0, 2.0, 9.0], [0.5, 0.9, 0.95], 4.0, 0.9) == pytest.approx(0.5)
    assert cost_save([1.0, 2.0], [0.5, 0.9], 4.0, 0.9) == pytest.approx(0.5)
    assert math.isinf(qnc([1.0], [0.5], 4.0, 0.9))
    assert cost_save([1.0], [0.5], 4.0, 0.9) is None
    with pytest.raises(UsageError, match="must cost something"):
        qnc([1.0], [0.5], 0.0, 0.1)


def test_pareto_distance_by_hand() -> None:
    front = ([0.0, 4.0], [0.0, 1.0])
    assert pareto_distance([2.0], [0.5], *front) == pytest.approx(0)
    # (4, 0) is (1, 0) when scaled: half a diagonal away from the line of slope 1
    assert pareto_distance([4.0], [0.0], *front) == pytest.approx(math.sqrt(0.5))
    assert pareto_distance([1.0], [0.2], [1.0], [0.7]) == pytest.approx(1.0)


@given(points)
def test_points_of_the_front_have_no_distance(found: list[tuple[float, float]]) -> None:
    cost, quality = (np.asarray(x) for x in split(found))
    front = pareto_front(cost, quality)
    there = cost[front], quality[front]
    assert pareto_distance(*there, *there) == pytest.approx(0, abs=1e-6)


def test_bad_points_are_named() -> None:
    with pytest.raises(UsageError, match="not finite"):
        upper_hull([1.0, math.nan], [0.1, 0.2])
    with pytest.raises(UsageError, match="at least one point"):
        aiq([], [], cost_range=(0, 1))
    with pytest.raises(UsageError, match="two different costs"):
        aiq([1.0], [1.0], cost_range=(1, 1))
