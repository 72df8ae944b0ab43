"""Every learned baseline: that it learns, repeats itself, and bears little and broken data."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from learned_data import THRIFTY, asked, past_with_tastes, reward_of, rows_of, told

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.registry import LEARNED, load
from personaroute_bench.evaluation.runner import evaluate

BASELINES = (
    *("knn", "knn-personal", "knn-class", "linear", "linear-personal"),
    *("svm", "svm-personal", "svm-class", "mlp", "mlp-personal", "mlp-class"),
    *("mf", "mf-embedllm", "mf-personal", "elo", "elo-personal"),
    *("hybrid-llm", "hybrid-llm-personal", "router-dc", "router-dc-personal"),
)
PERSONAL = [name for name in BASELINES if name.endswith("-personal")]
# One LLM for everything is all that Elo knows.
CONSTANT = ("elo", "elo-personal")


def made(name: str, seed: int = 0) -> Any:
    kind = load(name)
    return kind() if name in CONSTANT else kind(seed=seed)


def fitted(name: str, data: Benchmark, **options: Any) -> Any:
    router = made(name)
    router.fit(told(data, **options))
    return router


@lru_cache
def usual(name: str, two_llms: bool = False) -> tuple[Any, Benchmark]:
    """A router fitted once for many tests, which only ask it, and its data."""
    data = past_with_tastes()
    data = between_cheap_and_dear(data) if two_llms else data
    return fitted(name, data), data


def choices(router: Any, data: Benchmark, users: list[str] | None = None) -> np.ndarray:
    found = np.asarray(router.route(asked(data, users)))
    return found.reshape(-1, 16)


def best_blind(data: Benchmark) -> np.ndarray:
    """[Q] the best LLM for the eight who want quality, who are also best served on average."""
    reward = data.interactions("multi_cost_efficiency", "test").reward
    best: np.ndarray = reward[~THRIFTY].mean(axis=0).argmax(axis=-1)
    return best


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps only, for tests of what comes out and not of how good it is."""
    from personaroute_bench.router import hybrid_llm, mf, mlp, router_dc

    for kind in (mlp.Mlp, mlp.MlpClass):
        monkeypatch.setattr(kind, "settings", (20,))
    for module in (mf, router_dc):
        monkeypatch.setattr(module, "STEPS", 20)
        monkeypatch.setattr(module, "DEFAULT_STEPS", 20)
    monkeypatch.setattr(hybrid_llm, "STEPS", 20)


def test_all_are_registered() -> None:
    assert set(BASELINES) <= set(LEARNED)


@pytest.mark.parametrize("name", [n for n in BASELINES if n not in CONSTANT])
def test_learns_which_queries_are_for_which_llm(name: str) -> None:
    router, data = usual(name)
    found = choices(router, data)
    quality = found[~THRIFTY]
    assert (quality == best_blind(data)).mean() > 0.9
    assert {1, 2} <= set(np.unique(quality))
    if not name.endswith("-personal"):
        assert (found == found[:1]).all()


@pytest.mark.parametrize("name", [n for n in PERSONAL if n != "hybrid-llm-personal"])
def test_thrifty_users_get_the_cheap_llm(name: str) -> None:
    router, data = usual(name)
    found = choices(router, data)
    assert (found[THRIFTY] == 0).mean() > 0.9


@pytest.mark.parametrize("name", PERSONAL)
def test_swapping_two_pasts_swaps_the_answers(name: str) -> None:
    router, data = usual(name, name == "hybrid-llm-personal")
    order = np.asarray([2, 1, 0, *range(3, 12)])
    swapped = dataclasses.replace(data, memory=rows_of_users(data, order))
    after = choices(fitted(name, swapped), data)
    before = choices(router, data)
    assert (before[0] != before[2]).mean() > 0.2
    assert (after[[0, 2]] == before[[2, 0]]).mean() > 0.9


@pytest.mark.parametrize("name", PERSONAL)
def test_shuffled_identities_cost_reward(name: str) -> None:
    router, data = usual(name, name == "hybrid-llm-personal")
    mine = reward_of(data, choices(router, data))
    shuffled = np.roll(data.user_ids, 1).tolist()
    assert reward_of(data, choices(router, data, shuffled)) < mine - 0.05


