"""A long run under fire: faults, kills and an empty purse, then an audit against the server's bill.

As a program (`make soak`):

    python tests/soak/soak.py --queries 2000 --llms 10 --concurrency 256

`bench generate` runs in a process of its own, is killed with SIGKILL, stopped by --max-cost and
started again, always by the same command. At the end the ledger must agree with what the server
charged, call by call.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from billing_server import TELLS_NO_PRICE, UNBILLED, BillingServer, answer, price_of
from loopback import completion

from personaroute_bench.llms.ledger import Ledger

MAX_TOKENS = 64


@dataclass(frozen=True)
class Plan:
    """What is done to the run: kills and caps as shares of all calls, in this order."""

    queries: int
    llms: int
    concurrency: int
    steps: tuple[tuple[str, float], ...]
    """("kill", share): kill once so many requests came in. ("cap", share): from here on the cap
    is this share of what everything costs. ("stop", 0): let it run until the cap ends it."""
    fault_rate: float = 0.05
    timeout_s: float = 5
    seed: int = 20251116

    @property
    def calls(self) -> int:
        """Distinct calls."""
        return self.queries * self.llms


FULL = Plan(
    2000, 10, 256,
    (("cap", 0.4), ("kill", 0.08), ("kill", 0.2), ("stop", 0), ("cap", 0.75), ("kill", 0.5),
     ("stop", 0), ("cap", 10), ("kill", 0.85), ("kill", 0.93)),
)  # fmt: skip


def soak(plan: Plan, folder: Path, say: Any = print) -> dict[str, Any]:
    """Run the plan in a folder and audit it; return the figures. AssertionError where it fails."""
    prices = {f"acme/m{n}": (1 + n, 3 * (1 + n)) for n in range(plan.llms)}
    prompts = [f"Question number {n}: what is the word for {n}?" for n in range(plan.queries)]
    whole = sum((_price(model, text, prices) for model in prices for text in prompts), Fraction(0))
    (folder / "tasks.jsonl").write_text(
        "".join(json.dumps({"query": text, "ground_truth": "bread"}) + "\n" for text in prompts)
    )
    started, kills, stops = time.monotonic(), 0, 0
    with BillingServer(prices, plan.fault_rate, plan.seed) as server:
        (folder / "pool.yaml").write_text(yaml.safe_dump({"llms": _pool(prices, server.url)}))
        run = _Run(plan, folder, server)
        cap = Fraction(10)
        for kind, share in plan.steps:
            if kind == "cap":
                cap = Fraction(share)
            elif kind == "kill":
                run.kill(float(cap * whole), round(share * plan.calls))
                kills += 1
                audit(run.ledger, server, plan, final=False)
            else:
                code, said = run.finish(float(cap * whole))
                assert code == 3 and "--max-cost" in said, (code, said)
                stops += 1
                found = audit(run.ledger, server, plan, final=False)
                assert found["known_usd"] <= float(cap * whole)
            say(f"{kind} {share}: {len(server.served):,} requests so far")
        code, said = run.finish(float(10 * whole))
        assert code == 0, said
        figures = audit(run.ledger, server, plan, final=True)
        asked = len(server.served)
        assert run.finish(float(10 * whole))[0] == 0
        assert len(server.served) == asked, "a run of what is whole asked something"
    _audit_tables(folder / "out", figures, server, plan)
    return {
        "calls": plan.calls,
        "requests": asked,
        "faults": dict(Counter(one.fault for one in server.served if one.fault)),
        "kills": kills,
        "budget_stops": stops,
        "seconds": round(time.monotonic() - started, 1),
        **figures,
    }


class _Run:
    """`bench generate`, again and again."""

    def __init__(self, plan: Plan, folder: Path, server: BillingServer) -> None:
        self._server, self._moment = server, random.Random(plan.seed)
        self.ledger = folder / "out" / "ledger.sqlite"
        self._command = [
            sys.executable, "-m", "personaroute_bench.cli", "generate", "--users", "1",
            "--pool", str(folder / "pool.yaml"), "--tasks", str(folder / "tasks.jsonl"),
            "--out", str(folder / "out"), "--max-tokens", str(MAX_TOKENS),
            "--timeout", str(plan.timeout_s), "--concurrency", str(plan.concurrency), "--quiet",
            "--max-error-rate", "1", "--max-cost",
        ]  # fmt: skip

    def kill(self, cap: float, requests: int) -> None:
        """Start it, and kill it in the middle, soon after so many requests."""
        deadline = time.monotonic() + 600
        with subprocess.Popen([*self._command, repr(cap)], stderr=subprocess.PIPE) as process:
            while len(self._server.served) < requests:
                assert process.poll() is None, "it ended before it could be killed"
                assert time.monotonic() < deadline, "it asks nothing"
                time.sleep(0.002)
            time.sleep(self._moment.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "it was over before the kill"

    def finish(self, cap: float) -> tuple[int, str]:
        """Let it run to its end; return exit code and messages."""
        done = subprocess.run(
            [*self._command, repr(cap)], capture_output=True, text=True, timeout=1800, check=False
        )
        return done.returncode, done.stderr


def audit(path: Path, server: BillingServer, plan: Plan, *, final: bool) -> dict[str, Any]:
    """Compare the ledger with the server's books; return the figures."""
    with Ledger(path) as ledger:
        spend = ledger.spend()
        rows = list(
            ledger.query(
                "SELECT a.id, a.key, a.state, a.cost_usd, a.reserved_usd, r.body, "
                "a.id IN (SELECT settled_attempt FROM calls) FROM attempts a "
                "LEFT JOIN replies r ON r.attempt_id = a.id ORDER BY a.id"
            )
        )
        calls = dict(ledger.query("SELECT key, settled_attempt FROM calls"))
    served = list(server.served)
    kept: dict[int, tuple[str, float | None]] = {}  # the server's number: key and cost
    settled_by: dict[str, int] = {}
    dark = 0
    for _, key, state, cost, reserved, body, settles in rows:
        assert state != "in_flight", "an attempt is neither over nor listed as unknown"
        assert cost is not None or reserved is not None, "unknown spend without its bound"
        number = _number(body)
        if number is None:
            dark += cost is None or body is None
            continue
        assert number not in kept, "one reply twice in the ledger"
        kept[number] = (key, cost)
        if settles:
            settled_by[key] = number
    # To the cent: what the ledger knows of a reply is what the server charged for it.
    for number, (_, cost) in kept.items():
        if cost is not None:
            assert abs(Fraction(cost) - served[number].charged) < Fraction(1, 10**9), number
    known = sum((served[n].charged for n, (_, cost) in kept.items() if cost is not None), 0)
    assert abs(spend.known_usd - float(known)) < 1e-6, (spend, float(known))
    # Nothing is lost: what was charged and is not known stands as unknown, below its bound.
    charged = sum((one.charged for one in served), Fraction(0))
    assert float(charged) - spend.known_usd <= spend.unknown_usd + 1e-9
    blind = [n for n, one in enumerate(served) if n not in kept and one.fault not in UNBILLED]
    assert len(blind) <= dark, f"{len(blind)} requests without a trace, {dark} listed"
    # Nothing settled is paid again: no request for a call after the reply that settled it.
    last = {(one.model, one.prompt): n for n, one in enumerate(served)}
    for number in settled_by.values():
        assert last[served[number].model, served[number].prompt] == number, "asked again"
    if final:
        assert len(calls) == plan.calls and None not in calls.values()
    return {
        "known_usd": spend.known_usd,
        "unknown_usd_at_most": spend.unknown_usd,
        "charged_usd": float(charged),
        "unknown_calls": spend.unknown,
        "settled": len(settled_by),
    }


