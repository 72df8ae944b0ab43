"""The `responses` table: from replies or recorded rows to performance and cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from personaroute_bench.config import DataConfig
from personaroute_bench.hashing import digest
from personaroute_bench.interactions import ResponseGrid
from personaroute_bench.llms.types import LLM, STATUSES, ChatRequest, Reply
from personaroute_bench.schemas import RESPONSES
from personaroute_bench.tasks.types import Query, TaskSet
from personaroute_bench.users.rewards import normalise_cost


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many responses are there, of what status, at what price."""

    statuses: dict[str, int]
    by_llm: dict[str, dict[str, Any]]
    """LLM id to rows, ok, mean performance (over ok), cost_usd (over known), and their counts."""

    @property
    def total(self) -> int:
        """All (query, LLM) pairs."""
        return sum(self.statuses.values())

    @property
    def ok(self) -> int:
        """Pairs whose response is ok."""
        return self.statuses.get("ok", 0)


def requests_for(taskset: TaskSet, llms: Sequence[LLM], data: DataConfig) -> list[ChatRequest]:
    """Return one request a (query, LLM), in the order of the table.

    What a simulated LLM answers follows from the seed and from what it knows of the query, so both
    are part of its request, and of the ledger's key.
    """
    known = {
        query.query_id: digest([data.seed, query.query_id, query.prompt, query.ground_truth])
        for query in taskset.queries
    }

    def asked(llm: LLM, query: Query) -> LLM:
        if llm.provider != "simulated":
            return llm
        return replace(llm, parameters={**llm.parameters, "simulation": known[query.query_id]})

    return [
        ChatRequest(
            llm=asked(llm, query),
            messages=(("user", query.prompt),),
            max_tokens=data.max_tokens,
            temperature=data.temperature,
            tag=query.query_id,
        )
        for query in taskset.queries
        for llm in llms
    ]


def rows_from_replies(
    replies: Iterable[tuple[ChatRequest, Reply]], queries: Mapping[str, Query]
) -> Iterator[dict[str, Any]]:
    """Turn replies into rows of the table (without the normalised cost).

    An LLM one of whose replies says that it is simulated is so throughout, failures included.
    """
    from personaroute_bench.scoring.registry import score

    answered = list(replies)
    simulated = {
        request.llm.id
        for request, reply in answered
        if reply.simulated or request.llm.provider == "simulated"
    }
    for request, reply in answered:
        query = queries[request.tag]
        scored = reply.status == "ok"
        yield {
            "query_id": query.query_id,
            "llm_id": request.llm.id,
            "response": reply.text,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "reasoning_tokens": reply.reasoning_tokens,
            "cached_tokens": reply.cached_tokens,
            "usage_source": reply.usage_source,
            "cost_usd": reply.cost_usd,
            "latency_s": reply.latency_s,
            "requested_model": request.llm.model,
            "resolved_model": reply.resolved_model,
            "finish_reason": reply.finish_reason,
            "provenance": "simulated" if request.llm.id in simulated else "live",
            "status": reply.status,
            "error_type": reply.error_type,
            "performance": (
                score(query.metric, reply.text, query.ground_truth) if scored else None
            ),
        }


def rows_from_recorded(
    recorded: pa.Table, queries: Mapping[str, Query], llms: Mapping[str, LLM]
) -> Iterator[dict[str, Any]]:
    """Turn recorded responses into rows of the table (without the normalised cost).

    A recorded response without usage has its tokens counted offline, and says so. A metric that
    no function can compute takes the recorded score.
    """
    from personaroute_bench.llms.prices import cost_of
    from personaroute_bench.scoring.registry import is_recorded_only, score
    from personaroute_bench.tokens import count_message_tokens, count_tokens

    prompt_tokens = {
        query.query_id: count_message_tokens([("user", query.prompt)]) for query in queries.values()
    }
    for row in recorded.to_pylist():
        query, llm = queries[row["query_id"]], llms[row["llm_id"]]
        text = row["response"] or ""
        reported = row.get("prompt_tokens") is not None and row.get("completion_tokens") is not None
        tokens_in = row["prompt_tokens"] if reported else prompt_tokens[query.query_id]
        tokens_out = row["completion_tokens"] if reported else count_tokens(text)
        cost = row.get("cost_usd")
        if cost is None:
            cost = cost_of(
                llm,
                prompt_tokens=tokens_in,
                completion_tokens=tokens_out,
                cached_tokens=row.get("cached_tokens") if reported else None,
            )
        status = row.get("status") or ("ok" if text.strip() else "empty")
        error_type, performance = row.get("error_type"), None
        if status == "ok" and not is_recorded_only(query.metric):
            performance = score(query.metric, text, query.ground_truth)
        elif status == "ok":
            performance = row.get("recorded_score")
            if performance is None:
                status, error_type = "error", "missing_score"
        yield {
            "query_id": query.query_id,
            "llm_id": llm.id,
            "response": text,
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "reasoning_tokens": row.get("reasoning_tokens"),
            "cached_tokens": row.get("cached_tokens"),
            "usage_source": "provider" if reported else "tokenizer",
            "cost_usd": cost,
            "latency_s": row.get("latency_s"),
            "requested_model": llm.model,
            "resolved_model": row.get("resolved_model"),
            "finish_reason": row.get("finish_reason"),
            "provenance": "recorded",
            "status": status,
            "error_type": error_type,
            "performance": performance,
        }


