"""A small set of recorded responses of our own making: 3 tasks × 20 queries × 3 LLMs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

LLMS = ("acme/small", "acme/large", "zeta/medium")
PRICES = {"acme/small": (0.1, 0.2), "acme/large": (5.0, 15.0), "zeta/medium": (0.6, 0.6)}
PER_TASK = 20


def query_rows() -> list[dict[str, Any]]:
    """One row a query, without responses."""
    rows = []
    for n in range(PER_TASK):
        rows.append(
            {
                "task_id": "sums",
                "query_id": f"sums-{n:02d}",
                "query": f"Ann has {n + 2} pears and buys {2 * n + 1} more. How many has she?",
                "ground_truth": f"{n + 2} + {2 * n + 1} = {3 * n + 3}\n#### {3 * n + 3}",
                "metric": "GSM8K",
            }
        )
        rows.append(
            {
                "task_id": "capitals",
                "query_id": f"capitals-{n:02d}",
                "query": f"What is the capital of province number {n}?",
                "ground_truth": f"The town of Number{n} on the river",
                "metric": "f1_score",
            }
        )
        rows.append(
            {
                "task_id": "letters",
                "query_id": f"letters-{n:02d}",
                "query": f"Which letter is marked in line {n}?\n(A) alpha\n(B) beta\n(C) gamma",
                "ground_truth": "ABC"[n % 3],
                "metric": "em_mc",
            }
        )
    return rows


def answer(row: dict[str, Any], llm: str) -> str:
    """What an LLM says: the large one is right, the small one often wrong, all in their style."""
    n = int(row["query_id"].split("-")[1])
    right = llm == "acme/large" or (n % 3 == 0 if llm == "acme/small" else n % 3 != 1)
    end = {"acme/small": ".", "acme/large": "!", "zeta/medium": " ..."}[llm]  # no two texts alike
    if row["task_id"] == "sums":
        number = 3 * n + 3 if right else 3 * n + 4
        lead = "Let me add the pears step by step. " * (3 if llm == "acme/large" else 1)
        return f"{lead}She has them{end} #### {number}"
    if row["task_id"] == "capitals":
        return (
            f"{row['ground_truth']}{end}" if right else f"Perhaps Number{n + 1}, on some hill{end}"
        )
    return f"The answer is ({row['ground_truth'] if right else 'D'}){end}"


def response_rows() -> list[dict[str, Any]]:
    """One row a (query, LLM), with the columns of a responses file."""
    return [
        {**row, "llm": llm, "response": answer(row, llm)} for row in query_rows() for llm in LLMS
    ]


def write_responses(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write the responses as Parquet."""
    path = folder / "responses.parquet"
    pq.write_table(pa.Table.from_pylist(response_rows() if rows is None else rows), path)
    return path


def pool_entries(base_url: str = "http://127.0.0.1:9/v1") -> list[dict[str, Any]]:
    """The pool's LLMs as YAML values."""
    return [
        {
            "id": llm,
            "name": llm,
            "model": llm,
            "provider": "openai",
            "base_url": base_url,
            "input_price": PRICES[llm][0],
            "output_price": PRICES[llm][1],
            "price_source": "made up for tests",
            "description": f"A model named {llm}.",
            "family": llm.split("/", maxsplit=1)[0],
            "parameters_billion": {"acme/small": 3, "acme/large": 400, "zeta/medium": 30}[llm],
        }
        for llm in LLMS
    ]


def write_pool(folder: Path, base_url: str = "http://127.0.0.1:9/v1", **changes: Any) -> Path:
    """Write the pool; ``changes`` are made to its first LLM."""
    entries = pool_entries(base_url)
    entries[0].update(changes)
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"llms": entries}), encoding="utf-8")
    return path
