"""benchmarks/peers: a way counts only with every call once, and the page says what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import run
from peers.environments import FLOOR, HERE, OURS, WAYS, Environment, Way, prepare
from peers.page import write_page
from places import ROOT

CALLS = 12


@pytest.fixture
def work(tmp_path: Path) -> Path:
    lines = [json.dumps({"query": f"call {number}: what?"}) for number in range(CALLS)]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with run.server("4x5") as place:
        yield place


def test_a_way_that_asks_every_call_once_counts(work: Path, url: str) -> None:
    told = run.ask(
        Way(FLOOR, "aiohttp_only", None), Environment(Path(sys.executable)), url, work, "4x5"
    )
    assert (told["requests"], told["distinct"], told["most_in_flight"]) == (CALLS, CALLS, 4)
    assert told["rate"] == pytest.approx(CALLS / told["seconds"])
    assert told["whole_s"] > told["seconds"] >= 3 * 0.005


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo '{{\"answers\": {CALLS}}}'", "0 requests of 0 calls arrived and 12 different"),
        ("echo trouble >&2; exit 3", "ended with 3: trouble"),
    ],
)
def test_a_way_that_does_not_is_a_failure_with_its_reason(
    work: Path, url: str, script: str, words: str
) -> None:
    python = work / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    told = run.ask(Way("odd", "aiohttp_only", None), Environment(python), url, work, "4x5")
    assert words in told["failed"]
    assert "rate" not in told


def test_a_peer_that_does_not_install_is_skipped_with_pips_reason(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(folder: Path, with_pip: bool) -> None:
        python = folder / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found' >&2; exit 1\n")
        python.chmod(0o755)

    monkeypatch.setattr("peers.environments.venv.create", create)
    monkeypatch.setattr("peers.environments.HERE", work)
    (work / "requirements").mkdir()
    (work / "requirements" / "odd.txt").write_text("odd==1\n")
    place = prepare(Way("odd", "odd", "odd", "odd"), work)
    assert place.missing == "pip: ERROR: No matching distribution found"


def test_every_way_has_its_script_and_pinned_requirements() -> None:
    for way in WAYS:
        assert (HERE / "ways" / f"{way.script}.py").is_file()
        if way.package is not None:
            pins = (HERE / "requirements" / f"{way.package}.txt").read_text().split()
            assert all("==" in pin for pin in pins)
            assert not any(pin.startswith("torch") for pin in pins)


def test_ratios_are_within_a_round_and_the_page_says_whether_the_aim_is_met(
    tmp_path: Path,
) -> None:
    def rates(ours: float, peer: float) -> dict[str, Any]:
        rest = {"whole_s": 9.0, "most_in_flight": 4, "requests": 12}
        return {OURS: {"rate": ours} | rest, "openai SDK": {"rate": peer} | rest}

    rounds = [rates(100, 50), rates(10, 20), rates(30, 10)]
    rows = [run._row(name, rounds) for name in (OURS, "openai SDK", "curator")]
    assert rows[1]["ours_to_it"] == [2.0, 0.5, 3.0]
    assert rows[2]["failed"] == "not run"
    told = {
        "made": {"cores": 2, "python": "3.11", "date": "2026-01-01", "load": 0.1},
        "calls": CALLS,
        "versions": {"openai SDK": "3.57.0"},
        "skipped": {"distilabel": "pip: ERROR: no"},
        "conditions": {"4x5": rows},
        "expansion": [],
        "expansion_rounds": 0,
    }
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"))
    write_page(told, page)
    text = page.read_text(encoding="utf-8")
    assert "| openai SDK 3.57.0 | 20 | 2.00 (0.50 to 3.00) | 9 s |" in text
    assert "| curator | failed: not run | | |" in text
    assert "Skipped: distilabel: pip: ERROR: no." in text
    assert "met; the least ratio of the medians is 2.00 (openai SDK, 4 at 5 ms)" in text
    assert text.count("## Calls") == 1
    write_page(told, page)
    assert page.read_text(encoding="utf-8") == text
