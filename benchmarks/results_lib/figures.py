"""From choices to figures: means, intervals, paired differences, retention; one JSON file.

All routers of a condition are scored on the same rows and under the same draws of the two-way
bootstrap over users and queries, so their differences and ratios are paired. Choices are averaged
over seeds first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.benchmark import MANIFEST, Benchmark
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.controls import CONTROLS, control_choices
from personaroute_bench.evaluation.folds import whole
from personaroute_bench.evaluation.metrics import Outcomes, oracle_normalised_reward, score
from personaroute_bench.evaluation.significance import p_value
from personaroute_bench.files import sha256_file
from results_lib.cells import choices_path, finished, key
from results_lib.kept import (
    cell_facts,
    data_digest,
    is_kept,
    merged,
    read_rows,
    standing,
    write_rows,
)
from results_lib.plan import (
    BASELINES,
    CROSSED,
    FOREST,
    REFERENCE,
    Cell,
    Plan,
    is_personal,
    own_protocol,
)

Doubles = NDArray[np.float64]
DRAWS = 2000
CONFIDENCE = 0.95
RATIO_TO = "explicit-utility"
DIGITS = 5


@dataclass(frozen=True)
class Sample:
    """A figure and its bootstrap draws."""

    mean: float
    drawn: Doubles
    units: int
    """The fewer of users and queries: the fewer, the wider the interval."""

    def __sub__(self, other: Sample) -> Sample:
        return Sample(self.mean - other.mean, self.drawn - other.drawn, self.units)

    def __truediv__(self, other: Sample) -> Sample:
        """Return the ratio; no interval where the other may as well be nothing."""
        nothing = np.full_like(self.drawn, np.nan)
        drawn = nothing
        if other.surely_positive:
            drawn = np.divide(self.drawn, other.drawn, out=nothing, where=other.drawn > 0)
        share = self.mean / other.mean if other.mean > 0 else np.nan
        return Sample(share, drawn, self.units)

    @property
    def surely_positive(self) -> bool:
        """Whether the interval lies above zero."""
        low = bootstrap.interval(self.drawn, CONFIDENCE, self.units)[0]
        return low is not None and low > 0

    def figures(self) -> dict[str, float | None]:
        """Return mean, low and high; None where there is none."""
        low, high = bootstrap.interval(self.drawn, CONFIDENCE, self.units)
        return {"mean": _number(self.mean), "low": _number(low), "high": _number(high)}


def write_figures(plan: Plan, work: Path, folder: Path, draws: int = DRAWS) -> list[str]:
    """Compute every figure of the finished cells, and join them with those kept in the folder.

    Returns:
        What is to be told: lines of `merged`.
    """
    facts = {cell: finished(work, cell) for cell in plan.cells}
    done = {cell: found for cell, found in facts.items() if found is not None}
    if not done:
        raise BenchError(f"no cell of the plan is finished in {work}; run them first")
    measured = []
    for data in plan.data:
        mine = {cell: found for cell, found in done.items() if cell.data == data.name}
        if mine:
            benchmark = _load(work / "data" / data.name, mine)
            measured += _of_data(benchmark, mine, work, draws)
    rows, told = merged(read_rows(folder), measured, plan)
    write_rows(folder, _made(plan, rows, list(done.values())[-1]["versions"], draws), rows)
    return told


def _made(
    plan: Plan, rows: Sequence[Mapping[str, Any]], versions: Any, draws: int
) -> dict[str, Any]:
    """Return what figures.json says of itself; the versions are those of the last cells."""
    kept = standing(rows)
    return {
        "cells": len(plan.cells),
        "done": sum(is_kept(cell, kept) for cell in plan.cells),
        "hours": round(sum(facts["seconds"] or 0 for facts in kept.values()) / 3600, 2),
        "first": min(facts["finished"] for facts in kept.values()),
        "last": max(facts["finished"] for facts in kept.values()),
        "versions": versions,
        "draws": draws,
        "seeds": max(entry["seeds"] for row in rows for entry in row["routers"].values()),
        "skipped": dict(plan.skipped),
        "data": {data.name: data.label for data in plan.data},
    }


def _load(folder: Path, cells: Mapping[Cell, Any]) -> Benchmark:
    """Load a data set, and check that the choices are of it."""
    benchmark = Benchmark.load(folder)
    digest = sha256_file(folder / MANIFEST)
    for cell, found in cells.items():
        if found["manifest_sha256"] != digest:
            raise BenchError(
                f"{cell.name} was run on another {folder.name} than the one that is there; "
                "delete its file under cells/ and run it again"
            )
    return benchmark


def _of_data(
    benchmark: Benchmark, cells: Mapping[Cell, dict[str, Any]], work: Path, draws: int
) -> list[dict[str, Any]]:
    """Return a row for each condition (and number of shots) of one data set."""
    by_condition: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        by_condition.setdefault((cell.strategy, cell.condition), []).append(cell)
    rows = []
    for strategy in sorted({cell.strategy for cell in cells}):
        test = benchmark.interactions(strategy, "test")
        crossed = any(cell.setting == CROSSED and cell.strategy == strategy for cell in cells)
        every = whole(benchmark, strategy) if crossed else test
        for (of, _), group in by_condition.items():
            if of != strategy:
                continue
            twins = _twins(group[0], by_condition)
            for shots in sorted({s for cell in group for s in cell.shots}) or [None]:
                told = every if group[0].setting == CROSSED else test
                rows.append(_row(benchmark, told, group, twins, shots, cells, work, draws))
    return rows


def _twins(cell: Cell, by_condition: Mapping[tuple[str, str], list[Cell]]) -> dict[str, Cell]:
    """Return the fully trained routers to measure retention by: the general setting's."""
    if cell.setting not in ("new-user", "new-llm", "cross-task"):
        return {}
    few = "all" if cell.few is None else cell.few
    general = f"{cell.data}/{cell.strategy}/general/{cell.feedback}-{few}"
    return {twin.router: twin for twin in by_condition.get((cell.strategy, general), [])}


