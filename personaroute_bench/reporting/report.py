"""The report: files of results in, one page and its pictures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.files import atomic_path, check_writable
from personaroute_bench.reporting.cold_start import find_cold_starts
from personaroute_bench.reporting.page import Album, cold_start_part, render, result_part
from personaroute_bench.reporting.plots import check_matplotlib
from personaroute_bench.reporting.results import read_result

if TYPE_CHECKING:
    from personaroute_bench.reporting.joined import Joined
    from personaroute_bench.reporting.results import Result

PAGE = "report.html"
DEFAULT_OUT = Path("report")


@dataclass(frozen=True, slots=True)
class Written:
    """What `report` left behind."""

    page: Path
    pictures: tuple[Path, ...]
    notes: tuple[str, ...]
    """What could not be shown, and what to give for it."""


def report(
    results: Sequence[str | Path],
    out: str | Path = DEFAULT_OUT,
    *,
    data: str | Path | None = None,
    choices: Sequence[str | Path] = (),
    routers: Sequence[str] = (),
    examples: int = 6,
    on_progress: Callable[[str], None] | None = None,
) -> Written:
    """Write OUT/report.html, which needs no network, and the same figures as OUT/report-*.png.

    Results that differ only in how much of each user or LLM was shown become one cold-start curve,
    with a section for the one that was shown most; each other result has a section of its own.

    Args:
        results: files of ``bench evaluate --json``.
        out: a folder; it is made. A page of the same name is replaced.
        data: the data set of the results, for how users fare, who is sent where and the examples.
        choices: folders of ``--choices`` of the same runs.
        routers: whose choices are shown by user; the first one's examples. None: those that lose
            most when users are shuffled.
        examples: how many, of which a third are those where knowing users did harm; 0 for none.
        on_progress: is told what is being done, line by line.

    Raises:
        UsageError: matplotlib is missing; a file is no result; the data set or the choices are not
            those of any result; no result has such a router.
        BenchError: the data set is damaged, or the page cannot be written.
    """
    say = on_progress or (lambda line: None)
    check_matplotlib()
    if not results:
        raise UsageError("there is nothing to report; name at least one file of results")
    if examples < 0:
        raise UsageError(f"examples is {examples}; give 0 or more")
    if choices and data is None:
        raise UsageError("choices are shown beside their outcomes: give the data set too (--data)")
    page = Path(out) / PAGE
    check_writable(page, "--out")
    read = [read_result(path) for path in dict.fromkeys(map(Path, results))]
    known = sorted({row.name for result in read for row in result.routers})
    for name in routers:
        if name not in known:
            raise UsageError(f"no result has a router {name!r}{did_you_mean(name, known)}")
    curves, rest = find_cold_starts(read)
    shown = [*rest, *(result for curve in curves for result in curve.last)]
    shown.sort(key=read.index)
    joined = _join(shown, data, [Path(folder) for folder in choices], say)

    say("drawing")
    album = Album()
    parts = [cold_start_part(curve, album) for curve in curves]
    sections = [
        result_part(result, joined.get(result.path), album, routers, examples) for result in shown
    ]
    text = render(read, parts, sections)
    pictures = []
    for name, png in album.pictures.items():
        pictures.append(Path(out) / name)
        with atomic_path(pictures[-1]) as temporary:
            temporary.write_bytes(png)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    notes = [note for section in sections for note in section["wanted"]]
    older = sorted(set(page.parent.glob("report-*.png")) - set(pictures))
    if older:
        notes.append(
            f"{', '.join(path.name for path in older[:5])}: of an earlier report, not of this one"
        )
    return Written(page, tuple(pictures), tuple(dict.fromkeys(notes)))


def _join(
    shown: Sequence[Result],
    data: str | Path | None,
    folders: Sequence[Path],
    say: Callable[[str], None],
) -> dict[Path, Joined]:
    """Return what could be joined, by the path of the result."""
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.streamed import LARGE_CELLS
    from personaroute_bench.reporting.joined import join

    if data is None:
        return {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--choices {folder} is no folder; give the one of bench evaluate")
    say(f"reading {data}")
    benchmark = Benchmark.load(data)
    users, tested = len(benchmark.user_ids), len(benchmark.split_queries("test"))
    if users * tested * len(benchmark.llm_ids) > LARGE_CELLS:
        raise UsageError(
            f"{data} has {users:,} users, whose {tested} test queries a report would hold in "
            "memory all at once; leave --data out, and the page shows what the results say"
        )
    found = {}
    for result in shown:
        joined = join(result, benchmark, folders)
        if joined is not None:
            found[result.path] = joined
    if not found:
        names = ", ".join(str(result.path) for result in shown[:5])
        raise UsageError(
            f"{data} is not the data set of {names}: it has other test outcomes; give the folder "
            "that was evaluated, as it was then"
        )
    missing = [pair for joined in found.values() for pair in joined.missing.items()]
    if folders and missing and not any(joined.choices for joined in found.values()):
        name, why = missing[0]
        raise UsageError(
            f"--choices {', '.join(map(str, folders))} has no choices of these results (router "
            f"{name!r}: {why}); give the folder that was written by the same bench evaluate"
        )
    return found
