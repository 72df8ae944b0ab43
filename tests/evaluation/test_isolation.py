"""Cheating and broken routers, each of which is caught, or held where it harms itself only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_benchmark import save, small_benchmark

from personaroute_bench.benchmark import DEFAULT_DIRECTORY, Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation import isolation, requests, sandbox
from personaroute_bench.evaluation.isolation import Isolation, Limits
from personaroute_bench.evaluation.results import Evaluation
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.sandbox import READ

linux = pytest.mark.skipif(sys.platform != "linux", reason="walls are built on Linux only")

ROUTERS = """
import ctypes, os, socket, subprocess, sys, threading
import numpy as np

class Fine:
    def fit(self, history):
        self.values = np.nanmean(history.values, axis=1)
        self.rows = history.find_users
    def route(self, requests):
        rows = self.rows(requests.user_ids)[requests.user_index]
        return self.values[rows].argmax(axis=1)

class Reader(Fine):
    def fit(self, history):
        super().fit(history)
        found = []
        for top in {places!r}:
            for folder, _, names in os.walk(top):
                for name in names:
                    if name.endswith(".py"):
                        continue
                    try:
                        found.append(open(os.path.join(folder, name), "rb").read()[:1])
                    except OSError:
                        pass
        for place in {files!r}:
            try:
                found.append(open(place, "rb").read()[:1])
            except OSError:
                pass
        self.note = f"read {{len(found)}} files"

class Keys(Fine):
    def fit(self, history):
        super().fit(history)
        self.note = " ".join(sorted(os.environ))

class Caller(Fine):
    def fit(self, history):
        super().fit(history)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                socket.socket(socket.AF_INET, kind).connect(("192.0.2.1", 53))
            except OSError as error:
                self.note = getattr(self, "note", "") + type(error).__name__ + " "
            else:
                self.note = "connected"

class Others(Fine):
    def route(self, requests):
        return np.tile(super().route(requests), 7)

class Mutator(Fine):
    def fit(self, history):
        try:
            history.rewards[:] = 9
        except ValueError:
            pass
        try:
            history.rewards.flags.writeable = True
        except ValueError:
            pass
        ctypes.memset(history.rewards.ctypes.data, 1, history.rewards.nbytes)

class Counter(Fine):
    def route(self, requests):
        self.asked = getattr(self, "asked", 0)
        self.asked += len(requests)
        return (np.arange(len(requests)) + self.asked) % len(requests.candidates)

class Eater(Fine):
    def fit(self, history):
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1) * (1 << 24)))

class ChildEater(Fine):
    def fit(self, history):
        eat = "k = []\\nwhile True: k.append(bytearray(b'x' * (1 << 24)))"
        subprocess.run([sys.executable, "-I", "-c", eat], start_new_session=True)

class Printer(Fine):
    def fit(self, history):
        super().fit(history)
        os.write(1, b"first words")
        for _ in range(1024):
            for stream in (1, 2):
                os.write(stream, b"x" * (1 << 19))
        print("last words")
    def route(self, requests):
        raise ValueError("done")

class Exits(Fine):
    def route(self, requests):
        os._exit(3)

class Forger(Fine):
    def route(self, requests):
        for pipe in range(3, 4096):
            try:
                os.write(pipe, b"\\xff" * 4096)
            except OSError:
                pass
        return super().route(requests)

class Leaver(Fine):
    def fit(self, history):
        super().fit(history)
        wait = "import threading; threading.Event().wait()"
        subprocess.Popen([sys.executable, "-I", "-c", wait, {mark!r}], start_new_session=True)

class Sleeper(Fine):
    def fit(self, history):
        threading.Event().wait()

class Dozer(Fine):
    blocks = 0
    def route(self, requests):
        self.blocks += 1
        if self.blocks == 3:
            threading.Event().wait()
        return super().route(requests)
"""
MARK = "left-behind-by-a-router"
CONTAINED = (
    "Reader", "Keys", "Caller", "Others", "Mutator", "Counter", "Eater", "ChildEater", "Printer",
    "Exits", "Forger", "Leaver",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A current folder with a data set, choices, a file of keys, and the routers."""
    folder = tmp_path_factory.mktemp("cheats")
    save(small_benchmark(), folder / DEFAULT_DIRECTORY)
    (folder / ".env").write_text("KEY=1")
    (folder / "choices").mkdir()
    (folder / "choices" / "oracle.parquet").write_text("x")
    tops = [str(folder / name) for name in (DEFAULT_DIRECTORY, "choices")]
    files = [str(folder / ".env"), "/proc/1/environ", f"/proc/{os.getpid()}/environ"]
    code = ROUTERS.format(places=tops, files=files, mark=MARK)
    (folder / "cheats.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OPENAI_API_KEY", "secret")
        yield folder


