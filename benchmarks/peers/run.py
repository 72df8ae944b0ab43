"""The same 2,000 calls and the same 2.4 million rows, ours and what a user would pick instead.

    python benchmarks/peers/run.py                   # all: says how long, resumes, writes the page
    python benchmarks/peers/run.py --only openai curator --conditions 64x20
    python benchmarks/peers/run.py --page-only       # docs/performance.md from results/peers.json
    python benchmarks/peers/run.py --smoke           # seconds: ours and aiohttp, page under --work

Every way is a process in an environment of its own (made under --work, once) that asks one
loopback server. A round is every way once, one after the other; ratios are within a round. The
server tells the seconds from the first request to the last answer, so interpreters that start and
tables that are written afterwards do not count; they show in the seconds of the whole process.
A way counts only where the server saw every call exactly once and the way has every answer.
Finished rounds are kept and not repeated; --fresh drops them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import expansion
from peers.environments import FLOOR, OURS, WAYS, Environment, Way, prepare
from peers.page import write_page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONDITIONS = ("64x200", "256x200", "64x20")
LIMIT_S = 600
TEXT = "Explain in a few sentences what a router of language models does for its users. " * 3
# What a call of each way took here, in CPU seconds beside the delay: for the forecast only.
_CALL_S = {OURS: 0.001, FLOOR: 0.0003, "inspect_ai": 0.02}


def ask(way: Way, place: Environment, url: str, folder: Path, condition: str) -> dict[str, Any]:
    """Run one way once; return its figures, or what went wrong as ``failed``."""
    at_once = condition.partition("x")[0]
    urllib.request.urlopen(f"{url}/reset").close()
    work = folder / "one-run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [str(place.python), str(HERE / "ways" / f"{way.script}.py"), "--url", f"{url}/v1"]
    command += ["--queries", str(folder / "queries.jsonl"), "--concurrency", at_once]
    start = time.perf_counter()
    log = folder / f"{way.script}.log"
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, "--work", str(work)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            told, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return {"failed": f"not done after {LIMIT_S} s"}
    whole = time.perf_counter() - start
    with urllib.request.urlopen(f"{url}/account") as response:
        account = json.load(response)
    shutil.rmtree(work, ignore_errors=True)
    if process.returncode:
        last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no message"])[-1]
        return {"failed": f"ended with {process.returncode}: {last[:160]}"}
    answers = json.loads(told.strip().splitlines()[-1])["answers"]
    calls = len((folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    if (account["requests"], account["distinct"], answers) != (calls, calls, calls):
        return {
            "failed": f"{account['requests']} requests of {account['distinct']} calls arrived and "
            f"{answers} different answers came back, of {calls}"
        }
    return account | {"rate": calls / account["seconds"], "whole_s": whole}


@contextmanager
def server(condition: str) -> Iterator[str]:
    """Start the server of a condition; yield where it is."""
    delay = float(condition.partition("x")[2]) / 1000
    command = [sys.executable, str(HERE / "server.py"), "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure_calls(
    ways: dict[Way, Environment], conditions: list[str], rounds: int, work: Path, kept: Kept
) -> None:
    """Run the rounds that are missing; a round is kept when all its ways are through."""
    for number in range(1, rounds + 1):
        for condition in conditions:
            held = kept.rounds(condition)
            if len(held) >= number:
                continue
            print(f"round {number} of {rounds}, {condition} (at once x ms)", flush=True)
            this: dict[str, Any] = {}
            with server(condition) as url:
                for way, place in ways.items():
                    this[way.name] = ask(way, place, url, work, condition)
                    figures = this[way.name]
                    print(
                        f"  {way.name:24}"
                        + (
                            f"failed: {figures['failed']}"
                            if "failed" in figures
                            else f"{figures['rate']:7,.0f}/s   {figures['whole_s']:6.1f} s in all"
                        ),
                        flush=True,
                    )
            held.append(this)
            kept.save()


class Kept:
    """Rounds measured so far, in a file that is written anew after every round."""

    def __init__(self, path: Path, what: dict[str, Any]):
        self._path = path
        self.told: dict[str, Any] = {"what": what, "calls": {}, "expansion": []}
        if path.is_file():
            held = json.loads(path.read_text(encoding="utf-8"))
            if held["what"] == what:
                self.told = held
            else:
                print("what is measured has changed: earlier rounds are dropped", flush=True)

    def rounds(self, condition: str) -> list[dict[str, Any]]:
        held: list[dict[str, Any]] = self.told["calls"].setdefault(condition, [])
        return held

    def save(self) -> None:
        aside = self._path.with_suffix(".tmp")
        aside.write_text(json.dumps(self.told, indent=1), encoding="utf-8")
        aside.replace(self._path)


def figures(kept: Kept, ways: dict[Way, Environment], skipped: dict[str, str]) -> dict[str, Any]:
    """Return what peers.json holds: medians, and ratios of ours within each round."""
    conditions: dict[str, list[dict[str, Any]]] = {}
    for condition, rounds in kept.told["calls"].items():
        conditions[condition] = [_row(way.name, rounds) for way in ways if rounds]
    return {
        "made": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[1], 1),
        },
        "calls": kept.told["what"]["calls"],
        "versions": {way.name: place.version for way, place in ways.items()},
        "skipped": skipped,
        "conditions": conditions,
        "expansion": expansion.summary(kept.told["expansion"]) if kept.told["expansion"] else [],
        "expansion_rounds": len(kept.told["expansion"]),
    }


def _row(name: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [r[name] for r in rounds if "rate" in r.get(name, {})]
    failed = [r[name]["failed"] for r in rounds if "failed" in r.get(name, {})]
    if not mine:
        return {"way": name, "rounds": 0, "failed": failed[-1] if failed else "not run"}
    both = [r for r in rounds if "rate" in r.get(name, {}) and "rate" in r.get(OURS, {})]
    ratios = [r[OURS]["rate"] / r[name]["rate"] for r in both]
    return {
        "way": name,
        "rounds": len(mine),
        "failed": failed[-1] if failed else "",
        "rate": statistics.median(m["rate"] for m in mine),
        "ours_to_it": [statistics.median(ratios), min(ratios), max(ratios)] if ratios else None,
        "whole_s": statistics.median(m["whole_s"] for m in mine),
        "most_in_flight": max(m["most_in_flight"] for m in mine),
    }


def forecast(ways: dict[Way, Environment], conditions: list[str], left: int, calls: int) -> float:
    """Return about how many seconds the missing rounds take on two free cores."""
    seconds = 0.0
    for condition in conditions:
        at_once, delay = (float(part) for part in condition.split("x"))
        for way in ways:
            seconds += 5 + calls * max(delay / 1000 / at_once, _CALL_S.get(way.name, 0.005))
    return seconds * left


def main(arguments: list[str] | None = None) -> int:
    """Parse, prepare, measure, write the page; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [way.script for way in WAYS] + [way.package for way in WAYS if way.package]
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="PEER", choices=names, help=", ".join(names))
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), metavar="ATxMS")
    parser.add_argument("--work", type=Path, help="environments, rounds (default out/peers)")
    parser.add_argument("--fresh", action="store_true", help="drop the rounds that are kept")
    parser.add_argument("--no-expansion", action="store_true", help="calls only")
    parser.add_argument("--page-only", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="seconds; writes under --work only")
    options = parser.parse_args(arguments)
    work: Path = options.work or ROOT / "out" / ("peers-smoke" if options.smoke else "peers")
    results = work / "peers.json" if options.smoke else ROOT / "benchmarks/results/peers.json"
    page = work / "performance.md" if options.smoke else ROOT / "docs/performance.md"
    if options.page_only:
        write_page(json.loads(results.read_text(encoding="utf-8")), page)
        return 0
    if options.smoke:
        options.calls, options.rounds, options.conditions = 60, 1, ["8x10"]
        options.only, options.no_expansion = ["bench_generate"], True
        work.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "docs/performance.md", page)
    _measure(options, work, results)
    write_page(json.loads(results.read_text(encoding="utf-8")), page)
    print(f"written: {results}, {page}")
    return 0


