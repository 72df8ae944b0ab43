from __future__ import annotations

import errno
from pathlib import Path

import pytest

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import atomic_path, read_json, write_json


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert read_json(target) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_no_space_is_one_message_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"a\.parquet: No space left.*--out"):  # noqa: SIM117
        with atomic_path(tmp_path / "a.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UsageError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UsageError, match=r"b\.json"):
        read_json(tmp_path / "b.json")
