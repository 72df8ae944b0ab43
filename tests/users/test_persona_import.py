from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.users.persona_import import (
    ImportSummary,
    clean_text,
    import_personas,
    load_persona_list,
)
from personaroute_bench.users.personas import compose, taste_matrix


def write(path: Path, *lines: object) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write(
        tmp_path / "persona.jsonl",
        {"persona": "A retired tram driver"},
        {"input persona": "You are a\nbell  founder", "synthesized text": "ignored"},
        "",
        {"persona": "A retired  tram driver"},
        {"persona": " \u0007 "},
        {"persona": "x" * 4001},
        {"persona": "Une luthière à Crémone"},
    )


def test_import_by_hand(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.jsonl"
    assert import_personas(published, out) == ImportSummary(
        kept=3, duplicates=1, empty=1, too_long=1
    )
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in lines] == [
        "You are this person: A retired tram driver",
        "You are a bell founder",
        "You are this person: Une luthière à Crémone",
    ]
    assert all(line["persona_id"].startswith("import-") for line in lines)
    for key in ("taste", "performance_weight", "cost_weight", "archetype"):
        assert [line[key] for line in lines] == [None] * 3


def test_a_list_is_a_source_of_personas(published: Path, tmp_path: Path) -> None:
    import_personas(published, tmp_path / "list.jsonl")
    source = load_persona_list(tmp_path / "list.jsonl")
    assert compose(1, 99, source=source).text == "You are a bell founder"
    assert source.compose("default", 0, 0, 3) == list(source.personas)
    large = source.compose("large", 0, 0, 18)
    assert [large.index(person) for person in large] == [0] * 6 + [6] * 6 + [12] * 6
    assert len(source.fingerprint()) == 64
    with pytest.raises(UsageError, match="3 personas, enough for 18 users, but user 19"):
        source.compose("large", 0, 0, 19)
    with pytest.raises(UsageError, match="tastes are not known; use --judge direct"):
        taste_matrix("default", 0, 0, 3, source=source)
    with pytest.raises(UsageError, match="unknown preset"):
        source.compose("huge", 0, 0, 1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no range"):
        source.compose("default", 0, 2, 1)


def test_ids_follow_the_text_not_the_place(tmp_path: Path) -> None:
    a, b = {"persona": "A"}, {"persona": "B"}
    import_personas(write(tmp_path / "1.jsonl", a, b), tmp_path / "o1.jsonl")
    import_personas(write(tmp_path / "2.jsonl", b, a), tmp_path / "o2.jsonl")
    one, two = (load_persona_list(tmp_path / f"o{n}.jsonl") for n in (1, 2))
    assert one.personas == two.personas[::-1]
    assert one.fingerprint() != two.fingerprint()


def test_limit_keeps_the_top(published: Path, tmp_path: Path) -> None:
    assert import_personas(published, tmp_path / "o.jsonl", limit=1).kept == 1
    with pytest.raises(UsageError, match="--limit must be at least 1, got 0"):
        import_personas(published, tmp_path / "o.jsonl", limit=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{persona: A}", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('["A"]', r"bad line \['A'\]: it must be an object"),
        ('{"persona": 5}', "bad persona 5"),
        ('{"persona": null}', "bad persona None"),
        ('{"text": "A", "id": 1}', "no key 'persona' or 'input persona', only 'id', 'text'"),
        ("{}", "only nothing"),
    ],
)
def test_a_broken_line_leaves_no_file(tmp_path: Path, line: str, message: str) -> None:
    source = write(tmp_path / "in.jsonl", {"persona": "A"}, "", line)
    with pytest.raises(UsageError, match=message) as caught:
        import_personas(source, tmp_path / "o.jsonl")
    assert str(caught.value).startswith(f"{source}:3: ")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", {"persona": "A"})
    with pytest.raises(UsageError, match=r"must end in \.jsonl"):
        import_personas(source, tmp_path / "o.yaml")
    with pytest.raises(UsageError, match="is the list itself"):
        import_personas(source, source)
    with pytest.raises(UsageError, match=r"cannot read .*none\.jsonl"):
        import_personas(tmp_path / "none.jsonl", tmp_path / "o.jsonl")
    with pytest.raises(UsageError, match="no usable persona"):
        import_personas(write(tmp_path / "e.jsonl", {"persona": " "}), tmp_path / "o.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"persona": "\xe9"}')
    with pytest.raises(UsageError, match="not UTF-8"):
        import_personas(tmp_path / "latin.jsonl", tmp_path / "o.jsonl")
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"persona": "A"}, "first: bench personas import"),
        ({"persona_id": "", "text": "A"}, "bad persona_id ''"),
        ({"persona_id": "a"}, "bad text None"),
        ({"persona_id": "a", "text": " "}, "bad text ' '"),
        ({"persona_id": "a", "text": "\u0007"}, "bad text"),
        ({"persona_id": "a", "text": "A", "taste": {"length": 1}}, "written in YAML"),
        ({"persona_id": "b", "text": "A"}, "'b' stands twice"),
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, line: object, message: str) -> None:
    path = write(tmp_path / "list.jsonl", {"persona_id": "b", "text": "B"}, line)
    with pytest.raises(UsageError, match=message) as caught:
        load_persona_list(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    with pytest.raises(UsageError, match="holds no persona"):
        load_persona_list(write(tmp_path / "none.jsonl"))


@given(st.text(st.characters()))
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned.replace("\u200c", "").replace("\u200d", "").isprintable()
    assert clean_text(cleaned) == cleaned
    cleaned.encode()


def test_surrogates_and_escapes_do_not_survive(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", '{"persona": "A \\ud800 b\\u001b[31m c\\u202e d"}')
    import_personas(source, tmp_path / "o.jsonl")
    assert load_persona_list(tmp_path / "o.jsonl").personas[0].text.endswith("A b [31m c d")
