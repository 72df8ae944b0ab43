"""Online routers: requests come in a stream, and after each block what was chosen pays off.

    route(block) ──► choices, hashed ──► update(what the chosen LLMs were worth) ──► next block

A block is one request of every user. Nothing is told of the LLMs that were not chosen, and what a
block is worth is looked up when its choices are in the running digest, not before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from personaroute_bench.evaluation.choices import INVALID, read_answers
from personaroute_bench.evaluation.feedback import pair_uniform
from personaroute_bench.evaluation.history import History, frozen
from personaroute_bench.evaluation.protocol import Requests

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Doubles, Floats, Ints, Strings


@dataclass(frozen=True, eq=False)
class Revealed:
    """What became of n choices: all that `update` is told."""

    requests: Requests
    """The block, as `route` was given it."""
    choice: Ints
    """[n] index into ``requests.candidates``, -1 where the answer was invalid."""
    values: Floats
    """[n] what the choice was worth, on the scale of `History.values`: the reward, a failure
    charged, where feedback is full; else 1 where it is what the user would have taken (any of tied
    ones), 0 where not. NaN where no candidate has a reward."""
    cost_usd: Doubles
    """[n] the bill of the call; NaN where unknown or invalid."""


class OnlineRouter(Protocol):
    """A router with a third method, `update`."""

    def fit(self, history: History) -> None:
        """Start warm, with what users told in the past."""
        ...

    def route(self, requests: Requests) -> Any:
        """Answer one block: one request of every user."""
        ...

    def update(self, revealed: Revealed) -> None:
        """Learn from what the block's choices were worth."""
        ...


Reveal = Callable[["Ints", "Ints", "Ints"], "tuple[Floats, Doubles]"]
"""(users, queries, choices), each [n], to their values and USD; rows and columns of the fold."""


class Seal:
    """A running digest of choices, in the order in which they were made."""

    def __init__(self) -> None:
        self._running = hashlib.sha256()

    def add(self, users: Strings, queries: Strings, llms: Sequence[str]) -> None:
        """Commit to choices, each [n]; an invalid one is empty."""
        rows = zip(users.tolist(), queries.tolist(), llms, strict=True)
        text = "".join([f"{u}\x1f{q}\x1f{m}\x1e" for u, q, m in rows])
        self._running.update(text.encode("utf-8", "surrogatepass"))

    @property
    def sha256(self) -> str:
        """The digest so far, in hex."""
        return self._running.hexdigest()


def stream_order(requests: Requests, seed: int) -> Ints:
    """Return [U, Q] the place of each query in its user's stream, from 0.

    In the order of the users' own lives where the requests have times; else each user has an order
    of their own, which depends on the seed and the ids alone.
    """
    U, Q = len(requests.user_ids), len(requests.query_ids)
    if requests.time is not None:
        key: Any = requests.time.reshape(U, Q)
    else:
        key = pair_uniform(seed, "evaluation/stream", requests.user_ids, requests.query_ids)
    order = np.argsort(key, axis=1, kind="stable")
    place = np.empty((U, Q), dtype=np.int64)
    np.put_along_axis(place, order, np.arange(Q)[None, :], axis=1)
    return place


def ask_online(
    router: OnlineRouter, requests: Requests, place: Ints, reveal: Reveal, seal: Seal
) -> tuple[Ints, str | None]:
    """Stream requests to a router, block by block.

    Args:
        router: fitted.
        requests: of U users for Q queries, all of them, user by user.
        place: [U, Q] see `stream_order`.
        reveal: what choices are worth; called when they are sealed.
        seal: commits to the choices of each block.

    Returns:
        [U, Q] index into the candidates, -1 where invalid; and the first problem.
    """
    U, Q = place.shape
    users = np.arange(U)
    choice = np.full((U, Q), INVALID, dtype=np.int64)
    names = [*requests.candidates.tolist(), ""]  # index -1 is the last
    problem: str | None = None
    for queries in np.argsort(place, axis=1, kind="stable").T:
        block = _block(requests, queries)
        found, complaint = read_answers(router.route(block), U, requests.candidates)
        problem = problem or complaint
        choice[users, queries] = found
        seal.add(requests.user_ids, requests.query_ids[queries], [names[m] for m in found])
        values, cost_usd = reveal(users, queries, found)
        router.update(Revealed(block, frozen(found), frozen(values), frozen(cost_usd)))
    return choice, problem


def _block(requests: Requests, queries: Ints) -> Requests:
    """Return one request a user, for queries [U]; the other queries are not in it."""
    Q = len(requests.query_ids)
    there, index = np.unique(queries, return_inverse=True)
    users = np.arange(len(queries))
    time = requests.time
    return replace(
        requests,
        query_ids=frozen(requests.query_ids[there]),
        user_index=frozen(users),
        query_index=frozen(index.reshape(-1)),
        embeddings=frozen(requests.embeddings[there]),
        task_of_query=frozen(requests.task_of_query[there]),
        queries=requests.queries.take(there),
        time=None if time is None else frozen(time[users * Q + queries]),
    )


def joined(blocks: Sequence[Requests]) -> Requests:
    """Return blocks of users, for the same queries, as one."""
    import pyarrow as pa

    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    counts = np.cumsum([0, *(len(block.user_ids) for block in blocks)])
    shifted = [block.user_index + start for block, start in zip(blocks, counts, strict=False)]
    times = [block.time for block in blocks if block.time is not None]
    users: pa.Table = pa.concat_tables([block.users for block in blocks])
    return replace(
        first,
        user_ids=frozen(np.concatenate([block.user_ids for block in blocks])),
        user_index=frozen(np.concatenate(shifted)),
        query_index=frozen(np.concatenate([block.query_index for block in blocks])),
        users=users,
        time=frozen(np.concatenate(times)) if times else None,
    )
