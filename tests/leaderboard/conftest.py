from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from personaroute_bench.leaderboard.submission import About
from personaroute_bench.leaderboard.submit import submit
from personaroute_bench.leaderboard.track import Track
from small_benchmark import STRATEGY, save, small_benchmark


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set: 12 users, 8 test queries, 4 LLMs, one response in twenty refused."""
    path = tmp_path / "small"
    save(small_benchmark(failures=0.05), path)
    return path


@pytest.fixture
def enter(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make a submission in ``subs/NAME``; keywords go to its track or its texts."""

    def make(name: str = "cheapest", router: str = "cheapest", **more: Any) -> Path:
        told = {key: more.pop(key) for key in list(more) if key in Track.__dataclass_fields__}
        out = tmp_path / "subs" / name
        about = About(**{"name": name, "openness": "open", **more})
        submit(folder, out, about, Track(**{"strategy": STRATEGY, **told}), router=router)
        return out

    return make


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change keys of a submission's JSON; ``track__seeds`` is a key of `track`."""

    def change(path: Path, **changes: Any) -> None:
        file = path / "submission.json"
        value = json.loads(file.read_text(encoding="utf-8"))
        for name, new in changes.items():
            *outer, last = name.split("__")
            place: Any = value
            for key in outer:
                place = place[key]
            place[last] = new
        file.write_text(json.dumps(value), encoding="utf-8")

    return change


@pytest.fixture
def row_of() -> Callable[[Mapping[str, Any], str], dict[str, Any]]:
    """Return the row of a name from what `build` found."""

    def find(found: Mapping[str, Any], name: str) -> dict[str, Any]:
        rows = [row for board in found["boards"] for row in board["rows"] if row["name"] == name]
        assert len(rows) == 1, [row["name"] for row in rows]
        return dict(rows[0])

    return find
