"""What many users cost: seconds, memory and disk of generation and evaluation, and how they grow.

    python benchmarks/scale.py [--only stored] [--rounds 3] [--results scale.jsonl]

stored    bench generate, every interaction a row: 10,000 and 100,000 users × 240 queries × 10 LLMs
virtual   bench generate --interactions virtual: 100,000 and 1,000,000 users
evaluate  bench evaluate --router best-per-user on the virtual ones: 480 million candidate rewards

The smallest size, 1,000 users, is what a run costs before there are many users (imports, simulated
responses); growth is measured from there: (c₃ − c₁) / (c₂ − c₁) over (u₃ − u₁) / (u₂ − u₁), which
is 1 where cost is linear. Each run is a process of its own. CPU seconds (user + system) are what
to compare on a machine that does other things too; wall seconds are beside them. Peak memory is
the largest sum over the process and all it starts, looked at ten times a second. Every run is a
line of the results, and a run that is there already is not made again. Data sets are made in
--work and deleted at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BENCH = [sys.executable, "-m", "personaroute_bench.cli"]
QUERIES, LLMS, TEST = 240, 10, 48
SIZES: dict[str, tuple[int, ...]] = {
    "stored": (1_000, 10_000, 100_000),
    "virtual": (1_000, 100_000, 1_000_000),
    "evaluate": (1_000, 100_000, 1_000_000),
}
_PAGE = os.sysconf("SC_PAGE_SIZE")


def measure(arguments: list[str], log: Path) -> dict[str, float]:
    """Run bench; return CPU and wall seconds, and the peak memory of it and its children in MB.

    Raises:
        SystemExit: it failed; says what it said.
    """
    start, peak = time.perf_counter(), 0
    with log.open("w") as out:
        process = subprocess.Popen(
            [*BENCH, *arguments], stdout=out, stderr=out, start_new_session=True
        )
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            peak = max(peak, sum(_memory(process.pid)))
            time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench {' '.join(arguments)} failed:\n{log.read_text()[-2000:]}")
    return {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.perf_counter() - start,
        "peak_mb": max(peak, usage.ru_maxrss * 1024) / 2**20,
    }


def _memory(session: int) -> Iterator[int]:
    """Yield the resident bytes of each process of a session (Linux)."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                yield int((folder / "statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):
            continue  # it has just ended


def run(what: str, users: int, work: Path) -> dict[str, Any]:
    """Make one measurement."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-", dir=work) as name:
        folder, log = Path(name) / "data", Path(name) / "log"
        form = "stored" if what == "stored" else "virtual"
        made = ["generate", "--users", str(users), "--interactions", form, "--out", str(folder)]
        found = measure([*made, "--quiet"], log)
        if what == "evaluate":
            asked = ["evaluate", str(folder), "--router", "best-per-user"]
            found = measure([*asked, "--json", str(Path(name) / "results.json")], log)
            results = json.loads((Path(name) / "results.json").read_text())
            assert results["rows"]["total"] == users * TEST
        files = [path for path in folder.rglob("*.parquet") if path.is_file()]
        return found | {
            "disk_mb": sum(path.stat().st_size for path in files) / 2**20,
            "files": len(files),
            "largest_file_mb": max(path.stat().st_size for path in files) / 2**20,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=SIZES, action="append", help="Repeatable; default: all.")
    parser.add_argument("--users", help="Other numbers of users, with commas.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("scale.jsonl"))
    parser.add_argument("--work", type=Path, default=None, help="Where data sets are made.")
    options = parser.parse_args()
    held = []
    if options.results.is_file():
        held = [json.loads(line) for line in options.results.read_text().splitlines()]
    for what in options.only or SIZES:
        sizes = SIZES[what]
        if options.users:
            sizes = tuple(int(part) for part in options.users.split(","))
        for number in range(options.rounds):
            for users in sizes:
                key = {"what": what, "users": users, "round": number}
                if any(key.items() <= line.items() for line in held):
                    continue
                need, free = users * 20_000, shutil.disk_usage(options.work or ".").free
                if what == "stored" and free < need:
                    raise SystemExit(f"{free:,} bytes are free and {need:,} needed; give --work")
                line = key | {"load": os.getloadavg()[0]} | run(what, users, options.work)
                held.append(line)
                with options.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), file=sys.stderr)
    report(held)


def report(lines: list[dict[str, Any]]) -> None:
    """Print medians, cost per unit, and growth from each size to the next."""
    print("what      users      CPU s  wall s  peak MB  disk MB  files  largest MB  ns CPU/cell")
    for what in SIZES:
        points: list[tuple[int, float]] = []
        for users in sorted({line["users"] for line in lines if line["what"] == what}):
            mine = [line for line in lines if (line["what"], line["users"]) == (what, users)]
            middle = {
                key: statistics.median(line[key] for line in mine)
                for key in ("cpu_s", "wall_s", "peak_mb", "disk_mb", "files", "largest_file_mb")
            }
            cells = users * LLMS * (TEST if what == "evaluate" else QUERIES)
            print(
                f"{what:<9} {users:<10,} {middle['cpu_s']:5.1f}  {middle['wall_s']:6.1f}  "
                f"{max(line['peak_mb'] for line in mine):7.0f}  {middle['disk_mb']:7.1f}  "
                f"{middle['files']:5.0f}  {middle['largest_file_mb']:10.1f}  "
                f"{1e9 * middle['cpu_s'] / cells:11.1f}"
            )
            points.append((users, middle["cpu_s"]))
        if len(points) > 2:
            (u1, c1), (u2, c2), (u3, c3) = points[-3:]
            growth = (c3 - c1) / (c2 - c1) / ((u3 - u1) / (u2 - u1))
            print(
                f"{'':<9} from {u2:,} to {u3:,} users CPU grows {growth:.2f} times as fast as they"
            )


if __name__ == "__main__":
    main()
