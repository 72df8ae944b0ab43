"""The past of many users, told block by block: [U, Q, M] is never held at once.

A block is told as `make_history` would tell it: what is kept, taken and compared depends on
(seed, user id, query id) alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.disclosure import disclosed_users
from personaroute_bench.evaluation.feedback import Told, keep, tell
from personaroute_bench.evaluation.history import (
    History,
    frozen,
    make_history,
    validation_share,
)
from personaroute_bench.evaluation.isolation import RemoteRouter
from personaroute_bench.evaluation.metrics import charge
from personaroute_bench.evaluation.protocols import protocol_of
from personaroute_bench.evaluation.settings import (
    FEW_SHOT,
    Fold,
    Teacher,
    select_queries,
    select_users,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Benchmark, Bools, Floats, Interactions, Ints
    from personaroute_bench.evaluation.clock import Timekeeper
    from personaroute_bench.evaluation.results import Plan

# Of one (user, query, LLM) each; a block has about so many of the training split.
BLOCK_CELLS = 1_000_000
# Above so many interactions an evaluation reads them in blocks: 20,000 users × 240 queries × 10
# LLMs, for which the arrays of a history take a gigabyte.
LARGE_CELLS = 50_000_000
# What is only told by block.
_BY_BLOCK = ("observed", "rewards", "chosen", "pairs")
_BY_TIME = ("time", "segments")


class WholeHistoryNeeded(BenchError):
    """A router asked for arrays of all users at once, of a history that is told in blocks."""


def is_large(benchmark: Benchmark) -> bool:
    """Whether a data set has so many interactions that an evaluation should read them in blocks."""
    cells = len(benchmark.user_ids) * len(benchmark.query_ids) * len(benchmark.llm_ids)
    return cells > LARGE_CELLS


def check_streamed(plan: Plan, routers: Mapping[str, object]) -> None:
    """Raise for what needs the interactions of all users at once.

    Raises:
        UsageError: a setting, a tier or a router's protocol.
    """
    what = None
    if plan.setting in FEW_SHOT:
        what = f"setting {plan.setting!r}"
    elif plan.retention:
        what = "retention"
    elif plan.tier == "T0":
        what = "tier 'T0'"
    else:
        for name, router in routers.items():
            if not isinstance(router, BaseException) and protocol_of(router) != "batch":
                what = f"router {name}, a router of protocol {protocol_of(router)},"
            elif isinstance(router, RemoteRouter) and plan.history_users is None:
                raise UsageError(
                    f"router {name} runs in a process of its own, which is sent its history whole, "
                    "and there are too many users for that; let it learn from some of them "
                    "(--history-users N), or run it here (--in-process), where it can go through "
                    "history.blocks()"
                )
    if what is not None:
        raise UsageError(
            f"{what} needs the interactions of all users at once, and there are too many for that; "
            "evaluate on some of the users (--users N), or give it the memory (--no-stream)"
        )


@dataclass(frozen=True, eq=False)
class Past:
    """Where the blocks of a history come from: one split of a data set."""

    benchmark: Benchmark
    plan: Plan
    split: str
    users: Ints
    """[U] whose past it is, in ascending order."""
    queries: Bools
    """[Q] of the split, those that are told."""
    count: int | None
    """Interactions kept a user; None: all."""
    seed: int
    clock: Timekeeper | None

    def parts(self, step: int) -> Iterator[_Part]:
        """Yield the interactions of `step` users of the data set at a time."""
        benchmark, strategy = self.benchmark, self.plan.strategy
        numbers = benchmark.split_queries(self.split)
        if not benchmark.virtual or (strategy, self.split) in benchmark.memory:
            for block in benchmark.blocks(strategy, self.split, step=step):
                rows = np.isin(block.users, self.users)
                some = select_queries(select_users(block, rows), self.queries)
                yield _Part(self, some.users, some)
            return
        source = benchmark.source(strategy)
        queries = numbers[self.queries]
        for start in range(0, len(benchmark.user_ids), step):
            stop = min(start + step, len(benchmark.user_ids))
            reward = source.block(strategy, queries, start, stop).reward
            users = np.arange(start, stop)
            if len(self.users) < len(benchmark.user_ids):
                rows = np.isin(users, self.users)
                users, reward = users[rows], reward[rows]
            yield _Part(self, users, reward)


@dataclass(frozen=True, eq=False)
class _Part:
    """A block of users of one split; what is not asked for is not computed."""

    past: Past
    users: Ints
    held: Interactions | Floats
    """Interactions, or of virtual ones the rewards."""

    @property
    def reward(self) -> Floats:
        return self.held if isinstance(self.held, np.ndarray) else self.held.reward

    @cached_property
    def interactions(self) -> Interactions:
        if not isinstance(self.held, np.ndarray):
            return self.held
        from personaroute_bench.benchmark import Interactions
        from personaroute_bench.users.rewards import tied_best

        queries = self.past.benchmark.split_queries(self.past.split)[self.past.queries]
        return Interactions(self.users, queries, self.held, tied_best(self.held))

    def told(self) -> Told:
        past, part = self.past, self.interactions
        users = past.benchmark.user_ids[part.users]
        queries = past.benchmark.query_ids[part.queries]
        kept = keep(users, queries, past.count, past.seed)
        return tell(part, kept, users, queries, feedback=past.plan.feedback, seed=past.seed)


class _Block(History):
    """The history of one block of users."""

    def __init__(
        self, frame: History, part: _Part, users: pa.Table, validation: History | None
    ) -> None:
        ids = part.past.benchmark.user_ids[part.users]
        own = {"user_ids": frozen(ids), "users": users, "validation": validation, "_part": part}
        clock = part.past.clock
        if clock is not None:
            queries = part.past.benchmark.split_queries(part.past.split)[part.past.queries]
            now = clock.at(part.users, queries)
            own |= {"time": frozen(now.time), "segments": frozen(now.segment)}
        _take(self, frame, own)

    def __getattr__(self, name: str) -> Any:
        if name not in _BY_BLOCK:
            raise AttributeError(name)
        told = self._part.told()
        for field in _BY_BLOCK:
            values = getattr(told, field)
            object.__setattr__(self, field, None if values is None else frozen(values))
        return getattr(self, name)

    @cached_property
    def values(self) -> Floats:
        """As in `History`."""
        if self.feedback == "full" and self._part.past.count is None:
            return frozen(charge(self._part.reward))
        return History.values.func(self)  # type: ignore[attr-defined,no-any-return]

    def blocks(self) -> Iterator[History]:
        """Yield this block."""
        yield self


class StreamedHistory(History):
    """A history whose arrays of users are told by `blocks` only; the rest is as in `History`.

    Args:
        frame: of any users; gives everything that does not depend on them.
        past: the training split.
        validation: the validation split, where there is one.
    """

    @property
    def streamed(self) -> bool:
        """True."""
        return True

    def __init__(self, frame: History, past: Past, validation: StreamedHistory | None) -> None:
        ids = past.benchmark.user_ids[past.users]
        people = disclosed_users(past.benchmark, past.plan.tier)
        if len(past.users) < len(past.benchmark.user_ids):
            people = people.take(past.users)
        _take(
            self,
            frame,
            {"user_ids": frozen(ids), "users": people, "validation": validation, "_past": past},
        )

    def __getattribute__(self, name: str) -> Any:
        if name in _BY_TIME and self._past.clock is None:
            return None
        if name in (*_BY_BLOCK, *_BY_TIME):
            cells = len(self.user_ids) * len(self.query_ids) * len(self.llm_ids)
            raise WholeHistoryNeeded(
                f"history.{name} of {len(self.user_ids):,} users at once would hold {cells:,} "
                "cells; a router for so many goes through history.blocks(). Else evaluate fewer "
                "users (--users N), let it learn from some of them (--history-users N), or give "
                "the memory (--no-stream)"
            )
        return super().__getattribute__(name)

    def blocks(self) -> Iterator[History]:
        """Yield the history block by block of users, training and validation split together."""
        past, inner = self._past, self.validation
        step = block_users(len(self.query_ids) * len(self.llm_ids))
        held = inner._past.parts(step) if isinstance(inner, StreamedHistory) else None
        start = 0
        for part in past.parts(step):
            beside = None if held is None else next(held)
            if not len(part.users):
                continue
            users = self.users.slice(start, len(part.users))
            start += len(part.users)
            validation = None
            if inner is not None and beside is not None:
                validation = _Block(inner, beside, users, None)
            yield _Block(self, part, users, validation)


def block_users(per_user: int) -> int:
    """Return how many users a block has: a power of two, so that blocks of all splits nest."""
    return 1 << max(0, (max(1, BLOCK_CELLS // max(1, per_user))).bit_length() - 1)


def streamed_history(
    benchmark: Benchmark,
    plan: Plan,
    users: Ints,
    left_out: int,
    responses: pa.Table,
    clock: Timekeeper | None,
    seed: int,
) -> StreamedHistory:
    """Return the training view of many users.

    Args:
        benchmark: the data set.
        plan: feedback, tier, and how much is kept.
        users: [U] whose past is told, in ascending order.
        left_out: a task of which nothing is told; -1: none.
        responses: to past queries.
        clock: when users asked.
        seed: decides what is kept, taken and compared.
    """
    splits = {name: benchmark.split_queries(name) for name in ("train", "validation")}
    told = {name: benchmark.task_of_query[q] != left_out for name, q in splits.items()}
    first = int(users[0])
    some = {
        name: select_queries(benchmark.block(plan.strategy, name, first, first + 1), told[name])
        for name in splits
        if told[name].any()
    }
    frame = make_history(
        benchmark,
        some["train"],
        some.get("validation"),
        responses,
        feedback=plan.feedback,
        tier=plan.tier,
        clock=clock,
    )
    per_user = plan.interactions_per_user
    inner = None
    if frame.validation is not None:
        share = validation_share(per_user, told["train"].sum(), told["validation"].sum())
        past = Past(benchmark, plan, "validation", users, told["validation"], share, seed, clock)
        inner = StreamedHistory(frame.validation, past, None)
    past = Past(benchmark, plan, "train", users, told["train"], per_user, seed, clock)
    return StreamedHistory(frame, past, inner)


def _take(history: History, frame: History, own: dict[str, Any]) -> None:
    """Fill a history with what a frame has of all users, and with its own."""
    for field in fields(History):
        if field.name not in (*_BY_BLOCK, *_BY_TIME, *own):
            object.__setattr__(history, field.name, getattr(frame, field.name))
    for name, value in own.items():
        object.__setattr__(history, name, value)


@dataclass(frozen=True)
class StreamedTeacher:
    """Tells routers the past of many users; see `settings.Teacher`."""

    benchmark: Benchmark
    plan: Plan
    responses: pa.Table
    """To the queries of training and validation split."""
    clock: Timekeeper | None

    def history(self, fold: Fold, seed: int) -> History:
        """Return what `fit` is given: in blocks, or whole where it is of few users."""
        if self.plan.history_users is None:
            return streamed_history(
                self.benchmark, self.plan, fold.users, fold.left_out, self.responses,
                self.clock, seed,
            )  # fmt: skip
        parts = {
            name: gather(self.benchmark, self.plan.strategy, name, fold.users)
            for name in ("train", "validation")
            if len(self.benchmark.split_queries(name))
        }
        teacher = Teacher(self.benchmark, self.plan, parts, self.responses, self.clock)
        return teacher.history(fold, seed)

    def support(self, fold: Fold, seed: int) -> History | None:
        """Return None: settings with a support are not for so many users."""
        return None


def gather(benchmark: Benchmark, strategy: str, split: str, users: Ints) -> Interactions:
    """Return the interactions of some users; of the others no more than a block is held."""
    step = block_users(len(benchmark.split_queries(split)) * len(benchmark.llm_ids))
    found = []
    for block in benchmark.blocks(strategy, split, step=step):
        rows = np.isin(block.users, users)
        if rows.any():
            found.append(select_users(block, rows))
    return replace(
        found[0],
        users=np.concatenate([part.users for part in found]),
        reward=np.concatenate([part.reward for part in found]),
        chosen=np.concatenate([part.chosen for part in found]),
    )
