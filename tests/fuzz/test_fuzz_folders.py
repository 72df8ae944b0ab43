"""Folders of others: manifests, configurations, ledgers, checkpoints, results, submissions."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bench_command import Bench, Ran
from hypothesis import given
from hypothesis import strategies as st
from outcome import attempt, fuzzed, refused
from personaroute_bench.leaderboard.choices import read_choices, write_choices
from personaroute_bench.leaderboard.commitments import Commitments
from personaroute_bench.leaderboard.submission import About, Submission, read_submission
from personaroute_bench.leaderboard.track import Asked, Track
from shapes import changed_tables, damaged, json_files, line_files, parquet_files
from small_benchmark import STRATEGY, small_benchmark
from small_data import write_pool, write_responses

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.checkpoints import load_router
from personaroute_bench.config import DataConfig
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.saved_results import SavedResults, check_pairable
from personaroute_bench.folder import DataFolder
from personaroute_bench.generate import generate
from personaroute_bench.llms.ledger import Ledger, iterate_ledger, ledger_summary
from personaroute_bench.publishing.merge import split_card
from personaroute_bench.training import train

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


@contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(folder, Path(place) / "copy")
        yield Path(place) / "copy"


def says_why(ran: Ran) -> None:
    assert "error: unexpected" not in ran.err, ran.err
    assert ran.code == 0 or "\nerror: " in f"\n{ran.err}", ran.err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataConfig, Path]:
    folder = tmp_path_factory.mktemp("made")
    data = DataConfig(users=3, responses=str(write_responses(folder)), pool=str(write_pool(folder)))
    generate(data, folder / "out")
    return data, folder / "out"


def load_all(folder: Path) -> Benchmark:
    data = Benchmark.load(folder)
    for split in ("train", "validation", "test"):
        data.interactions(data.check_strategy(None), split)
    assert data.embeddings.shape[0] == len(data.task_of_query)
    return data


def test_manifests(made: tuple[DataConfig, Path]) -> None:
    good = json.loads((made[1] / "manifest.json").read_text())

    @fuzzed
    @given(json_files(good))
    def check(raw: bytes) -> None:
        with copy_of(made[1]) as folder:
            (folder / "manifest.json").write_bytes(raw)
            refused(attempt(load_all, folder), folder)

    check()


def test_configurations_of_folders(made: tuple[DataConfig, Path]) -> None:
    """A damaged config.json is refused, or the same command makes the data set whole."""
    good = json.loads((made[1] / "config.json").read_text())

    @fuzzed
    @given(json_files(good))
    def check(raw: bytes) -> None:
        with copy_of(made[1]) as folder:
            (folder / "config.json").write_bytes(raw)
            if not refused(attempt(generate, made[0], folder), folder):
                load_all(folder)

    check()


def test_tables_of_folders(made: tuple[DataConfig, Path]) -> None:
    """Also where a stranger's manifest vouches for the file."""
    names = ["tasks", "queries", "llms", "responses", "users"]
    names.append(f"interactions/{STRATEGY}/test/00000")
    tables = {name: pq.read_table(made[1] / f"{name}.parquet") for name in names}

    @fuzzed
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(names))
        raw = data.draw(parquet_files(tables[name]))
        with copy_of(made[1]) as folder:
            (folder / f"{name}.parquet").write_bytes(raw)
            manifest = json.loads((folder / "manifest.json").read_text())
            del manifest["files"]
            (folder / "manifest.json").write_text(json.dumps(manifest))
            attempt(load_all, folder)

    check()


