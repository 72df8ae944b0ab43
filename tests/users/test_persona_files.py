from __future__ import annotations

from pathlib import Path

import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.users.persona_files import bundled_personas, load_personas
from personaroute_bench.users.persona_import import PersonaList
from personaroute_bench.users.personas import Catalogue

GOOD = """\
archetypes:
  - id: night-baker
    name: Night baker
    text: You bake bread while others sleep.
    wants:
      - says: You like short answers.
        taste: {length: -0.7}
      - says: You like kind words.
        taste: {warmth: 0.5}
    performance_weight: 0.5
    cost_weight: 0.4
    skips: [profession]
    tasks: [passage_qa]
"""
FACETS = """\
facets:
  - id: mood
    name: Mood
    part: style
    chance: 0.5
    options:
      - {id: merry, says: You like jokes., taste: {humour: 0.8}}
      - {id: plain, says: You have no moods.}
scales:
  cost_weight:
    spread: 0
    levels:
      - {id: rich, from: 0, says: You pay.}
      - {id: poor, from: 0.5, says: You save.}
"""


def catalogue(path: Path, text: str) -> Catalogue:
    path.write_text(text, encoding="utf-8")
    source = load_personas(path)
    assert isinstance(source, Catalogue)
    return source


def test_own_archetypes_with_the_bundled_facets(tmp_path: Path) -> None:
    source = catalogue(tmp_path / "own.yaml", GOOD)
    assert [kind.id for kind in source.archetypes] == ["night-baker"]
    assert source.archetypes[0].taste == {"length": -0.7, "warmth": 0.5}
    assert source.archetypes[0].tasks == ("passage_qa",)
    assert source.facets == bundled_personas().facets
    people = source.compose("paper", 0, 0, 200)
    assert people[0].persona_id == "night-baker"
    assert {person.archetype for person in people} == {"night-baker"}
    assert len({person.text for person in people}) == 200
    assert not any("profession" in person.facets for person in people)


def test_own_facets_and_scales(tmp_path: Path) -> None:
    source = catalogue(tmp_path / "own.yaml", GOOD.replace("[profession]", "[]") + FACETS)
    assert [facet.id for facet in source.facets] == ["mood"]
    assert source.scales["cost_weight"].of(0.4).id == "rich"
    assert source.scales["cost_weight"].of(0.5).id == "poor"
    assert source.scales["performance_weight"] == bundled_personas().scales["performance_weight"]


def test_extend_adds_to_the_bundled_ones(tmp_path: Path) -> None:
    source = catalogue(tmp_path / "own.yaml", "schema: 1\nextend: true\n" + GOOD)
    assert source.archetypes[:-1] == bundled_personas().archetypes
    assert source.archetypes[-1].id == "night-baker"


def test_no_facets_gives_the_archetypes_with_their_personal_factors(tmp_path: Path) -> None:
    text = GOOD.replace("    skips: [profession]\n", "") + "facets: []\n"
    people = catalogue(tmp_path / "own.yaml", text).compose("default", 0, 0, 3)
    assert len({person.taste for person in people}) == 3


