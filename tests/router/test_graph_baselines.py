"""graph-router, gmt-router and copl: that they learn, repeat themselves, and bear broken data."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from learned_data import THRIFTY, asked, past_with_tastes, reward_of, rows_of, told

pytest.importorskip("torch")

from personaroute_bench.router import copl, gmt_router, graph_router

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.registry import load
from personaroute_bench.evaluation.runner import evaluate

BASELINES = ("graph-router", "gmt-router", "copl")
PERSONAL = ("gmt-router", "copl")


def fitted(name: str, data: Benchmark, **options: Any) -> Any:
    router = load(name)(seed=0)
    router.fit(told(data, **options))
    return router


@lru_cache
def usual(name: str) -> tuple[Any, Benchmark]:
    """A router fitted once for many tests, which only ask it, and its data."""
    data = past_with_tastes()
    return fitted(name, data), data


def choices(router: Any, data: Benchmark, users: list[str] | None = None) -> np.ndarray:
    """[U, 16] indices."""
    return np.asarray(router.route(asked(data, users))).reshape(-1, 16)


def best_for_quality(data: Benchmark) -> np.ndarray:
    """[16] the best LLM for the eight who want quality, who are also best served on average."""
    reward = data.interactions("multi_cost_efficiency", "test").reward
    best: np.ndarray = reward[~THRIFTY].mean(axis=0).argmax(axis=-1)
    return best


def with_pasts(data: Benchmark, order: list[int]) -> Benchmark:
    """Return the data set with users' pasts (and futures) exchanged."""
    memory = {
        key: dataclasses.replace(part, reward=part.reward[order], chosen=part.chosen[order])
        for key, part in data.memory.items()
    }
    return dataclasses.replace(data, memory=memory)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for twelve users."""
    for module in (copl, gmt_router, graph_router):
        monkeypatch.setattr(module, "STEPS", 160)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps only, for tests of what comes out and not of how good it is."""
    for module in (copl, gmt_router, graph_router):
        monkeypatch.setattr(module, "STEPS", 20)
        monkeypatch.setattr(module, "DEFAULT_STEPS", 5)


@pytest.mark.parametrize("name", BASELINES)
def test_learns_which_queries_are_for_which_llm(name: str) -> None:
    router, data = usual(name)
    found = choices(router, data)
    assert (found[~THRIFTY] == best_for_quality(data)).mean() > 0.9
    if name not in PERSONAL:
        assert (found == found[:1]).all()


@pytest.mark.parametrize("name", PERSONAL)
def test_thrifty_users_get_the_cheap_llm(name: str) -> None:
    router, data = usual(name)
    assert (choices(router, data)[THRIFTY] == 0).mean() > 0.9


@pytest.mark.parametrize("name", PERSONAL)
@pytest.mark.parametrize("feedback", ["choice", "pairwise"])
def test_tastes_are_learned_from_choices_too(name: str, feedback: str) -> None:
    data = past_with_tastes()
    found = choices(fitted(name, data, feedback=feedback), data)
    assert (found[THRIFTY] == 0).mean() > 0.8
    assert (found[~THRIFTY] == best_for_quality(data)).mean() > 0.7


@pytest.mark.parametrize("name", PERSONAL)
def test_swapping_two_pasts_swaps_the_answers(name: str) -> None:
    router, data = usual(name)
    before = choices(router, data)
    after = choices(fitted(name, with_pasts(data, [2, 1, 0, *range(3, 12)])), data)
    assert (before[0] != before[2]).mean() > 0.5
    assert (after[[0, 2]] == before[[2, 0]]).mean() > 0.9


@pytest.mark.parametrize("name", PERSONAL)
def test_shuffled_identities_cost_reward(name: str) -> None:
    router, data = usual(name)
    shuffled = np.roll(data.user_ids, 1).tolist()
    mine = reward_of(data, choices(router, data))
    assert reward_of(data, choices(router, data, shuffled)) < mine - 0.05


@pytest.mark.parametrize("name", BASELINES)
def test_strangers_are_answered_like_everybody(name: str) -> None:
    router, data = usual(name)
    found = choices(router, data, ["stranger", "another"])
    assert (found[0] == found[1]).all()
    # Whoever wants quality is most people.
    assert (found[0] == best_for_quality(data)).mean() > 0.6


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_choices(name: str) -> None:
    router, data = usual(name)
    again = fitted(name, data)
    np.testing.assert_array_equal(choices(again, data), choices(router, data))
    assert again.validated == router.validated


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.usefixtures("quick")
def test_what_is_known_of_the_test_split_changes_nothing(name: str) -> None:
    data = past_with_tastes()
    key = ("multi_cost_efficiency", "test")
    part = data.memory[key]
    other = dataclasses.replace(part, reward=-part.reward, chosen=~part.chosen)
    changed = dataclasses.replace(data, memory=data.memory | {key: other})
    np.testing.assert_array_equal(
        choices(fitted(name, data), data), choices(fitted(name, changed), changed)
    )


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.usefixtures("quick")
def test_little_and_broken_pasts(name: str, feedback: str) -> None:
    data = past_with_tastes(failures=0.4)
    router = fitted(name, data, feedback=feedback, interactions_per_user=2)
    found = choices(router, data)
    assert ((found >= 0) & (found < 4)).all()
    assert np.isfinite(scores_of(router, data)).all()


