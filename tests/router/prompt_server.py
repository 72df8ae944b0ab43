"""A loopback LLM that reads prompts of prompt-llm and names the candidate taken most often."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

CANDIDATE = re.compile(r"^\[\[candidate (\d+) [0-9a-f]{8}\]\]\nname: (.*)$", re.MULTILINE)
TAKEN = re.compile(r"^Taken: candidates? ([0-9 and]+)", re.MULTILINE)


def candidates(prompt: str) -> dict[int, str]:
    """Number shown to name."""
    return {int(number): name for number, name in CANDIDATE.findall(prompt)}


def favourite(prompt: str) -> str:
    """The name of what was taken most often, else that which comes last by name."""
    named = candidates(prompt)
    taken: Counter[str] = Counter()
    for listed in TAKEN.findall(prompt):
        taken.update(named[int(number)] for number in listed.split(" and "))
    return max(named.values(), key=lambda name: (taken[name], name))


def reply(body: dict[str, Any]) -> str:
    prompt = body["messages"][-1]["content"]
    number = {name: n for n, name in candidates(prompt).items()}[favourite(prompt)]
    return json.dumps({"choice": number})


def write_pool(folder: Path, base_url: str, **changes: Any) -> Path:
    entry = {
        "id": "judge",
        "model": "acme/judge-1",
        "provider": "openai",
        "base_url": base_url,
        "input_price": 1.0,
        "output_price": 2.0,
        "price_source": "made up for tests",
    }
    path = folder / "router-pool.yaml"
    path.write_text(yaml.safe_dump({"llms": [entry | changes]}), encoding="utf-8")
    return path
