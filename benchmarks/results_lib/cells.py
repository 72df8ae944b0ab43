"""One cell: evaluate, and keep the choices and what they took.

WORK/data/DATA/                 the data sets
WORK/cells/CELL.json            status, times, versions, hashes of the choices
WORK/choices/CELL.npz           choices [seed, U, Q], and whose they are
"""

from __future__ import annotations

import copy
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench import evaluate
from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.choices import choices_digest
from personaroute_bench.evaluation.folds import FOLDS, refolded
from personaroute_bench.evaluation.registry import load
from personaroute_bench.files import atomic_path, read_json, write_json
from results_lib.code import code_digest
from results_lib.forest import ForestOfCost, ForestOfStyle
from results_lib.plan import BASELINES, CROSSED, FOREST, JUDGE, ROOT, Cell, own_protocol

METRICS = ("reward", "oracle_normalised_reward", "accuracy", "performance", "cost_usd", "charged")
METRICS += ("shuffled_gain", "user_sensitivity", "routing_entropy")
PACKAGES = ("personaroute-bench", "numpy", "scikit-learn", "torch", "torch-geometric")
# Only routers that are scored by `evaluate` alone need its intervals.
DRAWS = 1000


def json_path(work: Path, cell: Cell) -> Path:
    """Return where a cell's facts stand."""
    return work / "cells" / f"{cell.name}.json"


def choices_path(work: Path, cell: Cell) -> Path:
    """Return where a cell's choices stand."""
    return work / "choices" / f"{cell.name}.npz"


def finished(work: Path, cell: Cell) -> dict[str, Any] | None:
    """Return the facts of a cell that is done; None where it is not, failed or was another."""
    path = json_path(work, cell)
    if not path.is_file():
        return None
    facts = read_json(path)
    same = facts.get("config_sha256") == cell.digest()
    return facts if same and facts.get("status") == "ok" else None


def run_cell(cell: Cell, work: Path) -> dict[str, Any]:
    """Run a cell, write its choices and then its facts; return the facts."""
    # Of one core, whatever else the machine does meanwhile.
    start = time.process_time()
    benchmark = _benchmark(work / "data" / cell.data)
    sources = _sources(cell)
    results: dict[str, Any] = {name: {} for name in cell.routers}
    arrays: dict[str, Any] = {}
    for shots in cell.shots or (None,):
        parts = []
        for view in _views(cell, benchmark):
            with tempfile.TemporaryDirectory() as folder:
                found = evaluate(
                    view,
                    list(sources),
                    strategy=cell.strategy,
                    setting="general" if cell.setting == CROSSED else cell.setting,
                    shots=shots,
                    feedback=cell.feedback,  # type: ignore[arg-type]
                    interactions_per_user=cell.few,
                    tier=cell.tier,  # type: ignore[arg-type]
                    seeds=cell.seeds,
                    choices_dir=folder,
                    bootstrap_draws=DRAWS if own_protocol(cell.router) else 0,
                )
                entries = {entry["name"]: entry for entry in found.routers if entry["asked_for"]}
                of_fold: dict[str, Any] = {}
                for name, source in zip(cell.routers, sources, strict=True):
                    entry = entries[_entry_name(source)]
                    at = "general" if shots is None else str(shots)
                    results[name][at] = _worse(results[name].get(at), _facts(entry))
                    if entry["metrics"]:
                        of_fold |= _read_choices(Path(folder), entry, view, key(name, shots))
                parts.append(of_fold)
        arrays |= _joined(parts)
    statuses = {s for by in results.values() for s in (f["status"] for f in by.values())}
    bad = sorted(s for s in statuses if s.startswith("error"))
    with atomic_path(choices_path(work, cell)) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, **arrays)
    facts = {
        "cell": cell.name,
        "status": bad[0] if bad else "ok",
        "config_sha256": cell.digest(),
        "manifest_sha256": found.data["data"]["manifest_sha256"],
        "sizes": found.data["sizes"],
        "headroom": found.data["headroom"],
        "seconds": round(time.process_time() - start, 2),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "code": code_digest(cell.router),
        "versions": versions(),
        "results": results,
    }
    write_json(json_path(work, cell), facts)
    return facts


def _views(cell: Cell, benchmark: Benchmark) -> list[Benchmark]:
    """Return the data set; for cross-validation, as each fold splits it."""
    if cell.setting != CROSSED:
        return [benchmark]
    return [refolded(benchmark, cell.strategy, fold) for fold in range(FOLDS)]


