"""What is measured: data sets, cells, and how long each may take.

A cell is one router (or the free baselines together) in one setting on one data set. Its choices
are kept, so that whatever compares routers is computed afterwards, from the choices of all.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from personaroute_bench.evaluation.facts import router_facts
from personaroute_bench.evaluation.folds import FOLDS
from personaroute_bench.evaluation.registry import LEARNED, ROUTERS, load
from personaroute_bench.hashing import digest

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT.parent / "shared" / "recorded"
# No setting of any router was chosen on data of this seed.
DATA_SEED = 101
COST, JUDGE, DRIFT = "multi_cost_efficiency", "llm_judge", "drift"
REFERENCE = "personalized"
NAMED = ("personalized", "explicit-utility", "knn-personal", "mf-personal", "gmt-router", "copl")
BESIDE = ("knn",)
"""Run wherever the named are: the user-blind form of one of them."""
BASELINES = "baselines"
FREE = tuple(ROUTERS)
NAMES = (*ROUTERS, *LEARNED)
FOREST = "forest"
NEVER = ("prompt-llm",)
"""Spends money on an LLM; no result row."""
COUNT_BASED = ("best-per-user", "best-per-user-task")
VARIANTS = ("personalized-graph",)
"""The reference with a part left out: shown, and no baseline."""
SEED_IS_INERT = ("knn", "linear", "svm", "elo")
"""Take a seed and make no use of it, with their suffixes; a test holds this."""
CROSSED = "5-fold"
"""A setting of these pages: general, on five splits of the queries that together test them all."""
CROSSED_ROUTERS = ("personalized", "explicit-utility", "knn-personal", "knn")
CURVE = (3, 5, 10, 20, 60, None)
SHOTS = (0, 1, 3, 5, 10, 20)
LLM_SHOTS = (0, 3, 10)

# Seconds of one fit with its routing, on one of two busy cores: (up to 100 users, above).
SECONDS: Mapping[str, tuple[float, float]] = {
    BASELINES: (0.1, 2.0),
    FOREST: (15, 15),
    "personalized": (12, 25),
    "personalized-graph": (5, 15),
    "explicit-utility": (2, 8),
    "knn": (0.3, 1),
    "knn-personal": (0.7, 6),
    "mf-personal": (5, 12),
    "gmt-router": (8, 25),
    "graph-router": (6, 15),
    "copl": (6, 20),
}
OTHER_SECONDS = (4.0, 10.0)
# Reading the history and scoring of one `evaluate`.
OVERHEAD = (0.3, 1.5)


@lru_cache
def is_personal(router: str) -> bool:
    """Whether a router claims to answer users differently."""
    return router in NAMES and router_facts(router).personal


@lru_cache
def own_protocol(router: str) -> bool:
    """Whether it is a cascade or an online router: these pay for, or learn from, what others do
    not, and are not compared with them."""
    return router in NAMES and router_facts(router).protocol != "batch"


@dataclass(frozen=True)
class DataSet:
    """What `generate` makes; the options of `DataConfig`."""

    name: str
    label: str
    users: int
    strategies: tuple[str, ...] = (COST, JUDGE, DRIFT)
    queries_per_task: int | None = None
    recorded: bool = False

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of `DataConfig`."""
        found: dict[str, Any] = {
            "users": self.users,
            "seed": DATA_SEED,
            "strategies": self.strategies,
            "queries_per_task": self.queries_per_task,
        }
        if self.recorded:
            found["responses"] = str(RECORDED / "responses.parquet")
            found["pool"] = str(RECORDED / "core-pool.yaml")
        return found

    @property
    def missing(self) -> str | None:
        """Why it cannot be made here; None where it can."""
        if self.recorded and not (RECORDED / "responses.parquet").is_file():
            return "the recorded responses (../shared/recorded) are not on this machine"
        return None


