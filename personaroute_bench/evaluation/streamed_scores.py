"""Scores of many users, added up block by block: [U, Q, M] and [U, Q] of scores are never held.

A first look at the outcomes gives what the controls choose and on which queries users agree; a
second one joins them with all choices. `add` of each class takes one block of users, and blocks
may come in any order and of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.controls import best_for_all, cheapest_first
from personaroute_bench.evaluation.metrics import (
    SCORES,
    ZERO_RANGE,
    Outcomes,
    Summed,
    charge,
    user_ratios,
)
from personaroute_bench.evaluation.personalisation import controversial
from personaroute_bench.evaluation.standing import hash_of_ids, plain_bytes
from personaroute_bench.evaluation.streamed import block_users

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.evaluation.job import Job

# Users whose draws of the normalised reward are held at a time: [users, draws] in the cache.
_NORMALISED_USERS = 256


def outcome_blocks(job: Job) -> Iterator[tuple[int, int, Outcomes]]:
    """Yield (start, stop) among the users who ask, and what was hidden of them.

    Raises:
        BenchError: the users of the interactions are not those of the table, in its order.
    """
    benchmark, strategy = job.benchmark, job.plan.strategy
    test = benchmark.split_queries("test")
    columns = np.searchsorted(test, job.test)
    step = block_users(len(test) * len(benchmark.llm_ids))
    at = 0
    for block in benchmark.blocks(strategy, "test", step=step):
        if not np.array_equal(block.users, np.arange(at, at + len(block.users))):
            raise BenchError(
                f"the test interactions of {strategy} are not those of all "
                f"{len(benchmark.user_ids)} users in the order of their table; run bench generate "
                "again"
            )
        start, stop = np.searchsorted(job.users, [at, at + len(block.users)]).tolist()
        rows = job.users[start:stop] - at
        at += len(block.users)
        if start == stop:
            continue
        reward, chosen = block.reward, block.chosen
        if len(rows) < len(reward) or len(columns) < len(test):
            asked = np.ix_(rows, columns)
            reward, chosen = reward[asked], chosen[asked]
        yield (
            start,
            stop,
            Outcomes.of(
                reward, chosen, benchmark.performance[job.test], benchmark.cost_usd[job.test]
            ),
        )


@dataclass(eq=False)
class FirstLook:
    """What must be known of all users' outcomes before choices are scored."""

    job: Job
    oracle: Ints
    """[U, Q] choices of the oracle, -1 where nothing can be chosen."""
    total: Doubles
    """[Q, M] sum over users of rewards, failures charged."""
    ok: Any
    """[Q, M] true where anybody has a reward of the response."""
    votes: Ints
    """[Q, M] users for whom the LLM is one of the best."""
    scored: Ints
    """[Q] users who have any reward."""
    best: float
    chance: float
    """Sums over all scored rows, of the oracle's reward and of a random choice's."""
    sha256: str
    """Of all that came of the requests; see `standing.paired_key`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Users, queries, LLMs."""
        return (*self.oracle.shape, self.total.shape[1])

    @property
    def rows(self) -> int:
        """Rows in which at least one candidate is ok."""
        return int(self.scored.sum())

    def control_choices(self, name: str) -> Ints:
        """Return [U, Q] the choices of a control; see `controls.control_choices`."""
        if name == "oracle":
            return self.oracle
        benchmark, test = self.job.benchmark, self.job.test
        best = best_for_all(self.total, self.ok, benchmark.cost_usd[test], benchmark.llm_ids)
        choice: Ints = np.where(self.oracle >= 0, best[None, :], -1)
        return choice.astype(self.oracle.dtype)

    def disagreed(self) -> Any:
        """[Q] true where no LLM is best for a majority; see `personalisation.agreement`."""
        agreed: Doubles = np.full(len(self.scored), np.nan)
        np.divide(self.votes.max(axis=-1), self.scored, out=agreed, where=self.scored > 0)
        return controversial(agreed)


