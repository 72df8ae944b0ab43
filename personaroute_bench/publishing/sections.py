"""The sections that a card has only when it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personaroute_bench.publishing.card import escape


def publication_sections(
    manifest: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    without_text: Mapping[str, str],
    seal: Mapping[str, Any] | None,
) -> str:
    """Return the Markdown about licences, the seal, and how to check the files."""
    lines = ["## Licences\n"]
    by_licence: dict[str, list[str]] = {}
    for task in tasks:
        by_licence.setdefault(f"{task['licence']}, from {task['source']}", []).append(
            task["task_id"]
        )
    lines += [f"- {escape(', '.join(ids))}: {escape(text)}" for text, ids in by_licence.items()]
    lines.append(
        "\nThese are the licences of the queries. The terms of the LLMs' makers also bind who uses "
        "the responses.\n"
    )
    if without_text:
        names = ", ".join(f"{escape(task)} ({escape(said)})" for task, said in without_text.items())
        lines.append(
            f"**Left out**: queries, references and responses of {names}, whose licence does not "
            "let them be passed on. Embeddings, scores, costs and rewards are there.\n"
        )
    if seal is not None:
        lines += ["## The seal\n", _seal_text(seal)]
    generator = manifest.get("generator", {})
    made = f"personaroute-bench {escape(str(generator.get('version', 'unknown')))}"
    if generator.get("commit"):
        made += f", commit {escape(str(generator['commit']))[:12]}"
        made += " with uncommitted changes" if generator.get("uncommitted_changes") else ""
    lines += [
        "## How it was made, and how to check it\n",
        f"Made on {escape(str(manifest.get('created', 'an unknown date')))} with {made}. "
        "`manifest.json` holds the whole configuration, versions, prices, what was spent, and size "
        "and SHA-256 of every file. `Benchmark.load` and `bench evaluate` compare every file with "
        "it. `croissant.json` describes the tables in the Croissant format.\n",
    ]
    return "\n".join(lines)


def _seal_text(seal: Mapping[str, Any]) -> str:
    names = ", ".join(f"`{escape(name)}`" for name in seal["withheld"])
    if "salt" in seal:
        return (
            f"Sealed on {escape(seal['sealed_at'])}, opened on {escape(seal['opened_at'])}. "
            f"{names} and the seed are now as they were when they were sealed: `bench check-seal` "
            "recomputes the salted hashes of `seal.json`; compare that file with the one published "
            "before the opening, which the repository's history holds. Choices made after the "
            "opening were made by somebody who could see the answers.\n"
        )
    text = (
        f"Sealed on {escape(seal['sealed_at'])}. Of the test queries, responses, performance, "
        "costs, rewards, ratings and reference answers are withheld; of all users the weights; and "
        f"the seed. Therefore {names} are not there or there in part; `seal.json` has a salted "
        "SHA-256 of each whole file, which can be checked when the salt is published. Routers can "
        "be trained and can choose (`bench evaluate … --choices FOLDER`); the choices are scored "
        "after the opening. Figures of the test split are unknown until then.\n"
    )
    for weakness in seal["weaknesses"]:
        text += f"\n**Weak seal**: {escape(weakness)}.\n"
    return text