@dataclass(frozen=True)
class Cell:
    """One router in one setting on one data set."""

    data: str
    strategy: str
    router: str
    seeds: int
    stage: int
    """Lower is run earlier."""
    setting: str = "general"
    feedback: str = "full"
    few: int | None = None
    """Interactions a user; None: all."""
    shots: tuple[int, ...] = ()
    """In few-shot settings: each is an evaluation, on the same fits."""
    tier: str = "T1"
    folds: int = 1
    """Fits a seed."""

    @property
    def condition(self) -> str:
        """Everything but the router: what is compared with what."""
        few = "all" if self.few is None else str(self.few)
        return f"{self.data}/{self.strategy}/{self.setting}/{self.feedback}-{few}"

    @property
    def name(self) -> str:
        """The cell's name, and its file's."""
        return f"{self.condition}/{self.router}"

    @property
    def routers(self) -> tuple[str, ...]:
        """What is handed to `evaluate`."""
        return FREE if self.router == BASELINES else (self.router,)

    def digest(self) -> str:
        """Return the hash of what defines the cell; another one means other figures."""
        config = asdict(self) | {"shots": list(self.shots), "data_seed": DATA_SEED}
        del config["stage"], config["folds"]
        return digest(config)


@dataclass(frozen=True)
class Plan:
    """Data sets and cells, in the order of their importance."""

    data: tuple[DataSet, ...]
    cells: tuple[Cell, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    """What is left out, and why."""

    def dataset(self, name: str) -> DataSet:
        """Return a data set by name."""
        return next(data for data in self.data if data.name == name)


DATA = (
    DataSet("embedded-9", "embedded, 9 users", 9),
    DataSet("recorded-9", "recorded, 9 users", 9, queries_per_task=80, recorded=True),
    DataSet("embedded-1000", "embedded, 1,000 users", 1000),
    DataSet("recorded-1000", "recorded, 1,000 users", 1000, queries_per_task=80, recorded=True),
)
# 80 queries of each of the three tasks that the core pool has answered make the paper's 240.
ALL_QUERIES = DataSet(
    "recorded-all", "recorded, all 2,046 queries, 100 users", 100, (COST, JUDGE), None, True
)
SMOKE = DataSet("smoke", "embedded, 12 users, 40 queries", 12, queries_per_task=10)
SMOKE_ROUTERS = ("personalized", "explicit-utility", "knn-personal")


def full_plan(seeds: int = 5) -> Plan:
    """Return the plan of docs/results.md."""
    skipped = {data.name: data.missing for data in (*DATA, ALL_QUERIES) if data.missing}
    data = tuple(d for d in (*DATA, ALL_QUERIES) if not d.missing)
    for router in (*NAMED, *BESIDE):
        if router not in LEARNED:
            skipped[router] = "it is not in the registry"
    main = [d.name for d in data if d is not ALL_QUERIES]
    few = max(1, min(3, seeds))
    named = [r for r in (*NAMED, *BESIDE) if r in LEARNED]
    own = [r for r in LEARNED if own_protocol(r)]
    others = [r for r in LEARNED if r not in (*named, *own, *NEVER)]
    everywhere = [BASELINES, *named]
    cells: list[Cell] = []
    pairs = [(d, s) for d in main for s in (COST, JUDGE)]

    def add(stage: int, routers: Iterable[str], **options: Any) -> None:
        cells.extend(
            Cell(d, s, router, stage=stage, **{"seeds": seeds, **options})
            for router in routers
            for d, s in pairs
        )

    add(0, [BASELINES, *named])
    add(0, [FOREST], tier="T3", seeds=1)  # the mean of 200 trees hardly depends on the seed
    crossed = [BASELINES, *(r for r in CROSSED_ROUTERS if r in LEARNED)]
    add(1, crossed, setting=CROSSED, seeds=1, folds=FOLDS)
    add(1, others, seeds=few)
    for n in CURVE:
        add(2, everywhere, feedback="choice", few=n)
    for feedback in ("full", "choice"):
        add(3, everywhere, setting="new-user", feedback=feedback, shots=SHOTS)
        add(3, everywhere, setting="new-llm", feedback=feedback, shots=LLM_SHOTS)
    for n in (5, 20):
        add(4, everywhere, few=n)
    add(4, own, seeds=few)
    for d in main:
        for feedback in ("full", "choice"):
            for router in everywhere:
                cells.append(Cell(d, DRIFT, router, seeds, 5, "drift", feedback))
    for feedback in ("full", "choice"):
        folds = {True: 3, False: 4}
        for router in everywhere:
            for d, s in pairs:
                recorded = d.startswith("recorded")
                cells.append(
                    Cell(d, s, router, seeds, 6, "cross-task", feedback, folds=folds[recorded])
                )
    if ALL_QUERIES in data:
        cells += [Cell(ALL_QUERIES.name, s, r, 1, 7) for r in everywhere for s in (COST, JUDGE)]
    return Plan(data, _ordered(cells), skipped)


def smoke_plan(seeds: int = 2) -> Plan:
    """Return a plan of seconds, in which every kind of cell occurs."""
    cells = []
    for router in (BASELINES, *SMOKE_ROUTERS):
        for strategy in (COST, JUDGE):
            cells += [
                Cell(SMOKE.name, strategy, router, seeds, 0),
                Cell(SMOKE.name, strategy, router, seeds, 2, feedback="choice", few=5),
            ]
        cells += [
            Cell(SMOKE.name, COST, router, seeds, 3, "new-user", shots=(0, 3)),
            Cell(SMOKE.name, DRIFT, router, 1, 5, "drift"),
            Cell(SMOKE.name, JUDGE, router, 1, 1, CROSSED, folds=FOLDS),
        ]
    cells += [Cell(SMOKE.name, s, FOREST, 1, 0, tier="T3") for s in (COST, JUDGE)]
    return Plan((SMOKE,), _ordered(cells))


def _ordered(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Sort by stage; where nothing is drawn, a router without use for a seed runs once."""
    return tuple(_once(cell) for cell in sorted(cells, key=lambda cell: cell.stage))


def _once(cell: Cell) -> Cell:
    drawn = cell.few is not None or cell.feedback != "full" or bool(cell.shots)
    if drawn or (cell.router != BASELINES and uses_seed(cell.router)):
        return cell
    return replace(cell, seeds=1)


def uses_seed(router: str) -> bool:
    """Whether repetitions of a router can differ where the history does not."""
    if router == FOREST:
        return True
    stem = router.removesuffix("-personal").removesuffix("-class")
    if stem in SEED_IS_INERT:
        return False
    return "seed" in inspect.signature(load(router)).parameters


class Clock:
    """Expected seconds of cells: a table at first, then what finished cells took."""

    def __init__(self, plan: Plan) -> None:
        self.large = {data.name: data.users > 100 for data in plan.data}
        self.measured: dict[tuple[str, bool], list[float]] = {}

    def learn(self, cell: Cell, seconds: float) -> None:
        """Take in a finished cell."""
        spent = max(0.0, seconds - self._overhead(cell)) / self._fits(cell)
        self.measured.setdefault((cell.router, self.large[cell.data]), []).append(spent)

    def expect(self, cell: Cell) -> float:
        """Return seconds on one core."""
        known = self.measured.get((cell.router, self.large[cell.data]))
        default = SECONDS.get(cell.router, OTHER_SECONDS)[self.large[cell.data]]
        one = sum(known) / len(known) if known else default
        return self._overhead(cell) + one * self._fits(cell)

    def total(self, cells: Iterable[Cell]) -> float:
        """Return seconds on one core of all cells."""
        return sum(self.expect(cell) for cell in cells)

    def _overhead(self, cell: Cell) -> float:
        return OVERHEAD[self.large[cell.data]] * max(1, len(cell.shots)) * (1 + cell.seeds / 5)

    def _fits(self, cell: Cell) -> float:
        # Few-shot settings fit once a seed; each further number of shots adapts and routes.
        return cell.seeds * cell.folds * (1 + 0.3 * max(0, len(cell.shots) - 1))


def duration(seconds: float) -> str:
    """Return ``3 h 10 min``, ``12 min`` or ``40 s``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def chosen(plan: Plan, globs: Sequence[str] | None) -> list[Cell]:
    """Return the cells whose names match, pattern by pattern; all without patterns."""
    from fnmatch import fnmatchcase

    found = {c: None for glob in globs or ["*"] for c in plan.cells if fnmatchcase(c.name, glob)}
    return list(found)
