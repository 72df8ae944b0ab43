"""The folder of a data set while it is being made: what it is for, and which stages are done.

``config.json`` is written first and says what defines the data set; ``manifest.json`` is written
last and says that it is whole. In between, the same command continues.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.files import disk_error, read_json, sha256_file, write_json
from personaroute_bench.hashing import canonical_json, digest
from personaroute_bench.manifest_shape import stages_problem

CONFIG = "config.json"
MANIFEST = "manifest.json"
LOCK = ".lock"
FORMAT = 1


class DataFolder:
    """One data set's folder, locked for one process.

    Attributes:
        path: the folder.
        dataset_id: names the data set in a ledger that several folders share.
    """

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        self.path = path
        self._state = state

    @property
    def dataset_id(self) -> str:
        """Random name given when the folder was made."""
        return str(self._state["dataset_id"])

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, defining: Mapping[str, Any]) -> Iterator[DataFolder]:
        """Make or reopen the folder for a data set of this definition.

        Args:
            path: the folder; made where it does not exist.
            defining: JSON value of all that decides the queries and responses.

        Raises:
            ConfigMismatch: it holds a data set of another definition; names the keys.
            UsageError: another process works in it, or it holds foreign files.
        """
        check_definition(path, defining)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / LOCK).open("a+")
        except OSError as error:
            raise disk_error(error, path) from error
        with lock:
            _lock(lock, path)
            if (path / CONFIG).is_file():
                state = read_json(path / CONFIG)
            else:
                state = {
                    "format": FORMAT,
                    "dataset_id": uuid.uuid4().hex,
                    "defining": dict(defining),
                    "stages": {},
                }
                write_json(path / CONFIG, state)
            yield cls(path, state)

    def is_done(self, stage: str, inputs: Any, *paths: Path) -> bool:
        """Whether the stage was finished with just these inputs and its files are as it left them.

        A file of another size or time is hashed, so a copied folder is as good as the original,
        and a damaged or foreign file is made again.
        """
        entry = self._state["stages"].get(stage)
        if entry is None or entry["inputs"] != digest(inputs):
            return False
        files = entry.get("files", {})
        found = {self._name(file) for path in paths for file in _files_of(path)}
        if found != set(files) or not all(path.exists() for path in paths):
            return False
        return all(_is_same(self.path / name, seen) for name, seen in files.items())

    def mark_done(
        self,
        stage: str,
        inputs: Any,
        *paths: Path,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Remember that the stage is finished, what files it made, and what it reports."""
        files = {self._name(file): _look(file) for path in paths for file in _files_of(path)}
        self._state["stages"][stage] = {
            "inputs": digest(inputs),
            "files": files,
            "result": dict(result or {}),
        }
        write_json(self.path / CONFIG, self._state)

    def fill(self, stage: str, *paths: Path, result: Mapping[str, Any]) -> None:
        """Give a finished stage the files that it did without; its inputs stay the same ones."""
        files = {self._name(file): _look(file) for path in paths for file in _files_of(path)}
        self._state["stages"][stage] |= {"files": files, "result": dict(result)}
        write_json(self.path / CONFIG, self._state)

    def sha256(self, stage: str) -> dict[str, str]:
        """Return the hashes of a finished stage's files, by name."""
        files = self._state["stages"].get(stage, {}).get("files", {})
        return {name: str(seen["sha256"]) for name, seen in files.items()}

    def use_ledger(self, asked: Path | None) -> Path:
        """Return the ledger of the data set: the one named first, for ever.

        Raises:
            UsageError: another one is named now, which would pay again and escape the cap.
        """
        held = self._state.get("ledger")
        if held is None:
            path = asked or self.path / "ledger.sqlite"
            self._state["ledger"] = os.path.relpath(path, self.path)
            write_json(self.path / CONFIG, self._state)
            return path
        path = self.path / str(held)
        if asked is not None and asked.resolve() != path.resolve():
            raise UsageError(
                f"--ledger {asked}: {self.path} keeps its calls in {path}, and another ledger "
                "would pay for them again; leave --ledger out, or give another --out"
            )
        return path

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()

    def result(self, stage: str) -> dict[str, Any]:
        """Return what a finished stage reported."""
        return dict(self._state["stages"].get(stage, {}).get("result", {}))

    def is_whole(self) -> bool:
        """Whether the manifest is there, and the files that it names are as it says."""
        try:
            manifest = read_json(self.path / MANIFEST)
            listed = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
        except (UsageError, TypeError, KeyError, AttributeError, ValueError):
            return False
        return all(
            (self.path / name).is_file() and (self.path / name).stat().st_size == size
            for name, size in listed.items()
        )

    def begin_change(self) -> None:
        """Take the manifest away: from here until it is written again the data set is not whole."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / MANIFEST).unlink()


def check_definition(path: Path, defining: Mapping[str, Any]) -> None:
    """Raise unless the folder is new, empty, or of this definition; change nothing."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"--out {path} is a file; give the name of a folder")
    config = path / CONFIG
    if not config.is_file():
        foreign = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
        if not {"ledger.sqlite", "shards"}.issuperset(foreign):
            raise UsageError(
                f"--out {path} holds other files ({', '.join(foreign[:3])}) and no data set; "
                "give a new or empty folder"
            )
        return
    state = read_json(config)
    whole = {"dataset_id": str, "defining": dict, "stages": dict}
    if (
        isinstance(state, dict)
        and state.get("format") == FORMAT
        and not (
            all(isinstance(state.get(name), kind) for name, kind in whole.items())
            and isinstance(state.get("ledger", ""), str)
            and stages_problem(state["stages"]) is None
        )
    ):
        raise UsageError(
            f"{config} is damaged; move it away together with the tables, and run the same command "
            f"again (--ledger {path / 'ledger.sqlite'} keeps what was paid for)"
        )
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(
            f"{config} is of format {state.get('format') if isinstance(state, dict) else state!r}, "
            f"this version reads {FORMAT}; generate into a new folder (--ledger "
            f"{path / 'ledger.sqlite'} keeps what was paid for)"
        )
    differing = differences(state["defining"], defining)
    if differing:
        shown = "\n".join(f"  {line}" for line in differing[:12])
        more = f"\n  … and {len(differing) - 12} more" if len(differing) > 12 else ""
        remedy = "Give another --out"
        ledger = path / state.get("ledger", "ledger.sqlite")
        if ledger.is_file():
            remedy += f"; with --ledger {ledger} no answer that was paid for is asked again"
        raise ConfigMismatch(
            f"{path} holds a data set of another configuration:\n{shown}{more}\n{remedy}."
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a line ``key: old → new`` for each key that differs, nested keys with dots."""
    flat_old, flat_new = _flatten(old), _flatten(new)
    lines = []
    for key in sorted(flat_old.keys() | flat_new.keys()):
        before, after = flat_old.get(key, "absent"), flat_new.get(key, "absent")
        if before != after:
            lines.append(f"{key}: {_short(before)} → {_short(after)}")
    return lines


def _files_of(path: Path) -> list[Path]:
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []


def _look(file: Path) -> dict[str, Any]:
    stat = file.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256_file(file)}


def _is_same(file: Path, seen: Mapping[str, Any]) -> bool:
    stat = file.stat()
    if stat.st_size != seen["bytes"]:
        return False
    return bool(stat.st_mtime_ns == seen["mtime_ns"] or sha256_file(file) == seen["sha256"])


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        flat: dict[str, Any] = {}
        for key, inner in value.items():
            flat |= _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: canonical_json(value)}


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _lock(handle: TextIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows; there two runs in one folder are the user's own risk
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        raise UsageError(
            f"another bench generate (process {holder}) works in {path}; wait for it to end, or "
            "give another --out"
        ) from error
    handle.seek(0)
    handle.truncate()
    handle.write(str(os.getpid()))
    handle.flush()
