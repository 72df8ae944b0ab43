"""Disk full, read-only, two at once, a clock that jumps, torn files: a message and a way on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bench_command import Bench
from loopback import Loopback
from small_data import query_rows, response_rows, write_pool, write_responses

from personaroute_bench import interactions
from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import BenchError, Incomplete, UsageError
from personaroute_bench.generate import generate
from personaroute_bench.llms.ledger import Ledger

FAST = RunConfig(concurrency=16, backoff_s=0.01, timeout_s=5)
REPLIES = {(row["llm"], row["query"]): row["response"] for row in response_rows()}


def live(folder: Path, url: str) -> DataConfig:
    lines = [json.dumps(row) for row in query_rows()]
    (folder / "tasks.jsonl").write_text("\n".join(lines))
    return DataConfig(users=5, pool=str(write_pool(folder, url)), tasks=str(folder / "tasks.jsonl"))


def tables(out: Path) -> dict[str, Any]:
    whole = {}
    for path in sorted(out.rglob("*.parquet")):
        table = pq.read_table(path)
        kept = [name for name in table.column_names if name != "latency_s"]
        whole[path.relative_to(out).as_posix()] = table.select(kept)
    return whole


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with Loopback(replies=REPLIES) as server:
        generate(live(folder, server.url), folder / "out", run=FAST)
    return tables(folder / "out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 16 MB, where this machine lets us make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("making a small disk needs mount and root")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)],
        check=False, capture_output=True,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"this machine mounts no tmpfs: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_in_one_message_and_nothing_is_paid_twice(
    tmp_path: Path, small_disk: Path, undisturbed: dict[str, Any]
) -> None:
    """A real one: whichever write meets it first, ledger or table."""
    out, ballast = small_disk / "out", small_disk / "ballast"
    with Loopback(replies=REPLIES) as server:
        data = live(tmp_path, server.url)
        ballast.write_bytes(b"x" * (16 * 2**20 - 350_000))
        with pytest.raises(BenchError, match=r"cannot write .*(full|No space).*run the same comm"):
            generate(data, out, run=FAST)
        assert not (out / "manifest.json").exists()
        first = Counter((seen.model, seen.prompt) for seen in server.seen)
        ballast.unlink()  # the cause is gone: the same command goes on
        result = generate(data, out, run=FAST)
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
    again = sum((asked - Counter(dict.fromkeys(asked, 1))).values())
    assert again <= result.manifest["spend"]["unknown_calls"] <= FAST.concurrency
    assert sum(first.values()) < 180 + FAST.concurrency
    assert tables(out) == undisturbed


def test_a_ledger_that_cannot_grow_stops_the_run_before_money_is_lost(tmp_path: Path) -> None:
    """Where no disk can be made: the ledger's own limit on pages plays it."""
    with Loopback(replies=REPLIES) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            pages = next(ledger.query("PRAGMA page_count"))[0]
        run = replace(FAST, ledger=tmp_path / "ledger.sqlite")
        connect = sqlite3.connect

        def limited(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.execute(f"PRAGMA max_page_count = {pages + 4}")
            return connection

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("personaroute_bench.llms.ledger_schema.sqlite3.connect", limited)
            with pytest.raises(BenchError, match=r"cannot write .*ledger\.sqlite.*full"):
                generate(data, out, run=run)
        assert len(server.seen) < 180, "it went on asking what it could not write down"
        paid = Counter((seen.model, seen.prompt) for seen in server.seen)
        result = generate(data, out, run=run)
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
    assert set(asked) >= set(paid)
    assert sum(asked.values()) - len(asked) <= result.manifest["spend"]["unknown_calls"]


def test_no_space_for_the_tables_loses_no_answer(tmp_path: Path, undisturbed: Any) -> None:
    with Loopback(replies=REPLIES) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"

        def full(*_: Any, **__: Any) -> Any:
            raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(interactions.pq.ParquetWriter, "write_table", full)
            with pytest.raises(BenchError, match=r"No space left.*free some space"):
                generate(data, out, run=FAST)
        generate(data, out, run=FAST)
        assert len(server.seen) == 180
    assert tables(out) == undisturbed
    assert not list(out.rglob("*.tmp*"))


def read_only_user() -> bool:
    """Whether this user is bound by permissions at all; root is not."""
    return os.name == "posix" and os.geteuid() != 0


def test_a_read_only_folder_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    place = tmp_path / "locked"
    place.mkdir()
    words = [sys.executable, "-m", "personaroute_bench.cli", "generate", "--users", "2",
             "--limit", "12", "--out", str(place / "out")]  # fmt: skip
    if read_only_user():
        place.chmod(stat.S_IRUSR | stat.S_IXUSR)
        undo = lambda: place.chmod(stat.S_IRWXU)  # noqa: E731
    else:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=False,
            capture_output=True,
        )  # fmt: skip
        if mounted.returncode != 0:
            pytest.skip("root writes everywhere, and this machine mounts no read-only disk")
        undo = lambda: subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: E731
    try:
        ran = subprocess.run(words, check=False, capture_output=True, text=True)
    finally:
        undo()
    assert ran.returncode == 1, ran.stderr
    assert "error: cannot write" in ran.stderr and "--out" in ran.stderr
    assert "Traceback" not in ran.stderr
    again = subprocess.run(words, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def test_two_runs_in_one_folder_and_in_one_ledger(tmp_path: Path) -> None:
    """The second is refused while the first works; the first is not disturbed."""
    with Loopback(replies=REPLIES, delay_s=0.3) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        words = [sys.executable, "-m", "personaroute_bench.cli", "generate", "--users", "5",
                 "--pool", str(data.pool), "--tasks", data.tasks, "--out", str(out), "--quiet",
                 "--concurrency", "8"]  # fmt: skip
        with subprocess.Popen(words, stderr=subprocess.PIPE) as first:
            deadline = time.monotonic() + 60
            while not server.seen:
                assert time.monotonic() < deadline and first.poll() is None
                time.sleep(0.01)
            with pytest.raises(UsageError, match=f"process {first.pid}.*wait for it to end"):
                generate(data, out, run=FAST)
            with pytest.raises(UsageError, match=f"in use by process {first.pid}"):
                shared = replace(FAST, ledger=out / "ledger.sqlite")
                generate(data, tmp_path / "other", run=shared)
            assert first.wait(120) == 0
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
        assert set(asked.values()) == {1} and len(asked) == 180
        assert not generate(data, out, run=FAST).changed


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    with Loopback(replies=REPLIES, delay_s=0.3) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        words = [sys.executable, "-m", "personaroute_bench.cli", "generate", "--users", "5",
                 "--pool", str(data.pool), "--tasks", data.tasks, "--out", str(out), "--quiet",
                 "--concurrency", "8"]  # fmt: skip
        with subprocess.Popen(words, stderr=subprocess.PIPE) as first:
            deadline = time.monotonic() + 60
            while not server.seen:
                assert time.monotonic() < deadline and first.poll() is None
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
        assert (out / ".lock").exists()
        result = generate(data, out, run=replace(FAST, concurrency=64))
    assert result.manifest["coverage"]["statuses"] == {"ok": 180}


def test_a_clock_that_goes_back_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Any]
) -> None:
    """The second run stands a year before the first: order follows ids, and waits no clock."""
    real = time.time
    with Loopback(replies=REPLIES) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        with pytest.raises(Incomplete):
            generate(data, out, run=replace(FAST, max_cost=0.002))
        answered = len(server.seen)
        monkeypatch.setattr(time, "time", lambda: real() - 365 * 86400)
        server.script("429:2", "500")
        began = time.monotonic()
        result = generate(data, out, run=FAST)
        assert time.monotonic() - began < 60
        monkeypatch.undo()
        assert 0 < answered < 180
        assert not generate(data, out, run=FAST).changed
        asked = len(server.seen)
    assert asked == 182 and result.manifest["spend"]["calls"] == 180
    assert tables(out) == undisturbed


