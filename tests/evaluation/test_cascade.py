"""Cascades: what they are shown, what they pay, and what happens to those who break the rules."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_benchmark import STRATEGY, save, small_benchmark, with_interactions

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.bill import Bill, cost_weights, make_bill
from personaroute_bench.evaluation.cascade import (
    SHOWN,
    Bought,
    Step,
    Till,
    ask_cascade,
    purchases_digest,
)
from personaroute_bench.evaluation.clock import Clock
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.requests import make_requests
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.settings import Fold
from personaroute_bench.evaluation.shuffle import shuffled

NONE = np.zeros(0, dtype=np.int64)


class Ladder:
    """Buys LLM 0, 1, … up to the user's number modulo 3, then answers with the last."""

    def fit(self, history: History) -> None:
        self.seen: list[Bought] = []

    def step(self, requests: Requests, bought: Bought) -> Step:
        self.seen.append(bought)
        number = np.asarray([int(str(name)[5:]) % 3 for name in requests.user_ids])
        rounds = bought.llms.shape[1]
        stop = number[requests.user_index] < rounds
        return Step(np.where(stop, rounds - 1, rounds), stop)


class Answer:
    """A batch router that gives the same answers."""

    def fit(self, history: History) -> None: ...

    def route(self, requests: Requests) -> Any:
        number = np.asarray([int(str(name)[5:]) % 3 for name in requests.user_ids])
        return number[requests.user_index]


def name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def fold_of(data: Benchmark, llms: int = 4) -> Fold:
    users = np.arange(len(data.user_ids))
    return Fold(users, np.arange(llms), llms, -1, users, data.split_queries("test"), NONE)


def ask(data: Benchmark, router: Any) -> tuple[Any, Any, str | None, Till]:
    fold = fold_of(data, len(data.llm_ids))
    till = Till(data, fold)
    (requests,) = make_requests(data, fold, "T1", None)
    return *ask_cascade(router, requests, till), till


def test_every_call_is_paid() -> None:
    data = small_benchmark()
    results = evaluate(data, [Ladder, Answer], bootstrap_draws=100)
    cascade, batch = results[name_of(Ladder)], results[name_of(Answer)]
    assert (cascade["protocol"], batch["protocol"]) == ("cascade", "batch")
    assert results["oracle"]["protocol"] == "batch"
    test = data.split_queries("test")
    last = np.arange(12) % 3
    weight = data.users["cost_weight"].to_numpy()
    others = np.stack([data.cost[test][:, :m].sum(axis=1) for m in last])
    lost = float((weight[:, None] * others).mean())
    assert lost > 0.03
    gap = batch["metrics"]["reward"]["mean"] - cascade["metrics"]["reward"]["mean"]
    assert gap == pytest.approx(lost, abs=1e-6)
    for metric, sign in (("regret", 1), ("reward", -1)):
        both = [entry["metrics"][metric]["mean"] for entry in (cascade, batch)]
        assert both[0] - both[1] == pytest.approx(sign * lost, abs=1e-6)
    assert cascade["metrics"]["accuracy"] == batch["metrics"]["accuracy"]
    assert cascade["metrics"]["performance"] == batch["metrics"]["performance"]
    assert cascade["metrics"]["cost_usd"]["mean"] == pytest.approx(0.001 * (1 + 3 + 6) / 3)
    assert cascade["metrics"]["calls"]["mean"] == 2.0
    assert "calls" not in batch["metrics"]
    assert cascade["choices_sha256"] == batch["choices_sha256"]
    assert cascade["per_seed"][0]["reward"] == cascade["metrics"]["reward"]["mean"]


def test_a_reward_without_cost_loses_nothing_but_usd() -> None:
    data = small_benchmark()
    judged = {("llm_judge", split): part for (_, split), part in data.memory.items()}
    data = small_benchmark(memory=judged)
    results = evaluate(data, [Ladder, Answer], strategy="llm_judge", bootstrap_draws=0)
    cascade, batch = (results[name_of(kind)]["metrics"] for kind in (Ladder, Answer))
    assert cascade["reward"] == batch["reward"]
    assert cascade["cost_usd"]["mean"] > batch["cost_usd"]["mean"]