@pytest.mark.parametrize("command", ["show", "evaluate", "report"])
def test_commands_on_a_strange_manifest(
    made: tuple[DataConfig, Path], bench: Bench, command: str
) -> None:
    """What is printed has no escape sequence, and what fails has one message."""
    good = json.loads((made[1] / "manifest.json").read_text())
    more = ["--router", "cheapest", "--draws", "0"] if command == "evaluate" else []

    @fuzzed
    @given(json_files(good))
    def check(raw: bytes) -> None:
        with copy_of(made[1]) as folder:
            (folder / "manifest.json").write_bytes(raw)
            last = ["--out", str(folder.parent / "r.html")] if command == "report" else []
            ran = attempt(bench, command, folder, *more, *last)
            assert ran.code in (0, 1, 2), ran
            assert "\x1b" not in ran.out + ran.err
            says_why(ran)

    check()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with Ledger(path) as book:
        run = book.start_run("data")
        book.execute(
            "INSERT INTO calls (key, llm_id, provider, model, tag, created_at, request_json) "
            "VALUES ('k', 'a', 'openai', 'm', 't', 0, '{}')"
        )  # fmt: skip
        book.execute(
            "INSERT INTO attempts (key, run_id, dataset_id, started_at, state, reserved_usd) "
            "VALUES ('k', ?, 'data', 0, 'in_flight', 1)", (run,),
        )  # fmt: skip
    return path


