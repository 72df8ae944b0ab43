"""The control in which users are taken for others, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation import shuffle
from personaroute_bench.evaluation.metrics import Outcomes, score
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.shuffle import PERMUTATIONS, shuffled


def outcomes_of(reward: np.ndarray) -> Outcomes:
    chosen = reward == np.fmax.reduce(reward, axis=-1, keepdims=True)
    shape = reward.shape[1:]
    return Outcomes.of(reward.astype(np.float32), chosen, np.zeros(shape), np.zeros(shape))


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 5))
def test_it_is_what_asking_again_as_everybody_else_would_give(
    seed: int, users: int, queries: int
) -> None:
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(users, queries, 3))
    reward[:, rng.random((queries, 3)) < 0.2] = np.nan
    outcomes = outcomes_of(reward)
    choice = rng.integers(-1, 3, (users, queries))
    found = shuffled(outcomes, [choice])
    expected, differs = np.zeros((2, users, queries))
    for u in range(users):
        others = [v for v in range(users) if v != u]
        for v in others:
            asked_as = choice.copy()
            asked_as[u] = choice[v]
            expected[u] += score(outcomes, asked_as).reward[u] / len(others)
            differs[u] += (choice[v] != choice[u]) / len(others)
    scored = outcomes.scored
    np.testing.assert_allclose(found.reward[scored], expected[scored], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.differs[scored], differs[scored])
    assert np.isnan(found.reward[~scored]).all()
    assert found.p_value is not None
    assert 1 / (1 + PERMUTATIONS) <= found.p_value <= 1


def test_who_treats_all_alike_gains_nothing() -> None:
    reward = np.random.default_rng(0).normal(size=(9, 7, 3))
    found = shuffled(outcomes_of(reward), [np.tile(np.arange(7) % 3, (9, 1))])
    assert (found.differs == 0).all()
    assert found.p_value == 1.0


def test_several_seeds_are_averaged_and_one_user_has_nobody_to_be_taken_for() -> None:
    outcomes = outcomes_of(np.random.default_rng(0).normal(size=(4, 3, 2)))
    one, two = (np.random.default_rng(seed).integers(0, 2, (4, 3)) for seed in (1, 2))
    both, first, second = (shuffled(outcomes, c).reward for c in ([one, two], [one], [two]))
    np.testing.assert_allclose(both, (first + second) / 2)
    alone = shuffled(outcomes_of(np.zeros((1, 3, 2))), [np.zeros((1, 3), np.int64)])
    assert alone.p_value is None
    assert np.isnan(alone.differs).all()


def test_the_p_value_tells_knowing_from_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(30, 20, 4))
    outcomes = outcomes_of(reward)
    knowing, guessing = reward.argmax(axis=-1), rng.integers(0, 4, (30, 20))
    assert shuffled(outcomes, [knowing]).p_value == 1 / (1 + PERMUTATIONS)
    guess = shuffled(outcomes, [guessing]).p_value
    assert guess is not None
    assert guess > 0.05
    monkeypatch.setattr(shuffle, "TESTED_USERS", 10)
    assert shuffled(outcomes, [knowing]).p_value == 1 / (1 + PERMUTATIONS)


def test_personal_routers_lose_by_it_in_the_results(
    benchmark: Benchmark, capsys: pytest.CaptureFixture[str]
) -> None:
    results = evaluate(benchmark, ["best-per-user", "best-per-task"], bootstrap_draws=100)
    personal, blind = (results[n]["metrics"] for n in ("best-per-user", "best-per-task"))
    assert personal["shuffled_gain"]["mean"] > 0.05
    assert personal["shuffled_gain"]["low"] < personal["shuffled_gain"]["mean"]
    assert personal["shuffled_gain"]["p_value"] < 0.05
    assert 0 < personal["user_sensitivity"]["mean"] < 1
    assert blind["shuffled_gain"]["mean"] == pytest.approx(0, abs=1e-9)
    assert blind["shuffled_gain"]["p_value"] == 1
    assert blind["user_sensitivity"]["mean"] == 0
    results.print()
    shown = capsys.readouterr().out
    assert "Δ shuffled" in shown
    assert format(personal["shuffled_gain"]["mean"], "+.4f") in shown
    lonely = evaluate(small_benchmark(users=1), ["best-per-user"], bootstrap_draws=100)
    assert lonely["best-per-user"]["metrics"]["shuffled_gain"]["mean"] is None


def test_two_users_by_hand() -> None:
    data = small_benchmark(users=2, queries=(4, 2, 3))
    hidden = data.memory[STRATEGY, "test"]
    entry = evaluate(data, ["oracle"], bootstrap_draws=0)["oracle"]["metrics"]
    best = hidden.reward.argmax(axis=-1)
    swapped = np.take_along_axis(hidden.reward, best[::-1, :, None], axis=-1)[:, :, 0]
    gain = float(hidden.reward.max(axis=-1).mean() - swapped.mean())
    assert entry["shuffled_gain"]["mean"] == pytest.approx(gain, rel=1e-5)
    assert entry["user_sensitivity"]["mean"] == pytest.approx(float((best[0] != best[1]).mean()))
