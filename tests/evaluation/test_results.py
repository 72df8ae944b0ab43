"""What an evaluation hands out: the JSON and the printed table."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from small_benchmark import STRATEGY

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.runner import evaluate


class First:
    """Answers the first candidate."""

    def fit(self, history: History) -> None:
        self.history = history

    def route(self, requests: Requests) -> Any:
        return np.zeros(len(requests), np.int64)


def run(benchmark: Benchmark, *routers: Any, **options: Any) -> Any:
    return evaluate(benchmark, routers, **{"bootstrap_draws": 100, **options})


def name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def test_the_json(benchmark: Benchmark, tmp_path: Path) -> None:
    results = run(benchmark, First, "random", seeds=2, feedback="choice", interactions_per_user=4)
    results.write(tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    data = json.loads(text)
    assert data["data"] == {"directory": None, "manifest_sha256": None, "provenance": "simulated"}
    expected = {"strategy": STRATEGY, "setting": "general", "feedback": "choice", "tier": "T1",
                "interactions_per_user": 4, "seeds": 2, "schema": 1}  # fmt: skip
    assert expected.items() <= data.items()
    assert data["sizes"] == {"users": 12, "llms": 4, "tasks": 2, "train": 20, "validation": 6,
                             "test": 8}  # fmt: skip
    assert set(data["headroom"]) == {"oracle", "user_blind_oracle", "random", "share"}
    for entry in data["routers"]:
        assert set(entry["metrics"]["reward"]) == {"mean", "low", "high", "n"}
        assert {
            "reward",
            "oracle_normalised_reward",
            "accuracy",
            "performance",
            "cost_usd",
            "regret",
            "charged",
            "coverage",
            "routing_entropy",
        } <= set(entry["metrics"])
        assert len(entry["per_seed"]) == 2
        assert len(entry["choices_sha256"]) == 64
        assert entry["uses_test_outcomes"] == ("oracle" in entry["name"])
    by_name = {entry["name"]: entry for entry in data["routers"]}
    assert by_name["random"]["asked_for"]
    assert not by_name["best-single"]["asked_for"]
    assert by_name["oracle"]["kind"] == "control"


def test_no_draws_no_intervals(benchmark: Benchmark) -> None:
    reward = run(benchmark, bootstrap_draws=0)["random"]["metrics"]["reward"]
    assert reward["low"] is None
    assert reward["high"] is None


def test_the_same_run_gives_the_same_results(benchmark: Benchmark) -> None:
    def stable(results: Any) -> Any:
        timing = ("fit_s", "adapt_s", "route_s")
        entries = [{k: v for k, v in e.items() if k not in timing} for e in results.routers]
        for entry in entries:
            entry["metrics"].pop("decision_s", None)
        return entries

    assert stable(run(benchmark)) == stable(run(benchmark))


def test_the_table_shows_whole_names_intervals_and_provenance(
    benchmark: Benchmark, capsys: pytest.CaptureFixture[str]
) -> None:
    class ARouterWithAVeryLongNameThatNobodyShouldCutEvenInAPipe(First):
        pass

    class Failing(First):
        def fit(self, history: History) -> None:
            raise ValueError("[red]no markup[/red]")

    run(benchmark, ARouterWithAVeryLongNameThatNobodyShouldCutEvenInAPipe, Failing).print()
    shown = capsys.readouterr().out
    assert name_of(ARouterWithAVeryLongNameThatNobodyShouldCutEvenInAPipe) in shown
    assert "simulated responses, 12 users × 8 test queries × 4 LLMs" in shown
    assert "oracle †" in shown
    assert "[red]no markup[/red]" in shown
    assert "\x1b" not in shown


def test_a_narrow_terminal_drops_columns_not_names(benchmark: Benchmark) -> None:
    results = run(benchmark, "best-per-user-task")
    shown = {}
    for width in (20, 80, 120, 200):
        out = io.StringIO()
        results.print(Console(file=out, width=width, force_terminal=True, color_system=None))
        shown[width] = out.getvalue()
        assert "best-per-user-task" in shown[width]
        assert "user-blind-oracle †" in shown[width]
        reward = results["oracle"]["metrics"]["reward"]
        interval = f"{reward['mean']:.4f} [{reward['low']:.4f}, {reward['high']:.4f}]"
        assert interval in shown[width]
    assert "charged" not in shown[80].split("no room for")[0]
    assert "no room for" not in shown[200]
    assert all(len(line) <= 80 for line in shown[80].splitlines())
