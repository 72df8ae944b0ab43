"""The wheel works outside the checkout, beside a router.py of the user's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from places import ROOT


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which only the wheel is installed; its dependencies come from this Python."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: building writes into the source folder, and two test workers may build at once.
    source = folder / "source"
    for name in ("personaroute_bench", "router", "leaderboard", "personas", "prompts"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", folder / "site", wheel, cwd=folder)
    return folder / "site"


def test_every_file_of_the_checkout_is_in_the_wheel(site: Path) -> None:
    for top, inside in (
        ("personaroute_bench", ""),
        ("router", "router"),
        ("leaderboard", "leaderboard"),
        ("personas", "personas"),
        ("prompts", "prompts"),
    ):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".py", ".yaml", ".jinja", ".typed", ".html", ".css", ".js"):
                relative = path.relative_to(ROOT / top)
                assert (site / "personaroute_bench" / inside / relative).is_file(), path


def test_nothing_but_the_package_is_in_the_wheel(site: Path) -> None:
    (wheel,) = site.parent.glob("*.whl")
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"personaroute_bench"}
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".pth")]


def test_generate_and_evaluate_beside_a_foreign_router(site: Path, tmp_path: Path) -> None:
    (tmp_path / "router.py").write_text(
        "class Mine:\n"
        "    def fit(self, history): pass\n"
        "    def route(self, requests): return [0] * len(requests)\n"
    )
    environ = {"PYTHONPATH": str(site)}
    where = run(
        sys.executable, "-c", "import personaroute_bench; print(personaroute_bench.__file__)",
        cwd=tmp_path, **environ,
    )  # fmt: skip
    assert Path(where.strip()).is_relative_to(site)
    bench = (sys.executable, "-m", "personaroute_bench.cli")
    run(*bench, "generate", "--users", "5", "--queries-per-task", "10", cwd=tmp_path, **environ)
    table = run(
        *bench, "evaluate", "--router", "router:Mine", "--router", "best-per-user",
        "--draws", "100", cwd=tmp_path, **environ,
    )  # fmt: skip
    assert "router:Mine" in table and "best-per-user" in table
