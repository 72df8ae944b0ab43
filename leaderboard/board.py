"""Boards: rows that were asked and told the same, scored, ranked and made ready for the page.

Ranks are given only within a board, and a board is of one data set: so live, recorded and
simulated responses never meet in one ranking, and neither do routers that were told different
things. The control rows stand on every board and have no rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.controls import headroom
from personaroute_bench.evaluation.significance import rank_ranges, ranks
from personaroute_bench.evaluation.texts import printable

from .commitments import Commitments
from .scoring import (
    BASELINE,
    CHUNK,
    CONFIDENCE,
    CONTROLS,
    Row,
    compare,
    control_choices,
    gain,
    load_choices,
    score_rows,
)
from .submission import Submission, read_submission
from .verify import find_data

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints

    from .datasets import DataSet
    from .track import Asked

SCHEMA = 1
PROVENANCES = ("live", "recorded", "mixed", "simulated", "unknown")
# Metrics of a row on the page: mean, low, high.
SHOWN = (
    "reward",
    "oracle_normalised_reward",
    "accuracy",
    "performance",
    "cost_usd",
    "regret",
    "charged",
    "shuffled_gain",
    "user_sensitivity",
)
Say = Callable[[str], None]


@dataclass
class _Entrant:
    """One submission on its way to the page."""

    folder: Path
    submission: Submission
    row: Row | None = None


@dataclass
class _Board:
    data: DataSet
    asked: Asked
    entrants: list[_Entrant] = field(default_factory=list)


def build_boards(
    folders: Sequence[Path],
    data: Sequence[DataSet],
    commitments: Commitments,
    *,
    draws: int = 1000,
    on_progress: Say = lambda line: None,
) -> dict[str, Any]:
    """Score and rank submissions.

    Args:
        folders: of the submissions.
        data: the data sets that they answer.
        commitments: what was committed before a sealed data set was opened.
        draws: of the bootstrap, for intervals and ranges of ranks.
        on_progress: is told one line a step.

    Returns:
        What the page shows, as JSON values: ``schema``, ``confidence``, ``boards`` and
        ``rejected``; see docs/leaderboard.md. A wrong submission is in ``rejected`` with the
        reason, and the others go on.
    """
    boards: dict[tuple[Any, ...], _Board] = {}
    rejected: list[dict[str, str]] = []
    for folder in folders:
        try:
            submission = read_submission(folder)
            one = find_data(submission, data)
            asked = one.asked(submission.track)
        except BenchError as error:
            rejected.append(_reject(folder, error))
            continue
        board = boards.setdefault(asked.key, _Board(one, asked))
        board.entrants.append(_Entrant(folder, submission))
    made = []
    for board in boards.values():
        on_progress(f"{board.data.name}, {_title(board)}; submissions: {len(board.entrants)}")
        try:
            made.append(_make(board, commitments, draws, rejected))
        except BenchError as error:  # the data set cannot be asked so: no personas, for instance
            rejected += [_reject(entrant.folder, error) for entrant in board.entrants]
    made.sort(key=_place)
    for number, entry in enumerate(made):
        entry["id"] = f"board-{number}"
    return {
        "schema": SCHEMA,
        "confidence": CONFIDENCE,
        "draws": draws,
        "boards": [entry for entry in made if entry["rows"]],
        "rejected": sorted(rejected, key=lambda entry: entry["folder"]),
    }


def _reject(folder: Path, error: BenchError) -> dict[str, str]:
    # The page is public: it names the submission's folder, not where it lies.
    reason = printable(str(error).replace(str(folder), folder.name))
    return {"folder": printable(folder.name), "reason": reason}


def _title(board: _Board) -> str:
    track = board.asked.track
    return f"{track.strategy}, {track.setting}, feedback {track.feedback}, {track.tier}"


def _place(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Sort key: live before recorded before simulated, then by name and track."""
    order = PROVENANCES.index(entry["provenance"])
    track = entry["track"]
    names = (track["strategy"], track["setting"], track["feedback"], track["tier"])
    numbers = tuple(
        -1 if track[k] is None else track[k] for k in ("interactions_per_user", "shots")
    )
    return (order, entry["data"], *names, *numbers, entry["held_out"])