def first_look(job: Job) -> FirstLook:
    """Read all outcomes once, when all choices are committed."""
    benchmark = job.benchmark
    users, queries, llms = len(job.users), len(job.test), len(benchmark.llm_ids)
    asked = hash_of_ids(job.ids)
    look = FirstLook(
        job=job,
        oracle=np.full((users, queries), -1, job.choice_type),
        total=np.zeros((queries, llms)),
        ok=np.zeros((queries, llms), dtype=np.bool_),
        votes=np.zeros((queries, llms), dtype=np.int64),
        scored=np.zeros(queries, dtype=np.int64),
        best=0.0,
        chance=0.0,
        sha256="",
    )
    # Of tied ones the cheapest is taken: it has the highest number.
    order = cheapest_first(benchmark.cost_usd[job.test], benchmark.llm_ids)
    first = (llms - np.argsort(order, axis=-1)).astype(job.choice_type)
    for start, stop, outcomes in outcome_blocks(job):
        scored = outcomes.scored
        tied = outcomes.reward == outcomes.best[:, :, None]
        look.oracle[start:stop] = np.where(scored, (tied * first).argmax(axis=-1), -1)
        charged = charge(outcomes.reward)
        if not scored.all():
            charged = np.where(scored[:, :, None], charged, np.float32(0))
        look.total += charged.sum(axis=0, dtype=np.float64)
        look.ok |= np.isfinite(outcomes.reward).any(axis=0)
        look.votes += (outcomes.chosen & scored[:, :, None]).sum(axis=0)
        look.scored += scored.sum(axis=0)
        look.best += float(np.where(scored, outcomes.best, 0).sum(dtype=np.float64))
        look.chance += float(np.where(scored, outcomes.chance, 0).sum())
        asked.update(plain_bytes(outcomes.reward))
    for values in (benchmark.performance[job.test], benchmark.cost_usd[job.test]):
        asked.update(plain_bytes(values))
    look.sha256 = asked.hexdigest()
    return look


