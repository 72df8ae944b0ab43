"""What a submission says: `submission.json`, checked as a stranger's file.

A submission is a folder of two files, `submission.json` and `choices.parquet`; see
docs/leaderboard.md. No name in it is ever used as a path, and nothing in it is evaluated.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from personaroute_bench.errors import BenchError, UsageError, did_you_mean
from personaroute_bench.evaluation.texts import printable
from personaroute_bench.hashing import digest

from .track import Track

SCHEMA = 1
FILE = "submission.json"
LARGEST_JSON = 1 << 20
# Figures that a submission may report, and that are computed again from its choices.
FIGURES = (
    "reward",
    "oracle_normalised_reward",
    "accuracy",
    "performance",
    "cost_usd",
    "regret",
    "charged",
)
# Characters that change the order in which their neighbours are shown.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NO_TEXT = ("Cc", "Cs", "Cn", "Co")


@dataclass(frozen=True)
class About:
    """Who made the choices; every text is shown on the page, but for `contact`."""

    name: str
    """At most 80 characters, one line."""
    openness: str
    """``open``: code and weights can be had; ``closed``."""
    description: str = ""
    url: str | None = None
    """An https address."""
    training_data: str = ""
    hardware: str = ""
    price_date: str | None = None
    """YYYY-MM-DD of the prices that the router was told, where that matters."""
    contact: str | None = None


@dataclass(frozen=True)
class Submission:
    """One checked `submission.json`."""

    about: About
    track: Track
    data_name: str
    dataset_id: str | None
    """Its `dataset_id`, which stays the same when a sealed data set is opened."""
    manifest_sha256: str
    """Of the data set's manifest.json: which data set the choices answer."""
    choices_sha256: tuple[str, ...]
    """One a seed, as `personaroute_bench.evaluation.choices.choices_digest` gives it."""
    reported: Mapping[str, float | None]
    """What the submitter measured, by name of the figure; may be empty."""
    committed_at: str | None = None
    """When the choices were made, UTC, as the submitter says; see `commitments`."""

    @property
    def commitment(self) -> str:
        """SHA-256 hex digest of the data set, the track and the choices, but not the name."""
        return digest(
            {
                "manifest_sha256": self.manifest_sha256,
                "track": self.track.as_json(),
                "choices_sha256": list(self.choices_sha256),
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return what `submission.json` holds."""
        return {
            "schema": SCHEMA,
            **asdict(self.about),
            "data": {
                "name": self.data_name,
                "dataset_id": self.dataset_id,
                "manifest_sha256": self.manifest_sha256,
            },
            "track": self.track.as_json(),
            "choices_sha256": list(self.choices_sha256),
            "reported": dict(self.reported),
            "committed_at": self.committed_at,
        }


def read_submission(folder: Path) -> Submission:
    """Read and check FOLDER/submission.json.

    Raises:
        UsageError: it is missing, a link, too large, no JSON, or a field is missing, unknown or
            of the wrong kind.
    """
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link; put the folder itself there")
    path = folder / FILE
    raw = read_plain_file(path, LARGEST_JSON)
    try:
        value = json.loads(
            raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twice
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{path} is not valid JSON: {printable(reason)[:200]}") from error
    return parse_submission(value, str(path))


def parse_submission(value: Any, place: str) -> Submission:
    """Check a JSON value; `place` stands in the messages.

    Raises:
        UsageError: a field is missing, unknown or of the wrong kind.
    """
    try:
        return _submission(value)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error


def check_about(about: About) -> About:
    """Return it checked, for one that did not come from a file."""
    return _about(asdict(about))


def read_plain_file(path: Path, largest: int) -> bytes:
    """Read a plain file of a stranger: no link, no pipe, not too large.

    Raises:
        UsageError: it is one of those, or cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise UsageError(f"{path} is a link; put the file itself there")
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from error
    with os.fdopen(descriptor, "rb") as handle:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is no plain file; put a plain file there")
        if found.st_size > largest:
            raise UsageError(
                f"{path} has {found.st_size:,} bytes; at most {largest:,} are read, write less"
            )
        return handle.read(largest)


def find_submissions(paths: Sequence[Path]) -> list[Path]:
    """Return the submissions among `paths`: each is one, or a folder of them.

    Raises:
        UsageError: a path that holds none.
    """
    found: list[Path] = []
    for path in paths:
        if os.path.lexists(path / FILE):
            found.append(path)
            continue
        try:
            inside = sorted(entry for entry in path.iterdir() if os.path.lexists(entry / FILE))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        if not inside:
            raise UsageError(
                f"{path} holds no submission (a folder with {FILE}); make one with bench submit"
            )
        found += inside
    return list(dict.fromkeys(found))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number; give null for an unknown figure")


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:80]!r} is there twice")
    return result


