"""LLMRouterBench results: ``bench/DATASET/SPLIT/MODEL/DATASET-SPLIT-MODEL-TIME.json``.

Each file holds the records of one LLM on one data set: ``{"model_name", "dataset_name", "split",
"demo", "records": [{"index", "origin_query", "prompt", "prompt_tokens", "completion_tokens",
"cost", "score", "prediction", "ground_truth", "raw_output"}]}``. Of several runs the latest that
is no demonstration counts. (Layout: github.com/ynulihao/LLMRouterBench, data_collector.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.interchange.json_rows import (
    as_count,
    as_number,
    as_object,
    as_text,
    find,
    read_document,
)
from personaroute_bench.interchange.response_file import RECORDED, Origin, Source, in_blocks

_TIME = re.compile(r"(\d{8}_\d{6})\.json$")
_KEYS = ("model_name", "dataset_name", "split", "records")


def open_llmrouterbench(path: Path) -> Source:
    """Open a result file, or a folder of them.

    Raises:
        UsageError: no JSON file there; while reading: another layout, a wrong cell.
    """
    return Source("LLMRouterBench", path, _rows(find(path, "*.json")), free_is_unknown=True)


def _rows(files: list[Path]) -> Iterator[Origin]:
    # The latest run of each folder first; a time in the name says more than that of the file.
    latest = sorted(files, key=lambda file: (file.parent, _run_time(file)), reverse=True)
    done: set[tuple[str, str, str]] = set()
    for file in latest:
        result = as_object(read_document(file), str(file), _KEYS)
        run = tuple(_name(result, key, file) for key in ("dataset_name", "split", "model_name"))
        if result.get("demo") is True or run in done:
            continue
        done.add((run[0], run[1], run[2]))
        if not isinstance(result["records"], list):
            raise UsageError(f"{file}: 'records' is no list; is it an LLMRouterBench result?")
        yield from in_blocks(file, _records(file, result["records"], *run))
    if not done:
        raise UsageError("all results are demonstrations (demo: true); give full runs")


def _run_time(file: Path) -> str:
    found = _TIME.search(file.name)
    return found[1] if found else ""


def _name(result: dict[str, Any], key: str, file: Path) -> str:
    value = result[key]
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{file}: {key} is {str(value)[:40]!r}; give a name")
    return value


def _records(
    file: Path, records: list[Any], dataset: str, split: str, model: str
) -> Iterator[dict[str, Any]]:
    for number, value in enumerate(records, start=1):
        where = f"{file}, record {number}"
        record = as_object(value, where, ("index", "origin_query", "score"))
        if not isinstance(record["index"], int | str) or isinstance(record["index"], bool):
            raise UsageError(
                f"{where}: index is {str(record['index'])[:40]!r}; give a number, the same for "
                "every LLM"
            )
        raw = record.get("raw_output")
        score = as_number(record["score"], where, "score")
        yield {
            "task_id": dataset,
            "query_id": f"{dataset}/{split}/{record['index']}",
            "query": as_text(record["origin_query"]),
            "prompt": as_text(record.get("prompt")),
            "ground_truth": as_text(record.get("ground_truth")),
            "metric": RECORDED,
            "llm_id": model,
            "response": as_text(record.get("prediction") if raw is None else raw),
            "score": score,
            "prompt_tokens": as_count(record.get("prompt_tokens"), where, "prompt_tokens"),
            "completion_tokens": as_count(
                record.get("completion_tokens"), where, "completion_tokens"
            ),
            "cost_usd": as_number(record.get("cost"), where, "cost"),
            # What was scored was an answer, if an empty one; without a score nothing is known.
            "status": "error" if score is None else "ok",
            "error_type": "missing_score" if score is None else None,
        }
