"""From folders of submissions to the site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from personaroute_bench.evaluation.bootstrap import check_draws
from personaroute_bench.files import check_writable

from .board import build_boards
from .commitments import Commitments
from .datasets import load_all
from .page import TITLE, write_site
from .submission import find_submissions


def build(
    submissions: Sequence[Path],
    data: Sequence[Path],
    out: Path,
    *,
    commitments: Path | None = None,
    opened: str | None = None,
    title: str = TITLE,
    draws: int = 1000,
    on_progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Score submissions and write the site; the same files make the same site.

    Args:
        submissions: folders, each a submission or a folder of them.
        data: folders of the data sets that they answer.
        out: folder of the site; index.html and leaderboard.json are written there.
        commitments: `commitments.jsonl`, see `commitments`.
        opened: when the data sets were opened, if they were sealed and do not say so.
        title: of the page.
        draws: of the bootstrap, 100 or more; 0 for no intervals.
        on_progress: is told one line a step.

    Returns:
        What the page shows; see `board.build_boards`.

    Raises:
        UsageError: an option, a data set or the list of commitments is wrong.
    """
    check_draws(draws)
    check_writable(out, "--out", folder=True)
    folders = find_submissions(submissions)
    known = Commitments.read(commitments)
    found = build_boards(
        folders, load_all(data, opened), known, draws=draws, on_progress=on_progress
    )
    write_site(found, out, title)
    return found
