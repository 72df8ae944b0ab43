"""Read persona files: safe YAML, strictly, with the line of every mistake.

    schema: 1                      # optional
    extend: true                   # optional: add to the bundled personas rather than replace them
    archetypes:
      - id: night-baker            # small letters, digits, hyphens
        name: Night baker
        text: You bake bread while others sleep.
        wants:
          - says: You like short answers.
            taste: {length: -0.7}  # a weight in [-1, 1], not 0, on a style dimension
        performance_weight: 0.5
        cost_weight: 0.4
        skips: [profession]        # optional
        tasks: [passage_qa]        # optional
    facets: []                     # as in personas/facets.yaml; left out: the bundled ones
    scales: {}                     # as there; left out: the bundled ones

docs/personas.md explains each key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.users.persona_types import (
    SCALES,
    Archetype,
    Facet,
    Level,
    Levels,
    Option,
    Statement,
)
from personaroute_bench.users.personas import Catalogue, PersonaSource

if TYPE_CHECKING:
    import yaml

    from personaroute_bench.llms._yaml import YamlFile

SCHEMA = 1
_BUNDLED = ("facets.yaml", "paper.yaml", "everyday.yaml")
_MAX_BYTES = 4_000_000
_MAX_TEXT = 2_000
_Fields = Mapping[str, "tuple[yaml.Node, yaml.Node]"]
_T = TypeVar("_T", Archetype, Facet, Option, Level)


@lru_cache(maxsize=1)
def bundled_personas() -> Catalogue:
    """Return the personas of this package."""
    folder = resources.files("personaroute_bench.personas")
    catalogue = Catalogue((), (), {})
    for name in _BUNDLED:
        raw = (folder / name).read_bytes()
        catalogue = _read(raw, f"{name} (bundled)", catalogue, extend=True)
    return catalogue


def load_personas(path: str | Path) -> PersonaSource:
    """Read a persona file: a catalogue in YAML, or an imported list of texts in JSONL.

    What a YAML file leaves out (archetypes, facets, scales) is the bundled one; what it gives
    replaces the bundled one, or with ``extend: true`` is added to it.

    Raises:
        UsageError: the file cannot be read, or has a mistake; with file, line, value and remedy.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        from personaroute_bench.users.persona_import import load_persona_list

        return load_persona_list(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot read the persona file {path}: {reason}") from error
    return _read(raw, str(path), bundled_personas())


def _read(raw: bytes, where: str, base: Catalogue, *, extend: bool = False) -> Catalogue:
    """Read the bytes of a file over a base; `where` names it in messages."""
    from personaroute_bench.llms._yaml import YamlFile

    if len(raw) > _MAX_BYTES:
        raise UsageError(
            f"{where} has {len(raw):,} bytes; a persona file has at most {_MAX_BYTES:,}; a long "
            "list of texts is read with: bench personas import"
        )
    file = YamlFile(raw, where)
    top = _fields(
        file,
        file.root,
        "a persona file",
        required=(),
        optional=("schema", "extend", "archetypes", "facets", "scales"),
    )
    if not {"archetypes", "facets", "scales"} & top.keys():
        file.fail(file.root, "there is nothing in it; give `archetypes:`, `facets:` or `scales:`")
    if "schema" in top and _value(file, top, "schema") != SCHEMA:
        file.fail(top["schema"][1], f"this version reads `schema: {SCHEMA}` only")
    if "extend" in top:
        flag = _value(file, top, "extend")
        if not isinstance(flag, bool):
            file.fail(top["extend"][1], f"bad extend {flag!r}: it must be true or false")
        extend = flag

    scales, facets, archetypes = dict(base.scales), base.facets, base.archetypes
    if "scales" in top:
        given = _fields(file, top["scales"][1], "scales", required=(), optional=SCALES)
        scales |= {scale: _levels(file, given[scale][1]) for scale in SCALES if scale in given}
    if "facets" in top:
        facets = _items(file, top["facets"][1], "facets", _facet, facets if extend else ())
    if "archetypes" in top:
        known = tuple(facet.id for facet in facets)

        def read(file: YamlFile, node: yaml.Node) -> Archetype:
            return _archetype(file, node, known)

        archetypes = _items(
            file, top["archetypes"][1], "archetypes", read, archetypes if extend else ()
        )
        if not archetypes:
            file.fail(top["archetypes"][1], "`archetypes:` is empty; give at least one")
    return Catalogue(archetypes, facets, scales)


# ---------------------------------------------------------------------------------------------
# The parts of a file.


def _archetype(file: YamlFile, node: yaml.Node, facets: tuple[str, ...]) -> Archetype:
    fields = _fields(
        file,
        node,
        "an archetype",
        required=("id", "name", "text", "wants", "performance_weight", "cost_weight"),
        optional=("skips", "tasks"),
    )
    wants = tuple(
        _statement(file, _fields(file, item, "an item of wants", required=("says", "taste")))
        for item in file.sequence(fields["wants"][1], "wants")
    )
    if not wants:
        file.fail(
            fields["wants"][1],
            "`wants:` is empty; say at least one thing that such a person wants, with its taste",
        )
    spoken: set[str] = set()
    for want, item in zip(wants, file.sequence(fields["wants"][1], "wants"), strict=True):
        for name in want.taste:
            if name in spoken:
                file.fail(item, f"{name!r} has a weight in two sentences; keep one of them")
            spoken.add(name)
    skips = _names(file, fields, "skips")
    for skip in skips:
        if skip not in facets:
            file.fail(fields["skips"][1], f"no facet {skip!r} to skip{did_you_mean(skip, facets)}")
    return Archetype(
        id=_slug(file, fields),
        name=_text(file, fields, "name"),
        text=_text(file, fields, "text"),
        wants=wants,
        performance_weight=_number(file, fields["performance_weight"], "performance_weight", 0, 1),
        cost_weight=_number(file, fields["cost_weight"], "cost_weight", 0, 1),
        skips=skips,
        tasks=_names(file, fields, "tasks"),
    )


def _facet(file: YamlFile, node: yaml.Node) -> Facet:
    fields = _fields(
        file, node, "a facet", required=("id", "name", "part", "chance", "options"), optional=()
    )
    part = _value(file, fields, "part")
    if part not in ("person", "style"):
        file.fail(fields["part"][1], f"bad part {part!r}: it must be person or style")
    chance = _number(file, fields["chance"], "chance", 0, 1)
    if chance == 0:
        file.fail(fields["chance"][1], "a chance of 0: nobody would get it; leave the facet out")
    options = _items(file, fields["options"][1], "options", _option, ())
    if not options:
        file.fail(fields["options"][1], "`options:` is empty; give at least one")
    facet_id = _slug(file, fields)
    if facet_id in SCALES:
        file.fail(fields["id"][1], f"{facet_id!r} is a scale; give the facet another id")
    return Facet(facet_id, _text(file, fields, "name"), part, chance, options)


def _option(file: YamlFile, node: yaml.Node) -> Option:
    fields = _fields(file, node, "an option", required=("id", "says"), optional=("taste",))
    return Option(_slug(file, fields), _statement(file, fields))


def _statement(file: YamlFile, fields: _Fields) -> Statement:
    taste = _taste(file, fields["taste"][1]) if "taste" in fields else {}
    return Statement(_text(file, fields, "says"), taste)


def _taste(file: YamlFile, node: yaml.Node) -> dict[str, float]:
    weights: dict[str, float] = {}
    for name, (key_node, value_node) in file.mapping(node, "taste").items():
        if name not in NAMES:
            file.fail(key_node, f"unknown style dimension {name!r}{did_you_mean(name, NAMES)}")
        weights[name] = _number(file, (key_node, value_node), f"weight of {name}", -1, 1)
        if weights[name] == 0:
            file.fail(value_node, f"{name} has weight 0, which says nothing; leave it out")
    if not weights:
        file.fail(node, "`taste:` is empty; give weights, such as {length: -0.7}")
    return weights


def _levels(file: YamlFile, node: yaml.Node) -> Levels:
    fields = _fields(file, node, "a scale", required=("spread", "levels"), optional=())
    nodes = file.sequence(fields["levels"][1], "levels")
    levels = _items(file, fields["levels"][1], "levels", _level, ())
    for place, level in enumerate(levels):
        if place and level.start <= levels[place - 1].start:
            file.fail(nodes[place], f"level {level.id!r} must start above the one before it")
    if not levels or levels[0].start != 0:
        file.fail(fields["levels"][1], "the first level must be `from: 0`")
    return Levels(_number(file, fields["spread"], "spread", 0, 1), levels)


def _level(file: YamlFile, node: yaml.Node) -> Level:
    fields = _fields(file, node, "a level", required=("id", "from", "says"), optional=())
    start = _number(file, fields["from"], "from", 0, 1)
    return Level(_slug(file, fields), start, _text(file, fields, "says"))


# ---------------------------------------------------------------------------------------------
# Values, each with a message at its line.


def _items(
    file: YamlFile,
    node: yaml.Node,
    what: str,
    read: Callable[[YamlFile, yaml.Node], _T],
    before: tuple[_T, ...],
) -> tuple[_T, ...]:
    """Read a list whose items have ids of their own, after those that stand already."""
    found: dict[str, _T] = {item.id: item for item in before}
    for item_node in file.sequence(node, what):
        item = read(file, item_node)
        if item.id in found:
            file.fail(item_node, f"the id {item.id!r} stands twice in {what}; ids must differ")
        found[item.id] = item
    return tuple(found.values())


def _fields(
    file: YamlFile,
    node: yaml.Node,
    what: str,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> _Fields:
    fields = file.mapping(node, what)
    known = required + optional
    for key, (key_node, _) in fields.items():
        if key not in known:
            file.fail(key_node, f"unknown key {key!r} of {what}{did_you_mean(key, known)}")
    for key in required:
        if key not in fields:
            file.fail(node, f"{what} has no `{key}`; it needs {', '.join(required)}")
    return fields


def _value(file: YamlFile, fields: _Fields, key: str) -> Any:
    return file.value(fields[key][1])


def _text(file: YamlFile, fields: _Fields, key: str) -> str:
    value = _value(file, fields, key)
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text:
        shown = repr(value)[:80]
        file.fail(fields[key][1], f"bad {key} {shown}: it must be text; put it in quotes")
    if len(text) > _MAX_TEXT or not text.isprintable():
        file.fail(
            fields[key][1],
            f"bad {key} {text[:40]!r}…: at most {_MAX_TEXT:,} characters, none of them a control "
            "character",
        )
    return text


def _slug(file: YamlFile, fields: _Fields) -> str:
    value = _value(file, fields, "id")
    # One letter and digits is what users are called (u0000001): bench personas show takes both.
    if (
        not isinstance(value, str)
        or len(value) > 80
        or not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", value)
        or re.fullmatch(r"[a-z][0-9]+", value)
    ):
        file.fail(
            fields["id"][1],
            f"bad id {repr(value)[:80]}: use small letters, digits and hyphens, such as "
            "night-baker (and not one letter with digits, which is a user)",
        )
    return value


def _number(
    file: YamlFile, field: tuple[yaml.Node, yaml.Node], what: str, low: float, high: float
) -> float:
    value = file.value(field[1])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared before it is made a float, which a very long whole number cannot become; NaN is
    # neither above nor below.
    if not number or not low <= value <= high:
        file.fail(
            field[1],
            f"bad {what} {repr(value)[:80]}: it must be a number from {low:g} to {high:g}",
        )
    return float(value)


def _names(file: YamlFile, fields: _Fields, key: str) -> tuple[str, ...]:
    if key not in fields:
        return ()
    value = _value(file, fields, key)
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        file.fail(
            fields[key][1], f"bad {key} {repr(value)[:80]}: it must be a list of names, in [ ]"
        )
    return tuple(value)
