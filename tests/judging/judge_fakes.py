"""What the tests of the LLM judges share: people, questions, answers, and a judge on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from loopback import Loopback

from personaroute_bench.judging.calls import requests_of
from personaroute_bench.llms.engine import RunSummary, read_replies, run_calls
from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.llms.options import EngineOptions
from personaroute_bench.llms.types import LLM, ChatRequest, Reply
from personaroute_bench.llms.wires import WirePool
from personaroute_bench.tasks.types import Query
from personaroute_bench.users.persona_types import Persona

LLM_IDS = ("acme/small", "acme/large", "zeta/medium", "zeta/tiny", "omega")


def people(number: int) -> list[Persona]:
    return [
        Persona(f"p{n}", f"You are person {n}.", None, {}, None, None, None) for n in range(number)
    ]


def questions(number: int) -> list[Query]:
    return [Query(f"q{n}", "t", f"What is {n}?", f"Solve: {n}", None, "em") for n in range(number)]


def answers(
    queries: Sequence[Query],
    llm_ids: Sequence[str] = LLM_IDS,
    *,
    text: Callable[[str, str], str] = lambda query_id, llm_id: f"{llm_id} on {query_id}",
    failed: Sequence[tuple[str, str]] = (),
) -> pa.Table:
    """A `responses` table; ids dictionary-encoded, as on disk."""
    rows = [(query.query_id, llm_id) for query in queries for llm_id in llm_ids]
    return pa.table(
        {
            "query_id": pa.array([q for q, _ in rows]).dictionary_encode(),
            "llm_id": pa.array([m for _, m in rows]).dictionary_encode(),
            "response": [text(q, m) for q, m in rows],
            "status": pa.array(
                ["refused" if row in failed else "ok" for row in rows]
            ).dictionary_encode(),
        }
    )


def judge(number: int = 0, url: str = "http://127.0.0.1:9/v1", **changes: Any) -> LLM:
    fields: dict[str, Any] = {
        "id": f"judge-{number}",
        "name": f"Judge {number}",
        "model": f"judge-model-{number}",
        "provider": "openai",
        "base_url": url,
        "input_price": 1.0,
        "output_price": 2.0,
    }
    return LLM(**(fields | changes))


@dataclass
class Bench:
    """A judge that answers over HTTP, asked through the real engine and ledger."""

    server: Loopback
    ledger: Ledger

    def ask(
        self, calls: Sequence[Any], **options: Any
    ) -> tuple[RunSummary, Iterator[tuple[ChatRequest, Reply]]]:
        requests = requests_of(calls)
        pool = WirePool(client=None, concurrency=8)
        summary = run_calls(
            requests,
            self.ledger,
            wire_for=pool.wire_for,
            dataset_id="data",
            options=EngineOptions(concurrency=8, backoff_s=0.0, **options),
        )
        return summary, read_replies(requests, self.ledger)


@contextmanager
def judging(folder: Path, reply: Callable[[dict[str, Any]], Any]) -> Iterator[Bench]:
    with Loopback(reply=reply) as server, Ledger(folder / "ledger.sqlite") as ledger:
        yield Bench(server, ledger)
