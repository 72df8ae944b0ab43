"""Where results are written: asked before any router fits, and nobody's file is lost."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import typer
from small_benchmark import STRATEGY, save, small_benchmark
from test_pairwise import made, rows
from typer.testing import CliRunner

from personaroute_bench.benchmark import DEFAULT_DIRECTORY, Benchmark
from personaroute_bench.cli.evaluate import evaluate as command
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.pairwise import evaluate_pairs
from personaroute_bench.evaluation.runner import evaluate

NOTES = """
class Noting:
    def fit(self, history): open("fitted", "w").close()
    def route(self, requests): return [0] * len(requests)
class Odd(Noting):
    def route(self, requests): raise ValueError("half \\ud800 a \\x1b[31m character")
class Mute(Exception):
    def __str__(self): raise RuntimeError
class Speechless(Noting):
    def route(self, requests): raise Mute
"""


@pytest.fixture
def data(elsewhere: Path) -> Path:
    save(small_benchmark(), elsewhere / DEFAULT_DIRECTORY)
    (elsewhere / "notes.py").write_text(NOTES)
    (elsewhere / "file").write_text("kept")
    return elsewhere


def bench(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, ["--draws", "0", "--quiet", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "."], r"\. is a folder; name a file with --json"),
        (["--json", "file/r.json"], r"--json file/r\.json cannot be written .*Not a directory"),
        (["--json", "file/a/r.json"], r"--json file/a/r\.json cannot be written"),
        (["--json", "x" * 300], "File name too long"),
        (["--choices", "file"], r"--choices file cannot be written .*Not a directory"),
        (["--choices", "file/a"], r"--choices file/a cannot be written"),
    ],
)
def test_a_wrong_place_is_refused_before_any_router_fits(
    data: Path, arguments: list[str], message: str
) -> None:
    before = sorted(data.iterdir())
    result = bench("--router", "notes:Noting", *arguments)
    assert isinstance(result.exception, UsageError)
    with pytest.raises(UsageError, match=message):
        raise result.exception
    assert not (data / "fitted").exists()
    assert sorted(data.iterdir()) == before
    assert (data / "file").read_text() == "kept"


def test_pairs_refuse_wrong_options_before_any_router_fits_too(data: Path) -> None:
    folder = made(data, rows(people=4))
    with pytest.raises(UsageError, match="--choices file cannot be written"):
        evaluate_pairs(folder, ["notes:Noting"], choices_dir="file")
    with pytest.raises(UsageError, match="bootstrap_draws is 1; give 100 or more"):
        evaluate_pairs(folder, ["notes:Noting"], bootstrap_draws=1)
    assert not (data / "fitted").exists()


def test_the_table_stands_although_the_file_cannot_be_written(data: Path) -> None:
    (data / "full.py").write_text(
        "import pathlib\nimport notes\n"
        "class Filling(notes.Noting):\n"
        "    def fit(self, history): pathlib.Path('later').write_text('in the way')\n"
    )
    result = bench("--router", "full:Filling", "--json", "later/r.json", "--in-process")
    assert "full:Filling" in result.stdout
    assert isinstance(result.exception, BenchError)
    assert result.exception.exit_code == 1
    assert "cannot write later/r.json: " in str(result.exception)
    assert "with --json" in str(result.exception)
    assert "--out" not in str(result.exception)


def test_a_pipe_is_written_to_and_stays_a_pipe(data: Path) -> None:
    pipe, read = data / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    assert bench("--router", "cheapest", "--json", "pipe").exit_code == 0
    reader.join(10)
    assert json.loads(read[0])["strategy"] == STRATEGY
    assert pipe.is_fifo()


def test_the_contract_of_the_json_file(data: Path) -> None:
    result = bench(
        "--router", "random", "--router", "notes:Odd", "--router", "notes:Speechless",
        "--seeds", "2", "--draws", "100", "--feedback", "choice", "--json", "deep/r.json",
    )  # fmt: skip
    assert result.exit_code == 1
    assert r"half \ud800 a" in result.stderr
    written = json.loads((data / "deep" / "r.json").read_text(encoding="utf-8"))
    assert {key: written[key] for key in ("strategy", "setting", "feedback", "tier")} == {
        "strategy": STRATEGY,
        "setting": "general",
        "feedback": "choice",
        "tier": "T1",
    }
    entries = {entry["name"]: entry for entry in written["routers"]}
    fine = entries["random"]
    assert fine["status"] == "ok"
    reward = fine["metrics"]["reward"]
    assert reward["low"] < reward["mean"] < reward["high"]
    assert [entry["seed"] for entry in fine["per_seed"]] == [0, 1]
    mean = sum(entry["reward"] for entry in fine["per_seed"]) / 2
    assert reward["mean"] == pytest.approx(mean)
    place = "(notes.py, line 6)"
    assert entries["notes:Odd"]["status"] == (
        rf"error: ValueError: half \ud800 a \x1b[31m character {place}"
    )
    assert entries["notes:Speechless"]["status"] == "error: Mute (notes.py, line 10)"
    for name in ("notes:Odd", "notes:Speechless"):
        assert entries[name]["metrics"] == {}
        assert entries[name]["per_seed"] == []


def test_files_of_choices_never_fall_together(benchmark: Benchmark, tmp_path: Path) -> None:
    run: dict[str, Any] = {"bootstrap_draws": 0, "seeds": 2}
    evaluate(benchmark, ["cheapest", "largest"], choices_dir=tmp_path / "made", **run)
    names = ["a b", "a-b", "A-B", "random-seed1", "a\x01b"]
    for number, name in enumerate(names):
        source = ("cheapest", "largest")[number % 2]
        (tmp_path / "made" / f"{source}.parquet").rename(tmp_path / f"{name}.parquet")
        (tmp_path / "made" / f"{source}.parquet").write_bytes(
            (tmp_path / f"{name}.parquet").read_bytes()
        )
    files = [tmp_path / f"{name}.parquet" for name in names]
    results = evaluate(
        benchmark, ["random"], predictions=files, choices_dir=tmp_path / "out", **run
    )
    entries = {entry["name"]: entry for entry in results.routers}
    assert [entries[name]["choices_file"] for name in ("a b", "a-b", "A-B", "random-seed1")] == [
        "a-b.parquet",
        "a-b-2.parquet",
        "A-B-3.parquet",
        "random-seed1.parquet",
    ]
    sealed = {}
    for entry in results.routers:
        for seed in entry["per_seed"]:
            # What lies in the file is what this router and seed committed to.
            again = evaluate(
                benchmark,
                predictions=[tmp_path / "out" / seed["choices_file"]],
                bootstrap_draws=0,
            )
            [read] = [e for e in again.routers if e["kind"] == "predictions"]
            assert read["choices_sha256"] == seed["choices_sha256"]
            sealed[seed["choices_file"]] = entry["name"]
    assert len(sealed) == len(list((tmp_path / "out").iterdir())) == 5 + 2 + 2 + 2 + 2
    assert r"a\x01b" in entries


def test_files_of_pair_choices_never_fall_together(data: Path) -> None:
    (data / "names.py").write_text("from notes import Noting as Ä\nfrom notes import Noting as Ö\n")
    folder = made(data, rows(people=4))
    results = evaluate_pairs(folder, ["names:Ä", "names:Ö"], choices_dir="out", bootstrap_draws=0)
    files = {name: results[name]["choices_files"] for name in ("names:Ä", "names:Ö")}
    assert files == {"names:Ä": ["names:-.parquet"], "names:Ö": ["names:--2.parquet"]}
    assert all((data / "out" / file).is_file() for [file] in files.values())
