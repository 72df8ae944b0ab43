"""A router that runs apart answers what it answers in this process, in every protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_benchmark import save, small_benchmark
from test_pairwise import made, rows

from personaroute_bench.benchmark import DEFAULT_DIRECTORY, Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation import requests
from personaroute_bench.evaluation.isolation import Limits
from personaroute_bench.evaluation.pairwise import evaluate_pairs
from personaroute_bench.evaluation.runner import evaluate

HERE = Limits(in_process=True)
ROUTERS = """
import os
import numpy as np
from personaroute_bench.evaluation.cascade import Step

class Batch:
    def __init__(self, seed):
        self.seed = seed
    def fit(self, history):
        self.order = np.nanmean(history.values, axis=(0, 1)).argsort() + self.seed
    def adapt(self, support):
        known = np.nan_to_num(support.values).sum(axis=1)
        self.own = dict(zip(support.user_ids.tolist(), known.argmax(axis=1).tolist()))
        self.note = f"{len(support.llm_ids)} LLMs, {support.observed.sum()} observed"
    def route(self, requests):
        own = getattr(self, "own", {})
        first = int(self.order[-1]) % len(requests.candidates)
        self.router_cost_usd = getattr(self, "router_cost_usd", 0.0) + 0.5 * len(requests)
        self.fallbacks = 2
        return [
            requests.candidates[own.get(r.user_id, (len(r.query) + first) % len(r.candidates))]
            for r in requests
        ]

class Cascade:
    def fit(self, history):
        self.order = history.tie_order
    def step(self, requests, bought):
        place = bought.llms.shape[1]
        n = len(requests)
        if place < 2:
            return Step(np.full(n, self.order[place]), np.zeros(n, bool))
        long = [len(bought[i][1]["llm_id"]) + i for i in range(n)]
        return Step(bought.llms[np.arange(n), np.asarray(long) % 2], np.ones(n, bool))

class Online:
    def fit(self, history):
        self.total = np.nan_to_num(history.values).sum(axis=(0, 1))
    def route(self, requests):
        return (self.total.argmax() + requests.user_index) % len(self.total)
    def update(self, revealed):
        fine = (revealed.choice >= 0) & np.isfinite(revealed.values)
        np.add.at(self.total, revealed.choice[fine], 40 * revealed.values[fine])

class Stuck(Online):
    def update(self, revealed):
        os._exit(1)

class Quits(Cascade):
    def step(self, requests, bought):
        if bought.llms.shape[1]:
            os._exit(1)
        return super().step(requests, bought)

class Pairs:
    def fit(self, history):
        self.wins = np.zeros(len(history.llm_ids))
        np.add.at(self.wins, history.candidates, history.score)
    def route(self, requests):
        return self.wins[requests.candidates]

class PairsGone(Pairs):
    def route(self, requests):
        os._exit(1)
"""


@pytest.fixture
def here(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(small_benchmark(failures=0.1), elsewhere / DEFAULT_DIRECTORY)
    (elsewhere / "alike.py").write_text(ROUTERS)
    monkeypatch.setattr(requests, "BLOCK_REQUESTS", 40)
    return elsewhere


def same(name: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    one, two = (
        evaluate(DEFAULT_DIRECTORY, [name], bootstrap_draws=0, limits=limits, **options)[name]
        for limits in (Limits(), HERE)
    )
    assert one["isolation"]["reason"] != "ran in this process"
    assert two["isolation"]["reason"] == "ran in this process"
    assert [e["choices_sha256"] for e in one["per_seed"]] == [
        e["choices_sha256"] for e in two["per_seed"]
    ]
    assert one["status"] == two["status"] == "ok"
    return one, two


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("setting", ["new-user", "new-llm"])
def test_batch(setting: str) -> None:
    one, two = same("alike:Batch", setting=setting, seeds=2, feedback="choice")
    for key in ("note", "router_cost_usd", "fallbacks", "metrics"):
        left, right = one[key], two[key]
        if key == "metrics":
            left, right = left["reward"], right["reward"]
        assert left == right
    assert one["note"]
    assert one["fallbacks"] == 4
    assert one["router_cost_usd"] == pytest.approx(0.5)


@pytest.mark.usefixtures("here")
def test_cascade_and_online() -> None:
    one, two = same("alike:Cascade")
    assert one["metrics"]["calls"] == two["metrics"]["calls"]
    one, two = same("alike:Online")
    assert one["per_seed"][0]["stream_sha256"] == two["per_seed"][0]["stream_sha256"]
    assert one["order_dependent"] is None


@pytest.mark.usefixtures("here")
def test_who_ends_half_way_keeps_the_first_answers() -> None:
    found = evaluate(DEFAULT_DIRECTORY, ["alike:Stuck", "alike:Quits"], bootstrap_draws=0)
    assert found["alike:Stuck"]["status"] == (
        "crashed: ended with exit code 1; 84 of 96 choices invalid"
    )
    assert found["alike:Quits"]["status"] == (
        "crashed: ended with exit code 1; 96 of 96 choices invalid"
    )
    assert found["alike:Quits"]["metrics"]["calls"]["mean"] < 1  # what it bought is paid


def test_pairs(here: Path) -> None:
    folder = made(here, rows(people=4))
    names = ["alike:Pairs", "alike:PairsGone"]
    apart = evaluate_pairs(folder, names, bootstrap_draws=0)
    inside = evaluate_pairs(folder, names[:1], bootstrap_draws=0, limits=HERE)
    one, two = apart["alike:Pairs"], inside["alike:Pairs"]
    assert one["choices_sha256"] == two["choices_sha256"]
    assert two["isolation"]["state"] == "unsealed"
    gone = apart["alike:PairsGone"]
    assert gone["status"].startswith("crashed: ended with exit code 1; ")
    assert gone["invalid"] > 0
    others = [entry["isolation"]["state"] for entry in apart.routers if not entry["asked_for"]]
    assert set(others) == {"bundled"}


@pytest.mark.usefixtures("here")
def test_classes_and_settings() -> None:
    class Own:
        def fit(self, history: Any) -> None: ...
        def route(self, requests: Any) -> Any:
            return np.zeros(len(requests), dtype=int)

    found = evaluate(DEFAULT_DIRECTORY, [Own, "random"], bootstrap_draws=0)
    states = {e["name"]: e["isolation"] and e["isolation"]["state"] for e in found.routers}
    assert states.pop(f"{Own.__module__}:{Own.__qualname__}") == "unsealed"
    assert states == {
        "random": "bundled", "best-single": "bundled", "best-per-user": "bundled",
        "oracle": None, "user-blind-oracle": None,
    }  # fmt: skip
    with pytest.raises(UsageError, match="cannot be sent to its process"):
        evaluate(DEFAULT_DIRECTORY, ["alike:Batch"], settings={"alike:Batch": {"seed": object()}})


def test_messages_of_the_constructor_come_through(here: Path) -> None:
    (here / "picky.py").write_text(
        "class Picky:\n"
        "    def __init__(self): raise ValueError('no \\x1b[31m colour')\n"
        "    def fit(self, history): ...\n"
        "    def route(self, requests): ...\n"
    )
    with pytest.raises(UsageError, match=r"could not be constructed: ValueError: no \\x1b\[31m"):
        evaluate(DEFAULT_DIRECTORY, ["picky:Picky"])
    with pytest.raises(UsageError, match=r"no module 'nowhere'; looked in the current folder"):
        evaluate(Benchmark.load(DEFAULT_DIRECTORY), ["nowhere:Any"])