def build_table(
    rows: Iterable[dict[str, Any]], taskset: TaskSet, llms: Sequence[LLM], data: DataConfig
) -> pa.Table:
    """Return the `responses` table, one row a (query, LLM) in the order of their tables."""
    columns: dict[str, list[Any]] = {name: [] for name in RESPONSES.names if name != "cost"}
    for row in rows:
        for name, values in columns.items():
            values.append(row[name])
    shape = (len(taskset.queries), len(llms))
    performance = _grid(columns["performance"], shape)
    usable = ~np.isnan(performance)
    cost_usd = _grid(columns["cost_usd"], shape)
    cost = normalise_cost(cost_usd, usable, task_numbers(taskset), data.cost_normalisation)
    flat = cost.reshape(-1)
    arrays = {
        name: pa.array(values, type=_plain(RESPONSES.field(name).type))
        for name, values in columns.items()
    }
    arrays["cost"] = pa.array(flat, mask=np.isnan(flat))
    return pa.table(arrays).select(RESPONSES.names).cast(RESPONSES)


def grid_of(
    table: pa.Table, taskset: TaskSet, llms: Sequence[LLM], split: list[str]
) -> ResponseGrid:
    """Return the table's numbers as arrays [Q, M]."""
    shape = (len(taskset.queries), len(llms))

    def dense(name: str, dtype: Any) -> Any:
        return table[name].to_numpy().astype(dtype).reshape(shape)

    return ResponseGrid(
        query_ids=np.asarray([query.query_id for query in taskset.queries]),
        llm_ids=np.asarray([llm.id for llm in llms]),
        split=np.asarray(split),
        ok=pc.equal(table["status"].cast(pa.string()), "ok").to_numpy().reshape(shape),
        performance=dense("performance", np.float32),
        cost_usd=dense("cost_usd", np.float64),
        cost=dense("cost", np.float32),
        completion_tokens=dense("completion_tokens", np.float64),
    )


def coverage_of(table: pa.Table, llms: Sequence[LLM]) -> Coverage:
    """Count statuses, and mean performance and cost of each LLM with their coverage."""
    status = np.asarray(table["status"].combine_chunks().cast(pa.string()).to_pylist())
    llm = np.asarray(table["llm_id"].combine_chunks().cast(pa.string()).to_pylist())
    performance = table["performance"].to_numpy()
    cost = table["cost_usd"].to_numpy()
    by_llm: dict[str, dict[str, Any]] = {}
    for candidate in llms:
        mine = llm == candidate.id
        scored = mine & ~np.isnan(performance)
        priced = mine & ~np.isnan(cost)
        by_llm[candidate.id] = {
            "rows": int(mine.sum()),
            "ok": int((status[mine] == "ok").sum()),
            "scored": int(scored.sum()),
            "performance": float(performance[scored].mean()) if scored.any() else None,
            "priced": int(priced.sum()),
            "cost_usd": float(cost[priced].mean()) if priced.any() else None,
        }
    counts = {name: int((status == name).sum()) for name in STATUSES}
    return Coverage({name: count for name, count in counts.items() if count}, by_llm)


def task_numbers(taskset: TaskSet) -> Any:
    """[Q] the place of each query's task in the tasks table."""
    place = {task.task_id: number for number, task in enumerate(taskset.tasks)}
    return np.asarray([place[query.task_id] for query in taskset.queries], dtype=np.int64)


def request_fingerprint(data: DataConfig) -> dict[str, Any]:
    """Return what of the configuration decides the responses beside queries and pool."""
    return {
        "temperature": data.temperature,
        "max_tokens": data.max_tokens,
        "estimate_usage": data.estimate_usage,
    }


def _grid(values: list[Any], shape: tuple[int, int]) -> Any:
    return np.asarray([np.nan if v is None else v for v in values], dtype=np.float64).reshape(shape)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