def test_only_what_was_bought_is_shown_and_no_outcome(tmp_path: Path) -> None:
    data = small_benchmark(failures=0.2)
    save(data, tmp_path / "set")
    data = Benchmark.load(tmp_path / "set")
    router = Ladder()
    router.fit(None)  # type: ignore[arg-type]
    choice, purchases, problem, till = ask(data, router)
    assert problem is None
    assert (choice.reshape(12, 8) == (np.arange(12) % 3)[:, None]).all()
    assert (purchases[0] == [1, 0, 0, 0]).all()
    assert (purchases[16] == [1, 2, 3, 0]).all()
    # LLM 3 was never bought, and nothing of it was read
    assert set(till.responses["llm_id"].to_pylist()) == {"llm-0", "llm-1", "llm-2"}
    assert till.responses.num_rows == 3 * 8
    for bought in router.seen:
        assert set(bought.responses.column_names) <= {"query_id", "llm_id", *SHOWN}
        assert not {"performance", "cost", "reward"} & set(bought.responses.column_names)
    assert [b.llms.shape[1] for b in router.seen] == [0, 1, 2, 3]
    assert router.seen[0].responses.num_rows == 0
    assert set(router.seen[1].responses["llm_id"].to_pylist()) == {"llm-0"}
    last = router.seen[-1]
    shown = last[0]
    assert [row["llm_id"] for row in shown] == ["llm-0", "llm-1", "llm-2"]
    query = data.query_ids[data.split_queries("test")[0]]
    assert [row["query_id"] for row in shown] == [query] * 3
    assert shown[1]["response"] == f"answer {query} llm-1"
    q = data.split_queries("test")
    status = {(row["query_id"], row["llm_id"]): row["status"] for row in till.responses.to_pylist()}
    assert all(
        status[str(data.query_ids[i]), f"llm-{m}"] == data.status[i, m] for i in q for m in range(3)
    )
    assert "refused" in status.values()


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_test_outcome_changes_a_cascade(tmp_path: Path, on_disk: bool) -> None:
    data = small_benchmark()
    hidden = data.memory[STRATEGY, "test"]
    other = with_interactions(data, "test", reward=-hidden.reward, chosen=~hidden.chosen)
    performance = other.performance.copy()
    performance[data.split_queries("test")] = 0.5
    other = with_interactions(
        small_benchmark(performance=performance, memory=other.memory),
        "test",
        reward=-hidden.reward,
    )
    found = []
    for i, one in enumerate((data, other)):
        if on_disk:
            save(one, tmp_path / str(i))
            one = Benchmark.load(tmp_path / str(i))  # noqa: PLW2901
        entry = evaluate(one, ["frugal-gpt-personal", Ladder], bootstrap_draws=0)
        names = ("frugal-gpt-personal", name_of(Ladder))
        found.append([{**entry[n]["per_seed"][0], "name": n} for n in names])
        found[-1] = [(s["choices_sha256"], s["purchases_sha256"]) for s in found[-1]]
    assert found[0] == found[1]


def test_purchases_stand_in_the_choices_file_and_in_the_hash(tmp_path: Path) -> None:
    data = small_benchmark()
    results = evaluate(data, [Ladder], bootstrap_draws=0, choices_dir=tmp_path, seeds=2)
    entry = results[name_of(Ladder)]
    rows = pq.read_table(tmp_path / entry["choices_file"]).to_pylist()
    assert rows[8]["bought"] == ["llm-0", "llm-1"]
    text = "".join("\x1f".join([r["user_id"], r["query_id"], *r["bought"]]) + "\x1e" for r in rows)
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert [seed["purchases_sha256"] for seed in entry["per_seed"]] == [expected] * 2
    assert json.dumps(results.data, allow_nan=False)


def test_the_order_of_purchases_is_hashed() -> None:
    ids = (np.asarray(["u"]), np.asarray(["q"]), np.asarray(["a", "b"]))
    one, two = np.asarray([[[1, 2]]], np.int16), np.asarray([[[2, 1]]], np.int16)
    assert purchases_digest(one, *ids) == hashlib.sha256(b"u\x1fq\x1fa\x1fb\x1e").hexdigest()
    assert purchases_digest(two, *ids) == hashlib.sha256(b"u\x1fq\x1fb\x1fa\x1e").hexdigest()


class Scripted:
    """Says to all requests what a script says for the round."""

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.calls = 0

    def fit(self, history: History) -> None: ...

    def step(self, requests: Requests, bought: Bought) -> Any:
        answer = self.script[min(self.calls, len(self.script) - 1)]
        self.calls += 1
        if not isinstance(answer, tuple):
            return answer
        n = len(requests)
        return tuple([part] * n if not isinstance(part, list) else part for part in answer)


