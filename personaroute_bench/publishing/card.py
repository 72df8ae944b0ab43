"""The data card: a README.md that people read and that `datasets` loads the configs from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from personaroute_bench.config import COST_NORMALISATION, is_virtual
from personaroute_bench.files import atomic_path
from personaroute_bench.schemas import SPLITS

if TYPE_CHECKING:
    from personaroute_bench.plan import Plan

PROVENANCE_TEXT = {
    "simulated": "**Simulated**: the responses were written by programs that imitate LLMs. No real "
    "LLM was asked; nothing here says how good a real LLM is.",
    "recorded": "**Recorded**: the responses are real ones that somebody recorded earlier; tokens "
    "may have been counted offline (see `usage_source`).",
    "live": "**Live**: the responses are real ones, asked for when this data set was made.",
}


VIRTUAL_TEXT = (
    "The interactions are **virtual**: they are in no file, and PersonaRoute-Bench computes them "
    "from responses and users when they are asked for. `bench materialise DIR` writes them.\n"
)


@dataclass(frozen=True, slots=True)
class About:
    """What the card says beside the manifest's facts."""

    tasks: Sequence[Mapping[str, Any]]
    """Rows of the table `tasks`."""
    queries: Mapping[str, int]
    """Task id to its number of queries."""
    configuration: Mapping[str, Any]
    """The manifest's: users, preset, seed; what is missing is not said."""


def write_card(folder: Path, plan: Plan, facts: Mapping[str, Any]) -> None:
    """Write ``README.md`` into the data set's folder."""
    about = About(
        [
            {name: getattr(task, name) for name in ("task_id", "metric", "source", "licence")}
            for task in plan.taskset.tasks
        ],
        Counter(query.task_id for query in plan.taskset.queries),
        plan.data.as_json(),
    )
    text = render(card_header(folder, facts), card_body(about, facts))
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(header: Mapping[str, Any], body: str) -> str:
    """Return a card: YAML between two lines of dashes, then Markdown."""
    front = yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{body}"


