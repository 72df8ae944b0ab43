"""Results on recorded choices: per-user pairwise accuracy with intervals, JSON and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.facts import cautions
from personaroute_bench.evaluation.pairs import TIE, UNKNOWN, Pairs
from personaroute_bench.evaluation.results import Evaluation
from personaroute_bench.evaluation.texts import encodable

if TYPE_CHECKING:
    from rich.console import Console

    from personaroute_bench.benchmark import Benchmark, Doubles, Ints
    from personaroute_bench.evaluation.pairwise import PairRun

UNDECIDED = TIE
INVALID = UNKNOWN
RESULTS_SCHEMA = 1
BASELINE = "bradley-terry"
BOOTSTRAP_SEED = 0
# Fewer people cannot tell how other people would differ: no interval, rather than a wrong one.
LEAST_PEOPLE = 10


class PairEvaluation(Evaluation):
    """The results of `evaluate_pairs`; its JSON is described in docs/preferences.md."""

    def print(self, console: Console | None = None) -> None:
        """Print the table, and one column a data set where there are several."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        if console is None:
            console = Console()
            if not console.is_terminal:
                console = Console(width=2000, color_system=None)
        sizes, percent = self.data["sizes"], round(100 * self.data["confidence"])
        tasks = list(self.data["tasks"])
        for line in (
            f"{self.data['data']['directory']}: recorded choices of {sizes['people']} real people, "
            f"split by {self.data['by']}",
            f"pairwise accuracy over {sizes['people_scored']} people: {sizes['decided']} of "
            f"{sizes['test']} test pairs ({sizes['ties']} ties left out); [{percent} % intervals "
            f"over people, from {LEAST_PEOPLE} people on]",
            "",
        ):
            console.print(Text(line))
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("router", no_wrap=True)
        for name in ("accuracy", f"Δ {BASELINE}", *(tasks if len(tasks) > 1 else ())):
            table.add_column(Text(name), justify="right", no_wrap=True)
        table.add_column("status")
        for entry in self.routers:
            shown = [
                _show(entry["metrics"].get("pairwise_accuracy"), ".3f"),
                _show(entry["accuracy_difference"], "+z.3f"),
            ]
            if len(tasks) > 1:
                shown += [_show(entry["by_task"].get(task), ".3f") for task in tasks]
            table.add_row(*(Text(cell) for cell in (entry["name"], *shown, entry["status"])))
        console.print(table)
        for entry in self.routers:
            for line in cautions(entry):
                console.print(Text(line))


def _show(value: Mapping[str, Any] | None, form: str) -> str:
    if not value or value["mean"] is None:
        return "–"
    text = format(value["mean"], form)
    if value["low"] is not None:
        text += f" [{format(value['low'], form)}, {format(value['high'], form)}]"
    return text


def correctness(choice: Ints, outcome: Ints) -> Doubles:
    """[n] 1 where the preferred LLM was ranked higher, 1/2 undecided, 0 else; NaN at a tie."""
    right: Doubles = (choice == outcome).astype(np.float64)
    right[choice == UNDECIDED] = 0.5
    right[outcome == TIE] = np.nan
    return right


