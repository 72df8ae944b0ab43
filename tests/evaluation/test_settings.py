"""New users, new LLMs, tasks left out: who sees what, and that nothing else gets through."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from small_benchmark import STRATEGY, small_benchmark, with_interactions

from personaroute_bench.benchmark import Benchmark, Interactions
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.feedback import among, keep, newcomer
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.runner import evaluate

NEW_USERS = ("user-1", "user-4", "user-9", "user-11")
NEW_LLMS = ("llm-1", "llm-3")
BASELINES = ("best-single", "best-per-task", "best-per-user", "best-per-user-task", "random",
             "cheapest", "smallest", "largest")  # fmt: skip


class Listening:
    """Keeps what it is told and chooses the first candidate."""

    seen: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.support: History | None = None
        type(self).seen.append(self)

    def fit(self, history: History) -> None:
        self.history = history

    def adapt(self, support: History) -> None:
        self.support = support

    def route(self, requests: Requests) -> Any:
        self.requests = requests
        return np.zeros(len(requests), np.int64)


def listen(benchmark: Benchmark, **options: Any) -> list[Listening]:
    """Return the listeners, one a seed and fold."""
    kind = type("Kind", (Listening,), {"seen": []})
    results = evaluate(benchmark, [kind], bootstrap_draws=0, **options)
    assert not results.failed, results.traces
    return list(kind.seen)


def told(support: History) -> dict[tuple[str, str, str], float]:
    """(user, query, LLM) to its value, for what is observed."""
    u, q, m = np.nonzero(support.observed)
    ids = (support.user_ids[u], support.query_ids[q], support.llm_ids[m])
    values = support.values[u, q, m].tolist()
    return dict(zip(zip(*(x.tolist() for x in ids), strict=True), values, strict=True))


def test_fit_knows_no_new_user_and_only_they_ask(benchmark: Benchmark) -> None:
    (router,) = listen(benchmark, setting="new-user", held_out=NEW_USERS, shots=3)
    assert not set(NEW_USERS) & set(router.history.user_ids.tolist())
    assert len(router.history.user_ids) == 8
    assert router.history.validation is not None
    assert len(router.history.validation.user_ids) == 8
    assert router.requests.user_ids.tolist() == list(NEW_USERS)
    assert router.requests.users["user_id"].to_pylist() == list(NEW_USERS)
    support = router.support
    assert support is not None
    assert support.user_ids.tolist() == list(NEW_USERS)
    assert support.validation is None
    assert (support.observed.all(axis=-1).sum(axis=1) == 3).all()
    train = benchmark.memory[STRATEGY, "train"].reward
    for (user, query, llm), value in told(support).items():
        assert value == train[int(user[5:]), int(query[1:]), int(llm[4:])]


def test_who_shares_a_persona_is_new_together() -> None:
    data = small_benchmark(users=30)
    alone = evaluate(data, ["random"], setting="new-user", bootstrap_draws=0).data["held_out"]
    for personas, expected in (
        ([f"p{u}" for u in range(30)], 10),
        ([None] * 30, 10),
        ([f"p{u // 6}" for u in range(30)], 12),
    ):
        users = data.users.append_column("persona_id", [personas])
        shared = dataclasses.replace(data, users=users)
        held = evaluate(shared, ["random"], setting="new-user", bootstrap_draws=0).data["held_out"]
        assert len(held) == expected
        if expected == 10:
            assert held == alone
        new = {personas[int(name[5:])] for name in held}
        known = {personas[u] for u in range(30) if f"user-{u}" not in held}
        assert not (new & known) - {None}


def test_a_third_of_the_users_and_half_of_the_llms_are_held_out_by_hash() -> None:
    data = small_benchmark(users=30, llms=5)
    users = evaluate(data, ["random"], setting="new-user", bootstrap_draws=0).data
    llms = evaluate(data, ["random"], setting="new-llm", bootstrap_draws=0, seeds=2).data
    assert len(users["held_out"]) == 10
    assert len(llms["held_out"]) == 2
    assert users["shots"] == llms["shots"] == 10
    assert users["sizes"]["users"] == 10
    assert users["rows"]["total"] == 80
    again = evaluate(data, ["random"], setting="new-user", shots=0, seeds=2, bootstrap_draws=0)
    assert again.data["held_out"] == users["held_out"]  # whatever the seeds and shots


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.parametrize("setting", ["new-user", "new-llm"])
def test_the_support_is_the_same_for_all_and_grows_with_k(setting: str, feedback: str) -> None:
    data, before = small_benchmark(failures=0.1), {}
    for shots in (0, 1, 3, 10, 20):
        options = {"setting": setting, "shots": shots, "feedback": feedback}
        one, two = (listen(data, **options)[0].support for _ in range(2))
        assert one is not None
        assert two is not None
        now = told(one)
        assert now == pytest.approx(told(two), nan_ok=True)
        assert before.items() <= now.items()
        assert len(now) > len(before) or shots == 0
        before = now


def test_each_repetition_has_its_own_support(benchmark: Benchmark) -> None:
    one, two = listen(benchmark, setting="new-user", shots=2, seeds=2)
    assert one.support is not None
    assert two.support is not None
    assert told(one.support).keys() != told(two.support).keys()


def test_zero_shots_tell_who_is_new_and_nothing_of_them(benchmark: Benchmark) -> None:
    (router,) = listen(benchmark, setting="new-user", held_out=NEW_USERS, shots=0)
    assert router.support is not None
    assert router.support.observed.shape == (4, 0, 4)
    (router,) = listen(benchmark, setting="new-llm", held_out=NEW_LLMS, shots=0)
    assert router.support is not None
    assert router.support.observed.shape == (0, 0, 4)
    assert router.support.llms["llm_id"].to_pylist() == ["llm-0", "llm-2", *NEW_LLMS]


def test_fit_knows_no_new_llm_and_candidates_stand_in_the_supports_order() -> None:
    data = small_benchmark(failures=0.1)
    (router,) = listen(data, setting="new-llm", held_out=NEW_LLMS, shots=3)
    history, support = router.history, router.support
    order = ["llm-0", "llm-2", *NEW_LLMS]
    for known in (history, history.validation):
        assert known is not None
        assert known.llm_ids.tolist() == order[:2]
        assert known.llms["llm_id"].to_pylist() == order[:2]
        assert set(known.responses["llm_id"].to_pylist()) == set(order[:2])
        assert known.rewards.shape[-1] == known.performance.shape[-1] == known.status.shape[-1] == 2
    assert support is not None
    assert support.llm_ids.tolist() == router.requests.candidates.tolist() == order
    assert router.requests.llms["llm_id"].to_pylist() == order
    # each new LLM has been tried by three, next to the known ones and no other new one
    assert support.observed[:, :, 2:].sum(axis=(0, 1)).tolist() == [3, 3]
    assert (support.observed.sum(axis=-1) <= 3).all()
    tried = support.observed[:, :, 2:].any(axis=0)
    np.testing.assert_array_equal(support.status[:, 2:] != "undisclosed", tried)
    assert np.isnan(support.performance[:, 2:][~tried]).all()
    assert np.isnan(support.cost_usd[:, 2:][~tried]).all()
    assert not np.isnan(support.cost_usd[:, :2]).any()
    rows = dict.fromkeys(order, 0)
    for name in support.responses["llm_id"].to_pylist():
        rows[name] += 1
    assert [rows[name] for name in order[2:]] == tried.sum(axis=0).tolist()


def test_an_index_means_the_same_llm_everywhere(benchmark: Benchmark) -> None:
    class ById(Listening):
        def route(self, requests: Requests) -> Any:
            return ["llm-3"] * len(requests)

    class ByIndex(ById):
        def route(self, requests: Requests) -> Any:
            return np.full(len(requests), requests.candidates.tolist().index("llm-3"))

    results = evaluate(
        benchmark, [ById, ByIndex], setting="new-llm", held_out=["llm-1", "llm-2"]
    ).routers
    digests = {entry["choices_sha256"] for entry in results if entry["asked_for"]}
    assert len(digests) == 1
    reward = next(entry["metrics"]["reward"]["mean"] for entry in results if entry["asked_for"])
    hidden = benchmark.memory[STRATEGY, "test"].reward
    assert reward == pytest.approx(float(hidden[:, :, 3].mean()))


def test_what_a_user_takes_when_not_all_are_there() -> None:
    reward = np.asarray([[[0.1, 0.5, 0.9]], [[0.0, 0.0, 1.0]], [[0.5, 0.5, 0.0]]], np.float32)
    chosen = reward == reward.max(axis=-1, keepdims=True)
    part = Interactions(np.arange(3), np.arange(1), reward, chosen)
    found = among(part, np.asarray([True, True, False])).chosen[:, 0]
    # the second best; unknown, since a judge named only its winner; both of a tie that is there
    assert found.tolist() == [[False, True, False], [False, False, False], [True, True, False]]


def test_new_llms_are_dealt_pairs_of_their_own() -> None:
    users, queries = np.asarray(["a", "b", "c"]), np.asarray(list("123456"))
    few, many = (newcomer(users, queries, 2, k, seed=0) for k in (2, 5))
    assert [(few == m).sum() for m in (0, 1)] == [2, 2]
    assert [(many == m).sum() for m in (0, 1)] == [5, 5]
    np.testing.assert_array_equal(many[few >= 0], few[few >= 0])
    assert (newcomer(users, queries, 2, 100, seed=0) >= 0).all()


def test_a_task_left_out_is_in_no_history(benchmark: Benchmark) -> None:
    one, two = listen(benchmark, setting="cross-task")
    for router, task in ((one, 0), (two, 1)):
        history = router.history
        assert history.validation is not None
        for part in (history, history.validation):
            assert (part.task_of_query == 1 - task).all()
            assert set(part.responses["query_id"].to_pylist()) == set(part.query_ids.tolist())
        assert history.task_ids.tolist() == ["maths", "reading"]
        assert (router.requests.task_of_query == task).all()
        assert len(router.requests) == 12 * 4
        assert router.support is None


def test_cross_task_puts_the_tasks_together(benchmark: Benchmark) -> None:
    class TaskLeftOut(Listening):
        """Chooses the number of the task it has not been told of."""

        def route(self, requests: Requests) -> Any:
            return np.full(len(requests), 1 - self.history.task_of_query[0])

    results = evaluate(benchmark, [TaskLeftOut], setting="cross-task", bootstrap_draws=0)
    assert results.data["held_out"] == ["maths", "reading"]
    entry = next(e for e in results.routers if e["asked_for"])
    hidden = benchmark.memory[STRATEGY, "test"].reward
    means = [float(hidden[:, task::2, task].mean()) for task in (0, 1)]
    *tasks, average = entry["by"]["task"]
    assert [row["name"] for row in tasks] == ["maths", "reading"]
    assert [row["reward"] for row in tasks] == pytest.approx(means)
    assert [row["n"] for row in tasks] == [48, 48]
    assert average["reward"] == pytest.approx(np.mean(means))
    assert entry["metrics"]["reward"]["mean"] == pytest.approx(np.mean(means))
    one = evaluate(benchmark, [TaskLeftOut], setting="cross-task", held_out=["reading"])
    assert one.data["sizes"]["test"] == 4
    assert one.data["rows"]["total"] == 48


def test_a_task_that_cannot_be_left_out(benchmark: Benchmark) -> None:
    single = dataclasses.replace(
        benchmark,
        queries=benchmark.queries.set_column(1, "task_id", pa.array(["maths"] * 34)),
    )
    for options in ({}, {"held_out": ["reading"]}):
        with pytest.raises(UsageError, match="cross-task needs two tasks"):
            evaluate(single, ["random"], setting="cross-task", **options)


SETTINGS: list[dict[str, Any]] = [
    {"setting": "new-user", "held_out": NEW_USERS, "shots": 3},
    {"setting": "new-llm", "held_out": NEW_LLMS, "shots": 3},
    {"setting": "cross-task", "held_out": ("reading",)},
]


def digests(benchmark: Benchmark, **options: Any) -> dict[str, str]:
    results = evaluate(benchmark, BASELINES, bootstrap_draws=0, **options)
    assert all(entry["status"] == "ok" for entry in results.routers)
    return {e["name"]: e["choices_sha256"] for e in results.routers if e["kind"] == "router"}


def undisclosed(data: Benchmark, setting: str) -> Benchmark:
    """Return the data set with everything changed that a setting must not disclose."""
    rng = np.random.default_rng(7)
    performance, usd = data.performance.copy(), data.cost_usd.copy()
    hidden = data.memory[STRATEGY, "test"]
    performance[hidden.queries], usd[hidden.queries] = 0.123, 77.0
    changed = with_interactions(data, "test", reward=-hidden.reward, chosen=~hidden.chosen)
    for split in ("train", "validation"):
        part = data.memory[STRATEGY, split]
        users, queries = data.user_ids[part.users], data.query_ids[part.queries]
        secret = np.zeros(part.reward.shape, dtype=np.bool_)
        if setting == "new-user":
            new = np.isin(users, NEW_USERS)
            kept = keep(users[new], queries, 3 if split == "train" else 0, seed=0)
            secret[new] = ~kept[:, :, None]
        elif setting == "new-llm":
            tried = newcomer(users, queries, 2, 3 if split == "train" else 0, seed=0)
            for number, llm in enumerate((1, 3)):
                secret[:, :, llm] = tried != number
                never = part.queries[(tried != number).all(axis=0)]
                performance[never, llm], usd[never, llm] = 0.321, 55.0
        else:
            reading = data.task_of_query[part.queries] == 1
            secret[:, reading] = True
            performance[part.queries[reading]], usd[part.queries[reading]] = 0.321, 55.0
        reward = np.where(secret, rng.random(part.reward.shape), part.reward).astype(np.float32)
        chosen = reward == np.fmax.reduce(reward, axis=-1, keepdims=True)
        changed = with_interactions(changed, split, reward=reward, chosen=chosen)
    return dataclasses.replace(changed, performance=performance, cost_usd=usd)


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.parametrize("options", SETTINGS, ids=lambda options: options["setting"])
def test_nothing_undisclosed_reaches_a_choice(options: dict[str, Any], feedback: str) -> None:
    data = small_benchmark()
    before = digests(data, feedback=feedback, **options)
    changed = undisclosed(data, options["setting"])
    assert digests(changed, feedback=feedback, **options) == before
    general = digests(changed, feedback=feedback)
    assert general != digests(data, feedback=feedback)  # the change would matter


@pytest.mark.parametrize("options", SETTINGS, ids=lambda options: options["setting"])
def test_all_routers_work_in_every_setting(options: dict[str, Any]) -> None:
    data = small_benchmark(failures=0.3)
    for more in (
        {},
        {"feedback": "choice", "interactions_per_user": 2},
        {"feedback": "pairwise", "tier": "T0"},
        {"shots": 0},
    ):
        if "shots" in more and options["setting"] == "cross-task":
            continue
        results = evaluate(data, BASELINES, bootstrap_draws=100, **options | more)
        assert all(e["status"] == "ok" for e in results.routers), results.traces
        assert results["oracle"]["metrics"]["regret"]["mean"] == 0


def test_retention_is_few_shots_over_all_of_it(benchmark: Benchmark, tmp_path: Path) -> None:
    results = evaluate(
        benchmark,
        ["best-per-user", "cheapest"],
        setting="new-user",
        held_out=NEW_USERS,
        shots=1,
        retention=True,
        bootstrap_draws=100,
        choices_dir=tmp_path,
    )
    known = evaluate(benchmark, ["best-per-user"], choices_dir=tmp_path / "full")
    entry = results["best-per-user"]
    twin = entry["fully_trained"]
    metrics = entry["metrics"]
    full = known["best-per-user"]
    assert twin["status"] == full["status"] == "ok"
    assert (tmp_path / "best-per-user-full.parquet").is_file()
    for metric, name in (("reward", "reward"), ("oracle_normalised_reward", "normalised")):
        ratio = metrics[metric]["mean"] / twin[metric]
        assert metrics[f"{name}_retention"]["mean"] == pytest.approx(ratio)
    assert metrics["normalised_retention"]["low"] < metrics["normalised_retention"]["high"]
    assert twin["reward"] >= metrics["reward"]["mean"]
    assert results["cheapest"]["metrics"]["reward_retention"]["mean"] == pytest.approx(1)
    assert results["oracle"]["fully_trained"] is None
    # the twin answers like a router of the general setting
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "best-per-user-full.parquet").to_pylist()
    whole = pq.read_table(tmp_path / "full" / "best-per-user.parquet").to_pylist()
    assert table == [row for row in whole if row["user_id"] in NEW_USERS]


@pytest.mark.parametrize("setting", ["new-user", "new-llm", "cross-task"])
def test_twins_too_are_committed_before_outcomes_are_read(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    read, blocks = [], Benchmark.blocks

    def record(self: Benchmark, strategy: str, split: str) -> Iterator[Interactions]:
        read.append((split, {path.stem for path in tmp_path.glob("*.parquet")}))
        return blocks(self, strategy, split)

    monkeypatch.setattr(Benchmark, "blocks", record)
    options: dict[str, Any] = {"choices_dir": tmp_path, "retention": True, "bootstrap_draws": 0}
    evaluate(benchmark, ["random"], setting=setting, **options)
    names = {"random", "best-single", "best-per-user"}
    committed = names | {f"{name}-full" for name in names}
    assert read == [("train", set()), ("validation", set()), ("test", committed)]


def test_retention_of_next_to_nothing_is_unknown(benchmark: Benchmark) -> None:
    results = evaluate(
        benchmark, ["random"], setting="new-user", held_out=NEW_USERS, retention=True
    )
    metrics = results["random"]["metrics"]
    assert metrics["normalised_retention"]["mean"] is None
    assert metrics["normalised_retention"]["low"] is None


def test_a_twin_that_fails_says_so(benchmark: Benchmark) -> None:
    class Choosy(Listening):
        def fit(self, history: History) -> None:
            if len(history.user_ids) == 12:
                raise ValueError("too many users")

    results = evaluate(benchmark, [Choosy], setting="new-user", retention=True, bootstrap_draws=0)
    entry = next(e for e in results.routers if e["asked_for"])
    assert entry["status"] == "ok"
    assert "too many users" in entry["fully_trained"]["status"]
    assert "reward_retention" not in entry["metrics"]
    results.print()


def test_an_adapt_that_raises_is_a_failure_of_the_router(benchmark: Benchmark) -> None:
    class Broken(Listening):
        def adapt(self, support: History) -> None:
            raise ValueError("cannot adapt")

    results = evaluate(benchmark, [Broken], setting="new-llm", bootstrap_draws=0)
    assert "cannot adapt" in next(e["status"] for e in results.routers if e["asked_for"])
    assert evaluate(benchmark, [Broken], bootstrap_draws=0).failed == []  # nobody calls it there
