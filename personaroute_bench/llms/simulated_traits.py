"""What each simulated LLM is good at and how it writes; docs/simulated.md gives the sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from personaroute_bench.tasks.embedded.draws import Draws

Tone = Literal["warm", "plain", "formal", "wry"]

# Order of `Traits.skill`.
FAMILIES = ("instruction_following", "math_word_problems", "multi_doc_summary", "passage_qa")

# Mean difficulty of each family's items in logits, measured over 1,000 items (docs/simulated.md).
MEAN_DIFFICULTY = (0.0, 0.33, 0.1, 0.45)

DISCRIMINATION = 1.3
"""Slope a of the item-response model, the same for all."""

AFFINITY = 0.45
"""Standard deviation, in logits, of an LLM's strength in one kind of item within a family."""


@dataclass(frozen=True, slots=True)
class Traits:
    """One simulated LLM. All shares and rates are probabilities in [0, 1]."""

    skill: tuple[float, float, float, float]
    """Chance to be right on an item of average difficulty, one a family (see `FAMILIES`)."""
    coverage: float
    """Share of the points of an open answer that it takes the trouble to make."""
    extra: float
    """Mean number of further sentences in an open answer."""
    working: float
    """Chance that a step of a calculation is told in a sentence rather than as an equation."""
    tone: Tone
    opens: float
    """Chance of an opening line."""
    closes: float
    """Chance of a closing line."""
    bullets: float
    numbered: float
    headings: float
    bold: float
    hedges: float
    """Chance, a sentence, of a reservation."""
    emoji: float = 0.0
    latex: float = 0.0
    """Chance that a calculation is set in LaTeX."""
    rewording: float = 0.1
    """Chance, a word, to use another word of the same meaning where there is one."""
    follows: float = 0.6
    """Chance to answer with just the span where just the span is asked for."""
    format_slip: float = 0.01
    """Chance to leave out a requested format."""
    refuses: float = 0.0
    empty: float = 0.0
    rambles: float = 0.0
    """Chance to go on until it is cut off."""
    tokens_per_second: float = 60.0
    overhead_s: float = 0.3

    def ability(self, model: str, family: str, kind: str) -> float:
        """Return the ability in logits for one kind of item of a task family."""
        place = FAMILIES.index(family) if family in FAMILIES else 0
        return _ability(model, place, self.skill[place], kind)


@lru_cache(maxsize=4096)
def _ability(model: str, place: int, skill: float, kind: str) -> float:
    from math import log

    level = log(skill / (1.0 - skill)) / DISCRIMINATION + MEAN_DIFFICULTY[place]
    # Fixed for all seeds: a trait of the LLM, so that routers can learn it.
    return level + AFFINITY * Draws(0, "affinity", model, kind).normal()


