"""The card of a data set that was imported from CSVs in the published layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from personaroute_bench.files import atomic_path
from personaroute_bench.publishing.card import PROVENANCE_TEXT, card_header, escape

if TYPE_CHECKING:
    import pyarrow as pa


def write_card(
    folder: Path,
    configuration: Mapping[str, Any],
    facts: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
) -> None:
    """Write ``README.md`` into the data set's folder."""
    header = yaml.safe_dump(card_header(folder, facts), sort_keys=False, allow_unicode=True)
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(f"---\n{header}---\n\n{_body(configuration, facts, tables)}", "utf-8")


def _body(
    configuration: Mapping[str, Any], facts: Mapping[str, Any], tables: Mapping[str, pa.Table]
) -> str:
    strategy = configuration["strategies"][0]
    rows = facts["strategies"][strategy]["rows"]
    files = ", ".join(escape(name) for name in configuration["files"].values())
    remarks = [
        f"- Splits: {escape(configuration['splits'])}.",
        "- `cost` is the files' own, normalised already. USD a response is not in the files, so "
        "`cost_usd` is unknown.",
        "- `performance` is the files' own score; no metric was computed again. "
        f"{facts['blank_responses']:,} responses are blank and keep the score that the files "
        "give them.",
    ]
    for name, count in facts["mismatches"].items():
        text = {
            "reward": "rows whose reward does not follow from their other columns; the reward "
            "of the file is kept",
            "best_llm": "(user, query) pairs whose best_llm has not the highest reward; the "
            "reward decides",
            "without_choice": "(user, query) pairs without a chosen answer; they have no reward",
        }[name]
        remarks.append(f"- {count:,} {text}.")
    parts = [
        "# Personalised LLM routing data, imported\n",
        "Imported by PersonaRoute-Bench's toolkit from CSV files in the layout that the authors "
        'of "PersonalizedRouter" (arXiv 2511.16883) publish; this folder is not their release. '
        "Cite them for the data.\n",
        PROVENANCE_TEXT["recorded"] + " The users are simulated: what they prefer follows from "
        "a law or from a judge LLM.\n",
        f"Configuration `{escape(configuration['config'])}`, files {files}: "
        f"{tables['users'].num_rows:,} users × {tables['queries'].num_rows:,} queries × "
        f"{tables['llms'].num_rows} LLMs, {sum(rows.values()):,} interactions "
        f"({', '.join(f'{count:,} {name}' for name, count in rows.items())}).\n",
        "\n".join(remarks) + "\n",
        "```python\nfrom datasets import load_dataset\n\n"
        f'load_dataset("DIR", "{strategy}")  # train, validation, test\n```\n',
        "```\nbench evaluate DIR --router mymodule:Router\n```\n",
        "Before you publish this folder, look up the licence of the files it was made of.\n",
    ]
    return "\n".join(parts)
