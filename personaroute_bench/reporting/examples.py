"""Examples: queries on which two users got different LLMs, what it was worth, and why.

They are extremes, chosen by a rule that is said on the page: first where swapping what the two
users got would have cost them most, then where it would have gained them most. The average over
all users and queries is the router's shuffled gain, not what examples show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation.texts import printable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Floats, Ints
    from personaroute_bench.reporting.joined import Joined
    from personaroute_bench.reporting.results import Row

QUERY_CHARS = 420
PERSONA_CHARS = 700
WEIGHTS = {
    "multi_cost_efficiency": (("performance_weight", "performance"), ("cost_weight", "cost")),
    "mixed": (
        ("mixed_performance_weight", "performance"),
        ("mixed_cost_weight", "cost"),
        ("mixed_style_weight", "style"),
    ),
    "llm_judge": (("style_performance_weight", "right answers beside style"),),
}
# Strategies in which the manner of an answer counts, and so who the user is.
PERSONAL = ("llm_judge", "mixed")


@dataclass(frozen=True, slots=True)
class Swap:
    """One query and two users who got different LLMs; indices into users, queries and LLMs."""

    query: int
    users: tuple[int, int]
    llms: tuple[int, int]
    worth: float
    """What both together would lose if each got the other's LLM; below 0 they would gain."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two users got."""

    user: str
    taste: str
    """Weights and persona as far as the data set has them."""
    llm: str
    status: str
    performance: float | None
    cost_usd: float | None
    reward: float
    other: float
    """The reward with what the other user got."""
    best: str
    """The LLMs that would have been best for this user."""


@dataclass(frozen=True, slots=True)
class Example:
    """A `Swap` in words."""

    query: str
    task: str
    worth: float
    sides: tuple[Side, Side]


def most_telling(choice: Ints, reward: Floats, count: int) -> tuple[list[Swap], list[Swap]]:
    """Return swaps that would cost most, and swaps that would gain most; at most one a query.

    With g_u = r[u, q, a] − r[u, q, b] of a user who got a, and the same of one who got b, a swap
    costs g_u + g_v; so of each query and pair of LLMs only the users with the largest and with the
    smallest g matter.

    Args:
        choice: [U, Q] index of an LLM, negative where invalid.
        reward: [U, Q, M] failures charged; NaN in rows without any reward.
        count: of either kind.
    """
    good: list[Swap] = []
    bad: list[Swap] = []
    for q in range(choice.shape[1]):
        usable = (choice[:, q] >= 0) & np.isfinite(reward[:, q]).all(axis=-1)
        users = np.flatnonzero(usable)
        if not len(users):
            continue
        own = reward[users, q].astype(np.float64)  # [u, M]
        got = choice[users, q]
        gap = own[np.arange(len(users)), got][:, None] - own  # [u, M] over each other LLM
        taken = np.unique(got)
        found: list[Swap] = []
        for i, a in enumerate(taken.tolist()):
            for b in taken[i + 1 :].tolist():
                in_a, in_b = np.flatnonzero(got == a), np.flatnonzero(got == b)
                for pick in (np.argmax, np.argmin):
                    u, v = in_a[pick(gap[in_a, b])], in_b[pick(gap[in_b, a])]
                    worth = float(gap[u, b] + gap[v, a])
                    found.append(Swap(q, (int(users[u]), int(users[v])), (a, b), worth))
        if found:
            good.append(max(found, key=lambda swap: swap.worth))
            bad.append(min(found, key=lambda swap: swap.worth))
    good = sorted((s for s in good if s.worth > 0), key=lambda s: (-s.worth, s.query))
    bad = sorted((s for s in bad if s.worth < 0), key=lambda s: (s.worth, s.query))
    return good[:count], bad[:count]


def find_examples(
    joined: Joined, row: Row, gains: int, losses: int
) -> tuple[list[Example], list[Example]]:
    """Return examples of a router's first seed: where knowing users paid, and where it did not."""
    good, bad = most_telling(joined.choices[row.name][0], joined.charged, max(gains, losses))
    return (
        [_example(joined, swap) for swap in good[:gains]],
        [_example(joined, swap) for swap in bad[:losses]],
    )


def _example(joined: Joined, swap: Swap) -> Example:
    benchmark, q = joined.benchmark, int(joined.queries[swap.query])
    (u, v), (a, b) = swap.users, swap.llms
    return Example(
        query=shorten(str(benchmark.queries["query"][q].as_py()), QUERY_CHARS),
        task=printable(str(benchmark.task_ids[benchmark.task_of_query[q]])),
        worth=swap.worth,
        sides=(_side(joined, u, swap.query, a, b), _side(joined, v, swap.query, b, a)),
    )


def _side(joined: Joined, u: int, q: int, llm: int, other: int) -> Side:
    benchmark, outcomes = joined.benchmark, joined.outcomes
    best = np.flatnonzero(outcomes.chosen[u, q])
    return Side(
        user=printable(str(joined.user_ids[u])),
        taste=taste_of(joined, u),
        llm=printable(str(joined.llm_ids[llm])),
        status=str(benchmark.status[joined.queries[q], llm]),
        performance=_known(outcomes.performance[q, llm]),
        cost_usd=_known(outcomes.cost_usd[q, llm]),
        reward=float(joined.charged[u, q, llm]),
        other=float(joined.charged[u, q, other]),
        best=", ".join(printable(str(joined.llm_ids[m])) for m in best[:3])
        + (f" and {len(best) - 3} more" if len(best) > 3 else ""),
    )


def taste_of(joined: Joined, u: int) -> str:
    """Say what the users table tells of a user's taste: the weights, and the persona if it counts.

    Nothing where the table has neither.
    """
    user = {
        name: joined.benchmark.users[name][int(joined.users[u])].as_py()
        for name in joined.benchmark.users.column_names
    }
    strategy, parts = joined.result.strategy, []
    for column, what in WEIGHTS.get(strategy, ()):
        if isinstance(user.get(column), float):
            parts.append(f"weight of {what} {user[column]:.2f}")
    if strategy == "drift":
        parts += _drift(user)
    persona = user.get("persona")
    text = "; ".join(parts)
    if strategy in PERSONAL and isinstance(persona, str) and persona.strip():
        text += (". " if text else "") + f"“{shorten(persona, PERSONA_CHARS)}”"
    return text


def _drift(user: dict[str, Any]) -> list[str]:
    weights = user.get("drift_performance_weights") or []
    shown = " → ".join(f"{weight:.2f}" for weight in weights)
    kind = user.get("drift_kind")
    return [f"weight of performance over time {shown} ({kind})"] if shown else []


def shorten(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters, cut at a word."""
    line = printable(text)
    if len(line) <= most:
        return line
    cut = line[: most - 2]
    space = cut.rfind(" ")
    return (cut[:space] if space >= most // 2 else cut) + " …"


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
