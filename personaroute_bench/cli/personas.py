"""`bench personas`: look at the simulated people, check your own, import lists of texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.users.persona_types import Persona
    from personaroute_bench.users.personas import PersonaPreset, PersonaSource

app = typer.Typer(
    name="personas",
    help="The simulated people: list, show, sample, validate your own, import lists of texts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_FILE = typer.Option(None, "--personas", help="Your own personas, YAML or an imported list.")
_SEED = typer.Option(0, "--seed", min=0, help="Seed of the data set.")
_PRESET = typer.Option("default", "--preset", help="default, paper or large.")
_JSON = typer.Option(False, "--json", help="Print JSON.")
# Archetypes that are nearer than this can hardly be told apart by what they choose.
_TWINS = 0.3


@app.command("list")
def list_(personas: Path | None = _FILE, as_json: bool = _JSON) -> None:
    """List the archetypes and the facets that people are composed from."""
    from dataclasses import asdict

    from personaroute_bench.cli.screen import print_table
    from personaroute_bench.users.personas import Catalogue

    source = _source(personas)
    if not isinstance(source, Catalogue):
        _print_people(source.compose("default", 0, 0, _count(source)), as_json)
        return
    if as_json:
        _print_json(asdict(source))
        return
    print_table(
        "Archetypes (bench personas show ID shows one)",
        ("archetype", "performance", "cost", "taste"),
        [
            (
                kind.id,
                f"{kind.performance_weight:g}",
                f"{kind.cost_weight:g}",
                _taste(kind.taste),
            )
            for kind in source.archetypes
        ],
    )
    print_table(
        "\nFacets",
        ("facet", "chance", "options", "first options"),
        [
            (
                facet.id,
                f"{facet.chance:g}",
                str(len(facet.options)),
                ", ".join(option.id for option in facet.options[:3]),
            )
            for facet in source.facets
        ],
    )


@app.command()
def show(
    who: str = typer.Argument(..., help="An archetype's id, or a user: 7 or u0000007."),
    seed: int = _SEED,
    preset: str = _PRESET,
    personas: Path | None = _FILE,
    as_json: bool = _JSON,
) -> None:
    """Show one person: the system prompt, and the same taste as numbers."""
    from personaroute_bench.errors import UsageError
    from personaroute_bench.users.personas import Catalogue

    source = _source(personas)
    user = re.fullmatch(r"u?([0-9]{1,18})", who)
    if user:
        number = int(user[1])
        if number < 1:
            raise UsageError(f"no user {who!r}: the first is user 1, u0000001")
        person = source.compose(_preset(preset), seed, number - 1, number)[0]
    elif isinstance(source, Catalogue):
        person = source.show(who)
    else:
        raise UsageError(f"{personas} is a list of texts without archetypes; give a user's number")
    if as_json:
        _print_json(person.as_json())
    else:
        _print_person(person)


@app.command()
def sample(
    count: int = typer.Option(5, "-n", "--count", min=1, max=100_000, help="How many people."),
    seed: int = _SEED,
    preset: str = _PRESET,
    personas: Path | None = _FILE,
    as_json: bool = _JSON,
) -> None:
    """Show the first people of a data set with this seed."""
    _print_people(_source(personas).compose(_preset(preset), seed, 0, count), as_json)


@app.command()
def validate(
    file: Path = typer.Argument(..., help="Your personas, YAML or an imported list."),
    as_json: bool = _JSON,
) -> None:
    """Check a persona file; a mistake is named with its line, value and remedy."""
    from personaroute_bench.users.personas import Catalogue, closest_archetypes

    source = _source(file)
    report: dict[str, Any] = {"file": str(file), "fingerprint": source.fingerprint()}
    if isinstance(source, Catalogue):
        report |= {"archetypes": len(source.archetypes), "facets": len(source.facets)}
        pair = closest_archetypes(source)
        if pair:
            distance, one, two = pair
            report["closest"] = {"distance": round(distance, 4), "archetypes": [one, two]}
    else:
        report["texts"] = _count(source)
    if as_json:
        _print_json(report)
        return
    if "texts" in report:
        say(f"{file} is right: {report['texts']:,} texts, tastes unknown")
        return
    say(
        f"{file} is right: {report['archetypes']} archetypes, {report['facets']} facets "
        "(bundled ones included where it leaves them out)"
    )
    if "closest" in report:
        say(f"Closest archetypes: {one} and {two}, distance {distance:.2f}")
        if distance < _TWINS:
            say("warning: their choices will hardly differ; move their tastes apart")


@app.command("import")
def import_(
    file: Path = typer.Argument(..., help='JSONL with "persona" or "input persona" a line.'),
    out: Path = typer.Option(..., "--out", help="Persona list to write, .jsonl."),
    limit: int | None = typer.Option(None, "--limit", help="Keep at most so many."),
    as_json: bool = _JSON,
) -> None:
    """Import a list of persona texts; their tastes stay unknown."""
    from dataclasses import asdict

    from personaroute_bench.users.persona_import import import_personas

    summary = import_personas(file, out, limit=limit)
    if as_json:
        _print_json(asdict(summary))
        return
    say(
        f"{out}: {summary.kept:,} personas ({summary.duplicates:,} duplicates, "
        f"{summary.empty:,} empty, {summary.too_long:,} too long left out)"
    )
    say("Tastes unknown: only a judge that reads the text can use them (--judge direct).")


def _source(path: Path | None) -> PersonaSource:
    from personaroute_bench.users.persona_files import bundled_personas, load_personas

    return bundled_personas() if path is None else load_personas(path)


def _preset(name: str) -> PersonaPreset:
    from personaroute_bench.errors import UsageError, did_you_mean
    from personaroute_bench.users.personas import PERSONA_PRESETS

    for preset in PERSONA_PRESETS:
        if preset == name:
            return preset
    raise UsageError(f"unknown --preset {name!r}{did_you_mean(name, PERSONA_PRESETS)}")


def _count(source: PersonaSource) -> int:
    from personaroute_bench.users.persona_import import PersonaList

    return len(source.personas) if isinstance(source, PersonaList) else 0


def _print_people(people: list[Persona], as_json: bool) -> None:
    if as_json:
        _print_json([person.as_json() for person in people])
        return
    for place, person in enumerate(people):
        if place:
            say()
        _print_person(person)


def _print_person(person: Persona) -> None:
    """Print a person; text from files may hold anything, so it is cleaned line by line."""
    from personaroute_bench.cli.screen import clean

    facts = [f"archetype {person.archetype}"] if person.archetype else []
    facts += [f"{facet} {option}" for facet, option in person.facets.items()]
    say(clean(f"{person.persona_id}: {', '.join(facts) or 'imported text'}"))
    for line in person.text.splitlines():
        say(f"  {clean(line)}".rstrip())
    if person.taste is None:
        say("  taste: unknown")
        return
    value = person.as_json()
    say(f"  taste: {_taste(value['taste'])}")
    say(
        f"  performance weight {value['performance_weight']:.2f}, "
        f"cost weight {value['cost_weight']:.2f}"
    )


def _taste(taste: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:+.2f}" for name, weight in taste.items())


def _print_json(value: Any) -> None:
    import json

    say(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
