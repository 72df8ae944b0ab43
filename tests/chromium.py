"""A headless Chromium for tests of pages; they skip, with the reason, where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Yield a Playwright browser that runs the system's Chromium; it reaches no network."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install playwright axe-playwright-python"
    )
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium: apt-get install --no-install-recommends chromium")
    # Chromium's sandbox refuses to run as root, as in a container.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=path,
            args=["--no-sandbox"] if root else [],
            proxy={"server": "http://127.0.0.1:9"},  # nobody listens there
        )
        try:
            yield browser
        finally:
            browser.close()


def axe_script() -> str:
    """Return the source of axe-core, as the test dependency bundles it."""
    from importlib import resources

    pytest.importorskip(
        "axe_playwright_python", reason="no axe-core: pip install axe-playwright-python"
    )
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
