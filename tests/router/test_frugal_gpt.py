"""FrugalGPT: chains by hand, the scorer, and what the cascade does on data with clear tastes."""

from __future__ import annotations

import dataclasses
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from learned_data import THRIFTY, asked, past_with_tastes, rows_of, told
from personaroute_bench.router.answer_scorer import STRENGTHS, AnswerScorer, ridge_path
from personaroute_bench.router.frugal_gpt import (
    QUANTILES,
    Chain,
    FrugalGpt,
    FrugalGptPersonal,
    _best_of_each_length,
)
from small_benchmark import save

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.cascade import Till, ask_cascade
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.settings import Fold

KINDS = (FrugalGpt, FrugalGptPersonal)


def choices(router: Any, data: Benchmark, users: list[str] | None = None) -> tuple[Any, Any]:
    """[U, 16] answers and [U, 16, M] purchases."""
    requests = asked(data, users)
    who = np.arange(len(data.user_ids))
    M = len(data.llm_ids)
    fold = Fold(who, np.arange(M), M, -1, who, data.split_queries("test"), who[:0])
    choice, purchases, problem = ask_cascade(router, requests, Till(data, fold))
    assert problem is None
    return choice.reshape(-1, 16), purchases.reshape(-1, 16, M)


def fitted(kind: Any, data: Benchmark, **options: Any) -> Any:
    router = kind(seed=0)
    router.fit(told(data, **options))
    return router


def test_a_chain_by_hand() -> None:
    worth = np.asarray([[1.0, 2.0, 3.0]] * 4)
    cost = np.asarray([[0.1, 0.2, 0.3]] * 4)
    score = np.asarray([[0.9, 0, 0], [0.2, 0.8, 0], [0.2, 0.3, 0], [-np.inf, -np.inf, -np.inf]])
    chain = Chain((0, 1, 2), (0.5, 0.5))
    # stops at 0, at 1 after paying 0, at 2 after paying both, twice
    assert chain.worth(worth, cost, score) == pytest.approx(1 + (2 - 0.1) + 2 * (3 - 0.3))
    assert Chain((1,), ()).worth(worth, cost, score) == 8


def test_the_best_chains_are_those_of_an_exhaustive_search() -> None:
    rng = np.random.default_rng(0)
    for seed in range(6):
        Q, M = 25, 4
        worth, cost = rng.random((Q, M)), 0.05 * rng.random((Q, M))
        score = worth + rng.normal(0, 0.2, (Q, M))
        score[rng.random((Q, M)) < 0.1] = -np.inf
        if seed == 5:
            score[:, 2] = -np.inf  # an LLM that always failed
        cuts = [
            np.quantile(score[np.isfinite(score[:, m]), m], QUANTILES)
            if np.isfinite(score[:, m]).any()
            else [0.0]
            for m in range(M)
        ]
        best = [max(Chain((m,), ()).worth(worth, cost, score) for m in range(M))]
        best.append(
            max(
                Chain((a, b), (t,)).worth(worth, cost, score)
                for a, b in permutations(range(M), 2)
                for t in cuts[a]
            )
        )
        best.append(
            max(
                Chain((a, b, c), (s, t)).worth(worth, cost, score)
                for a, b, c in permutations(range(M), 3)
                for s in cuts[a]
                for t in cuts[b]
            )
        )
        found = _best_of_each_length(worth, cost, score, np.arange(M))
        earned = [chain.worth(worth, cost, score) for chain in found]
        np.testing.assert_allclose(earned, np.maximum.accumulate(best))


def test_ridge_path_is_ridge_regression() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(1)
    for n, F in ((30, 6), (6, 30), (1, 3)):
        x, y = rng.normal(size=(n, F)), rng.normal(size=n)
        slopes, levels = ridge_path(x, y)
        for i, strength in enumerate(STRENGTHS):
            model = Ridge(alpha=strength).fit(x, y)
            np.testing.assert_allclose(slopes[i], model.coef_, atol=1e-8)
            np.testing.assert_allclose(levels[i], model.intercept_, atol=1e-8)
    assert not ridge_path(np.zeros((0, 3)), np.zeros(0))[0].any()


