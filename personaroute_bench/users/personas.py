"""Personas: people with a taste, composed from an archetype and facets by user number and seed.

    Catalogue (personas/*.yaml)
        archetype  "You are an engineer …"   + what such people want
        facets     profession, tone, length  + what each option wants
    ──► Draw (arrays over users) ──► Persona (a system prompt and the same taste as numbers)

Text and taste are one list: whatever has a weight stands beside the sentence that says it, and no
dimension is spoken of twice. So a persona's weight on a dimension is the weight of one sentence
in its text, times a personal factor from 0.85 to 1.15 (the same words mean a little more to one
than to another); what no sentence speaks of is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import digest, index_uniform
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.users.persona_types import (
    SCALES,
    Archetype,
    Facet,
    Levels,
    Persona,
    Scale,
)

__all__ = [
    "JUDGE_CONFIGURATIONS",
    "PAPER_USERS",
    "PERSONA_PRESETS",
    "Archetype",
    "Catalogue",
    "Draw",
    "Facet",
    "Persona",
    "PersonaPreset",
    "PersonaSource",
    "Profile",
    "closest_archetypes",
    "compose",
    "profile_of",
    "taste_matrix",
]

PersonaPreset = Literal["default", "paper", "large"]
PERSONA_PRESETS: tuple[PersonaPreset, ...] = get_args(PersonaPreset)
PAPER_USERS = 9
"""So many users of the preset ``paper`` are archetypes, word for word."""
JUDGE_CONFIGURATIONS = 6
"""Users a profile in the preset ``large``: three judge LLMs times two instruction wordings."""
PERSONAL = 0.15
"""How far a personal factor is from 1 at most."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What was drawn for n users, as arrays."""

    profile: NDArray[np.int64]
    """[n] number of the profile; the user's own number but in the preset ``large``."""
    verbatim: NDArray[np.bool_]
    """[n] true for an archetype as it stands in its file."""
    archetype: NDArray[np.int64]
    """[n] place in `Catalogue.archetypes`."""
    options: NDArray[np.int64]
    """[n, facets] place in `Facet.options`; -1 where the facet is absent."""
    taste: NDArray[np.float64]
    """[n, D] in [-1, 1]."""
    performance_weight: NDArray[np.float64]
    """[n] in [0, 1]."""
    cost_weight: NDArray[np.float64]
    """[n] in [0, 1]."""


class Profile(NamedTuple):
    """Where a user of the preset ``large`` comes from."""

    profile: int
    judge_configuration: int


def profile_of(user_number: int) -> Profile:
    """Return profile and judge configuration of a user of the preset ``large``.

    The paper's large set has 200 profiles × 6 judge configurations. Users of one profile have one
    character, so a split by person must keep them together: group by ``profile``.
    """
    return Profile(*divmod(user_number, JUDGE_CONFIGURATIONS))


