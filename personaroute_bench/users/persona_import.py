"""Lists of persona texts that others made: PersonaHub-style JSONL in, a persona list out.

    {"persona": "A retired tram driver who restores clocks"}                       their line
    {"persona_id": "import-9f…", "text": "You are this person: A retired …", …}    our line

A text alone does not say how much its author likes lists or jokes, and guessing it from words
would make up the ground truth. So tastes and weights are null: only a judge that reads the text
(``--judge direct``) can use such personas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.files import atomic_path
from personaroute_bench.hashing import digest, text_digest
from personaroute_bench.users.persona_types import Persona
from personaroute_bench.users.personas import (
    JUDGE_CONFIGURATIONS,
    PERSONA_PRESETS,
    Draw,
    PersonaPreset,
)

KEYS = ("persona", "input persona")
"""Keys that hold the text in the published lists, in order of preference."""
MAX_CHARACTERS = 4_000
_INTRODUCTION = "You are this person: "
_JOINERS = "\u200c\u200d"  # invisible, but part of Persian words and of emoji


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What became of the lines of a list."""

    kept: int
    duplicates: int
    empty: int
    too_long: int
    """Longer than `MAX_CHARACTERS` after cleaning."""


@dataclass(frozen=True, slots=True)
class PersonaList:
    """Imported personas: user n is line n of the list."""

    personas: tuple[Persona, ...]
    where: str
    """The file's name in messages."""

    def compose(self, preset: PersonaPreset, seed: int, start: int, stop: int) -> list[Persona]:
        """Return the personas of users ``start`` to ``stop`` (exclusive), counted from 0.

        The seed changes nothing; with ``large`` six users share a line, otherwise none do.

        Raises:
            UsageError: there are fewer personas than users, or the preset is unknown.
        """
        if preset not in PERSONA_PRESETS:
            raise UsageError(f"unknown preset {preset!r}{did_you_mean(preset, PERSONA_PRESETS)}")
        if not 0 <= start <= stop:
            raise UsageError(f"users {start} to {stop} are no range; count from 0 upwards")
        a_profile = JUDGE_CONFIGURATIONS if preset == "large" else 1
        most = len(self.personas) * a_profile
        if stop > most:
            raise UsageError(
                f"{self.where} has {len(self.personas):,} personas, enough for {most:,} users, "
                f"but user {stop:,} is asked for; ask for fewer users, or import more texts"
            )
        return [self.personas[user // a_profile] for user in range(start, stop)]

    def draw(self, preset: PersonaPreset, seed: int, start: int, stop: int) -> Draw:
        """Fail: the tastes are not known."""
        raise UsageError(
            f"{self.where} is an imported list of texts, whose tastes are not known; use "
            "--judge direct, which reads the text, or personas in YAML, which have tastes"
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of the texts in their order."""
        return digest([persona.text for persona in self.personas])


def import_personas(source: Path, target: Path, *, limit: int | None = None) -> ImportSummary:
    """Turn a list of persona texts into a persona list.

    Args:
        source: JSONL with ``persona`` or ``input persona`` in each line; other keys are ignored.
        target: JSONL to write, one `Persona` a line; it appears whole or not at all.
        limit: keep at most so many, from the top; None: all.

    Raises:
        UsageError: a file or a line cannot be used; with file, line, value and remedy.
    """
    if target.suffix != ".jsonl":
        raise UsageError(f"--out {target} must end in .jsonl, so that it is read as a list")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, got {limit}")
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"--out {target} is the list itself; give another name")
    seen: set[str] = set()
    duplicates = empty = too_long = 0
    with atomic_path(target) as temporary:
        with temporary.open("w", encoding="utf-8") as handle:
            for line, value in _lines(source):
                text = clean_text(_text_of(value, f"{source}:{line}"))
                if not text:
                    empty += 1
                elif len(text) > MAX_CHARACTERS:
                    too_long += 1
                elif (persona := _persona(text)).persona_id in seen:
                    duplicates += 1
                else:
                    seen.add(persona.persona_id)
                    handle.write(json.dumps(persona.as_json(), ensure_ascii=False) + "\n")
                    if len(seen) == limit:
                        break
        if not seen:
            raise UsageError(f"{source} holds no usable persona text; nothing was written")
    return ImportSummary(len(seen), duplicates, empty, too_long)


def load_persona_list(path: Path) -> PersonaList:
    """Read what `import_personas` wrote.

    Raises:
        UsageError: the file cannot be read, or a line is not a persona.
    """
    personas: dict[str, Persona] = {}
    for line, value in _lines(path):
        where = f"{path}:{line}"
        if "persona_id" not in value and any(key in value for key in KEYS):
            raise UsageError(
                f"{where}: this is a list as published; first: bench personas import {path} "
                "--out NAME.jsonl"
            )
        persona_id, text = value.get("persona_id"), value.get("text")
        if not (isinstance(persona_id, str) and re.fullmatch(r"[\w.:-]{1,100}", persona_id)):
            _refuse(where, "persona_id", persona_id)
        cleaned = clean_text(text) if isinstance(text, str) else ""
        if not 0 < len(cleaned) <= MAX_CHARACTERS + len(_INTRODUCTION):
            _refuse(where, "text", text)
        if any(value.get(key) is not None for key in ("taste", "performance_weight")):
            raise UsageError(
                f"{where}: a list holds texts only; personas with tastes are written in YAML"
            )
        if persona_id in personas:
            raise UsageError(f"{where}: the persona_id {persona_id!r} stands twice; remove one")
        personas[persona_id] = Persona(
            persona_id,
            cleaned,
            None,
            {},
            taste=None,
            performance_weight=None,
            cost_weight=None,
        )
    if not personas:
        raise UsageError(f"{path} holds no persona")
    return PersonaList(tuple(personas.values()), str(path))


def clean_text(text: str) -> str:
    """Return text in one line, without control, direction and surrogate characters."""
    kept = (c if c.isprintable() or c in _JOINERS else " " for c in text)
    return " ".join("".join(kept).split())


def _persona(text: str) -> Persona:
    said = text if text.startswith("You ") else _INTRODUCTION + text
    return Persona(
        f"import-{text_digest(text)[:16]}",
        said,
        None,
        {},
        taste=None,
        performance_weight=None,
        cost_weight=None,
    )


def _text_of(value: dict[str, Any], where: str) -> str:
    for key in KEYS:
        if key in value:
            if not isinstance(value[key], str):
                _refuse(where, key, value[key])
            return str(value[key])
    keys = ", ".join(sorted(map(repr, value)))[:120] or "nothing"
    raise UsageError(f"{where}: no key 'persona' or 'input persona', only {keys}; rename the key")


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and object of each line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(
                        f"{path}:{number}: {line.strip()[:60]!r} is not JSON ({error}); each "
                        'line must be an object such as {"persona": "A retired tram driver"}'
                    ) from error
                if not isinstance(value, dict):
                    _refuse(f"{path}:{number}", "line", value)
                yield number, value
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}; convert it first") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _refuse(where: str, key: str, value: Any) -> NoReturn:
    expected = {
        "line": "an object in { }",
        "persona_id": "1 to 100 letters, digits, hyphens, dots or colons",
    }.get(key, f"text of 1 to {MAX_CHARACTERS:,} characters")
    raise UsageError(f"{where}: bad {key} {repr(value)[:80]}: it must be {expected}")
