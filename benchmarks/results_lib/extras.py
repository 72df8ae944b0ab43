"""The page's other parts: ablation, real people, speed; each a benchmark of its own, run once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from personaroute_bench.errors import BenchError
from personaroute_bench.files import atomic_path
from results_lib.plan import RECORDED, ROOT, Plan

ABLATION_DATA = "embedded-1000"
# file: options of benchmarks/ablation.py
ABLATIONS = {
    "ablation-choice-20.md": ("--strategy", "llm_judge", "--feedback", "choice", "-n", "20"),
    "ablation-full.md": ("--strategy", "llm_judge", "--feedback", "full"),
}
SECONDS = {"ablation-choice-20.md": 600, "ablation-full.md": 600, "preferences.md": 300}
SECONDS |= {"speed.json": 120}


def run_extras(plan: Plan, work: Path, folder: Path) -> None:
    """Run those whose files are not in the folder; a failure is told and ends nothing else.

    Args:
        plan: only with the ablation's data set in it there is anything to run.
        work: where the data sets are.
        folder: where the results go; they are kept with the project.
    """
    if not any(data.name == ABLATION_DATA for data in plan.data):
        return
    data = work / "data" / ABLATION_DATA
    folder.mkdir(parents=True, exist_ok=True)
    commands: dict[str, list[str]] = {"speed.json": ["speed.py", str(data)]}
    for name, options in ABLATIONS.items():
        commands[name] = ["ablation.py", str(data), *options, "--seeds", "2"]
    if (RECORDED / "preferences.parquet").is_file():
        commands["preferences.md"] = ["preferences.py", str(RECORDED)]
    for name, command in commands.items():
        path = folder / name
        if path.is_file():
            continue
        print(f"{command[0]} for {name}: about {SECONDS[name] // 60} min", flush=True)
        try:
            _run(command, path)
        except (BenchError, subprocess.CalledProcessError) as error:
            print(f"{name} failed: {error}", file=sys.stderr)


def _run(command: list[str], path: Path) -> None:
    """Run a benchmark; what prints its result is read, what writes it is told where to."""
    script = str(ROOT / "benchmarks" / command[0])
    whole = [sys.executable, script, *command[1:]]
    if command[0] != "preferences.py":
        subprocess.run([*whole, "--out", str(path)], check=True)
        return
    done = subprocess.run(whole, stdout=subprocess.PIPE, text=True, check=True)
    with atomic_path(path) as temporary:
        temporary.write_text(_as_markdown(done.stdout), encoding="utf-8")


def _as_markdown(printed: str) -> str:
    """Put a blank line between a sentence and the table after it."""
    lines: list[str] = []
    for line in printed.strip().splitlines():
        if line.startswith("|") and lines and lines[-1] and not lines[-1].startswith("|"):
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
