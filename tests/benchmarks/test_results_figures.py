"""Cells and figures agree with `evaluate`, which computes them in its own way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results_lib import cells as running
from results_lib import forest
from results_lib.cells import choices_path, finished, fitted_once, run_cell
from results_lib.figures import Sample, _differences, _rows_of, write_figures
from results_lib.plan import BASELINES, COST, CROSSED, FOLDS, FOREST, REFERENCE, Cell, DataSet, Plan
from small_benchmark import save, small_benchmark

from personaroute_bench import evaluate
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation import registry
from personaroute_bench.evaluation.bootstrap import difference
from personaroute_bench.evaluation.folds import refolded

DATA = DataSet("small", "small", 12)
SETTING = "new-user"


def cell(router: str, **options: Any) -> Cell:
    return Cell("small", COST, router, **{"seeds": 2, "stage": 0} | options)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder with a data set that has failures; knn-personal stands for the reference."""
    save(small_benchmark(queries=(20, 6, 12), failures=0.1), tmp_path / "data" / "small")
    running._benchmark.cache_clear()
    monkeypatch.setitem(registry.LEARNED, REFERENCE, "personaroute_bench.router.knn:KnnPersonal")
    return tmp_path


def figures(work: Path, *cells: Cell) -> dict[str, Any]:
    for one in cells:
        assert run_cell(one, work)["status"] == "ok"
    write_figures(Plan((DATA,), cells), work, work, draws=200)
    found: dict[str, Any] = json.loads((work / "figures.json").read_text())
    return found


def test_means_are_those_of_evaluate(work: Path) -> None:
    options: dict[str, Any] = {"feedback": "choice", "few": 5}
    (row,) = figures(work, cell(BASELINES, **options), cell(REFERENCE, **options))["conditions"]
    names = [REFERENCE, "best-per-user-task", "random"]
    found = evaluate(
        work / "data" / "small",
        names,
        feedback="choice",
        interactions_per_user=5,
        seeds=2,
        bootstrap_draws=0,
    )
    for name in (*names, "oracle", "user-blind-oracle", "best-per-user"):
        metrics = found[name]["metrics"]
        for ours, theirs in (
            ("reward", "reward"),
            ("accuracy", "accuracy"),
            ("normalised", "oracle_normalised_reward"),
        ):
            assert row["routers"][name][ours]["mean"] == pytest.approx(
                metrics[theirs]["mean"], rel=1e-4
            ), (name, ours)
    assert (row["users"], row["queries"]) == (12, 12)


def test_folds_are_scored_as_one(work: Path) -> None:
    one = [cell(name, setting=CROSSED, seeds=1) for name in (BASELINES, REFERENCE)]
    (row,) = figures(work, *one)["conditions"]
    assert (row["users"], row["queries"]) == (12, 38)
    benchmark = running._benchmark(work / "data" / "small")
    total: dict[str, float] = {}
    for fold in range(FOLDS):
        view = refolded(benchmark, COST, fold)
        found = evaluate(view, [REFERENCE, "best-per-user-task"], bootstrap_draws=0)
        for entry in found.routers:
            mean = entry["metrics"]["reward"]["mean"]
            total[entry["name"]] = total.get(entry["name"], 0) + mean * len(
                view.split_queries("test")
            )
    for name in (REFERENCE, "best-per-user-task", "best-single", "oracle"):
        wanted = pytest.approx(total[name] / 38, rel=1e-4)
        assert row["routers"][name]["reward"]["mean"] == wanted, name


def test_differences_are_paired(work: Path) -> None:
    (row,) = figures(work, cell(BASELINES), cell(REFERENCE))["conditions"]
    rewards = {}
    for name, of in ((REFERENCE, cell(REFERENCE)), ("best-single", cell(BASELINES))):
        with np.load(choices_path(work, of)) as held:
            choice = held[name][0]
        benchmark = running._benchmark(work / "data" / "small")
        reward = benchmark.interactions(COST, "test").reward
        reward = np.where(np.isnan(reward), np.nanmin(reward, axis=-1, keepdims=True), reward)
        taken = np.take_along_axis(reward, choice[..., None].astype(int), axis=-1)
        rewards[name] = taken[..., 0].astype(float)
    centre, low, high = difference(*rewards.values(), draws=200)
    found = row["differences"]["best-single"]
    wanted = pytest.approx((centre, low, high), rel=1e-3, abs=1e-6)
    assert (found["mean"], found["low"], found["high"]) == wanted
    assert row["differences"]["random"]["p"] < 0.05 < row["differences"]["best-per-user"]["p"]


