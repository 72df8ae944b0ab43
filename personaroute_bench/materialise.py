"""Write down the interactions of a virtual data set: what it needs lies in its own tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.files import atomic_path, read_json, write_json
from personaroute_bench.folder import CONFIG, MANIFEST, DataFolder
from personaroute_bench.interactions import write_interactions
from personaroute_bench.report import Report
from personaroute_bench.virtual import STORED

if TYPE_CHECKING:
    from personaroute_bench.publishing.card import About

# Of the manifest, what is made anew with every file.
_MADE = ("format", "schema_version", "dataset_id", "created", "generator", "configuration",
         "defining", "tables", "files")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Materialised:
    """What was written."""

    directory: Path
    rows: Mapping[str, int]
    """Strategy to its rows; empty where all were stored already."""


def materialise(directory: str | Path, report: Report | None = None) -> Materialised:
    """Write the interactions of a virtual data set, which is an ordinary one from then on.

    The same command continues where it was stopped, and does nothing to a stored data set.

    Args:
        directory: the data set's folder.
        report: told of progress.

    Raises:
        UsageError: no complete data set there, or another process works in it.
        BenchError: no space, or no permission to write.
    """
    report, path = report or Report(), Path(directory)
    benchmark = Benchmark.load(path)
    if not benchmark.virtual:
        return Materialised(path, {})
    if not (path / CONFIG).is_file():
        raise UsageError(f"{path} has no {CONFIG}; give the folder that bench generate made")
    defining = read_json(path / CONFIG).get("defining", {})
    manifest = benchmark.manifest
    provenance = ", ".join(manifest["provenance"])
    rows: dict[str, int] = {}
    with DataFolder.open(path, defining) as folder:
        found: dict[str, dict[str, Any]] = {}
        for strategy in manifest["strategies"]:
            report.stage("interactions", strategy)
            target, stage = path / "interactions" / strategy, f"interactions/{strategy}"
            source = benchmark.source(strategy)
            counts, headroom = write_interactions(
                target,
                source.grid,
                benchmark.user_ids,
                source.law(strategy),
                provenance=provenance,
                on_progress=report.rows,
            )
            held = manifest["strategies"][strategy]
            found[strategy] = {**held, "rows": counts, "headroom": headroom.as_json()}
            folder.fill(stage, target, result=found[strategy])
            rows[strategy] = sum(counts.values())
        report.stage("manifest")
        facts = {name: value for name, value in manifest.items() if name not in _MADE}
        facts |= {"strategies": found, "interactions": {"form": STORED}}
        folder.begin_change()
        folder.mark_done("form", {}, result=facts["interactions"])
        _describe(folder, benchmark, facts)
    return Materialised(path, rows)


def _describe(folder: DataFolder, benchmark: Benchmark, facts: Mapping[str, Any]) -> None:
    """Write card and manifest anew."""
    from personaroute_bench.manifest import build_manifest
    from personaroute_bench.publishing.card import card_body, card_header, render

    configuration = {**benchmark.manifest["configuration"], "interactions": STORED}
    text = render(
        card_header(folder.path, facts), card_body(_about(benchmark, configuration), facts)
    )
    with atomic_path(folder.path / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    manifest = build_manifest(
        folder.path,
        configuration=configuration,
        defining=benchmark.manifest["defining"],
        dataset_id=folder.dataset_id,
        facts=facts,
    )
    write_json(folder.path / MANIFEST, manifest)


def _about(benchmark: Benchmark, configuration: Mapping[str, Any]) -> About:
    from collections import Counter

    from personaroute_bench.publishing.card import About

    return About(
        benchmark.tasks.select(["task_id", "metric", "source", "licence"]).to_pylist(),
        Counter(benchmark.queries["task_id"].to_pylist()),
        configuration,
    )