def test_a_table_changed_within_the_same_second_is_noticed(tmp_path: Path) -> None:
    """A copy by a tool that keeps times, or a clock that stands: size or hash tells."""
    data = DataConfig(
        users=4, responses=str(write_responses(tmp_path)), pool=str(write_pool(tmp_path))
    )
    out = tmp_path / "out"
    generate(data, out)
    path = out / "users.parquet"
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-100])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert generate(data, out).changed and pq.read_table(path).num_rows == 4


@pytest.mark.parametrize("age", [0, 2])
def test_a_ledger_of_another_version_is_left_alone(tmp_path: Path, bench: Bench, age: int) -> None:
    with Loopback(replies=REPLIES) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        generate(data, out, run=FAST)
        ledger = out / "ledger.sqlite"
        connection = sqlite3.connect(ledger)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version - 1 + age}")
        connection.close()
        before = ledger.read_bytes()
        (out / "responses.parquet").unlink()
        with pytest.raises(UsageError, match=r"of an? (older|newer) version .*install that vers"):
            generate(data, out, run=FAST)
        assert bench("ledger", ledger).code == 2
        assert ledger.read_bytes() == before and len(server.seen) == 180
        # The way on: that version, and with it all that was paid for.
        connection = sqlite3.connect(ledger)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        generate(data, out, run=FAST)
        assert len(server.seen) == 180


