"""The three ways of asking a router: in batch, as a cascade, online."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

import numpy as np

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.evaluation.bill import Bill, billed, cost_weights, make_bill
from personaroute_bench.evaluation.cascade import (
    CascadeRouter,
    Places,
    Till,
    ask_cascade,
    purchases_column,
    purchases_digest,
)
from personaroute_bench.evaluation.choices import read_answers
from personaroute_bench.evaluation.metrics import Outcomes, Scores
from personaroute_bench.evaluation.online import (
    OnlineRouter,
    Seal,
    ask_online,
    joined,
    stream_order,
)

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Doubles, Floats, Ints, Strings
    from personaroute_bench.evaluation.protocol import Requests
    from personaroute_bench.evaluation.results import Plan
    from personaroute_bench.evaluation.settings import Fold

__all__ = ["PROTOCOLS", "ProtocolName", "Scene", "Trail", "cost_weights", "protocol_of"]

ProtocolName = Literal["batch", "cascade", "online"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)


def protocol_of(router: object) -> ProtocolName:
    """Return how a router, or its class, wants to be asked.

    What its attribute `protocol` says; else a cascade has `step` and no `route`, and an online
    router has `update`.

    Raises:
        UsageError: an unknown protocol, or one whose method is missing.
    """
    named = getattr(router, "protocol", None)
    if named is None:
        if callable(getattr(router, "step", None)) and not hasattr(router, "route"):
            return "cascade"
        return "online" if callable(getattr(router, "update", None)) else "batch"
    if named not in PROTOCOLS:
        raise UsageError(f"unknown protocol {named!r}{did_you_mean(str(named), list(PROTOCOLS))}")
    needed = {"batch": ["route"], "cascade": ["step"], "online": ["route", "update"]}
    for method in needed[named]:
        if not callable(getattr(router, method, None)):
            raise UsageError(f"a router of protocol {named!r} needs the method {method!r}")
    return cast("ProtocolName", named)


class Job(Protocol):
    """What the runner knows, as far as protocols need it."""

    @property
    def benchmark(self) -> Benchmark: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def users(self) -> Ints: ...
    @property
    def test(self) -> Ints: ...
    @property
    def outcomes(self) -> Outcomes: ...
    @property
    def choice_type(self) -> type[np.signedinteger[Any]]: ...


@dataclass(frozen=True, eq=False)
class Scene:
    """What is asked in one fold and with one seed, and what answers may lead to."""

    job: Job
    """Its outcomes are read for online routers only."""
    fold: Fold
    columns: Ints
    """[q] place of the fold's queries among all test queries."""
    blocks: Sequence[Requests]
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Users, test queries of all folds, and LLMs of the data set."""
        return len(self.job.users), len(self.job.test), len(self.job.benchmark.llm_ids)

    def reveal(self, users: Ints, queries: Ints, choice: Ints) -> tuple[Floats, Doubles]:
        """Return what choices are worth and have cost, each [n]; see `online.Revealed`."""
        hidden = self.job.outcomes
        column, valid = self.columns[queries], choice >= 0
        llm = np.where(valid, self.fold.llms[np.where(valid, choice, 0)], 0)
        reward = hidden.reward[users, column, llm]
        if self.job.plan.feedback == "full":
            failed = ~valid | np.isnan(reward)
            values = np.where(failed, hidden.worst[users, column], reward)
        else:
            scored = np.isfinite(hidden.best[users, column])
            taken = hidden.chosen[users, column, llm] & valid
            values = np.where(scored, taken, np.nan)
        cost = np.where(valid, hidden.cost_usd[column, llm], np.nan)
        return values.astype(np.float32), cost


@dataclass(eq=False)
class Trail:
    """What a run with one seed leaves beside its choices, over all folds."""

    protocol: ProtocolName = "batch"
    purchases: Places | None = None
    """[U, Q, M] place of each LLM among what was bought, from 1; 0 where it was not."""
    place: Ints | None = None
    """[U, Q] number of the block in the stream, from 0."""
    seal: Seal | None = None
    """Of the stream, until it is committed to."""
    sealed: Mapping[str, str] = field(default_factory=dict)
    """Digests beside that of the choices, by what results call them."""
    bill: Bill | None = None
    """Of a cascade, once outcomes are known."""

    def ask(self, router: Any, scene: Scene) -> tuple[Ints, str | None]:
        """Ask a fitted router, as it wants to be asked.

        Returns:
            [U, q] indices into the fold's candidates, -1 where invalid; and the first problem.
        """
        self.protocol = protocol_of(router)
        if self.protocol == "online":
            return self._stream(router, scene)
        if self.protocol == "cascade":
            return self._cascade(router, scene)
        parts, problem = [], None
        for block in scene.blocks:
            part, complaint = read_answers(router.route(block), len(block), block.candidates)
            compact = part.astype(scene.job.choice_type, copy=False)
            parts.append(compact.reshape(len(block.user_ids), -1))
            problem = problem or complaint
        return np.concatenate(parts), problem

    def _cascade(self, router: CascadeRouter, scene: Scene) -> tuple[Ints, str | None]:
        fold = scene.fold
        till = Till(scene.job.benchmark, fold)
        if self.purchases is None:
            self.purchases = np.zeros(scene.shape, dtype=np.int16)
        parts, problem, start = [], None, 0
        for block in scene.blocks:
            U = len(block.user_ids)
            part, bought, complaint = ask_cascade(router, block, till)
            rows = np.arange(start, start + U)
            where = np.ix_(rows, scene.columns, fold.llms)
            self.purchases[where] = bought.reshape(U, len(fold.test), len(fold.llms))
            parts.append(part.reshape(U, -1))
            problem, start = problem or complaint, start + U
        return np.concatenate(parts), problem

    def _stream(self, router: OnlineRouter, scene: Scene) -> tuple[Ints, str | None]:
        requests = joined(scene.blocks)
        place = stream_order(requests, scene.seed)
        if self.place is None:
            self.place = np.full(scene.shape[:2], -1, dtype=np.int64)
        # The folds follow one another.
        self.place[:, scene.columns] = place + self.place.max() + 1
        self.seal = self.seal or Seal()
        return ask_online(router, requests, place, scene.reveal, self.seal)

    def commit(self, user_ids: Strings, query_ids: Strings, llm_ids: Strings) -> None:
        """Hash what was bought, or in which order requests came."""
        if self.purchases is not None:
            ids = user_ids, query_ids, llm_ids
            self.sealed = {"purchases_sha256": purchases_digest(self.purchases, *ids)}
        elif self.place is not None:
            assert self.seal is not None
            self.sealed = {"stream_sha256": self.seal.sha256}
            self.seal = None

    def settle(
        self, benchmark: Benchmark, choice: Ints, queries: Ints, weight: Callable[[], Doubles]
    ) -> None:
        """Make the bill of a cascade; choice [U, Q] over all LLMs, weight [U, Q]."""
        if self.purchases is not None:
            cost, cost_usd = benchmark.cost[queries], benchmark.cost_usd[queries]
            self.bill = make_bill(choice, self.purchases, cost, cost_usd, weight())

    def billed(self, scores: Scores) -> Scores:
        """Return scores after all calls are paid."""
        return scores if self.bill is None else billed(scores, self.bill)

    def columns(self, llm_ids: Strings) -> dict[str, Any]:
        """Return further columns of the choices file, each [U · Q]."""
        import pyarrow as pa

        if self.purchases is not None:
            return {"bought": purchases_column(self.purchases, llm_ids)}
        return {} if self.place is None else {"block": pa.array(self.place.ravel(), pa.int32())}
