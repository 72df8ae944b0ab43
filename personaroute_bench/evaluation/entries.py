"""What results say of a run whether it has scores or not, and of the data they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation.choices import INVALID
from personaroute_bench.evaluation.facts import kept_apart, own_words
from personaroute_bench.evaluation.texts import encodable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.results import Plan
    from personaroute_bench.evaluation.run import Run

RESULTS_SCHEMA = 1


def entry_of(run: Run) -> dict[str, Any]:
    """Return what is said of a run whether it has choices to score or not."""
    return {
        "name": run.name,
        "status": status_of(run),
        "kind": run.kind,
        "protocol": run.protocol,
        "asked_for": run.asked_for,
        "uses_test_outcomes": run.kind == "control",
        **own_words(run),
        **kept_apart(run),
        "metrics": {},
        "per_seed": [],
    }


def name_files(entry: dict[str, Any], run: Run) -> None:
    """Say in an entry which files hold the choices, where they were written."""
    if run.files:
        entry["choices_file"] = run.files[0]
        for of_seed, file in zip(entry["per_seed"], run.files, strict=True):
            of_seed["choices_file"] = file


def put_together(
    benchmark: Benchmark,
    plan: Plan,
    shape: tuple[int, int, int],
    entries: list[dict[str, Any]],
    *,
    headroom: Mapping[str, float | None],
    scored: int,
    paired: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the results of all routers, best mean reward first, failed ones last.

    Args:
        shape: users, test queries, LLMs.
        entries: one a router.
        headroom: see `controls.headroom`.
        scored: rows in which at least one candidate is ok.
        paired: see `standing.paired_key`.
    """
    U, Q, M = shape
    entries.sort(key=lambda e: -(e["metrics"]["reward"]["mean"] or 0) if e["metrics"] else np.inf)
    sizes = {"users": U, "llms": M, "tasks": len(benchmark.task_ids)}
    for split in ("train", "validation", "test"):
        sizes[split] = len(benchmark.split_queries(split)) if split != "test" else Q
    return {
        "schema": RESULTS_SCHEMA,
        "data": _describe(benchmark),
        **asdict(plan),
        "held_out": list(plan.held_out),
        "sizes": sizes,
        "headroom": dict(headroom),
        "rows": {"total": U * Q, "scored": scored},
        "paired": dict(paired),
        "routers": entries,
    }


def status_of(run: Run) -> str:
    """Return ``ok``, or in words why choices are missing or invalid."""
    if run.error is not None:
        return run.error
    if run.problem is not None:
        total = sum(choice.size for choice in run.choices)
        invalid = sum(int((choice == INVALID).sum()) for choice in run.choices)
        if run.ended is not None:
            return f"{run.ended}; {invalid} of {total} choices invalid"
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
        "directory": None if benchmark.directory is None else encodable(str(benchmark.directory)),
        "manifest_sha256": sha256,
        "provenance": provenance or "unknown",
    }


def seconds_of(run: Run) -> dict[str, float | None]:
    """Return the mean seconds of each step."""
    steps = {"fit_s": run.fit_s, "adapt_s": run.adapt_s, "route_s": run.route_s}
    return {name: float(np.mean(found)) if found else None for name, found in steps.items()}
