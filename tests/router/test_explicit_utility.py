"""explicit-utility: weights recovered from choices, a personal past, unknown users, few shots."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from personaroute_bench.router.explicit_utility import SPREAD, ExplicitUtility, trusted
from personaroute_bench.router.records import Past, Space
from personaroute_bench.router.smoothing import SMOOTHERS, Smoother
from personaroute_bench.router.utility import Evidence, Tastes, choice_chances, completed, infer
from small_benchmark import STRATEGY, small_benchmark
from trained_routers import choices, gained, people, swapped, told


def fitted(benchmark: Any, **options: Any) -> ExplicitUtility:
    router = ExplicitUtility()
    router.fit(told(benchmark, **options))
    return router


def simulated(linear: bool, users: int = 60, queries: int = 40) -> tuple[Evidence, np.ndarray]:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(queries, 5, 2)).astype(np.float32)
    features -= features.mean(axis=1, keepdims=True)
    weights = np.asarray([2.0, -1.0]) + rng.normal(0, 1.5, (users, 2))
    utility = np.einsum("uf,qmf->uqm", weights, features)
    if not linear:
        noisy = utility + rng.gumbel(size=utility.shape)
        utility = (noisy == noisy.max(axis=-1, keepdims=True)).astype(np.float64)
    seen = np.ones(utility.shape, np.bool_)
    return Evidence(features, utility.astype(np.float32), seen, np.zeros(2, int), linear), weights


@pytest.mark.parametrize("linear", [True, False])
def test_weights_are_recovered(linear: bool) -> None:
    evidence, weights = simulated(linear)
    found = infer(evidence)
    assert np.corrcoef(found.mean.ravel(), weights.ravel())[0, 1] > (0.999 if linear else 0.9)
    np.testing.assert_allclose(found.prior_mean, weights.mean(axis=0), atol=0.05 if linear else 0.4)
    sigma = np.sqrt(np.einsum("uij,uij->ui", found.root, found.root))
    inside = np.abs(found.mean - weights) < 3 * sigma + 0.05
    assert inside.mean() > 0.95  # the posterior says how sure it is


def test_who_has_told_nothing_gets_the_population() -> None:
    evidence, _ = simulated(linear=False)
    seen = evidence.seen.copy()
    seen[0] = False
    found = infer(dataclasses.replace(evidence, seen=seen))
    np.testing.assert_allclose(found.mean[0], found.prior_mean, atol=1e-5)
    again = infer(dataclasses.replace(evidence, seen=seen), prior=found)
    np.testing.assert_allclose(again.mean, found.mean, atol=1e-2)


def test_chances_by_hand() -> None:
    features = np.asarray([[[0.0], [np.log(3.0)], [5.0]]], np.float32)
    seen = np.asarray([[True, True, False]])
    found = choice_chances(np.asarray([[1.0], [0.0]]), features, seen[None])
    np.testing.assert_allclose(found[:, 0], [[0.25, 0.75, 0], [0.5, 0.5, 0]], rtol=1e-5)
    assert not choice_chances(np.ones((1, 1)), features, np.zeros((1, 1, 3), bool)).any()


def test_failed_responses_never_win_and_are_charged() -> None:
    evidence, _ = simulated(linear=False, users=3, queries=4)
    ok = np.ones((4, 5), bool)
    ok[1, 2] = ok[3] = False
    tastes = infer(evidence)
    wins = completed(tastes, [evidence.features], ok, linear=False)
    assert (wins[:, 1, 2] == 0).all()
    np.testing.assert_allclose(wins.sum(axis=-1)[:, :3], 1, rtol=1e-5)
    value = completed(tastes, [evidence.features], ok, linear=True)
    worst = np.where(ok[1], value[:, 1], np.inf).min(axis=-1)
    np.testing.assert_allclose(value[:, 1, 2], worst)
    assert (value[:, 3] == 0).all()  # nothing is ok: nothing is known


def test_a_spread_keeps_the_sure_from_calling_a_close_second_worthless() -> None:
    features = np.asarray([[[1.0], [0.8], [-1.8]]], np.float32)
    ok = np.ones((1, 3), bool)
    sure = Tastes(np.asarray([[40.0], [0.5]]), np.zeros((2, 1, 1)), np.zeros(1), np.eye(1))
    wins = completed(sure, [features], ok, linear=False)
    kept = completed(sure, [features], ok, linear=False, spread=1.5)
    assert wins[0, 0, 1] < 0.001
    assert kept[0, 0, 1] > 0.4
    assert kept[0, 0, 2] < 0.05
    np.testing.assert_allclose(kept.sum(axis=-1), 1, rtol=1e-5)
    # who is not sure to start with stays as they are
    np.testing.assert_allclose(kept[1], wins[1], rtol=1e-6)
    np.testing.assert_array_equal(
        completed(sure, [features], ok, linear=True, spread=1.5),
        completed(sure, [features], ok, linear=True),
    )


def test_choices_alone_are_signs_of_utility_and_shares_told_as_rewards_the_aim() -> None:
    data = people()
    assert fitted(data).spread == np.inf
    for feedback in ("choice", "pairwise"):
        router = fitted(data, feedback=feedback)
        assert router.spread == SPREAD
        assert router.trust == 0
    utility = router.tastes.mean.astype(np.float32) @ router.features.reshape(-1, 6).T
    order = np.argsort(utility.reshape(router.verdicts.shape), axis=-1)
    along = np.take_along_axis(router.verdicts, order, axis=-1)
    # draws of the weights move who is barely ahead of whom
    assert (np.diff(along, axis=-1) > 0).mean() > 0.9
    assert along[..., -1].mean() < 0.9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), smoother=st.sampled_from(SMOOTHERS))
def test_a_smoother_keeps_constants_and_knows_the_unseen_task(
    seed: int, smoother: Smoother
) -> None:
    rng = np.random.default_rng(seed)
    past, new = rng.normal(size=(9, 4)), rng.normal(size=(3, 4))
    past /= np.linalg.norm(past, axis=1, keepdims=True)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    tasks = np.asarray([0, 0, 0, 1, 1, 1, 1, 1, 1])
    matrix = smoother.matrix(
        new.astype(np.float32), np.asarray([0, 2, -1]), past.astype(np.float32), tasks
    )
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-4)
    assert matrix.shape == (3, 9)


def test_the_plain_smoother_is_the_mean_of_the_task() -> None:
    eye = np.eye(4, dtype=np.float32)
    matrix = Smoother("ridge", np.inf).matrix(
        eye[:1], np.asarray([1]), eye, np.asarray([0, 1, 1, 0])
    )
    # two of the task, and the weight of one query spread over all four
    np.testing.assert_allclose(matrix[0], [1 / 12, 5 / 12, 5 / 12, 1 / 12], rtol=1e-6)


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_it_learns_under_every_feedback(feedback: str) -> None:
    data = people(failures=0.1)
    router = fitted(data, feedback=feedback)
    choice = choices(router, data)
    assert gained(data, choice) > 0.5
    np.testing.assert_array_equal(choice, choices(fitted(data, feedback=feedback), data))
    assert router.linear == (feedback == "full")
    # who weighs performance more is inferred to do so
    weight = np.asarray([router.reason(u)["performance"] for u in range(24)])
    cost = np.asarray([router.reason(u)["cost"] for u in range(24)])
    assert np.corrcoef(weight + cost, np.arange(24))[0, 1] > 0.8


def test_pasts_exchanged_choices_exchanged() -> None:
    data = people()
    first, second = (choices(fitted(d), data) for d in (data, swapped(data)))
    assert (first[0] != first[-1]).any()
    assert (second[0] == first[-1]).mean() > 0.9
    shuffled = np.roll(first, 12, axis=0)
    assert gained(data, shuffled) < gained(data, first) - 0.1


def test_unknown_users_get_the_average_of_all() -> None:
    data = people()
    router = fitted(data)
    rows = np.arange(-1, 24)
    scores = router.scores(rows, data.embeddings[:3], data.task_of_query[:3])
    np.testing.assert_allclose(scores[0], scores[1:].mean(axis=0), rtol=1e-4, atol=1e-5)
    assert choices(router, data, ["stranger"]).shape == (1, 12)


@pytest.mark.parametrize("shape", [{"users": 1}, {"llms": 1}, {"failures": 1.0}])
def test_one_user_one_llm_no_response(shape: dict[str, Any]) -> None:
    data = small_benchmark(**shape)
    found = choices(fitted(data), data)
    assert found.min() >= 0 and found.max() < len(data.llm_ids)


def test_few_choices_of_a_new_user_suffice() -> None:
    data = people()
    train = data.memory[STRATEGY, "train"]
    known, new = np.arange(0, 24, 2), np.arange(1, 24, 2)

    def of(users: np.ndarray) -> Any:
        import copy

        part = copy.copy(data)
        memory = {
            key: dataclasses.replace(
                value, users=users, reward=value.reward[users], chosen=value.chosen[users]
            )
            for key, value in data.memory.items()
        }
        return dataclasses.replace(part, memory=memory)

    router = ExplicitUtility()
    router.fit(told(of(known), feedback="choice"))
    strangers = choices(router, data)
    population = router.tastes.prior_mean.copy()
    router.adapt(told(of(new), feedback="choice", interactions_per_user=8))
    met = choices(router, data)
    assert gained(data, met) > gained(data, strangers) + 0.05
    np.testing.assert_array_equal(router.tastes.prior_mean, population)
    assert set(router.user_ids) == set(data.user_ids)
    assert len(train.users) == 24


def test_a_new_llm_is_met_with_weights_frozen() -> None:
    data = people()
    few = dataclasses.replace(
        data,
        llms=data.llms.slice(0, 3),
        performance=data.performance[:, :3],
        cost_usd=data.cost_usd[:, :3],
        cost=data.cost[:, :3],
        status=data.status[:, :3],
        memory={
            key: dataclasses.replace(v, reward=v.reward[..., :3], chosen=v.chosen[..., :3])
            for key, v in data.memory.items()
        },
    )
    router = fitted(few)
    assert gained(data, choices(router, data)) < 0.9
    before = gained(data, choices(router, data))
    router.adapt(told(data, interactions_per_user=10))
    assert gained(data, choices(router, data)) > before + 0.1
    assert 3 in choices(router, data)


def test_trust_moves_towards_what_was_said() -> None:
    data = people()
    past = Past.of(told(data, feedback="choice", interactions_per_user=3))
    verdicts = np.full(past.values.shape, 0.25, np.float32)
    all_of_it = trusted(verdicts, past, 1.0, linear=False)
    np.testing.assert_array_equal(all_of_it[past.seen], past.values[past.seen])
    assert (all_of_it[~past.seen] == 0.25).all()
    assert trusted(verdicts, past, 0.0, linear=False) is verdicts


def test_features_are_centred_and_unknown_content_is_the_llms_mean_in_the_task() -> None:
    data = people()
    past = Past.of(told(data))
    content = past.content.copy()
    content[0, 3] = np.nan
    space = Space.of(past)
    found = space.features(dataclasses.replace(past, content=content))
    np.testing.assert_allclose(space.features(past).mean(axis=1), 0, atol=1e-5)
    # one unknown response among thirty: what the others of its LLM in the task are
    same = found[1:, 3, :2][past.tasks[1:] == past.tasks[0]]
    np.testing.assert_allclose(found[0, 3, :2], same.mean(axis=0), rtol=0.15)


def test_two_pasts_as_one() -> None:
    past = Past.of(told(people(failures=0.2)))
    first, second = past.of_queries(np.arange(12)), past.of_queries(np.arange(8, 30))
    unknown = dataclasses.replace(
        second, ok=np.ones_like(second.ok), content=np.full_like(second.content, np.nan)
    )
    both = first + unknown
    np.testing.assert_array_equal(both.query_ids, past.query_ids)
    np.testing.assert_array_equal(both.values, past.values)
    # what the second does not know, the first still does
    np.testing.assert_array_equal(both.ok[:12], past.ok[:12])
    np.testing.assert_array_equal(both.content[:12], past.content[:12])
    assert np.isnan(both.content[12:]).all()
