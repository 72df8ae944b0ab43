"""Figures add up over machines and sessions, and say what they were measured with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from results_lib import code, kept
from results_lib.code import code_digest
from results_lib.kept import is_kept, is_older, marked, merged, standing
from results_lib.plan import BASELINES, COST, ROOT, Cell, Plan

PLAN = Plan((), tuple(Cell("d", COST, router, 2, 0) for router in (BASELINES, "knn", "copl")))


def row(*routers: str, few: int | None = None, commit: str = "new", **more: Any) -> dict[str, Any]:
    cells = {cell.router: cell for cell in PLAN.cells}
    facts = {"code": "c", "commit": commit, "finished": "2026-01-01T10:00:00Z", "seconds": 1.04}
    return {
        "data": "d",
        "strategy": COST,
        "setting": "general",
        "feedback": "full",
        "few": few,
        "shots": None,
        "data_sha256": "data",
        "cells": {name: kept.cell_facts(cells[name], facts) for name in routers},
        "routers": {name: {"seeds": 2} for name in routers},
    } | more


def commits(rows: list[dict[str, Any]]) -> list[str]:
    return [facts["commit"] for row in rows for facts in row["cells"].values()]


def test_a_condition_measured_anew_replaces_the_kept_one_and_no_other() -> None:
    old = [row("knn", few=5, commit="old"), row("knn", commit="old")]
    rows, told = merged(old, [row("knn", "copl")], PLAN)
    assert commits(rows) == ["new", "new", "old"]  # the plan's condition comes first
    assert told == []


def test_a_condition_with_fewer_routers_does_not() -> None:
    old = [row("knn", "copl", commit="old")]
    rows, told = merged(old, [row("knn")], PLAN)
    assert rows == old
    (line,) = told
    assert line == f"d/{COST}/general/full-all stays as it is: copl not measured here"


def test_nor_one_without_the_whole_that_retention_is_measured_by() -> None:
    old = [row("knn", commit="old")]
    old[0]["routers"]["knn"]["retention"] = {"mean": 0.9}
    rows, told = merged(old, [row("knn")], PLAN)
    assert commits(rows) == ["old"]
    assert "what retention is a share of not measured here" in told[0]
    # The whole was measured, and may as well be nothing: then there is no share of it.
    rows, told = merged(old, [row("knn", whole=["knn"])], PLAN)
    assert commits(rows) == ["new"] and not told


def test_other_data_is_told() -> None:
    told = merged([row("knn", few=5, data_sha256="other")], [row("knn")], PLAN)[1]
    assert told == ["1 kept conditions are of another d than the one here"]


def test_a_cell_is_kept_as_long_as_its_definition_is_the_same() -> None:
    found = standing([row("knn")])
    assert found["d/multi_cost_efficiency/general/full-all/knn"]["finished"] == "2026-01-01"
    assert is_kept(PLAN.cells[1], found)
    assert not is_kept(Cell("d", COST, "knn", 3, 0), found)
    assert not is_kept(PLAN.cells[2], found)


def test_a_routers_code_is_what_it_reaches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("knn", "knn-personal", "copl", BASELINES, "forest")
    shutil.copytree(ROOT / "router", tmp_path / "router")
    monkeypatch.setattr(code, "ROOT", tmp_path)

    def digests() -> dict[str, str]:
        code_digest.cache_clear()
        return {name: code_digest(name) for name in names}

    def changed(module: str, old: str, new: str) -> list[str]:
        path = tmp_path / "router" / f"{module}.py"
        before, text = digests(), path.read_text("utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), "utf-8")
        after = digests()
        return [name for name in names if after[name] != before[name]]

    assert len(set(digests().values())) == len(names)
    assert changed("copl", "SOFTNESS = 0.1", "SOFTNESS = 0.2") == ["copl"]
    # a helper, by way of a base class of another module
    assert changed("knn", "SAME = 1e-3", "SAME = 1e-2") == ["knn", "knn-personal"]
    assert changed("knn", "    personal: ClassVar[bool] = True", "    personal = True") == [
        "knn-personal"
    ]
    assert changed("cheapest", "class Cheapest", "class  Cheapest") == [BASELINES]
    # what nobody of these reaches, in a module that they share
    assert changed("descent", "class Perceptron", "class  Perceptron") == []
    code_digest.cache_clear()


def test_figures_of_older_code_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_older("knn", {"code": "another"})
    assert not is_older("knn", {"code": code_digest("knn")})
    one = row(BASELINES, "knn")
    one["routers"] = {name: {"seeds": 1} for name in ("random", "knn", "oracle")}
    monkeypatch.setattr(kept, "code_digest", lambda router: "c" if router == "knn" else "d")
    found = {name: entry["older"] for name, entry in marked(one)["routers"].items()}
    assert found == {"random": True, "knn": False, "oracle": False}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert kept.read_rows(tmp_path) == []
    rows = [row("knn"), row("copl", few=5)]
    kept.write_rows(tmp_path, {"cells": 3}, rows)
    assert kept.read_rows(tmp_path) == rows
    assert len((tmp_path / kept.FILE).read_text().splitlines()) < 10  # a line a condition