def per_user(right: Doubles, user: Ints, users: int) -> Doubles:
    """[U] mean of each user's correctness [n]; NaN for who has no test pair but ties."""
    known = np.isfinite(right)
    count = np.bincount(user[known], minlength=users)
    total = np.bincount(user[known], right[known], minlength=users)
    result = np.full(users, np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


def make_pair_evaluation(
    benchmark: Benchmark,
    test: Pairs,
    runs: Sequence[PairRun],
    *,
    draws: int,
    confidence: float,
    seeds: int,
) -> PairEvaluation:
    """Join choices and outcomes, and score all runs."""
    users = len(benchmark.user_ids)
    accuracy = {
        run.name: per_user(
            np.mean([correctness(choice, test.outcome) for choice in run.choices], axis=0),
            test.user,
            users,
        )
        for run in runs
        if run.error is None
    }
    decided = test.outcome != TIE
    task_of_user = np.full(users, -1)
    task_of_user[test.user] = benchmark.task_of_query[test.query]
    scored = np.bincount(test.user[decided], minlength=users) > 0

    def estimate(people: Any, rows: Any) -> dict[str, dict[str, Any]]:
        values = {name: of_user[people] for name, of_user in accuracy.items()}
        counts = {"people": int(people.sum()), "pairs": int(rows.sum())}
        return {
            name: found | counts for name, found in _estimates(values, draws, confidence).items()
        }

    everybody = estimate(scored, decided)
    by_task = {
        str(name): estimate(
            scored & (task_of_user == task),
            decided & (benchmark.task_of_query[test.query] == task),
        )
        for task, name in enumerate(benchmark.task_ids)
        if (scored & (task_of_user == task)).any()
    }
    entries = []
    for run in runs:
        entry: dict[str, Any] = {
            "name": run.name,
            "status": _status(run),
            "asked_for": run.asked_for,
            "isolation": run.isolation,
            "metrics": {},
            "accuracy_difference": None,
            "by_task": {},
        }
        if run.error is None:
            found = everybody[run.name]
            gap = found.pop("difference")
            entry["metrics"] = {"pairwise_accuracy": found}
            entry["accuracy_difference"] = gap
            for task, of_router in by_task.items():
                entry["by_task"][task] = of_router[run.name]
            entry |= {
                "undecided": sum(int((choice == UNDECIDED).sum()) for choice in run.choices),
                "invalid": sum(int((choice == INVALID).sum()) for choice in run.choices),
                "choices_sha256": list(run.digests),
                "fit_s": float(np.mean(run.fit_s)),
                "route_s": float(np.mean(run.route_s)),
            }
            if run.files:
                entry["choices_files"] = list(run.files)
        entries.append(entry)
    entries.sort(
        key=lambda e: -(e["metrics"]["pairwise_accuracy"]["mean"] or 0) if e["metrics"] else np.inf
    )
    data = {
        "schema": RESULTS_SCHEMA,
        "kind": "pairs",
        "data": _describe(benchmark),
        "by": benchmark.manifest["pairs"]["by"],
        "seeds": seeds,
        "bootstrap_draws": draws,
        "confidence": confidence,
        "sizes": {
            "people": users,
            "people_scored": int(scored.sum()),
            "llms": len(benchmark.llm_ids),
            "test": len(test),
            "decided": int(decided.sum()),
            "ties": int((~decided).sum()),
        },
        "tasks": list(by_task),
        "routers": entries,
    }
    return PairEvaluation(data, {run.name: run.trace for run in runs if run.trace})


def _estimates(
    values: Mapping[str, Doubles], draws: int, confidence: float
) -> dict[str, dict[str, Any]]:
    """Return mean and interval of each router's accuracies [people], and of its lead.

    People are drawn anew with all their pairs, the same people for every router, so that
    differences are paired. With one column of queries the two-way bootstrap is just that.
    """
    count = len(next(iter(values.values()), ()))
    statistics = [bootstrap.weighted_mean(of_user[:, None]) for of_user in values.values()]
    drawn = np.zeros((len(values), 0))
    if count >= LEAST_PEOPLE and draws and values:
        drawn = bootstrap.resample(statistics, count, 1, draws, BOOTSTRAP_SEED)
    samples = dict(zip(values, drawn, strict=True))

    def told(centre: Doubles, of: Doubles) -> dict[str, Any]:
        low, high = bootstrap.interval(of, confidence, count)
        return {"mean": float(centre.mean()) if count else None, "low": low, "high": high}

    result = {}
    for name, of_user in values.items():
        gap = None
        if BASELINE in values:
            lead = told(of_user - values[BASELINE], samples[name] - samples[BASELINE])
            gap = {"baseline": BASELINE, **lead}
        result[name] = told(of_user, samples[name]) | {"difference": gap}
    return result


def _status(run: PairRun) -> str:
    if run.error is not None:
        return run.error
    if run.problem is not None:
        total = sum(len(choice) for choice in run.choices)
        invalid = sum(int((choice == INVALID).sum()) for choice in run.choices)
        if run.ended is not None:
            return f"{run.ended}; {invalid} of {total} choices invalid"
        return f"{invalid} of {total} choices invalid: {run.problem}"
    return "ok"


def _describe(benchmark: Benchmark) -> dict[str, Any]:
    from personaroute_bench.benchmark import MANIFEST
    from personaroute_bench.files import sha256_file

    assert benchmark.directory is not None, "pairs are read from a folder"
    return {
        "directory": encodable(str(benchmark.directory)),
        "manifest_sha256": sha256_file(benchmark.directory / MANIFEST),
        "provenance": "recorded",
    }
