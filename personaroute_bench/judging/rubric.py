"""The rubric judge: an LLM rates the manner of each response once, whoever may read it.

    query, answers ──► RubricCall ──► run_calls, read_replies ──► Rated ──► ratings [Q, M, D]

What a persona takes then follows from its tastes (personaroute_bench.judging.choice), so a
thousand users cost as much as one: Q calls listwise, Q · M one by one, instead of U · Q.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from personaroute_bench.judging.calls import Calls, chat, check_judges, shuffled, usable_answers
from personaroute_bench.judging.dimensions import DIMENSIONS, NAMES
from personaroute_bench.judging.parsing import parse_ratings
from personaroute_bench.judging.prompts import load_prompt
from personaroute_bench.llms.types import LLM, ChatRequest, Reply
from personaroute_bench.tasks.types import Query
from personaroute_bench.users.rewards import Bools, Floats

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class RubricOptions:
    """How the rubric judge is asked. Everything here changes the prompts."""

    seed: int = 0
    mode: Literal["listwise", "single"] = "listwise"
    judge_schema: bool = False
    """Let the provider enforce the JSON schema (`response_format`); not every one can."""
    temperature: float | None = 0.0
    max_tokens: int | None = None
    """None: three times a reply that does as it is told, so that white space fits as well."""


@dataclass(frozen=True, slots=True)
class RubricCall:
    """One question to a judge."""

    request: ChatRequest
    query_id: str
    shown: tuple[str, ...]
    """LLM ids in the order shown; the first is Answer 1."""

    @property
    def expected_output(self) -> int:
        """Tokens of a reply that does as it is told."""
        return _reply_tokens(len(self.shown))


@dataclass(frozen=True, slots=True)
class Rated:
    """What became of a call."""

    judge: str
    query_id: str
    shown: tuple[str, ...]
    status: str
    """ok, unparsed, or a status of docs/statuses.md."""
    values: Floats
    """[k, D] in [0, 1]; NaN where there is no rating: everywhere unless ok."""
    cost_usd: float | None


def rubric_requests(
    queries: Sequence[Query],
    responses: pa.Table,
    judges: Sequence[LLM],
    options: RubricOptions = RubricOptions(),
) -> Calls[RubricCall]:
    """Return the calls, query by query; none is built before it is taken.

    Args:
        queries: to ask about, in order.
        responses: the `responses` table; only what is ok is rated.
        judges: each rates everything.
        options: listwise or one by one.

    Raises:
        UsageError: no judge, or a simulated one.
    """
    check_judges(judges)
    prompt = load_prompt(f"rubric-{options.mode}")
    rounds = [
        (item, shown)
        for item in usable_answers(queries, responses, least=1)
        for shown in (
            [shuffled(item.answers, options.seed, "rubric", item.query.query_id)]
            if options.mode == "listwise"
            else [[llm_id] for llm_id in item.answers]
        )
    ]

    def build(index: int) -> RubricCall:
        round_, configuration = divmod(index, len(judges))
        item, shown = rounds[round_]
        text = prompt.render(
            item.query.query,
            [item.answers[llm_id] for llm_id in shown],
            dimensions=DIMENSIONS,
            keys=", ".join(f'"{label}"' for label in range(1, len(shown) + 1)),
        )
        request = chat(
            judges[configuration],
            (("user", text),),
            schema=ratings_schema(len(shown)) if options.judge_schema else None,
            max_tokens=options.max_tokens or 3 * _reply_tokens(len(shown)),
            temperature=options.temperature,
            sample=0,
            tag=item.query.query_id,
        )
        return RubricCall(request, item.query.query_id, tuple(shown))

    return Calls(build, range(len(rounds) * len(judges)))


def ratings_schema(k: int) -> dict[str, Any]:
    """Return the JSON schema of the ratings of `k` answers, within what providers enforce."""

    def closed(names: Sequence[str], value: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": dict.fromkeys(names, value),
            "required": list(names),
            "additionalProperties": False,
        }

    scales = closed(NAMES, {"type": "integer", "enum": [1, 2, 3, 4, 5]})
    return closed([str(label) for label in range(1, k + 1)], scales)


def read_ratings(
    calls: Iterable[RubricCall], replies: Iterable[tuple[ChatRequest, Reply]]
) -> Iterator[Rated]:
    """Yield what became of each call; count their statuses before taking means.

    Args:
        calls: as they were asked.
        replies: from `read_replies` for the same calls, in the same order.

    Raises:
        ValueError: the two do not belong together.
    """
    for call, (request, reply) in zip(calls, replies, strict=True):
        if (request.tag, request.messages) != (call.request.tag, call.request.messages):
            raise ValueError(f"the reply to {request.tag!r} came for the call {call.request.tag!r}")
        k = len(call.shown)
        values = parse_ratings(reply.text, k) if reply.status == "ok" else None
        unparsed = reply.status == "ok" and values is None
        yield Rated(
            judge=request.llm.id,
            query_id=call.query_id,
            shown=call.shown,
            status="unparsed" if unparsed else reply.status,
            values=np.full((k, len(NAMES)), np.nan, np.float32) if values is None else values,
            cost_usd=reply.cost_usd,
        )


def ratings_table(rated: Iterable[Rated]) -> pa.Table:
    """Return the `ratings` table: a row a judge, response and dimension; null where none."""
    import pyarrow as pa

    from personaroute_bench.schemas import RATINGS

    rated = list(rated)
    sizes = [len(item.shown) for item in rated]
    values = np.concatenate([np.empty((0, len(NAMES)), np.float32), *(r.values for r in rated)])
    flat = values.reshape(-1)

    def each(names: Sequence[str]) -> pa.Array:
        """One name a response, to one a rating."""
        return pa.array(np.repeat(np.asarray(names, dtype=object), len(NAMES)), pa.string())

    table = {
        "query_id": each(np.repeat([r.query_id for r in rated], sizes).tolist()),
        "llm_id": each([llm_id for item in rated for llm_id in item.shown]),
        "judge": each(np.repeat([r.judge for r in rated], sizes).tolist()),
        "dimension": pa.array(list(NAMES) * len(values), pa.string()),
        "rating": pa.array(flat, mask=np.isnan(flat)),
    }
    return pa.table(table).cast(RATINGS)


def ratings_array(
    table: pa.Table, query_ids: Sequence[str], llm_ids: Sequence[str], judge: str | None = None
) -> Floats:
    """Return ratings as an array.

    Args:
        table: `ratings`.
        query_ids: [Q].
        llm_ids: [M]; ratings of others are left out.
        judge: of this judge; None: the mean over all judges that gave a rating.

    Returns:
        [Q, M, D] float32 in [0, 1], in the order of `dimensions.NAMES`; NaN where there is none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if judge is not None:
        table = table.filter(pc.equal(table["judge"].cast(pa.string()), judge))
    shape = (len(query_ids), len(llm_ids), len(NAMES))
    place: Any = [
        pc.fill_null(
            pc.index_in(table[name].cast(pa.string()), value_set=pa.array(ids, pa.string())), -1
        ).to_numpy()
        for name, ids in (("query_id", query_ids), ("llm_id", llm_ids), ("dimension", NAMES))
    ]
    rating = table["rating"].to_numpy()
    held: Bools = (np.stack(place) >= 0).all(axis=0) & ~np.isnan(rating)
    cell = np.ravel_multi_index([axis[held] for axis in place], shape)
    size = int(np.prod(shape))
    count = np.bincount(cell, minlength=size).reshape(shape)
    total = np.bincount(cell, rating[held], minlength=size).reshape(shape)
    mean = np.full(shape, np.nan, dtype=np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean


@lru_cache
def _reply_tokens(k: int) -> int:
    """Tokens of a compact reply about k answers, by the offline tokenizer."""
    from personaroute_bench.tokens import count_tokens

    labels = (str(label) for label in range(1, k + 1))
    return count_tokens(json.dumps({label: dict.fromkeys(NAMES, 3) for label in labels}))