def _submission(value: Any) -> Submission:
    about_fields = [field.name for field in fields(About)]
    top = _object(
        value,
        "a submission",
        required=("schema", "name", "openness", "data", "track", "choices_sha256"),
        optional=(*about_fields, "reported", "committed_at"),
    )
    if top["schema"] != SCHEMA or isinstance(top["schema"], bool):
        raise UsageError(f"schema is {_short(top['schema'])}; this program reads schema {SCHEMA}")
    data = _object(top["data"], "data", required=("name", "dataset_id", "manifest_sha256"))
    track = Track.parse(
        _object(
            top["track"],
            "track",
            required=[field.name for field in fields(Track)],
        )
    )
    digests = top["choices_sha256"]
    if not isinstance(digests, list) or len(digests) != track.seeds:
        raise UsageError(f"choices_sha256 must be a list of {track.seeds}, one a seed of track")
    committed = top.get("committed_at")
    return Submission(
        about=_about({name: top[name] for name in about_fields if name in top}),
        track=track,
        data_name=_text(data["name"], "data.name", 200),
        dataset_id=(
            None if data["dataset_id"] is None else _text(data["dataset_id"], "data.dataset_id", 80)
        ),
        manifest_sha256=_sha256(data["manifest_sha256"], "data.manifest_sha256"),
        choices_sha256=tuple(_sha256(item, "choices_sha256") for item in digests),
        reported=_reported(top.get("reported", {})),
        committed_at=None if committed is None else check_time(committed, "committed_at"),
    )


def _about(value: Mapping[str, Any]) -> About:
    openness = value["openness"]
    if openness not in ("open", "closed"):
        raise UsageError(f"openness is {_short(openness)}; give 'open' or 'closed'")
    checks: dict[str, Callable[[Any], Any]] = {
        "name": lambda x: _text(x, "name", 80, empty=False),
        "description": lambda x: _text(x, "description", 1000, lines=True),
        "training_data": lambda x: _text(x, "training_data", 300),
        "hardware": lambda x: _text(x, "hardware", 200),
        "url": lambda x: None if x is None else _url(x),
        "price_date": lambda x: None if x is None else _date(x),
        "contact": lambda x: None if x is None else _text(x, "contact", 200),
    }
    checked = {name: check(value[name]) for name, check in checks.items() if name in value}
    return About(openness=str(openness), **checked)


def _object(
    value: Any, what: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a JSON object, not {_short(value)}")
    known = (*required, *optional)
    for key in value:
        if key not in known:
            raise UsageError(f"{what} has an unknown key {key[:80]!r}{did_you_mean(key, known)}")
    for key in required:
        if key not in value:
            raise UsageError(f"{what} lacks the key {key!r}; add it, or use bench submit")
    return value


def _text(value: Any, what: str, longest: int, *, empty: bool = True, lines: bool = False) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{what} must be a text, not {_short(value)}")
    text = value.strip()
    if len(text) > longest:
        raise UsageError(f"{what} has {len(text):,} characters; at most {longest:,} are allowed")
    if not text and not empty:
        raise UsageError(f"{what} is empty; say in a few words what it is")
    for char in text:
        if (char == "\n" and lines) or char == " ":
            continue
        if unicodedata.category(char) in _NO_TEXT or char in _BIDI:
            raise UsageError(f"{what} has the control character U+{ord(char):04X}; leave it out")
    return text


def _url(value: Any) -> str:
    text = _text(value, "url", 300)
    remedy = "give an address like https://example.org/router, or null"
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or re.search(r"[\s<>\"'\\`]", text):
        raise UsageError(f"url {_short(value)} is no https address; {remedy}")
    return text


def _date(value: Any) -> str:
    text = _text(value, "price_date", 10)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"price_date {_short(value)} is no date; write YYYY-MM-DD") from None


def check_time(value: Any, what: str) -> str:
    """Return a moment as ``YYYY-MM-DDTHH:MM:SSZ``; a day alone is its first second, UTC.

    Raises:
        UsageError: it is none, or names no time zone.
    """
    try:
        moment = datetime.fromisoformat(_text(value, what, 40))
        if len(value.strip()) == len("YYYY-MM-DD"):
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise UsageError(
            f"{what} {_short(value)} is no moment in UTC; write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"
        ) from None


def _sha256(value: Any, what: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise UsageError(f"{what} {_short(value)} is no SHA-256; write 64 hexadecimal digits")
    return value


def _reported(value: Any) -> dict[str, float | None]:
    figures = _object(value, "reported", required=(), optional=FIGURES)
    result: dict[str, float | None] = {}
    for name, figure in figures.items():
        if figure is None:
            result[name] = None
            continue
        if isinstance(figure, bool) or not isinstance(figure, (int, float)):
            raise UsageError(f"reported.{name} must be a number or null, not {_short(figure)}")
        try:
            result[name] = float(figure)
        except OverflowError:
            result[name] = math.inf
        if not math.isfinite(result[name] or 0.0):
            raise UsageError(f"reported.{name} is no finite number; give null where it is unknown")
    return result


def _short(value: Any) -> str:
    return printable(repr(value)[:80])


def checked(submission: Submission) -> Submission:
    """Return a submission that was made here, checked like one from a file.

    Raises:
        UsageError: as `parse_submission`.
        BenchError: it does not survive being written and read: an error of this program.
    """
    again = _submission(json.loads(json.dumps(submission.as_json())))
    if again != submission:
        raise BenchError("the submission changes when it is read back; please report this")
    return again
