"""Online routers: the stream, what is revealed and when, and what it says in the results."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_benchmark import STRATEGY, small_benchmark, with_interactions

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.metrics import charge
from personaroute_bench.evaluation.online import Revealed, stream_order
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.protocols import protocol_of
from personaroute_bench.evaluation.registry import LEARNED, ROUTERS, load
from personaroute_bench.evaluation.requests import make_requests
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.settings import Fold


class Listener:
    """Answers by a script, and keeps what it is asked and told."""

    answer = staticmethod(lambda requests, call: np.full(len(requests), call % 4))

    def fit(self, history: History) -> None:
        self.asked: list[Requests] = []
        self.told: list[Revealed] = []

    def route(self, requests: Requests) -> Any:
        self.asked.append(requests)
        assert len(self.told) == len(self.asked) - 1
        return self.answer(requests, len(self.asked) - 1)

    def update(self, revealed: Revealed) -> None:
        self.told.append(revealed)


def run(data: Benchmark, router: Any, **options: Any) -> Any:
    results = evaluate(data, [router], **{"bootstrap_draws": 0, **options})
    return next(entry for entry in results.routers if entry["asked_for"])


def test_a_block_is_one_request_of_every_user_and_all_are_asked_once() -> None:
    data, router = small_benchmark(), Listener()
    entry = run(data, router)
    assert entry["protocol"] == "online"
    assert entry["status"] == "ok"
    assert len(router.asked) == 8
    seen = set()
    for block in router.asked:
        assert block.user_ids[block.user_index].tolist() == data.user_ids.tolist()
        asked = block.query_ids[block.query_index]
        # nothing of a later block can be seen in this one
        assert set(asked.tolist()) == set(block.query_ids.tolist())
        assert len(block.embeddings) == len(block.query_ids) == block.queries.num_rows
        np.testing.assert_array_equal(block.queries["query_id"].to_pylist(), block.query_ids)
        place = [data.query_ids.tolist().index(name) for name in block.query_ids.tolist()]
        np.testing.assert_array_equal(block.embeddings, data.embeddings[place])
        seen |= set(zip(data.user_ids.tolist(), asked.tolist(), strict=True))
    assert len(seen) == 12 * 8


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_only_what_the_chosen_was_worth_is_told(feedback: Any) -> None:
    data, router = small_benchmark(failures=0.3), Listener()
    run(data, router, feedback=feedback)
    test = data.split_queries("test")
    hidden = data.memory[STRATEGY, "test"]
    worth = charge(hidden.reward) if feedback == "full" else hidden.chosen.astype(np.float32)
    column = {name: i for i, name in enumerate(data.query_ids[test].tolist())}
    failed = 0
    for call, told in enumerate(router.told):
        assert set(vars(told)) == {"requests", "choice", "values", "cost_usd"}
        assert (told.choice == call % 4).all()
        q = [column[name] for name in told.requests.query_ids[told.requests.query_index].tolist()]
        np.testing.assert_array_equal(told.values, worth[np.arange(12), q, call % 4])
        np.testing.assert_array_equal(told.cost_usd, data.cost_usd[test][q, call % 4])
        failed += int((data.status[test][q, call % 4] != "ok").sum())
        with pytest.raises(ValueError, match="read-only"):
            told.values[0] = 1.0
    assert failed


def test_an_invalid_choice_is_told_as_charged_and_a_row_without_reward_as_unknown() -> None:
    class Wrong(Listener):
        answer = staticmethod(lambda requests, call: np.full(len(requests), 9))

    data, router = small_benchmark(), Wrong()
    reward = data.memory[STRATEGY, "test"].reward.copy()
    reward[3] = np.nan
    entry = run(with_interactions(data, "test", reward=reward), router)
    assert entry["invalid"] == 11 * 8
    for told in router.told:
        assert (told.choice == -1).all()
        assert np.isnan(told.cost_usd).all()
        assert np.isnan(told.values[3])
        q = told.requests.query_ids[told.requests.query_index].tolist()
        column = [int(name[1:]) - 26 for name in q]
        expected = np.fmin.reduce(reward, axis=-1)[np.arange(12), column]
        np.testing.assert_array_equal(told.values, expected)


def test_choices_are_in_the_digest_before_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    from personaroute_bench.evaluation import online, protocols

    events: list[str] = []
    add, reveal = online.Seal.add, protocols.Scene.reveal
    monkeypatch.setattr(
        online.Seal, "add", lambda self, *rows: events.append("sealed") or add(self, *rows)
    )
    monkeypatch.setattr(
        protocols.Scene, "reveal", lambda self, *rows: events.append("told") or reveal(self, *rows)
    )
    run(small_benchmark(), Listener)
    assert events == ["sealed", "told"] * 8


def test_the_stream_stands_in_the_choices_file_and_in_its_own_hash(tmp_path: Path) -> None:
    data = small_benchmark()
    entry = run(data, Listener, choices_dir=tmp_path, seeds=2)
    assert len({seed["stream_sha256"] for seed in entry["per_seed"]}) == 2
    for seed in entry["per_seed"]:
        rows = pq.read_table(tmp_path / seed["choices_file"]).to_pylist()
        assert all(row["llm_id"] == f"llm-{row['block'] % 4}" for row in rows)
        rows.sort(key=lambda row: row["block"])  # stable: users stay in order
        text = "".join(f"{r['user_id']}\x1f{r['query_id']}\x1f{r['llm_id']}\x1e" for r in rows)
        assert hashlib.sha256(text.encode()).hexdigest() == seed["stream_sha256"]


def requests_of(data: Benchmark, users: np.ndarray) -> Requests:
    none = np.zeros(0, np.int64)
    fold = Fold(users, np.arange(4), 4, -1, users, data.split_queries("test"), none)
    (requests,) = make_requests(data, fold, "T1", None)
    return requests


def test_an_order_depends_on_seed_and_ids_alone() -> None:
    data = small_benchmark()
    all_, some = (requests_of(data, users) for users in (np.arange(12), np.asarray([2, 7])))
    order = stream_order(all_, 0)
    assert (np.sort(order, axis=1) == np.arange(8)).all()
    np.testing.assert_array_equal(order[[2, 7]], stream_order(some, 0))
    assert (order != stream_order(all_, 1)).any()
    assert len(np.unique(order, axis=0)) > 6


def test_where_tastes_drift_the_stream_is_in_the_order_of_life() -> None:
    import dataclasses

    requests = requests_of(small_benchmark(), np.arange(2))
    time = np.asarray([30, 28, 29, 31, 34, 33, 32, 35] * 2, np.int32)
    order = stream_order(dataclasses.replace(requests, time=time), 0)
    np.testing.assert_array_equal(order[1], [2, 0, 1, 3, 6, 5, 4, 7])


def test_users_of_several_blocks_are_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    from personaroute_bench.evaluation import requests as module

    data = small_benchmark()
    whole, parts = Listener(), Listener()
    run(data, whole)
    monkeypatch.setattr(module, "BLOCK_REQUESTS", 5 * 8)
    run(data, parts)
    for a, b in zip(whole.asked, parts.asked, strict=True):
        np.testing.assert_array_equal(a.user_ids, b.user_ids)
        np.testing.assert_array_equal(a.query_ids[a.query_index], b.query_ids[b.query_index])
        assert a.users.equals(b.users)


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("new-user", {"shots": 2}),
        ("new-llm", {"shots": 2, "retention": True}),
        ("cross-task", {"retention": True}),
        ("cross-task", {"held_out": ["reading"]}),
    ],
)
def test_streams_in_other_settings(setting: str, options: Any, tmp_path: Path) -> None:
    class Second(Listener):
        """Chooses by id, so that the columns cannot be mixed up unseen."""

        answer = staticmethod(lambda requests, call: ["llm-2"] * len(requests))

        def update(self, revealed: Revealed) -> None:
            super().update(revealed)
            names = revealed.requests.candidates[revealed.choice]
            assert (names == "llm-2").all()
            u = [int(name[5:]) for name in revealed.requests.user_ids.tolist()]
            asked = revealed.requests.query_ids[revealed.requests.query_index].tolist()
            q = [int(name[1:]) - 26 for name in asked]
            reward = small_benchmark().memory[STRATEGY, "test"].reward
            np.testing.assert_array_equal(revealed.values, reward[u, q, 2])

    data = small_benchmark()
    entry = run(data, Second, setting=setting, choices_dir=tmp_path, **options)
    assert entry["status"] == "ok"
    blocks = pq.read_table(tmp_path / entry["choices_file"])["block"].to_pylist()
    users = len(set(pq.read_table(tmp_path / entry["choices_file"])["user_id"].to_pylist()))
    assert sorted(blocks) == sorted([*range(len(blocks) // users)] * users)


def test_an_update_that_raises_is_a_failed_router() -> None:
    class Broken(Listener):
        def update(self, revealed: Revealed) -> None:
            raise ValueError("enough")

    assert "enough" in run(small_benchmark(), Broken)["status"]


def test_the_table_says_which_rows_are_online(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(small_benchmark(), [Listener], bootstrap_draws=0).print()
    shown = capsys.readouterr().out
    assert "Listener (online)" in shown
    assert "learns from the test stream" in shown


def test_ranks_are_among_those_of_one_protocol() -> None:
    results = evaluate(small_benchmark(), [Listener, "random"], bootstrap_draws=100)
    for entry in results.routers:
        rank = entry["rank"]
        if entry["kind"] != "control":
            alike = [e for e in results.routers if e["kind"] != "control"]
            alike = [e for e in alike if e["protocol"] == entry["protocol"]]
            assert rank["of"] == len(alike)
    assert {e["protocol"] for e in results.routers} == {"batch", "online"}


def test_protocols_by_method_and_by_name() -> None:
    class Cascade:
        def step(self, requests: Any, bought: Any) -> Any: ...

    class Both(Cascade):
        def route(self, requests: Any) -> Any: ...

    class Helper(Both):
        protocol = "batch"

        def update(self, gradient: Any) -> None: ...

    class Unknown(Helper):
        protocol = "bath"

    class Unfinished(Cascade):
        protocol = "online"

    assert protocol_of(Cascade()) == "cascade"
    assert protocol_of(Both()) == "batch"
    assert protocol_of(Helper()) == "batch"
    assert protocol_of(Listener) == "online"
    with pytest.raises(UsageError, match="unknown protocol 'bath'; did you mean 'batch'"):
        protocol_of(Unknown())
    with pytest.raises(UsageError, match="'online' needs the method 'route'"):
        protocol_of(Unfinished())


def test_bundled_routers_have_the_protocol_of_their_name() -> None:
    for name in (*ROUTERS, *LEARNED):
        expected = "batch"
        if name.startswith("frugal-gpt"):
            expected = "cascade"
        elif name.startswith(("lin-ucb", "c2mab-v")):
            expected = "online"
        assert protocol_of(load(name)) == expected
