from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_benchmark import STRATEGY, save, small_benchmark, with_interactions

from personaroute_bench.benchmark import Benchmark, Interactions
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation import commit, requests
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.registry import NAMES
from personaroute_bench.evaluation.runner import evaluate


class First:
    """Answers a fixed index; the base of the routers below."""

    def fit(self, history: History) -> None:
        self.history = history

    def route(self, requests: Requests) -> Any:
        return np.zeros(len(requests), np.int64)


def run(benchmark: Benchmark, *routers: Any, **options: Any) -> Any:
    return evaluate(benchmark, routers, **{"bootstrap_draws": 100, **options})


def name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def test_all_bundled_routers_by_default(benchmark: Benchmark) -> None:
    results = run(benchmark)
    assert {entry["name"] for entry in results.routers} == set(NAMES)
    assert all(entry["status"] == "ok" for entry in results.routers)
    best = {entry["name"]: entry["metrics"]["reward"]["mean"] for entry in results.routers}
    assert best["oracle"] == max(best.values())
    assert best["user-blind-oracle"] > best["best-single"]
    assert best["best-per-user"] > best["best-single"]
    assert results["oracle"]["metrics"]["oracle_normalised_reward"]["mean"] == pytest.approx(1)
    assert results["oracle"]["metrics"]["accuracy"]["mean"] == 1
    assert results["oracle"]["metrics"]["regret"]["mean"] == 0
    assert list(best.values()) == sorted(best.values(), reverse=True)


def test_a_constant_router_by_hand(benchmark: Benchmark) -> None:
    entry = run(benchmark, First)[name_of(First)]
    hidden = benchmark.memory[STRATEGY, "test"]
    metrics = entry["metrics"]
    assert metrics["reward"]["mean"] == pytest.approx(float(hidden.reward[:, :, 0].mean()))
    assert metrics["accuracy"]["mean"] == pytest.approx(float(hidden.chosen[:, :, 0].mean()))
    assert metrics["cost_usd"]["mean"] == pytest.approx(0.001)
    performance = float(benchmark.performance[hidden.queries, 0].mean())
    assert metrics["performance"]["mean"] == pytest.approx(performance)
    assert metrics["reward"]["low"] < metrics["reward"]["mean"] < metrics["reward"]["high"]
    assert metrics["reward"]["n"] == 12 * 8
    assert metrics["routing_entropy"]["mean"] == 0
    gap = metrics["reward"]["mean"]
    gap -= run(benchmark, First)["best-single"]["metrics"]["reward"]["mean"]
    assert entry["reward_difference"]["mean"] == pytest.approx(gap)


def test_no_test_outcome_reaches_a_router(benchmark: Benchmark) -> None:
    hidden = benchmark.memory[STRATEGY, "test"]
    changed = with_interactions(benchmark, "test", reward=-hidden.reward, chosen=~hidden.chosen)
    performance, cost = benchmark.performance.copy(), benchmark.cost_usd.copy()
    performance[hidden.queries], cost[hidden.queries] = 0.123, 77.0
    changed = dataclasses.replace(changed, performance=performance, cost_usd=cost)
    for options in ({}, {"feedback": "choice"}, {"feedback": "pairwise"}, {"tier": "T0"}):
        before, after = run(benchmark, **options), run(changed, **options)
        for name in NAMES[:-2]:
            assert before[name]["choices_sha256"] == after[name]["choices_sha256"]
        oracles = before["oracle"]["choices_sha256"], after["oracle"]["choices_sha256"]
        assert oracles[0] != oracles[1]