def buy(m: Any) -> tuple[Any, bool]:
    return m, False


def stop(m: Any) -> tuple[Any, bool]:
    return m, True


@pytest.mark.parametrize(
    ("script", "problem", "paid"),
    [
        ([stop(0)], "stopped with 'llm-0', which was not bought", 0),
        ([buy(1), stop(0)], "stopped with 'llm-0', which was not bought", 1),
        ([buy(1), buy(1)], "bought 'llm-1' twice", 1),
        ([buy("llm-9")], "'llm-9' is no candidate", 0),
        ([buy(-1)], "index -1 is outside", 0),
        ([buy(0), buy(1), buy(2), buy(3), buy(0)], "bought 'llm-0' twice", 4),
        ([None], "step returned None instead of a Step", 0),
        ([[1, 2]], "step returned .* instead of a Step", 0),
        ([(0, 1)], "stop is int64 .* instead of bool", 0),
        ([([0], [False])], "1 answers to 96 requests", 0),
        ([(0, [False])], "stop is bool of shape \\(1,\\) instead", 0),
        ([(0, [[False], [False, True]])], "stop is .* instead of bool", 0),
    ],
)
def test_broken_rules_are_invalid_and_paid(script: list[Any], problem: str, paid: int) -> None:
    import re

    data = small_benchmark()
    choice, purchases, said, _ = ask(data, Scripted(*script))
    assert (choice == -1).all()
    assert re.search(problem, said or "")
    assert ((purchases > 0).sum(axis=1) == paid).all()


def test_rounds_are_bounded_and_all_can_be_bought() -> None:
    router = Scripted(buy(0), buy(1), buy(2), buy(3), stop("llm-2"))
    choice, purchases, problem, _ = ask(small_benchmark(), router)
    assert (choice == 2).all()
    assert (purchases == [1, 2, 3, 4]).all()
    assert problem is None
    endless = Scripted(buy(0), buy(1), buy(2), buy(3), buy(3), buy(3))
    ask(small_benchmark(), endless)
    assert endless.calls == 5


def test_a_block_is_answered_as_its_parts_are() -> None:
    data = small_benchmark()
    fold = fold_of(data)
    together, apart = [], []
    (requests,) = make_requests(data, fold, "T1", None)
    router = Ladder()
    router.fit(None)  # type: ignore[arg-type]
    together = ask_cascade(router, requests, Till(data, fold))[:2]
    for u in range(12):
        own = Fold(*(*vars(fold).values(),))
        object.__setattr__(own, "asking", np.asarray([u]))
        (one,) = make_requests(data, own, "T1", None)
        apart.append(ask_cascade(router, one, Till(data, own))[:2])
    np.testing.assert_array_equal(together[0], np.concatenate([a for a, _ in apart]))
    np.testing.assert_array_equal(together[1], np.concatenate([b for _, b in apart]))


