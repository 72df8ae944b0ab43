"""docs/results.md from figures.json and what stands beside it; computes verdicts, no figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.significance import least_p
from personaroute_bench.files import atomic_path, read_json
from results_lib.few_shot import few_shot
from results_lib.general import crossed, curve, everybody, reference
from results_lib.kept import is_older, marked, standing
from results_lib.others import other_settings
from results_lib.plan import DATA_SEED
from results_lib.plot import panels
from results_lib.speed_table import speed
from results_lib.tables import NOTHING, OLDER, Figures, table

CURVE_PLOT = "results-curve.svg"


def write_page(folder: Path, page: Path) -> None:
    """Write the page and its plot.

    Args:
        folder: holds figures.json, and what `extras` has made.
        page: the Markdown file; plots go beside it.

    Raises:
        UsageError: there are no figures.
    """
    if not (folder / "figures.json").is_file():
        raise UsageError(
            f"there is no {folder / 'figures.json'}; make it with: python benchmarks/results.py"
        )
    held = read_json(folder / "figures.json")
    figures = Figures(held["made"], [marked(row) for row in held["conditions"]])
    lines, charts, ticks = curve(figures, CURVE_PLOT)
    parts = [
        *_head(figures.made),
        *reference(figures),
        *crossed(figures),
        *everybody(figures),
        *lines,
        *few_shot(figures),
        *other_settings(figures),
        *speed(_read(folder / "speed.json")),
        *_people(folder),
        *_ablation(folder, page),
        *_made(figures.made, standing(held["conditions"])),
    ]
    if charts:
        _write(page.with_name(CURVE_PLOT), panels(charts, ticks, "choices shown of each user"))
    _write(page, "\n".join(parts).rstrip() + "\n")


def _head(made: Mapping[str, Any]) -> list[str]:
    skipped = [f"{what} ({why})" for what, why in made["skipped"].items()]
    state = ""
    if made["done"] < made["cells"]:
        state = f" **{made['done']} of {made['cells']} cells are measured so far.**"
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/results.py`; do not edit. Every figure, and every verdict "
        f"on an aim, is computed.{state}",
        "",
        f"**Data.** Seed {DATA_SEED} throughout, on which no setting of any router was chosen. "
        "*embedded*: 240 queries of the bundled tasks, ten simulated LLMs. *recorded*: real "
        "responses of ten LLMs to 240 queries, 80 from each of the three tasks that all of them "
        "answered. Population preset `default`. Users are simulated in both.",
        "",
        "**How to read.** Test split, 48 queries. `[low, high]` is a 95 % interval of "
        f"{made['draws']} draws of the two-way bootstrap over users and queries "
        "(docs/evaluation.md); with nine users and 48 queries it is wide, and rightly so. "
        "p-values are two-sided, from "
        "the same draws (least possible "
        f"{2 / (made['draws'] + 1):.4f}, with nine users {least_p(9):.4f}), and adjusted for "
        "their number (Holm). *Normalised* is "
        "the oracle-normalised reward: 0 is chance, 1 the oracle. The best baseline is named "
        "**on test**, after the fact: the strictest comparison, and one that nobody could have "
        "selected. *User-blind* routers answer everybody alike. Named routers have "
        f"{made['seeds']} seeds, the others up to 3, the forest one, averaged before anything "
        "else; where nothing is drawn, a router without use for a seed has one run. "
        "An aim for a share (retention, the forest's gain, accuracy) goes by the share "
        "itself; its interval, where it is wide, "
        f"says how little that settles. {OLDER} marks figures of a router whose code has changed "
        "since; the last section names the commits.",
        "",
    ]
    if skipped:
        lines += ["**Left out.** " + "; ".join(skipped) + ".", ""]
    return lines


def _people(folder: Path) -> list[str]:
    lines = ["## 7. Choices of real people", ""]
    path = folder / "preferences.md"
    if not path.is_file():
        return [*lines, "Not measured yet.", ""]
    return [
        *lines,
        "`python benchmarks/preferences.py ../shared/recorded`: pairwise accuracy on recorded "
        "choices, first of one split with its 95 % interval over people, then the mean over "
        "further splits. What each router is stands in docs/preferences.md.",
        "",
        *path.read_text(encoding="utf-8").strip().splitlines(),
        "",
    ]


def _ablation(folder: Path, page: Path) -> list[str]:
    lines = ["## Ablation of `personalized`", ""]
    tables = sorted(folder.glob("ablation-*.md"))
    if not tables:
        return [
            *lines,
            "Not measured on this data; on development data it stands in "
            "[personalized.md](personalized.md#ablation).",
            "",
        ]
    lines += [
        "`python benchmarks/ablation.py` on embedded, 1,000 users. Values are of the validation "
        "split, which the variants do not learn from here; the test split is not read.",
        "",
    ]
    for path in tables:
        text = path.read_text(encoding="utf-8").strip()
        lines += [f"{text[0].upper()}{text[1:]}", ""]
        chart = path.with_suffix(".svg")
        if chart.is_file():
            name = f"results-{chart.name}"
            _write(page.with_name(name), chart.read_text(encoding="utf-8"))
            lines += [f"![Value of each variant]({name})", ""]
    return lines


def _made(made: Mapping[str, Any], kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the last section; kept: cells by name, see `standing`."""
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    rows = []
    for commit in sorted({facts["commit"] for facts in kept.values()}):
        mine = {name: facts for name, facts in kept.items() if facts["commit"] == commit}
        dates = sorted({facts["finished"] for facts in mine.values()})
        routers = {name: name.rpartition("/")[2] for name in mine}
        older = sorted({r for name, r in routers.items() if is_older(r, mine[name])})
        days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        rows.append([commit, days, str(len(mine)), ", ".join(older) or NOTHING])
    return [
        "## How it was made",
        "",
        "`python benchmarks/results.py` makes the data, runs the cells (`--list` shows them), "
        "joins their figures with those that stand in `benchmarks/results/figures.json`, and "
        "writes this page. It resumes, and says first how long it will take. `--page-only` writes "
        "the page from the figures alone. A condition measured anew replaces the one that is "
        "there, so figures add up over machines and sessions; what each was measured with:",
        "",
        *table(["commit", "measured", "cells", f"routers changed since, marked {OLDER}"], rows),
        f"{made['hours']} hours of one core in all. Last measured with {versions}.",
        "",
    ]


def _read(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
