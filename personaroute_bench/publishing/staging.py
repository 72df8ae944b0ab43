"""What is published of a data set's folder: which files, in which form, and how they are told.

Nothing here uses the network. Files that are published as they are stay where they lie; changed
ones are written into a scratch folder, so that publishing a large data set copies next to nothing.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from personaroute_bench.benchmark import MANIFEST, read_table
from personaroute_bench.config import is_virtual
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import atomic_path, read_json, sha256_file
from personaroute_bench.publishing.card import About, card_body
from personaroute_bench.publishing.licences import hub_licences, refuse, refused_tasks
from personaroute_bench.publishing.merge import split_card
from personaroute_bench.publishing.seal import (
    SALT,
    SEAL,
    ids_of_test,
    make_seal,
    open_seal,
    public_change,
    sealed_manifest,
)
from personaroute_bench.publishing.sections import publication_sections
from personaroute_bench.publishing.tables import TEXTS, rewrite, table_of, texts_removed

CARD = "README.md"
CROISSANT = "croissant.json"
How = Literal["whole", "sealed", "opened"]
# Configuration that names files of the machine the data set was made on.
_PATHS = ("pool", "tasks", "responses", "personas", "judge_pool", "file")


@dataclass
class Staged:
    """A data set in the form in which it is published."""

    repo_id: str
    how: How
    files: dict[str, Path]
    """Name in the repository to the file; without card, manifest and Croissant description."""
    manifest: dict[str, Any]
    """Without the entries of the card and the Croissant description; `finish` adds them."""
    header: dict[str, Any]
    """The card's YAML."""
    body: str
    """The card's Markdown."""
    tasks: list[dict[str, Any]]
    """Rows of the table."""
    without_text: dict[str, str] = field(default_factory=dict)
    """Task ids whose texts are left out, with their licence."""
    seal: dict[str, Any] | None = None

    def finish(self, card: str, croissant: Mapping[str, Any] | None) -> dict[str, bytes]:
        """Return the small files, the manifest last: it holds the hashes of all others."""
        small = {CARD: card.encode()}
        if croissant is not None:
            small[CROISSANT] = _json(croissant)
        if self.seal is not None:
            small[SEAL] = _json(self.seal)
        listed = {name: _entry(data) for name, data in small.items()}
        files = dict(sorted({**self.manifest["files"], **listed}.items()))
        return {**small, MANIFEST: _json({**self.manifest, "files": files})}


def stage(
    folder: Path,
    repo_id: str,
    scratch: Path,
    *,
    allowed_licences: Sequence[str] = (),
    without_text: bool = False,
    how: How = "whole",
    trial: bool = False,
) -> Staged:
    """Prepare a data set for publishing.

    Args:
        folder: a complete data set.
        repo_id: its name on the Hub.
        scratch: an empty folder for changed copies.
        allowed_licences: licences of tasks that whoever publishes vouches for.
        without_text: leave out the texts of tasks with other licences that nobody may pass on.
        how: whole; sealed; or opened, after it was sealed.
        trial: leave the folder as it is: keep no salt, note no opening.

    Raises:
        UsageError: no complete data set, a licence that is refused, a seal that cannot be.
        BenchError: a file is not the one that the manifest describes.
    """
    manifest, files = _whole_folder(folder)
    _check_state(folder, manifest, how)
    if is_virtual(manifest):
        raise UsageError(
            f"{folder} is virtual: nobody could load its interactions from the Hub. Write them "
            f"down first, with: bench materialise {folder}"
        )
    tasks = read_table(folder, "tasks").to_pylist()
    refused = refused_tasks(tasks, allowed_licences)
    if refused and not without_text:
        raise refuse(refused)
    changed: set[str] = set()
    if refused:
        changed |= _remove_texts(files, refused, scratch / "without-text")
    seal = None
    if how == "sealed":
        touched, seal = _seal(folder, files, manifest, scratch / "sealed", keep=not trial)
        changed |= touched
        manifest = sealed_manifest(manifest)
    elif how == "opened":
        seal = open_seal(folder, files, manifest, keep=not trial)
    manifest = _public_manifest(manifest, files, changed)
    header, body = _local_card(folder, files)
    if seal is not None:
        manifest["seal"] = {"state": how, "file": SEAL, "sealed_at": seal["sealed_at"]}
    if how == "sealed":
        manifest["coverage"] = _coverage(files)
        body = card_body(_about(files, manifest, tasks), manifest)
    if refused:
        manifest["without_text"] = refused
    header["license"] = hub_licences(task["licence"] for task in tasks)
    body = body.replace('"DIR"', f'"{repo_id}"').replace(
        "bench evaluate DIR", f"bench evaluate {repo_id}"
    )
    body += "\n" + publication_sections(manifest, tasks, refused, seal)
    return Staged(repo_id, how, files, manifest, header, body, tasks, refused, seal)


