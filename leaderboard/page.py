"""The page: one file that needs no network, and shows strangers' texts as texts only."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from personaroute_bench.files import atomic_path, write_json

TITLE = "PersonaRoute-Bench leaderboard"
FILES = ("index.html", "leaderboard.json")


def render(data: Mapping[str, Any], title: str = TITLE) -> str:
    """Return the page for what `build_boards` made.

    The data stands in a JSON block, in which no `<` is left that could end it. The policy of the
    page allows its own style and script, by their hashes, and nothing else.
    """
    here = resources.files("personaroute_bench.leaderboard")
    style, script, frame = (
        (here / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html")
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(title),
        "policy": html.escape(policy, quote=True).replace("&#x27;", "'"),
        "style": style,
        "script": script,
        "data": json_block(data),
    }
    # One pass, so that a text which looks like a place is none.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], frame)


def json_block(data: Mapping[str, Any]) -> str:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def write_site(data: Mapping[str, Any], out: Path, title: str = TITLE) -> None:
    """Write OUT/index.html, and the same figures as OUT/leaderboard.json."""
    text = render(data, title)
    write_json(out / FILES[1], data)
    with atomic_path(out / FILES[0]) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
