from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import index_uniform
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.users.persona_files import bundled_personas
from personaroute_bench.users.persona_types import (
    Archetype,
    Facet,
    Level,
    Levels,
    Option,
    Statement,
)
from personaroute_bench.users.personas import (
    PERSONA_PRESETS,
    Catalogue,
    PersonaPreset,
    closest_archetypes,
    compose,
    profile_of,
    taste_matrix,
)

PRESETS = st.sampled_from(PERSONA_PRESETS)
PAPER_ORDER = [
    "warm-companion",
    "playful-creator",
    "stepwise-mathematician",
    "terse-engineer",
    "detail-student",
    "retrieval-specialist",
    "news-editor",
    "literature-lover",
    "early-childhood-educator",
]


def small_catalogue(*, chance: float = 1.0) -> Catalogue:
    """One archetype that speaks of length, and a facet that may speak of length or warmth."""
    levels = Levels(0.0, (Level("any", 0.0, "You weigh things."),))
    return Catalogue(
        (
            Archetype(
                "clerk",
                "Clerk",
                "You are a clerk.",
                (Statement("You like short answers.", {"length": -0.8}),),
                performance_weight=0.5,
                cost_weight=0.25,
            ),
        ),
        (
            Facet(
                "tone",
                "Tone",
                "style",
                chance,
                (
                    Option("long", Statement("You like long answers.", {"length": 0.7})),
                    Option("warm", Statement("You like kindness.", {"warmth": 0.5})),
                ),
            ),
            Facet("town", "Town", "person", 1.0, (Option("port", Statement("You sail.")),)),
        ),
        {"performance_weight": levels, "cost_weight": levels},
    )


def test_text_and_taste_by_hand() -> None:
    person = compose(0, 0, source=small_catalogue())
    # The facet's first option would contradict the archetype, so the second is the only one left.
    assert person.text == (
        "You are a clerk. You sail.\n\n"
        "You like short answers. You like kindness. You weigh things. You weigh things."
    )
    assert dict(person.facets) == {
        "tone": "warm",
        "town": "port",
        "performance_weight": "any",
        "cost_weight": "any",
    }
    index = np.zeros(1, dtype=np.int64)
    expected = np.zeros(len(NAMES))
    for name, weight in (("length", -0.8), ("warmth", 0.5)):
        factor = 0.85 + 0.3 * index_uniform(0, f"personas/factor/{name}", index)[0]
        expected[NAMES.index(name)] = weight * factor
    np.testing.assert_allclose(person.taste, expected)
    assert (person.performance_weight, person.cost_weight) == (0.5, 0.25)
    assert (person.persona_id, person.archetype) == ("p0000001", "clerk")


def test_chance_is_the_share_who_have_a_facet() -> None:
    drawn = small_catalogue(chance=0.3).draw("default", 5, 0, 20_000)
    assert (drawn.options[:, 0] >= 0).mean() == pytest.approx(0.3, abs=0.015)


def test_options_of_a_facet_are_drawn_alike() -> None:
    source = bundled_personas()
    place = [facet.id for facet in source.facets].index("interest")
    counts = np.bincount(source.draw("default", 2, 0, 32_000).options[:, place])
    assert len(counts) == len(source.facets[place].options)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_enough_kinds_the_papers_first() -> None:
    source = bundled_personas()
    assert len(source.archetypes) >= 30
    assert [kind.id for kind in source.archetypes[:9]] == PAPER_ORDER
    for facet in ("profession", "expertise", "tone", "length", "structure", "depth", "humour",
                  "formality", "language", "accessibility"):  # fmt: skip
        assert facet in {each.id for each in source.facets}
    assert set(source.scales) == {"performance_weight", "cost_weight"}


def test_first_nine_of_paper_are_the_archetypes_word_for_word() -> None:
    source = bundled_personas()
    people = source.compose("paper", 11, 0, 12)
    for person, kind in zip(people[:9], source.archetypes, strict=False):
        assert person.persona_id == kind.id
        assert person.text.startswith(
            kind.text + "\n\n" + " ".join(want.says for want in kind.wants)
        )
        assert set(person.facets) == {"performance_weight", "cost_weight"}
        assert person.as_json()["taste"] == kind.taste
        assert person.performance_weight == kind.performance_weight
        assert person.cost_weight == kind.cost_weight
        assert person == source.show(kind.id)
    assert people[9:] == source.compose("default", 11, 9, 12)


def test_large_keeps_a_profile_together() -> None:
    people = bundled_personas().compose("large", 4, 0, 24)
    assert people[::6] == bundled_personas().compose("default", 4, 0, 4)
    for user, person in enumerate(people):
        assert person == people[6 * profile_of(user).profile]
    assert [profile_of(user) for user in (0, 5, 6, 1199)] == [(0, 0), (0, 5), (1, 0), (199, 5)]