def _row(
    benchmark: Benchmark,
    test: Any,
    group: Sequence[Cell],
    twins: Mapping[str, Cell],
    shots: int | None,
    facts: Mapping[Cell, dict[str, Any]],
    work: Path,
    draws: int,
) -> dict[str, Any]:
    """Return all figures of one condition."""
    first = group[0]
    at = "general" if shots is None else str(shots)
    compared = [cell for cell in group if not own_protocol(cell.router)]
    choices: dict[str, Any] = {}
    entries: dict[str, dict[str, Any]] = {}
    own: dict[str, dict[str, Any]] = {}
    place: tuple[Any, Any] | None = None
    for cell in group:
        for name, by in facts[cell]["results"].items():
            entry = by[at]
            if cell not in compared:
                own[name] = entry
                continue
            with np.load(choices_path(work, cell)) as held:
                choices[name] = held[key(name, shots)]
                place = held["users"], held["queries"]
            entries[name] = entry | {"seeds": cell.seeds}
    row: dict[str, Any] = {
        "data": first.data,
        "strategy": first.strategy,
        "setting": first.setting,
        "feedback": first.feedback,
        "few": first.few,
        "shots": shots,
        "data_sha256": data_digest(benchmark.manifest),
        "cells": {cell.router: cell_facts(cell, facts[cell]) for cell in group},
        "own_protocol": {name: _own(entry) for name, entry in own.items()},
    }
    if twins:  # the fully trained routers that retention is measured by
        row["whole"] = sorted(twins)
    if place is None:
        return row | {"users": 0, "queries": 0, "routers": {}, "differences": {}}
    outcomes = _outcomes(benchmark, test, *place)
    for name in CONTROLS:
        choices[name] = control_choices(name, outcomes, benchmark.llm_ids)[None]
    trained = {}
    for name, twin in twins.items():
        for router in twin.routers if name == BASELINES else (name,):
            if router in choices:
                trained[f"{router} fully trained"] = _rows_of(work, twin, router, *place)
    samples = _samples(outcomes, choices | trained, draws)
    row |= {"users": len(place[0]), "queries": len(place[1])}
    routers: dict[str, Any] = {}
    for name in choices:
        routers[name] = {metric: s.figures() for metric, s in samples[name].items()}
        entry = entries.get(name, {})
        routers[name] |= {
            "personal": is_personal(name),
            "seeds": entry.get("seeds", 1),
            "fit_s": _number(entry.get("fit_s")),
        }
        twin_of = samples.get(f"{name} fully trained")
        if twin_of is not None and twin_of["normalised"].surely_positive:
            normalised = samples[name]["normalised"] / twin_of["normalised"]
            routers[name]["retention"] = normalised.figures()
    row["routers"] = routers
    row["differences"] = {}
    if REFERENCE in samples:
        units = min(outcomes.best.shape)
        row["differences"] = _differences(samples, list(choices), units)
    return row


