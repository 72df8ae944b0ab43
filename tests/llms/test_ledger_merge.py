"""Merging ledgers: nothing is lost, nothing counts twice, whatever was merged before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import FakeWire, answer, failure, make_llm, make_request

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.engine import EngineOptions, read_replies, run_calls
from personaroute_bench.llms.ledger import Ledger, iterate_ledger
from personaroute_bench.llms.ledger_merge import merge_ledger
from personaroute_bench.llms.ledger_schema import LedgerInUse
from personaroute_bench.llms.types import ChatRequest

LLM_ = make_llm()
REQUESTS = [make_request(LLM_, number) for number in range(12)]


def ask(path: Path, requests: list[ChatRequest], script: Any = None) -> None:
    wire = FakeWire(script or answer, delay=0.0)
    with Ledger(path) as ledger:
        run_calls(
            requests,
            ledger,
            wire_for=lambda llm: wire,
            dataset_id="part",
            options=EngineOptions(max_attempts=2, backoff_s=0.0, max_error_rate=1.0),
        )


def told(path: Path) -> list[tuple[Any, ...]]:
    """What a ledger says, without the numbers that it gives its own rows."""
    with Ledger(path, read_only=True) as ledger:
        return sorted(
            (
                entry["key"],
                entry["request"],
                entry["settled_attempt"] is not None,
                [
                    (a["started_at"], a["state"], a["kind"], a["cost_usd"], a.get("body"))
                    for a in entry["attempts"]
                ],
            )
            for entry in iterate_ledger(ledger)
        )


def test_parts_together_say_what_they_said_apart(tmp_path: Path) -> None:
    def sometimes(request: ChatRequest, attempt: int) -> Any:
        return failure(503) if attempt == 1 and request.tag in ("q3", "q7") else answer(request)

    ask(tmp_path / "one", REQUESTS[:5], sometimes)
    ask(tmp_path / "two", REQUESTS[5:], sometimes)
    ask(tmp_path / "whole", [])
    with Ledger(tmp_path / "whole") as ledger:
        for part in ("one", "two", "one"):  # once more changes nothing
            merge_ledger(ledger, tmp_path / part, "data")
        keys = [request.key() for request in REQUESTS]
        assert ledger.settled(keys) == set(keys)
        assert [reply.text for _, reply in read_replies(REQUESTS, ledger)] == [
            request.messages[0][1] for request in REQUESTS
        ]
        assert ledger.spend("data").known_usd == pytest.approx(6.0)
        assert ledger.spend("data").billed == 12
        assert ledger.spend() == ledger.spend("data")
        ((runs,),) = ledger.query("SELECT count(*) FROM runs WHERE dataset_id = 'data'")
        ((loose,),) = ledger.query(
            "SELECT count(*) FROM attempts WHERE run_id NOT IN (SELECT id FROM runs)"
        )
        assert (runs, loose) == (2, 0)
    assert told(tmp_path / "whole") == sorted(told(tmp_path / "one") + told(tmp_path / "two"))


def test_a_part_that_has_grown_is_merged_again(tmp_path: Path) -> None:
    ask(tmp_path / "part", REQUESTS[:4], lambda request, attempt: failure(503))
    with Ledger(tmp_path / "whole") as ledger:
        merge_ledger(ledger, tmp_path / "part", "data")
        assert ledger.settled([REQUESTS[0].key()]) == set()
    ask(tmp_path / "part", REQUESTS)
    with Ledger(tmp_path / "whole") as ledger:
        merge_ledger(ledger, tmp_path / "part", "data")
    assert told(tmp_path / "whole") == told(tmp_path / "part")


def test_what_was_in_flight_or_unread_is_kept(tmp_path: Path) -> None:
    ask(tmp_path / "part", REQUESTS[:3])
    with Ledger(tmp_path / "part") as ledger:
        # Killed: one call in flight, one answered and not judged yet.
        ledger.execute(
            "UPDATE attempts SET state = 'in_flight', kind = NULL, cost_usd = NULL WHERE id < 3"
        )
        ledger.execute("DELETE FROM replies WHERE attempt_id = 1")
        ledger.execute("UPDATE calls SET settled_attempt = NULL WHERE settled_attempt < 3")
    with Ledger(tmp_path / "whole") as ledger:
        ask(tmp_path / "other", REQUESTS[6:])
        merge_ledger(ledger, tmp_path / "other", "data")
        merge_ledger(ledger, tmp_path / "part", "data")
        assert ledger.spend("data").unknown == 2
        assert ledger.spend("data").unknown_usd == 2.0
        assert set(ledger.unjudged()) == {REQUESTS[1].key()}
    # The part goes on and judges it; merged again, the whole knows.
    ask(tmp_path / "part", REQUESTS[:3])
    with Ledger(tmp_path / "whole") as ledger:
        merge_ledger(ledger, tmp_path / "part", "data")
        assert ledger.unjudged() == {}
        assert ledger.spend("data").unknown == 1
        assert len(ledger.settled([request.key() for request in REQUESTS[:3]])) == 3


def test_a_copy_that_was_taken_earlier_takes_nothing_back(tmp_path: Path) -> None:
    ask(tmp_path / "part", REQUESTS[:2])
    with Ledger(tmp_path / "whole") as ledger:
        merge_ledger(ledger, tmp_path / "part", "data")
    before = told(tmp_path / "whole")
    shutil.copy(tmp_path / "part", tmp_path / "copy")
    with Ledger(tmp_path / "copy") as ledger:
        ledger.execute("UPDATE attempts SET state = 'in_flight', kind = NULL, cost_usd = NULL")
        ledger.execute("DELETE FROM replies")
        ledger.execute("UPDATE calls SET settled_attempt = NULL")
    with Ledger(tmp_path / "whole") as ledger:
        merge_ledger(ledger, tmp_path / "copy", "data")
    assert told(tmp_path / "whole") == before


def test_a_ledger_in_use_or_no_ledger_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    ask(tmp_path / "part", REQUESTS[:2])
    (tmp_path / "text").write_text("no ledger")
    with Ledger(tmp_path / "whole") as ledger:
        with Ledger(tmp_path / "part"), pytest.raises(LedgerInUse, match="in use by process"):
            merge_ledger(ledger, tmp_path / "part", "data")
        with pytest.raises(UsageError, match="not a ledger"):
            merge_ledger(ledger, tmp_path / "text", "data")
        assert ledger.spend().billed == 0
        merge_ledger(ledger, tmp_path / "part", "data")
        assert ledger.spend().billed == 2
