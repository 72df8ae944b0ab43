"""What a user tells of a query: rewards of all candidates, the one taken, or which of two won.

What is kept, taken and compared depends on (seed, user id, query id) alone, so it is the same for
every router and grows, but never changes, with the number of interactions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from personaroute_bench.hashing import index_uniform

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Bools, Doubles, Floats, Interactions, Ints, Strings

Feedback = Literal["full", "choice", "pairwise"]
FEEDBACKS: tuple[Feedback, ...] = get_args(Feedback)


@dataclass(frozen=True, eq=False)
class Told:
    """Arrays as in `History`: [U, Q, M], pairs [U, Q, 2] or None."""

    rewards: Floats
    chosen: Bools
    observed: Bools
    pairs: Ints | None


def pair_uniform(seed: int, stream: str, users: Strings, queries: Strings) -> Doubles:
    """Return [U, Q] numbers in [0, 1), each depending only on seed, stream and the two ids."""
    u, q = (
        np.asarray(
            [int.from_bytes(hashlib.sha256(str(i).encode()).digest()[:8], "big") for i in ids],
            dtype=np.uint64,
        )
        for ids in (users, queries)
    )
    mixed = (u[:, None] * np.uint64(0x9E3779B97F4A7C15)) ^ q[None, :]
    return index_uniform(seed, stream, (mixed >> np.uint64(1)).astype(np.int64))


def keep(users: Strings, queries: Strings, count: int | None, seed: int) -> Bools:
    """[U, Q] true for the `count` queries a user whose hash is smallest; None: all."""
    kept = np.ones((len(users), len(queries)), dtype=np.bool_)
    if count is None or count >= len(queries):
        return kept
    rank = np.argsort(pair_uniform(seed, "evaluation/interactions", users, queries), axis=1)
    np.put_along_axis(kept, rank[:, count:], np.bool_(False), axis=1)
    return kept


def newcomer(users: Strings, queries: Strings, llms: int, shots: int, seed: int) -> Ints:
    """[U, Q] which of the new LLMs is tried there (0 … llms − 1), -1 where none is.

    The (user, query) pairs are dealt in the order of their hash, one LLM after the other, so that
    each new LLM gets its own `shots` pairs, and more shots only add some.
    """
    tried = np.full(len(users) * len(queries), -1, dtype=np.int64)
    draw = pair_uniform(seed, "evaluation/new-llm", users, queries).ravel()
    first = np.argsort(draw, kind="stable")[: llms * shots]
    tried[first] = np.arange(len(first)) % llms
    return tried.reshape(len(users), len(queries))


def among(part: Interactions, shown: Bools) -> Interactions:
    """Return the interactions as if only some candidates had been there.

    A user takes what was best of all where it is shown, else the best of the shown. Where the
    rewards do not tell the shown ones apart (a judge that only names its winner, which is not
    among them) nothing is chosen: what it would have been is unknown.

    Args:
        part: interactions [U, Q, M].
        shown: [U, Q, M], or what broadcasts to it.
    """
    reward = np.where(shown, part.reward, np.float32(np.nan))
    chosen = part.chosen & shown
    best, worst = (f.reduce(reward, axis=-1, keepdims=True) for f in (np.fmax, np.fmin))
    second = ~chosen.any(axis=-1, keepdims=True) & (best > worst) & (reward == best)
    return replace(part, reward=reward, chosen=chosen | second)


def tell(
    part: Interactions,
    kept: Bools,
    users: Strings,
    queries: Strings,
    *,
    feedback: Feedback,
    seed: int,
    shown: Bools | None = None,
    first: Ints | None = None,
) -> Told:
    """Return what the kept queries tell.

    Args:
        part: interactions [U, Q, M].
        kept: [U, Q].
        users, queries: [U], [Q] ids.
        feedback: see docs/evaluation.md.
        seed: of the draws.
        shown: [U, Q, M] the candidates that were there; None: all.
        first: [U, Q] the LLM that is one of the two compared; None: both are drawn.
    """
    there = np.broadcast_to(kept[:, :, None], part.reward.shape)
    if shown is not None:
        there, part = there & shown, among(part, shown)
    hidden = np.broadcast_to(np.float32(np.nan), part.reward.shape)
    if feedback == "full":
        return Told(np.where(there, part.reward, hidden), part.chosen & there, there, None)
    if feedback == "choice":
        draw = pair_uniform(seed, "evaluation/tie", users, queries)
        place = np.floor(draw * part.chosen.sum(axis=-1))
        nth = np.cumsum(part.chosen, axis=-1, dtype=np.int16) - 1
        taken = part.chosen & (nth == place[:, :, None]) & there
        # A query whose every response failed has no choice to tell.
        return Told(hidden, taken, there & taken.any(axis=-1, keepdims=True), None)
    both, comparable = _opponents(part, users, queries, seed, shown, first)
    comparable = comparable & kept
    reward = np.take_along_axis(part.reward, both, axis=-1)
    wins = (reward == reward.max(axis=-1, keepdims=True)) & comparable[:, :, None]
    chosen, observed = np.zeros((2, *part.reward.shape), dtype=np.bool_)
    np.put_along_axis(chosen, both, wins, axis=-1)
    np.put_along_axis(observed, both, comparable[:, :, None], axis=-1)
    return Told(hidden, chosen, observed, np.where(comparable[:, :, None], both, -1))


def _opponents(
    part: Interactions,
    users: Strings,
    queries: Strings,
    seed: int,
    shown: Bools | None,
    first: Ints | None,
) -> tuple[Ints, Bools]:
    """Return [U, Q, 2] two candidates with rewards, and [U, Q] whether there are two."""
    a, b = (pair_uniform(seed, f"evaluation/{x}", users, queries) for x in ("a", "b"))
    rewards = np.isfinite(part.reward)
    some: Bools = np.asarray(rewards.any(axis=-1))
    # Mostly the same responses failed for all users, and one row serves all of them; a user whose
    # choice is unknown has no rewards there, which hides nothing from the others.
    shared: Bools = np.asarray(rewards.any(axis=0, keepdims=True))
    alike = shown is None and np.array_equal(rewards, shared & some[:, :, None])
    ok = shared if alike else rewards
    own = None
    if first is not None:
        tried = np.maximum(first, 0)[:, :, None]
        own = np.take_along_axis(ok, tried, axis=-1)[:, :, 0] & (first >= 0)
        ok = ok.copy()
        np.put_along_axis(ok, tried, np.bool_(False), axis=-1)
    count = ok.sum(axis=-1)
    last = ok.shape[-1] - 1
    nth_ok = np.broadcast_to(np.argsort(~ok, axis=-1, kind="stable"), part.reward.shape)

    def nth(number: Ints) -> Ints:
        place = np.clip(number, 0, last)[:, :, None]
        found: Ints = np.take_along_axis(nth_ok, place, axis=-1)[:, :, 0]
        return found

    i = np.floor(a * count).astype(np.int64)
    if first is not None and own is not None:
        return np.stack([np.maximum(first, 0), nth(i)], axis=-1), own & (count >= 1)
    j = np.floor(b * (count - 1)).astype(np.int64)
    j += j >= i
    return np.stack([nth(i), nth(j)], axis=-1), (count >= 2) & some
