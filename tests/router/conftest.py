from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker where pytest-xdist, whose it is, is switched off."""
    config.addinivalue_line("markers", "xdist_group(name): tests for one worker")
