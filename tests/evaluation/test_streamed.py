"""Many users, block by block: the same figures as all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_benchmark import small_benchmark
from small_data import write_pool, write_responses

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation import bootstrap, commit, requests, streamed, streamed_results
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.generate import generate
from personaroute_bench.schemas import STRATEGIES

CHEAP = ("random", "cheapest", "best-single", "best-per-task", "best-per-user",
         "best-per-user-task")  # fmt: skip
TIMES = {"fit_s", "route_s", "adapt_s", "decision_s", "latency_s"}


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four users a block of the training split, eight of the test split, six of the requests."""
    monkeypatch.setattr(streamed, "BLOCK_CELLS", 400)
    monkeypatch.setattr(requests, "BLOCK_REQUESTS", 50)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("made")
    found = {}
    for form in ("stored", "virtual"):
        found[form] = made / form
        data = DataConfig(
            users=30, strategies=STRATEGIES, responses=str(write_responses(source)),
            pool=str(write_pool(source)), interactions=form,  # type: ignore[arg-type]
        )  # fmt: skip
        generate(data, found[form])
    return found


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            yield f"{place}: {set(ours) ^ set(theirs)}"
            return
        for key in theirs:
            if key not in TIMES:
                yield from differences(ours[key], theirs[key], f"{place}/{key}")
    elif isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{place}: {len(ours)} instead of {len(theirs)}"
            return
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(a, b, f"{place}/{i}")
    elif place.rpartition("/")[0].endswith("draws"):
        from personaroute_bench.evaluation.standing import unpack

        draws = len(theirs) * 3 // 4 // 8
        if not np.allclose(unpack(ours, draws), unpack(theirs, draws), 1e-9, 1e-12, True):
            yield f"{place}: other draws"
    elif isinstance(theirs, float) and isinstance(ours, float):
        if ours != pytest.approx(theirs, rel=1e-9, abs=1e-12):
            yield f"{place}: {ours} instead of {theirs}"
    elif ours != theirs:
        yield f"{place}: {ours!r} instead of {theirs!r}"


def same(data: Any, other: Any = None, **options: Any) -> None:
    options = {"routers": CHEAP, "bootstrap_draws": 100, **options}
    theirs = evaluate(data if other is None else other, stream=False, **options).data
    ours = evaluate(data, stream=True, **options).data
    found = list(differences({**ours, "data": None}, {**theirs, "data": None}))
    assert not found, "\n".join(found[:20])
    assert {entry["status"] for entry in theirs["routers"]} == {"ok"}


@pytest.mark.parametrize(
    ("feedback", "failures"), [("full", 0.0), ("full", 0.3), ("choice", 0.3), ("pairwise", 0.3)]
)
def test_results_are_those_of_all_users_at_once(
    block: None, feedback: str, failures: float
) -> None:
    same(small_benchmark(users=13, failures=failures), feedback=feedback)


def test_so_they_are_user_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "BLOCK_CELLS", 1)
    same(small_benchmark(users=5))


