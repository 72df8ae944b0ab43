"""The page: every verdict follows from the figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from results_lib.page import write_page
from results_lib.plan import COST, COUNT_BASED, CROSSED, JUDGE, REFERENCE
from results_lib.plot import panels
from results_lib.tables import Case, aim, best, interval, number, per_cent, table

from personaroute_bench.errors import UsageError

BLIND = ("knn", "best-single", "oracle", "forest")


def value(mean: float, spread: float = 0.01) -> dict[str, float]:
    return {"mean": mean, "low": mean - spread, "high": mean + spread}


def entry(reward: float, retention: float | None = None, personal: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"personal": personal} | {
        "reward": value(reward),
        "normalised": value(reward),
        "seeds": 5,
    }
    found |= {"accuracy": value(reward), "fit_s": 1.0}
    return found | ({} if retention is None else {"retention": value(retention)})


def condition(strategy: str, **changes: Any) -> dict[str, Any]:
    rewards = {REFERENCE: 0.5, "explicit-utility": 0.49, "best-per-user": 0.45, "knn": 0.4}
    rewards |= {"best-single": 0.3, "best-per-user-task": 0.44, "forest": 0.52, "oracle": 0.9}
    gap = {"p": 0.001, "accuracy_ratio": value(1.0), "gain_share": value(0.95)}
    found = {
        "data": "small-9",
        "strategy": strategy,
        "setting": "general",
        "feedback": "full",
        "few": None,
        "shots": None,
        "data_sha256": "data",
        "cells": {
            REFERENCE: {
                "sha256": "x",
                "code": "older",
                "commit": "abc1234",
                "finished": "2026-01-01",
                "seconds": 1.0,
            }
        },
        "own_protocol": {},
        "routers": {
            name: entry(reward, 0.9, name not in BLIND) for name, reward in rewards.items()
        },
        "differences": {
            name: value(0.5 - reward) | gap for name, reward in rewards.items() if name != REFERENCE
        },
    }
    return found | changes


MADE = {
    "cells": 4,
    "done": 4,
    "hours": 1.0,
    "first": "2026-01-01",
    "last": "2026-01-02",
    "versions": {"python": "3.11"},
    "draws": 2000,
    "seeds": 5,
    "skipped": {"copl": "it is not in the registry"},
    "data": {"small-9": "small"},
}


def page(folder: Path, conditions: list[dict[str, Any]]) -> str:
    (folder / "figures.json").write_text(json.dumps({"made": MADE, "conditions": conditions}))
    write_page(folder, folder / "results.md")
    return (folder / "results.md").read_text(encoding="utf-8")


def verdict(text: str, start: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith(f"**Aim: {start}"))
    return line


def test_aims_are_met_when_the_figures_say_so(tmp_path: Path) -> None:
    text = page(tmp_path, [condition(COST), condition(JUDGE)])
    assert "Met in all 2 places" in verdict(text, "significantly above the best user-blind")
    assert "Met in all 2 places" in verdict(text, "not significantly below the best personal")
    assert "Met in all 2 places" in verdict(text, "at least 90 % of the gain")
    assert "copl (it is not in the registry)" in text
    assert ".400 [.390, .410] knn" in text
    assert ".490 [.480, .500] explicit-utility" in text
    assert "+2.0 % | +15.38 %" in text


def test_older_code_is_marked_with_its_commit(tmp_path: Path) -> None:
    text = page(tmp_path, [condition(COST)])
    assert "| .500 [.490, .510] ° |" in text
    assert ".400 [.390, .410] knn" in text
    assert "| abc1234 | 2026-01-01 | 1 | personalized |" in text


def test_an_insignificant_lead_is_a_miss(tmp_path: Path) -> None:
    poor = condition(COST)
    poor["differences"]["knn"]["p"] = 0.04  # not below .05 / 2
    other = condition(JUDGE)
    other["differences"]["knn"]["p"] = 0.04
    text = page(tmp_path, [poor, other])
    assert "Missed in 2 of 2 places" in verdict(text, "significantly above the best user-blind")


def test_significantly_below_a_personal_baseline_is_a_miss(tmp_path: Path) -> None:
    poor = condition(COST)
    poor["routers"]["explicit-utility"] = entry(0.6)
    poor["differences"]["explicit-utility"] |= value(-0.1)
    line = verdict(
        page(tmp_path, [poor, condition(JUDGE)]), "not significantly below the best pers"
    )
    assert "Missed in 1 of 2 places" in line
    assert "small, cost-efficiency (-.100" in line


def test_all_queries_stand_beside_the_split_and_do_not_decide_its_aims(tmp_path: Path) -> None:
    rows = [condition(strategy) for strategy in (COST, JUDGE)]
    assert "### The same with every query tested once" not in page(tmp_path, rows)
    poor = [condition(strategy, setting=CROSSED, queries=240) for strategy in (COST, JUDGE)]
    for row in poor:
        row["differences"]["knn"]["p"] = 0.9
    text = page(tmp_path, rows + poor)
    first, _, second = text.partition("### The same with every query tested once")
    assert "Met in all 2 places" in verdict(first, "significantly above the best user-blind")
    assert "Missed in 2 of 2 places" in verdict(second, "significantly above the best user-blind")
    assert "over the users and all 240 queries" in second


def test_what_is_not_measured_decides_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, [condition(COST)])
    assert "Not decided, 1 of 2 places" in verdict(text, "significantly above the best user-blind")
    assert "Not measured yet" in text


def test_the_curve_is_judged_on_count_based_baselines(tmp_path: Path) -> None:
    few = [condition(JUDGE, feedback="choice", few=n) for n in (3, 5, 10, 20, 60, None)]
    text = page(tmp_path, few)
    assert "Met in all 4 places" in verdict(text, "judge, N ≤ 20: significantly above")
    assert "Met in all 2 places" in verdict(text, "judge, N = 60 and all")
    few[0]["differences"]["best-per-user"] |= value(-0.2)
    few[1]["differences"]["explicit-utility"]["accuracy_ratio"] = value(0.89)
    text = page(tmp_path, few)
    assert "N = 3 (-.200" in verdict(text, "judge, N ≤ 20: significantly above")
    assert "N = 5 (89" in verdict(text, "judge, N ≤ 20: at least 90 %")
    assert COUNT_BASED[0] in text
    assert (tmp_path / "results-curve.svg").read_text().startswith("<svg")


def test_retention_is_judged_at_ten_shots(tmp_path: Path) -> None:
    rows = [
        condition(strategy, setting="new-user", feedback=feedback, shots=10)
        for strategy in (COST, JUDGE)
        for feedback in ("full", "choice")
    ]
    assert "Met in all 4 places" in verdict(page(tmp_path, rows), "new-user")
    rows[0]["routers"][REFERENCE]["retention"] = value(0.84)
    line = verdict(page(tmp_path, rows), "new-user")
    assert "Missed in 1 of 4 places" in line
    assert "small, cost-efficiency, full (84 [83, 85] %)" in line
    del rows[0]["routers"][REFERENCE]["retention"]  # measured, and the whole is about zero
    text = page(tmp_path, rows)
    assert "Met in all 3 places" in verdict(text, "new-user")
    assert "In 1 further places the whole may as well be zero." in text


def test_speed_is_judged_by_its_file(tmp_path: Path) -> None:
    speed = {"users": 1000, "queries": 240, "llms": 10, "threads": 2, "train_s": 121.0}
    speed |= {"epochs": 30, "best_epoch": 18, "peak_mb": 900, "per_second": 150_000}
    speed |= {"single_ms": 2.0, "loop_read_s": 3.0, "loop_per_second": 50_000}
    (tmp_path / "speed.json").write_text(json.dumps({"cpu": speed}))
    text = page(tmp_path, [condition(COST)])
    assert "Missed in 1 of 1 places.** Missed: cpu (121.0 s)" in verdict(text, "training to the")
    assert "Met in all 1 places" in verdict(text, "at least 100,000 decisions")


def test_without_figures_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"python benchmarks/results\.py"):
        write_page(tmp_path, tmp_path / "results.md")


def test_numbers() -> None:
    assert [number(x) for x in (0.3124, -0.012, 1.2041, -0.0001, None)] == [
        ".312",
        "-.012",
        "1.204",
        ".000",
        "–",
    ]
    assert interval({"mean": 0.5, "low": None, "high": None}) == ".500"
    assert interval(None) == "–"
    assert per_cent(value(0.95)) == "95 [94, 96] %"


def test_the_best_baseline_is_neither_oracle_nor_forest_nor_reference() -> None:
    row = condition(COST)
    assert best(row, personal=False) == "knn"
    assert best(row, personal=True) == "explicit-utility"
    assert best({"routers": {"oracle": entry(1.0, personal=False)}}, personal=False) is None


def test_an_aim_without_places_is_not_decided() -> None:
    assert "Not decided, 0 of 8" in aim("x", [], 8)[0]
    assert "Met in all 1" in aim("x", [Case("here", True)])[0]


def test_a_cell_cannot_break_the_table() -> None:
    lines = table(["a"], [["x | <script>\ny"]])
    assert lines[2] == "| x \\| &lt;script> y |"


def test_a_gap_breaks_the_line_of_a_plot() -> None:
    svg = panels([("a<b", {"knn": [0.1, None, 0.3]})], ["3", "5", "all"], "N")
    assert "a&lt;b" in svg
    (path,) = (line for line in svg.splitlines() if 'class="l"' in line)
    assert path.count("M") == 2
    assert "L" not in path.partition('d="')[2]
