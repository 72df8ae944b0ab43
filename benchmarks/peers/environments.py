"""An environment of its own for each peer: made once, made again when its requirements change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
_INSTALL_S = 1800


@dataclass(frozen=True)
class Way:
    """One way to ask the same calls."""

    name: str
    script: str
    """In ways/, without .py."""
    package: str | None
    """Its requirements file, without .txt; None: this project's own environment."""
    version_of: str | None = None
    """The distribution whose version is told."""


OURS, FLOOR = "bench generate", "aiohttp, keeps nothing"
WAYS = (
    Way(OURS, "bench_generate", None),
    Way(FLOOR, "aiohttp_only", None, "aiohttp"),
    Way("openai SDK", "openai_sdk", "openai", "openai"),
    Way("litellm loop", "litellm_loop", "litellm", "litellm"),
    Way("curator", "curator_llm", "curator", "bespokelabs-curator"),
    Way("distilabel", "distilabel_pipeline", "distilabel", "distilabel"),
    Way("inspect_ai", "inspect_eval", "inspect_ai", "inspect_ai"),
)


@dataclass(frozen=True)
class Environment:
    """Where a way's Python is, or why there is none."""

    python: Path
    version: str = ""
    missing: str = ""


def prepare(way: Way, work: Path) -> Environment:
    """Return a way's environment; make it where it is not there."""
    if way.package is None:
        return _told(way, Path(sys.executable))
    folder, wanted = work / "environments" / way.package, _wanted(way.package)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    note = folder / "requirements.sha256"
    if note.is_file() and note.read_text(encoding="ascii") == wanted:
        return _told(way, python)
    print(f"  making the environment of {way.name} …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--requirement", str(HERE / "requirements" / f"{way.package}.txt")]
    try:
        done = subprocess.run(
            install, check=False, capture_output=True, text=True, timeout=_INSTALL_S
        )
    except subprocess.TimeoutExpired:
        return Environment(python, missing=f"pip took longer than {_INSTALL_S} s")
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        last = (errors or done.stderr.splitlines() or ["no message"])[-1]
        return Environment(python, missing=f"pip: {last[:200]}")
    note.write_text(wanted, encoding="ascii")
    return _told(way, python)


def _wanted(package: str) -> str:
    raw = (HERE / "requirements" / f"{package}.txt").read_bytes()
    return hashlib.sha256(raw + sys.version.encode()).hexdigest()


def _told(way: Way, python: Path) -> Environment:
    if way.version_of is None:
        return Environment(python)
    code = f"import importlib.metadata as m; print(m.version({way.version_of!r}))"
    done = subprocess.run([str(python), "-c", code], check=False, capture_output=True, text=True)
    if done.returncode:
        return Environment(python, missing=f"{way.version_of} cannot be found in {python}")
    return Environment(python, version=done.stdout.strip())
