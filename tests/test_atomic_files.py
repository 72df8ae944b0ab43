from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import (
    atomic_path,
    check_writable,
    is_inside,
    read_json,
    write_json,
)


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


def test_the_message_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"with --json, and run") as raised:  # noqa: SIM117
        with atomic_path(tmp_path / "a.json", option="--json"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert "--out" not in str(raised.value)


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "a.json")
    write_json(tmp_path / "link.json", {"a": 1})
    write_json(tmp_path / "link.json", {"a": 2})
    assert (tmp_path / "link.json").is_symlink()
    assert read_json(tmp_path / "real" / "a.json") == {"a": 2}
    assert len(list((tmp_path / "real").iterdir())) == 1


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json(pipe, {"a": 1})
    reader.join(10)
    assert read == ['{\n  "a": 1\n}\n']
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs the device /dev/full")
def test_a_device_is_written_to_and_stays() -> None:
    check_writable(Path("/dev/full"), "--json")
    with pytest.raises(BenchError, match="cannot write /dev/full: No space left on device"):
        write_json(Path("/dev/full"), {"a": 1})
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)  # noqa: PTH116


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_an_open_file_is_written_to_where_it_stands(tmp_path: Path) -> None:
    # As for --json /dev/stdout > FILE: what was printed before is not lost.
    with (tmp_path / "out.txt").open("w") as out:
        print("a table", file=out, flush=True)
        write_json(Path(f"/dev/fd/{out.fileno()}"), [1])
    assert (tmp_path / "out.txt").read_text() == "a table\n[\n  1\n]\n"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="folder is a folder; name a file with --out"):
        write_json(tmp_path / "folder", {})
    with pytest.raises(UsageError, match="folder is a folder; name a file with --json"):
        check_writable(tmp_path / "folder", "--json")


def test_a_check_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    check_writable(tmp_path / "new.json", "--json")
    check_writable(tmp_path / "deep" / "new.json", "--json")
    check_writable(tmp_path / "old.json", "--json")
    check_writable(tmp_path / "deep" / "folder", "--choices", folder=True)
    check_writable(tmp_path, "--choices", folder=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    with pytest.raises(UsageError, match=r"--choices .*old\.json cannot be .*Not a directory"):
        check_writable(tmp_path / "old.json", "--choices", folder=True)
    assert (tmp_path / "old.json").read_text() == "old"


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "C:/x", "C:x", "a\\b", "a//b", "", ".", "a/", "x\0y",
     "NUL", "a/con.parquet", "Com1.txt", "a/./b"],
)  # fmt: skip
def test_names_that_lead_out_of_the_folder(name: str) -> None:
    assert not is_inside(name)
    assert is_inside("interactions/mixed/test/00000.parquet") and is_inside("console.md")