def write_staged(staged: Staged, small: Mapping[str, bytes], out: Path) -> None:
    """Write what is published into a new or empty folder, the manifest last."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not empty; name a new folder for what is published")
    for name, path in staged.files.items():
        with atomic_path(out / name) as temporary:
            shutil.copyfile(path, temporary)
    for name, data in small.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(data)


def _whole_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the manifest and its files, all as it says; the card apart."""
    if not (folder / MANIFEST).is_file():
        raise UsageError(
            f"{folder} is no complete data set (it has no {MANIFEST}); make it, or continue it, "
            f"with: bench generate --out {folder}"
        )
    manifest = read_json(folder / MANIFEST)
    try:
        listed = {str(n): (int(e["bytes"]), str(e["sha256"])) for n, e in manifest["files"].items()}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UsageError(f"{folder / MANIFEST} is damaged; make the data set again") from error
    for name, (size, sha256) in listed.items():
        path = folder / name
        if name == CARD:  # its words are the author's to change
            continue
        if not path.is_file() or path.stat().st_size != size or sha256_file(path) != sha256:
            raise BenchError(
                f"{path} is not the file that {MANIFEST} describes: it was changed or damaged; run "
                "bench generate (or bench import) with the same options on the folder again"
            )
    files = {name: folder / name for name in listed if name.endswith(".parquet")}
    return manifest, files


def _check_state(folder: Path, manifest: Mapping[str, Any], how: How) -> None:
    if "seal" in manifest:
        raise UsageError(
            f"{folder} is itself a published copy of a sealed data set; publish from the folder "
            "that it was sealed from"
        )
    # An imported one follows from files that others have, and has no seed.
    drawn = "seed" in manifest.get("configuration", {}) and "coverage" in manifest
    if how == "sealed" and not (drawn and manifest.get("strategies")):
        raise UsageError(
            f"--seal needs a data set of bench generate, with rewards; {folder} is not: publish it "
            "without --seal"
        )
    if how == "whole" and (folder / SALT).is_file():
        raise UsageError(
            f"{folder} is sealed; give --seal to publish its sealed form again, or --open to "
            "reveal everything"
        )


def _remove_texts(files: dict[str, Path], refused: Mapping[str, str], scratch: Path) -> set[str]:
    """Replace the files that hold texts of refused tasks; return their names."""
    queries: list[str] = []
    for name, path in files.items():
        if table_of(name) == "queries":
            table = pq.read_table(path, columns=["query_id", "task_id"], partitioning=None)
            hit = pc.is_in(table["task_id"].cast(pa.string()), value_set=pa.array(sorted(refused)))
            queries += table["query_id"].filter(hit).to_pylist()
    touched = [name for name in files if table_of(name) in TEXTS]
    for name in touched:
        rewrite(files[name], scratch / name, texts_removed(table_of(name), queries, refused))
        files[name] = scratch / name
    return set(touched)


def _seal(
    folder: Path,
    files: dict[str, Path],
    manifest: Mapping[str, Any],
    scratch: Path,
    *,
    keep: bool,
) -> tuple[set[str], dict[str, Any]]:
    """Commit to what is withheld and leave only the public form in `files`."""
    test = [
        q for name, path in files.items() if table_of(name) == "queries" for q in ids_of_test(path)
    ]
    if not test:
        raise UsageError(f"{folder} has no test queries, so there is nothing to seal")
    changes = {name: public_change(name, path, test) for name, path in files.items()}
    withheld = {name: files[name] for name, change in changes.items() if change != "keep"}
    seal = make_seal(folder, withheld, manifest, keep=keep)
    for name in withheld:
        change = changes[name]
        if isinstance(change, str):
            del files[name]
        else:
            rewrite(files[name], scratch / name, change)
            files[name] = scratch / name
    return set(withheld), seal


