"""Every bundled router under `evaluate`, on small data on disk: what it chose, and its row."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from learned_data import past_with_tastes, rows_of
from loopback import Loopback
from prompt_server import write_pool
from small_benchmark import save

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.facts import RouterFacts, router_facts
from personaroute_bench.evaluation.registry import LEARNED, ROUTERS
from personaroute_bench.evaluation.results import Evaluation
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.judging.dimensions import NAMES as DIMENSIONS

EVERY = (*ROUTERS, *LEARNED)
FACTS: dict[str, RouterFacts] = {name: router_facts(name) for name in EVERY}
PERSONAL = [name for name in EVERY if FACTS[name].personal]
# Choices of these differ between users by lot, whatever the past says.
DRAWN = ("random",)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What one router did."""

    llm_ids: np.ndarray
    """[U, Q] ids"""
    entry: dict[str, Any]


class Runs:
    """Runs routers on folders; the small LLM behind prompt-llm listens on loopback."""

    def __init__(self, folder: Path, server: Loopback, *, learning: bool = True) -> None:
        self.folder, self.server, self.learning = folder, server, learning
        self.done: dict[tuple[Any, ...], tuple[Evaluation, Path]] = {}

    def __call__(
        self, name: str, data: str, among: Sequence[str] = EVERY, **options: Any
    ) -> Chosen:
        """Return what a router did; all of `among` run on the data set together, once."""
        key = (data, *among, *sorted(options.items()))
        if key not in self.done:
            self.done[key] = self._run(data, among, options, self.folder / str(len(self.done)))
        results, choices = self.done[key]
        assert results[name]["status"] == "ok", results.traces.get(name)
        table = pq.read_table(choices / f"{name}.parquet")
        ids = np.asarray(table["llm_id"].to_pylist())
        users = len(set(table["user_id"].to_pylist()))
        return Chosen(ids.reshape(users, -1), results[name])

    def _run(
        self, data: str, among: Sequence[str], options: dict[str, Any], where: Path
    ) -> tuple[Evaluation, Path]:
        """Keep the slow ones short, and let prompt-llm ask anew."""
        where.mkdir()
        pool = write_pool(where, self.server.url)
        graph = {"width": 16, "epochs": 6} if self.learning else {"width": 8, "epochs": 2}
        paid = {"pool": pool, "llm": "judge", "max_cost": 5.0, "ledger": where / "ledger.sqlite"}
        settings = {"personalized": graph, "personalized-graph": graph, "prompt-llm": paid}
        with quick(self.learning):
            results = evaluate(
                self.folder / data,
                among,
                bootstrap_draws=0,
                choices_dir=where,
                settings={name: settings[name] for name in among if name in settings},
                **options,
            )
        return results, where


# Steps that are enough on these data, where learning needs more than LEARNING_STEPS.
LEARNING_STEPS = 120
ENOUGH = {"mf": 300, "router_dc": 2000}
# What modules try on validation: their first alone will do (RouterDC's few LLMs need the second).
TRIED = ("NOISES", "DECAYS", "CLUSTERS")


@contextmanager
def quick(learning: bool = True) -> Iterator[None]:
    """Fewer steps of descent, very few where nothing has to be learned, and one thread."""
    torch = pytest.importorskip("torch")
    from personaroute_bench.router import mlp, router_dc

    modules = {path.partition(":")[0] for path in LEARNED.values()}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for kind in (mlp.Mlp, mlp.MlpClass):
                patch.setattr(kind, "settings", (60 if learning else 5,))
            for module in map(importlib.import_module, sorted(modules)):
                if hasattr(module, "STEPS"):
                    most = ENOUGH.get(module.__name__.rpartition(".")[2], LEARNING_STEPS)
                    steps = min(module.STEPS, most if learning else 40)
                    patch.setattr(module, "STEPS", steps)
                for name in TRIED:
                    if isinstance(getattr(module, name, None), tuple):
                        patch.setattr(module, name, getattr(module, name)[:1])
            patch.setattr(router_dc, "TOPS", router_dc.TOPS[1:])
            yield
    finally:
        torch.set_num_threads(before)


def write_tastes(folder: Path) -> None:
    """Write data sets with clear tastes, and beside each one with two pasts exchanged."""
    tastes = past_with_tastes()
    two = rows_of(tastes, np.arange(12), np.asarray([0, 1]))
    for name, data in (("tastes", tastes), ("two-llms", two)):
        save(data, folder / name)
        save(exchanged(data), folder / f"{name}-exchanged")


def exchanged(data: Benchmark) -> Benchmark:
    """Return the data set with the pasts of users 0 (quality) and 2 (thrifty) exchanged."""
    order = np.asarray([2, 1, 0, *range(3, 12)])
    memory = {
        (strategy, split): dataclasses.replace(
            part, reward=part.reward[order], chosen=part.chosen[order]
        )
        if split != "test"
        else part
        for (strategy, split), part in data.memory.items()
    }
    return dataclasses.replace(data, memory=memory)


def write_rated(data: Benchmark, folder: Path) -> None:
    """Write a data set with ratings."""
    save(data, folder)
    rating = np.random.default_rng(1).random((len(data.query_ids), len(data.llm_ids), 12))
    q, m, d = (x.ravel() for x in np.indices(rating.shape))
    columns = {
        "query_id": data.query_ids[q],
        "llm_id": data.llm_ids[m],
        "judge": np.full(q.size, "embedded"),
        "dimension": np.asarray(DIMENSIONS)[d],
    }
    table = pa.table({name: pa.array(x).dictionary_encode() for name, x in columns.items()})
    table = table.append_column("rating", pa.array(rating.ravel().astype(np.float32)))
    pq.write_table(table, folder / "ratings.parquet")


def perturb(data: Benchmark, folder: Path, what: tuple[str, ...]) -> None:
    """Overwrite what the folder says of the test queries.

    rewards: rewards, who chose what, performance, reference answers. responses: texts, costs,
    statuses and ratings as well.
    """
    rng = np.random.default_rng(9)
    test = set(data.query_ids[data.split_queries("test")].tolist())

    def change(path: Path, changes: dict[str, Any]) -> None:
        table = pq.read_table(path)
        hit = np.asarray([name in test for name in table["query_id"].to_pylist()])
        for column, new in changes.items():
            at = table.column_names.index(column)
            field = table.schema.field(at)
            values = np.asarray(table[column].to_pylist(), dtype=object)
            values[hit] = [new(value) for value in values[hit]]
            array = pa.array(values.tolist(), from_pandas=True).cast(field.type)
            table = table.set_column(at, field, array)
        pq.write_table(table, path)

    def number(_: Any) -> float:
        return float(rng.random())

    def verdict(_: Any) -> bool:
        return bool(rng.random() < 0.3)

    for part in folder.glob("interactions/*/test/*.parquet"):
        change(part, {"reward": number, "chosen": verdict})
    change(folder / "responses.parquet", {"performance": number})
    change(folder / "queries.parquet", {"ground_truth": lambda _: "something else"})
    if "responses" in what:
        change(
            folder / "responses.parquet",
            {
                "response": lambda text: f"No. {text}",
                "cost_usd": lambda usd: 50 * number(usd),
                "cost": number,
                "status": lambda _: "ok" if rng.random() < 0.6 else "refused",
            },
        )
        change(folder / "ratings.parquet", {"rating": number})
