"""Figures that stay with the project, while choices stay on the machine that made them.

figures.json holds a row for each condition (and number of shots). What is measured later joins
what is kept: a condition measured anew replaces the kept one, any other stays as it is. A row says
of each of its cells what defined it, and when and with which code it was measured:

    "cells": {router: {"sha256", "code", "commit", "finished", "seconds"}}

Differences between routers are paired, so a condition is replaced as a whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from personaroute_bench.files import atomic_path, read_json
from personaroute_bench.hashing import digest
from results_lib.code import DIGITS, code_digest
from results_lib.plan import BASELINES, FREE, Cell, Plan

FILE = "figures.json"
KEY = ("data", "strategy", "setting", "feedback", "few", "shots")

Row = Mapping[str, Any]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the kept conditions; none where there is no file."""
    path = folder / FILE
    return list(read_json(path)["conditions"]) if path.is_file() else []


def write_rows(folder: Path, made: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Write FOLDER/figures.json, a line a condition, so that a difference can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"allow_nan": False, "ensure_ascii": False}
    lines = ",\n".join(json.dumps(row, separators=(",", ":"), **options) for row in rows)
    head = json.dumps(made, indent=1, **options)
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(f'{{"made": {head},\n"conditions": [\n{lines}\n]}}\n', "utf-8")


def merged(
    kept: Sequence[Row], new: Sequence[Row], plan: Plan
) -> tuple[list[dict[str, Any]], list[str]]:
    """Join conditions measured anew with those kept, in the order of the plan.

    Returns:
        The rows, and what is to be told: of each condition that was measured but not taken, as it
        lacks something that the kept one has, and of kept ones that are of other data.
    """
    rows = {_key(row): dict(row) for row in kept}
    told = []
    hashes = {row["data"]: row["data_sha256"] for row in new}
    for data, sha256 in hashes.items():
        others = [r for r in kept if r["data"] == data and r["data_sha256"] != sha256]
        if others:
            told.append(f"{len(others)} kept conditions are of another {data} than the one here")
    for row in new:
        old = rows.get(_key(row))
        lacks = [] if old is None else _lacks(row, old)
        if lacks:
            told.append(f"{condition(row)} stays as it is: {', '.join(lacks)} not measured here")
        else:
            rows[_key(row)] = dict(row)
    place = {name: i for i, name in enumerate(dict.fromkeys(c.condition for c in plan.cells))}

    def order(row: Row) -> tuple[int, str, int]:
        return place.get(condition(row), len(place)), condition(row), row["shots"] or 0

    return sorted(rows.values(), key=order), told


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _lacks(row: Row, old: Row) -> list[str]:
    """Return what the kept row has and the new one has not, in words."""
    found = [name for name in old["cells"] if name not in row["cells"]]
    # Where the whole is there and may as well be nothing, there is no retention either.
    if not row.get("whole") and any("retention" in e for e in old["routers"].values()):
        found.append("what retention is a share of")
    return found


def condition(row: Row) -> str:
    """Return the name of a row's condition, as `Cell.condition`."""
    few = "all" if row["few"] is None else row["few"]
    return f"{row['data']}/{row['strategy']}/{row['setting']}/{row['feedback']}-{few}"


def cell_facts(cell: Cell, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says of one of its cells."""
    return {
        "sha256": cell.digest()[:DIGITS],
        "code": facts["code"],
        "commit": facts["commit"],
        "finished": facts["finished"][:10],
        "seconds": round(facts["seconds"], 1),
    }


def standing(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Return the kept cells by name, `Cell.name`."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        for router, facts in row["cells"].items():
            found[f"{condition(row)}/{router}"] = facts
    return found


def is_kept(cell: Cell, kept: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether figures of just this cell are kept."""
    return cell.name in kept and kept[cell.name]["sha256"] == cell.digest()[:DIGITS]


def is_older(router: str, facts: Mapping[str, Any]) -> bool:
    """Whether a router's code has changed since it was measured."""
    return bool(facts["code"] != code_digest(router))


def marked(row: Row) -> dict[str, Any]:
    """Return a row in which entries of routers whose code has changed since say so."""
    older = {name for name, facts in row["cells"].items() if is_older(name, facts)}
    if BASELINES in older:
        older |= set(FREE)
    routers = {name: {**entry, "older": name in older} for name, entry in row["routers"].items()}
    return {**row, "routers": routers}


def data_digest(manifest: Mapping[str, Any]) -> str:
    """Return the hash of a data set's tables; when and with what they were made does not count."""
    files = {name: entry["sha256"] for name, entry in manifest.get("files", {}).items()}
    return digest({k: v for k, v in files.items() if k.endswith(".parquet")})[:DIGITS]
