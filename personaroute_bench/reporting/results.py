"""Results as a report needs them, read from a file that may be anybody's: each value is checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.entries import RESULTS_SCHEMA
from personaroute_bench.evaluation.table import rank_range
from personaroute_bench.evaluation.texts import printable

LONGEST_TEXT = 400
NORMALISED = "oracle_normalised_reward"


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean with its interval; None where unknown."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One router of one result."""

    name: str
    status: str
    protocol: str
    asked_for: bool
    control: bool
    """Whether it is computed from test outcomes."""
    note: str | None
    own_cost_usd: float | None
    """USD a request of the router's own LLM calls; None where unknown."""
    metrics: Mapping[str, Figure]
    """Empty for a router that failed."""
    p_value: float | None
    """Of the permutation test that shuffles users."""
    gain: Figure
    """Paired difference in reward to best-single."""
    rank: str
    verdict: str | None
    invalid: int
    digests: tuple[str, ...]
    """SHA-256 of the choices, one a seed."""
    files: tuple[str, ...]
    """Names of the choices files, one a seed; empty where none were written."""

    def __getitem__(self, metric: str) -> Figure:
        return self.metrics.get(metric, Figure())


@dataclass(frozen=True)
class Result:
    """One file of ``bench evaluate --json``."""

    path: Path
    directory: str | None
    manifest: str | None
    provenance: str
    strategy: str
    setting: str
    feedback: str
    tier: str
    interactions_per_user: int | None
    shots: int | None
    held_out: tuple[str, ...]
    seeds: int
    draws: int
    confidence: float
    users: int
    queries: int
    """Of the test split."""
    llms: int
    train: int
    """Training queries."""
    headroom: float | None
    rows: int
    scored: int
    outcomes: str | None
    """SHA-256 of who asked what and of what came of it."""
    routers: tuple[Row, ...]
    """Best mean reward first, failed ones last."""

    @property
    def heading(self) -> str:
        """Who is tested on what, in a few words."""
        new = ""
        if self.held_out:
            new = f", {len(self.held_out)} held out"
        if self.shots is not None:
            new += f", {self.shots} shots"
        return f"{self.strategy.replace('_', ' ')}, {self.setting}{new}"