def _differences(
    samples: Mapping[str, dict[str, Sample]], names: Sequence[str], units: int
) -> dict[str, Any]:
    """Return what the reference is above each other router, and the ratios that aims ask for."""
    mine, found = samples[REFERENCE], {}
    for name in names:
        if name != REFERENCE:
            gap = mine["reward"] - samples[name]["reward"]
            found[name] = gap.figures() | {"p": _number(p_value(gap.drawn, units))}
    if RATIO_TO in found:
        ratio = mine["accuracy"] / samples[RATIO_TO]["accuracy"]
        found[RATIO_TO]["accuracy_ratio"] = ratio.figures()
    if FOREST in found and "best-single" in found:
        base = samples["best-single"]["reward"]
        gain = samples[FOREST]["reward"] - base
        if gain.surely_positive:  # a share of what may as well be nothing says nothing
            found[FOREST]["gain_share"] = ((mine["reward"] - base) / gain).figures()
    return found


def _samples(
    outcomes: Outcomes, choices: Mapping[str, Any], draws: int
) -> dict[str, dict[str, Sample]]:
    """Return reward, accuracy and oracle-normalised reward of each router, with draws."""
    U, Q = outcomes.best.shape
    statistics, means, names = [], [], []
    for name, of_seeds in choices.items():
        scores = [score(outcomes, choice.astype(np.int64)) for choice in of_seeds]
        reward = np.mean([s.reward for s in scores], axis=0)
        accuracy = np.mean([s.accuracy for s in scores], axis=0)
        normalised = oracle_normalised_reward(reward, outcomes.chance, outcomes.best)[0]
        statistics += [bootstrap.weighted_mean(reward), bootstrap.weighted_mean(accuracy)]
        statistics += [bootstrap.normalised(reward, outcomes.chance, outcomes.best)]
        means += [np.nanmean(reward), np.nanmean(accuracy)]
        means += [np.nan if normalised is None else normalised]
        names += [(name, metric) for metric in ("reward", "accuracy", "normalised")]
    drawn = bootstrap.resample(statistics, U, Q, draws, 0)
    found: dict[str, dict[str, Sample]] = {}
    for (name, metric), mean, draw in zip(names, means, drawn, strict=True):
        found.setdefault(name, {})[metric] = Sample(float(mean), draw, bootstrap.smaller(U, Q))
    return found


def _outcomes(benchmark: Benchmark, test: Any, users: Any, queries: Any) -> Outcomes:
    """Return the outcomes of some users and test queries."""
    rows = np.ix_(np.searchsorted(test.users, users), np.searchsorted(test.queries, queries))
    return Outcomes.of(
        test.reward[rows],
        test.chosen[rows],
        benchmark.performance[queries],
        benchmark.cost_usd[queries],
    )


def _rows_of(work: Path, cell: Cell, router: str, users: Any, queries: Any) -> Any:
    """Return a cell's choices [seed, U, Q] for some of its users and queries."""
    with np.load(choices_path(work, cell)) as held:
        rows = np.searchsorted(held["users"], users), np.searchsorted(held["queries"], queries)
        for name, place, wanted in zip(("users", "queries"), rows, (users, queries), strict=True):
            found = held[name][np.minimum(place, len(held[name]) - 1)]
            if not np.array_equal(found, wanted):
                raise BenchError(f"{cell.name} has no choices of some of the {name}")
        return held[router][:, rows[0]][:, :, rows[1]]


def _own(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `evaluate` said of a router with a protocol of its own."""
    found: dict[str, Any] = {"status": entry["status"], "protocol": entry["protocol"]}
    for ours, theirs in (
        ("reward", "reward"),
        ("accuracy", "accuracy"),
        ("normalised", "oracle_normalised_reward"),
        ("cost_usd", "cost_usd"),
    ):
        metric = entry.get(theirs)
        if metric is not None:
            found[ours] = {name: _number(metric[name]) for name in ("mean", "low", "high")}
    return found


def _number(value: float | None) -> float | None:
    """Round to `DIGITS` significant digits; None for what is not finite."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{float(value):.{DIGITS}g}")
