"""What direct and rubric judging share: usable answers, their order, and calls made when needed.

A thousand users times 240 queries are 240,000 prompts of several kilobytes each, so a list of
calls is a `Calls`: it knows how many there are, and builds each one when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import hash_uniform
from personaroute_bench.llms.types import LLM, ChatRequest
from personaroute_bench.tasks.types import Query

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.llms.estimate import LLMEstimate

ESTIMATE_SAMPLE = 1_000
"""So many calls are counted in full for an estimate; more would not change its digits."""


class Call(Protocol):
    """A question to a judge, and what has to be known to understand the reply."""

    @property
    def request(self) -> ChatRequest:
        """What is sent."""
        ...

    @property
    def expected_output(self) -> int:
        """Tokens of a reply that does as it is told."""
        ...


_T = TypeVar("_T")
_C = TypeVar("_C", bound=Call)


class Calls(Sequence[_T], Generic[_T]):
    """A read-only sequence whose items are built each time they are taken."""

    def __init__(self, build: Callable[[int], _T], indices: range):
        self._build = build
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Calls[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | Calls[_T]:
        chosen = self._indices[index]
        return Calls(self._build, chosen) if isinstance(chosen, range) else self._build(chosen)


def requests_of(calls: Sequence[_C]) -> Sequence[ChatRequest]:
    """Return the requests of the calls, for `run_calls` and `read_replies`, as lazily built."""
    return Calls(lambda index: calls[index].request, range(len(calls)))


@dataclass(frozen=True, slots=True)
class Answered:
    """A query with its usable responses."""

    query: Query
    answers: dict[str, str]
    """LLM id to text, in the order of the table."""


def usable_answers(queries: Sequence[Query], responses: pa.Table, least: int) -> list[Answered]:
    """Return the queries that have at least `least` responses of status ok, with those.

    Args:
        queries: in the order to ask about them.
        responses: columns query_id, llm_id, response and status of the `responses` table.
        least: two for a choice, one for a rating.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ok = responses.filter(pc.equal(responses["status"].cast(pa.string()), "ok"))
    columns = (ok[name].cast(pa.string()) for name in ("query_id", "llm_id", "response"))
    found: dict[str, dict[str, str]] = {query.query_id: {} for query in queries}
    for query_id, llm_id, text in zip(*(column.to_pylist() for column in columns), strict=True):
        if query_id in found:
            found[query_id][llm_id] = text
    answered = (Answered(query, found[query.query_id]) for query in queries)
    return [item for item in answered if len(item.answers) >= least]


def check_judges(judges: Sequence[LLM]) -> None:
    """Refuse judges that cannot judge.

    Raises:
        UsageError: there is none, one stands twice, or one is simulated.
    """
    if not judges:
        raise UsageError("no judge LLM is given; name at least one with --judge-llm")
    ids = [judge.id for judge in judges]
    for place, judge in enumerate(judges):
        if judge.id in ids[:place]:
            raise UsageError(
                f"judge LLM {judge.id!r} is given twice; name each once (--repeats asks again)"
            )
        if judge.provider == "simulated":
            raise UsageError(
                f"judge LLM {judge.id!r} is simulated and cannot read; name a real one with "
                "--judge-llm, or take --judge embedded"
            )


def shuffled(ids: Iterable[str], seed: int, *key: str) -> list[str]:
    """Return ids in an order that depends on the seed and the key only.

    Each id has its own hash, so that without one of them the others stand as they stood.
    """
    return sorted(
        ids, key=lambda name: hash_uniform(seed, "judging/order", "\x1f".join((*key, name)))
    )


def chat(
    judge: LLM,
    messages: tuple[tuple[str, str], ...],
    *,
    schema: dict[str, Any] | None,
    max_tokens: int,
    temperature: float | None,
    sample: int,
    tag: str,
) -> ChatRequest:
    """Return the request of a call; with a schema, the provider is asked to enforce it."""
    wanted = {"name": "judgment", "strict": True, "schema": schema}
    return ChatRequest(
        llm=judge,
        messages=messages,
        max_tokens=max_tokens,
        temperature=temperature,
        response_format=None if schema is None else {"type": "json_schema", "json_schema": wanted},
        sample=sample,
        tag=tag,
    )


def judge_estimate(
    calls: Sequence[Call], settled: Container[str] | None = None
) -> list[LLMEstimate]:
    """Estimate calls, tokens and USD per judge, as `llms.estimate.estimate` does for responses.

    The expected output is a bare reply in the form that is asked for; a judge that reasons
    first writes more, up to the cap, which is the high figure. Beyond `ESTIMATE_SAMPLE` calls a
    random sample (always the same) is counted and scaled up: the number of calls stays exact,
    since each judge is asked equally often, tokens and money are within a few per cent.

    Args:
        calls: all calls of one kind.
        settled: ledger keys that have their answer already.
    """
    import numpy as np

    from personaroute_bench.llms.estimate import estimate

    total = len(calls)
    number = min(total, ESTIMATE_SAMPLE)
    places = np.sort(np.random.default_rng(0).choice(total, number, replace=False))
    sample = [calls[int(place)] for place in places]
    requests = [call.request for call in sample]
    expected = {id(r): c.expected_output for r, c in zip(requests, sample, strict=True)}
    counted = estimate(requests, settled, lambda request: expected[id(request)])
    return [_scaled(part, total // len(counted)) for part in counted]


def _scaled(part: LLMEstimate, total: int) -> LLMEstimate:
    """Scale one judge's part of a sample up to all its calls."""
    factor = total / (part.calls + part.settled)
    settled = round(part.settled * factor)

    def usd(value: float | None) -> float | None:
        return None if value is None else value * factor

    def tokens(value: int) -> int:
        return math.ceil(value * factor)

    return replace(
        part,
        calls=total - settled,
        settled=settled,
        prompt_tokens=tokens(part.prompt_tokens),
        output_low=tokens(part.output_low),
        output_expected=tokens(part.output_expected),
        output_high=None if part.output_high is None else tokens(part.output_high),
        usd_low=usd(part.usd_low),
        usd_expected=usd(part.usd_expected),
        usd_high=usd(part.usd_high),
    )
