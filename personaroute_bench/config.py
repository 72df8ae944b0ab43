"""What defines a data set (hashed, stored, compared) apart from what only runs it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.schemas import STRATEGIES

Client = Literal["aiohttp", "openai", "litellm"]
Preset = Literal["paper", "default", "large"]
Judge = Literal["embedded", "rubric", "direct"]
JUDGES: tuple[Judge, ...] = ("embedded", "rubric", "direct")
PRESETS: tuple[Preset, ...] = ("default", "paper", "large")
EngineName = Literal["local", "dask"]
ENGINES: tuple[EngineName, ...] = ("local", "dask")
SCHEDULER = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")
CostNormalisation = Literal["minmax", "log-minmax"]
Form = Literal["stored", "virtual"]
FORMS: tuple[Form, ...] = ("stored", "virtual")
# The paper's recipe uses min-max; see "Rewards" in docs/design.md for why it is not the default.
COST_NORMALISATION: dict[Preset, CostNormalisation] = {
    "paper": "minmax",
    "default": "log-minmax",
    "large": "minmax",
}

DEFAULT_QUERIES_PER_TASK = 60
NAMED_TASKS = ("embedded", "hub", "gym")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Everything that decides which rows a data set holds.

    Raises:
        UsageError: on construction, for a value out of range.
    """

    users: int = 1000
    seed: int = 0
    strategies: tuple[str, ...] = ("multi_cost_efficiency",)
    preset: Preset = "default"
    pool: str | None = None
    """Name of a bundled pool or path of a pool file; None: ``simulated``."""
    llms: tuple[str, ...] | None = None
    """Only these LLMs of the pool."""
    tasks: str = "embedded"
    """``embedded``, ``hub``, ``gym``, or the path of a file with queries."""
    task_ids: tuple[str, ...] | None = None
    queries_per_task: int | None = None
    """None: 60 for embedded, hub and gym tasks, all of them for files."""
    limit: int | None = None
    """At most so many queries in all, spread over the tasks (for a first try)."""
    responses: str | None = None
    """Path of a file with responses that exist already; it supplies tasks and queries too."""
    embedder: str = "hashing"
    temperature: float | None = 0.0
    max_tokens: int = 1024
    estimate_usage: bool = False
    """Count tokens offline where a provider reports no usage, instead of an error status."""
    personas: str | None = None
    """Path of a file of personas; None: the bundled ones."""
    judge: Judge = "embedded"
    judge_llms: tuple[str, ...] = ()
    """Ids of the judge LLMs, for ``rubric`` and ``direct``."""
    judge_pool: str | None = None
    """Pool that holds the judge LLMs; None: the candidates' own."""
    repeats: int = 1
    both_orders: bool = False
    pairs: int | None = None
    """Direct judge: ask about so many pairs of answers, 0 for all; None: all answers at once."""
    judge_schema: bool = False
    """Let the judges' provider enforce the JSON schema of the reply."""
    audit: int = 0
    """(persona, query) pairs that a direct judge is asked for too, beside ``rubric``."""
    interactions: Form | None = None
    """``stored``, or ``virtual``: computed from responses and users when they are asked for. None:
    as the folder has them, stored in a new one."""

    def __post_init__(self) -> None:
        _at_least(self.users, 1, "--users")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed must be from 0 to 2^63 - 1, got {self.seed}")
        if self.queries_per_task is not None:
            _at_least(self.queries_per_task, 1, "--queries-per-task")
        if self.limit is not None:
            _at_least(self.limit, 1, "--limit")
        _at_least(self.max_tokens, 1, "--max-tokens")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise UsageError(f"--temperature must be from 0 to 2, got {self.temperature}")
        if self.preset not in PRESETS:
            raise UsageError(
                f"unknown --preset {self.preset!r}{did_you_mean(self.preset, PRESETS)}"
            )
        if self.interactions is not None and self.interactions not in FORMS:
            raise UsageError(
                f"unknown --interactions {self.interactions!r}"
                f"{did_you_mean(self.interactions, FORMS)}"
            )
        self._check_judging()
        for strategy in self.strategies:
            if strategy not in STRATEGIES:
                raise UsageError(
                    f"unknown --strategy {strategy!r}{did_you_mean(strategy, list(STRATEGIES))}"
                )
        if self.responses is not None and self.tasks != "embedded":
            raise UsageError(
                f"--responses {self.responses} brings its own tasks and queries; leave out --tasks "
                f"(got {self.tasks!r})"
            )

    def _check_judging(self) -> None:
        if self.judge not in JUDGES:
            raise UsageError(f"unknown --judge {self.judge!r}{did_you_mean(self.judge, JUDGES)}")
        if (self.judge == "embedded") != (not self.judge_llms):
            raise UsageError(
                f"--judge {self.judge} got --judge-llm {list(self.judge_llms)}; a direct or rubric "
                "judge needs one (give --judge-llm ID), the embedded one takes none"
            )
        _at_least(self.repeats, 1, "--repeats")
        _at_least(self.audit, 0, "--audit")
        asked = self.judge == "direct" or self.audit > 0
        if (self.repeats > 1 or self.both_orders or self.pairs is not None) and not asked:
            raise UsageError(
                f"--repeats, --both-orders and --pairs are for a direct judge, got --judge "
                f"{self.judge}; leave them out, or take --judge direct"
            )
        if self.audit and self.judge != "rubric":
            raise UsageError(
                f"--audit {self.audit} compares a rubric with a direct judge, got --judge "
                f"{self.judge}; leave it out, or take --judge rubric"
            )
        if self.pairs is not None:
            _at_least(self.pairs, 0, "--pairs")
            if self.preset == "large":
                raise UsageError(f"--pairs {self.pairs}: --preset large shows all answers at once")

    @property
    def judging(self) -> dict[str, Any]:
        """What decides the ratings and choices of the strategies that have to do with style."""
        return {
            "judge": self.judge,
            "judge_llms": list(self.judge_llms),
            "judge_pool": self.judge_pool,
            "repeats": self.repeats,
            "both_orders": self.both_orders,
            "pairs": self.pairs,
            "judge_schema": self.judge_schema,
            "audit": self.audit,
        }

    @property
    def cost_normalisation(self) -> CostNormalisation:
        """How USD become the cost of the reward; follows from the preset."""
        return COST_NORMALISATION[self.preset]

    @property
    def sampled_per_task(self) -> int | None:
        """Queries a task after defaults; None means all."""
        if self.queries_per_task is None and self.responses is None:
            return DEFAULT_QUERIES_PER_TASK if self.tasks in NAMED_TASKS else None
        return self.queries_per_task

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values, for the manifest."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What changes how a run goes, but not what it makes.

    Raises:
        UsageError: on construction, for a value out of range.
    """

    concurrency: int = 32
    max_cost: float | None = None
    """USD that the data set may cost over all its runs."""
    ledger: Path | None = None
    """File of the ledger; None: ``ledger.sqlite`` in the data set's folder."""
    client: Client | None = None
    """``aiohttp``, ``openai`` or ``litellm``; None: the fastest that the provider allows."""
    timeout_s: float = 120.0
    max_attempts: int = 6
    backoff_s: float = 0.5
    """Ceiling of the first wait between attempts; it doubles with each."""
    max_error_rate: float = 0.1
    allow_unknown_cost: bool = False
    engine: EngineName = "local"
    """Where the work is done: in this process, or on the workers of a Dask cluster."""
    scheduler: str | None = None
    """Address of a Dask scheduler; None: a cluster of this run's own, on this machine."""
    workers: int | None = None
    """How many Dask workers to start or to wait for; None: one a core, or those there are."""
    ask: bool = True
    """False: no call is made; what was asked by other runs is all there is."""

    def __post_init__(self) -> None:
        _at_least(self.concurrency, 1, "--concurrency")
        self._check_engine()
        _at_least(self.max_attempts, 1, "--max-attempts")
        if self.max_cost is not None and not (math.isfinite(self.max_cost) and self.max_cost > 0):
            raise UsageError(
                f"--max-cost must be a positive number of USD, got {self.max_cost}; "
                "leave it out for no cap, or see what a run would cost with --dry-run"
            )
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise UsageError(
                f"--timeout must be a positive number of seconds, got {self.timeout_s}"
            )
        if not 0 <= self.max_error_rate <= 1:
            raise UsageError(f"--max-error-rate must be from 0 to 1, got {self.max_error_rate}")

    def _check_engine(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(
                f"unknown --engine {self.engine!r}{did_you_mean(self.engine, ENGINES)}"
            )
        for option, value in (("--scheduler", self.scheduler), ("--workers", self.workers)):
            if value is not None and self.engine != "dask":
                raise UsageError(
                    f"{option} {value} is for a Dask cluster, got --engine {self.engine}; add "
                    f"--engine dask, or leave {option} out"
                )
        if self.scheduler is not None and not SCHEDULER.fullmatch(self.scheduler):
            raise UsageError(
                f"--scheduler {self.scheduler!r} is no address of a Dask scheduler; give one such "
                "as tcp://10.0.0.5:8786 or tls://10.0.0.5:8786"
            )
        if self.workers is not None:
            _at_least(self.workers, 1, "--workers")


def is_virtual(manifest: Mapping[str, Any]) -> bool:
    """Whether a data set's interactions are in no file, but computed when they are asked for."""
    form = manifest.get("interactions")
    return isinstance(form, Mapping) and form.get("form") == "virtual"


def _at_least(value: int, least: int, option: str) -> None:
    if value < least:
        raise UsageError(f"{option} must be at least {least}, got {value}")