TRAITS: dict[str, Traits] = {
    "sim/ember-8b": Traits(
        skill=(0.48, 0.79, 0.48, 0.45),
        coverage=0.85,
        extra=4.0,
        working=0.9,
        tone="warm",
        opens=0.9,
        closes=0.85,
        bullets=0.3,
        numbered=0.35,
        headings=0.0,
        bold=0.55,
        hedges=0.05,
        emoji=0.25,
        rewording=0.25,
        follows=0.35,
        format_slip=0.04,
        empty=0.004,
        rambles=0.006,
        tokens_per_second=130,
        overhead_s=0.2,
    ),
    "sim/reed-12b": Traits(
        skill=(0.42, 0.83, 0.40, 0.66),
        coverage=0.45,
        extra=0.2,
        working=0.1,
        tone="plain",
        opens=0.05,
        closes=0.02,
        bullets=0.05,
        numbered=0.1,
        headings=0.0,
        bold=0.0,
        hedges=0.0,
        rewording=0.15,
        follows=0.92,
        format_slip=0.03,
        empty=0.008,
        tokens_per_second=110,
        overhead_s=0.2,
    ),
    "sim/cobalt-9b": Traits(
        skill=(0.38, 0.88, 0.34, 0.47),
        coverage=0.6,
        extra=1.6,
        working=0.8,
        tone="plain",
        opens=0.5,
        closes=0.2,
        bullets=0.3,
        numbered=0.2,
        headings=0.0,
        bold=0.2,
        hedges=0.0,
        latex=0.9,
        rewording=0.2,
        follows=0.45,
        format_slip=0.02,
        empty=0.004,
        tokens_per_second=140,
        overhead_s=0.2,
    ),
    "sim/tarn-moe-47b": Traits(
        skill=(0.47, 0.71, 0.52, 0.45),
        coverage=0.75,
        extra=2.2,
        working=0.7,
        tone="plain",
        opens=0.45,
        closes=0.3,
        bullets=0.08,
        numbered=0.3,
        headings=0.0,
        bold=0.02,
        hedges=0.3,
        rewording=0.2,
        follows=0.3,
        format_slip=0.10,
        rambles=0.004,
        tokens_per_second=90,
        overhead_s=0.35,
    ),
    "sim/marble-70b": Traits(
        skill=(0.52, 0.93, 0.58, 0.59),
        coverage=0.88,
        extra=3.4,
        working=0.7,
        tone="warm",
        opens=0.8,
        closes=0.55,
        bullets=0.45,
        numbered=0.3,
        headings=0.02,
        bold=0.65,
        hedges=0.03,
        emoji=0.08,
        rewording=0.2,
        follows=0.6,
        tokens_per_second=60,
        overhead_s=0.4,
    ),
    "sim/lantern-72b": Traits(
        skill=(0.66, 0.92, 0.66, 0.60),
        coverage=0.88,
        extra=2.0,
        working=0.6,
        tone="formal",
        opens=0.6,
        closes=0.4,
        bullets=0.1,
        numbered=0.55,
        headings=0.07,
        bold=0.3,
        hedges=0.06,
        latex=0.35,
        rewording=0.12,
        follows=0.7,
        refuses=0.004,
        tokens_per_second=55,
        overhead_s=0.4,
    ),
    "sim/thimble-mini": Traits(
        skill=(0.78, 0.94, 0.70, 0.76),
        coverage=0.97,
        extra=3.8,
        working=1.0,
        tone="plain",
        opens=0.5,
        closes=0.6,
        bullets=0.4,
        numbered=0.3,
        headings=0.32,
        bold=0.65,
        hedges=0.06,
        latex=0.6,
        rewording=0.08,
        follows=0.6,
        rambles=0.003,
        tokens_per_second=95,
        overhead_s=0.45,
    ),
    "sim/summit-pro": Traits(
        skill=(0.85, 0.95, 0.82, 0.88),
        coverage=0.97,
        extra=2.0,
        working=0.8,
        tone="plain",
        opens=0.3,
        closes=0.3,
        bullets=0.35,
        numbered=0.3,
        headings=0.28,
        bold=0.6,
        hedges=0.04,
        latex=0.5,
        rewording=0.07,
        follows=0.9,
        refuses=0.003,
        tokens_per_second=70,
        overhead_s=0.5,
    ),
    "sim/quill-medium": Traits(
        skill=(0.74, 0.95, 0.93, 0.80),
        coverage=0.82,
        extra=0.7,
        working=0.5,
        tone="formal",
        opens=0.3,
        closes=0.15,
        bullets=0.05,
        numbered=0.2,
        headings=0.02,
        bold=0.01,
        hedges=0.12,
        rewording=0.05,
        follows=0.92,
        refuses=0.012,
        tokens_per_second=75,
        overhead_s=0.6,
    ),
    "sim/basalt-ultra": Traits(
        skill=(0.78, 0.96, 0.86, 0.74),
        coverage=0.95,
        extra=1.2,
        working=0.85,
        tone="wry",
        opens=0.6,
        closes=0.6,
        bullets=0.05,
        numbered=0.12,
        headings=0.01,
        bold=0.01,
        hedges=0.15,
        rewording=0.06,
        follows=0.8,
        refuses=0.010,
        tokens_per_second=28,
        overhead_s=1.1,
    ),
}
