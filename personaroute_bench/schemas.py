"""The tables of a data set: one Arrow schema each, units in the field metadata.

Ids are strings, dictionary-encoded; text never repeats per user. `SCHEMA_VERSION` stands in the
metadata of every file and in the manifest; raise it when a column changes its meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from personaroute_bench.judging.dimensions import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1
DRIFT_SEGMENTS = 5
SPLITS = ("train", "validation", "test")
STRATEGIES = ("multi_cost_efficiency", "llm_judge", "mixed", "drift")

_ID = pa.dictionary(pa.int32(), pa.string())


def _field(
    name: str, kind: pa.DataType, meaning: str, unit: str = "", *, nullable: bool = False
) -> pa.Field:
    metadata = {"meaning": meaning}
    if unit:
        metadata["unit"] = unit
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


def _schema(table: str, fields: Sequence[pa.Field]) -> pa.Schema:
    return pa.schema(
        list(fields),
        metadata={"personaroute_table": table, "personaroute_schema": str(SCHEMA_VERSION)},
    )


TASKS = _schema(
    "tasks",
    [
        _field("task_id", pa.string(), "key"),
        _field("name", pa.string(), "readable name"),
        _field("description", pa.string(), "what is asked"),
        _field("metric", pa.string(), "how a response is scored; see docs/scoring.md"),
        _field("source", pa.string(), "where the queries come from"),
        _field("licence", pa.string(), "licence of the queries"),
    ],
)


def queries_schema(dimension: int) -> pa.Schema:
    """Return the schema of `queries` for embeddings of so many dimensions."""
    return _schema(
        "queries",
        [
            _field("query_id", pa.string(), "key"),
            _field("task_id", pa.string(), "task"),
            _field("split", pa.string(), "train, validation or test (the general setting)"),
            _field("query", pa.string(), "what the user asks"),
            _field("prompt", pa.string(), "user message that was sent to the LLMs"),
            _field("ground_truth", pa.string(), "reference answer", nullable=True),
            _field("metric", pa.string(), "how a response is scored"),
            _field("embedding", pa.list_(pa.float32(), dimension), "of the query, unit length"),
            _field("embedder", pa.string(), "what made the embedding"),
        ],
    )


LLMS = _schema(
    "llms",
    [
        _field("llm_id", pa.string(), "key"),
        _field("name", pa.string(), "readable name"),
        _field("description", pa.string(), "one sentence"),
        _field("family", pa.string(), "model family"),
        _field("parameters", pa.float64(), "size", "10^9 parameters", nullable=True),
        _field("input_price", pa.float64(), "prompt tokens", "USD per 10^6 tokens", nullable=True),
        _field("output_price", pa.float64(), "output tokens", "USD per 10^6 tokens", nullable=True),
        _field("price_source", pa.string(), "where the prices come from", nullable=True),
        _field("price_date", pa.string(), "when the prices were read", nullable=True),
        _field("provider", pa.string(), "who serves it"),
        _field("model", pa.string(), "the provider's own id"),
    ],
)

RESPONSES = _schema(
    "responses",
    [
        _field("query_id", _ID, "key"),
        _field("llm_id", _ID, "key"),
        _field("response", pa.string(), "verbatim text"),
        _field("prompt_tokens", pa.int32(), "input", "tokens", nullable=True),
        _field("completion_tokens", pa.int32(), "output as billed", "tokens", nullable=True),
        _field("reasoning_tokens", pa.int32(), "part of the output", "tokens", nullable=True),
        _field("cached_tokens", pa.int32(), "part of the input", "tokens", nullable=True),
        _field("usage_source", _ID, "provider, tokenizer or unknown"),
        _field("cost_usd", pa.float64(), "null where unknown", "USD", nullable=True),
        _field("latency_s", pa.float32(), "wall clock of the call", "s", nullable=True),
        _field("requested_model", _ID, "id that was asked for"),
        _field("resolved_model", _ID, "id that the provider says answered", nullable=True),
        _field("finish_reason", _ID, "as the provider gave it", nullable=True),
        _field("provenance", _ID, "live, recorded or simulated"),
        _field("status", _ID, "ok, truncated, refused, empty, error or skipped_budget"),
        _field("error_type", _ID, "for status error; see docs/statuses.md", nullable=True),
        _field("performance", pa.float32(), "task metric; null unless ok", "[0, 1]", nullable=True),
        _field("cost", pa.float32(), "normalised within task", "[0, 1]", nullable=True),
    ],
)

USERS = _schema(
    "users",
    [
        _field("user_id", pa.string(), "key"),
        _field("population", pa.string(), "law the weights are drawn from"),
        _field("cohort", pa.string(), "known or new"),
        _field("performance_weight", pa.float64(), "multi_cost_efficiency: α", "[0, 1]"),
        _field("cost_weight", pa.float64(), "multi_cost_efficiency: β", "[0, 1]"),
        # Null unless the data set has a strategy that needs them.
        _field("persona_id", pa.string(), "who the user is", nullable=True),
        _field("persona", pa.string(), "readable as a system prompt", nullable=True),
        _field("archetype", pa.string(), "kind of person", nullable=True),
        _field(
            "taste",
            pa.list_(pa.float32(), len(NAMES)),
            "weights on personaroute_bench.judging.dimensions, in their order",
            "[-1, 1]",
            nullable=True,
        ),
        _field(
            "style_performance_weight",
            pa.float64(),
            "llm_judge: how much right answers matter beside style",
            "[0, 1]",
            nullable=True,
        ),
        _field("mixed_performance_weight", pa.float64(), "mixed: α", "[0, 1]", nullable=True),
        _field("mixed_cost_weight", pa.float64(), "mixed: β", "[0, 1]", nullable=True),
        _field("mixed_style_weight", pa.float64(), "mixed: γ", "[0, 1]", nullable=True),
        _field("drift_kind", pa.string(), "gradual, sudden or recurring", nullable=True),
        _field(
            "drift_performance_weights",
            pa.list_(pa.float64(), DRIFT_SEGMENTS),
            "drift: α of each segment of time; β = 1 - α",
            "[0, 1]",
            nullable=True,
        ),
    ],
)

_INTERACTIONS = [
    _field("user_id", _ID, "key"),
    _field("query_id", _ID, "key"),
    _field("llm_id", _ID, "key"),
    _field("performance", pa.float32(), "task metric; null unless ok", "[0, 1]", nullable=True),
    _field("cost_usd", pa.float64(), "of the response", "USD", nullable=True),
    _field("cost", pa.float32(), "normalised within task", "[0, 1]", nullable=True),
    _field("reward", pa.float32(), "of this user; null unless ok", nullable=True),
    _field("chosen", pa.bool_(), "true for every tied best candidate"),
]
_MORE_INTERACTIONS = {
    "mixed": [_field("style", pa.float32(), "how much the user likes its manner; 0 is average")],
    "drift": [
        _field("time", pa.int32(), "place of the query in the user's life, from 0"),
        _field("segment", pa.int8(), "segment of time, from 0"),
    ],
}


def interactions_schema(strategy: str) -> pa.Schema:
    """Return the schema of ``interactions/STRATEGY``; some strategies have columns of their own."""
    return _schema("interactions", [*_INTERACTIONS, *_MORE_INTERACTIONS.get(strategy, [])])


RATINGS = _schema(
    "ratings",
    [
        _field("query_id", _ID, "key"),
        _field("llm_id", _ID, "key"),
        _field("judge", _ID, "key: embedded, or the judge LLM's id"),
        _field("dimension", _ID, "key: one of personaroute_bench.judging.dimensions"),
        _field("rating", pa.float32(), "null where there is none", "[0, 1]", nullable=True),
    ],
)

JUDGMENTS = _schema(
    "judgments",
    [
        _field("persona_id", _ID, "key"),
        _field("query_id", _ID, "key"),
        _field("judge", _ID, "key: the judge LLM's id"),
        _field("prompt_hash", _ID, "key: SHA-256 of the prompt template"),
        _field("mode", _ID, "key: listwise or pairwise"),
        _field("order_id", pa.int32(), "key: 0 the first order shown, 1 the reverse"),
        _field("repeat", pa.int32(), "key: counted from 0"),
        _field("pair", pa.int32(), "key: number of the pair; 0 where listwise"),
        _field("shown", pa.list_(pa.string()), "LLM ids in the order shown, under blind labels"),
        _field("chosen", pa.list_(pa.string()), "LLM ids; several for a tie, none unless ok"),
        _field("status", _ID, "ok, unparsed, or a status of docs/statuses.md"),
        _field("reply", pa.string(), "verbatim"),
        _field("cost_usd", pa.float64(), "null where unknown", "USD", nullable=True),
    ],
)

PAIRS = _schema(
    "pairs",
    [
        _field("user_id", _ID, "key"),
        _field("query_id", _ID, "key"),
        _field("a", _ID, "key: first LLM"),
        _field("b", _ID, "key: second LLM"),
        _field("outcome", _ID, "a, b or tie"),
        _field("split", _ID, "train, validation or test"),
    ],
)
