"""Kappa over sets: by hand, against scikit-learn where there are no ties, and by clusters."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.judging.agreement import (
    audit,
    kappa,
    overlap,
    percent,
    ratio_interval,
    set_codes,
)


def sets(*names: str, of: str = "abcd") -> np.ndarray:
    """'ab' is the tie of a and b, '' no choice; [len(names), M]."""
    return np.array([[letter in name for letter in of] for name in names], dtype=bool)


def askings(*items: tuple[str, ...]) -> np.ndarray:
    return np.stack([sets(*item) for item in items])  # [n, R, M]


def test_overlap_by_hand() -> None:
    first = sets("a", "a", "ab", "ab", "a", "", "")
    second = sets("a", "b", "ab", "bc", "abcd", "a", "")
    expected = [1.0, 0.0, 1.0, 1 / 3, 1 / 4, np.nan, np.nan]
    np.testing.assert_allclose(overlap(first, second), expected)


def test_cohen_by_hand() -> None:
    # Both say a 20 times, both b 15 times; 5 times a then b, 10 times b then a.
    items = askings(*[("a", "a")] * 20, *[("b", "b")] * 15, *[("a", "b")] * 5, *[("b", "a")] * 10)
    result = kappa(items)
    assert (result.method, result.items) == ("Cohen", 50)
    assert result.observed == pytest.approx(35 / 50)
    assert result.expected == pytest.approx(25 / 50 * 30 / 50 + 25 / 50 * 20 / 50)
    assert result.kappa == pytest.approx((0.7 - 0.5) / 0.5)
    assert result.low is not None and result.high is not None
    assert result.low < 0.4 < result.high


def test_fleiss_by_hand() -> None:
    result = kappa(askings(("a", "a", "a"), ("a", "b", "b")))
    assert (result.method, result.items) == ("Fleiss", 2)
    assert result.observed == pytest.approx((1 + 1 / 3) / 2)
    assert result.expected == pytest.approx((4 / 6) ** 2 + (2 / 6) ** 2)
    assert result.kappa == pytest.approx(1 / 4)


def test_ties_count_by_their_overlap() -> None:
    result = kappa(askings(("a", "ab"), ("b", "b")))
    assert result.observed == pytest.approx((1 / 2 + 1) / 2)
    # a or b, each half the time, against ab or b: overlaps ½, 0, ½ and 1.
    assert result.expected == pytest.approx((1 / 2 + 0 + 1 / 2 + 1) / 4)
    assert result.kappa == pytest.approx(1 / 2)
    same = kappa(askings(("ab", "ab"), ("c", "c")))
    assert (same.observed, same.kappa) == (1.0, pytest.approx(1.0))


def test_an_asking_without_a_choice_is_left_out() -> None:
    whole = kappa(askings(("a", "a"), ("b", "c"), ("b", "b")))
    with_gaps = kappa(askings(("a", "a"), ("", "c"), ("b", "c"), ("a", ""), ("b", "b"), ("", "")))
    assert with_gaps == whole
    three = kappa(askings(("a", "a", ""), ("b", "", "c"), ("", "", "d")))
    assert (three.method, three.items, three.observed) == ("Fleiss", 2, 0.5)


def test_nothing_to_compare_is_no_agreement_and_no_nan() -> None:
    nothing = kappa(askings(("a", ""), ("", "b")))
    assert nothing.items == 0 and nothing.kappa is None and nothing.observed is None
    assert nothing.sentence("askings") == "not measured: no askings to compare"
    alike = kappa(askings(("a", "a"), ("a", "a")))
    assert alike.observed == 1.0 and alike.kappa is None and alike.low is None
    assert "undefined, since all choices are the same" in alike.sentence("askings")
    json.dumps([asdict(nothing), asdict(alike)], allow_nan=False)


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30))
def test_without_ties_it_is_the_kappa_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    first, second = np.array(pairs).T
    if len({*first.tolist(), *second.tolist()}) == 1:
        return  # undefined, as tested above
    eye = np.eye(4, dtype=bool)
    result = kappa(np.stack([eye[first], eye[second]], axis=1), draws=2)
    assert result.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_independent_choices_have_no_kappa_and_equal_ones_the_whole() -> None:
    rng = np.random.default_rng(0)
    eye = np.eye(5, dtype=bool)
    first, second = eye[rng.integers(0, 5, (2, 400))]
    chance = kappa(np.stack([first, second], axis=1))
    assert chance.low is not None and chance.high is not None
    assert chance.low < 0 < chance.high and chance.high - chance.low < 0.2
    same = kappa(np.stack([first, first], axis=1))
    assert (same.kappa, same.low, same.high) == (1.0, 1.0, 1.0)


def test_copies_of_an_item_do_not_make_the_interval_narrower() -> None:
    items = askings(*[("a", "a"), ("a", "b"), ("b", "b"), ("c", "c"), ("c", "a"), ("b", "b")] * 3)
    once = kappa(items)
    copies = kappa(np.repeat(items, 7, axis=0), np.repeat(np.arange(len(items)), 7))
    assert copies.items == 7 * once.items
    for name in ("observed", "expected", "kappa", "low", "high"):
        assert getattr(copies, name) == pytest.approx(getattr(once, name)), name
    taken_as_new = kappa(np.repeat(items, 7, axis=0))
    assert taken_as_new.high - taken_as_new.low < 0.6 * (once.high - once.low)  # type: ignore[operator]


def test_one_cluster_gives_no_interval() -> None:
    result = kappa(askings(("a", "a"), ("b", "c")), np.array([3, 3]))
    assert result.kappa is not None and result.low is None and result.high is None
    assert result.sentence("pairs").endswith(f"{result.kappa:.2f}")


def test_ratio_interval() -> None:
    total, count = np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4)
    low, high = ratio_interval(total, count, np.arange(4))
    assert (low, high) == (0.0, 1.0)
    assert ratio_interval(total, count, np.zeros(4, dtype=int)) == (None, None)
    # Within each query the ratio is ½, so there is nothing to be unsure of.
    assert ratio_interval(total, count, np.array([0, 1, 0, 1])) == (0.5, 0.5)


@given(st.integers(1, 140), st.integers(0, 2**32 - 1))
def test_sets_are_numbered_one_to_one(llms: int, seed: int) -> None:
    choices = np.random.default_rng(seed).random((30, llms)) < 0.3
    choices[:, 0] = True
    code, distinct = set_codes(choices)
    np.testing.assert_array_equal(distinct[code], choices)
    assert len(distinct) == len({row.tobytes() for row in choices})


def test_audit_by_hand() -> None:
    weighed = np.stack([sets("a", "b"), sets("b", "b"), sets("c", "ab")])  # [P = 3, Q = 2, M]
    direct = np.stack([sets("a", ""), sets("a", "b"), sets("", "")])
    result = audit(direct, weighed)
    assert result.agreement.items == 3
    assert result.agreement.observed == pytest.approx((1 + 0 + 1) / 3)
    # Query 1: 'a' of persona 1 against b, c of the others; of persona 2 against a, c.
    # Query 2: 'b' of persona 2 against b, ab.
    assert result.other_persona == pytest.approx((0 + 0 + 1 + 0 + 1 + 1 / 2) / 6)
    assert "with the weights of another persona 41.7 % agree" in result.sentence()
    nobody = audit(np.zeros_like(weighed), weighed)
    assert nobody.other_persona is None and nobody.agreement.items == 0
    assert "not measured" in nobody.sentence()


def test_percent() -> None:
    assert percent(0.1234) == "12.3 %" and percent(None) == "unknown"
