"""Results: what was measured, as JSON and as a table; nothing here is NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.choices import INVALID, choices_file
from personaroute_bench.evaluation.metrics import (
    SCORES,
    Outcomes,
    mean,
    oracle_normalised_reward,
    routing_entropy,
    score,
)

if TYPE_CHECKING:
    from rich.console import Console

    from personaroute_bench.benchmark import Benchmark, Doubles
    from personaroute_bench.evaluation.history import Feedback, Tier
    from personaroute_bench.evaluation.runner import Run

RESULTS_SCHEMA = 1
BASELINE = "best-single"
# The draws of the bootstrap are the same for everybody, so that runs can be compared.
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Plan:
    """How an evaluation was made; stands in its results."""

    strategy: str
    setting: str
    feedback: Feedback
    tier: Tier
    interactions_per_user: int | None
    seeds: int
    bootstrap_draws: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """The results of `evaluate`."""

    data: Mapping[str, Any]
    """What `write` puts into the JSON file; see docs/evaluation.md."""
    traces: Mapping[str, str]
    """Name of a router that raised to its traceback."""

    @property
    def routers(self) -> list[dict[str, Any]]:
        """Entries, one a router, best mean reward first, failed ones last."""
        entries: list[dict[str, Any]] = self.data["routers"]
        return entries

    @property
    def failed(self) -> list[str]:
        """Names of the routers that were asked for and have no metrics."""
        return [e["name"] for e in self.routers if e["asked_for"] and not e["metrics"]]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return {entry["name"]: entry for entry in self.routers}[name]

    def write(self, path: str | Path) -> None:
        """Write the JSON file, whole or not at all."""
        from personaroute_bench.files import write_json

        write_json(Path(path), self.data)

    def print(self, console: Console | None = None) -> None:
        """Print the table; a narrow terminal gets fewer columns, a pipe all of them."""
        from rich.console import Console
        from rich.measure import Measurement
        from rich.text import Text

        if console is None:
            console = Console()
            if not console.is_terminal:
                console = Console(width=2000, color_system=None)
        for line in self._heading():
            console.print(Text(line))
        shown, left_out = list(_COLUMNS), []
        status = 40 if console.is_terminal else 400  # longer ones are wrapped
        roomy = console.options.update(width=2000)
        while True:
            table = self._table(shown, status)
            wanted = Measurement.get(console, roomy, table).maximum
            if wanted <= console.width or len(shown) == 1:
                break
            left_out.append(shown.pop())
        console.print()
        width = console.width
        # Too wide even so: let the terminal wrap the lines rather than cut them.
        console.width = max(width, wanted)
        console.print(table)
        console.width = width
        if left_out:
            console.print(Text(f"no room for {', '.join(reversed(left_out))}; --json has them"))
        console.print(Text("† a control that uses test outcomes; no router can beat the oracle"))

    def _table(self, columns: Sequence[str], status_width: int) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("router", no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("status", max_width=status_width)
        for entry in self.routers:
            name = entry["name"] + (" †" if entry["uses_test_outcomes"] else "")
            cells = _cells(entry)
            row = (name, *(cells[column] for column in columns), entry["status"])
            table.add_row(*(Text(cell) for cell in row))
        return table

    def _heading(self) -> list[str]:
        data, plan, sizes = self.data["data"], self.data, self.data["sizes"]
        per_user = plan["interactions_per_user"]
        gap = plan["headroom"]["share"]
        percent = round(100 * plan["confidence"])
        return [
            f"{data['directory'] or 'data in memory'}: {data['provenance']} responses, "
            f"{sizes['users']} users × {sizes['test']} test queries × {sizes['llms']} LLMs",
            f"strategy {plan['strategy']}, setting {plan['setting']}, feedback {plan['feedback']}"
            f"{f', {per_user} interactions a user' if per_user else ''}, tier {plan['tier']}, "
            f"{plan['seeds']} seed{'s' if plan['seeds'] > 1 else ''}",
            f"personalisation headroom: {'none' if gap is None else f'{100 * gap:.1f} %'} of the "
            f"way from random to oracle is beyond a user-blind oracle; [{percent} % intervals "
            "over users and queries]",
        ]


# Columns of the printed table, the most telling first: a narrow terminal drops the last.
_COLUMNS = (
    "reward",
    "normalised",
    f"Δ {BASELINE}",
    "accuracy",
    "performance",
    "USD/query",
    "charged",
)


def _cells(entry: Mapping[str, Any]) -> dict[str, str]:
    if not entry["metrics"]:
        return dict.fromkeys(_COLUMNS, "–")

    def show(value: Mapping[str, Any] | None, form: str, interval: bool = True) -> str:
        if value is None or value["mean"] is None:
            return "unknown"
        text = format(value["mean"], form)
        if interval and value["low"] is not None:
            text += f" [{format(value['low'], form)}, {format(value['high'], form)}]"
        return text

    metrics = entry["metrics"]
    cells = (
        show(metrics["reward"], ".4f"),
        show(metrics["oracle_normalised_reward"], ".3f"),
        show(entry["reward_difference"], "+.4f"),
        show(metrics["accuracy"], ".3f", interval=False),
        show(metrics["performance"], ".3f", interval=False),
        show(metrics["cost_usd"], ".3g", interval=False),
        show(metrics["charged"], ".2%", interval=False),
    )
    return dict(zip(_COLUMNS, cells, strict=True))


def make_evaluation(
    benchmark: Benchmark,
    plan: Plan,
    runs: Sequence[Run],
    outcomes: Outcomes,
    *,
    headroom: Mapping[str, float | None],
    choices_dir: str | Path | None,
) -> Evaluation:
    """Score all runs and put the results together."""
    U, Q, M = outcomes.reward.shape
    done = [run for run in runs if run.error is None]
    averaged = {run.name: _average(run, outcomes) for run in done}
    statistics = []
    for values in averaged.values():
        statistics += [bootstrap.weighted_mean(values[metric]) for metric in SCORES]
        chance, best = outcomes.chance, outcomes.best
        statistics.append(bootstrap.normalised(values["reward"], chance, best))
    samples = bootstrap.resample(statistics, U, Q, plan.bootstrap_draws, BOOTSTRAP_SEED)
    samples = samples.reshape(len(averaged), len(SCORES) + 1, -1)
    drawn = dict(zip(averaged, samples, strict=True))

    entries = []
    for run in runs:
        entry: dict[str, Any] = {
            "name": run.name,
            "status": _status(run),
            "kind": run.kind,
            "asked_for": run.asked_for,
            "uses_test_outcomes": run.kind == "control",
            "metrics": {},
            "per_seed": [],
        }
        if run.error is None:
            entry |= _measure(run, outcomes, averaged, drawn, plan)
            if choices_dir is not None:
                entry["choices_file"] = choices_file(run.name)
        entries.append(entry)
    entries.sort(key=lambda e: -(e["metrics"]["reward"]["mean"] or 0) if e["metrics"] else np.inf)
    sizes = {"users": U, "llms": M, "tasks": len(benchmark.task_ids)}
    for split in ("train", "validation", "test"):
        sizes[split] = len(benchmark.split_queries(split))
    data = {
        "schema": RESULTS_SCHEMA,
        "data": _describe(benchmark),
        **asdict(plan),
        "sizes": sizes,
        "headroom": dict(headroom),
        "rows": {"total": U * Q, "scored": int(outcomes.scored.sum())},
        "routers": entries,
    }
    return Evaluation(data, {run.name: run.trace for run in runs if run.trace})


def _average(run: Run, outcomes: Outcomes) -> dict[str, Doubles]:
    """[U, Q] each score, averaged over the seeds in which it has a value."""
    total = {metric: np.zeros(outcomes.best.shape) for metric in SCORES}
    count = {metric: np.zeros(outcomes.best.shape) for metric in SCORES}
    for choice in run.choices:
        scores = score(outcomes, choice)
        for metric in SCORES:
            values = getattr(scores, metric)
            known = np.isfinite(values)
            total[metric] += np.where(known, values, 0)
            count[metric] += known
    return {
        metric: np.divide(
            total[metric],
            count[metric],
            out=np.full(outcomes.best.shape, np.nan),
            where=count[metric] > 0,
        )
        for metric in SCORES
    }


def _measure(
    run: Run,
    outcomes: Outcomes,
    averaged: Mapping[str, Mapping[str, Doubles]],
    drawn: Mapping[str, Doubles],
    plan: Plan,
) -> dict[str, Any]:
    """Return the part of an entry that stands on the run's choices."""
    values, samples = averaged[run.name], drawn[run.name]
    M, requests = outcomes.reward.shape[-1], outcomes.best.size
    metrics: dict[str, Any] = {}

    def put(metric: str, centre: float | None, of: Doubles | None, count: int) -> None:
        low, high = (None, None) if of is None else bootstrap.interval(of, plan.confidence)
        metrics[metric] = {"mean": centre, "low": low, "high": high, "n": count}

    for place, metric in enumerate(SCORES):
        known = int(np.isfinite(values[metric]).sum())
        put(metric, mean(values[metric]), samples[place], known)
    normalised, left_out = _normalised(values["reward"], outcomes)
    put("oracle_normalised_reward", normalised, samples[-1], len(outcomes.best) - left_out)
    put("coverage", float(outcomes.scored.mean()), None, requests)
    entropy = float(np.mean([routing_entropy(choice, M) for choice in run.choices]))
    put("routing_entropy", entropy, None, requests)
    if run.route_s:
        put("decision_s", float(np.mean(run.route_s)) / requests, None, requests)
    gap = None
    if BASELINE in averaged:
        low, high = bootstrap.interval(samples[0] - drawn[BASELINE][0], plan.confidence)
        centre = mean(values["reward"] - averaged[BASELINE]["reward"])
        gap = {"baseline": BASELINE, "mean": centre, "low": low, "high": high}
    per_seed = []
    for seed, choice in enumerate(run.choices):
        scores = score(outcomes, choice)
        means = {metric: mean(getattr(scores, metric)) for metric in SCORES}
        means["oracle_normalised_reward"] = _normalised(scores.reward, outcomes)[0]
        invalid = _invalid(choice, outcomes)
        sealed = {"invalid": invalid, "choices_sha256": run.digests[seed]}
        per_seed.append({"seed": seed, **means, **sealed})
    return {
        "metrics": metrics,
        "reward_difference": gap,
        "per_seed": per_seed,
        "choices_sha256": run.digests[0],
        "invalid": sum(entry["invalid"] for entry in per_seed),
        "charged": int(np.nansum([score(outcomes, c).charged for c in run.choices])),
        "users_without_range": left_out,
        "fit_s": float(np.mean(run.fit_s)) if run.fit_s else None,
        "route_s": float(np.mean(run.route_s)) if run.route_s else None,
    }


