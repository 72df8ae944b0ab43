"""What results say beside scores: users, standing, the scores of other benchmarks, the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.bootstrap import interval
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.standing import pack, paired_key, unpack
from personaroute_bench.evaluation.verdict import verdict


class Worst:
    """Everybody gets the last LLM, the dearest."""

    def fit(self, history: History) -> None: ...

    def route(self, requests: Requests) -> Any:
        return np.full(len(requests), len(requests.candidates) - 1)


class Broken(Worst):
    def route(self, requests: Requests) -> Any:
        raise ValueError("no")


@pytest.fixture(scope="module")
def results() -> Any:
    data = small_benchmark(users=40, queries=(40, 10, 48))
    return evaluate(data, ["best-per-user", Worst, Broken], bootstrap_draws=400)


def name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def test_regret_over_users_stands_on_the_choices(results: Any) -> None:
    data = small_benchmark(users=40, queries=(40, 10, 48))
    reward = data.memory[STRATEGY, "test"].reward.astype(np.float64)
    regret = np.sort((reward.max(axis=-1) - reward[:, :, -1]).mean(axis=1))
    found = results[name_of(Worst)]["metrics"]
    assert found["regret"]["mean"] == pytest.approx(regret.mean())
    assert found["regret_worst_decile"]["mean"] == pytest.approx(regret[35])
    assert found["regret_cvar10"]["mean"] == pytest.approx(regret[-4:].mean())
    for metric in ("regret_worst_decile", "regret_cvar10", "regret_gini", "users_harmed"):
        value = found[metric]
        assert value["n"] == 40
        assert value["low"] <= value["mean"] <= value["high"]
    single = results["best-single"]["metrics"]
    assert single["users_harmed"]["mean"] == 0
    assert found["users_harmed"]["mean"] > 0.5
    assert results["oracle"]["metrics"]["regret_gini"]["mean"] is None  # there is no regret


def test_who_treats_all_alike_is_not_told_apart(results: Any) -> None:
    blind, personal = results[name_of(Worst)]["metrics"], results["best-per-user"]["metrics"]
    assert blind["queries_told_apart"]["mean"] == blind["user_divergence"]["mean"] == 0
    assert personal["queries_told_apart"]["mean"] == 1
    assert 0 < personal["user_divergence"]["mean"] <= 1


def test_the_gain_over_the_best_user_blind_router(results: Any) -> None:
    found = results["best-per-user"]["personalisation"]
    assert found["baseline"] == "best-single"  # Worst is user-blind too, and worse
    rewards = {e["name"]: e["metrics"]["reward"]["mean"] for e in results.routers if e["metrics"]}
    assert found["gain"]["mean"] == pytest.approx(rewards["best-per-user"] - rewards["best-single"])
    largest = rewards["oracle"] - rewards["user-blind-oracle"]
    assert found["largest"]["mean"] == pytest.approx(largest)
    assert found["share"]["mean"] == pytest.approx(found["gain"]["mean"] / largest)
    headroom = results.data["headroom"]
    shuffled = results["best-per-user"]["metrics"]["shuffled_gain"]["mean"]
    way = headroom["oracle"] - headroom["random"]
    assert found["shuffled_share"]["mean"] == pytest.approx(shuffled / way)
    assert found["shuffled_share"]["low"] < found["shuffled_share"]["mean"]


def test_differences_are_corrected_for_how_many_there_are(results: Any) -> None:
    worst = {gap["baseline"]: gap for gap in results[name_of(Worst)]["differences"]}
    assert set(worst) == {"best-single", "best-per-user"}
    assert worst["best-single"]["mean"] == results[name_of(Worst)]["reward_difference"]["mean"]
    p = {
        name: results[name]["differences"][0]["p_value"]
        for name in ("best-per-user", name_of(Worst))
    }
    assert p["best-per-user"] < p[name_of(Worst)] < 0.05
    assert results["best-per-user"]["differences"][0]["p_holm"] == 2 * p["best-per-user"]
    assert worst["best-single"]["p_holm"] == p[name_of(Worst)]  # two are tested
    assert worst["best-single"]["high"] < 0
    (own,) = results["best-single"]["differences"]  # not tested against itself
    assert own["baseline"] == "best-per-user"
    assert results["oracle"]["differences"] == []


def test_ranks_leave_controls_out(results: Any) -> None:
    assert results[name_of(Worst)]["rank"] == {"best": 3, "worst": 3, "of": 3}
    assert results["best-per-user"]["rank"] == {"best": 1, "worst": 1, "of": 3}
    assert results["oracle"]["rank"] is None


def test_agreed_and_controversial_queries_are_all_queries(results: Any) -> None:
    entry = results["best-per-user"]
    found = entry["by_agreement"]
    assert set(found) == {"agreed", "controversial"}
    assert sum(part["queries"] for part in found.values()) == 48
    assert sum(part["n"] for part in found.values()) == 40 * 48
    for metric in ("reward", "accuracy", "shuffled_gain"):
        whole = sum(part[metric] * part["n"] for part in found.values()) / (40 * 48)
        assert whole == pytest.approx(entry["metrics"][metric]["mean"])
    assert found["controversial"]["shuffled_gain"] > 0


def test_scores_of_other_benchmarks(results: Any) -> None:
    found = results[name_of(Worst)]["field"]
    # the dearest LLM is also the best: it is the strong one, at its own cost
    assert found["pgr"] == pytest.approx(1)
    assert found["cost_ratio"] == pytest.approx(1)
    assert found["gain_at_best_single"] == pytest.approx(0)
    assert found["aiq_zero"] is not None
    assert found["qnc"] == pytest.approx(1)
    assert results["oracle"]["field"]["optimal_cost"] <= 1
    assert results["best-single"]["field"]["arena_score"] > 0


def test_the_verdicts(results: Any) -> None:
    assert results["oracle"]["verdict"] is None
    assert verdict(results[name_of(Broken)]) is None
    blind, personal = results[name_of(Worst)]["verdict"], results["best-per-user"]["verdict"]
    assert blind == (
        "personalises: no, every user gets the same LLM; worse than best-single and best-per-user"
    )
    assert personal.startswith("personalises: yes, shuffling users costs ")
    assert personal.endswith("p = 0.001; better than best-single")


def entry_of(queries: int = 9, **changes: Any) -> dict[str, Any]:
    gain = {"mean": 0.1, "low": 0.05, "p_value": 0.001}
    return {
        "status": "ok",
        "metrics": {
            "user_sensitivity": {"mean": 0.5},
            "shuffled_gain": gain | changes,
            "queries_told_apart": {"mean": 0.5, "n": queries},
        },
        "personalisation": {"shuffled_share": {"mean": 0.1234, "low": 0.10, "high": 0.14}},
        "differences": [],
    }


def test_a_verdict_claims_no_more_than_both_tests_do() -> None:
    cost = "shuffling users costs 12.3 % ± 2.0 of the way from random to the oracle, p = "
    assert verdict(entry_of()) == f"personalises: yes, {cost}0.001"
    assert verdict(entry_of(p_value=0.2)) == f"personalises: not shown, {cost}0.200"
    assert verdict(entry_of(mean=-0.1, p_value=0.9)) == f"personalises: no, {cost}0.900"
    for entry in (entry_of(low=-0.01), entry_of(low=None), entry_of(queries=8)):
        unsure = f"personalises: on these queries, perhaps not on others, {cost}0.001"
        assert verdict(entry) == unsure
    alone = entry_of()
    alone["metrics"]["user_sensitivity"]["mean"] = None
    assert "one user" in str(verdict(alone))
    hung = entry_of() | {"status": "timeout: not done within 5 s; 48 of 96 choices invalid"}
    assert verdict(hung) == "personalises: not known, it did not finish"
    blank = entry_of() | {"status": "96 of 96 choices invalid: 672 answers to 96 requests"}
    blank["metrics"]["queries_told_apart"]["mean"] = None
    assert verdict(blank) == "personalises: not known, none of its choices is valid"


def test_no_draws_and_one_user_are_no_claims(benchmark: Benchmark) -> None:
    entry = evaluate(benchmark, ["best-per-user"], bootstrap_draws=0)["best-per-user"]
    assert entry["metrics"]["regret_cvar10"]["low"] is None
    assert entry["differences"][0]["p_holm"] is None
    assert "best-single" not in entry["verdict"]
    lonely = evaluate(small_benchmark(users=1), ["best-per-user"], bootstrap_draws=100)
    assert lonely["best-per-user"]["personalisation"]["baseline"] is None
    assert "not known" in lonely["best-per-user"]["verdict"]
    json.dumps(lonely.data, allow_nan=False)


def test_failed_responses_and_unknown_costs_are_no_numbers(tmp_path: Path) -> None:
    data = small_benchmark(failures=0.3)
    data.cost_usd[:, 1] = np.nan
    results = evaluate(data, ["best-per-user", Worst], bootstrap_draws=100)
    results.write(tmp_path / "r.json")  # raises where anything is NaN
    nothing = small_benchmark(cost_usd=np.full(data.cost_usd.shape, np.nan))
    found = evaluate(nothing, [Worst], bootstrap_draws=100)
    assert found[name_of(Worst)]["metrics"]["cost_usd"]["mean"] is None
    found.write(tmp_path / "s.json")


def test_kept_draws_are_those_of_the_interval(results: Any) -> None:
    entry = results["best-per-user"]
    for metric in ("reward", "accuracy", "cost_usd"):
        low, high = interval(unpack(entry["draws"][metric], 400), 0.95, 40)
        assert low == entry["metrics"][metric]["low"]
        assert high == entry["metrics"][metric]["high"]


def test_packed_draws_are_whole_or_refused() -> None:
    values = np.asarray([0.1, -2.0, np.nan])
    np.testing.assert_array_equal(unpack(pack(values), 3), values)
    for text, draws in ((pack(values), 4), ("$", 3), (None, 3), (3, 3)):
        with pytest.raises(UsageError):
            unpack(text, draws)


def test_the_key_changes_with_outcomes_ids_and_draws() -> None:
    rng = np.random.default_rng(0)
    reward = rng.random((3, 4, 2)).astype(np.float32)
    reward[0, 0, 0] = np.nan

    def key(values: Any, users: str = "abc", draws: int = 100) -> dict[str, Any]:
        zero = np.zeros((4, 2), np.float32)
        made = Outcomes.of(values, np.zeros(values.shape, bool), zero, zero.astype(np.float64))
        ids = (np.asarray(list(users)), np.asarray(list("wxyz")), np.asarray(list("mn")))
        return paired_key(made, ids, draws, seed=0)  # type: ignore[arg-type]

    assert key(reward) == key(reward.copy())
    other = reward.copy()
    other[1, 1, 1] += 1e-6
    assert key(other)["outcomes_sha256"] != key(reward)["outcomes_sha256"]
    assert key(reward, users="abd")["outcomes_sha256"] != key(reward)["outcomes_sha256"]
    assert key(reward, draws=200)["draws_sha256"] != key(reward)["draws_sha256"]
    assert key(reward, draws=0)["draws_sha256"] is None
