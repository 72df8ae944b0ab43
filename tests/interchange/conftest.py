from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Rows = list[dict[str, Any]]


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """Make one right row; a keyword changes a column."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "dataset": "chats",
            "user_id": "ann",
            "query_id": "q1",
            "query": "Why is the sky blue?",
            "candidates": ["org/b", "org/a"],
            "responses": ["from b", "from a"],
            "chosen": "org/b",
            "outcome": "chosen",
            **changes,
        }

    return make


@pytest.fixture
def people(row: Callable[..., dict[str, Any]]) -> Rows:
    """Four people, ten queries, three LLMs, some ties, and one set of ratings."""
    llms = ["org/a", "org/b", "org/c"]
    rows = []
    for u, user in enumerate(("ann", "bob", "cy", "dee")):
        for q in range(10):
            pair = [llms[(q + u) % 3], llms[(q + u + 1) % 3]]
            tie = (q + u) % 5 == 0
            rows.append(
                row(
                    user_id=user,
                    query_id=f"q{q}",
                    query=f"Question {q}?",
                    candidates=pair,
                    responses=[f"{name} on {q}" for name in pair],
                    chosen=None if tie else max(pair),
                    outcome="tie" if tie else "chosen",
                )
            )
    rows.append(
        row(
            user_id="eve",
            dataset="stories",
            query_id="s1",
            query="A story.",
            candidates=["org/c", "human", "org/a"],
            responses=["once", "upon", ""],
            chosen="human",
            ratings=[2.0, 5.0, 2.0],
            source="a book | <b>",
            licence="CC0",
        )
    )
    return rows


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as Parquet or JSONL."""

    def to(rows: Rows, name: str = "preferences.parquet") -> Path:
        path = tmp_path / name
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}
            pq.write_table(pa.table(columns), path)
        return path

    return to