class Means:
    """Sums of named values [u, Q] over all that is known of them."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._sum: dict[str, float] = {}
        self._count: dict[str, int] = {}

    def add(self, values: Mapping[str, Doubles]) -> None:
        """Add a block of users."""
        for name, block in values.items():
            known = np.isfinite(block)
            self._sum[name] = self._sum.get(name, 0.0) + float(np.where(known, block, 0).sum())
            self._count[name] = self._count.get(name, 0) + int(known.sum())

    def __getitem__(self, name: str) -> Summed:
        return Summed(self._sum[name], self._count[name], self.shape)


class Draws:
    """The two-way bootstrap of weighted means; see `bootstrap.weighted_mean`."""

    def __init__(self, weights: bootstrap.UserWeights) -> None:
        self.weights = weights
        self._sum: dict[Any, Doubles] = {}
        self._count: dict[Any, Doubles] = {}

    def add(self, start: int, stop: int, values: Mapping[Any, Doubles]) -> None:
        """Add users ``start`` to ``stop``: values [u, Q], NaN where there is none."""
        if not self.weights.draws:
            return
        weight = self.weights.of_users(start, stop)
        each = weight.sum(axis=1)[:, None]
        wide: list[tuple[dict[Any, Doubles], Any, Doubles]] = []
        for key, block in values.items():
            known = np.isfinite(block)
            filled = block if known.all() else np.where(known, block, 0.0)
            for into, numbers in ((self._sum, filled), (self._count, known)):
                if (numbers == numbers[:1]).all():  # alike for all users
                    _put(into, key, each * numbers[0].astype(np.float64))
                else:
                    wide.append((into, key, numbers.astype(np.float64, copy=False)))
        if wide:
            found = weight @ np.concatenate([numbers for _, _, numbers in wide], axis=1)
            for (into, key, _), part in zip(wide, np.split(found, len(wide), axis=1), strict=True):
                _put(into, key, part)

    def __getitem__(self, key: Any) -> Doubles:
        """[draws] values."""
        if not self.weights.draws:
            return np.zeros(0)
        of_query = self.weights.of_query
        total, count = ((x[key] * of_query).sum(axis=1) for x in (self._sum, self._count))
        return bootstrap.ratio(total, count)


class NormalisedDraws:
    """The two-way bootstrap of the oracle-normalised reward; see `bootstrap.normalised`."""

    def __init__(self, weights: bootstrap.UserWeights) -> None:
        self.weights = weights
        self._sum: dict[str, Doubles] = {}
        self._count = np.zeros(weights.draws)

    def add(
        self, start: int, stop: int, outcomes: Outcomes, rewards: Mapping[str, Doubles]
    ) -> None:
        """Add users ``start`` to ``stop``: rewards [u, Q] by name of the router."""
        if not self.weights.draws:
            return
        weight, of_query = self.weights.of_users(start, stop), self.weights.of_query.T
        known = outcomes.scored
        low = np.where(known, outcomes.chance, 0.0)
        span = np.where(known, outcomes.best, 0.0).astype(np.float64) - low
        gains = {name: np.where(known, reward, 0.0) - low for name, reward in rewards.items()}
        smallest = ZERO_RANGE * max(1, span.shape[1])
        for first in range(0, stop - start, _NORMALISED_USERS):
            some = slice(first, first + _NORMALISED_USERS)
            bottom = span[some] @ of_query  # [u, draws]
            use, mine = bottom > smallest, weight[:, some].T
            self._count += (mine * use).sum(axis=0)
            share = np.divide(mine, bottom, out=np.zeros_like(bottom), where=use)
            for name, gain in gains.items():
                _put(self._sum, name, np.einsum("ub,ub->b", gain[some] @ of_query, share))

    def __getitem__(self, name: str) -> Doubles:
        """[draws] values."""
        if not self.weights.draws:
            return np.zeros(0)
        return bootstrap.ratio(self._sum[name], self._count)


@dataclass(eq=False)
class Groups:
    """Means by group of (user, query) rows; see `groups.by_group`."""

    names: Sequence[str]
    sums: dict[int, dict[str, tuple[float, int]]] = field(default_factory=dict)

    def add(self, group: Ints, values: Mapping[str, Doubles], outcomes: Outcomes) -> None:
        """Add a block: the number of each row's group [u, Q], and values [u, Q] by metric."""
        for number in np.unique(group).tolist():
            here = group == number
            into = self.sums.setdefault(number, {})
            reward = np.where(here, values["reward"], np.nan)
            ratios = user_ratios(reward, outcomes.chance, outcomes.best)
            found = {"oracle_normalised_reward": (float(ratios.sum()), len(ratios))}
            for name, block in values.items():
                known = np.isfinite(block) & here
                found[name] = float(np.where(known, block, 0).sum()), int(known.sum())
            for name, (total, count) in found.items():
                before = into.get(name, (0.0, 0))
                into[name] = before[0] + total, before[1] + count

    def mean(self, number: int, metric: str) -> float | None:
        """Return the mean of a group, None where nothing is known."""
        total, count = self.sums[number][metric]
        return total / count if count else None

    def rows(self, metrics: Sequence[str]) -> list[dict[str, Any]]:
        """Return what `groups.by_group` does."""
        rows: list[dict[str, Any]] = []
        for number in sorted(self.sums):
            row: dict[str, Any] = {"name": self.names[number]}
            row |= {metric: self.mean(number, metric) for metric in metrics}
            rows.append(row | {"n": self.sums[number]["reward"][1]})
        average: dict[str, Any] = {"name": "average"}
        for metric in metrics:
            known = [row[metric] for row in rows if row[metric] is not None]
            average[metric] = float(np.mean(known)) if known else None
        return [*rows, average | {"n": sum(row["n"] for row in rows)}]


def averaged(scores: Sequence[Mapping[str, Doubles]]) -> dict[str, Doubles]:
    """Return each score [u, Q], averaged over the seeds in which it has a value."""
    if len(scores) == 1:
        return dict(scores[0])
    found = {}
    for metric in SCORES:
        values = np.stack([one[metric] for one in scores])
        known = np.isfinite(values)
        total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
        found[metric] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return found


def _put(into: dict[Any, Doubles], key: Any, more: Doubles) -> None:
    held = into.get(key)
    if held is None:
        into[key] = more.copy()
    else:
        held += more


def counted(choice: Ints, llms: int) -> Doubles:
    """Return [Q, M + 1] how many users each LLM is chosen for; the last column is invalid ones."""
    queries = choice.shape[1]
    found = np.zeros(queries * (llms + 1))
    place = np.arange(queries) * (llms + 1)
    for start in range(0, len(choice), 10_000):
        part = choice[start : start + 10_000].astype(np.int64)
        cell = np.where(part >= 0, part, llms) + place
        found += np.bincount(cell.ravel(), minlength=len(found))
    return found.reshape(queries, llms + 1)