@pytest.fixture(scope="module")
def results(place: Path) -> Evaluation:
    names = [f"cheats:{name}" for name in (*CONTAINED, "Fine")]
    return evaluate(
        DEFAULT_DIRECTORY, names, bootstrap_draws=0, limits=Limits(time_s=120, memory_gib=0.5)
    )


@pytest.fixture
def sealed(results: Evaluation) -> Evaluation:
    try:
        sandbox._call("syscall", 444, None, 0, 1)  # asks for the version of Landlock
    except (OSError, AttributeError):
        pytest.skip("this system has no Landlock")
    assert results["cheats:Fine"]["isolation"]["state"] == "sealed"
    return results


def lines(results: Evaluation) -> str:
    from rich.console import Console

    console = Console(width=2000, color_system=None)
    with console.capture() as shown:
        results.print(console)
    return shown.get()


def test_outcomes_on_disk_cannot_be_read(sealed: Evaluation) -> None:
    assert sealed["cheats:Reader"]["note"] == "read 0 files"
    assert "unsealed" not in lines(sealed)


def test_where_files_stay_readable_the_row_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(place / DEFAULT_DIRECTORY)
    real = isolation.grants
    monkeypatch.setattr(isolation, "grants", lambda *given: [*real(*given), (data, READ)])
    found = evaluate(DEFAULT_DIRECTORY, ["cheats:Reader"], bootstrap_draws=0)
    entry = found["cheats:Reader"]
    assert entry["isolation"]["state"] == "unsealed"
    assert "readable" in entry["isolation"]["reason"]
    assert entry["note"] != "read 0 files"
    assert "cheats:Reader: unsealed, " in lines(found)


def test_keys_are_not_in_its_environment(results: Evaluation) -> None:
    note = results["cheats:Keys"]["note"]
    assert "PATH" in note
    assert "KEY" not in note


def test_there_is_no_network(sealed: Evaluation) -> None:
    if sealed["cheats:Caller"]["isolation"]["network"] != "none":
        pytest.skip("this system lets nobody have a network of its own")
    assert sealed["cheats:Caller"]["note"].split() == ["PermissionError", "OSError"]


def test_answers_of_the_wrong_number_are_invalid_and_nobody_elses(results: Evaluation) -> None:
    entry = results["cheats:Others"]
    assert entry["status"] == "96 of 96 choices invalid: 672 answers to 96 requests"
    assert entry["charged"] == entry["invalid"] == 96
    assert entry["verdict"].startswith("personalises: not known, none of its choices is valid")


@pytest.mark.usefixtures("place")
def test_what_is_mutated_is_a_routers_own(results: Evaluation) -> None:
    assert results["cheats:Mutator"]["status"].startswith("crashed: ended by SIG")
    alone = evaluate(
        DEFAULT_DIRECTORY, ["cheats:Fine"], bootstrap_draws=0, limits=Limits(in_process=True)
    )["cheats:Fine"]
    assert alone["isolation"]["state"] == "unsealed"
    assert alone["choices_sha256"] == results["cheats:Fine"]["choices_sha256"]
    assert results["cheats:Fine"]["status"] == "ok"


def test_dependence_on_the_order_is_told(results: Evaluation) -> None:
    entry = results["cheats:Counter"]
    assert entry["order_dependent"]["asked"] == 96
    assert entry["order_dependent"]["differ"] > 24
    assert f"{entry['order_dependent']['differ']} of 96 answers differ" in lines(results)
    assert results["cheats:Fine"]["order_dependent"] == {"differ": 0, "asked": 96}


@linux
@pytest.mark.parametrize("name", ["cheats:Eater", "cheats:ChildEater"])
def test_who_eats_memory_is_ended(results: Evaluation, name: str) -> None:
    assert results[name]["status"] == "memory: took more than 0.5 GiB"
    assert results[name]["metrics"] == {}
    assert name in results.failed


def test_a_gigabyte_of_print_is_not_kept(results: Evaluation) -> None:
    assert results["cheats:Printer"]["status"].startswith("error: ValueError: done")
    trace = results.traces["cheats:Printer"]
    assert "first words" in trace
    assert trace.rstrip().endswith("last words")
    assert "bytes left out" in trace
    assert len(trace) < 200_000


