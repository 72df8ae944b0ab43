"""Past queries and what users said of them, as routers that read content need it.

Unlike a `History` a `Past` can be joined with another (few-shot support, the validation split) and
written to a checkpoint: it is six arrays and three lists of ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History
from personaroute_bench.llms.types import STATUSES

from .newcomers import Guess, guess
from .utility import Bools, Doubles, Evidence, Floats, Ints

Strings = NDArray[np.str_]

# Rewards that sum to 1 for every query, none negative, are shares of a choice.
CHOICE_TOLERANCE = 1e-3
_IDS = ("query_ids", "user_ids", "llm_ids")
_ARRAYS = ("embeddings", "tasks", "content", "cost_usd", "ok", "values", "prices")
FAILURES = [status for status in STATUSES if status != "ok"]


@dataclass(frozen=True, eq=False)
class Past:
    """U users, Q past queries, M LLMs; arrays are never written to."""

    query_ids: Strings
    """[Q]"""
    user_ids: Strings
    """[U]"""
    llm_ids: Strings
    """[M]"""
    embeddings: Floats
    """[Q, D]"""
    tasks: Ints
    """[Q]"""
    content: Floats
    """[Q, M, C] performance, cost, and the ratings of manner where there are any; NaN unknown."""
    cost_usd: Doubles
    """[Q, M]"""
    ok: Bools
    """[Q, M] false for responses that failed; true where nothing is known of one."""
    values: Floats
    """[U, Q, M] History.values; NaN where not told."""
    prices: Doubles
    """[M, 2] USD per million input and output tokens; NaN unknown."""

    @classmethod
    def of(cls, history: History) -> Past:
        """Read a history (its validation split not included)."""
        content = [history.performance[..., None], history.cost[..., None]]
        style: Any = getattr(history, "style", None)
        if style is not None:
            content.append(np.asarray(style))
        return cls(
            query_ids=history.query_ids,
            user_ids=history.user_ids,
            llm_ids=history.llm_ids,
            embeddings=history.embeddings,
            tasks=history.task_of_query,
            content=np.concatenate(content, axis=-1).astype(np.float32),
            cost_usd=history.cost_usd,
            ok=~np.isin(history.status, FAILURES),
            values=history.values,
            prices=_prices(history),
        )

    def __add__(self, other: Past) -> Past:
        """Return both as one, over the union of users, queries and LLMs; `other` wins."""
        users, *u = _union(self.user_ids, other.user_ids)
        queries, *q = _union(self.query_ids, other.query_ids)
        llms, *m = _union(self.llm_ids, other.llm_ids)

        def joined(name: str, empty: Any, *axes: list[Ints]) -> Any:
            first, second = getattr(self, name), getattr(other, name)
            size = tuple(len(set(a.tolist()) | set(b.tolist())) for a, b in axes)
            result = np.full((*size, *first.shape[len(size) :]), empty, dtype=first.dtype)
            result[np.ix_(*(a for a, _ in axes))] = first
            place = np.ix_(*(b for _, b in axes))
            if second.dtype.kind == "b":  # a failure that one of them knows of stays one
                result[place] &= second
            else:
                known = np.isfinite(second) if second.dtype.kind == "f" else np.True_
                result[place] = np.where(known, second, result[place])
            return result

        return Past(
            query_ids=queries,
            user_ids=users,
            llm_ids=llms,
            embeddings=joined("embeddings", 0, q),
            tasks=joined("tasks", -1, q),
            content=joined("content", np.nan, q, m),
            cost_usd=joined("cost_usd", np.nan, q, m),
            ok=joined("ok", True, q, m),
            values=joined("values", np.nan, u, q, m),
            prices=joined("prices", np.nan, m),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return ids (JSON) and arrays, for a checkpoint."""
        ids = {name: getattr(self, name).tolist() for name in _IDS}
        return ids, {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}

    @classmethod
    def from_state(cls, ids: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Past:
        """Return the past of a checkpoint.

        Raises:
            ValueError, KeyError: arrays are missing, of the wrong kind, or do not fit the ids.
        """
        names: dict[str, Any] = {name: np.asarray(ids[name], dtype=np.str_) for name in _IDS}
        past = cls(**names, **{name: arrays[name] for name in _ARRAYS})
        Q, U, M = (len(past.query_ids), len(past.user_ids), len(past.llm_ids))
        expected = {
            "embeddings": ((Q, past.embeddings.shape[-1]), "f"),
            "tasks": ((Q,), "i"),
            "content": ((Q, M, past.content.shape[-1]), "f"),
            "cost_usd": ((Q, M), "f"),
            "ok": ((Q, M), "b"),
            "values": ((U, Q, M), "f"),
            "prices": ((M, 2), "f"),
        }
        for name, (shape, kind) in expected.items():
            array = arrays[name]
            if array.shape != shape or array.dtype.kind != kind:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {shape}")
        return past

    def of_queries(self, rows: Any) -> Past:
        """Return some of the queries."""
        names = ("query_ids", "embeddings", "tasks", "content", "cost_usd", "ok")
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in names}
        return replace(self, values=self.values[:, rows], **parts)

    @property
    def seen(self) -> Bools:
        """[U, Q, M] told, and the response is ok."""
        return np.isfinite(self.values) & self.ok[None]

    def is_choice(self) -> bool:
        """Whether values are shares of a choice: 1 for the winner, tied: shared, 0 for the others.

        All may be 0, and shares less than 1, where winners were not among the candidates.
        """
        shares = np.where(np.isfinite(self.values), self.values, 0)
        total, most = shares.sum(axis=-1), shares.max(axis=-1, keepdims=True)
        alike = (shares == 0) | (np.abs(shares - most) < CHOICE_TOLERANCE)
        whole = np.abs(total - 1) < CHOICE_TOLERANCE
        fits = alike.all() and shares.min(initial=0) >= 0 and total.max() < 1 + CHOICE_TOLERANCE
        return bool(fits and whole.any())

    def decided(self) -> Past:
        """Return this past with shares that sum to 1, and nothing where only losers are known."""
        total = np.nansum(self.values, axis=-1, keepdims=True)
        values = np.where(total > 0, self.values / np.where(total > 0, total, 1), np.nan)
        return replace(self, values=values.astype(np.float32))

    def guess(self) -> Guess | None:
        """Return what is expected of responses that nobody has seen; None where there are none."""
        if (np.isfinite(self.content) | ~self.ok[..., None]).all():
            return None
        return guess(self.content, self.ok, self.tasks, self.prices)


