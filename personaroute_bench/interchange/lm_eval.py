"""Sample logs of lm-evaluation-harness: ``MODEL/samples_TASK_TIME.jsonl``, one line a document.

Used: ``doc_id, target, arguments, filtered_resps, filter, metrics`` and the metric's own key.
The folder's name is the LLM's, the file's name tells the task. (Layout: EleutherAI's
lm-evaluation-harness with --log_samples.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.interchange.json_rows import as_number, as_text, find, read_lines
from personaroute_bench.interchange.response_file import RECORDED, Source, in_blocks

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<time>\d{4}-\d\d-\d\dT[\d\-:.]+))?\.jsonl")


def open_lm_eval(path: Path, *, metric: str | None = None, filter_: str | None = None) -> Source:
    """Open a sample log, or all logs below a folder.

    Args:
        path: JSONL file, or a folder of folders of them.
        metric: key with the score; None: the first that a line names.
        filter_: which answer filter; None: the first that a file holds.

    Raises:
        UsageError: no log there; while reading: a line without the metric, a score beyond [0, 1].
    """
    latest: dict[tuple[Path, str], Path] = {}
    for file in find(path, "samples_*.jsonl"):  # sorted, so the latest of a task comes last
        name = _NAME.fullmatch(file.name)
        latest[file.parent, name["task"] if name else file.stem] = file
    rows = (
        origin
        for (folder, task), file in latest.items()
        for origin in in_blocks(file, _samples(file, folder.name, task, metric, filter_))
    )
    return Source("lm-evaluation-harness", path, rows)


def _samples(
    file: Path, llm: str, task: str, metric: str | None, filter_: str | None
) -> Iterator[dict[str, Any]]:
    filters: set[str] = set()
    found = False
    for line, sample in read_lines(file):
        where = f"{file}, line {line}"
        kind = str(sample.get("filter", "none"))
        filters.add(kind)
        filter_ = kind if filter_ is None else filter_
        if kind != filter_:
            continue
        found = True
        if "doc_id" not in sample:
            raise UsageError(f"{where}: no 'doc_id'; is it a sample log?")
        name = metric or _first_metric(sample, where)
        if name not in sample:
            known = [key for key, value in sample.items() if isinstance(value, int | float)]
            raise UsageError(f"{where}: no metric {name!r}{did_you_mean(name, known)}")
        score = as_number(sample[name], where, name)
        query = _prompt(sample, where)
        yield {
            "task_id": task,
            "query_id": f"{task}/{sample['doc_id']}",
            "query": query,
            "ground_truth": as_text(sample.get("target")),
            "metric": RECORDED,
            "llm_id": llm.replace("__", "/"),
            "response": _answer(sample.get("filtered_resps", sample.get("resps"))),
            "score": score,
            "status": "error" if score is None else "ok",
            "error_type": "missing_score" if score is None else None,
        }
    if not filters:
        raise UsageError(f"{file} has no lines; give a whole sample log, or take the file away")
    if not found:
        raise UsageError(
            f"{file} has no --filter {filter_!r}{did_you_mean(str(filter_), list(filters))}"
        )


def _first_metric(sample: dict[str, Any], where: str) -> str:
    named = sample.get("metrics")
    if isinstance(named, list) and named and isinstance(named[0], str):
        return named[0]
    raise UsageError(f"{where}: names no metrics; give the key of the score with --metric")


def _prompt(sample: dict[str, Any], where: str) -> str:
    """Return what was asked: the first argument of the first request."""
    arguments = sample.get("arguments")
    first: Any = None
    if isinstance(arguments, dict) and arguments:
        first = next(iter(arguments.values()))
        first = first.get("arg_0") if isinstance(first, dict) else first
    elif isinstance(arguments, list) and arguments:
        first = arguments[0][0] if isinstance(arguments[0], list) and arguments[0] else arguments[0]
    text = as_text(first)
    if not text:
        raise UsageError(f"{where}: 'arguments' tells no prompt; log samples with --log_samples")
    return text


def _answer(value: Any) -> str | None:
    """Return the first answer that is text; likelihoods of options are no text."""
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else None