def test_retention_is_that_of_evaluate(work: Path) -> None:
    save(small_benchmark(users=40, queries=(40, 10, 20)), work / "data" / "large")
    (work / "data" / "small").rename(work / "data" / "other")
    (work / "data" / "large").rename(work / "data" / "small")
    few = cell(REFERENCE, setting=SETTING, shots=(0, 3))
    rows = figures(work, cell(REFERENCE), few)["conditions"]
    for shots in (0, 3):
        row = next(r for r in rows if r["shots"] == shots)
        found = evaluate(
            work / "data" / "small",
            [REFERENCE],
            setting=SETTING,
            shots=shots,
            seeds=2,
            retention=True,
            bootstrap_draws=200,
        )
        wanted = found[REFERENCE]["metrics"]["normalised_retention"]["mean"]
        assert wanted is not None
        assert row["routers"][REFERENCE]["retention"]["mean"] == pytest.approx(wanted, rel=1e-4)


def sample(*drawn: float) -> Sample:
    return Sample(float(np.mean(drawn)), np.asarray(drawn), 48)


def test_a_share_of_a_gain_is_told_where_there_surely_is_one() -> None:
    base = {"reward": sample(*[0.1] * 100)}
    mine = {"reward": sample(*[0.28] * 100)}
    sure = {"reward": sample(*[0.3] * 100)}
    unsure = {"reward": sample(*[0.0] * 10, *[0.3] * 90)}
    for told, share in ((sure, 0.9), (unsure, None)):
        samples = {REFERENCE: mine, FOREST: told, "best-single": base}
        found = _differences(samples, list(samples), 9)
        gain = found[FOREST].get("gain_share", {"mean": None})["mean"]
        assert gain == (None if share is None else pytest.approx(share))
        assert found["best-single"]["p"] == pytest.approx(2 / 101, rel=1e-4)
    assert _differences(samples, list(samples), 3)["best-single"]["p"] is None


def test_choices_of_other_queries_are_refused(work: Path) -> None:
    one = cell("knn")
    run_cell(one, work)
    with np.load(choices_path(work, one)) as held:
        users, queries = held["users"], held["queries"]
    assert _rows_of(work, one, "knn", users[1:], queries[:3]).shape[1:] == (len(users) - 1, 3)
    for wrong in ((users, queries + 1), (users + 1, queries)):
        with pytest.raises(BenchError, match="no choices of some of the"):
            _rows_of(work, one, "knn", *wrong)


def test_one_fit_serves_all_shots(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []
    source = registry.load("knn-personal")
    fit = source.fit
    monkeypatch.setattr(source, "fit", lambda self, history: (fits.append(1), fit(self, history)))
    once = fitted_once("knn-personal")
    for shots in (0, 3):
        options: dict[str, Any] = {"setting": SETTING, "shots": shots, "seeds": 2}
        found = evaluate(work / "data" / "small", [once], bootstrap_draws=0, **options)
        before = len(fits)
        plain = evaluate(work / "data" / "small", ["knn-personal"], bootstrap_draws=0, **options)
        del fits[before:]
        ours, theirs = found["results:knn-personal"], plain["knn-personal"]
        assert [s["choices_sha256"] for s in ours["per_seed"]] == [
            s["choices_sha256"] for s in theirs["per_seed"]
        ]
    assert len(fits) == 2  # one a seed


def test_a_finished_cell_is_known_by_what_defines_it(work: Path) -> None:
    one = cell("knn")
    assert finished(work, one) is None
    run_cell(one, work)
    assert finished(work, one) is not None
    assert finished(work, cell("knn", seeds=3)) is None


def test_a_router_that_raises_is_a_status_and_runs_again(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: Any, history: Any) -> None:
        raise ZeroDivisionError("of this test")

    monkeypatch.setattr(registry.load("knn"), "fit", fit)
    facts = run_cell(cell("knn"), work)
    assert facts["status"].startswith("error: ZeroDivisionError: of this test")
    assert finished(work, cell("knn")) is None


def test_choices_of_another_data_set_are_refused(work: Path) -> None:
    one = cell("knn")
    run_cell(one, work)
    manifest = work / "data" / "small" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("simulated", "recorded"))
    with pytest.raises(BenchError, match="another small"):
        write_figures(Plan((DATA,), (one,)), work, work)


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no cell of the plan is finished"):
        write_figures(Plan((DATA,), (cell("knn"),)), tmp_path, tmp_path)


def test_the_forest_follows_the_weights_it_is_told(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forest, "TREES", 20)
    monkeypatch.setattr(forest, "TREES_TO_SELECT", 5)
    one = cell(FOREST, tier="T3", seeds=1)
    assert run_cell(one, work)["status"] == "ok"
    with np.load(choices_path(work, one)) as held:
        choice = held[FOREST][0]
    # Users' α runs from 0 to 1, and LLM m costs more and is better with m.
    assert (choice[0] == 0).all()
    assert choice[-1].mean() > 2
    assert (np.diff(choice.mean(axis=1)) >= 0).all()
