"""The plan of benchmarks/results.py: complete, in order, resumable."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from results_lib import plan as plans
from results_lib.plan import Cell, Clock, chosen, duration, full_plan, smoke_plan, uses_seed
from small_benchmark import small_benchmark

from personaroute_bench import evaluate
from personaroute_bench.evaluation.registry import LEARNED


def test_every_learned_router_has_a_cell_but_the_one_that_spends() -> None:
    plan = full_plan()
    assert {cell.router for cell in plan.cells} >= set(LEARNED) - {"prompt-llm"}
    assert "prompt-llm" not in {cell.router for cell in plan.cells}


def test_names_are_unique_and_the_most_important_come_first() -> None:
    plan = full_plan()
    names = [cell.name for cell in plan.cells]
    assert len(set(names)) == len(names)
    stages = [cell.stage for cell in plan.cells]
    assert stages == sorted(stages)
    assert plan.cells[0].condition == "embedded-9/multi_cost_efficiency/general/full-all"


def test_an_absent_router_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not delitem: it would put the router back at the end, and its place is part of the registry.
    fewer = {name: path for name, path in plans.LEARNED.items() if name != "knn-personal"}
    monkeypatch.setattr(plans, "LEARNED", fewer)
    plan = full_plan()
    assert plan.skipped["knn-personal"] == "it is not in the registry"
    assert "knn-personal" not in {cell.router for cell in plan.cells}


def test_without_recorded_responses_their_data_sets_are_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(plans, "RECORDED", tmp_path)
    plan = full_plan()
    assert "not on this machine" in plan.skipped["recorded-9"]
    assert {cell.data for cell in plan.cells} == {"embedded-9", "embedded-1000"}


def test_a_router_without_use_for_a_seed_runs_once_where_nothing_is_drawn() -> None:
    cells = {cell.name: cell for cell in full_plan(5).cells}
    at = "embedded-9/llm_judge/general"
    assert cells[f"{at}/full-all/knn-personal"].seeds == 1
    assert cells[f"{at}/full-all/personalized"].seeds == 5
    assert cells[f"{at}/full-all/mlp"].seeds == 3
    assert cells[f"{at}/choice-5/knn-personal"].seeds == 5
    assert cells["embedded-9/llm_judge/new-user/full-all/knn-personal"].seeds == 5


def test_routers_said_to_make_no_use_of_a_seed_make_none() -> None:
    learned = [n for n in LEARNED if n not in plans.NEVER]
    names = [n for n in learned if not plans.own_protocol(n) and not uses_seed(n)]
    assert len(names) >= 8
    found = evaluate(small_benchmark(failures=0.1), names, seeds=2, bootstrap_draws=0)
    for name in names:
        first, second = (of_seed["choices_sha256"] for of_seed in found[name]["per_seed"])
        assert first == second, name


@pytest.mark.parametrize("field", [f.name for f in fields(Cell)])
def test_whatever_defines_a_cell_changes_its_hash(field: str) -> None:
    cell = Cell("d", "s", "r", 5, 0)
    values = {"few": 3, "shots": (1,), "seeds": 6, "stage": 1, "folds": 2}
    other = replace(cell, **{field: values.get(field, "another")})
    same = field in ("stage", "folds")  # when it runs, and how long it may take
    assert (cell.digest() == other.digest()) is same


def test_who_is_personal_and_who_stands_apart_comes_from_the_routers() -> None:
    assert plans.is_personal("best-per-user")
    assert plans.is_personal("knn-personal")
    assert not plans.is_personal("knn")
    assert not plans.is_personal("forest")
    assert plans.own_protocol("lin-ucb")
    assert not plans.own_protocol("personalized")


def test_only_picks_by_name_in_the_order_of_the_patterns() -> None:
    picked = chosen(smoke_plan(), ["*/drift/*", "*/new-user/*", "*/new-user/*/baselines"])
    assert list(dict.fromkeys(cell.setting for cell in picked)) == ["drift", "new-user"]
    assert len(set(picked)) == len(picked)
    assert not chosen(smoke_plan(), ["nothing*"])
    assert chosen(smoke_plan(), None) == list(smoke_plan().cells)


def test_the_clock_learns_from_finished_cells() -> None:
    clock = Clock(smoke_plan())
    cell = Cell("smoke", "llm_judge", "explicit-utility", 2, 0)
    before = clock.expect(cell)
    clock.learn(cell, 100.0)
    assert clock.expect(cell) == pytest.approx(100.0)
    double = replace(cell, seeds=4)
    assert 190 < clock.expect(double) < 201
    assert before < 50


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (719, "12 min"), (11_400, "3 h 10 min"), (7170, "2 h 00 min")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
