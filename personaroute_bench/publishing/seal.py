"""Seal a data set: publish what routers may learn from, keep what the test decides, commit to it.

Withheld are, of the test queries, responses, performance, costs, rewards, ratings and reference
answers; of all users the weights of the reward; and the seed, which would give the weights back.
For every file that is published in part or not at all, `seal.json` has the SHA-256 of a secret
salt followed by the file's bytes: the salt hides what a short list of guesses could find, and
nobody can later show another file for the same hash. The salt stays in the data set's own folder
until the opening publishes it; from then on anybody can recompute the hashes.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import atomic_path, is_inside, read_json
from personaroute_bench.publishing.tables import (
    WEIGHTS,
    WHEN,
    Change,
    only_columns,
    table_of,
    without_columns,
    without_queries,
    without_references,
)

SEAL = "seal.json"
"""Published: the hashes, and after the opening the salt."""
SALT = "seal-salt.json"
"""Kept in the data set's own folder: the same with the salt."""
SCHEMA = "personaroute_bench/seal/1"
METHOD = "SHA-256 of the 32 bytes of the salt, then the file's bytes (or the seed's decimal digits)"
# Below this a seed can be found by trying all.
SAFE_SEED = 2**56
_SALT_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")


def public_change(
    name: str, path: Path, test: Iterable[str]
) -> Change | Literal["keep", "withhold"]:
    """Say what becomes of a file when the data set is sealed.

    Args:
        name: of the file in the folder.
        path: where it lies.
        test: ids of the test queries.

    Returns:
        How the file is reduced, or ``"keep"`` or ``"withhold"`` for the whole file.
    """
    table, parts = table_of(name), name.split("/")
    if table == "queries":
        return without_references(test)
    if table in ("responses", "ratings", "judgments"):
        return without_queries(test)
    if table == "users":
        return without_columns(WEIGHTS)
    if table == "interactions" and "test" in parts:
        # When a request comes is known when it comes; what it is worth is not.
        timed = set(WHEN) <= set(pq.read_schema(path).names)
        return only_columns(WHEN) if timed else "withhold"
    return "keep"


def salted_sha256(salt: bytes, data: Path | bytes) -> str:
    """Return the SHA-256 hex digest of a salt followed by a file's bytes."""
    digest = hashlib.sha256(salt)
    if isinstance(data, bytes):
        digest.update(data)
        return digest.hexdigest()
    with data.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weaknesses(manifest: Mapping[str, Any]) -> list[str]:
    """Say what an outsider could compute in spite of the seal."""
    found = []
    if "simulated" in manifest.get("provenance", ()):
        found.append(
            "the responses are simulated: whoever runs the same programs on the published test "
            "queries gets them back"
        )
    seed = manifest.get("configuration", {}).get("seed")
    if isinstance(seed, int) and seed < SAFE_SEED:
        found.append(
            f"the seed is below 2^{SAFE_SEED.bit_length() - 1} and can be found by trying: users' "
            "weights follow from it; generate with a large random --seed"
        )
    return found


def make_seal(
    folder: Path,
    withheld: Mapping[str, Path],
    manifest: Mapping[str, Any],
    *,
    keep: bool = True,
) -> dict[str, Any]:
    """Commit to the withheld files; the same files give the same commitments again.

    Args:
        folder: the data set's own, where the salt is kept.
        withheld: names and places of the whole files.
        manifest: the data set's.
        keep: whether to keep the salt; False for a trial, which changes nothing.

    Returns:
        What is published, without the salt.

    Raises:
        UsageError: it was sealed before, with other content, or is opened already.
    """
    if (folder / SALT).is_file():
        kept = read_seal(folder / SALT)
        if "opened_at" in kept:
            raise UsageError(
                f"{folder} was opened on {kept['opened_at']}; what is known cannot be sealed again"
            )
        wrong = _differing(kept, withheld, manifest)
        if wrong:
            raise UsageError(
                f"{folder} was sealed on {kept['sealed_at']} and has changed since ({wrong[0]}); "
                "an opening could not be verified. Restore the files, or move "
                f"{folder / SALT} away to seal the new content under another --repo-id"
            )
        return _public(kept)
    salt = secrets.token_bytes(_SALT_BYTES)
    seal = {
        "schema": SCHEMA,
        "method": METHOD,
        "sealed_at": _now(),
        "withheld": {name: salted_sha256(salt, path) for name, path in withheld.items()},
        "seed": salted_sha256(salt, _seed(manifest)),
        "weaknesses": weaknesses(manifest),
    }
    # The salt is on disk before anything that depends on it leaves the machine.
    if keep:
        _keep(folder / SALT, {**seal, "salt": salt.hex()})
    return seal


def open_seal(
    folder: Path,
    files: Mapping[str, Path],
    manifest: Mapping[str, Any],
    *,
    keep: bool = True,
) -> dict[str, Any]:
    """Return the seal with its salt, having checked that the files are those that were sealed.

    Raises:
        UsageError: the folder was never sealed.
        BenchError: a file is not the one that was sealed.
    """
    if not (folder / SALT).is_file():
        raise UsageError(
            f"{folder} has no {SALT}, so it was not sealed here; publish it without --open, or "
            "give the folder that it was sealed from"
        )
    kept = read_seal(folder / SALT)
    wrong = _differing(kept, {n: p for n, p in files.items() if n in kept["withheld"]}, manifest)
    if wrong:
        raise BenchError(
            f"{folder} cannot be opened: {wrong[0]}. What was sealed on {kept['sealed_at']} must "
            "be shown unchanged, with the same --without-text and the pyarrow it was sealed with"
        )
    if "opened_at" not in kept:
        kept["opened_at"] = _now()
        if keep:
            _keep(folder / SALT, kept)
    return kept


