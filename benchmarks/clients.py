"""How fast calls go, ledger and parsing included, against plain aiohttp in the same run.

    python benchmarks/clients.py [--calls 2000] [--rounds 3] [--clients aiohttp,openai,litellm]

A loopback server answers each request after a fixed delay, in a process of its own. "plain" is
one aiohttp session, a semaphore and `await response.read()`: it keeps, parses and counts nothing.
Rates are requests a second over the asking alone (start-up of the interpreter excluded, opening
and closing of the ledger included); ratios are to "plain" in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from personaroute_bench.llms.engine import EngineOptions, run_calls
from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.llms.types import LLM, ChatRequest
from personaroute_bench.llms.wires import WirePool

ROOT = Path(__file__).resolve().parent.parent
CASES = ((64, 0.2), (256, 0.2), (64, 0.02))


@contextmanager
def server(delay: float) -> Iterator[str]:
    """Start the loopback server; yield its base URL."""
    command = [sys.executable, str(ROOT / "tests" / "loopback.py"), "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def make_requests(url: str, calls: int) -> list[ChatRequest]:
    """Return calls of about 60 prompt tokens to ten LLMs of one endpoint."""
    llms = [
        LLM(id=f"llm-{n}", name=f"llm-{n}", model=f"llm-{n}", provider="openai", base_url=url,
            input_price=1.0, output_price=2.0)
        for n in range(10)
    ]  # fmt: skip
    text = "Explain in a few sentences what a router of language models does for its users. " * 3
    return [
        ChatRequest(llms[n % 10], (("user", f"{n}: {text}"),), max_tokens=64) for n in range(calls)
    ]


def plain(requests: list[ChatRequest], concurrency: int) -> float:
    """Ask with nothing but aiohttp; return seconds."""

    async def go() -> float:
        limit = asyncio.Semaphore(concurrency)
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(request: ChatRequest) -> None:
                async with limit:
                    url = f"{request.llm.base_url}/chat/completions"
                    async with session.post(url, json=request.payload()) as response:
                        await response.read()

            start = time.perf_counter()
            await asyncio.gather(*(one(request) for request in requests))
            return time.perf_counter() - start

    return asyncio.run(go())


def ours(client: str) -> Callable[[list[ChatRequest], int], float]:
    """Return the same through the engine with this client."""

    def ask(requests: list[ChatRequest], concurrency: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            with Ledger(Path(folder) / "ledger.sqlite") as ledger:
                pool = WirePool(client=client, concurrency=concurrency)  # type: ignore[arg-type]
                summary = run_calls(
                    requests, ledger, wire_for=pool.wire_for, dataset_id="benchmark",
                    options=EngineOptions(concurrency=concurrency),
                )  # fmt: skip
            seconds = time.perf_counter() - start
        assert summary.finished == len(requests) and summary.failed == 0, summary
        return seconds

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", default="aiohttp,openai")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    ways: dict[str, Callable[[list[ChatRequest], int], float]] = {"plain": plain}
    ways |= {name: ours(name) for name in options.clients.split(",") if name}
    results = []
    print(f"{options.calls} calls, {options.rounds} rounds; requests/s median (min to max), ratio")
    for concurrency, delay in CASES:
        rates: dict[str, list[float]] = {name: [] for name in ways}
        with server(delay) as url:
            requests = make_requests(url, options.calls)
            for ask in ways.values():  # imports and first connections are not timed
                ask(requests[:concurrency], concurrency)
            for _ in range(options.rounds):
                for name, ask in ways.items():
                    rates[name].append(len(requests) / ask(requests, concurrency))
        print(
            f"\n{concurrency} at once, {1000 * delay:.0f} ms (ideal {concurrency / delay:,.0f}/s)"
        )
        for name, values in rates.items():
            ratios = [a / b for a, b in zip(values, rates["plain"], strict=True)]
            row = {
                "concurrency": concurrency, "delay_s": delay, "client": name,
                "rate": statistics.median(values), "ratio": statistics.median(ratios),
                "ratio_low": min(ratios), "ratio_high": max(ratios),
            }  # fmt: skip
            results.append(row)
            print(
                f"  {name:8} {row['rate']:8.0f} ({min(values):.0f} to {max(values):.0f})   "
                f"{row['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
