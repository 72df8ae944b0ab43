"""Make a submission on this machine, and check it as the board will."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.files import check_writable, write_json

from .choices import FILE as CHOICES
from .choices import digests, write_choices
from .datasets import DataSet
from .scoring import figures, score_rows
from .submission import (
    FILE,
    About,
    Submission,
    check_about,
    checked,
)
from .verify import Verified, verify

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints

    from .track import Asked, Track


def submit(
    directory: Path,
    out: Path,
    about: About,
    track: Track,
    *,
    router: str | None = None,
    choices: Sequence[Path] = (),
    now: datetime | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Verified:
    """Build OUT/submission.json and OUT/choices.parquet.

    Args:
        directory: the data set.
        out: a folder that is new, empty, or holds an earlier submission.
        about: who made the choices.
        track: what was asked and told.
        router: short name or import path; it is fitted and asked here, once a seed.
        choices: instead of it, one file of choices a seed (as `bench evaluate --predictions`).
        now: the moment that the submission says it was made at.
        on_progress: is told one line a step.

    Returns:
        The submission, read back from its files. Its figures are those of this machine; while
        the data set is sealed there are none.

    Raises:
        UsageError: an option or file is wrong; nothing was written.
        BenchError: the router failed.
    """
    if (router is None) == (not choices):
        raise UsageError("give either --router or --choices: what is to be submitted")
    if choices and len(choices) != track.seeds:
        raise UsageError(
            f"{len(choices)} files of choices for {track.seeds} seeds; give --choices once a seed"
        )
    about = check_about(about)
    data = DataSet.load(directory)
    track = replace(track, strategy=_strategy(data, track.strategy)).check()
    asked = data.asked(track)
    _check_folder(out)
    if router is not None:
        if data.sealed(asked):
            raise UsageError(
                f"{directory} is sealed, so a router has no result yet; write its choices with "
                f"bench evaluate {directory} --router {router} --choices DIR, and hand that file "
                "in with --choices instead of --router"
            )
        made = _run(asked, router, on_progress)
    else:
        made = [read_predictions(path, *asked.ids)[0] for path in choices]
    reported = {}
    if not data.sealed(asked):
        on_progress("scoring")
        reported = figures(score_rows(asked, data.outcomes(asked), {"row": made}, draws=0)["row"])
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    submission = checked(
        Submission(
            about=about,
            track=track,
            data_name=data.name,
            dataset_id=data.dataset_id,
            manifest_sha256=data.manifest_sha256,
            choices_sha256=digests(made, asked),
            reported=reported,
            committed_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
    )
    # An earlier submission.json would name other choices; it goes first, the new one comes last.
    (out / FILE).unlink(missing_ok=True)
    write_choices(out / CHOICES, made, asked)
    write_json(out / FILE, submission.as_json())
    found = verify([out], [data])[0]
    if not found.ok:
        raise BenchError(f"the submission does not hold: {found.problem or found.differences}")
    return found


def _strategy(data: DataSet, name: str) -> str:
    return data.benchmark.check_strategy(name or None)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file():
        raise UsageError(f"--out {out} holds other files; name a new folder")
    check_writable(out, "--out", folder=True)


def _run(asked: Asked, router: str, say: Callable[[str], None]) -> list[Ints]:
    """Fit and ask a router on the track; return one [U, Q] a seed."""
    track = asked.track
    plan = track.plan(draws=0)
    with tempfile.TemporaryDirectory() as folder:
        results = evaluate(
            asked.benchmark,
            [router],
            strategy=track.strategy,
            setting=track.setting,
            shots=track.shots,
            held_out=track.held_out,
            feedback=plan.feedback,
            interactions_per_user=track.interactions_per_user,
            tier=plan.tier,
            seeds=track.seeds,
            choices_dir=folder,
            bootstrap_draws=0,
            on_progress=say,
        )
        entry = next(entry for entry in results.routers if entry["asked_for"])
        if entry["uses_test_outcomes"]:
            raise UsageError(
                f"{entry['name']} uses the test outcomes; it is a control that every board shows, "
                "and cannot be submitted"
            )
        if not entry["metrics"]:
            raise BenchError(f"router {entry['name']} failed: {entry['status']}")
        protocol = entry.get("protocol", "batch")
        if protocol != "batch":
            raise UsageError(
                f"{entry['name']} answers under the {protocol} protocol, whose figures cannot be "
                "computed again from choices alone; the board takes routers that answer in batch"
            )
        return [
            read_predictions(Path(folder) / of_seed["choices_file"], *asked.ids)[0]
            for of_seed in entry["per_seed"]
        ]
