"""The card of a data set of real people: a README.md that `datasets` loads the tables from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from personaroute_bench.files import atomic_path
from personaroute_bench.publishing.card import escape
from personaroute_bench.schemas import SPLITS

_SPLIT_TEXT = {
    "query": "Split by query within each person: test asks known people about queries that are "
    "new to them (others may have judged the same query in training).",
    "person": "Split by person: the people of the test split have no comparison in the others "
    "(the queries may be the same).",
}


def write_card(
    folder: Path,
    configuration: Mapping[str, Any],
    facts: Mapping[str, Any],
    tasks: Mapping[str, Any],
) -> None:
    """Write ``README.md`` into the data set's folder."""
    header = yaml.safe_dump(_header(), sort_keys=False, allow_unicode=True)
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(f"---\n{header}---\n\n{_body(configuration, facts, tasks)}", "utf-8")


def _header() -> dict[str, Any]:
    configs: list[dict[str, Any]] = [
        {
            "config_name": "pairs",
            "default": True,
            "data_files": [{"split": split, "path": f"pairs/{split}.parquet"} for split in SPLITS],
        }
    ]
    configs += [
        {"config_name": name, "data_files": [{"split": "table", "path": f"{name}.parquet"}]}
        for name in ("tasks", "queries", "llms", "responses", "users")
    ]
    return {
        "pretty_name": "PersonaRoute-Bench pairs of real people",
        "tags": ["llm-routing", "personalisation", "human-preferences", "recorded"],
        "configs": configs,
    }


def _body(
    configuration: Mapping[str, Any], facts: Mapping[str, Any], tasks: Mapping[str, Any]
) -> str:
    datasets, pairs = facts["pairs"]["datasets"], facts["pairs"]
    columns = ("people", "queries", "llms", "pairs", "ties", *SPLITS, "people_without_test")
    excluded = ", ".join(escape(name) for name in configuration["exclude"])
    parts = [
        "# Real people's choices between LLM answers\n",
        "**Recorded**: people, answers and choices are real and were recorded by others; nothing "
        "here is simulated. There are no prices (unknown, not zero), no rewards and no weights.\n",
        f"{_SPLIT_TEXT[pairs['by']]} Seed {configuration['seed']}."
        f"{f' Left out: {excluded}.' if excluded else ''}\n",
        "## What a row is\n",
        "`pairs`: user_id, query_id, a, b (ids, a before b in alphabetical order, so position "
        "tells nothing) and outcome: a, b or tie (no preference). Ratings of several answers "
        f"became all their pairs. {pairs['repeats_merged']:,} repeated verdicts of a person on "
        "one pair were merged into the majority, a tie where there is none.\n",
        "```python\nfrom datasets import load_dataset\n\n"
        'load_dataset("DIR", "pairs")  # train, validation, test\n'
        'load_dataset("DIR", "responses")  # also: tasks, queries, llms, users\n```\n',
        "## Evaluate a router on it\n",
        "```\nbench evaluate DIR --router mymodule:Router\n```\n",
        "Metric: the share of a person's test pairs whose preferred LLM the router ranks higher, "
        "ties excluded, averaged over people.\n",
        "## Data sets\n",
        _table(
            ("data set", *(name.replace("_", " ") for name in columns)),
            ((name, *(f"{of[c]:,}" for c in columns)) for name, of in datasets.items()),
        ),
        _table(
            ("data set", "source", "licence"),
            zip(tasks["task_id"], tasks["source"], tasks["licence"], strict=True),
        ),
        "The licences above, and the terms of the LLMs' makers for their outputs, decide what may "
        "be done with this data.\n",
    ]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