def test_so_they_are_with_seeds_few_interactions_and_cross_task(block: None) -> None:
    data = small_benchmark(users=13, failures=0.2)
    same(data, seeds=2, feedback="choice", interactions_per_user=3)
    same(data, setting="cross-task", interactions_per_user=4)
    same(data, history_users=5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_virtual_and_stored_data_have_the_same_results(
    folders: dict[str, Path], strategy: str
) -> None:
    setting = "drift" if strategy == "drift" else "general"
    options = {"strategy": strategy, "setting": setting, "tier": "T3"}
    same(folders["virtual"], folders["stored"], **options)
    same(folders["stored"], folders["virtual"], **options)


@pytest.mark.parametrize(
    ("setting", "feedback"),
    [("new-user", "full"), ("new-user", "choice"), ("new-llm", "pairwise"), ("cross-task", "full")],
)
def test_virtual_data_work_in_every_setting(
    folders: dict[str, Path], setting: str, feedback: str
) -> None:
    options = {"routers": CHEAP, "bootstrap_draws": 0, "feedback": feedback, "setting": setting}
    ours, theirs = (
        evaluate(folders[form], strategy="mixed", stream=False, **options).data
        for form in ("virtual", "stored")
    )
    assert not list(differences({**ours, "data": None}, {**theirs, "data": None}))


class Watched:
    """Chooses by user from what the blocks tell, and notes what it was given."""

    personal = True

    def fit(self, history: History) -> None:
        self.told = [block.user_ids.tolist() for block in history.blocks()]
        self.best = np.concatenate(
            [np.nanmean(block.values, axis=1).argmax(axis=-1) for block in history.blocks()]
        )
        self.history = history

    def route(self, requests: Requests) -> Any:
        return self.best[self.history.find_users(requests.user_ids)][requests.user_index]


class Greedy(Watched):
    """Wants all users at once."""

    def fit(self, history: History) -> None:
        self.best = np.nanmean(history.values, axis=1).argmax(axis=-1)
        self.history = history


def test_blocks_tell_what_the_whole_history_does(block: None) -> None:
    data = small_benchmark(users=13, failures=0.1)
    for feedback in ("full", "choice", "pairwise"):
        whole, parts = Watched(), Watched()
        for router, stream in ((whole, False), (parts, True)):
            evaluate(data, [router], stream=stream, feedback=feedback, bootstrap_draws=0)  # type: ignore[arg-type]
        assert parts.history.streamed and not whole.history.streamed
        assert [user for told in parts.told for user in told] == data.user_ids.tolist()
        for name in ("observed", "rewards", "chosen", "values", "pairs", "user_ids"):
            want = getattr(whole.history, name)
            held = getattr(whole.history.validation, name)
            if want is None:
                assert all(getattr(one, name) is None for one in parts.history.blocks())
                continue
            ours = [getattr(one, name) for one in parts.history.blocks()]
            beside = [getattr(one.validation, name) for one in parts.history.blocks()]
            np.testing.assert_array_equal(np.concatenate(ours), want)
            np.testing.assert_array_equal(np.concatenate(beside), held)
            assert not ours[0].flags.writeable
        assert parts.history.users.equals(whole.history.users)
        assert parts.history.responses.equals(whole.history.responses)


def test_a_router_that_wants_all_users_at_once_is_told_what_to_do() -> None:
    data = small_benchmark()
    results = evaluate(data, [Greedy], stream=True, bootstrap_draws=0)
    (name,) = results.failed
    for remedy in ("history.blocks()", "--users N", "--history-users N", "--no-stream"):
        assert remedy in results[name]["status"] + results.traces[name]
    assert results["best-per-user"]["status"] == "ok"
    assert not evaluate(data, [Greedy], stream=True, history_users=6, bootstrap_draws=0).failed


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"setting": "new-user"}, "setting 'new-user'"),
        ({"setting": "new-llm"}, "setting 'new-llm'"),
        ({"tier": "T0"}, "tier 'T0'"),
        ({"routers": ["lin-ucb"]}, "router lin-ucb"),
        ({"routers": ["frugal-gpt"]}, "router frugal-gpt"),
    ],
)
def test_what_needs_all_users_at_once_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=f"{what}.*--users N.*--no-stream"):
        evaluate(small_benchmark(), stream=True, **options)


def test_the_first_users_are_those_of_a_smaller_data_set(folders: dict[str, Path]) -> None:
    for form in ("stored", "virtual"):
        data = Benchmark.load(folders[form])
        whole, few = (x.interactions("drift", "test").reward for x in (data, data.first(7)))
        assert few.tobytes() == whole[:7].tobytes()
        for stream in (False, True):
            results = evaluate(
                data, CHEAP, strategy="drift", users=7, stream=stream, bootstrap_draws=0
            )
            assert results.data["sizes"]["users"] == 7
    with pytest.raises(UsageError, match="--users 31: the data set has 30 users"):
        evaluate(folders["virtual"], CHEAP, strategy="drift", users=31)


def test_test_outcomes_are_read_after_all_choices_are_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []
    blocks, digest = Benchmark.blocks, commit.choices_digest

    def record(self: Benchmark, strategy: str, split: str, **some: int) -> Any:
        log.append(split)
        return blocks(self, strategy, split, **some)

    def record_digest(*args: Any) -> str:
        log.append("hash")
        return digest(*args)

    monkeypatch.setattr(Benchmark, "blocks", record)
    monkeypatch.setattr(commit, "choices_digest", record_digest)
    evaluate(small_benchmark(), ["random"], stream=True, bootstrap_draws=0)
    first = log.index("test")
    assert log[:first].count("hash") == 3
    assert set(log[first:]) == {"test", "hash"} and log[first:].count("hash") == 2


