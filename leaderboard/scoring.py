"""Every figure again, from the choices: nothing that a submission says of itself is believed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.choices import INVALID
from personaroute_bench.evaluation.metrics import (
    SCORES,
    mean,
    oracle_normalised_reward,
    score,
)
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.evaluation.results import BOOTSTRAP_SEED
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.shuffle import shuffled

from .choices import FILE, digests, read_choices
from .submission import FIGURES, Submission

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.evaluation.metrics import Outcomes

    from .track import Asked

BASELINE = "best-single"
CONTROLS = (BASELINE, "best-per-user", "user-blind-oracle", "oracle")
# A reported figure may be rounded: it agrees if it is so near, relative to the figure.
TOLERANCE = 1e-4
# So many rows are scored together; what they hold in memory does not grow with their number.
CHUNK = 16
CONFIDENCE = 0.95
NORMALISED = "oracle_normalised_reward"


@dataclass(frozen=True)
class Figure:
    """A mean over users and queries, with its interval; None where unknown."""

    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """Choices, scored."""

    figures: Mapping[str, Figure]
    """By name: FIGURES, shuffled_gain and user_sensitivity, as `bench evaluate` defines them."""
    draws: Doubles
    """[B] bootstrap draws of the mean reward; every row under the same draws."""
    p_value: float | None
    """That it does not matter whose choices a user gets; see docs/evaluation.md."""
    invalid: int
    """Choices that are none, over all seeds."""
    units: int
    """The fewer of users and queries, on which the intervals stand."""


@dataclass(frozen=True)
class Difference:
    """A figure that was reported otherwise than it comes out."""

    figure: str
    reported: float
    reproduced: float | None


def load_choices(folder: Path, submission: Submission, asked: Asked) -> list[Ints]:
    """Read a submission's choices and compare their hashes with what it says.

    Raises:
        UsageError: the file is wrong, or is not the one that was hashed.
    """
    choices = read_choices(folder / FILE, asked)
    for seed, (said, found) in enumerate(
        zip(submission.choices_sha256, digests(choices, asked), strict=True)
    ):
        if said != found:
            raise UsageError(
                f"{folder / FILE}: the choices of seed {seed} have the SHA-256 {found}, but the "
                f"submission says {said}; make it again with bench submit"
            )
    return choices


def score_rows(
    asked: Asked, outcomes: Outcomes, rows: Mapping[str, Sequence[Ints]], *, draws: int
) -> dict[str, Row]:
    """Score choices as `bench evaluate` does: seeds averaged first, users and queries resampled.

    Args:
        asked: who was asked what.
        outcomes: of these requests.
        rows: by name, one [U, Q] a seed.
        draws: of the bootstrap; 0 for no intervals.
    """
    names, statistics = [], []
    means: dict[tuple[str, str], float | None] = {}
    controls = {name: shuffled(outcomes, choices) for name, choices in rows.items()}
    for row, choices in rows.items():
        values = _average(outcomes, choices)
        values["shuffled_gain"] = values["reward"] - controls[row].reward
        values["user_sensitivity"] = controls[row].differs
        for figure, grid in values.items():
            names.append((row, figure))
            means[row, figure] = mean(grid)
            statistics.append(bootstrap.weighted_mean(grid))
        names.append((row, NORMALISED))
        reward, chance, best = values["reward"], outcomes.chance, outcomes.best
        means[row, NORMALISED] = oracle_normalised_reward(reward, chance, best)[0]
        statistics.append(bootstrap.normalised(reward, chance, best))
    samples = bootstrap.resample(statistics, *asked.shape, draws, BOOTSTRAP_SEED)
    drawn = dict(zip(names, samples, strict=True))
    units = bootstrap.smaller(*asked.shape)
    found = {}
    for row, choices in rows.items():
        figures_ = {
            figure: Figure(
                means[row, figure], *bootstrap.interval(drawn[row, figure], CONFIDENCE, units)
            )
            for other, figure in names
            if other == row
        }
        blank = sum(int(((choice == INVALID) & outcomes.scored).sum()) for choice in choices)
        found[row] = Row(figures_, drawn[row, "reward"], controls[row].p_value, blank, units)
    return found


def gain(row: Row, baseline: Row) -> Figure:
    """Return the paired difference in reward to another row, of the same requests and draws."""
    ours, theirs = row.figures["reward"].mean, baseline.figures["reward"].mean
    centre = None if ours is None or theirs is None else ours - theirs
    return Figure(centre, *bootstrap.interval(row.draws - baseline.draws, CONFIDENCE, row.units))


def _average(outcomes: Outcomes, choices: Sequence[Ints]) -> dict[str, Doubles]:
    """[U, Q] each score, averaged over the seeds in which it has a value."""
    total = {name: np.zeros(outcomes.best.shape) for name in SCORES}
    count = {name: np.zeros(outcomes.best.shape) for name in SCORES}
    for choice in choices:
        scores = score(outcomes, choice)
        for name in SCORES:
            values = getattr(scores, name)
            known = np.isfinite(values)
            total[name] += np.where(known, values, 0)
            count[name] += known
    return {
        name: np.divide(
            total[name], count[name], out=np.full(total[name].shape, np.nan), where=count[name] > 0
        )
        for name in SCORES
    }


def control_choices(asked: Asked, seeds: int) -> dict[str, list[Ints]]:
    """Return the choices of the rows that every board shows, by name; one [U, Q] a seed."""
    track = asked.track
    with tempfile.TemporaryDirectory() as folder:
        results = evaluate(
            asked.benchmark,
            [BASELINE],
            strategy=track.strategy,
            setting=track.setting,
            shots=track.shots,
            held_out=track.held_out,
            feedback=track.plan(draws=0).feedback,
            interactions_per_user=track.interactions_per_user,
            tier=track.plan(draws=0).tier,
            seeds=seeds,
            choices_dir=folder,
            bootstrap_draws=0,
        )
        found = {}
        for name in CONTROLS:
            entry = results[name]
            if not entry["metrics"]:
                raise BenchError(f"the control row {name} cannot be computed: {entry['status']}")
            found[name] = [
                read_predictions(Path(folder) / of_seed["choices_file"], *asked.ids)[0]
                for of_seed in entry["per_seed"]
            ]
    return found


def compare(submission: Submission, row: Row) -> list[Difference]:
    """Return the figures whose reported value is not the reproduced one."""
    found = []
    for figure in FIGURES:
        reported, reproduced = submission.reported.get(figure), row.figures[figure].mean
        if reported is None:
            continue
        near = reproduced is not None and (
            abs(reported - reproduced) <= 1e-9 + TOLERANCE * abs(reproduced)
        )
        if not near:
            found.append(Difference(figure, reported, reproduced))
    return found


def figures(row: Row) -> dict[str, float | None]:
    """Return the figures that a submission reports."""
    return {figure: row.figures[figure].mean for figure in FIGURES}
