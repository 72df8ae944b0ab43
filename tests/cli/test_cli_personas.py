from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from personaroute_bench.cli.personas import app
from personaroute_bench.errors import UsageError
from personaroute_bench.users.personas import compose

OWN = """\
archetypes:
  - id: night-baker
    name: Night baker
    text: You bake bread while others sleep.
    wants: [{says: You like short answers., taste: {length: -0.7}}]
    performance_weight: 0.5
    cost_weight: 0.4
  - id: day-baker
    name: Day baker
    text: You bake bread while others work.
    wants: [{says: You like short answers., taste: {length: -0.8}}]
    performance_weight: 0.5
    cost_weight: 0.4
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, UsageError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    return str(path)


def test_list(own: str) -> None:
    text = run("list")
    assert "stepwise-mathematician" in text
    assert "steps +0.90, formulas +0.80, humour -0.50" in text
    assert "accessibility" in text
    assert [kind["id"] for kind in run_json("list", "--personas", own)["archetypes"]] == [
        "night-baker",
        "day-baker",
    ]


def test_show_an_archetype_and_a_user() -> None:
    text = run("show", "terse-engineer")
    assert text.startswith("terse-engineer: archetype terse-engineer")
    assert "taste: length -0.90, warmth -0.60, directness +0.80" in text
    for who in ("7", "u0000007"):
        shown = run_json("show", who, "--seed", "3")
        assert shown == json.loads(json.dumps(compose(6, 3).as_json()))
    assert run_json("show", "1", "--preset", "paper")["persona_id"] == "warm-companion"


def test_sample() -> None:
    people = run_json("sample", "-n", "8", "--preset", "large")
    assert [person["persona_id"] for person in people] == ["p0000001"] * 6 + ["p0000002"] * 2
    assert run("sample", "-n", "2", "--seed", "1") != run("sample", "-n", "2", "--seed", "2")
    assert run("sample", "-n", "3").count("performance weight") == 3


def test_validate_warns_of_twins(own: str) -> None:
    text = run("validate", own)
    assert "2 archetypes" in text
    assert "Closest archetypes: night-baker and day-baker, distance 0.10" in text
    assert "warning: their choices will hardly differ" in text
    report = run_json("validate", own)
    assert report["closest"] == {"distance": 0.1, "archetypes": ["night-baker", "day-baker"]}


def test_import_then_use(tmp_path: Path) -> None:
    source, out = tmp_path / "hub.jsonl", str(tmp_path / "list.jsonl")
    source.write_text('{"persona": "A tram driver"}\n{"persona": "A \\u001b[2J bell founder"}\n')
    text = run("import", str(source), "--out", out)
    assert "2 personas (0 duplicates, 0 empty, 0 too long left out)" in text
    assert "2 texts, tastes unknown" in run("validate", out)
    assert run_json("validate", out)["texts"] == 2
    assert "\u001b" not in run("list", "--personas", out)
    assert len(run_json("list", "--personas", out)) == 2
    shown = run("show", "2", "--personas", out)
    assert "bell founder" in shown
    assert "taste: unknown" in shown
    assert run_json("import", str(source), "--out", out, "--limit", "1")["kept"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "tersengineer"], "did you mean 'terse-engineer'"),
        (["show", "0"], "the first is user 1"),
        (["sample", "--preset", "papre"], "unknown --preset 'papre'; did you mean 'paper'"),
        (["validate", "none.yaml"], "cannot read the persona file none.yaml"),
        (["sample", "--personas", "none.jsonl"], "cannot read none.jsonl"),
        (["import", "none.jsonl", "--out", "x.txt"], "must end in .jsonl"),
    ],
)
def test_mistakes_have_one_clear_message(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(*arguments)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_broken_file_names_the_line(own: str) -> None:
    Path(own).write_text(OWN.replace("-0.8", "-8"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"own\.yaml:11: bad weight of length -8"):
        run("validate", own)
