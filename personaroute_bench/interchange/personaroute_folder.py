"""The tables of an imported data set: what the CSV rows become on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from personaroute_bench.benchmark import Bools
from personaroute_bench.embeddings import unit_rows
from personaroute_bench.errors import UsageError
from personaroute_bench.files import write_json, write_table
from personaroute_bench.folder import MANIFEST, DataFolder
from personaroute_bench.interactions import Block, Law, ResponseGrid, write_interactions
from personaroute_bench.interchange.embedding_text import read_embeddings
from personaroute_bench.interchange.interaction_rows import Collected
from personaroute_bench.schemas import LLMS, RESPONSES, SPLITS, TASKS, USERS, queries_schema

if TYPE_CHECKING:
    from personaroute_bench.embeddings import Embedder

POPULATION = "published"
LENGTH = pa.field(
    "embedding_length",
    pa.float32(),
    metadata={"meaning": "length of the published vector; `embedding` is it at unit length"},
)
DESCRIPTION = pa.field(
    "description_embedding",
    pa.list_(pa.float32()),
    metadata={"meaning": "published embedding of the description, as it was"},
)


def write_folder(
    folder: DataFolder,
    data: Collected,
    strategy: str,
    configuration: Mapping[str, Any],
    defining: Mapping[str, Any],
    maker: Embedder | None,
    known: Mapping[str, Mapping[str, Any]],
    mismatches: Mapping[str, int],
) -> dict[str, Any]:
    """Write tables, interactions, card, and last the manifest, which is returned."""
    from personaroute_bench.interchange.personaroute_card import write_card
    from personaroute_bench.manifest import build_manifest

    folder.begin_change()
    tables = {
        "tasks": tasks_table(data, str(configuration["config"])),
        "queries": queries_table(data, maker),
        "llms": llms_table(data, known),
        "responses": responses_table(data),
        "users": users_table(data),
    }
    for name, table in tables.items():
        write_table(folder.path / f"{name}.parquet", table, "recorded")
    shape = data.effect.shape
    usable: Bools = np.asarray(~np.isnan(data.values)).any(axis=0)  # type: ignore[assignment]
    counts, headroom = write_interactions(
        folder.path / "interactions" / strategy,
        ResponseGrid(
            query_ids=np.asarray(tables["queries"]["query_id"].to_pylist()),
            llm_ids=np.asarray(data.llm_ids),
            split=np.asarray(SPLITS)[data.split_of_query],
            ok=np.ones(shape, dtype=np.bool_),
            performance=data.effect.astype(np.float32),
            cost_usd=np.full(shape, np.nan),
            cost=data.cost.astype(np.float32),
            completion_tokens=np.full(shape, np.nan),
        ),
        np.asarray(data.user_ids),
        Law(strategy, usable, lambda start, stop: Block(data.values[start:stop])),
        provenance="recorded",
    )
    facts = {
        "provenance": ["recorded"],
        "source": {"format": "personaroute-csv", "config": configuration["config"]},
        "strategies": {strategy: {"rows": counts, "headroom": headroom.as_json()}},
        "coverage": _coverage(data),
        # Nothing was asked, so nothing was paid: this zero is known.
        "spend": {"calls": 0, "usd": 0.0, "unknown_calls": 0, "unknown_usd_at_most": 0.0},
        "prices": tables["llms"]
        .select(["llm_id", "input_price", "output_price", "price_source", "price_date"])
        .to_pylist(),
        "mismatches": dict(mismatches),
        "blank_responses": sum(not text for row in data.responses for text in row),
    }
    write_card(folder.path, configuration, facts, tables)
    manifest = build_manifest(
        folder.path,
        configuration=configuration,
        defining=defining,
        dataset_id=folder.dataset_id,
        facts=facts,
    )
    write_json(folder.path / MANIFEST, manifest)
    return manifest


def tasks_table(data: Collected, config: str) -> pa.Table:
    """Return `tasks`, with the published embedding of the description where there is one."""
    told = data.task_texts.get("task_description", [None] * len(data.task_ids))
    metrics = data.query_texts.get("metric", [None] * len(data.queries))
    first = [int((data.task_of_query == task).argmax()) for task in range(len(data.task_ids))]
    table = pa.table(
        {
            "task_id": data.task_ids,
            "name": data.task_ids,
            "description": [text or name for text, name in zip(told, data.task_ids, strict=True)],
            "metric": [metrics[q] or "unknown" for q in first],
            "source": [f"PersonaRoute-Bench CSV, {config}"] * len(first),
            "licence": ["unknown"] * len(first),
        },
        schema=TASKS,
    )
    printed = data.task_texts.get("task_description_embedding")
    if printed and all(printed):
        vectors = _vectors([str(text) for text in printed], "task_description_embedding")
        table = table.append_column(DESCRIPTION, pa.array(list(vectors), DESCRIPTION.type))
    return table


def queries_table(data: Collected, maker: Embedder | None) -> pa.Table:
    """Return `queries`; published vectors at unit length, with the length that they had."""
    if maker is not None:
        vectors = unit = np.ascontiguousarray(maker.embed(data.queries), dtype=np.float32)
    else:
        printed = data.query_texts["query_embedding"]
        if not all(printed):
            raise UsageError(
                f"query_embedding of query {data.queries[printed.index(None)][:60]!r} is empty; "
                "fill it, or embed all queries anew with --embedder hashing"
            )
        vectors = _vectors([str(text) for text in printed], "query_embedding")
        unit = unit_rows(vectors)
    metrics = data.query_texts.get("metric", [None] * len(data.queries))
    table = pa.table(
        {
            "query_id": query_ids(data),
            "task_id": [data.task_ids[task] for task in data.task_of_query],
            "split": np.asarray(SPLITS)[data.split_of_query].tolist(),
            "query": data.queries,
            "prompt": data.queries,
            "ground_truth": pa.array(
                data.query_texts.get("ground_truth", [None] * len(data.queries)), pa.string()
            ),
            "metric": [metric or "unknown" for metric in metrics],
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(unit).reshape(-1)), unit.shape[1]
            ),
            "embedder": ["published" if maker is None else maker.name] * len(data.queries),
        },
        schema=queries_schema(unit.shape[1]),
    )
    if maker is None:
        length = np.linalg.norm(vectors.astype(np.float64), axis=1).astype(np.float32)
        table = table.append_column(LENGTH, pa.array(length))
    return table


def llms_table(data: Collected, known: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """Return `llms`; what no file tells is null."""
    rows = []
    for name in data.llm_ids:
        told = known.get(name, {})
        rows.append(
            {
                "llm_id": name,
                "name": name,
                "description": told.get("feature") or "",
                "family": "",
                "parameters": told.get("parameters_billion"),
                "input_price": told.get("input_price"),
                "output_price": told.get("output_price"),
                "price_source": "the authors' LLM descriptions (nominal)" if told else None,
                "provider": "unknown",
                "model": told.get("model") or name,
            }
        )
    return pa.Table.from_pylist(rows, schema=LLMS)


def responses_table(data: Collected) -> pa.Table:
    """Return `responses`: the texts, with the scores that the file gives them."""
    Q, M = data.effect.shape
    place = np.arange(Q * M, dtype=np.int32)
    columns: dict[str, Any] = {
        field.name: pa.nulls(
            Q * M,
            field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
        )
        for field in RESPONSES
    }
    columns |= {
        "query_id": pa.DictionaryArray.from_arrays(place // M, pa.array(query_ids(data))),
        "llm_id": pa.DictionaryArray.from_arrays(place % M, pa.array(data.llm_ids)),
        "response": [text for row in data.responses for text in row],
        "usage_source": ["unknown"] * (Q * M),
        "requested_model": pa.DictionaryArray.from_arrays(place % M, pa.array(data.llm_ids)),
        "provenance": ["recorded"] * (Q * M),
        "status": ["ok"] * (Q * M),
        "performance": data.effect.reshape(-1).astype(np.float32),
        "cost": data.cost.reshape(-1).astype(np.float32),
    }
    return pa.table(columns).select(RESPONSES.names).cast(RESPONSES)


def users_table(data: Collected) -> pa.Table:
    """Return `users`; who was judged for has no weights, and no column for them."""
    count = len(data.user_ids)
    columns: dict[str, Any] = {
        "user_id": data.user_ids,
        "population": [POPULATION] * count,
        "cohort": ["known"] * count,
    }
    if data.preference is not None:
        columns["performance_weight"] = data.preference
        columns["cost_weight"] = 1 - data.preference
    schema = pa.schema([USERS.field(name) for name in columns], metadata=USERS.metadata)
    return pa.table(columns, schema=schema)


def query_ids(data: Collected) -> list[str]:
    """[Q] ids of our own, since the files have none: the task and a number within it."""
    number = np.zeros(len(data.queries), dtype=np.int64)
    for task in range(len(data.task_ids)):
        mine = data.task_of_query == task
        number[mine] = np.arange(mine.sum())
    return [
        f"{data.task_ids[task]}-{place:05d}"
        for task, place in zip(data.task_of_query, number, strict=True)
    ]


def _vectors(printed: list[str], column: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        return read_embeddings(printed)
    except ValueError as error:
        raise UsageError(
            f"column {column!r}, {error}; correct it, or embed all queries anew with --embedder "
            "hashing"
        ) from error


def _coverage(data: Collected) -> dict[str, Any]:
    Q = len(data.queries)
    return {
        "statuses": {"ok": data.effect.size},
        "by_llm": {
            name: {
                "rows": Q,
                "ok": Q,
                "scored": Q,
                "performance": float(data.effect[:, m].mean()),
                "priced": 0,
                "cost_usd": None,
            }
            for m, name in enumerate(data.llm_ids)
        },
    }
