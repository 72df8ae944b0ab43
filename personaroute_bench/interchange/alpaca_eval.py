"""AlpacaEval outputs: JSON lists of ``{"instruction", "output", "generator", "dataset"}``.

Outputs carry no score. The answers of one of the LLMs, the reference, become the ground truth of
the metric f1_score (token F1, as the paper scores Alpaca), and that LLM is no candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import text_digest
from personaroute_bench.interchange.json_rows import as_object, as_text, find, read_document
from personaroute_bench.interchange.response_file import Origin, Source, in_blocks


def open_alpaca_eval(path: Path, reference: str) -> Source:
    """Open an outputs file, or all of a folder.

    Args:
        path: JSON file, or a folder of them.
        reference: `generator` whose outputs are the ground truth.

    Raises:
        UsageError: no file, another layout, an unknown reference, or it did not answer a query.
    """
    files = find(path, "*.json")
    truths: dict[str, str] = {}
    seen: set[str] = set()
    for file in files:
        for _, row in _outputs(file):
            seen.add(row["generator"])
            if row["generator"] == reference:
                truths[row["instruction"]] = as_text(row["output"]) or ""
    if not truths:
        hint = did_you_mean(reference, list(seen))
        raise UsageError(f"{path} has no outputs of --reference {reference!r}{hint}")
    return Source("AlpacaEval", path, _rows(files, reference, truths))


def _outputs(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    document = read_document(file)
    if not isinstance(document, list):
        raise UsageError(f"{file}: expected a list of outputs")
    for number, value in enumerate(document, start=1):
        where = f"{file}, output {number}"
        row = as_object(value, where, ("instruction", "output", "generator"))
        for key in ("instruction", "generator"):
            if not isinstance(row[key], str) or not row[key].strip():
                raise UsageError(f"{where}: {key} is empty; fill it")
        yield number, row


def _rows(files: list[Path], reference: str, truths: dict[str, str]) -> Iterator[Origin]:
    for file in files:
        yield from in_blocks(file, _file_rows(file, reference, truths))


def _file_rows(file: Path, reference: str, truths: dict[str, str]) -> Iterator[dict[str, Any]]:
    for number, row in _outputs(file):
        if row["generator"] == reference:
            continue
        if row["instruction"] not in truths:
            raise UsageError(
                f"{file}, output {number}: {reference!r} has no output for this instruction, so "
                "it cannot be scored; add it, or choose another --reference"
            )
        task = row.get("dataset")
        yield {
            "task_id": task if isinstance(task, str) and task.strip() else "alpaca_eval",
            "query_id": f"alpaca-{text_digest(row['instruction'])[:12]}",
            "query": row["instruction"],
            "ground_truth": truths[row["instruction"]],
            "metric": "f1_score",
            "llm_id": row["generator"],
            "response": as_text(row["output"]),
        }
