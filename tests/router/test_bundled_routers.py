"""Every bundled router on hand-made pasts: what it chooses, and to whom it listens."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from personaroute_bench.router.best_per_user import BestPerUser
from personaroute_bench.router.best_per_user_task import BestPerUserTask
from personaroute_bench.router.means import (
    NEWCOMER_ROWS,
    STRENGTHS,
    Counts,
    Totals,
    first_best,
    totals,
)
from personaroute_bench.router.random import Random
from small_benchmark import STRATEGY, small_benchmark, with_interactions

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.history import History, make_history, past_responses
from personaroute_bench.evaluation.registry import ROUTERS, load
from personaroute_bench.evaluation.runner import evaluate

PERSONAL = ("best-per-user", "best-per-user-task")


def told(benchmark: Benchmark, validated: bool = True, **options: Any) -> History:
    train, validation = (benchmark.interactions(STRATEGY, s) for s in ("train", "validation"))
    responses = past_responses(benchmark, np.concatenate([train.queries, validation.queries]))
    inner = validation if validated else None
    return make_history(benchmark, train, inner, responses, **options)


def answers(benchmark: Benchmark, name: str, **options: Any) -> np.ndarray:
    """[U, Q] what a router chooses for the test requests."""
    seen: list[np.ndarray] = []
    kind = load(name)

    class Recorder:
        def __init__(self) -> None:
            self.inner = kind()

        def fit(self, history: History) -> None:
            self.inner.fit(history)

        def route(self, requests: Any) -> Any:
            seen.append(np.asarray(self.inner.route(requests)).reshape(12, 8))
            return seen[-1].ravel()

    evaluate(benchmark, [Recorder], bootstrap_draws=0, **options)
    return seen[0]


def taste(benchmark: Benchmark, favourite: np.ndarray) -> Benchmark:
    """Rewards of 1 for the favourite [U, T] of user and task, 0 else, in train and validation."""
    for split in ("train", "validation"):
        part = benchmark.memory[STRATEGY, split]
        task = benchmark.task_of_query[part.queries]
        chosen = favourite[:, task][:, :, None] == np.arange(4)
        benchmark = with_interactions(
            benchmark, split, chosen=chosen, reward=chosen.astype(np.float32)
        )
    return benchmark


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_each_finds_its_best(feedback: str) -> None:
    # users 0–4 want LLM 1, or LLM 3 for reading; users 5–11 want 2, or 3 for reading
    favourite = np.asarray([[1, 3]] * 5 + [[2, 3]] * 7)
    data = taste(small_benchmark(), favourite)
    task = np.tile([0, 1], 4)
    assert (answers(data, "best-single", feedback=feedback) == 3).all()
    blind = answers(data, "best-per-task", feedback=feedback)
    np.testing.assert_array_equal(blind, np.tile(np.where(task == 0, 2, 3), (12, 1)))
    personal = answers(data, "best-per-user-task", feedback=feedback)
    np.testing.assert_array_equal(personal, favourite[:, task])


def test_best_per_user_finds_each_users_own() -> None:
    favourite = np.repeat(np.arange(12)[:, None] % 4, 2, axis=1)
    for feedback in ("full", "choice", "pairwise"):
        found = answers(taste(small_benchmark(), favourite), "best-per-user", feedback=feedback)
        np.testing.assert_array_equal(found, np.tile(favourite[:, :1], 8))


@pytest.mark.parametrize("name", PERSONAL)
def test_swapping_two_users_pasts_swaps_their_answers(name: str) -> None:
    data = small_benchmark()
    swapped = data
    order = np.asarray([11, *range(1, 11), 0])
    for split in ("train", "validation"):
        part = data.memory[STRATEGY, split]
        swapped = with_interactions(
            swapped, split, reward=part.reward[order], chosen=part.chosen[order]
        )
    before, after = answers(data, name), answers(swapped, name)
    assert (before[0] != before[11]).any()
    np.testing.assert_array_equal(after, before[order])


@pytest.mark.parametrize("name", PERSONAL)
def test_without_an_identity_everybody_gets_the_same(name: str) -> None:
    found = answers(small_benchmark(), name, tier="T0")
    assert (found == found[:1]).all()


@pytest.mark.parametrize("name", sorted(ROUTERS))
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_all_work_on_little_and_on_failed_responses(name: str, feedback: str) -> None:
    data = small_benchmark(failures=0.4)
    found = answers(data, name, feedback=feedback, interactions_per_user=1)
    assert ((found >= 0) & (found < 4)).all()


def test_a_refusing_llm_is_not_the_best_by_its_few_answers() -> None:
    data = small_benchmark()
    part = data.memory[STRATEGY, "train"]
    part.reward[:] = [0.0, 0.5, 0.4, 0.3]
    part.reward[:, :, 3] = np.nan
    part.reward[:, 0, 3] = 0.9  # mean of its one answer: 0.9; charged: 0.045
    data.memory[STRATEGY, "validation"].reward[:] = [0.0, 0.5, 0.4, 0.3]
    assert (answers(data, "best-single") == 1).all()


def test_random_is_uniform_seeded_and_independent_of_the_order_of_requests() -> None:
    data = small_benchmark(users=12)
    found = answers(data, "random")
    np.testing.assert_array_equal(found, answers(data, "random"))
    few = small_benchmark(users=3)

    class Few:
        def fit(self, history: History) -> None: ...

        def route(self, requests: Any) -> Any:
            chosen = Random().route(requests)
            np.testing.assert_array_equal(chosen.reshape(3, 8), found[:3])
            assert (Random(seed=1).route(requests) != chosen).any()
            return chosen

    assert evaluate(few, [Few], bootstrap_draws=0).failed == []
    many = evaluate(small_benchmark(users=400), ["random"], bootstrap_draws=0)["random"]
    assert many["metrics"]["routing_entropy"]["mean"] > 1.99
    assert abs(many["metrics"]["oracle_normalised_reward"]["mean"]) < 0.1


def test_cheapest_smallest_largest() -> None:
    data = small_benchmark()  # sizes unknown, 7, 8, 9; costs rise with the index
    assert (answers(data, "cheapest") == 0).all()
    assert (answers(data, "smallest") == 1).all()
    assert (answers(data, "largest") == 3).all()


def test_ties_of_size_go_to_the_cheaper() -> None:
    data = small_benchmark()
    llms = data.llms.set_column(1, "parameters", pa.array([7.0, 7.0, 7.0, 7.0]))
    cost = np.broadcast_to(np.asarray([4.0, 3.0, np.nan, 3.0]), data.cost_usd.shape)
    data = dataclasses.replace(data, llms=llms, cost_usd=cost)
    assert (answers(data, "largest") == 1).all()
    assert (answers(data, "smallest") == 1).all()
    assert (answers(data, "cheapest") == 1).all()


def test_unknown_sizes_and_costs_are_said_not_guessed() -> None:
    data = small_benchmark()
    llms = data.llms.set_column(1, "parameters", pa.array([None] * 4, pa.float64()))
    data = dataclasses.replace(data, llms=llms, cost_usd=np.full_like(data.cost_usd, np.nan))
    results = evaluate(data, bootstrap_draws=100)
    for name, reason in (
        ("smallest", "no LLM has a known size"),
        ("largest", "no LLM has a known size"),
        ("cheapest", "no response has a known cost"),
    ):
        assert reason in results[name]["status"]
        assert results[name]["metrics"] == {}
    assert results.failed == []  # nobody asked for them by name
    assert results["best-single"]["metrics"]["cost_usd"]["mean"] is None


def test_shrunken_mean_by_hand() -> None:
    mine = Totals(np.asarray([3.0, 0.0]), np.asarray([4.0, 0.0]))
    np.testing.assert_allclose(mine.shrunk(np.asarray([0.25, 0.5]), 6.0), [4.5 / 10, 0.5])
    np.testing.assert_allclose(mine.mean, [0.75, np.nan])
    assert (mine + mine).sum.tolist() == [6.0, 0.0]
    assert mine.of(np.asarray(0)) == 0.75
    assert mine.of(np.asarray(1)) == -np.inf


def test_first_best_settles_ties_by_order_and_passes_over_the_unknown() -> None:
    values = np.asarray([[1.0, 2.0, 2.0], [np.nan, np.nan, 0.1]])
    assert first_best(values, np.asarray([0, 2, 1])).tolist() == [2, 2]
    assert first_best(values, np.asarray([0, 1, 2])).tolist() == [1, 2]


def test_totals_by_task() -> None:
    history = told(small_benchmark())
    found = totals(history)
    assert found.sum.shape == (12, 2, 4)
    assert (found.count == 10).all()
    expected = history.rewards[:, ::2].sum(axis=1)
    np.testing.assert_allclose(found.sum[:, 0], expected, rtol=1e-5)


def test_strength_is_selected_on_validation() -> None:
    rng = np.random.default_rng(0)
    noise = small_benchmark(users=100, queries=(10, 100, 2))
    for split in ("train", "validation"):
        part = noise.memory[STRATEGY, split]
        # nobody differs: LLM 2 is best for all, buried in each user's noise
        part.reward[:] = rng.normal([0, 0, 0.3, 0], 1, part.reward.shape)
    everybody_alike, everybody_own = BestPerUser(), BestPerUser()
    everybody_alike.fit(told(noise))
    # three of twelve differ for sure: with n = 20 rows and shares 3/4 and 1/4 they need k < 40
    favourite = np.where(np.arange(12) < 9, 0, 3)[:, None].repeat(2, axis=1)
    everybody_own.fit(told(taste(small_benchmark(), favourite)))
    assert everybody_alike.strength >= 100  # nearly or quite the best single LLM
    assert everybody_own.strength == max(k for k in STRENGTHS if k < 40)
    task = BestPerUserTask()
    task.fit(told(small_benchmark(), validated=False))
    assert task.strength == task.user_strength == 10.0


class Adapting:
    """Runs a bundled router in a few-shot setting and keeps its choices."""

    def __init__(self, name: str) -> None:
        self.inner: Any = load(name)()

    def fit(self, history: History) -> None:
        self.inner.fit(history)

    def adapt(self, support: History) -> None:
        self.inner.adapt(support)

    def route(self, requests: Any) -> Any:
        index = np.asarray(self.inner.route(requests))
        self.found = requests.candidates[index].reshape(len(requests.user_ids), -1)
        return index


def few_shot(benchmark: Benchmark, name: str, **options: Any) -> np.ndarray:
    """[U, Q] ids of the LLMs chosen."""
    router = Adapting(name)
    results = evaluate(benchmark, [router], bootstrap_draws=0, **options)
    assert results.failed == [], results.traces
    return router.found


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.parametrize("name", PERSONAL)
def test_new_users_get_their_own_after_a_few_shots(name: str, feedback: str) -> None:
    # of the known users three want LLM 0 and two each of the others; the new ones 1, 2 and 3
    favourite = np.asarray([0, 0, 0, 1, 1, 2, 2, 3, 3, 1, 2, 3])[:, None].repeat(2, axis=1)
    data = taste(small_benchmark(), favourite)
    options: dict[str, Any] = {
        "setting": "new-user",
        "held_out": ["user-9", "user-10", "user-11"],
        "feedback": feedback,
    }
    unknown = few_shot(data, name, shots=0, **options)
    assert (unknown == unknown[:1]).all()
    if feedback != "pairwise":  # where a few comparisons of each pair leave it to chance
        assert (unknown == "llm-0").all()  # what most of the known ones want
    known = few_shot(data, name, shots=20, **options)
    np.testing.assert_array_equal(known, np.asarray([["llm-1"], ["llm-2"], ["llm-3"]]).repeat(8, 1))


@pytest.mark.parametrize("name", ["best-single", "best-per-task", *PERSONAL])
def test_a_new_llm_that_is_better_is_chosen_once_it_was_seen(name: str) -> None:
    data = small_benchmark()
    for split in ("train", "validation"):
        part = data.memory[STRATEGY, split]
        part.reward[:] = [0.2, 0.4, 0.3, 0.9]
        part.chosen[:] = [False, False, False, True]
    options = {"setting": "new-llm", "held_out": ["llm-3"]}
    assert (few_shot(data, name, shots=0, **options) == "llm-1").all()
    assert (few_shot(data, name, shots=60, **options) == "llm-3").all()
    part.reward[:] = [0.2, 0.4, 0.3, 0.1]
    data.memory[STRATEGY, "train"].reward[:] = [0.2, 0.4, 0.3, 0.1]
    assert (few_shot(data, name, shots=60, **options) == "llm-1").all()


def test_a_new_llm_is_believed_to_be_average_for_ten_rows() -> None:
    history = told(small_benchmark())
    support = dataclasses.replace(
        history,
        user_ids=np.asarray(["user-3", "stranger"]),
        llm_ids=np.asarray([f"llm-{m}" for m in range(5)]),
        query_ids=history.query_ids[:1],
        task_of_query=history.task_of_query[:1],
        observed=np.ones((2, 1, 5), np.bool_),
        rewards=np.full((2, 1, 5), 0.5, np.float32),
        chosen=np.zeros((2, 1, 5), np.bool_),
        cost_usd=np.asarray([[9.0, 9.0, 9.0, 9.0, 0.0025]]),
        validation=None,
    )
    counts = Counts.of(history)
    joined = counts.joined(support)
    assert joined.llm_ids == tuple(f"llm-{m}" for m in range(5))
    assert joined.rows(["stranger", "user-3", "nobody"]).tolist() == [12, 3, -1]
    # 2 rows of .5 and ten of the mean of the LLMs that the history knew
    before = counts.totals.over(0).over(0)
    known = joined.totals.over(0).over(0)
    assert known.count[4] == 2 + NEWCOMER_ROWS
    assert known.mean[4] == pytest.approx((1 + NEWCOMER_ROWS * before.mean.mean()) / 12)
    assert joined.totals.count[3].sum() == counts.totals.count[3].sum() + 5
    # what it cost is known from the support, what the others cost from all their past
    assert joined.order.tolist() == [0, 1, 4, 2, 3]
    assert counts.totals.sum.shape == (13, 2, 4)  # as it was


def test_cheapest_and_sizes_consider_new_llms() -> None:
    data = small_benchmark()  # sizes unknown, 7, 8, 9; costs rise with the index
    for name, new, shots, expected in (
        ("cheapest", "llm-0", 1, "llm-0"),
        ("cheapest", "llm-0", 0, "llm-1"),
        ("cheapest", "llm-2", 5, "llm-0"),
        ("smallest", "llm-1", 0, "llm-1"),
        ("largest", "llm-3", 0, "llm-3"),
        ("largest", "llm-1", 3, "llm-3"),
    ):
        found = few_shot(data, name, setting="new-llm", held_out=[new], shots=shots)
        assert (found == expected).all(), (name, new)