@pytest.mark.parametrize("name", BASELINES)
def test_strangers_get_the_blind_answer(name: str) -> None:
    router, data = usual(name)
    found = choices(router, data, ["stranger", "user-0"])
    blind = choices(fitted(name, data, tier="T0"), data)
    assert (blind == blind[:1]).all()
    if name in PERSONAL:
        # Whoever wants quality is most people, so strangers are taken for them.
        assert (found[0] == found[1]).mean() > 0.9 or name == "elo-personal"
    else:
        np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_choices(name: str) -> None:
    router, data = usual(name)
    np.testing.assert_array_equal(choices(fitted(name, data), data), choices(router, data))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.usefixtures("quick")
def test_little_and_broken_pasts(name: str, feedback: str) -> None:
    data = past_with_tastes(failures=0.4)
    router = fitted(name, data, feedback=feedback, interactions_per_user=2)
    found = choices(router, data)
    assert ((found >= 0) & (found < 4)).all()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.usefixtures("quick")
def test_one_user_one_llm_no_validation(name: str) -> None:
    alone = rows_of(past_with_tastes(), np.asarray([4]))
    quality = choices(fitted(name, alone, validated=False), alone)
    assert ((quality >= 0) & (quality < 4)).all()
    single = rows_of(past_with_tastes(), np.arange(12), np.asarray([2]))
    assert (choices(fitted(name, single), single) == 0).all()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.usefixtures("quick")
def test_a_past_that_tells_nothing_is_said(name: str) -> None:
    with pytest.raises(BenchError, match="tells nothing"):
        fitted(name, past_with_tastes(failures=1.0))


@pytest.mark.parametrize("name", [n for n in PERSONAL if n != "hybrid-llm-personal"])
def test_adapts_to_new_users(name: str) -> None:
    data = past_with_tastes()
    router = made(name)
    router.fit(told(rows_of(data, np.arange(9))))
    before = choices(router, data)
    router.adapt(told(rows_of(data, np.arange(9, 12)), validated=False, interactions_per_user=20))
    after = choices(router, data)
    if name != "mf-personal":  # whose mean user is recomputed in floating point only
        np.testing.assert_array_equal(after[:9], before[:9])
    assert (before[11] == 0).mean() < 0.5 < (after[11] == 0).mean()
    assert (after[[9, 10]] != 0).all() or name == "elo-personal"


@pytest.mark.parametrize(
    "name", [n for n in BASELINES if n.startswith(("knn", "linear", "svm", "mlp", "elo"))]
)
def test_adapts_to_a_new_llm(name: str) -> None:
    data = past_with_tastes()
    # LLM 0, the thrifty users' favourite, comes last and late
    order = np.asarray([1, 2, 3, 0])
    router = made(name)
    router.fit(told(rows_of(data, np.arange(12), order[:3])))
    later = rows_of(data, np.arange(12), order)
    assert (choices(router, later) != 3).all()
    if hasattr(router, "adapt"):
        router.adapt(told(later, validated=False, interactions_per_user=10))
        found = choices(router, later)
        if name in PERSONAL and name != "elo-personal":  # who goes by likings, not by content
            assert (found[THRIFTY] == 3).mean() > 0.9
        assert (found[~THRIFTY] != 3).mean() > 0.9


@pytest.mark.parametrize(
    ("setting", "shots"), [("new-user", 0), ("new-user", 3), ("new-llm", 0), ("new-llm", 3)]
)
@pytest.mark.usefixtures("quick")
def test_few_shot_settings_run(setting: str, shots: int) -> None:
    names = [n for n in BASELINES if n in PERSONAL or n in ("knn", "elo")]
    results = evaluate(past_with_tastes(), names, setting=setting, bootstrap_draws=0, shots=shots)
    assert results.failed == []


def between_cheap_and_dear(data: Benchmark) -> Benchmark:
    """HybridLLM has two LLMs: leave it the one of the thrifty and one of the others."""
    return rows_of(data, np.arange(12), np.asarray([0, 1]))


def rows_of_users(data: Benchmark, order: np.ndarray) -> Any:
    return {
        key: dataclasses.replace(part, reward=part.reward[order], chosen=part.chosen[order])
        for key, part in data.memory.items()
    }