@pytest.mark.parametrize(
    "name",
    ["tasks.parquet", "responses.parquet", "users.parquet", "manifest.json", "README.md",
     "interactions/multi_cost_efficiency/train/00000.parquet"],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_half_written_files_are_made_again(tmp_path: Path, name: str, share: float) -> None:
    """As after a power cut on a disk that keeps names and forgets content."""
    data = DataConfig(
        users=4, responses=str(write_responses(tmp_path)), pool=str(write_pool(tmp_path))
    )
    out = tmp_path / "out"
    generate(data, out)
    whole = tables(out)
    raw = (out / name).read_bytes()
    (out / name).write_bytes(raw[: int(share * len(raw))])
    generate(data, out)
    assert tables(out) == whole
    json.loads((out / "manifest.json").read_text())


def test_a_half_written_config_is_one_message_with_a_way_on(tmp_path: Path) -> None:
    data = DataConfig(
        users=4, responses=str(write_responses(tmp_path)), pool=str(write_pool(tmp_path))
    )
    out = tmp_path / "out"
    generate(data, out)
    raw = (out / "config.json").read_bytes()
    for size in (0, len(raw) // 2, len(raw) - 3):
        (out / "config.json").write_bytes(raw[:size])
        with pytest.raises(UsageError, match=r"config\.json.*(damaged|not valid JSON)"):
            generate(data, out)
    (out / "config.json").write_bytes(raw)
    assert not generate(data, out).changed


def test_a_ledger_whose_last_page_was_not_written(tmp_path: Path) -> None:
    """A torn log beside the ledger costs at most its last calls; a torn ledger says so."""
    with Loopback(replies=REPLIES) as server:
        data, out = live(tmp_path, server.url), tmp_path / "out"
        ledger = out / "ledger.sqlite"
        generate(data, out, run=FAST)
        raw = ledger.read_bytes()
        (out / "responses.parquet").unlink()
        ledger.write_bytes(raw[: len(raw) // 2])
        with pytest.raises(BenchError, match=r"ledger\.sqlite.*(damaged|malformed)") as error:
            generate(data, out, run=FAST)
        assert "move it away" in str(error.value)
        ledger.write_bytes(raw)
        # A write-ahead log that ends in the middle of a frame: SQLite takes the whole frames.
        (out / "ledger.sqlite-wal").write_bytes(os.urandom(1000))
        (out / "ledger.sqlite-shm").unlink(missing_ok=True)
        generate(data, out, run=FAST)
        assert len(server.seen) == 180