class PersonaSource(Protocol):
    """Where personas come from: a catalogue, or an imported list of texts."""

    def compose(self, preset: PersonaPreset, seed: int, start: int, stop: int) -> list[Persona]:
        """Return the personas of users ``start`` to ``stop`` (exclusive), counted from 0."""
        ...

    def draw(self, preset: PersonaPreset, seed: int, start: int, stop: int) -> Draw:
        """Return the same users' weights as arrays.

        Raises:
            UsageError: the tastes are not known.
        """
        ...

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that decides the personas."""
        ...


@dataclass(frozen=True)
class Catalogue:
    """Archetypes and facets that personas are composed from; see docs/personas.md."""

    archetypes: tuple[Archetype, ...]
    facets: tuple[Facet, ...]
    scales: Mapping[Scale, Levels]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the content; comments and layout of the files do not count."""
        return digest(asdict(self))

    @cached_property
    def archetype_taste(self) -> NDArray[np.float64]:
        """[A, D] tastes of the archetypes."""
        return _matrix([archetype.taste for archetype in self.archetypes])

    @cached_property
    def option_taste(self) -> tuple[NDArray[np.float64], ...]:
        """[K, D] tastes of the options, one array a facet."""
        return tuple(
            _matrix([option.statement.taste for option in facet.options]) for facet in self.facets
        )

    def draw(self, preset: PersonaPreset, seed: int, start: int, stop: int) -> Draw:
        """Draw users ``start`` to ``stop`` (exclusive), counted from 0.

        A user's draw depends on the seed and the user's own number (``large``: the profile's)
        only. A facet's draw has a random stream of its own, named after the facet; but a facet
        that comes earlier in the file, and speaks of the same dimensions, goes before.

        Raises:
            UsageError: the preset is unknown, or the range is not one.
        """
        if preset not in PERSONA_PRESETS:
            raise UsageError(f"unknown preset {preset!r}{did_you_mean(preset, PERSONA_PRESETS)}")
        if not 0 <= start <= stop:
            raise UsageError(f"users {start} to {stop} are no range; count from 0 upwards")
        user = np.arange(start, stop, dtype=np.int64)
        profile = user // JUDGE_CONFIGURATIONS if preset == "large" else user
        number, back = np.unique(profile, return_inverse=True)

        kinds = len(self.archetypes)
        listed = min(PAPER_USERS, kinds) if preset == "paper" else 0
        verbatim = number < listed
        archetype = (index_uniform(seed, "personas/archetype", number) * kinds).astype(np.int64)
        archetype[verbatim] = number[verbatim]

        taste = self.archetype_taste[archetype]
        options = np.full((len(number), len(self.facets)), -1, dtype=np.int64)
        for place, facet in enumerate(self.facets):
            options[:, place] = self._options(seed, place, facet, number, taste, archetype)
            options[verbatim, place] = -1
            present = options[:, place] >= 0
            taste[present] += self.option_taste[place][options[present, place]]

        for place, name in enumerate(NAMES):
            personal = index_uniform(seed, f"personas/factor/{name}", number)
            factor = 1 + PERSONAL * (2 * personal - 1)
            taste[:, place] *= np.where(verbatim, 1.0, factor)
        np.clip(taste, -1, 1, out=taste)
        weights = {
            scale: self._weight(seed, scale, number, archetype, verbatim)[back] for scale in SCALES
        }
        return Draw(profile, verbatim[back], archetype[back], options[back], taste[back], **weights)

    def _options(
        self,
        seed: int,
        place: int,
        facet: Facet,
        number: NDArray[np.int64],
        taste: NDArray[np.float64],
        archetype: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Draw one facet: [n] places of options, -1 where absent."""
        skipped = np.array([facet.id in kind.skips for kind in self.archetypes])
        present = index_uniform(seed, f"personas/{facet.id}/present", number) < facet.chance
        present &= ~skipped[archetype]
        # [n, K]: how many dimensions of the option were spoken of before.
        overlap = (taste != 0).astype(np.float32) @ (self.option_taste[place] != 0).T.astype(
            np.float32
        )
        free = overlap == 0
        count = free.sum(axis=1)
        pick = (index_uniform(seed, f"personas/{facet.id}/option", number) * count).astype(np.int64)
        option = (np.cumsum(free, axis=1) > pick[:, None]).argmax(axis=1)
        return np.where(present & (count > 0), option, -1)

    def _weight(
        self,
        seed: int,
        scale: Scale,
        number: NDArray[np.int64],
        archetype: NDArray[np.int64],
        verbatim: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Draw one weight beside the tastes: [n] in [0, 1]."""
        base = np.array([getattr(kind, scale) for kind in self.archetypes])[archetype]
        move = 2 * index_uniform(seed, f"personas/{scale}", number) - 1
        spread = np.where(verbatim, 0.0, self.scales[scale].spread)
        return np.clip(base + spread * move, 0.0, 1.0)

    def compose(self, preset: PersonaPreset, seed: int, start: int, stop: int) -> list[Persona]:
        """Return the personas of users ``start`` to ``stop`` (exclusive), counted from 0."""
        drawn = self.draw(preset, seed, start, stop)
        return [self._persona(drawn, row) for row in range(stop - start)]

    def show(self, archetype_id: str) -> Persona:
        """Return an archetype as a persona, without facets.

        Raises:
            UsageError: there is no such archetype.
        """
        ids = [archetype.id for archetype in self.archetypes]
        if archetype_id not in ids:
            raise UsageError(f"no archetype {archetype_id!r}{did_you_mean(archetype_id, ids)}")
        place = ids.index(archetype_id)
        kind = self.archetypes[place]
        return self._persona(
            Draw(
                np.zeros(1, np.int64),
                np.ones(1, np.bool_),
                np.array([place]),
                np.full((1, len(self.facets)), -1),
                self.archetype_taste[[place]],
                np.array([kind.performance_weight]),
                np.array([kind.cost_weight]),
            ),
            0,
        )

    def _persona(self, drawn: Draw, row: int) -> Persona:
        """Put one user's draw into words."""
        kind = self.archetypes[drawn.archetype[row]]
        facets: dict[str, str] = {}
        said: dict[str, list[str]] = {
            "person": [kind.text],
            "style": [want.says for want in kind.wants],
        }
        for facet, place in zip(self.facets, drawn.options[row], strict=True):
            if place >= 0:
                facets[facet.id] = facet.options[place].id
                said[facet.part].append(facet.options[place].statement.says)
        performance = float(drawn.performance_weight[row])
        cost = float(drawn.cost_weight[row])
        for scale, weight in zip(SCALES, (performance, cost), strict=True):
            level = self.scales[scale].of(weight)
            facets[scale] = level.id
            said["style"].append(level.says)
        return Persona(
            persona_id=kind.id if drawn.verbatim[row] else f"p{drawn.profile[row] + 1:07d}",
            text=" ".join(said["person"]) + "\n\n" + " ".join(said["style"]),
            archetype=kind.id,
            facets=facets,
            taste=tuple(drawn.taste[row].tolist()),
            performance_weight=performance,
            cost_weight=cost,
        )


def compose(
    user_number: int,
    seed: int,
    *,
    preset: PersonaPreset = "default",
    source: PersonaSource | None = None,
) -> Persona:
    """Return the persona of one user, counted from 0; it depends on nothing else.

    Args:
        user_number: user ``u0000001`` has number 0.
        seed: the data set's seed.
        preset: ``default``: archetype and facets drawn; ``paper``: users 0 to 8 are the paper's
            nine kinds word for word, later ones as in ``default``; ``large``: six users a
            profile (see `profile_of`), the profile drawn as in ``default``.
        source: what to compose from; None: the bundled personas.
    """
    return (source or _bundled()).compose(preset, seed, user_number, user_number + 1)[0]


def taste_matrix(
    preset: PersonaPreset,
    seed: int,
    start: int,
    stop: int,
    *,
    source: PersonaSource | None = None,
) -> NDArray[np.float64]:
    """Return the tastes of users ``start`` to ``stop``: [n, D] in [-1, 1], columns `NAMES`.

    Row by row the same as `compose`, without writing the texts.

    Raises:
        UsageError: the source knows texts, but no tastes.
    """
    return (source or _bundled()).draw(preset, seed, start, stop).taste


def closest_archetypes(catalogue: Catalogue) -> tuple[float, str, str] | None:
    """Return the smallest distance between two archetypes' tastes, and whose it is.

    The distance is Euclidean over the dimensions; a choice can only tell apart people whose
    tastes differ. None where there are fewer than two archetypes.
    """
    tastes = catalogue.archetype_taste
    if len(tastes) < 2:
        return None
    distance = np.linalg.norm(tastes[:, None] - tastes[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    one, two = np.unravel_index(int(distance.argmin()), distance.shape)
    ids = [archetype.id for archetype in catalogue.archetypes]
    return float(distance[one, two]), ids[one], ids[two]


def _matrix(tastes: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Return [n, D] of tastes given by name."""
    rows = [[taste.get(name, 0.0) for name in NAMES] for taste in tastes]
    return np.array(rows, dtype=np.float64).reshape(len(tastes), len(NAMES))


def _bundled() -> Catalogue:
    from personaroute_bench.users.persona_files import bundled_personas

    return bundled_personas()
