"""A judge whose reply could not be read: nothing was chosen by that user for that query."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.feedback import tell
from personaroute_bench.evaluation.registry import ROUTERS
from personaroute_bench.evaluation.runner import evaluate


def judged(unread: float = 0.3, user: int | None = 3) -> Benchmark:
    """Rewards of llm_judge: 1 for the winner; NaN in a share of the rows, and in all of a user."""
    data = small_benchmark(failures=0.1)
    rng = np.random.default_rng(5)
    for part in data.memory.values():
        ok = np.isfinite(part.reward)
        gone = rng.random(part.reward.shape[:2]) < unread
        if user is not None:
            gone[user] = True
        part.chosen[gone] = False
        part.reward[:] = np.where(ok & ~gone[:, :, None], part.chosen, np.nan)
    return data


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
@pytest.mark.parametrize("setting", ["general", "new-user", "new-llm", "cross-task"])
def test_such_rows_are_left_out_and_counted(feedback: Any, setting: str) -> None:
    data = judged()
    reward = data.memory[STRATEGY, "test"].reward
    results = evaluate(data, list(ROUTERS), feedback=feedback, setting=setting, bootstrap_draws=100)
    asked = np.arange(12)
    if setting == "new-user":
        asked = np.flatnonzero(np.isin(data.user_ids, results.data["held_out"]))
    known = np.isfinite(reward[asked]).any(axis=-1)
    assert 0 < known.sum() < known.size
    assert results.data["rows"] == {"total": known.size, "scored": int(known.sum())}
    for entry in results.routers:
        assert entry["status"] == "ok", results.traces
        metrics = entry["metrics"]
        assert metrics["reward"]["n"] == metrics["accuracy"]["n"] == known.sum()
        assert metrics["coverage"]["mean"] == pytest.approx(known.mean())
        assert 0 <= metrics["reward"]["low"] <= metrics["reward"]["mean"]
        assert entry["invalid"] == 0
        assert entry["users_without_range"] == (~known.any(axis=1)).sum()
    assert results["oracle"]["metrics"]["reward"]["mean"] == 1
    always = evaluate(data, ["cheapest"], bootstrap_draws=0)["cheapest"]["metrics"]["reward"]
    cheapest = np.where(np.isnan(reward[:, :, 0]), 0, reward[:, :, 0])
    seen = np.isfinite(reward).any(axis=-1)
    assert always["mean"] == pytest.approx(cheapest[seen].mean())


def test_the_table_says_how_many_rows_are_left_out() -> None:
    def table(data: Benchmark) -> str:
        console = Console(file=io.StringIO(), width=200, color_system=None)
        evaluate(data, ["cheapest"], bootstrap_draws=0).print(console)
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    data = judged()
    gone = int((~np.isfinite(data.memory[STRATEGY, "test"].reward).any(axis=-1)).sum())
    assert f"{gone} of 96 (user, query) rows are left out of every mean" in table(data)
    assert "left out" not in table(judged(0, None))


def test_one_users_unread_choice_hides_no_comparison_of_the_others() -> None:
    whole, lacking = judged(0, None), judged()

    def told(data: Benchmark) -> Any:
        part = data.memory[STRATEGY, "train"]
        kept = np.ones(part.reward.shape[:2], dtype=np.bool_)
        ids = data.user_ids[part.users], data.query_ids[part.queries]
        return tell(part, kept, *ids, feedback="pairwise", seed=0)

    known = np.isfinite(lacking.memory[STRATEGY, "train"].reward).any(axis=-1)
    before, after = told(whole), told(lacking)
    np.testing.assert_array_equal(after.pairs[known], before.pairs[known])
    np.testing.assert_array_equal(after.chosen[known], before.chosen[known])
    assert (after.pairs[known] >= 0).all()
    assert (after.pairs[~known] == -1).all()
    assert not after.observed[~known].any()
