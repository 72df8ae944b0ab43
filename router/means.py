"""Means over the past, shared by the routers that rank LLMs by them.

All of them work on `History.values`: rewards under full feedback, wins under choice and pairwise.
Training and validation rows are pooled in the end; validation alone decides what is selected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.protocol import History

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

# Strengths of shrinkage to select from, in rows of a user; the last one all but ignores users.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e6)
DEFAULT_STRENGTH = 10.0
# An LLM that only a support has met is believed to be average for so many rows.
NEWCOMER_ROWS = 10.0


@dataclass(frozen=True)
class Totals:
    """Sums of values and how many rows they are over, both [..., M]."""

    sum: Doubles
    count: Doubles

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.sum + other.sum, self.count + other.count)

    def over(self, axis: int) -> Totals:
        """Return the totals over one axis (of users, of tasks)."""
        if self.sum.shape[axis] == 1:  # of many users, not to copy it saves much
            return Totals(self.sum.squeeze(axis), self.count.squeeze(axis))
        return Totals(self.sum.sum(axis=axis), self.count.sum(axis=axis))

    @property
    def mean(self) -> Doubles:
        """[..., M]; NaN where there are no rows."""
        result = np.full(self.sum.shape, np.nan)
        np.divide(self.sum, self.count, out=result, where=self.count > 0)
        return result

    def shrunk(self, prior: Doubles, strength: float) -> Doubles:
        """Return ``(n · mean + k · prior) / (n + k)``, n the rows here, k the strength."""
        return (self.sum + strength * prior) / (self.count + strength)

    def of(self, choice: Ints) -> float:
        """Return the mean value of choosing LLM `choice` [...] for the rows here."""
        pick = choice[..., None]
        rows = np.take_along_axis(self.count, pick, axis=-1).sum()
        total = np.take_along_axis(self.sum, pick, axis=-1).sum()
        return float(total / rows) if rows else -np.inf


def totals(history: History) -> Totals:
    """Return totals of values per user, task and LLM, [U, T, M]."""
    shape = (len(history.user_ids), len(history.task_ids), len(history.llm_ids))
    result = Totals(np.zeros(shape), np.zeros(shape))
    for task in np.unique(history.task_of_query):
        here = np.flatnonzero(history.task_of_query == task)
        together = here[-1] - here[0] + 1 == len(here)  # then nothing need be copied
        values = history.values[:, slice(here[0], here[-1] + 1) if together else here]
        known = np.isfinite(values)
        if known.all():
            # Adds up in the order of `sum`, faster.
            result.sum[:, task] = np.einsum(
                "uqm->um", values, dtype=np.float64, casting="same_kind"
            )
            result.count[:, task] = values.shape[1]
            continue
        result.sum[:, task] = np.nansum(values, axis=1, dtype=np.float64)
        result.count[:, task] = known.sum(axis=1)
    return result


def past_totals(
    history: History, *, users: bool = True, tasks: bool = True
) -> tuple[Totals, Totals | None]:
    """Return totals of the training and of the validation split, [U, T, M].

    Args:
        history: the past.
        users, tasks: whether users and tasks are told apart. Of a history that is told in blocks,
            memory is only taken for what is: an axis that is not needed has the length 1.

    Raises:
        BenchError: nothing is observed.
    """
    if history.streamed:
        train, validation = _streamed_totals(history, users, tasks)
    else:
        train = totals(history)
        validation = None if history.validation is None else totals(history.validation)
    if not train.count.any():
        raise BenchError("the training split tells nothing about any LLM; check the responses")
    return train, validation


def _streamed_totals(history: History, users: bool, tasks: bool) -> tuple[Totals, Totals | None]:
    shape = (
        len(history.user_ids) if users else 1,
        len(history.task_ids) if tasks else 1,
        len(history.llm_ids),
    )
    found = [Totals(np.zeros(shape), np.zeros(shape))]
    if history.validation is not None:
        found.append(Totals(np.zeros(shape), np.zeros(shape)))
    start = 0
    for block in history.blocks():
        stop = start + len(block.user_ids)
        rows = slice(start, stop) if users else slice(0, 1)
        for whole, part in zip(found, (block, block.validation), strict=False):
            if part is None:
                continue
            more = totals(part)
            for into, values in ((whole.sum, more.sum), (whole.count, more.count)):
                by_task = values if tasks else values.sum(axis=1, keepdims=True)
                into[rows] += by_task if users else by_task.sum(axis=0, keepdims=True)
        start = stop
    return found[0], found[1] if len(found) > 1 else None


def pooled(train: Totals, validation: Totals | None) -> Totals:
    """Return both splits as one."""
    return train if validation is None else train + validation


def of_task(past: Totals) -> Doubles:
    """Return [T, M] means over everybody; of a task without a past, over all tasks."""
    tasks = past.over(0)
    return np.where(tasks.count > 0, tasks.mean, tasks.over(0).mean)


def first_best(values: Doubles, order: Ints) -> Ints:
    """Return [...] the index of the best of [..., M], of tied ones the first in `order` [M]."""
    shown = np.where(np.isnan(values), -np.inf, values)
    best: Ints = order[shown[..., order].argmax(axis=-1)]
    return best


def select(estimate: Callable[[float], Doubles], validation: Totals | None, order: Ints) -> float:
    """Return the strength whose choices do best on validation, of tied ones the strongest."""
    if validation is None:
        return DEFAULT_STRENGTH
    scores = [validation.of(first_best(estimate(k), order)) for k in STRENGTHS]
    return max(zip(scores, STRENGTHS, strict=True))[1]


@dataclass(frozen=True)
class Counts:
    """Who and what the totals are of; `joined` adds the few rows of new users or LLMs."""

    user_ids: tuple[str, ...]
    llm_ids: tuple[str, ...]
    totals: Totals
    """[U + 1, T, M]; the last row is nobody's: it stands for users without a past, and holds the
    rows in which a new LLM is believed to be average."""
    usd: Totals
    """[M] cost of the past responses."""

    @classmethod
    def of(cls, history: History, past: Totals | None = None) -> Counts:
        """Return the training and validation splits as one.

        Args:
            history: the past.
            past: its totals where they are known already.

        Raises:
            BenchError: nothing is observed.
        """
        if past is None:
            past = pooled(*past_totals(history))
        return cls(
            tuple(history.user_ids.tolist()),
            tuple(history.llm_ids.tolist()),
            Totals(*(np.pad(x, ((0, 1), (0, 0), (0, 0))) for x in (past.sum, past.count))),
            spending(history),
        )

    @classmethod
    def of_everybody(cls, history: History) -> Counts:
        """Return the same for a router that tells no users apart.

        Of a history that is told in blocks, all rows are nobody's.
        """
        if not history.streamed:
            return cls.of(history)
        past = pooled(*past_totals(history, users=False))
        return cls((), tuple(history.llm_ids.tolist()), past, spending(history))

    @property
    def order(self) -> Ints:
        """[M] LLM indices as in `History.tie_order`, new LLMs by what they have cost."""
        return cheapest_first(self.usd, self.llm_ids)

    def rows(self, user_ids: Iterable[str]) -> Ints:
        """Return the row of each user, -1, which is nobody's, for one without a past."""
        place = self._place
        return np.asarray([place.get(str(name), -1) for name in user_ids], dtype=np.int64)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.user_ids)}

    def joined(self, support: History) -> Counts:
        """Return this past with the rows of a support; its LLMs are these and then the new ones."""
        more, known = totals(support), len(self.llm_ids)
        own = set(self.user_ids)
        user_ids = self.user_ids + tuple(n for n in support.user_ids.tolist() if n not in own)
        llm_ids = tuple(support.llm_ids.tolist())
        place = {name: i for i, name in enumerate(user_ids)}
        rows = [place[name] for name in support.user_ids.tolist()]
        shape = (len(user_ids) + 1, more.sum.shape[1], len(llm_ids))
        total, count = np.zeros(shape), np.zeros(shape)
        for whole, old, new in (
            (total, self.totals.sum, more.sum),
            (count, self.totals.count, more.count),
        ):
            whole[: len(own), :, :known] = old[:-1]
            whole[-1, :, :known] = old[-1]
            whole[rows] += new
        average = np.nanmean(self.totals.over(0).over(0).mean)
        count[-1, :, known:] += NEWCOMER_ROWS / shape[1]
        total[-1, :, known:] += average * NEWCOMER_ROWS / shape[1]
        usd = with_new(self.usd, spending(support))
        return Counts(user_ids, llm_ids, Totals(total, count), usd)


def spending(history: History) -> Totals:
    """Return totals of USD per LLM, [M], over the past queries of known cost."""
    known = np.isfinite(history.cost_usd)
    cost = np.where(known, history.cost_usd, 0).sum(axis=0)
    return Totals(cost, known.sum(axis=0).astype(np.float64))


def with_new(usd: Totals, support: Totals) -> Totals:
    """Return the spending [M], and that of LLMs which only the support has, behind it."""
    known = len(usd.sum)
    return Totals(
        np.append(usd.sum, support.sum[known:]), np.append(usd.count, support.count[known:])
    )


def cheapest_first(usd: Totals, llm_ids: Sequence[str]) -> Ints:
    """Return [M] LLM indices by mean USD, unknown last, then by id; see `History.tie_order`."""
    mean = np.where(usd.count > 0, usd.mean, np.inf)
    return np.lexsort((np.asarray(llm_ids), mean))