def _audit_tables(out: Path, figures: Mapping[str, Any], server: BillingServer, plan: Plan) -> None:
    """What is told at the end is what the ledger holds."""
    import pyarrow.parquet as pq

    manifest = json.loads((out / "manifest.json").read_text())
    assert abs(manifest["spend"]["usd"] - figures["known_usd"]) < 1e-9
    assert manifest["spend"]["unknown_calls"] == figures["unknown_calls"]
    table = pq.read_table(out / "responses.parquet", columns=["status", "error_type", "cost_usd"])
    statuses = Counter(
        zip(table["status"].to_pylist(), table["error_type"].to_pylist(), strict=True)
    )
    assert table.num_rows == plan.calls and statuses["ok", None] > 0.9 * plan.calls
    assert set(statuses) <= {("ok", None), ("error", "missing_usage")}, statuses
    silent = sum(one.fault in TELLS_NO_PRICE for one in server.served)
    assert table["cost_usd"].null_count == statuses["error", "missing_usage"] <= silent
    connection = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _pool(prices: Mapping[str, tuple[int, int]], url: str) -> list[dict[str, Any]]:
    return [
        {"id": model, "model": model, "provider": "openai", "base_url": url,
         "input_price": low, "output_price": high}
        for model, (low, high) in prices.items()
    ]  # fmt: skip


def _price(model: str, text: str, prices: Mapping[str, tuple[int, int]]) -> Fraction:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return price_of(completion(body, answer(body))["usage"], prices, model)


def _number(body: bytes | None) -> int | None:
    """Return the server's number of a reply; None where there is none to read."""
    try:
        return int(json.loads(body or b"")["id"].removeprefix("chatcmpl-"))
    except (ValueError, KeyError, TypeError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="20,000 calls under fire, audited to the cent")
    parser.add_argument("--queries", type=int, default=FULL.queries)
    parser.add_argument("--llms", type=int, default=FULL.llms)
    parser.add_argument("--concurrency", type=int, default=FULL.concurrency)
    options = parser.parse_args()
    plan = Plan(options.queries, options.llms, options.concurrency, FULL.steps)
    with tempfile.TemporaryDirectory() as folder:
        figures = soak(plan, Path(folder))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
