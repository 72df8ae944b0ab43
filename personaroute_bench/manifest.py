"""The manifest: what a data set is, where it comes from, and the hash of every file."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import personaroute_bench
from personaroute_bench.files import sha256_file
from personaroute_bench.folder import FORMAT
from personaroute_bench.schemas import SCHEMA_VERSION

PACKAGES = (
    "numpy",
    "pyarrow",
    "pandas",
    "scikit-learn",
    "aiohttp",
    "openai",
    "litellm",
    "datasets",
)


def build_manifest(
    folder: Path,
    *,
    configuration: Mapping[str, Any],
    defining: Mapping[str, Any],
    dataset_id: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe the folder's files; see docs/design.md, "The tables".

    Args:
        folder: with all tables in place.
        configuration: what the user asked for.
        defining: what decides the queries and responses.
        dataset_id: the folder's name in a shared ledger.
        facts: provenance, coverage, spend, prices and headroom, as they are known.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix in (".parquet", ".md")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    tables: dict[str, dict[str, Any]] = {}
    for path in files:
        if path.suffix == ".parquet":
            entry = tables.setdefault(_table_of(path.relative_to(folder)), {"rows": 0, "files": 0})
            entry["rows"] += pq.read_metadata(path).num_rows
            entry["files"] += 1
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "dataset_id": dataset_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "generator": _generator(),
        **facts,
        "configuration": dict(configuration),
        "defining": dict(defining),
        "tables": tables,
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
            }
            for path in files
        },
    }


def _table_of(path: Path) -> str:
    if path.parts[0] == "interactions":
        return "/".join(path.parts[:3])
    return path.parts[0].removesuffix(".parquet")


def _generator() -> dict[str, Any]:
    commit, dirty = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "name": "personaroute-bench",
        "version": personaroute_bench.__version__,
        "commit": commit,
        "uncommitted_changes": None if commit is None else bool(dirty),
        "python": platform.python_version(),
        "packages": versions,
    }


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that this package runs from; None where there is none."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