def check_opening(folder: Path) -> list[str]:
    """Recompute the salted hashes of an opened data set.

    Args:
        folder: with `seal.json`, and the files as they were published at the opening.

    Returns:
        One line for what differs; empty where all is as it was sealed.

    Raises:
        UsageError: no seal, a damaged one, or one that is not opened.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; name a data set's, or ORG/NAME on the Hub")
    if not (folder / SEAL).is_file():
        raise UsageError(f"{folder} was not published under a seal (it has no {SEAL})")
    seal = read_seal(folder / SEAL)
    if "salt" not in seal:
        raise UsageError(
            f"{folder} is still sealed (since {seal['sealed_at']}); its hashes can be checked when "
            "the author has published the salt"
        )
    manifest = read_json(folder / "manifest.json")
    return _differing(seal, {name: folder / name for name in seal["withheld"]}, manifest)


def read_seal(path: Path) -> dict[str, Any]:
    """Read `seal.json` or `seal-salt.json`.

    Raises:
        UsageError: it is missing or not of this form.
    """
    seal = read_json(path)
    try:
        whole = (
            seal["schema"] == SCHEMA
            and isinstance(seal["sealed_at"], str)
            and all(_DIGEST.fullmatch(x) for x in (seal["seed"], *seal["withheld"].values()))
            and all(is_inside(name) for name in seal["withheld"])
            and len(bytes.fromhex(seal.get("salt", "00" * _SALT_BYTES))) == _SALT_BYTES
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        whole = False
    if not whole:
        raise UsageError(f"{path} is damaged, or no seal of the form {SCHEMA}; restore it")
    return dict(seal)


def sealed_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest without the seed and what was computed from the test split.

    The two shares of the personalisation headroom stay: they say whether a router can gain from
    knowing users at all.
    """
    strategies = {}
    for name, result in manifest["strategies"].items():
        reduced = {key: value for key, value in result.items() if key in ("rows", "headroom")}
        if "headroom" in result:
            told = ("oracle_share", "fixed_policy_share", "low")
            reduced["headroom"] = {
                key: value if key in told else _unknown(value)
                for key, value in result["headroom"].items()
            }
        if "judge" in result:
            kind = result["judge"].get("kind", "unknown")
            line = f"{kind}; its report covers test choices and is published at the opening"
            reduced["judge"] = {"kind": kind, "lines": [f"judge of {name}: {line}"]}
        strategies[name] = reduced
    hidden: dict[str, Any] = _without_seeds(dict(manifest))
    if "queries" in hidden.get("defining", {}):
        # A hash without salt of all queries, their reference answers included: who guesses the
        # few of the test could see in it that the guess was right.
        hidden["defining"] = {**hidden["defining"], "queries": None}
    # What was spent, less what the published responses cost, is what those of the test cost.
    spend = {**manifest.get("spend", {}), "usd": None}
    return {**hidden, "strategies": strategies, "spend": spend}


def ids_of_test(path: Path) -> list[str]:
    """Return the ids of the test queries of a table `queries`."""
    table = pq.read_table(path, columns=["query_id", "split"], partitioning=None)
    chosen = pa.compute.equal(table["split"].cast(pa.string()), "test")
    return [str(name) for name in table["query_id"].filter(chosen).to_pylist()]


def _keep(path: Path, seal: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.touch(mode=0o600)  # for the author's eyes only
        temporary.write_text(json.dumps(seal, indent=2) + "\n", encoding="utf-8")


def _differing(
    seal: Mapping[str, Any], files: Mapping[str, Path], manifest: Mapping[str, Any]
) -> list[str]:
    salt = bytes.fromhex(seal["salt"])
    lines = [f"{name} was sealed and is missing" for name in seal["withheld"] if name not in files]
    for name, path in files.items():
        if name not in seal["withheld"]:
            lines.append(f"{name} was not there when it was sealed")
        elif not path.is_file():
            lines.append(f"{name} was sealed and is missing")
        elif salted_sha256(salt, path) != seal["withheld"][name]:
            lines.append(f"{name} is not the file that was sealed")
    if salted_sha256(salt, _seed(manifest)) != seal["seed"]:
        lines.append("the seed is not the one that was sealed")
    return lines


def _public(seal: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in seal.items() if key not in ("salt", "opened_at")}


def _seed(manifest: Mapping[str, Any]) -> bytes:
    return str(manifest.get("configuration", {}).get("seed")).encode()


def _unknown(value: Any) -> Any:
    return dict.fromkeys(value) if isinstance(value, dict) else None


def _without_seeds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: None if k == "seed" else _without_seeds(v) for k, v in value.items()}
    return [_without_seeds(item) for item in value] if isinstance(value, list) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