def _public_manifest(
    manifest: Mapping[str, Any], files: Mapping[str, Path], changed: set[str]
) -> dict[str, Any]:
    """Return the manifest of the published files, without paths and addresses of a machine."""
    public: dict[str, Any] = json.loads(json.dumps(manifest))
    public["files"] = {
        name: _entry(path) if name in changed else manifest["files"][name]
        for name, path in files.items()
    }
    tables: dict[str, dict[str, int]] = {}
    for name, path in files.items():
        parts = name.split("/")
        table = "/".join(parts[:3]) if parts[0] == "interactions" else table_of(name)
        entry = tables.setdefault(table, {"rows": 0, "files": 0})
        entry["rows"] += pq.read_metadata(path).num_rows
        entry["files"] += 1
    public["tables"] = tables
    for part in ("configuration", "defining"):
        public[part] = impersonal(public.get(part, {}))
    return public


def impersonal(value: Any, key: str = "") -> Any:
    """Take away what tells of somebody's machine: folders of paths, private addresses."""
    if isinstance(value, dict):
        return {name: impersonal(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [impersonal(item, key) for item in value]
    if key == "base_url" and isinstance(value, str):
        return value if _is_public(value) else None
    if key in _PATHS and isinstance(value, str):
        return re.split(r"[/\\]", value)[-1]
    return value


def _is_public(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.username or parts.password or parts.query or "." not in host:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return not host.endswith((".local", ".internal", ".lan", ".localhost"))


def _local_card(folder: Path, files: Mapping[str, Path]) -> tuple[dict[str, Any], str]:
    """Return YAML and Markdown of the folder's own card, without configs of withheld files."""
    try:
        header, body = split_card((folder / CARD).read_text(encoding="utf-8"))
        configs = []
        for config in header.get("configs", []):
            there = [part for part in config["data_files"] if _matches(part["path"], files)]
            if there:
                configs.append({**config, "data_files": there})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        raise UsageError(
            f"cannot read the card {folder / CARD}: {error!r}; restore its first part, between "
            "the two lines of dashes, or delete manifest.json and run bench generate again"
        ) from error
    rows = sum(pq.read_metadata(path).num_rows for path in files.values())
    return {**header, "configs": configs, "size_categories": [_size_category(rows)]}, body


def _matches(pattern: str, files: Mapping[str, Path]) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, pattern) for name in files)


def _size_category(rows: int) -> str:
    """Return the Hub's name for so many rows."""
    steps = (("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6),
             ("1M<n<10M", 1e7), ("10M<n<100M", 1e8), ("100M<n<1B", 1e9))  # fmt: skip
    return next((name for name, end in steps if rows < end), "n>1B")


def _about(
    files: Mapping[str, Path], manifest: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]
) -> About:
    count: Counter[str] = Counter()
    for name, path in files.items():
        if table_of(name) == "queries":
            table = pq.read_table(path, columns=["task_id"], partitioning=None)
            count.update(table["task_id"].cast(pa.string()).to_pylist())
    return About(tasks, count, manifest["configuration"])


def _coverage(files: Mapping[str, Path]) -> dict[str, Any]:
    """Count statuses and means again over the responses that are published."""
    from types import SimpleNamespace

    from personaroute_bench.responses import coverage_of

    def read(table: str, columns: list[str]) -> pa.Table:
        paths = [path for name, path in files.items() if table_of(name) == table]
        parts = [pq.read_table(path, columns=columns, partitioning=None) for path in paths]
        return pa.concat_tables(parts).unify_dictionaries()

    llms = [SimpleNamespace(id=name) for name in read("llms", ["llm_id"])["llm_id"].to_pylist()]
    responses = read("responses", ["llm_id", "status", "performance", "cost_usd"])
    coverage = coverage_of(responses, cast(Any, llms))
    return {"statuses": coverage.statuses, "by_llm": coverage.by_llm}


def _entry(data: Path | bytes) -> dict[str, Any]:
    import hashlib

    if isinstance(data, bytes):
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"bytes": data.stat().st_size, "sha256": sha256_file(data)}


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
