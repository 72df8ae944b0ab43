"""Who wins, for whom, and how much of it knowing the user explains: figures from choices alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.hashing import index_uniform
from personaroute_bench.judging.agreement import percent
from personaroute_bench.judging.dimensions import NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from personaroute_bench.users.rewards import Bools, Doubles, Floats

DOMINANT = 0.60
"""A user of whom one LLM takes more than this share of the choices is served by it alone."""

MANY = 0.10
"""If more than this share of the users are, the report says why."""

_BLOCK_USERS = 256


@dataclass(frozen=True, slots=True)
class ChoiceFigures:
    """What the choices of all personas come to. A tie of k counts 1/k for each LLM in it."""

    users: int
    queries: int
    pairs: int
    """(persona, query) pairs with a usable response."""
    chosen: int
    """Of these, with a choice; all shares below are over them."""
    ties: int
    """Choices of more than one LLM."""
    win_shares: dict[str, float]
    """LLM id to its share of the choices; empty where there is no choice."""
    dominated: float | None
    """Share of users with a choice of whom one LLM takes more than 60 %."""
    dominated_by: dict[str, int]
    """LLM id to the number of such users."""
    reason: str | None
    """Why, where they are more than a tenth."""
    held_out: int
    """Choices that the five shares below are over: the queries that did not pick the LLMs."""
    random: float | None
    """Share that a random usable response would get."""
    best_single: float | None
    """Share of the LLM that wins most for all."""
    best_per_user: float | None
    """Share of the LLM that wins most for each user."""
    user_blind_oracle: float | None
    """Share of the LLM that most users choose on the very query: all that can be had without
    knowing the user."""
    oracle: float | None
    """What knowing user and query gives; below 1 for ties alone."""
    best_single_llm: str | None

    def lines(self) -> list[str]:
        """Say it in sentences."""
        share = self.chosen / self.pairs if self.pairs else None
        result = [
            f"coverage: a choice for {self.chosen:,} of {self.pairs:,} (persona, query) pairs "
            f"({percent(share)}), {self.ties:,} of them ties; {self.users:,} personas, "
            f"{self.queries:,} queries, {len(self.win_shares)} LLMs"
        ]
        if not self.chosen:
            return result
        most, least = (
            pick(self.win_shares.items(), key=lambda item: item[1]) for pick in (max, min)
        )
        result.append(
            f"wins: from {percent(least[1])} ({least[0]}) to {percent(most[1])} ({most[0]}) of the "
            f"choices; for {percent(self.dominated)} of the users one LLM takes more than "
            f"{100 * DOMINANT:.0f} %"
        )
        if self.reason is not None:
            result.append(f"why one LLM wins so often: {self.reason}")
        if self.held_out:
            result.append(
                f"to personalise: the best single LLM ({self.best_single_llm}) gets "
                f"{percent(self.best_single)} of {self.held_out:,} held-out choices, the best LLM "
                f"of each user {percent(self.best_per_user)}, a user-blind oracle "
                f"{percent(self.user_blind_oracle)}, the oracle {percent(self.oracle)}, "
                f"a random choice {percent(self.random)}"
            )
        return result


def blocks(chosen: Bools) -> Iterator[Bools]:
    """Yield choices [U, Q, M] by blocks of users, so that temporary arrays stay small."""
    for start in range(0, len(chosen), _BLOCK_USERS):
        yield chosen[start : start + _BLOCK_USERS]


def shares(chosen: Bools) -> Doubles:
    """Divide each choice [..., M] among the k LLMs in it: 1/k each, 0 where there is none."""
    count = chosen.sum(axis=-1, keepdims=True, dtype=np.float64)
    result: Doubles = chosen / np.maximum(count, 1.0)
    return result


def choice_figures(
    chosen: Bools,
    ok: Bools,
    llm_ids: Sequence[str],
    train: Bools | None = None,
    ratings: Floats | None = None,
    performance: Floats | None = None,
    seed: int = 0,
) -> ChoiceFigures:
    """Sum up choices.

    Args:
        chosen: [U, Q, M]; empty where there is no choice, which is then left out of every share.
        ok: [Q, M] true where the response is usable.
        llm_ids: [M].
        train: [Q] queries that pick the best LLMs, the others counting; None: halves by the seed.
        ratings: [Q, M, D] and
        performance: [Q, M], NaN where unknown: to say why one LLM wins nearly everything.
        seed: of the halves.
    """
    users, queries, llms = chosen.shape
    if train is None:
        order = np.argsort(index_uniform(seed, "judging/halves", np.arange(queries)), kind="stable")
        train = np.zeros(queries, dtype=np.bool_)
        train[order[::2]] = True
    test = ~train
    of_query = np.zeros((queries, llms))
    of_user = np.zeros((2, users, llms))  # on training and on test queries
    known, ties, oracle, random = 0, 0, 0.0, 0.0
    chance = 1.0 / np.maximum(ok.sum(axis=1), 1)
    start = 0
    for block in blocks(chosen):
        share = shares(block)
        size = block.sum(axis=-1)
        known += int((size > 0).sum())
        ties += int((size > 1).sum())
        oracle += float(share[:, test].max(axis=-1, initial=0.0).sum())
        random += float(((size > 0) * chance)[:, test].sum())
        of_query += share.sum(axis=0)
        rows = slice(start, start + len(block))
        of_user[0, rows], of_user[1, rows] = share[:, train].sum(axis=1), share[:, test].sum(axis=1)
        start += len(block)

    both = of_user.sum(axis=0)  # [U, M]
    taken = both.sum(axis=1)
    active = taken > 0
    dominated = active & (both.max(axis=1, initial=0.0) > DOMINANT * taken)
    by = np.bincount(both[dominated].argmax(axis=1), minlength=llms).astype(np.int64)
    share_dominated = float(dominated.sum() / active.sum()) if active.any() else None
    single = int(of_user[0].sum(axis=0).argmax())
    # A user without a choice on the training queries has no best LLM but everybody's.
    own = np.where(of_user[0].any(axis=1), of_user[0].argmax(axis=1), single)
    held = of_user[1].sum()

    def part(value: float) -> float | None:
        return float(value / held) if held > 0.5 else None

    wins = both.sum(axis=0)
    reason = None
    if share_dominated is not None and share_dominated > MANY:
        reason = _why(by, wins / wins.sum(), ok, llm_ids, ratings, performance)
    return ChoiceFigures(
        users=users,
        queries=queries,
        pairs=users * int(ok.any(axis=1).sum()),
        chosen=known,
        ties=ties,
        win_shares=dict(zip(llm_ids, (wins / wins.sum()).tolist(), strict=True)) if known else {},
        dominated=share_dominated,
        dominated_by={llm_ids[m]: int(by[m]) for m in np.argsort(-by, kind="stable") if by[m]},
        reason=reason,
        held_out=round(float(held)),
        random=part(random),
        best_single=part(of_user[1][:, single].sum()),
        best_per_user=part(of_user[1][np.arange(users), own].sum()),
        user_blind_oracle=part(of_query[test].max(axis=1, initial=0.0).sum()),
        oracle=part(oracle),
        best_single_llm=llm_ids[single] if held > 0.5 else None,
    )


def _why(
    by: NDArray[np.int64],
    wins: Doubles,
    ok: Bools,
    llm_ids: Sequence[str],
    ratings: Floats | None,
    performance: Floats | None,
) -> str:
    """Tell what sets the LLM apart that takes nearly everything of the most users."""
    llm = int(by.argmax())
    text = (
        f"{llm_ids[llm]} is the one for {by[llm]:,} of {by.sum():,} such users, and takes "
        f"{percent(float(wins[llm]))} of all choices"
    )
    marks = []
    if performance is not None and np.isfinite(performance[ok]).any():
        known = ok & np.isfinite(performance)
        of_llm = performance[:, llm][known[:, llm]]
        if of_llm.size:
            mean = performance[known].mean()
            marks.append(f"its performance is {of_llm.mean():.2f}, {mean:.2f} on average")
    if ratings is not None:
        rated = ratings[:, llm][ok[:, llm]]  # [q, D]
        known_dimension = np.isfinite(rated).any(axis=0)
        lead = np.zeros(ratings.shape[-1])
        lead[known_dimension] = np.nanmean(rated[:, known_dimension], axis=0) - 0.5
        names = NAMES if len(NAMES) == len(lead) else [f"dimension {d}" for d in range(len(lead))]
        far = [d for d in np.argsort(-np.abs(lead), kind="stable")[:3] if abs(lead[d]) >= 0.05]
        if far:
            marks.append(
                "its style is steady, with ratings off the average by "
                + ", ".join(f"{lead[d]:+.2f} in {names[d]}" for d in far)
            )
    if not marks:
        return text + "; neither performance nor ratings set it apart, or none were given"
    return f"{text}; {'; '.join(marks)}; whoever cares most for that gets it on nearly every query"