def _make(
    board: _Board, commitments: Commitments, draws: int, rejected: list[dict[str, str]]
) -> dict[str, Any]:
    asked, track = board.asked, board.asked.track
    facts: dict[str, Any] = {
        "data": board.data.name,
        "manifest_sha256": board.data.manifest_sha256,
        "provenance": _known_provenance(board.data.provenance),
        "population": board.data.population,
        "track": {
            name: value
            for name, value in asdict(track).items()
            if name not in ("held_out", "seeds")
        },
        "held_out": len(asked.held_out),
        "users": asked.shape[0],
        "queries": asked.shape[1],
        "llms": len(asked.ids[2]),
        "opened": board.data.opened,
        "sealed": board.data.sealed(asked),
        "headroom": None,
    }
    if facts["sealed"]:
        whole = [entrant for entrant, _ in _read(board, board.entrants, rejected)]
        rows = [_describe(entrant, board, commitments) for entrant in whole]
        return {**facts, "rows": sorted(rows, key=lambda row: str(row["name"]))}
    outcomes = board.data.outcomes(asked)
    facts["headroom"] = _digits(headroom(outcomes, asked.ids[2])["share"])
    seeds = max(entrant.submission.track.seeds for entrant in board.entrants)
    drawn = track.feedback != "full" or track.interactions_per_user or track.shots is not None
    controls = control_choices(asked, seeds if drawn else 1)
    of_controls = score_rows(asked, outcomes, controls, draws=draws)
    baseline = of_controls[BASELINE]
    rows = [
        {"kind": "control", "name": name, "standing": "control", "rank": None}
        | _figures(of_controls[name], baseline)
        for name in CONTROLS
    ]
    remaining = _read(board, board.entrants, rejected)
    while chunk := list(islice(remaining, CHUNK)):
        named = {str(number): choices for number, (_, choices) in enumerate(chunk)}
        scored = score_rows(asked, outcomes, named, draws=draws)
        for number, (entrant, _) in enumerate(chunk):
            entrant.row = scored[str(number)]
    entrants = [entrant for entrant in board.entrants if entrant.row is not None]
    described = [_describe(entrant, board, commitments, baseline) for entrant in entrants]
    _rank(entrants, described)
    rows += described
    rows.sort(key=lambda row: -(row["figures"]["reward"][0] or 0.0))
    return {**facts, "rows": rows if entrants else []}


def _known_provenance(name: str) -> str:
    return name if name in PROVENANCES else "unknown"


def _read(
    board: _Board, entrants: Sequence[_Entrant], rejected: list[dict[str, str]]
) -> Iterator[tuple[_Entrant, list[Ints]]]:
    """Yield each submission with its choices; the wrong ones are put aside."""
    for entrant in list(entrants):
        try:
            asked = board.data.asked(entrant.submission.track)
            choices = load_choices(entrant.folder, entrant.submission, asked)
        except BenchError as error:
            rejected.append(_reject(entrant.folder, error))
            board.entrants.remove(entrant)
            continue
        yield entrant, choices


def _rank(entrants: Sequence[_Entrant], described: Sequence[dict[str, Any]]) -> None:
    """Give ranks, and ranges of ranks, to the rows that are in the contest."""
    places = [i for i, row in enumerate(described) if row["standing"] == "ranked"]
    means, draws, units = [], [], []
    for i in places:
        row = entrants[i].row
        assert row is not None, "only scored rows are ranked"
        means.append(row.figures["reward"].mean)
        draws.append(row.draws)
        units.append(row.units)
    if not places:
        return
    values = np.asarray([-np.inf if mean is None else mean for mean in means])
    first, _ = ranks(values)
    ranges = rank_ranges(values, np.stack(draws), CONFIDENCE, units[0])
    for i, rank, (low, high) in zip(places, first.tolist(), ranges, strict=True):
        described[i]["rank"] = [rank, low, high]


def _describe(
    entrant: _Entrant, board: _Board, commitments: Commitments, baseline: Row | None = None
) -> dict[str, Any]:
    """Return a row of the page."""
    submission, row = entrant.submission, entrant.row
    about = asdict(submission.about)
    del about["contact"]  # for whoever keeps the board, not for the public
    standing, opened = "ranked", board.data.opened
    if row is None:
        standing = "sealed"
    elif opened is not None and not commitments.before(submission, opened):
        standing = "open test"
    shown: dict[str, Any] = {
        "kind": "submission",
        **about,
        "standing": standing,
        "rank": None,
        "seeds": submission.track.seeds,
        "commitment": submission.commitment,
        "committed_at": commitments.at.get(submission.commitment),
        "commitments": commitments.made(submission),
        "choices_sha256": list(submission.choices_sha256),
        "check": "sealed",
        "differences": [],
        "figures": {},
    }
    if row is not None and baseline is not None:
        differences = compare(submission, row)
        reported = any(value is not None for value in submission.reported.values())
        agrees = "reproduced" if reported else "not reported"
        shown["check"] = "differs" if differences else agrees
        shown["differences"] = [asdict(difference) for difference in differences]
        shown |= _figures(row, baseline)
    return shown


def _figures(row: Row, baseline: Row) -> dict[str, Any]:
    shown = {name: row.figures[name] for name in SHOWN} | {"gain": gain(row, baseline)}
    return {
        "figures": {
            name: [_digits(figure.mean), _digits(figure.low), _digits(figure.high)]
            for name, figure in shown.items()
        },
        "p_value": _digits(row.p_value),
        "invalid": row.invalid,
    }


def _digits(value: float | None) -> float | None:
    """Seven digits: more than any interval is sure of, and a smaller page."""
    return None if value is None else float(f"{value:.7g}")
