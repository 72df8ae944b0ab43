"""The workflow that is shipped for keeping a board does what it says, command by command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

EXAMPLE = Path(__file__).resolve().parents[2] / "leaderboard" / "ci-example.yml"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the workflow's steps are for bash")
def test_the_steps_check_and_build_a_board(
    folder: Path, enter: Callable[..., Path], edit: Callable[..., None], tmp_path: Path
) -> None:
    workflow = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    # YAML reads the key `on` as true; strangers' files must get no secret and no write access
    assert set(workflow[True]) == {"pull_request", "push"}
    assert workflow["permissions"] == {"contents": "read"}
    (script,) = (
        step["run"] for step in workflow["jobs"]["board"]["steps"] if "leaderboard" in str(step)
    )
    repository = tmp_path / "repository"
    entry = enter("mine", "best-per-user")
    shutil.copytree(entry, repository / "submissions" / "mine")
    shutil.copytree(folder, repository / "data" / "small")
    (repository / "commitments.jsonl").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=repository,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run()
    assert done.returncode == 0, done.stderr
    board = json.loads((repository / "site" / "leaderboard.json").read_text())["boards"][0]
    assert "mine" in [row["name"] for row in board["rows"]]

    edit(repository / "submissions" / "mine", reported__reward=0.99)
    assert run().returncode == 1  # a figure that does not come out again stops the merge