def _measure(options: argparse.Namespace, work: Path, results: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    chosen = [
        way
        for way in WAYS
        if not options.only
        or way.package is None
        or not {way.script, way.package}.isdisjoint(options.only)
    ]
    ways: dict[Way, Environment] = {}
    skipped: dict[str, str] = {}
    for way in chosen:
        place = prepare(way, work)
        if place.missing:
            skipped[way.name] = place.missing
            print(f"skipped: {way.name}: {place.missing}", flush=True)
        else:
            ways[way] = place
    with (work / "queries.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(options.calls):
            query = {"query": f"call {number}: {TEXT}", "ground_truth": f"The answer is {number}."}
            lines.write(json.dumps(query) + "\n")
    state = work / "rounds.json"
    if options.fresh:
        state.unlink(missing_ok=True)
    told = {way.name: place.version for way, place in ways.items()}
    kept = Kept(state, {"calls": options.calls, "ways": told})
    missing = sum(max(0, options.rounds - len(kept.rounds(c))) for c in options.conditions)
    seconds = forecast(ways, options.conditions, 1, options.calls) / len(options.conditions)
    print(
        f"{missing} rounds to run, about {missing * seconds / 60:.0f} min on two free cores; stop "
        "and run again at will",
        flush=True,
    )
    measure_calls(ways, options.conditions, options.rounds, work, kept)
    if not options.no_expansion:
        rounds = kept.told["expansion"]
        if len(rounds) < options.rounds:
            print(f"expansion, {options.rounds - len(rounds)} rounds", flush=True)
            expansion.check_same()
        while len(rounds) < options.rounds:
            expansion.round_of(rounds)
            kept.save()
    results.write_text(json.dumps(figures(kept, ways, skipped), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
