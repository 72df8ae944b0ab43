"""What all ways share: their arguments, the prompts, and how they tell what they got.

Imported in the environment of each peer, so it needs the standard library only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MODEL = "llm-0"
MAX_TOKENS = 64
KEY = "none-needed"


@dataclass(frozen=True)
class Order:
    """What a way is to do."""

    url: str
    """Base URL, ending in /v1."""
    queries: Path
    """JSONL with ``query``."""
    concurrency: int
    work: Path
    """An empty folder of its own, for whatever it keeps."""

    def prompts(self) -> list[str]:
        with self.queries.open(encoding="utf-8") as lines:
            return [json.loads(line)["query"] for line in lines]


def order() -> Order:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    return Order(options.url, options.queries, options.concurrency, options.work)


def tell(answers: Iterable[str | None]) -> None:
    """Print how many different answers came back, as the last line."""
    print(json.dumps({"answers": len({text for text in answers if text})}), flush=True)
