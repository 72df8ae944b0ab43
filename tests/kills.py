"""Kill a running `bench` with SIGKILL, again and again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from loopback import Loopback

from personaroute_bench.llms.ledger import Ledger


def kill_repeatedly(
    server: Loopback, arguments: list[str], ledger: Path, *, kills: int, concurrency: int, seed: int
) -> int:
    """Start the command and kill it, ``kills`` times; return the attempts of unknown spend.

    Asserts after each kill that no more attempts became unknown than could be in flight.
    """
    moment = random.Random(seed)
    command = [sys.executable, "-m", "personaroute_bench.cli", *arguments,
               "--concurrency", str(concurrency), "--quiet"]  # fmt: skip
    unknown = 0
    for _ in range(kills):
        # Wait for a few more calls, then for a moment: kills fall into all phases of a call.
        wait_for = len(server.seen) + moment.randrange(12)
        deadline = time.monotonic() + 60
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while len(server.seen) < wait_for and process.poll() is None:
                assert time.monotonic() < deadline, "the command asks nothing"
                time.sleep(0.002)
            time.sleep(moment.random() * 0.03)
            process.send_signal(signal.SIGKILL)
        if ledger.exists():
            with Ledger(ledger) as book:
                ((now,),) = book.query("SELECT count(*) FROM attempts WHERE state = 'unknown'")
            assert now - unknown <= concurrency
            unknown = now
    return unknown