@pytest.mark.parametrize(
    ("name", "reason"),
    [("cheats:Exits", "crashed: ended with exit code 3"), ("cheats:Forger", "error: answered")],
)
def test_who_stops_answering_is_charged_the_worst(
    results: Evaluation, name: str, reason: str
) -> None:
    entry = results[name]
    assert entry["status"].startswith(reason)
    assert entry["status"].endswith("; 96 of 96 choices invalid")
    assert entry["charged"] == 96
    worst = min(e["metrics"]["reward"]["mean"] for e in results.routers if e["metrics"])
    assert entry["metrics"]["reward"]["mean"] == worst


@linux
def test_nothing_that_it_started_stays(results: Evaluation) -> None:
    entry = results["cheats:Leaver"]
    assert entry["status"] == "ok"
    if not entry["isolation"]["own_processes"]:
        pytest.skip("this system lets nobody have process numbers of its own")
    running = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            running.append(path.read_bytes())
        except OSError:
            continue
    assert not [line for line in running if MARK.encode() in line]


@pytest.mark.usefixtures("place")
def test_who_sleeps_is_ended_and_keeps_what_it_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BLOCK_REQUESTS", 24)  # three users of eight queries
    names = ["cheats:Sleeper", "cheats:Dozer", "cheats:Fine"]
    found = evaluate(DEFAULT_DIRECTORY, names, bootstrap_draws=0, limits=Limits(time_s=5))
    assert found["cheats:Sleeper"]["status"] == "timeout: not done within 5 s"
    assert found["cheats:Sleeper"]["metrics"] == {}
    dozer = found["cheats:Dozer"]
    assert dozer["status"] == "timeout: not done within 5 s; 48 of 96 choices invalid"
    assert dozer["charged"] == dozer["invalid"] == 48
    assert dozer["metrics"]["reward"]["n"] == 96
    assert dozer["verdict"].startswith("personalises: not known, it did not finish")
    assert found["cheats:Fine"]["status"] == "ok"


@pytest.mark.usefixtures("place")
def test_ctrl_c_ends_the_processes_and_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Watched(isolation.RemoteRouter):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            started.append(self)

        def fit(self, history: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(isolation, "RemoteRouter", Watched)
    with pytest.raises(KeyboardInterrupt):
        evaluate(DEFAULT_DIRECTORY, ["cheats:Fine", "cheats:Keys"], bootstrap_draws=0)
    assert len(started) == 2
    for router in started:
        assert router._talk.process.returncode is not None
        assert not router._folder.exists()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(time_s=0), "--time-limit is 0; give a number above 0"),
        (Limits(memory_gib=float("nan")), "--memory-limit is nan"),
        (Limits(reads=(Path("absent"),)), "--router-reads absent: there is no such file"),
        (Limits(memory_gib=1, in_process=True), "leave out --in-process"),
    ],
)
def test_wrong_limits(limits: Limits, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Isolation([], limits)


def test_weights_can_be_given(place: Path) -> None:
    weights = place / "weights"
    weights.mkdir(exist_ok=True)
    (weights / "w.txt").write_text("3")
    (place / "weighty.py").write_text(
        "import cheats, pathlib\n"
        "class Weighty(cheats.Fine):\n"
        f"    def fit(self, history): self.m = int(open({str(weights / 'w.txt')!r}).read())\n"
        "    def route(self, requests): return [self.m] * len(requests)\n"
    )
    for reads, status in (((), "error: PermissionError"), ((weights,), "ok")):
        limits = Limits(reads=reads)
        entry = evaluate(DEFAULT_DIRECTORY, ["weighty:Weighty"], bootstrap_draws=0, limits=limits)[
            "weighty:Weighty"
        ]
        if not reads and entry["isolation"] and entry["isolation"]["state"] == "unsealed":
            continue
        assert entry["status"].startswith(status)


@pytest.mark.usefixtures("place")
def test_a_data_set_in_memory_has_nothing_to_hide(benchmark: Benchmark) -> None:
    small = evaluate(benchmark, ["cheats:Fine"], bootstrap_draws=0, timed_requests=5)
    assert small["cheats:Fine"]["latency_s"]["requests"] == 5
    assert small["cheats:Fine"]["status"] == "ok"
    assert np.isfinite(small["cheats:Fine"]["fit_s"])
