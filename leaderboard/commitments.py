"""What was committed before a sealed data set was opened.

`commitments.jsonl` is kept by whoever keeps the board; one line a commitment, for instance

    {"commitment": "<64 hexadecimal digits>", "committed_at": "2026-11-22T10:00:00Z", "name": "x"}

Its dates count, not those that submissions give themselves.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from personaroute_bench.errors import UsageError

from .submission import Submission, check_time, read_plain_file

LARGEST = 16 << 20


@dataclass(frozen=True)
class Commitments:
    """Commitments with the moment at which each was first made known."""

    at: dict[str, str]
    """Commitment to ``YYYY-MM-DDTHH:MM:SSZ``, the earliest."""
    names: dict[str, str]
    """Commitment to the name that it was first listed under."""

    @classmethod
    def read(cls, path: Path | None) -> Commitments:
        """Read the file; None is an empty one.

        Raises:
            UsageError: a line is no JSON object with these keys; it is named by its number.
        """
        at: dict[str, str] = {}
        names: dict[str, str] = {}
        if path is None:
            return cls(at, names)
        try:
            lines = read_plain_file(path, LARGEST).decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 text; write it again as UTF-8") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                commitment, moment, name = _line(line)
            except (UsageError, ValueError, RecursionError) as error:
                raise UsageError(f"{path}, line {number}: {error}") from error
            at[commitment] = min(moment, at.get(commitment, moment))
            names.setdefault(commitment, name)
        return cls(at, names)

    def made(self, submission: Submission) -> int:
        """How many commitments its name made: whoever commits often may choose the lucky one.

        The name is that of the list: a submission can be given another one after the opening.
        """
        name = self.names.get(submission.commitment, submission.about.name)
        return self._per_name[name]

    @cached_property
    def _per_name(self) -> Counter[str]:
        return Counter(self.names.values())

    def before(self, submission: Submission, opened: str) -> bool:
        """Whether the choices were committed before the data set was opened."""
        moment = self.at.get(submission.commitment)
        return moment is not None and moment < check_time(opened, "the opening")


def commitment_line(submission: Submission, committed_at: str) -> str:
    """Return the line of `commitments.jsonl` for a submission."""
    return json.dumps(
        {
            "commitment": submission.commitment,
            "committed_at": committed_at,
            "name": submission.about.name,
        },
        ensure_ascii=False,
    )


def _line(line: str) -> tuple[str, str, str]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise UsageError("no JSON object; write one as bench submit prints it")
    commitment, name = value.get("commitment"), value.get("name", "")
    if not isinstance(commitment, str) or not re.fullmatch(r"[0-9a-f]{64}", commitment):
        raise UsageError("commitment must be 64 hexadecimal digits")
    if not isinstance(name, str):
        raise UsageError("name must be a text")
    return commitment, check_time(value.get("committed_at"), "committed_at"), name