def test_a_large_data_set_is_streamed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    class Look(Watched):
        def fit(self, history: History) -> None:
            seen.append(history.streamed)
            super().fit(history)

    data = small_benchmark()
    evaluate(data, [Look], bootstrap_draws=0)
    monkeypatch.setattr(streamed, "LARGE_CELLS", 100)
    evaluate(data, [Look], bootstrap_draws=0)
    assert seen == [False, True]


def test_training_on_too_many_users_says_what_to_do(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from personaroute_bench.training import train

    monkeypatch.setattr(streamed, "LARGE_CELLS", 100)
    with pytest.raises(UsageError, match=r"30 users.*--users N"):
        train(folders["virtual"], "explicit-utility", strategy="mixed")
    trained = train(folders["virtual"], "explicit-utility", strategy="mixed", users=9)
    assert trained.training["users"] == 9


def test_a_report_of_too_many_users_says_what_to_do(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from personaroute_bench.reporting.report import report

    results = tmp_path / "r.json"
    evaluate(folders["virtual"], ["random"], strategy="mixed", stream=True).write(results)
    report([results], tmp_path / "with", data=folders["virtual"])
    monkeypatch.setattr(streamed, "LARGE_CELLS", 100)
    with pytest.raises(UsageError, match=r"has 30 users.*leave --data out"):
        report([results], tmp_path / "too-many", data=folders["virtual"])
    report([results], tmp_path / "without")


def test_weights_of_many_users_are_multinomial_and_told_in_any_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bootstrap, "WEIGHT_USERS", 8)
    weights = bootstrap.UserWeights(21, 6, 150, 0)
    whole = weights.of_users(0, 21)
    assert whole.shape == (150, 21) and weights.of_query.shape == (150, 6)
    assert (whole.sum(axis=1) == 21).all() and (weights.of_query.sum(axis=1) == 6).all()
    parts = [weights.of_users(a, b) for a, b in ((0, 3), (3, 17), (17, 21))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    blocks = list(bootstrap.weights(21, 6, 150, 0))
    np.testing.assert_array_equal(np.concatenate([u for u, _ in blocks]), whole)
    # Binomial(21, 1/21): mean 1, variance 20/21, and neighbours are hardly correlated.
    many = bootstrap.UserWeights(21, 6, 4000, 1).of_users(0, 21)
    assert many.mean(axis=0) == pytest.approx(np.ones(21), abs=0.08)
    assert many.var() == pytest.approx(20 / 21, abs=0.03)
    assert np.corrcoef(many.T)[~np.eye(21, dtype=bool)] == pytest.approx(-0.05, abs=0.08)


def test_results_of_many_users_agree_with_those_of_all_at_once(
    block: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "WEIGHT_USERS", 8)
    monkeypatch.setattr(streamed_results, "_DIVERGENT", 1000)
    options = {"routers": CHEAP, "bootstrap_draws": 200}
    data = small_benchmark(users=21)
    ours, theirs = (evaluate(data, stream=stream, **options).data for stream in (True, False))
    # How users differ is drawn for groups of users here, so those intervals may be others.
    spread = ("regret_worst_decile", "regret_cvar10", "regret_gini", "users_harmed")
    found = [
        line
        for line in differences({**ours, "data": None}, {**theirs, "data": None})
        if not any(f"/{name}/" in line for name in spread)
    ]
    assert not found, "\n".join(found[:20])
    for a, b in zip(ours["routers"], theirs["routers"], strict=True):
        for name in spread:
            one, other = a["metrics"][name], b["metrics"][name]
            assert one["mean"] == pytest.approx(other["mean"])
            assert one["n"] == other["n"]


def test_rows_of_another_order_are_refused() -> None:
    import dataclasses

    from small_benchmark import with_interactions

    data = small_benchmark()
    broken = with_interactions(data, "test", users=np.arange(12)[::-1])
    with pytest.raises(BenchError, match="in the order of their table"):
        evaluate(broken, ["random"], stream=True)
    assert dataclasses.replace(data).whole
