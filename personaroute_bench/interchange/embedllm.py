"""EmbedLLM: ``prompt_id, model_id, category_id, label, prompt, model_name, category`` (CSV).

`label` is 1 where the LLM's answer was right. There are neither answers nor usage nor prices.
(Layout: huggingface.co/datasets/RZ412/EmbedLLM, files train.csv, val.csv, test.csv.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from personaroute_bench.interchange.arrow_rows import TableFile
from personaroute_bench.interchange.json_rows import find
from personaroute_bench.interchange.response_file import RECORDED, Origin, Source

_TEXTS = ("prompt_id", "prompt", "model_name", "category")


def open_embedllm(path: Path) -> Source:
    """Open a CSV, or all CSVs of a folder.

    Raises:
        UsageError: no CSV there, a missing column.
    """
    files = [TableFile(file) for file in find(path, "*.csv")]
    for file in files:
        file.need(*_TEXTS, "label")
    return Source("EmbedLLM", path, _rows(files))


def _rows(files: list[TableFile]) -> Iterator[Origin]:
    for file in files:
        for first, block in file.blocks(_TEXTS, ["label"]):
            text = {name: block[name].cast(pa.string()) for name in _TEXTS}
            count = len(block["label"])
            missing = block["label"].is_null().to_numpy(zero_copy_only=False)
            if missing.any():
                file.fail(first + int(missing.argmax()), "label is missing", "give 0 or 1")
            yield Origin(
                file.path,
                first,
                pa.table(
                    {
                        "task_id": text["category"],
                        "query_id": text["prompt_id"],
                        "query": text["prompt"],
                        "metric": pa.repeat(RECORDED, count),
                        "llm_id": text["model_name"],
                        "score": block["label"],
                        # No text was kept, but it was scored: no failure.
                        "status": pa.repeat("ok", count),
                    }
                ),
            )
