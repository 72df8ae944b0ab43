"""Merge our card into one that is on the Hub already: nothing that others wrote is lost.

Of the YAML, our keys are renewed and the others kept; of the Markdown, what stands between our two
marks is replaced and the rest kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from personaroute_bench.errors import UsageError
from personaroute_bench.publishing.card import PROVENANCE_TEXT, render

BEGIN = "<!-- personaroute-bench: begin; what stands up to the end mark is written anew -->"
END = "<!-- personaroute-bench: end -->"
# Paths that only we write; a config of nothing else is an older one of ours.
_OURS = ("interactions/", "pairs/")
_TABLES = ("tasks", "queries", "llms", "responses", "users", "ratings", "judgments")


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """Return the YAML and the Markdown of a card.

    Raises:
        yaml.YAMLError: the YAML cannot be read, or is no mapping.
    """
    text = text.lstrip("\ufeff").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return {}, text
    front, mark, body = text[4:].partition("\n---\n")
    if not mark:
        if not front.endswith("\n---"):
            raise yaml.YAMLError("the first line is --- and no second one follows")
        front, body = front[: -len("\n---")], ""
    header = yaml.safe_load(front)
    if header is not None and not isinstance(header, dict):
        raise yaml.YAMLError("what stands between the two --- is no mapping of keys to values")
    return header or {}, body.lstrip("\n")


def merge_card(existing: str | None, header: Mapping[str, Any], body: str, place: str) -> str:
    """Return the card to publish.

    Args:
        existing: the card that is there; None where there is none.
        header: our YAML.
        body: our Markdown.
        place: names the existing card in messages.

    Raises:
        UsageError: the existing card cannot be merged without guessing.
    """
    section = f"{BEGIN}\n{_unmarked(body).strip()}\n{END}\n"
    if existing is None or not existing.strip():
        return render(header, section)
    try:
        theirs, text = split_card(existing)
    except yaml.YAMLError as error:
        raise UsageError(
            f"{place} has front matter that cannot be read ({_one_line(error)}); mend it on the "
            "Hub, then run the same command again"
        ) from error
    begins, ends = text.count(BEGIN), text.count(END)
    if (begins, ends) == (0, 0):
        text = f"{text.rstrip()}\n\n{section}" if text.strip() else section
    elif (begins, ends) == (1, 1) and text.index(BEGIN) < text.index(END):
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2].lstrip("\n")
        text = before + section + (f"\n{after}" if after else "")
    else:
        raise UsageError(
            f"{place} has {begins} begin marks and {ends} end marks of ours instead of one each "
            f"in order; mend it on the Hub ({BEGIN} … {END}), then run the same command again"
        )
    return render(merge_header(theirs, header), text)


def merge_header(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return their YAML with our keys renewed.

    Title and licence are theirs where they gave one. Tags are united, but for a provenance that is
    no longer true. Configs of their own files stay, ours are replaced.
    """
    merged: dict[str, Any] = {**theirs, **ours}
    for key in ("pretty_name", "title", "license"):
        if theirs.get(key):
            merged[key] = theirs[key]
    tags = ours.get("tags", [])
    stale = set(PROVENANCE_TEXT) - set(tags)
    kept = [tag for tag in _list(theirs.get("tags")) if tag not in stale and tag not in tags]
    if tags or kept:
        merged["tags"] = [*tags, *kept]
    if "configs" in ours:
        names = {config["config_name"] for config in ours["configs"]}
        others = [
            {key: value for key, value in config.items() if key != "default"}
            for config in _list(theirs.get("configs"))
            if isinstance(config, dict)
            and config.get("config_name") not in names
            and not _is_ours(config)
        ]
        merged["configs"] = [*ours["configs"], *others]
        # Written by `datasets` for files that are replaced now; stale, it would break loading.
        info = [
            entry
            for entry in _list(theirs.get("dataset_info"))
            if isinstance(entry, dict)
            and entry.get("config_name") in {config.get("config_name") for config in others}
        ]
        merged.pop("dataset_info", None)
        if info:
            merged["dataset_info"] = info
    return merged


def _is_ours(config: Mapping[str, Any]) -> bool:
    paths = [
        str(part.get("path", "")) if isinstance(part, dict) else str(part)
        for part in _list(config.get("data_files"))
    ]
    return bool(paths) and all(
        path.startswith(_OURS) or path.removesuffix(".parquet") in _TABLES for path in paths
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _unmarked(body: str) -> str:
    """Break marks of ours inside the text, which may quote anything."""
    return body.replace("<!-- personaroute-bench", "&lt;!-- personaroute-bench")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