def _normalised(reward: Doubles, outcomes: Outcomes) -> tuple[float | None, int]:
    return oracle_normalised_reward(reward, outcomes.chance, outcomes.best)


def _invalid(choice: Any, outcomes: Outcomes) -> int:
    """Count invalid choices; a control's blank where nothing can be chosen is none."""
    return int(((choice == INVALID) & outcomes.scored).sum())


def _status(run: Run) -> str:
    if run.error is not None:
        return run.error
    if run.problem is not None:
        total = sum(choice.size for choice in run.choices)
        invalid = sum(int((choice == INVALID).sum()) for choice in run.choices)
        return f"{invalid} of {total} choices invalid: {run.problem}"
    return "ok"


def _describe(benchmark: Benchmark) -> dict[str, Any]:
    """Return what the results stand on: which data set, and where its responses come from."""
    from personaroute_bench.benchmark import MANIFEST
    from personaroute_bench.files import sha256_file

    provenance: Any = benchmark.manifest.get("provenance")
    if provenance is None and benchmark.directory is not None:
        found = benchmark.responses(["provenance"])["provenance"].unique().to_pylist()
        provenance = sorted(found)
    if isinstance(provenance, (list, tuple, set, dict)):
        provenance = " and ".join(sorted(provenance))
    sha256 = None
    if benchmark.directory is not None:
        sha256 = sha256_file(benchmark.directory / MANIFEST)
    return {
        "directory": None if benchmark.directory is None else str(benchmark.directory),
        "manifest_sha256": sha256,
        "provenance": provenance or "unknown",
    }
