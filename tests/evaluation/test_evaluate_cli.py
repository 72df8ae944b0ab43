from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from small_benchmark import save, small_benchmark
from typer.testing import CliRunner

from personaroute_bench.benchmark import DEFAULT_DIRECTORY
from personaroute_bench.cli.evaluate import evaluate
from personaroute_bench.errors import UsageError

ROUTERS = """
class Fine:
    def fit(self, history): pass
    def route(self, requests): return [0] * len(requests)
class Broken(Fine):
    def route(self, requests): return requests.no_such_thing
"""


@pytest.fixture
def data(elsewhere: Path) -> Path:
    """A current folder with a data set in the default place and a module of routers."""
    save(small_benchmark(), elsewhere / DEFAULT_DIRECTORY)
    (elsewhere / "cli_routers.py").write_text(ROUTERS)
    return elsewhere


def bench(*arguments: str) -> Any:
    app = typer.Typer()
    app.command("evaluate")(evaluate)
    return CliRunner().invoke(app, ["--draws", "100", *arguments])


def test_defaults(data: Path) -> None:
    result = bench("--quiet")
    assert result.exit_code == 0, result.output
    assert "best-per-user-task" in result.stdout
    assert "personaroute-data: simulated responses" in result.stdout
    assert result.stderr == ""


def test_all_options(data: Path) -> None:
    result = bench(
        "personaroute-data", "--strategy", "multi_cost_efficiency", "--router", "random",
        "--router", "cli_routers:Fine", "--setting", "general", "--feedback", "pairwise",
        "--interactions-per-user", "5", "--tier", "T3", "--seeds", "2", "--choices", "chosen",
        "--json", "results.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "choices are committed" in result.stderr
    written = json.loads((data / "results.json").read_text())
    names = {entry["name"] for entry in written["routers"]}
    assert {"random", "cli_routers:Fine", "best-single", "oracle"} <= names
    assert (data / "chosen" / "cli_routers:Fine.parquet").is_file()
    assert (data / "chosen" / "random-seed1.parquet").is_file()
    again = bench("--predictions", "chosen/random.parquet", "--json", "again.json")
    assert again.exit_code == 0, again.output
    found = json.loads((data / "again.json").read_text())["routers"]
    assert [e["kind"] for e in found if e["name"] == "random"] == ["predictions"]


def test_a_failed_router_is_exit_code_1_with_results_and_its_traceback(data: Path) -> None:
    result = bench("--router", "cli_routers:Broken", "--json", "results.json", "--quiet")
    assert result.exit_code == 1
    assert "no_such_thing" in result.stderr
    assert "cli_routers.py, line 6" in result.stdout
    entries = json.loads((data / "results.json").read_text())["routers"]
    assert {e["name"]: e["metrics"] for e in entries}["cli_routers:Broken"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--router", "best-singel"], "did you mean 'best-single'"),
        (["--router", "cli_routers:Absent"], "has no 'Absent'"),
        (["--setting", "new-users"], "did you mean 'new-user'"),
        (["--setting", "drift"], "setting 'drift' is of strategy 'drift'"),
        (["--shots", "3"], "shots does not apply to setting 'general'"),
        (["--setting", "new-llm", "--held-out", "llm-x"], "unknown LLM 'llm-x'"),
        (["--strategy", "x"], "unknown strategy"),
        (["--tier", "T2"], "persona"),
        (["--predictions", "absent.csv"], "absent.csv"),
        (["nowhere"], "bench generate --out nowhere"),
    ],
)
def test_what_is_wrong_is_a_usage_error(data: Path, arguments: list[str], message: str) -> None:
    result = bench(*arguments)
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--feedback", "all"],
        ["--tier", "T9"],
        ["--seeds", "0"],
        ["--interactions-per-user", "none"],
        ["--draws", "-1"],
        ["--no-such-option"],
    ],
)
def test_options_that_typer_refuses_are_exit_code_2(data: Path, arguments: list[str]) -> None:
    result = bench(*arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_help_names_every_flag_of_the_issue() -> None:
    shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(_app(), ["--help"]).stdout
    for flag in (
        "--strategy", "--router", "--predictions", "--setting", "--shots", "--held-out",
        "--retention", "--feedback", "--tier",
        "--interactions-per-user", "--seeds", "--choices", "--json", "--draws", "--quiet",
        "--time-limit", "--memory-limit", "--router-reads", "--in-process",
    ):  # fmt: skip
        assert flag in shown


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command("evaluate")(evaluate)
    return app


def test_the_default_folder_is_the_librarys() -> None:
    import inspect

    default = inspect.signature(evaluate).parameters["directory"].default
    assert default == DEFAULT_DIRECTORY


def test_importing_the_command_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, personaroute_bench.cli.evaluate; "
        "print([m for m in ('numpy', 'pyarrow', 'pandas', 'sklearn', 'rich.table') "
        "if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy" not in shown.stdout
    assert "pyarrow" not in shown.stdout