def card_header(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card's YAML: one config a strategy, then the tables."""
    configs: list[dict[str, Any]] = [
        {
            "config_name": strategy,
            "data_files": [
                {"split": split, "path": f"interactions/{strategy}/{split}/*.parquet"}
                for split in SPLITS
            ],
        }
        for strategy in facts["strategies"]
        if not is_virtual(facts)
    ]
    if configs:
        configs[0]["default"] = True
    configs += [
        {"config_name": name, "data_files": [{"split": "table", "path": path}]}
        for name in ("tasks", "queries", "llms", "responses", "users", "ratings", "judgments")
        if (path := _path_of(folder, name)) is not None
    ]
    if configs and "default" not in configs[0]:
        configs[0]["default"] = True
    return {
        "pretty_name": "PersonaRoute-Bench data",
        "tags": ["llm-routing", "personalisation", *facts["provenance"]],
        "configs": configs,
    }


def _path_of(folder: Path, table: str) -> str | None:
    """Return the path of a table's file, or the pattern of its files; None where it is absent."""
    if (folder / f"{table}.parquet").is_file():
        return f"{table}.parquet"
    return f"{table}/*.parquet" if any((folder / table).glob("*.parquet")) else None


def card_body(about: About, facts: Mapping[str, Any]) -> str:
    """Return the card's Markdown; ``DIR`` in it stands for the folder or the Hub's id."""
    coverage = facts["coverage"]
    total = sum(coverage["statuses"].values())
    ok = coverage["statuses"].get("ok", 0)
    held = facts.get("seal", {}).get("state") == "sealed"
    splits = "train, validation" if held else "train, validation, test"
    first = f'load_dataset("DIR", "{next(iter(facts["strategies"]), "")}")  # {splits}\n'
    if is_virtual(facts):
        first = ""
    parts = [
        "# Personalised LLM routing data\n",
        "Made with PersonaRoute-Bench, an independent implementation of the system that the paper "
        '"PersonalizedRouter" (arXiv 2511.16883) describes; it is not the authors\' release.\n',
        *(PROVENANCE_TEXT[name] + "\n" for name in facts["provenance"]),
        _sizes(about, facts) + "\n",
        "## Load\n",
        "```python\nfrom datasets import load_dataset\n\n"
        f"{first}"
        'load_dataset("DIR", "responses")  # also: tasks, queries, llms, users\n```\n',
        *([VIRTUAL_TEXT] if is_virtual(facts) else []),
        "## Evaluate a router on it\n",
        "```\nbench evaluate DIR --router mymodule:Router\n```\n",
        "## Tasks\n",
        _table(
            ("task", "queries", "metric", "source", "licence"),
            (
                (
                    task["task_id"],
                    about.queries.get(task["task_id"], 0),
                    task["metric"],
                    task["source"],
                    task["licence"],
                )
                for task in about.tasks
            ),
        ),
        "## LLMs and prices\n",
        "USD per million tokens; performance is the mean over the responses with status ok, cost "
        "the mean over the responses whose cost is known.\n",
        _table(
            ("LLM", "input", "output", "price from", "ok", "performance", "USD a response"),
            (
                (
                    price["llm_id"],
                    _number(price["input_price"]),
                    _number(price["output_price"]),
                    " ".join(filter(None, (price["price_source"], price["price_date"]))) or "—",
                    f"{coverage['by_llm'][price['llm_id']]['ok']} of "
                    f"{coverage['by_llm'][price['llm_id']]['rows']}",
                    _number(coverage["by_llm"][price["llm_id"]]["performance"]),
                    _number(coverage["by_llm"][price["llm_id"]]["cost_usd"]),
                )
                for price in facts["prices"]
            ),
        ),
        f"{ok:,} of {total:,} responses are ok. The others have no performance and no reward; a "
        "router that chooses one is charged the worst ok candidate's reward.\n",
        "## Personalisation headroom\n",
        _table(
            (
                "strategy",
                "oracle level",
                "fixed-policy level",
                "best single",
                "best per user",
                "user-blind oracle",
                "oracle",
            ),
            (
                (
                    name,
                    _share(result["headroom"]["oracle_share"]),
                    _share(result["headroom"]["fixed_policy_share"]),
                    *(
                        _number(result["headroom"][level])
                        for level in ("best_single", "best_per_user", "user_blind_oracle", "oracle")
                    ),
                )
                for name, result in facts["strategies"].items()
            ),
        ),
        "Mean test rewards; the two levels are shares of the way from a random choice to the "
        "oracle. Where they are near zero, no router can gain from knowing the user.\n",
        *judge_section(facts),
        "## Citation\n",
        "Cite the paper (arXiv 2511.16883) for the idea and this toolkit for the data "
        "(CITATION.cff in its repository).\n",
    ]
    return "\n".join(parts)


def _sizes(about: About, facts: Mapping[str, Any]) -> str:
    configuration = about.configuration
    text = (
        f"{configuration.get('users', 0):,} simulated users × {sum(about.queries.values()):,} "
        f"queries × {len(facts['prices'])} LLMs."
    )
    preset, seed = configuration.get("preset"), configuration.get("seed")
    if preset in COST_NORMALISATION:
        text += f" Population `{preset}`, cost normalised by `{COST_NORMALISATION[preset]}`"
        text += f", seed {seed}." if seed is not None else "."
    return text


def judge_section(facts: Mapping[str, Any]) -> list[str]:
    """Return what is known of the judge, where a strategy has one."""
    lines = [
        f"- {escape(line)}"
        for result in facts["strategies"].values()
        for line in result.get("judge", {}).get("lines", ())
    ]
    return ["## The judge\n", "\n".join(lines) + "\n"] if lines else []


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Make foreign text safe in a Markdown table cell: no markup, no line break."""
    flat = " ".join(text.split()).replace("\\", "\\\\")
    for mark, safe in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("`", "\\`"),
        ("[", "\\["),
        ("]", "\\]"),
        ("*", "\\*"),
    ):
        flat = flat.replace(mark, safe)
    return flat


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"