def scores_of(router: Any, data: Benchmark) -> np.ndarray:
    request = asked(data)
    users = np.arange(-1, len(router.user_ids))
    return np.asarray(router.scores(users, request.embeddings, request.task_of_query))


@pytest.mark.parametrize("name", BASELINES)
def test_an_llm_that_always_fails_is_not_chosen(name: str) -> None:
    data = past_with_tastes()
    performance = data.performance.copy()
    performance[:, 1] = np.nan
    status = data.status.copy()
    status[:, 1] = "refused"
    memory = {}
    for key, part in data.memory.items():
        reward = part.reward.copy()
        reward[..., 1] = np.nan
        chosen = reward == np.fmax.reduce(reward, axis=-1, keepdims=True)
        memory[key] = dataclasses.replace(part, reward=reward, chosen=chosen)
    data = dataclasses.replace(data, performance=performance, status=status, memory=memory)
    assert (choices(fitted(name, data), data) != 1).mean() > 0.98


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.usefixtures("quick")
def test_one_user_one_query_one_llm_no_validation(name: str) -> None:
    alone = rows_of(past_with_tastes(), np.asarray([4]))
    found = choices(fitted(name, alone, validated=False), alone)
    assert ((found >= 0) & (found < 4)).all()
    single = rows_of(past_with_tastes(), np.arange(12), np.asarray([2]))
    assert (choices(fitted(name, single), single) == 0).all()
    key = ("multi_cost_efficiency", "train")
    part = alone.memory[key]
    one = dataclasses.replace(
        part, queries=part.queries[:1], reward=part.reward[:, :1], chosen=part.chosen[:, :1]
    )
    little = dataclasses.replace(alone, memory=alone.memory | {key: one})
    assert choices(fitted(name, little, validated=False), little).shape == (1, 16)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.usefixtures("quick")
def test_a_past_that_tells_nothing_is_said(name: str) -> None:
    with pytest.raises(BenchError, match="tells nothing"):
        fitted(name, past_with_tastes(failures=1.0))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.usefixtures("quick")
def test_the_process_generator_is_left_alone(name: str) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fitted(name, past_with_tastes())
    assert torch.rand(1) == expected


@pytest.mark.parametrize("name", PERSONAL)
def test_adapts_to_new_users(name: str) -> None:
    data = past_with_tastes()
    router = load(name)(seed=0)
    router.fit(told(rows_of(data, np.arange(9))))
    before = choices(router, data)
    router.adapt(told(rows_of(data, np.arange(9, 12)), validated=False, interactions_per_user=20))
    after = choices(router, data)
    assert (before[11] == before[10]).all()  # both unknown yet
    assert (before[11] == 0).mean() < 0.5
    assert (after[11] == 0).mean() > 0.8
    assert (after[[9, 10]] != 0).mean() > 0.9
    assert (after[:9] == before[:9]).mean() > 0.9


@pytest.mark.parametrize("name", BASELINES)
def test_a_new_llm_replaces_the_one_that_it_behaves_like(name: str) -> None:
    data = past_with_tastes()
    router = load(name)(seed=0)
    router.fit(told(data))
    later = rows_of(data, np.arange(12), np.asarray([0, 1, 2, 3, 0]))  # as cheap and bad as LLM 0
    ids = np.asarray([*data.llm_ids, "newcomer"])
    later = dataclasses.replace(later, llms=later.llms.set_column(0, "llm_id", pa.array(ids)))
    everyone = asked(later)
    assert (np.asarray(router.route(everyone)) != 4).all()  # nobody has met it yet
    router.adapt(told(later, validated=False, interactions_per_user=10))
    request = dataclasses.replace(everyone, candidates=ids[[4, 1, 2, 3]])
    found = np.asarray(router.route(request)).reshape(12, 16)
    assert (found[~THRIFTY] == best_for_quality(data)).mean() > 0.7
    if name in PERSONAL:
        assert (found[THRIFTY] == 0).mean() > 0.7


@pytest.mark.parametrize(
    ("setting", "shots"), [("new-user", 0), ("new-user", 3), ("new-llm", 0), ("new-llm", 3)]
)
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.usefixtures("quick")
def test_few_shot_settings_run(setting: str, shots: int, feedback: Any) -> None:
    results = evaluate(
        past_with_tastes(failures=0.2),
        BASELINES,
        setting=setting,
        bootstrap_draws=0,
        shots=shots,
        feedback=feedback,
    )
    assert results.failed == [], results.traces


@pytest.mark.usefixtures("quick")
def test_cross_task_runs() -> None:
    results = evaluate(past_with_tastes(), BASELINES, setting="cross-task", bootstrap_draws=0)
    assert results.failed == [], results.traces
