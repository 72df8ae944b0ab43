"""A router that ends the program ends only itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from small_benchmark import save, small_benchmark
from test_pairwise import made, rows
from typer.testing import CliRunner

from personaroute_bench.benchmark import DEFAULT_DIRECTORY, Benchmark
from personaroute_bench.cli.evaluate import evaluate as command
from personaroute_bench.evaluation.pairwise import evaluate_pairs
from personaroute_bench.evaluation.registry import resolve
from personaroute_bench.evaluation.runner import evaluate

EXITS = """
import sys
class Fine:
    def fit(self, history): pass
    def route(self, requests): return [0] * len(requests)
class Construct(Fine):
    def __init__(self): sys.exit(0)
class Later(Fine):
    def __init__(self, seed): seed and sys.exit(0)
class Fit(Fine):
    def fit(self, history): sys.exit(0)
class Adapt(Fine):
    def adapt(self, support): sys.exit(0)
class Route(Fine):
    def route(self, requests): sys.exit(0)
class Generate(Fine):
    def route(self, requests): raise GeneratorExit
"""


@pytest.fixture
def exits(elsewhere: Path) -> Path:
    (elsewhere / "exits.py").write_text(EXITS)
    (elsewhere / "exits_at_once.py").write_text("import sys\n\nsys.exit(0)\n")
    return elsewhere


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("exits_at_once:Any", "SystemExit: 0 (exits_at_once.py, line 3)"),
        ("exits:Construct", "SystemExit: 0 (exits.py, line 7)"),
        ("exits:Later", "SystemExit: 0 (exits.py, line 9)"),
        ("exits:Fit", "SystemExit: 0 (exits.py, line 11)"),
        ("exits:Adapt", "SystemExit: 0 (exits.py, line 13)"),
        ("exits:Route", "SystemExit: 0 (exits.py, line 15)"),
        ("exits:Generate", "GeneratorExit (exits.py, line 17)"),
    ],
)
def test_it_is_that_routers_status(
    exits: Path, benchmark: Benchmark, name: str, place: str
) -> None:
    results = evaluate(
        benchmark, [name, "exits:Fine"], setting="new-user", seeds=2, bootstrap_draws=0
    )
    assert results[name]["status"] == f"error: {place}"
    assert results[name]["metrics"] == {}
    assert results[name]["per_seed"] == []
    assert results.failed == [name]
    assert ".py" in results.traces[name]
    assert results["exits:Fine"]["status"] == "ok"


def test_the_fully_trained_twin_exits_too(exits: Path, benchmark: Benchmark) -> None:
    results = evaluate(
        benchmark, ["exits:Construct"], setting="new-user", retention=True, bootstrap_draws=0
    )
    assert results.failed == ["exits:Construct"]


def test_the_command_says_so_with_exit_code_1(exits: Path) -> None:
    save(small_benchmark(), exits / DEFAULT_DIRECTORY)
    app = typer.Typer()
    app.command()(command)
    arguments = ["--router", "exits_at_once:Any", "--router", "exits:Construct",
                 "--draws", "0", "--json", "r.json", "--quiet"]  # fmt: skip
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 1
    assert "oracle" in shown.stdout
    assert "router exits_at_once:Any failed" in shown.stderr
    written = {entry["name"]: entry for entry in json.loads(Path("r.json").read_text())["routers"]}
    for name in ("exits_at_once:Any", "exits:Construct"):
        assert written[name]["status"].startswith("error: SystemExit: 0")
        assert written[name]["metrics"] == {}
    assert written["best-single"]["status"] == "ok"


def test_ctrl_c_while_a_module_is_imported_passes(exits: Path) -> None:
    (exits / "stopped.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        resolve(["stopped:Any"])


def test_pair_routers_too(exits: Path) -> None:
    folder = made(exits, rows(people=4))
    names = ["exits_at_once:Any", "exits:Construct", "exits:Later", "exits:Route", "exits:Fine"]
    results = evaluate_pairs(folder, names, seeds=2, bootstrap_draws=0)
    assert sorted(results.failed) == sorted(names[:-1])
    for name in results.failed:
        assert results[name]["status"].startswith("error: SystemExit: 0 (exits")
    assert results["exits:Fine"]["status"] == "ok"