def test_the_scorer_learns_from_the_answer_and_scores_folds_unseen() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(60, 2, 5))
    performance = features[..., 0] * [1, -1]
    ok = rng.random((60, 2)) > 0.2
    folds = [np.arange(60) % 5 == i for i in range(5)]
    scorer = AnswerScorer.fit(features, np.where(ok, performance, 99.0), ok, folds)
    np.testing.assert_allclose(scorer.out_of_fold[ok], performance[ok], atol=0.2)
    llms = np.asarray([1, 0, 1])
    score = scorer(features[:3, 0] * np.where(llms, 1, 1)[:, None], llms)
    np.testing.assert_allclose(score, features[:3, 0, 0] * [-1, 1, -1], atol=0.2)
    noise = rng.normal(size=(60, 2))
    assert AnswerScorer.fit(features, noise, ok, folds).strength >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_it_earns_more_than_one_llm_after_every_call_is_paid(kind: Any) -> None:
    # The thrifty lose by a blind cascade, so a dozen users tell too little.
    data = past_with_tastes(users=48)
    results = evaluate(data, [kind], bootstrap_draws=100)
    entry = next(e for e in results.routers if e["asked_for"])
    assert entry["metrics"]["calls"]["mean"] > 1.0
    assert entry["reward_difference"]["low"] > 0.0


def test_the_blind_one_treats_all_alike() -> None:
    data = past_with_tastes()
    found, bought = choices(fitted(FrugalGpt, data), data)
    assert (found == found[:1]).all()
    assert (bought == bought[:1]).all()


def test_thrifty_users_get_the_cheap_llm_and_no_second_call() -> None:
    data = past_with_tastes()
    found, bought = choices(fitted(FrugalGptPersonal, data), data)
    assert (found[THRIFTY] == 0).mean() > 0.9
    assert (bought[THRIFTY] > 0).sum(axis=-1).mean() < 1.2
    assert (bought[~THRIFTY] > 0).sum(axis=-1).mean() > 1.2


def test_swapping_two_pasts_swaps_the_answers() -> None:
    data = past_with_tastes()
    order = np.asarray([2, 1, 0, *range(3, 12)])
    swapped = dataclasses.replace(
        data,
        memory={
            key: dataclasses.replace(part, reward=part.reward[order], chosen=part.chosen[order])
            for key, part in data.memory.items()
        },
    )
    before = choices(fitted(FrugalGptPersonal, data), data)[0]
    after = choices(fitted(FrugalGptPersonal, swapped), data)[0]
    assert (before[0] != before[2]).mean() > 0.2
    assert (after[[0, 2]] == before[[2, 0]]).mean() > 0.9


def test_shuffled_identities_cost_reward() -> None:
    data = past_with_tastes()
    entry = evaluate(data, [FrugalGptPersonal], bootstrap_draws=100).routers
    gain = next(e for e in entry if e["asked_for"])["metrics"]["shuffled_gain"]
    assert gain["mean"] > 0.05
    assert gain["p_value"] < 0.05


def test_strangers_get_the_blind_answer() -> None:
    data = past_with_tastes()
    found, bought = choices(fitted(FrugalGptPersonal, data), data, ["stranger", "user-0"])
    blind, paid = choices(fitted(FrugalGpt, data), data, ["user-0"])
    np.testing.assert_array_equal(found[:1], blind)
    np.testing.assert_array_equal(bought[:1], paid)


def test_one_user_alone_is_answered_as_among_all() -> None:
    data = past_with_tastes()
    router = fitted(FrugalGptPersonal, data)
    found, bought = choices(router, data)
    for name in ("user-2", "user-4"):
        alone, paid = choices(router, data, [name])
        np.testing.assert_array_equal(alone[0], found[int(name[5:])])
        np.testing.assert_array_equal(paid[0], bought[int(name[5:])])