def test_layout_and_comments_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    one = catalogue(tmp_path / "a.yaml", GOOD)
    two = catalogue(
        tmp_path / "b.yaml", "# a comment\n" + GOOD.replace("like short", "like  short")
    )
    other = catalogue(tmp_path / "c.yaml", GOOD.replace("-0.7", "-0.6"))
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("-0.7}", "-1.7}", 7, "bad weight of length -1.7: it must be a number from -1 to 1"),
        ("-0.7}", ".nan}", 7, "bad weight of length nan"),
        ("-0.7}", ".inf}", 7, "bad weight of length inf"),
        ("-0.7}", "true}", 7, "bad weight of length True"),
        ("-0.7}", "'0.7'}", 7, "bad weight of length '0.7'"),
        ("-0.7}", "0}", 7, "length has weight 0, which says nothing; leave it out"),
        ("{length: -0.7}", "{}", 7, "`taste:` is empty"),
        ("{length: -0.7}", "[length]", 7, "taste must be a mapping"),
        ("{length: -0.7}", "{lenght: -0.7}", 7, "unknown style dimension 'lenght'; did you mean"),
        ("{warmth: 0.5}", "{length: 0.5}", 8, "'length' has a weight in two sentences"),
        ("{warmth: 0.5}", "{warmth: 0.5, warmth: 0.4}", 9, "'warmth' stands twice"),
        ("        taste: {warmth: 0.5}\n", "", 8, "an item of wants has no `taste`"),
        ("says: You like short answers.", "says: ''", 6, "bad says '': it must be text"),
        ("says: You like short answers.", "says: 17", 6, "bad says 17: it must be text"),
        ("You bake", '"You \\e[31m bake"  #', 4, "control character"),
        ("You bake", "You " + "bake " * 500, 4, "at most 2,000 characters"),
        ("id: night-baker", "id: Night Baker", 2, "bad id 'Night Baker': use small letters"),
        ("id: night-baker", "id: u0000001", 2, "which is a user"),
        ("    name: Night baker\n", "", 2, "an archetype has no `name`"),
        (
            "name: Night",
            "nmae: Night",
            3,
            "unknown key 'nmae' of an archetype; did you mean 'name'",
        ),
        ("performance_weight: 0.5", "performance_weight: 2", 10, "must be a number from 0 to 1"),
        ("cost_weight: 0.4", "cost_weight: -0.1", 11, "bad cost_weight -0.1"),
        ("cost_weight: 0.4", "cost_weight: null", 11, "bad cost_weight None"),
        ("[profession]", "[proffession]", 12, "no facet 'proffession' to skip; did you mean"),
        ("[profession]", "profession", 12, "it must be a list of names"),
        ("archetypes:", "archetype:", 1, "unknown key 'archetype' of a persona file; did you"),
        ("archetypes:", "schema: 2\narchetypes:", 1, "reads `schema: 1` only"),
        ("archetypes:", "extend: maybe\narchetypes:", 1, "bad extend 'maybe'"),
        ("archetypes:", "extend: true\narchetypes:\n  - *old\n", 3, "aliases"),
        ("taste: {length: -0.7}", "taste: !!python/object:os.system {}", 7, "empty"),
        ("-0.7}", "-0.7", 8, "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    assert old in GOOD
    path = tmp_path / "own.yaml"
    with pytest.raises(UsageError) as caught:
        catalogue(path, GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("part: style", "part: both", "bad part 'both': it must be person or style"),
        ("chance: 0.5", "chance: 0", "a chance of 0"),
        ("chance: 0.5", "chance: 1.5", "bad chance 1.5"),
        ("id: plain", "id: merry", "the id 'merry' stands twice in options"),
        ("id: mood", "id: cost_weight", "is a scale"),
        ("from: 0.5", "from: 0", "must start above the one before"),
        ("from: 0,", "from: 0.1,", "the first level must be `from: 0`"),
        ("spread: 0", "spread: many", "bad spread 'many'"),
        ("  cost_weight:", "  costweight:", "unknown key 'costweight' of scales"),
    ],
)
def test_a_mistake_in_facets_and_scales(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FACETS
    with pytest.raises(UsageError, match=r"own\.yaml:\d+: ") as caught:
        catalogue(tmp_path / "own.yaml", FACETS.replace(old, new, 1))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("just words", "a persona file must be a mapping"),
        ("schema: 1", "there is nothing in it"),
        ("archetypes: []", "`archetypes:` is empty"),
        ("archetypes: 5", "must be a list"),
        ("facets:\n- {id: a, name: A, part: style, chance: 1, options: []}", "`options:` is empty"),
        ("extend: true\n" + GOOD.replace("night-baker", "news-editor"), "stands twice"),
    ],
)
def test_files_that_are_no_persona_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalogue(tmp_path / "own.yaml", text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the persona file .*none\.yaml"):
        load_personas(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot read the persona file"):
        load_personas(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Grüße".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        load_personas(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"# " + b"x" * 4_000_000)
    with pytest.raises(UsageError, match="bench personas import"):
        load_personas(tmp_path / "large.yaml")


def test_a_list_is_read_by_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"persona_id": "a", "text": "You are a."}\n', encoding="utf-8")
    assert isinstance(load_personas(path), PersonaList)


def test_the_example_of_the_docs_is_right(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "personas.md"
    example = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    source = catalogue(tmp_path / "example.yaml", example)
    assert source.archetypes[-1].id == "night-baker"
    assert source.facets[-1].id == "shift"
