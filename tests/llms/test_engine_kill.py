"""SIGKILL at random moments: nothing settled is asked twice, nothing in flight is forgotten.

This file is also the program that is killed: ``python test_engine_kill.py LEDGER LOG SEED`` asks
`CALLS` calls of a wire that plays the server: it logs every request the moment it comes in, with
one unbuffered write, so that the log outlives the process.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from engine_fakes import answer, failure, make_llm, make_request

from personaroute_bench.llms.engine import EngineOptions, read_replies, run_calls
from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.llms.types import ChatRequest, RawReply

CALLS = 240
CONCURRENCY = 8
KILLS = 8
LLMS = tuple(make_llm(number) for number in range(3))
REQUESTS = [make_request(LLMS[number % 3], number) for number in range(CALLS)]


class LoggingWire:
    """A server of a few milliseconds' delay that now and then asks for patience."""

    def __init__(self, log: Path, seed: int):
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._random = random.Random(seed)

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        os.write(self._log, f"{request.key()}\n".encode())
        await asyncio.sleep(self._random.uniform(0.002, 0.02))
        return failure(503) if self._random.random() < 0.05 else answer(request)

    async def close(self) -> None:
        os.close(self._log)


def ask(ledger_path: Path, log: Path, seed: int) -> None:
    wire = LoggingWire(log, seed)
    with Ledger(ledger_path) as ledger:
        print("ready", flush=True)
        run_calls(
            REQUESTS,
            ledger,
            wire_for=lambda llm: wire,
            dataset_id="data",
            options=EngineOptions(concurrency=CONCURRENCY, backoff_s=0.01),
        )


def run_killed(ledger_path: Path, log: Path, seed: int, after_s: float | None) -> bool:
    """Start the program, kill it `after_s` seconds into its calls; tell whether it had ended."""
    here = Path(__file__).resolve()
    environment = dict(os.environ, PYTHONPATH=str(here.parents[2]))
    command = [sys.executable, str(here), str(ledger_path), str(log), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            assert process.wait(timeout=after_s) == 0
        except subprocess.TimeoutExpired:
            process.kill()  # SIGKILL: no handler, no clean-up
            process.wait()
            return False
    return True


def asked(log: Path) -> Counter[str]:
    """How often the server was asked each call; a line that the kill cut off cannot exist."""
    return Counter(log.read_text().split()) if log.exists() else Counter()


@pytest.mark.skipif(not hasattr(os, "O_APPEND"), reason="needs POSIX files")
def test_killed_again_and_again(tmp_path: Path) -> None:
    ledger_path, log = tmp_path / "ledger.sqlite", tmp_path / "server.log"
    keys = [request.key() for request in REQUESTS]
    moments = random.Random(20250)
    held: list[dict[str, int]] = []
    unknown = kills = 0
    for number in range(KILLS):
        if run_killed(ledger_path, log, number, moments.uniform(0.0, 0.09)):
            break
        kills += 1
        now = asked(log)
        with Ledger(ledger_path) as ledger:
            settled = ledger.settled(keys) | ledger.unjudged().keys()
            spend = ledger.spend("data")
            (lost,) = next(ledger.query("SELECT count(*) FROM attempts WHERE state = 'unknown'"))
        assert 0 <= lost - unknown <= CONCURRENCY
        assert spend.unknown_usd == spend.unknown * 1.0, "every lost call with its bound"
        unknown = lost
        # What the ledger holds now must never be asked again.
        held.append({key: now[key] for key in settled})
    assert kills >= 4, "the calls were over too soon for this test to mean anything"
    assert run_killed(ledger_path, log, 99, None)
    final = asked(log)
    for frozen in held:
        assert {key: final[key] for key in frozen} == frozen
    assert any(held), "no kill came after the first settled call"

    with Ledger(ledger_path) as ledger, Ledger(tmp_path / "calm.sqlite") as calm:
        # Every request that the server saw is an attempt in the ledger.
        (attempts,) = next(ledger.query("SELECT count(*) FROM attempts"))
        assert sum(final.values()) <= attempts <= sum(final.values()) + kills * CONCURRENCY
        run_calls(
            REQUESTS,
            calm,
            wire_for=lambda llm: LoggingWire(tmp_path / "calm.log", 0),
            dataset_id="data",
            options=EngineOptions(concurrency=CONCURRENCY, backoff_s=0.0),
        )
        assert list(read_replies(REQUESTS, ledger)) == list(read_replies(REQUESTS, calm))
        assert ledger.spend("data").known_usd == pytest.approx(CALLS * 0.5)


if __name__ == "__main__":
    ask(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