def test_new_users_join_the_group_they_are_like() -> None:
    data = past_with_tastes()
    router = FrugalGptPersonal()
    router.fit(told(rows_of(data, np.arange(9))))
    before = choices(router, data)[0]
    router.adapt(told(rows_of(data, np.arange(9, 12)), validated=False, interactions_per_user=20))
    after = choices(router, data)[0]
    np.testing.assert_array_equal(after[:9], before[:9])
    assert (before[11] == 0).mean() < 0.5 < (after[11] == 0).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_little_and_broken_pasts(kind: Any, feedback: str) -> None:
    data = past_with_tastes(failures=0.4)
    options = {"feedback": feedback, "interactions_per_user": 2}
    found, _ = choices(fitted(kind, data, **options), data)
    assert ((found >= 0) & (found < 4)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_user_one_llm_no_validation(kind: Any) -> None:
    alone = rows_of(past_with_tastes(), np.asarray([4]))
    assert (choices(fitted(kind, alone, validated=False), alone)[0] >= 0).all()
    single = rows_of(past_with_tastes(), np.arange(12), np.asarray([2]))
    assert (choices(fitted(kind, single), single)[0] == 0).all()
    pair = rows_of(past_with_tastes(), np.arange(12), np.asarray([0, 1]))
    assert (choices(fitted(kind, pair), pair)[0] >= 0).all()


def test_a_past_that_tells_nothing_is_said() -> None:
    with pytest.raises(BenchError, match="tells nothing"):
        fitted(FrugalGpt, past_with_tastes(failures=1.0))


def test_a_failed_last_answer_is_not_given_where_there_is_another(tmp_path: Any) -> None:
    data = past_with_tastes()
    router = fitted(FrugalGpt, data)
    router.chains = [Chain((0, 1), (np.inf,))]
    status = data.status.copy()
    status[data.split_queries("test"), 1] = "refused"
    found, bought = choices(router, dataclasses.replace(data, status=status))
    assert (found == 0).all()
    assert (bought[..., 1] == 2).all()


@pytest.mark.parametrize(
    ("setting", "shots"), [("new-user", 0), ("new-user", 3), ("new-llm", 3), ("cross-task", None)]
)
def test_other_settings_run(setting: str, shots: int | None) -> None:
    results = evaluate(
        past_with_tastes(),
        ["frugal-gpt", "frugal-gpt-personal"],
        setting=setting,
        shots=shots,
        bootstrap_draws=0,
    )
    assert results.failed == []
    assert all(e["invalid"] == 0 for e in results.routers if e["asked_for"])


def test_the_words_of_an_answer_count(tmp_path: Any) -> None:
    """Answers that give away on disk whether they are good are told apart; prices alone cannot."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = past_with_tastes()
    rng = np.random.default_rng(0)
    good = rng.random(data.performance.shape) < 0.5
    performance = np.where(good, 0.9, 0.1).astype(np.float32)
    alpha = 0.95
    reward = np.broadcast_to(alpha * performance - 0.05 * data.cost, (12, *good.shape))
    memory = {
        key: dataclasses.replace(
            part,
            reward=reward[:, part.queries].astype(np.float32),
            chosen=reward[:, part.queries] == reward[:, part.queries].max(-1, keepdims=True),
        )
        for key, part in data.memory.items()
    }
    data = dataclasses.replace(data, performance=performance, memory=memory)
    save(data, tmp_path / "set")
    path = tmp_path / "set" / "responses.parquet"
    table = pq.read_table(path)
    text = np.where(good, "surely correct", "no idea at all").ravel().tolist()
    at = table.column_names.index("response")
    pq.write_table(table.set_column(at, "response", pa.array(text)), path)
    results = evaluate(tmp_path / "set", ["frugal-gpt", "knn"], bootstrap_draws=0)
    found = {name: results[name]["metrics"] for name in ("frugal-gpt", "knn")}
    assert found["frugal-gpt"]["performance"]["mean"] > 0.75 > found["knn"]["performance"]["mean"]
    assert found["frugal-gpt"]["calls"]["mean"] > 1.3
