"""The command itself: runs, resumes, stops."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import results
from results_lib import run
from results_lib.plan import smoke_plan

ONE = "smoke/multi_cost_efficiency/general/full-all/baselines"


def test_it_runs_resumes_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--smoke", "--work", str(tmp_path), "--jobs", "1", "--only", ONE]
    assert results.main(options) == 0
    first = capsys.readouterr().out
    assert "0 of 1 cells done" in first
    assert f"[1/1] {ONE}" in first
    assert results.main(options) == 0
    second = capsys.readouterr().out
    assert "1 of 1 cells done" in second
    assert "[1/1]" not in second
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| best-per-task |" in text
    (tmp_path / "results.md").unlink()
    assert results.main([*options, "--page-only"]) == 0
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == text


def test_figures_outlive_the_machine_that_made_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--smoke", "--work", str(tmp_path), "--jobs", "1", "--only", ONE]
    assert results.main(options) == 0
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "cells")
    shutil.rmtree(tmp_path / "choices")
    assert results.main([*options, "--list"]) == 0
    listed = capsys.readouterr().out
    (line,) = (line for line in listed.splitlines() if line.startswith("kept "))
    assert f"{ONE}  kept of " in line
    assert "0 done here, figures of 1 kept" in listed
    other = ONE.replace("multi_cost_efficiency", "llm_judge")
    assert results.main([*options[:-1], other]) == 0
    both = (tmp_path / "results.md").read_text(encoding="utf-8")
    cells = len(smoke_plan().cells)
    assert f"1 of {cells} cells are measured" in text
    assert f"2 of {cells} cells are measured" in both


def test_ctrl_c_ends_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    options = ["--smoke", "--work", str(tmp_path), "--only", ONE, "--jobs", "1"]
    monkeypatch.setattr(run, "make_data", interrupted)
    assert results.main(options) == 130
    assert "the same command continues" in capsys.readouterr().err
    monkeypatch.setattr(run, "make_data", lambda *arguments: None)
    monkeypatch.setattr(run, "wait", interrupted)
    assert results.main(options) == 130
    assert "0 of 1 cells are done, the same command continues" in capsys.readouterr().err


def test_listing_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--smoke", "--list", "--work", str(tmp_path)]) == 0
    assert ONE in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [["--only", "nothing"], ["--seeds", "0"], ["--jobs", "0"]])
def test_a_wrong_option_is_named(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        results.main(["--smoke", *wrong])
    assert wrong[1] in capsys.readouterr().err
