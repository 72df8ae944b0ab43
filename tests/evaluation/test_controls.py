from __future__ import annotations

import numpy as np
import pytest

from personaroute_bench.evaluation.controls import control_choices, headroom
from personaroute_bench.evaluation.metrics import Outcomes

NAN = np.nan
LLMS = np.asarray(["a", "b", "c"])


def outcomes(reward: list[list[list[float]]], cost: list[list[float]]) -> Outcomes:
    values = np.asarray(reward, np.float32)
    chosen = values == np.fmax.reduce(values, axis=-1, keepdims=True)
    return Outcomes.of(values, chosen, values[0], np.asarray(cost))


def test_oracles_by_hand() -> None:
    made = outcomes([[[0.9, 0.5, 0.0]], [[0.0, 0.5, 0.6]]], [[1.0, 1.0, 1.0]])
    assert control_choices("oracle", made, LLMS).tolist() == [[0], [2]]
    assert control_choices("user-blind-oracle", made, LLMS).tolist() == [[1], [1]]
    gap = headroom(made, LLMS)
    assert gap["oracle"] == pytest.approx(0.75)
    assert gap["user_blind_oracle"] == pytest.approx(0.5)
    chance = (1.4 / 3 + 1.1 / 3) / 2
    assert gap["random"] == pytest.approx(chance)
    assert gap["share"] == pytest.approx(0.25 / (0.75 - chance))


def test_ties_go_to_the_cheapest_then_to_the_first_id() -> None:
    made = outcomes([[[1, 1, 1], [1, 1, 1], [1, 1, 0]]], [[3, 2, 1], [2, 2, 2], [NAN, 5, 1]])
    assert control_choices("oracle", made, LLMS).tolist() == [[2, 0, 1]]
    assert control_choices("user-blind-oracle", made, LLMS).tolist() == [[2, 0, 1]]
    swapped = control_choices("oracle", made, np.asarray(["z", "b", "c"]))
    assert swapped.tolist() == [[2, 1, 1]]


def test_neither_picks_a_failed_response_nor_anything_where_all_failed() -> None:
    made = outcomes([[[-0.5, NAN, -0.2], [NAN, NAN, NAN]]], [[1, 1, 1], [1, 1, 1]])
    for name in ("oracle", "user-blind-oracle"):
        assert control_choices(name, made, LLMS).tolist() == [[2, -1]]


def test_no_range_no_share() -> None:
    made = outcomes([[[0.5, 0.5, 0.5]]], [[1, 1, 1]])
    assert headroom(made, LLMS)["share"] is None
