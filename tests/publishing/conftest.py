"""A small whole data set, and a Hub on loopback that the real client talks to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub
from small_data import write_pool, write_responses

from personaroute_bench.config import DataConfig
from personaroute_bench.generate import generate

LARGE_SEED = 2**60 + 12345


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded responses, four users, all that a seal must deal with."""
    base = tmp_path_factory.mktemp("made")
    data = DataConfig(
        users=4,
        responses=str(write_responses(base)),
        pool=str(write_pool(base, "https://llms.example.org/v1")),
        strategies=("multi_cost_efficiency", "llm_judge", "drift"),
        seed=LARGE_SEED,
    )
    generate(data, base / "data")
    return base / "data"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that the test may change; its tasks are under a licence of their own."""
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", server.token)
        # The client read its environment when it was imported, perhaps by an earlier test.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        close_session()
        yield server
        close_session()