def test_test_outcomes_are_read_after_the_choices_are_written(
    benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log: list[str] = []
    blocks, digest = Benchmark.blocks, commit.choices_digest

    def record(self: Benchmark, strategy: str, split: str) -> Iterator[Interactions]:
        written = sorted(path.stem for path in tmp_path.glob("*.parquet"))
        log.append(f"read {split} {written}")
        return blocks(self, strategy, split)

    def record_digest(*args: Any) -> str:
        log.append("hash")
        return digest(*args)

    monkeypatch.setattr(Benchmark, "blocks", record)
    monkeypatch.setattr(commit, "choices_digest", record_digest)
    run(benchmark, "random", "best-per-task", choices_dir=tmp_path)
    written = sorted(["random", "best-per-task", "best-single", "best-per-user"])
    assert log == ["read train []", "read validation []", *["hash"] * 4, f"read test {written}",
                   "hash", "hash"]  # fmt: skip


def test_a_request_carries_what_it_should_and_nothing_else(benchmark: Benchmark) -> None:
    class Curious(First):
        def route(self, requests: Requests) -> Any:
            request = requests[9]
            assert len(requests) == 96
            assert (request.user_id, request.query_id) == ("user-1", "q27")
            assert (request.query, request.task_id) == ("What is 27?", "reading")
            assert request.candidates == ("llm-0", "llm-1", "llm-2", "llm-3")
            np.testing.assert_array_equal(request.embedding, benchmark.embeddings[27])
            assert [r.query_id for r in requests][:9] == [*[f"q{26 + i}" for i in range(8)], "q26"]
            assert requests[-1].user_id == "user-11"
            assert requests.task_index.tolist() == [0, 1] * 48
            assert requests.users.column_names == ["user_id"]
            assert set(requests.queries.column_names) == {"query_id", "task_id", "query"}
            for value in vars(requests).values():
                assert not isinstance(value, Benchmark)
                if isinstance(value, np.ndarray):
                    with pytest.raises(ValueError, match="WRITEABLE"):
                        value.setflags(write=True)
            with pytest.raises(IndexError):
                requests[96]
            return [request.candidates[1] for request in requests]

    entry = run(benchmark, Curious)[name_of(Curious)]
    assert entry["status"] == "ok"
    assert entry["metrics"]["cost_usd"]["mean"] == pytest.approx(0.002)


def test_blocks_of_users_give_the_same_choices(
    benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(benchmark)
    monkeypatch.setattr(requests, "BLOCK_REQUESTS", 20)
    parts = run(benchmark)
    for name in NAMES:
        assert whole[name]["choices_sha256"] == parts[name]["choices_sha256"]


def test_tiers_reach_the_requests(benchmark: Benchmark) -> None:
    class Weighing(First):
        def route(self, requests: Requests) -> Any:
            weights = np.asarray(requests.users["performance_weight"].to_pylist())
            return np.where(weights[requests.user_index] > 0.5, 3, 0)

    results = run(benchmark, Weighing, tier="T3")
    assert results[name_of(Weighing)]["status"] == "ok"
    assert run(benchmark, Weighing)[name_of(Weighing)]["status"].startswith("error: KeyError")


def test_invalid_choices_are_counted_charged_and_named(benchmark: Benchmark) -> None:
    class Confused(First):
        def route(self, requests: Requests) -> Any:
            return ["gpt-9" if i % 4 == 0 else "llm-0" for i in range(len(requests))]

    entry = run(benchmark, Confused, seeds=2)[name_of(Confused)]
    assert entry["status"] == "48 of 192 choices invalid: 'gpt-9' is no candidate"
    assert entry["invalid"] == entry["charged"] == 48
    assert entry["metrics"]["charged"]["mean"] == 0.25
    reward = benchmark.memory[STRATEGY, "test"].reward
    expected = reward[:, :, 0].copy()
    expected[:, ::4] = reward.min(axis=-1)[:, ::4]
    assert entry["metrics"]["reward"]["mean"] == pytest.approx(float(expected.mean()))


def test_answers_of_the_wrong_number_are_all_charged(benchmark: Benchmark) -> None:
    class Short(First):
        def route(self, requests: Requests) -> Any:
            return [0] * (len(requests) - 1)

    entry = run(benchmark, Short)[name_of(Short)]
    assert entry["status"] == "96 of 96 choices invalid: 95 answers to 96 requests"
    worst = benchmark.memory[STRATEGY, "test"].reward.min(axis=-1)
    assert entry["metrics"]["reward"]["mean"] == pytest.approx(float(worst.mean()))
    assert entry["metrics"]["performance"] == {"mean": None, "low": None, "high": None, "n": 0}


@pytest.mark.parametrize("step", ["fit", "route"])
@pytest.mark.parametrize("error", [ValueError("bad\nnews"), SystemExit(3), MemoryError()])
def test_a_router_that_raises_has_a_status_and_the_run_goes_on(
    benchmark: Benchmark, step: str, error: BaseException
) -> None:
    class Raising(First):
        pass

    def explode(self: Any, argument: Any) -> Any:
        raise error

    setattr(Raising, step, explode)
    results = run(benchmark, Raising, "random")
    entry = results[name_of(Raising)]
    assert entry["status"].startswith(f"error: {type(error).__name__}")
    assert "test_runner.py, line" in entry["status"]
    assert "\n" not in entry["status"]
    assert entry["metrics"] == {}
    assert entry["per_seed"] == []
    assert results.failed == [name_of(Raising)]
    assert "explode" in results.traces[name_of(Raising)]
    assert results["random"]["status"] == "ok"
    assert results.routers[-1] is entry


def test_a_router_that_raises_with_a_later_seed_has_no_metrics(benchmark: Benchmark) -> None:
    class Late(First):
        def __init__(self, seed: int) -> None:
            if seed == 1:
                raise RuntimeError("not again")

    entry = run(benchmark, Late, seeds=2)[name_of(Late)]
    assert entry["metrics"] == {}
    assert "not again" in entry["status"]


def test_ctrl_c_passes(benchmark: Benchmark) -> None:
    class Interrupted(First):
        def fit(self, history: History) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(benchmark, Interrupted)


def test_an_empty_router_object_is_a_router_all_the_same(benchmark: Benchmark) -> None:
    class Empty(First):
        def __len__(self) -> int:
            return 0

    empty = Empty()
    run(benchmark, empty)
    assert empty.history.user_ids.tolist() == benchmark.user_ids.tolist()


def test_seeds_are_averaged(benchmark: Benchmark) -> None:
    entry = run(benchmark, "random", seeds=3)["random"]
    rewards = [seed["reward"] for seed in entry["per_seed"]]
    assert [seed["seed"] for seed in entry["per_seed"]] == [0, 1, 2]
    assert len(set(rewards)) == 3
    assert entry["metrics"]["reward"]["mean"] == pytest.approx(np.mean(rewards))
    assert len({seed["choices_sha256"] for seed in entry["per_seed"]}) == 3


def test_every_router_of_a_seed_is_told_the_same(benchmark: Benchmark) -> None:
    seen: list[bytes] = []

    class Listening(First):
        def fit(self, history: History) -> None:
            seen.append(history.observed.tobytes())

    class Too(Listening):
        pass

    run(benchmark, Listening, Too, seeds=2, interactions_per_user=2)
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert seen[0] != seen[2]


def test_choosing_a_failed_response_is_charged_and_rows_without_any_are_left_out() -> None:
    data = small_benchmark(failures=0.3)
    hidden = data.memory[STRATEGY, "test"]
    hidden.reward[:, 2], hidden.chosen[:, 2] = np.nan, False
    results = run(data, First)
    assert results.data["rows"] == {"total": 96, "scored": 84}
    entry = results[name_of(First)]
    failed = np.isnan(hidden.reward[0, :, 0])
    failed[2] = False
    assert failed.any()
    assert entry["metrics"]["charged"]["mean"] == pytest.approx(failed.sum() / 7)
    assert entry["metrics"]["coverage"]["mean"] == pytest.approx(7 / 8)
    assert entry["invalid"] == 0
    oracle = results["oracle"]
    assert oracle["status"] == "ok"
    assert oracle["invalid"] == oracle["charged"] == 0


def test_choices_are_written_for_every_seed(benchmark: Benchmark, tmp_path: Path) -> None:
    results = run(benchmark, First, seeds=2, choices_dir=tmp_path / "out")
    name = name_of(First)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"best-single.parquet", "best-single-seed1.parquet", "oracle.parquet"} <= names
    assert results[name]["choices_file"] in names
    rows = pq.read_table(tmp_path / "out" / results[name]["choices_file"])
    assert rows.column_names == ["user_id", "query_id", "llm_id"]
    assert rows.num_rows == 96


def test_predictions_are_scored_like_the_router_that_made_them(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    results = run(benchmark, "best-per-user", choices_dir=tmp_path)
    again = run(benchmark, predictions=[tmp_path / "best-per-user.parquet"], seeds=2)
    entry = again["best-per-user-2"]  # the name of the file is taken
    assert entry["kind"] == "predictions"
    assert entry["choices_sha256"] == results["best-per-user"]["choices_sha256"]
    assert entry["metrics"]["reward"] == results["best-per-user"]["metrics"]["reward"]
    assert len(entry["per_seed"]) == 2
    names = {entry["name"] for entry in again.routers}
    assert names == {"best-per-user-2", "best-per-user", "best-single", "oracle",
                     "user-blind-oracle"}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setting": "new-users"}, "unknown setting 'new-users'"),
        ({"setting": "new-user", "shots": -1}, "shots is -1; give 0 or more"),
        ({"setting": "new-user", "held_out": ["nobody"]}, "unknown user 'nobody'"),
        ({"setting": "new-llm", "held_out": [f"llm-{m}" for m in range(4)]}, "holds out 4 of 4"),
        ({"setting": "cross-task", "shots": 2}, "shots does not apply to setting 'cross-task'"),
        ({"held_out": ["llm-0"]}, "held_out does not apply to setting 'general'"),
        ({"retention": True}, "retention does not apply to setting 'general'"),
        ({"setting": "drift"}, "setting 'drift' is of strategy 'drift'"),
        ({"feedback": "fulll"}, "did you mean 'full'"),
        ({"tier": "T9"}, "unknown tier 'T9'"),
        ({"tier": "T2"}, "persona"),
        ({"seeds": 0}, "seeds is 0; give 1 or more"),
        ({"interactions_per_user": 0}, "interactions_per_user is 0"),
        ({"bootstrap_draws": -1}, "bootstrap_draws is -1"),
        ({"bootstrap_draws": 1}, "bootstrap_draws is 1; give 100 or more"),
        ({"bootstrap_draws": 99}, "bootstrap_draws is 99; give 100 or more"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": float("nan")}, "confidence is nan"),
        ({"strategy": "llm_judge"}, "unknown strategy 'llm_judge'"),
        ({"predictions": ["nothing.csv"]}, "nothing.csv"),
    ],
)
def test_wrong_options(benchmark: Benchmark, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(benchmark, "random", **options)


def test_splits_that_are_empty() -> None:
    with pytest.raises(UsageError, match="no test requests"):
        run(small_benchmark(queries=(5, 2, 0)))
    with pytest.raises(UsageError, match="no training split"):
        run(small_benchmark(queries=(0, 2, 5)))
    results = run(small_benchmark(queries=(5, 0, 4)))
    assert all(entry["status"] == "ok" for entry in results.routers)


def test_test_interactions_of_other_users_are_refused(benchmark: Benchmark) -> None:
    broken = with_interactions(benchmark, "test", users=np.arange(12)[::-1])
    with pytest.raises(BenchError, match="run bench generate again"):
        run(broken)


def test_a_folder_is_evaluated_like_memory(benchmark: Benchmark, tmp_path: Path) -> None:
    seen: list[Any] = []

    class Reading(First):
        def fit(self, history: History) -> None:
            seen.append(history.responses)

    save(benchmark, tmp_path / "data")
    results = run(tmp_path / "data", Reading, "best-per-user-task")
    memory = run(benchmark, "best-per-user-task")
    for name in ("best-per-user-task", "oracle"):
        assert results[name]["choices_sha256"] == memory[name]["choices_sha256"]
    assert len(results.data["data"]["manifest_sha256"]) == 64
    assert "answer q0 llm-0" in seen[0]["response"].to_pylist()
    assert set(seen[0]["query_id"].to_pylist()) == {f"q{i}" for i in range(20)}
