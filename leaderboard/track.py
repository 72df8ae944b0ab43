"""A track: what routers are asked and told; only rows of one track are ranked together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.disclosure import disclosed_users
from personaroute_bench.evaluation.metrics import Outcomes
from personaroute_bench.evaluation.results import Plan
from personaroute_bench.evaluation.settings import (
    DEFAULT_SHOTS,
    FEW_SHOT,
    check_plan,
    make_folds,
)
from personaroute_bench.evaluation.texts import printable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints, Strings

MOST_SEEDS = 20
# Of shots and interactions: nobody has more past, and the control rows draw as many.
MOST = 10_000


@dataclass(frozen=True)
class Track:
    """The options of `bench evaluate` that decide what is asked and told."""

    strategy: str
    setting: str = "general"
    feedback: str = "full"
    tier: str = "T1"
    interactions_per_user: int | None = None
    shots: int | None = None
    held_out: tuple[str, ...] = ()
    """As asked for; empty where the setting chooses by hash."""
    seeds: int = 1

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Track:
        """Check a JSON object that has all fields.

        Raises:
            UsageError: a value of the wrong kind, or one that `bench evaluate` would refuse.
        """
        for name in ("strategy", "setting", "feedback", "tier"):
            if not isinstance(value[name], str) or len(value[name]) > 80:
                raise UsageError(f"track.{name} must be a short text, not {_short(value[name])}")
        for name in ("interactions_per_user", "shots", "seeds"):
            number = value[name]
            if number is None and name != "seeds":
                continue
            if type(number) is not int or not 0 <= number <= MOST:
                raise UsageError(
                    f"track.{name} must be a whole number up to {MOST:,}, not {_short(number)}"
                )
        held_out = value["held_out"]
        if not isinstance(held_out, list) or not all(isinstance(x, str) for x in held_out):
            raise UsageError("track.held_out must be a list of texts")
        track = cls(**{**value, "held_out": tuple(held_out)})
        return track.check()

    def check(self) -> Track:
        """Return the track with the number of shots filled in; raise UsageError if it is wrong."""
        if self.seeds > MOST_SEEDS:
            raise UsageError(f"{self.seeds} seeds are too many; give {MOST_SEEDS} or fewer")
        whole = self
        if self.shots is None and self.setting in FEW_SHOT:
            whole = replace(self, shots=DEFAULT_SHOTS)
        check_plan(whole.plan(draws=0))
        return whole

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "held_out": list(self.held_out)}

    def plan(self, *, draws: int) -> Plan:
        """Return the plan of an evaluation on this track."""
        options: dict[str, Any] = asdict(self)
        return Plan(**options, bootstrap_draws=draws, confidence=0.95)


@dataclass(frozen=True, eq=False)
class Asked:
    """Who asks what on a track of one data set."""

    benchmark: Benchmark
    track: Track
    users: Ints
    """[U] indices into the users table."""
    queries: Ints
    """[Q] indices into the queries table, ascending."""
    held_out: tuple[str, ...]

    @classmethod
    def of(cls, benchmark: Benchmark, track: Track) -> Asked:
        """Find the requests of a track.

        Raises:
            UsageError: the data set has no such strategy, or cannot be asked so.
        """
        benchmark.check_strategy(track.strategy)
        disclosed_users(benchmark, track.plan(draws=0).tier)  # an error where there is no persona
        folds, names = make_folds(benchmark, track.plan(draws=0))
        queries = np.sort(np.concatenate([fold.test for fold in folds]))
        return cls(benchmark, track, folds[0].asking, queries, tuple(names))

    @property
    def shape(self) -> tuple[int, int]:
        """U users, Q queries."""
        return len(self.users), len(self.queries)

    @property
    def ids(self) -> tuple[Strings, Strings, Strings]:
        """Ids of users [U], queries [Q] and LLMs [M]."""
        names = self.benchmark
        return names.user_ids[self.users], names.query_ids[self.queries], names.llm_ids

    @property
    def key(self) -> tuple[Any, ...]:
        """What rows must share to be ranked together; the number of seeds does not matter."""
        track = replace(self.track, seeds=1, held_out=tuple(sorted(self.held_out)))
        return (id(self.benchmark), *asdict(track).values())

    def has_outcomes(self) -> bool:
        """Whether the folder holds the test outcomes; a published sealed one does not."""
        if (self.track.strategy, "test") in self.benchmark.memory:
            return True
        if self.benchmark.virtual:
            return True
        import pyarrow.parquet as pq

        directory = self.benchmark.directory
        assert directory is not None, "a data set without a folder is held in memory"
        files = sorted(
            (directory / "interactions" / self.track.strategy / "test").glob("*.parquet")
        )
        return bool(files) and all("reward" in pq.read_schema(path).names for path in files)

    def outcomes(self) -> Outcomes:
        """Read the test outcomes of the requests."""
        benchmark = self.benchmark
        part = benchmark.interactions(self.track.strategy, "test")
        cells = np.ix_(self.users, np.searchsorted(part.queries, self.queries))
        return Outcomes.of(
            part.reward[cells],
            part.chosen[cells],
            benchmark.performance[self.queries],
            benchmark.cost_usd[self.queries],
        )


def _short(value: Any) -> str:
    return printable(repr(value)[:80])