@dataclass(frozen=True, eq=False)
class Space:
    """The features of utility: content scaled to its spread within queries, and who wrote it."""

    scale: Doubles
    """[C] standard deviation within the query."""
    llms: int

    @classmethod
    def of(cls, past: Past) -> Space:
        """Measure the scales."""
        known = past.ok[..., None] & np.isfinite(past.content)
        squares = (_centred(past.content, past.ok) ** 2).sum(axis=(0, 1))
        spread = np.sqrt(squares / np.maximum(known.sum(axis=(0, 1)), 1))
        return cls(np.where(spread > 1e-6, spread, 1.0).astype(np.float64), past.ok.shape[1])

    @property
    def groups(self) -> Ints:
        """[F] performance, cost, manner, authorship."""
        manner = len(self.scale) - 2
        return np.asarray([0, 1, *[2] * manner, *[3] * self.llms], dtype=np.int64)

    def content(self, past: Past) -> Floats:
        """Return [Q, M, C] content centred within the query and scaled; zeros where it failed.

        Of a response of which nothing is known (a new LLM has answered few queries) it is what is
        expected (router/newcomers.py).
        """
        guess = past.guess()
        return self._scaled(past.content if guess is None else guess.mean, past.ok)

    def features(self, past: Past) -> Floats:
        """Return [Q, M, C + M]: content, and the LLM's indicator, centred too."""
        return self._with_author(self.content(past), past.ok)

    def drawn(self, past: Past, draws: int, seed: int) -> list[Floats]:
        """Return features as they may be, [draws] of [Q, M, C + M]; one where all is known."""
        guess = past.guess()
        if guess is None:
            return [self.features(past)]
        rng = np.random.default_rng(seed)
        contents = (self._scaled(guess.draw(rng), past.ok) for _ in range(draws))
        return [self._with_author(content, past.ok) for content in contents]

    def _scaled(self, content: NDArray[Any], ok: Bools) -> Floats:
        return np.where(ok[..., None], _centred(content, ok) / self.scale, 0).astype(np.float32)

    def _with_author(self, content: Floats, ok: Bools) -> Floats:
        author = np.broadcast_to(np.eye(self.llms), (*ok.shape, self.llms))
        mine = np.where(ok[..., None], _centred(author, ok), 0).astype(np.float32)
        return np.concatenate([content, mine], axis=-1)

    def evidence(self, past: Past, *, linear: bool) -> Evidence:
        """Return what `infer` needs."""
        target = np.nan_to_num(past.values)
        return Evidence(self.features(past), target, past.seen, self.groups, linear)


def _centred(content: NDArray[Any], ok: Bools) -> Doubles:
    """Subtract the query's mean over responses that are ok; unknown content becomes the mean."""
    known = ok[..., None] & np.isfinite(content)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, content, 0).sum(axis=1, keepdims=True, dtype=np.float64) / count
    centred: Doubles = np.where(known, content - mean, 0)
    return centred


def _prices(history: History) -> Doubles:
    """Return [M, 2] of the history's LLMs."""
    rows = {row["llm_id"]: row for row in history.llms.to_pylist()}
    names = ("input_price", "output_price")
    found = [[rows.get(llm, {}).get(name) for name in names] for llm in history.llm_ids.tolist()]
    return np.asarray(found, np.float64).reshape(-1, 2)


def _union(first: Strings, second: Strings) -> tuple[Strings, Ints, Ints]:
    """Return the ids of both, those of `first` first, and the places of each one's ids."""
    new = second[~np.isin(second, first)]
    both = np.concatenate([first, new])
    place = {name: i for i, name in enumerate(both.tolist())}
    return both, np.arange(len(first)), np.asarray([place[n] for n in second.tolist()], np.int64)