def test_a_bill_by_hand() -> None:
    choice = np.asarray([[1, 0, -1, -1]])
    purchases = np.asarray([[[1, 2, 0], [1, 0, 2], [2, 1, 0], [0, 0, 0]]], np.int16)
    cost = np.asarray([[0.1, 0.5, 0.9], [0.2, 0.3, np.nan], [0.4, 0.6, 1], [0, 0, 0]], np.float32)
    usd = np.asarray([[1, 2, 3], [1, 2, np.nan], [1, 2, 4], [1, 1, 1]], np.float64)
    bill = make_bill(choice, purchases, cost, usd, np.full((1, 4), 0.5))
    # the failed call counts as the dearest of its query; an invalid answer pays for everything
    np.testing.assert_allclose(bill.others, [[0.1, 0.3, 1.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(bill.loss, [[0.05, 0.15, 0.5, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(bill.usd, [[3, np.nan, 3, np.nan]])
    np.testing.assert_array_equal(bill.calls, [[2, 2, 2, 0]])


def test_where_all_failed_a_call_costs_the_most() -> None:
    blank = np.full((1, 2), np.nan)
    purchases = np.asarray([[[1, 2]]], np.int16)
    bill = make_bill(np.asarray([[1]]), purchases, blank.astype(np.float32), blank, np.ones((1, 1)))
    assert bill.others == 1.0


def test_shuffled_users_pay_for_what_others_bought() -> None:
    rng = np.random.default_rng(0)
    reward = rng.random((5, 6, 3)).astype(np.float32)
    best = reward == reward.max(axis=-1, keepdims=True)
    outcomes = Outcomes.of(reward, best, reward[0], reward[0].astype(np.float64))
    choice = rng.integers(0, 3, (5, 6))
    others, weight = rng.random((5, 6)), rng.random((5, 6))
    bill = Bill(others, weight, others, np.ones((5, 6), np.int64))
    found = shuffled(outcomes, [choice, choice], [bill, bill]).reward
    expected = np.zeros((5, 6))
    for u in range(5):
        for v in set(range(5)) - {u}:
            expected[u] += reward[u, np.arange(6), choice[v]] - weight[u] * others[v]
    np.testing.assert_allclose(found, expected / 4)


def test_cost_weights_of_each_strategy() -> None:
    import pyarrow as pa

    data = small_benchmark(users=2)
    drifting = pa.array([[0.1, 0.9], [0.5, 0.6]], pa.list_(pa.float64(), 2))
    users = data.users.append_column("mixed_cost_weight", pa.array([0.25, 0.5]))
    users = users.append_column("drift_performance_weights", drifting)
    data = small_benchmark(users=2)
    object.__setattr__(data, "users", users)
    who, what = np.asarray([1, 0]), np.asarray([0, 1, 2])

    def of(strategy: str, clock: Clock | None = None) -> Any:
        return cost_weights(data, strategy, who, what, clock).tolist()

    assert of("multi_cost_efficiency") == [[0.0] * 3, [1.0] * 3]
    assert of("mixed") == [[0.5] * 3, [0.25] * 3]
    assert of("llm_judge") == [[0.0] * 3] * 2
    segment = np.zeros((2, len(data.query_ids)), np.int8)
    segment[:, 1] = 1
    drift = of("drift", Clock(segment.astype(np.int32), segment))
    np.testing.assert_allclose(drift, [[0.5, 0.4, 0.5], [0.9, 0.1, 0.9]])
    with pytest.raises(UsageError, match="cost weight"):
        of("drift")
    with pytest.raises(UsageError, match="cost weight"):
        of("another")


def test_what_cannot_be_billed_is_said_before_anything_is_fitted() -> None:
    class Unfitted(Ladder):
        def fit(self, history: History) -> None:
            raise AssertionError

    data = small_benchmark()
    object.__setattr__(data, "users", data.users.drop_columns(["cost_weight"]))
    with pytest.raises(UsageError, match=r"cost weight.*users\.cost_weight"):
        evaluate(data, [Unfitted], bootstrap_draws=0)
    sealed = data.manifest | {"seal": {"state": "sealed"}}
    object.__setattr__(data, "manifest", sealed)
    with pytest.raises(UsageError, match="is sealed"):
        evaluate(data, [Unfitted], bootstrap_draws=0)


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("new-user", {"shots": 2}),
        ("new-llm", {"shots": 2, "retention": True}),
        ("cross-task", {}),
        ("cross-task", {"held_out": ["maths"]}),
    ],
)
def test_cascades_in_other_settings(setting: str, options: Any, tmp_path: Path) -> None:
    data = small_benchmark()
    results = evaluate(
        data, [Ladder], setting=setting, bootstrap_draws=0, choices_dir=tmp_path, **options
    )
    entry = results[name_of(Ladder)]
    assert entry["status"] == "ok"
    for row in pq.read_table(tmp_path / entry["choices_file"]).to_pylist():
        rounds = int(row["user_id"][5:]) % 3 + 1
        assert len(row["bought"]) == rounds
        assert row["bought"][-1] == row["llm_id"]


def test_a_cascade_that_raises_is_a_failed_router() -> None:
    class Broken(Ladder):
        def step(self, requests: Requests, bought: Bought) -> Step:
            raise ValueError("no luck")

    results = evaluate(small_benchmark(), [Broken, Ladder], bootstrap_draws=0)
    assert len(results.failed) == 1
    assert "no luck" in results[results.failed[0]]["status"]
    assert results[name_of(Ladder)]["status"] == "ok"


def test_the_table_labels_them(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(small_benchmark(), [Ladder], bootstrap_draws=0).print()
    shown = capsys.readouterr().out
    assert f"{name_of(Ladder)} (cascade)" in shown
    assert "pays for all of them" in shown
    assert "(online)" not in shown
