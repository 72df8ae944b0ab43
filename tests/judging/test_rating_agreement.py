from __future__ import annotations

import numpy as np
import pytest

from personaroute_bench.judging.rating_agreement import rating_agreement

RNG = np.random.default_rng(0)


def test_correlation_by_hand() -> None:
    one = np.asarray([[[0.0], [1.0], [0.5]], [[0.0], [1.0], [np.nan]]], np.float32)
    other = np.asarray([[[0.0], [1.0], [np.nan]], [[1.0], [0.5], [0.5]]], np.float32)
    # pairs (0, 0), (1, 1), (0, 1), (1, 1/2): covariance 1/16, variances 1/4 and 11/64
    (found,) = rating_agreement({"a": one, "b": other}, draws=200)
    assert (found.first, found.second, found.ratings) == ("a", "b", 4)
    assert found.correlation == pytest.approx((1 / 16) / np.sqrt(1 / 4 * 11 / 64))
    assert found.low is not None and found.low < 0 < found.correlation
    assert found.sentence().startswith("a and b: ratings within a query correlate by 0.30 [")


def test_judges_who_follow_each_other_and_those_who_do_not() -> None:
    base = RNG.normal(size=(60, 5, 12)).astype(np.float32)
    noise = RNG.normal(size=base.shape).astype(np.float32)
    pairs = rating_agreement({"a": base, "b": base + 0.3 * noise, "c": noise}, draws=100)
    found = {(pair.first, pair.second): pair for pair in pairs}
    assert found["a", "b"].correlation == pytest.approx(1 / np.sqrt(1.09), abs=0.02)
    assert found["a", "b"].low > 0.9
    assert abs(found["a", "c"].correlation) < 0.1


def test_what_cannot_be_compared_is_said() -> None:
    same = np.full((3, 2, 1), 0.5, np.float32)
    blank = np.full((3, 2, 1), np.nan, np.float32)
    for other in (same, blank):
        (pair,) = rating_agreement({"a": same, "b": other}, draws=50)
        assert pair.correlation is None and pair.low is None
        assert "not measured" in pair.sentence()
    assert rating_agreement({"a": same}) == ()
