"""Virtual interactions: not stored, computed from responses and users when they are asked for.

Interactions are a function of responses, ratings and users (a strategy's `Law`), so a data set
without them lacks nothing. What is computed is bit for bit what `write_interactions` would store.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.config import DataConfig
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.interactions import Block, Law, ResponseGrid
from personaroute_bench.users.laws import STYLE_STRATEGIES, Style, make_law

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints
    from personaroute_bench.plan import Plan
    from personaroute_bench.users.personas import PersonaSource

STORED, VIRTUAL = "stored", "virtual"
# The headroom of a virtual data set is measured on so many users: they are drawn alike, and
# looking at all of a hundred million would only make the figure's fourth digit surer.
HEADROOM_USERS = 100_000
# A copy of the user's persona file, which choices follow from.
PERSONAS = "personas"


@dataclass(frozen=True)
class Source:
    """What the interactions of one strategy are computed from."""

    data: DataConfig
    """Preset and seed."""
    grid: ResponseGrid
    """All queries."""
    style: Style | None

    def law(self, strategy: str, queries: Ints | None = None) -> Law:
        """Return the law of some queries, of all where none are named.

        For `drift` it is always that of all queries, since a user's days hold all of them.
        """
        grid, style = self.grid, self.style
        if queries is None or strategy == "drift":
            return make_law(strategy, self.data, grid, style)
        per_query = ("query_ids", "split", "ok", "performance", "cost_usd", "cost")
        grid = replace(
            grid,
            completion_tokens=grid.completion_tokens[queries],
            **{name: getattr(grid, name)[queries] for name in per_query},
        )
        if style is not None:
            style = replace(style, ratings=style.ratings[queries])
        return make_law(strategy, self.data, grid, style)

    def block(self, strategy: str, queries: Ints, start: int, stop: int) -> Block:
        """Return what users ``start`` to ``stop`` think of the responses to some queries."""
        block = self.law(strategy, queries).block(start, stop)
        if strategy != "drift":
            return block
        columns = {name: values[:, queries] for name, values in block.columns.items()}
        return Block(block.reward[:, queries], columns)


def source_of(benchmark: Benchmark, strategy: str) -> Source:
    """Return what the interactions of a strategy follow from, read from the tables.

    Raises:
        BenchError: another version of the package made the data set, or with other personas, so
            that what is computed might not be what it was.
    """
    from personaroute_bench.plan import GENERATION_VERSION

    manifest, directory = benchmark.manifest, benchmark.directory
    assert directory is not None, "a virtual data set has a folder"
    made = manifest.get("defining", {}).get("generation")
    if made != GENERATION_VERSION:
        raise BenchError(
            f"{directory} is virtual and was made by version {made} of the generator, this is "
            f"version {GENERATION_VERSION}; its interactions might differ. Generate it again"
        )
    asked = manifest["configuration"]
    data = DataConfig(
        users=benchmark.users.num_rows, seed=int(asked["seed"]), preset=asked["preset"]
    )
    grid = ResponseGrid(
        query_ids=benchmark.query_ids,
        llm_ids=benchmark.llm_ids,
        split=np.asarray(benchmark.queries["split"].to_pylist()),
        ok=benchmark.status == "ok",
        performance=benchmark.performance,
        cost_usd=benchmark.cost_usd,
        cost=benchmark.cost,
        completion_tokens=np.full(benchmark.status.shape, np.nan),
    )
    style = _style(benchmark, directory) if strategy in STYLE_STRATEGIES else None
    return Source(data, grid, style)


def _style(benchmark: Benchmark, directory: Path) -> Style:
    from personaroute_bench.benchmark import read_table
    from personaroute_bench.judging.ratings import centred, mean_known
    from personaroute_bench.judging.rubric import ratings_array

    form = benchmark.manifest["interactions"]
    table = read_table(directory, "ratings")
    ids = benchmark.query_ids.tolist(), benchmark.llm_ids.tolist()
    judges = form.get("judges") or []
    if judges:
        ratings = mean_known([centred(ratings_array(table, *ids, judge=name)) for name in judges])
    else:
        ratings = ratings_array(table, *ids)
    personas = _personas(directory, form)
    if personas.fingerprint() != form.get("personas"):
        raise BenchError(
            f"{directory} is virtual, and its users' choices follow from other personas than "
            "those of this version; write them down with the version that made it "
            "(bench materialise), or generate it again"
        )
    return Style(personas, ratings, fingerprint="")


def _personas(directory: Path, form: Mapping[str, Any]) -> PersonaSource:
    from personaroute_bench.users.persona_files import bundled_personas, load_personas

    name = form.get("personas_file")
    return load_personas(directory / str(name)) if name else bundled_personas()


def form_of(
    plan: Plan, directory: Path, form: str, strategies: Sequence[str], judges: list[str]
) -> dict[str, Any]:
    """Return what the manifest says of the interactions' form.

    A virtual data set keeps a copy of the user's persona file, which its choices follow from.
    """
    if form == STORED:
        return {"form": STORED}
    users = min(plan.data.users, HEADROOM_USERS)
    found: dict[str, Any] = {"form": VIRTUAL, "headroom_users": users}
    if set(strategies) & set(STYLE_STRATEGIES):
        found["personas"] = plan.personas.fingerprint()
        found["judges"] = judges if plan.data.judge == "rubric" else []
    if plan.data.personas is not None:
        source = Path(plan.data.personas)
        found["personas_file"] = f"{PERSONAS}{source.suffix}"
        if source.resolve() != (directory / found["personas_file"]).resolve():
            shutil.copyfile(source, directory / found["personas_file"])
    return found


def check_form(data: DataConfig, form: str) -> None:
    """Refuse what cannot be virtual.

    Raises:
        UsageError: choices of a direct judge are asked for one by one; they follow from no law.
    """
    if form == VIRTUAL and data.judge == "direct":
        raise UsageError(
            "--interactions virtual: what a direct judge chooses follows from no rule and must be "
            "stored; leave it out, or take --judge rubric or embedded"
        )