def _worse(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a fold, unless an earlier one has failed."""
    return now if before is None or before["status"] == "ok" else before


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the choices of all folds as one, in the order of the queries; see `_read_choices`."""
    if len(parts) == 1:
        return dict(parts[0])
    queries = np.concatenate([part["queries"] for part in parts if part])
    order = np.argsort(queries)
    whole = set.intersection(*(set(part) for part in parts)) - {"users", "queries"}
    found = {at: np.concatenate([part[at] for part in parts], axis=-1)[..., order] for at in whole}
    return found | ({"users": parts[0]["users"], "queries": queries[order]} if whole else {})


def key(router: str, shots: int | None) -> str:
    """Return the name of an array of choices."""
    return router if shots is None else f"{router}@{shots}"


def _sources(cell: Cell) -> list[Any]:
    if cell.router == FOREST:
        return [ForestOfStyle if cell.strategy == JUDGE else ForestOfCost]
    if cell.shots and cell.router != BASELINES and not own_protocol(cell.router):
        return [fitted_once(name) for name in cell.routers]
    return list(cell.routers)


def _entry_name(source: Any) -> str:
    if isinstance(source, str):
        return source
    return f"{source.__module__}:{source.__qualname__}"


def fitted_once(name: str) -> type:
    """Return a router that fits once a seed and starts each evaluation from a copy of that.

    For evaluations that differ in the support only: their histories are the same.
    """
    made = load(name)
    fitted: dict[int, Any] = {}

    class Once:
        def __init__(self, seed: int = 0) -> None:
            self.seed = seed

        def fit(self, history: Any) -> None:
            if self.seed not in fitted:
                try:
                    router = made(seed=self.seed)
                except TypeError:
                    router = made()
                router.fit(history)
                fitted[self.seed] = router
            self.router = copy.deepcopy(fitted[self.seed])

        def adapt(self, support: Any) -> None:
            adapt = getattr(self.router, "adapt", None)
            if callable(adapt):
                adapt(support)

        def route(self, requests: Any) -> Any:
            return self.router.route(requests)

    Once.__module__, Once.__qualname__ = "results", name
    return Once


def _facts(entry: dict[str, Any]) -> dict[str, Any]:
    """Return of an entry what is kept."""
    facts = {"status": entry["status"], "protocol": entry.get("protocol", "batch")}
    facts |= {name: entry["metrics"].get(name) for name in METRICS if entry["metrics"]}
    if entry["metrics"]:
        facts |= {name: entry[name] for name in ("fit_s", "adapt_s", "route_s", "charged")}
        facts["per_seed"] = entry["per_seed"]
        facts["note"] = entry.get("note")
    return facts


def _read_choices(
    folder: Path, entry: dict[str, Any], benchmark: Benchmark, at: str
) -> dict[str, NDArray[Any]]:
    """Return choices [seed, U, Q] as indices of LLMs (-1 invalid), their users and queries.

    Raises:
        RuntimeError: they are not those that `evaluate` committed to.
    """
    import pyarrow.parquet as pq

    users: Any = None
    seeds = []
    for of_seed in entry["per_seed"]:
        table = pq.read_table(folder / of_seed["choices_file"])
        rows = [_places(table["user_id"], benchmark.user_ids)]
        rows.append(_places(table["query_id"], benchmark.query_ids))
        if users is None:
            users = rows[0][np.r_[True, rows[0][1:] != rows[0][:-1]]]
            queries = rows[1][: len(rows[1]) // len(users)]
        choice = _places(table["llm_id"], benchmark.llm_ids).reshape(len(users), len(queries))
        ids = benchmark.user_ids[users], benchmark.query_ids[queries], benchmark.llm_ids
        if choices_digest(choice, *ids) != of_seed["choices_sha256"]:
            raise RuntimeError(f"{at}: the choices read back are not those that were committed")
        seeds.append(choice.astype(np.int8 if len(benchmark.llm_ids) < 128 else np.int32))
    found = {at: np.stack(seeds), "users": users.astype(np.int32)}
    return found | {"queries": queries.astype(np.int32)}


def _places(column: Any, ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return for each value its index among ids; -1 for null."""
    place = {name: i for i, name in enumerate(ids.tolist())}
    coded = column.combine_chunks()
    if not hasattr(coded, "indices"):
        coded = coded.dictionary_encode()
    names = coded.dictionary.to_pylist()
    lookup = np.asarray([place[name] for name in names] + [-1], dtype=np.int64)
    index = coded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return lookup[index]


@lru_cache(maxsize=1)
def _benchmark(folder: Path) -> Benchmark:
    return Benchmark.load(folder)


@lru_cache(maxsize=1)
def commit() -> str:
    """Return the commit of the checkout, with ``+changes`` where the code differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "personaroute_bench", "router", "benchmarks/*.py")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+changes" if changed else "")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return what a cell was measured with."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:  # an extra that is not installed
            continue
    return found