def test_ledgers(ledger: Path) -> None:
    raw = ledger.read_bytes()

    @fuzzed
    @given(damaged(raw), st.booleans())
    def check(raw: bytes, read_only: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.sqlite"
            path.write_bytes(raw)

            def look() -> None:
                with Ledger(path, read_only=read_only) as book:
                    ledger_summary(book)
                    list(iterate_ledger(book))
                    book.settled(["a"])
                    book.unjudged()

            refused(attempt(look), path)

    check()


ROWS = st.sampled_from(
    ("UPDATE attempts SET state = x'00ff'", "UPDATE attempts SET cost_usd = 'dear'",
     "UPDATE attempts SET reserved_usd = -1e999", "UPDATE calls SET request_json = '{'",
     "UPDATE calls SET request_json = x'ff'", "DROP TABLE replies", "DROP TABLE attempts",
     "UPDATE calls SET key = NULL", "UPDATE calls SET llm_id = x'ff'", "DELETE FROM calls",
     "INSERT INTO replies VALUES (1, 'x', 'y', 3, 'text')",
     "INSERT INTO replies VALUES (1, 200, 0.1, x'ff', x'ff')",
     "ALTER TABLE attempts DROP COLUMN kind", "PRAGMA user_version = 99",
     "UPDATE attempts SET error_message = char(27) || '[2J'")
)  # fmt: skip


def test_ledgers_of_other_hands(ledger: Path, bench: Bench) -> None:
    @fuzzed
    @given(st.lists(ROWS, min_size=1, max_size=3))
    def check(statements: list[str]) -> None:
        import sqlite3

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.sqlite"
            shutil.copy(ledger, path)
            connection = sqlite3.connect(path, isolation_level=None)
            for statement in statements:
                try:
                    connection.execute(statement)
                except sqlite3.Error:
                    continue
            connection.close()
            out = Path(folder) / "out.jsonl"
            for more in ([], ["--export", str(out)], ["--retry", "timeout"]):
                ran = attempt(bench, "ledger", path, *more)
                assert ran.code in (0, 1, 2), ran
                assert "\x1b" not in ran.out + ran.err
                says_why(ran)

    check()


@pytest.fixture(scope="module")
def model(made: tuple[DataConfig, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train(Benchmark.load(made[1]), "explicit-utility").save(folder)
    return folder


def test_checkpoints(model: Path) -> None:
    pytest.importorskip("safetensors")
    head = json.loads((model / "model.json").read_text())
    arrays = (model / "model.safetensors").read_bytes()

    @fuzzed
    @given(st.one_of(json_files(head), st.none()), st.one_of(damaged(arrays), st.none()))
    def check(told: bytes | None, numbers: bytes | None) -> None:
        with copy_of(model) as folder:
            if told is not None:
                (folder / "model.json").write_bytes(told)
            if numbers is not None and told is None:
                (folder / "model.safetensors").write_bytes(numbers)

            def use() -> None:
                load_router(folder).route(["add", "who"], ["u0000001", "stranger"])

            attempt(use)

    check()


FIGURES = {
    "routers": [
        {"name": "a", "reward": {"mean": 0.5, "draws": [0.1, 0.2]}, "figures": {"reward": 0.5}}
    ],
    "paired": {"outcomes_sha256": "a" * 64, "draws_sha256": "b" * 64}, "bootstrap_draws": 2,
    "confidence": 0.95, "sizes": {"users": 3, "test": 4}, "strategy": "mixed",
    "data": {"manifest_sha256": "c" * 64}, "held_out": [], "seeds": [0, 1],
}  # fmt: skip


@pytest.fixture(scope="module")
def results(
    made: tuple[DataConfig, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    from personaroute_bench.cli import app

    path = tmp_path_factory.mktemp("results") / "a.json"
    words = ["evaluate", str(made[1]), "--router", "cheapest", "--router", "random"]
    app([*words, "--draws", "100", "--json", str(path)], standalone_mode=False)
    return dict(json.loads(path.read_text()))


def test_results_of_others(results: dict[str, Any], bench: Bench) -> None:
    @fuzzed
    @given(json_files(results), json_files(FIGURES))
    def check(raw: bytes, odd: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            one, two = Path(folder) / "one.json", Path(folder) / "two.json"
            one.write_text(json.dumps(results))
            for content in (raw, odd):
                two.write_bytes(content)
                read = attempt(SavedResults.read, two)
                if not refused(read, two):
                    attempt(check_pairable, SavedResults.read(one), read)
                    assert 0 < read.confidence < 1
                ran = attempt(bench, "compare", one, two)
                assert ran.code in (0, 1, 2) and "\x1b" not in ran.out + ran.err
                says_why(ran)

    check()


SUBMISSION = Submission(
    About("mine", "open", "A router.", "https://example.org", price_date="2025-01-01"),
    Track(STRATEGY, seeds=2), "data", "0" * 32, "a" * 64, ("b" * 64, "c" * 64),
    {"reward": 0.5, "regret": None}, "2025-01-01T00:00:00Z",
).as_json()  # fmt: skip


@fuzzed
@given(json_files(SUBMISSION))
def test_submissions(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "submission.json").write_bytes(raw)
        read = attempt(read_submission, Path(folder))
        if not refused(read, folder):
            assert "\x1b" not in json.dumps(read.as_json(), ensure_ascii=False)
            assert len(read.commitment) == 64


@fuzzed
@given(line_files([{"commitment": "b" * 64, "committed_at": "2025-01-01T00:00:00Z", "name": "x"}]))
def test_commitments(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "commitments.jsonl"
        path.write_bytes(raw)
        refused(attempt(Commitments.read, path), path)


def test_choices_of_submissions(tmp_path: Path) -> None:
    asked = Asked.of(small_benchmark(users=3, queries=(4, 2, 2)), Track(STRATEGY, seeds=2))
    import numpy as np

    write_choices(tmp_path / "good.parquet", [np.zeros(asked.shape, np.int64)] * 2, asked)
    good = pq.read_table(tmp_path / "good.parquet")

    @fuzzed
    @given(st.one_of(parquet_files(good), changed_tables(good).map(lambda table: b"")))
    def check(raw: bytes) -> None:
        path = tmp_path / "choices.parquet"
        path.write_bytes(raw)
        read = attempt(read_choices, path, asked)
        if not refused(read, path):
            assert len(read) == 2 and all(choice.shape == asked.shape for choice in read)

    check()


@fuzzed
@given(
    damaged(b"---\nlicense: mit\nconfigs:\n- config_name: a\n---\n# Card\n"),
)
def test_cards(raw: bytes) -> None:
    import yaml

    def split(text: str) -> Any:
        try:
            return split_card(text)
        except yaml.YAMLError as error:  # what it documents; its callers turn it into words
            return BenchError(str(error))

    attempt(split, raw.decode("utf-8", "replace"))


def test_a_folder_of_the_future(tmp_path: Path) -> None:
    def enter(state: Any) -> Callable[[], None]:
        def go() -> None:
            (tmp_path / "config.json").write_text(json.dumps(state))
            with DataFolder.open(tmp_path, {"seed": 1}):
                pass

        return go

    for state in ({"format": 2}, {"format": 1}, {"format": "1"}, [], {"format": 1, "stages": []}):
        assert refused(attempt(enter(state)), tmp_path)
