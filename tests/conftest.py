"""Every test starts with a clean environment: no key, no proxy, no cache of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench_command import Bench
from places import RECORDED

KEPT = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "SYSTEMROOT",
    "VIRTUAL_ENV",
    "PYTEST_XDIST_WORKER",
)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(("PYTEST", "COVERAGE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture
def recorded() -> Path:
    """The folder of recorded responses, which stands beside the project and is not part of it."""
    if not (RECORDED / "responses.parquet").is_file():
        pytest.skip("the recorded responses (../shared/recorded) are not on this machine")
    return RECORDED


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(monkeypatch, capsys)
