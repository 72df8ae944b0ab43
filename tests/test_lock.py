"""requirements.lock holds what it must, and the audit finds what it should."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT

LOCK = ROOT / "requirements.lock"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pins(audit: ModuleType) -> dict[str, str]:
    return {name: version for name, version, _ in audit.read_lock(LOCK.read_text())}


def test_the_lock_is_sound(audit: ModuleType) -> None:
    assert audit.problems_of_lock(LOCK.read_text()) == []


def test_the_lock_holds_the_versions_that_are_tested_together(
    audit: ModuleType, pins: dict[str, str]
) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    told = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    told = {audit.normal(name): version for name, version in told.items()}
    assert told.pop("torch")  # its build is each machine's own; see docs/security.md
    assert {name: pins.get(name) for name in told} == told


def test_the_lock_covers_what_is_needed(audit: ModuleType, pins: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    for name in ("litellm", "dask", "report", "reasoning-gym", "dev"):
        wanted += extras[name]
    names = {audit.normal(re.match(r"[\w.-]+", entry)[0]) for entry in wanted}  # type: ignore[index]
    assert names <= pins.keys(), f"run make lock: {names - pins.keys()}"


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.107.0", "1.107.3"])
def test_hijacked_releases_are_found_and_can_not_be_resolved(
    audit: ModuleType, version: str
) -> None:
    line = f"LiteLLM=={version} --hash=sha256:{'0' * 64}\n"
    assert any("hijacked" in problem for problem in audit.problems_of_lock(line))
    # What the project asks for leaves them out, whatever an index offers.
    packaging = pytest.importorskip("packaging.requirements")
    text = (ROOT / "pyproject.toml").read_text()
    [asked] = tomllib.loads(text)["project"]["optional-dependencies"]["litellm"]
    assert not packaging.Requirement(asked).specifier.contains(version)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("numpy==2.0\n", "has no hash"),
        (f"numpy==2.0 --hash=sha256:{'0' * 63}\n", "has no hash"),
        ("numpy>=2\n", "is no NAME==VERSION"),
        ("--index-url https://example.org/simple\n", "names a place"),
        ("a @ https://example.org/a.whl\n", "names a place"),
    ],
)
def test_a_weak_lock_is_found(audit: ModuleType, text: str, found: str) -> None:
    assert any(found in problem for problem in audit.problems_of_lock(text))


def test_code_at_every_start_is_found(audit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "paths.pth").write_text("/some/folder\n")
    (tmp_path / "distutils-precedence.pth").write_text("import os\n")
    assert audit.problems_of_start(tmp_path) == []
    (tmp_path / "cook.pth").write_text("import os; os.system('true')\n")
    (tmp_path / "sitecustomize.py").write_text("")
    assert len(audit.problems_of_start(tmp_path)) == 2


def test_an_audit_that_could_not_ask_says_so(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that the service does not know is not a sound one."""

    class Done:
        stdout = '{"dependencies": [{"name": "a", "skip_reason": "not found"}]}'
        stderr = ""

    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: Done)
    assert "1 of 1 packages could not be looked up" in audit.advisories(LOCK, "pypi")[1]
    Done.stdout = ""
    assert "did not answer" in audit.advisories(LOCK, "pypi")[1]
    Done.stdout = (
        '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", '
        '"fix_versions": ["2"]}]}]}'
    )
    assert audit.advisories(LOCK, "pypi") == (["a 1: CVE-1, mended in 2"], None)