def test_five_thousand_people_differ_in_text_and_taste() -> None:
    people = bundled_personas().compose("default", 0, 0, 5000)
    assert len({person.text for person in people}) == 5000
    assert len({person.taste for person in people}) == 5000
    assert len({person.persona_id for person in people}) == 5000


def test_tastes_are_sparse_and_every_kind_turns_up() -> None:
    drawn = bundled_personas().draw("default", 0, 0, 5000)
    spoken = (drawn.taste != 0).sum(axis=1)
    assert spoken.min() >= 3
    assert spoken.mean() < len(NAMES) / 2
    assert np.abs(drawn.taste).max() <= 1
    kinds = np.bincount(drawn.archetype, minlength=len(bundled_personas().archetypes))
    assert kinds.min() > 80
    # Nobody's dimension is liked or disliked by all who care: there is something to tell apart.
    assert ((drawn.taste > 0).mean(axis=0) > 0.05).all()
    assert ((drawn.taste < 0).mean(axis=0) > 0.05).all()


@settings(max_examples=40, deadline=None)
@given(PRESETS, st.integers(0, 2**63 - 1), st.integers(0, 10**9))
def test_a_user_depends_on_seed_and_own_number_only(
    preset: PersonaPreset, seed: int, user: int
) -> None:
    source = bundled_personas()
    alone = compose(user, seed, preset=preset)
    start = max(0, user - 7)
    among = source.compose(preset, seed, start, user + 5)[user - start]
    assert alone == among
    np.testing.assert_array_equal(taste_matrix(preset, seed, start, user + 5)[user - start],
                                  alone.taste)  # fmt: skip


def test_another_seed_gives_other_people() -> None:
    one, two = (bundled_personas().compose("default", seed, 0, 200) for seed in (0, 1))
    assert sum(a.text == b.text for a, b in zip(one, two, strict=True)) == 0


def test_weights_stay_in_range_and_in_words() -> None:
    source = bundled_personas()
    people = source.compose("default", 9, 0, 500)
    kinds = {kind.id: kind for kind in source.archetypes}
    for person in people:
        assert person.archetype is not None
        for scale in ("performance_weight", "cost_weight"):
            weight = getattr(person, scale)
            assert 0 <= weight <= 1
            assert abs(weight - getattr(kinds[person.archetype], scale)) <= 0.15 + 1e-12
            level = source.scales[scale].of(weight)
            assert person.facets[scale] == level.id
            assert level.says in person.text


def test_skipped_facets_never_come() -> None:
    source = bundled_personas()
    skips = {kind.id: kind.skips for kind in source.archetypes}
    seen = 0
    for person in source.compose("default", 3, 0, 1000):
        assert person.archetype is not None
        seen += len(skips[person.archetype])
        assert not set(person.facets) & set(skips[person.archetype])
    assert seen > 300


def test_archetypes_keep_their_distance() -> None:
    source = bundled_personas()
    closest = closest_archetypes(source)
    assert closest is not None
    assert closest[0] >= 0.75
    unit = source.archetype_taste / np.linalg.norm(source.archetype_taste, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -1)
    assert cosine.max() < 0.85


def test_distance_by_hand() -> None:
    kind = small_catalogue().archetypes[0]
    other = Archetype("b", "B", "You.", (Statement("Long.", {"length": 0.4, "depth": 0.5}),), 0, 0)
    pair = Catalogue((kind, other), (), {})
    assert closest_archetypes(pair) == (pytest.approx((1.2**2 + 0.5**2) ** 0.5), "clerk", "b")
    assert closest_archetypes(small_catalogue()) is None


def test_a_nearest_archetype_guess_finds_most_people() -> None:
    """Facets and personal factors blur the kinds, but do not hide them (chance: 1 in 36)."""
    source = bundled_personas()
    drawn = source.draw("default", 7, 0, 3000)
    distance = np.linalg.norm(drawn.taste[:, None] - source.archetype_taste[None], axis=-1)
    assert (distance.argmin(axis=1) == drawn.archetype).mean() > 0.8


def test_no_users_is_no_error() -> None:
    assert bundled_personas().compose("default", 0, 7, 7) == []
    assert taste_matrix("large", 0, 7, 7).shape == (0, len(NAMES))


def test_fingerprint_follows_the_content() -> None:
    assert small_catalogue().fingerprint() == small_catalogue().fingerprint()
    assert small_catalogue().fingerprint() != small_catalogue(chance=0.5).fingerprint()
    assert len(bundled_personas().fingerprint()) == 64


def test_wrong_calls_say_what_is_right() -> None:
    with pytest.raises(UsageError, match="unknown preset 'defualt'; did you mean 'default'"):
        taste_matrix("defualt", 0, 0, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no range"):
        taste_matrix("default", 0, -1, 3)
    with pytest.raises(UsageError, match="did you mean 'news-editor'"):
        bundled_personas().show("newseditor")
