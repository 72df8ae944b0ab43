"""Check submissions against their data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personaroute_bench.errors import BenchError, UsageError

from .datasets import DataSet
from .scoring import (
    Difference,
    Row,
    compare,
    figures,
    load_choices,
    score_rows,
)
from .submission import Submission, read_submission


@dataclass(frozen=True, eq=False)
class Verified:
    """What came out for one submission."""

    folder: Path
    submission: Submission | None = None
    row: Row | None = None
    """None if the submission is wrong, or the data set is still sealed."""
    differences: Sequence[Difference] = field(default_factory=list)
    problem: str | None = None
    """Why it cannot be scored, in words; None where it can or will be."""

    @property
    def ok(self) -> bool:
        """Whether it can go on the board as it is."""
        return self.problem is None and not self.differences

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; `figures` and `reported` by name, null what is unknown."""
        submission, found = self.submission, {} if self.row is None else figures(self.row)
        return {
            "folder": str(self.folder),
            "name": None if submission is None else submission.about.name,
            "ok": self.ok,
            "problem": self.problem,
            "sealed": self.problem is None and self.row is None,
            "figures": dict(found),
            "reported": {} if submission is None else dict(submission.reported),
            "differing": [difference.figure for difference in self.differences],
        }


def verify(folders: Sequence[Path], data: Sequence[DataSet]) -> list[Verified]:
    """Compute every figure of submissions from their choices, and compare.

    A wrong submission does not end the others.
    """
    return [_verify(folder, data) for folder in folders]


def find_data(submission: Submission, data: Sequence[DataSet]) -> DataSet:
    """Return the data set that a submission answers.

    Opening a sealed data set changes its manifest, but not its id. That its requests are the same
    is checked anyway, row by row, when the choices are read.

    Raises:
        UsageError: it is none of them.
    """
    for one in data:
        if one.manifest_sha256 == submission.manifest_sha256:
            return one
    for one in data:
        if one.was_sealed and one.dataset_id == submission.dataset_id:
            return one
    known = ", ".join(f"{one.name} ({one.manifest_sha256[:12]}…)" for one in data)
    raise UsageError(
        f"it answers the data set {submission.data_name!r} with the manifest "
        f"{submission.manifest_sha256[:12]}…, which is none of those given with --data: {known}"
    )


def _verify(folder: Path, data: Sequence[DataSet]) -> Verified:
    submission = None
    try:
        submission = read_submission(folder)
        one = find_data(submission, data)
        asked = one.asked(submission.track)
        choices = load_choices(folder, submission, asked)
        if one.sealed(asked):
            return Verified(folder, submission)
        row = score_rows(asked, one.outcomes(asked), {"row": choices}, draws=0)["row"]
        return Verified(folder, submission, row, compare(submission, row))
    except BenchError as error:
        return Verified(folder, submission, problem=str(error))