def read_result(path: Path) -> Result:
    """Read one file.

    Raises:
        UsageError: it cannot be read, is no result of rewards, or a value in it is not what
            `bench evaluate` writes; the message names the file, the place and the value.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        reason = printable(str(error))[:100]
        raise UsageError(
            f"{path} is not valid JSON ({reason}); name a file of bench evaluate --json"
        ) from error
    if not isinstance(data, dict) or not isinstance(data.get("routers"), list):
        raise UsageError(f"{path} holds no results; name a file of bench evaluate --json")
    if data.get("kind") == "pairs":
        raise UsageError(
            f"{path} holds results on recorded pairs of real people, which bench report does not "
            "draw; bench evaluate prints them as a table"
        )
    if data.get("schema") != RESULTS_SCHEMA:
        raise UsageError(
            f"{path} has results of schema {printable(repr(data.get('schema')))[:40]}, this "
            f"version reads {RESULTS_SCHEMA}; run bench evaluate --json again"
        )
    return _result(_Values(path, "", data))


class _Values:
    """A JSON object, read value by value."""

    def __init__(self, path: Path, place: str, values: Any) -> None:
        self.path, self.place = path, place
        if not isinstance(values, dict):
            raise self.problem("", values, "an object")
        self.values: dict[str, Any] = values

    def problem(self, key: str, value: Any, wanted: str) -> UsageError:
        where = ".".join(part for part in (self.place, key) if part) or "the file"
        shown = printable(repr(value)[:60])
        return UsageError(
            f"{self.path}: {where} is {shown} and not {wanted}; run bench evaluate --json again"
        )

    def object(self, key: str) -> _Values:
        place = ".".join(part for part in (self.place, key) if part)
        return _Values(self.path, place, self.values.get(key))

    def number(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) not in (int, float) or abs(value) > 1e15 or not math.isfinite(value):
            raise self.problem(key, value, "a number or null")
        return float(value)

    def count(self, key: str) -> int | None:
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < 1e12:
            raise self.problem(key, value, "a count or null")
        return int(value)

    def whole(self, key: str) -> int:
        found = self.count(key)
        if found is None:
            raise self.problem(key, None, "a count")
        return found

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.problem(key, value, "a text or null")
        return printable(value)[:LONGEST_TEXT]

    def word(self, key: str) -> str:
        found = self.text(key)
        if not found:
            raise self.problem(key, self.values.get(key), "a text")
        return found

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise self.problem(key, value, "true or false")
        return value

    def items(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self.problem(key, value, "a list")
        return value

    def figure(self, key: str) -> Figure:
        if self.values.get(key) is None:
            return Figure()
        inner = self.object(key)
        found = Figure(*(inner.number(name) for name in ("mean", "low", "high")))
        if found.mean is None or (found.low is None) != (found.high is None):
            return Figure(found.mean)
        return found


def _result(values: _Values) -> Result:
    data, sizes, rows = values.object("data"), values.object("sizes"), values.object("rows")
    confidence = values.number("confidence")
    if confidence is None or not 0 < confidence < 1:
        raise values.problem("confidence", confidence, "between 0 and 1")
    held_out = values.items("held_out")
    if not all(isinstance(name, str) for name in held_out):
        raise values.problem("held_out", held_out, "a list of texts")
    routers = [
        _row(_Values(values.path, f"routers[{i}]", entry))
        for i, entry in enumerate(values.items("routers"))
    ]
    routers.sort(key=lambda row: (not row.metrics, -(row["reward"].mean or 0.0)))
    paired = values.values.get("paired")
    return Result(
        path=values.path,
        directory=data.text("directory"),
        manifest=data.text("manifest_sha256"),
        provenance=data.text("provenance") or "unknown",
        strategy=values.word("strategy"),
        setting=values.word("setting"),
        feedback=values.word("feedback"),
        tier=values.word("tier"),
        interactions_per_user=values.count("interactions_per_user"),
        shots=values.count("shots"),
        held_out=tuple(held_out),
        seeds=values.whole("seeds"),
        draws=values.whole("bootstrap_draws"),
        confidence=confidence,
        users=sizes.whole("users"),
        queries=sizes.whole("test"),
        llms=sizes.whole("llms"),
        train=sizes.whole("train"),
        headroom=values.object("headroom").number("share"),
        rows=rows.whole("total"),
        scored=rows.whole("scored"),
        outcomes=None if paired is None else values.object("paired").text("outcomes_sha256"),
        routers=tuple(routers),
    )


def _row(values: _Values) -> Row:
    inner = values.object("metrics")
    metrics = {str(name): inner.figure(name) for name in inner.values}
    if metrics and metrics.get("reward", Figure()).mean is None:
        metrics = {}  # no row has a reward: there is nothing to show of it
    p_value = None
    if inner.values.get("shuffled_gain") is not None:
        p_value = inner.object("shuffled_gain").number("p_value")
    seeds = [
        _Values(values.path, f"{values.place}.per_seed[{i}]", seed)
        for i, seed in enumerate(values.items("per_seed"))
    ]
    rank = values.values.get("rank")
    if rank is not None:
        place = values.object("rank")
        rank = {"best": place.whole("best"), "worst": place.whole("worst")}
    named = [seed.values.get("choices_file") for seed in seeds]
    files = tuple(file for file in named if isinstance(file, str))
    return Row(
        name=values.word("name"),
        status=values.text("status") or "unknown",
        protocol=values.text("protocol") or "batch",
        asked_for=values.flag("asked_for"),
        control=values.flag("uses_test_outcomes"),
        note=values.text("note"),
        own_cost_usd=values.number("router_cost_usd"),
        metrics=metrics,
        p_value=p_value,
        gain=values.figure("reward_difference"),
        rank=rank_range(rank),
        verdict=values.text("verdict"),
        invalid=values.count("invalid") or 0,
        digests=tuple(seed.text("choices_sha256") or "" for seed in seeds),
        files=files if len(files) == len(seeds) else (),
    )
