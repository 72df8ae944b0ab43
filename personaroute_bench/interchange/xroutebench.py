"""xRouteBench routing tables: one row a (query, LLM), Parquet.

Columns used: ``task_name, query, ground_truth, metric, choices, task_id, model_name, response,
input_tokens, output_tokens, response_time, performance, embedding_id``. `performance` is taken as
it is. A Parquet file with ``model_name`` (or ``model``), ``input_price`` and ``output_price``
beside it (configuration llm_candidates) gives the prices. (Data: ulab-ai/xRouteBench on the Hub.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import text_digest
from personaroute_bench.interchange.arrow_rows import TableFile
from personaroute_bench.interchange.json_rows import find
from personaroute_bench.interchange.response_file import RECORDED, Origin, Source

_TEXTS = ("task_name", "query", "model_name")
_OPTIONAL = ("ground_truth", "response", "choices", "metric")
_NUMBERS = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "response_time": "latency_s",
}


def open_xroutebench(path: Path) -> Source:
    """Open a routing table, or all of a folder.

    Raises:
        UsageError: no routing table there; a table of pairs.
    """
    files = [TableFile(file) for file in find(path, "*.parquet")]
    rows = [file for file in files if "performance" in file.columns]
    if not rows:
        pairs = any({"model_1", "model_2"} <= set(file.columns) for file in files)
        what = (
            "compares answers in pairs, without a score of each; make the columns of "
            "docs/preferences.md of it and use bench import preferences"
            if pairs
            else "has no column 'performance'; give a routing table, not one of queries"
        )
        raise UsageError(f"{path} {what}")
    for file in rows:
        file.need(*_TEXTS)
    return Source("xRouteBench", path, _rows(rows), _candidates(files))


def _candidates(files: list[TableFile]) -> dict[str, dict[str, Any]]:
    """Return what a table of candidates says of LLMs, as fields of a pool file."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        key = next((name for name in ("model_name", "model") if name in file.columns), None)
        if key is None or not {"input_price", "output_price"} <= set(file.columns):
            continue
        for _, block in file.blocks([key], ["input_price", "output_price"]):
            names, low, high = (
                block[name].to_pylist() for name in (key, "input_price", "output_price")
            )
            for name, price_in, price_out in zip(names, low, high, strict=True):
                if name is not None:
                    found[name] = {
                        "input_price": price_in,
                        "output_price": price_out,
                        "price_source": f"{file.path.name} of xRouteBench",
                    }
    return found


def _rows(files: list[TableFile]) -> Iterator[Origin]:
    for file in files:
        texts = [*_TEXTS, *(name for name in _OPTIONAL if name in file.columns)]
        numbers = [name for name in _NUMBERS if name in file.columns]
        for first, block in file.blocks(texts, ["performance", *numbers]):
            yield Origin(file.path, first, _table(block, numbers))


def _table(block: dict[str, pa.Array], numbers: list[str]) -> pa.Table:
    count = len(block["query"])
    text = {name: block[name].cast(pa.string()) for name in block if name not in numbers}
    prompt = text["query"]
    if "choices" in text:
        blank = pc.equal(pc.fill_null(text["choices"], ""), "")
        asked = pc.binary_join_element_wise(text["query"], text["choices"], "\n")
        prompt = pc.if_else(blank, text["query"], asked)
    known = block["performance"].is_valid()
    columns = {
        "task_id": text["task_name"],
        # Queries have no id of their own that holds over the files.
        "query_id": _ids(text["task_name"], prompt, text.get("ground_truth")),
        "query": prompt,
        "ground_truth": text.get("ground_truth", pa.nulls(count, pa.string())),
        "metric": pa.repeat(RECORDED, count),
        "llm_id": text["model_name"],
        "response": text.get("response", pa.nulls(count, pa.string())),
        "score": block["performance"],
        "status": pc.if_else(known, "ok", "error"),
        "error_type": pc.if_else(known, pa.scalar(None, pa.string()), "missing_score"),
    }
    for name in numbers:
        values = block[name]
        whole = _NUMBERS[name] != "latency_s"
        columns[_NUMBERS[name]] = pc.round(values).cast(pa.int64()) if whole else values
    return pa.table(columns)


def _ids(task: pa.Array, query: pa.Array, truth: pa.Array | None) -> pa.Array:
    """[n] the task and a hash of what is asked and of its truth: equal texts may differ there."""
    parts = [pc.fill_null(part, "") for part in (task, query, truth) if part is not None]
    key = pc.binary_join_element_wise(*parts, "\x1f").dictionary_encode()
    ids = [
        f"{text.split(chr(31), 1)[0]}-{text_digest(text)[:12]}"
        for text in key.dictionary.to_pylist()
    ]
    return pa.array(ids, pa.string()).take(key.indices)
