"""Routers on the workers of an engine are what they are in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench
from side_by_side import SeveralHere

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig
from personaroute_bench.evaluation.far import goes_far
from personaroute_bench.evaluation.registry import resolve
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.generate import generate

TIMES = {"fit_s", "route_s", "adapt_s", "latency", "decision"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("far") / "data"
    generate(DataConfig(users=12, queries_per_task=8, strategies=("drift",)), out)
    return out


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_times(inner)
            for name, inner in value.items()
            if not any(time in name for time in TIMES)
        }
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("options", [
    {"seeds": 2},
    {"seeds": 2, "setting": "new-user", "retention": True},
    {"setting": "new-llm", "feedback": "choice", "interactions_per_user": 5},
])  # fmt: skip
def test_results_and_choices_are_the_same(
    directory: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    routers = ["random", "best-per-user", "knn-personal", "lin-ucb", "frugal-gpt"]
    engine = SeveralHere(3)
    folders = [tmp_path / "local", tmp_path / "far"]
    local = evaluate(directory, routers, choices_dir=folders[0], bootstrap_draws=100, **options)
    far = evaluate(
        directory, routers, choices_dir=folders[1], bootstrap_draws=100, engine=engine, **options
    )
    assert engine.maps and engine.maps[0] >= len(routers) * options.get("seeds", 1)
    assert written(local, tmp_path / "local.json") == written(far, tmp_path / "far.json")
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1] and len(names[0]) > len(routers)
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def written(results: Any, path: Path) -> Any:
    results.write(path)
    return without_times(json.loads(path.read_text()))


def test_a_data_set_in_memory_is_sent_as_it_is(directory: Path, tmp_path: Path) -> None:
    """Not read again from its folder, where it may say something else."""
    benchmark = Benchmark.load(directory)
    benchmark.performance[:] = np.where(np.isnan(benchmark.performance), np.nan, 0.5)
    here = evaluate(benchmark, ["knn"], bootstrap_draws=0)
    far = evaluate(benchmark, ["knn"], bootstrap_draws=0, engine=SeveralHere(2))
    assert written(here, tmp_path / "here.json") == written(far, tmp_path / "far.json")


def test_only_bundled_routers_travel() -> None:
    class Own:
        def fit(self, history: Any) -> None: ...

        def route(self, requests: Any) -> Any:
            return np.zeros(len(requests), dtype=np.int64)

    contestants = resolve([Own, Own(), "knn", "prompt-llm"], False, None)
    far = {c.name for c in contestants if goes_far(c, SeveralHere(2))}
    assert "knn" in far and "best-single" in far
    assert not far & {"Own", "Own-2", "prompt-llm", "oracle"}
    assert not any(goes_far(c, None) for c in contestants)


def test_the_command_says_where_its_routers_run(directory: Path, bench: Bench) -> None:
    ran = bench("evaluate", directory, "--workers", 2)
    assert ran.code == 2 and "--engine dask" in ran.err
