"""bench compare: who is better, by how much, how surely; from the results of several runs.

Results keep the bootstrap draws of every router. Two runs on the same test outcomes made the same
draws of users and queries, so the difference of their draws is the paired bootstrap of the
difference, exact and without the data set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.evaluation.bootstrap import interval, smaller
from personaroute_bench.evaluation.saved_results import SavedResults, check_pairable
from personaroute_bench.evaluation.significance import (
    LEAST_UNITS,
    holm,
    least_p,
    p_value,
    rank_ranges,
)
from personaroute_bench.evaluation.standing import KEPT, unpack
from personaroute_bench.evaluation.texts import printable
from personaroute_bench.evaluation.verdict import LEVEL

if TYPE_CHECKING:
    from rich.console import Console

    from personaroute_bench.benchmark import Doubles

COMPARISON_SCHEMA = 1
LOWER_IS_BETTER = ("cost_usd",)


@dataclass(frozen=True, eq=False)
class Contender:
    """One router of one file."""

    label: str
    """Its name, with its file's before it where names are not unique."""
    file: str
    name: str
    protocol: str
    mean: float
    draws: Doubles
    """[B]; empty where the results have none."""


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`."""

    data: Mapping[str, Any]
    """What ``bench compare --json`` writes; see docs/metrics.md."""

    @property
    def sentences(self) -> list[str]:
        """One sentence for each router but the baseline."""
        return [row["sentence"] for row in self.data["routers"] if row["sentence"]]

    def print(self, console: Console | None = None) -> None:
        """Print the table, the sentences below it, and what was left out."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        from personaroute_bench.evaluation.table import rank_range

        console = console or Console()
        if not console.is_terminal:
            console.width = max(console.width, 200)
        data = self.data
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("router")
        for name in (data["metric"], "difference", "p (Holm)", "rank"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in data["routers"]:
            gap = row["difference"]
            cells = (
                row["label"],
                f"{row['mean']:.4g}",
                "baseline" if gap is None else _span(gap),
                "–" if gap is None or gap["p_holm"] is None else f"{gap['p_holm']:.3f}",
                rank_range(row["rank"]),
            )
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
        console.print()
        for line in (*self.sentences, *data["notes"]):
            console.print(Text(line))


def compare(
    files: Sequence[str | Path],
    *,
    metric: str = "reward",
    routers: Sequence[str] = (),
    baseline: str | None = None,
    across: bool = False,
) -> Comparison:
    """Compare routers from results of `evaluate` on the same test outcomes.

    Args:
        files: results that `Evaluation.write` or ``bench evaluate --json`` wrote.
        metric: one of `KEPT`.
        routers: names; none: those that were asked for, in a run of all bundled ones all but
            the controls.
        baseline: label or name of the router that the others are tested against; None: the
            first. It is to be chosen before results are seen, so it is not simply the best.
        across: also compare runs whose routers learned under other conditions
            (`saved_results.CONDITIONS`), or from a folder that has changed since.

    Raises:
        UsageError: a file is no such result; results are of different data, or of different
            conditions without `across`; there are fewer than two routers.
    """
    if metric not in KEPT:
        raise UsageError(f"unknown metric {metric!r}{did_you_mean(metric, KEPT)}")
    results = [SavedResults.read(Path(path)) for path in files]
    if not results:
        raise UsageError("there is nothing to compare; name at least one file of results")
    first, notes = results[0], []
    for other in results[1:]:
        check_pairable(first, other)
        differing = first.differing(other)
        if differing and not across:
            raise UsageError(
                f"{other.path} was made under other conditions than {first.path}: "
                f"{'; '.join(differing)}. Make them alike, or compare all the same with --across"
            )
        notes += [f"not like for like, {other.path}: {text}" for text in differing]
    contenders, left_out = _contenders(results, metric, routers)
    notes += left_out
    if len(contenders) < 2:
        raise UsageError(
            f"{len(contenders)} router to compare by {metric} in {', '.join(map(str, files))}; "
            "name more files, or routers with --router"
        )
    place = _baseline(contenders, baseline)
    contenders.insert(0, contenders.pop(place))
    notes += _other_protocols(contenders)
    return _compared(contenders, metric, first, notes)


def _contenders(
    results: Sequence[SavedResults], metric: str, routers: Sequence[str]
) -> tuple[list[Contender], list[str]]:
    """Return the routers to compare, and what to say of those that cannot be."""
    picked: list[tuple[SavedResults, dict[str, Any]]] = []
    notes: list[str] = []
    seen: dict[tuple[str, ...], Path] = {}
    for result in results:
        asked = [e for e in result.entries if e.get("asked_for") is True]
        shown = asked or [e for e in result.entries if e.get("uses_test_outcomes") is False]
        if routers:
            shown = [e for e in result.entries if e["name"] in routers]
        for entry in shown:
            if not entry.get("metrics"):
                notes.append(
                    f"left out: {printable(entry['name'])} of {result.path} has no results "
                    f"({printable(str(entry.get('status')))[:100]})"
                )
                continue
            seeds = entry.get("per_seed")
            digests = [
                (s.get("choices_sha256"), s.get("purchases_sha256"))
                for s in (seeds if isinstance(seeds, list) else [])
                if isinstance(s, dict)
            ]
            key = tuple(map(str, (entry["name"], entry.get("protocol"), *digests)))
            if key not in seen:  # the same choices in two files are one router
                seen[key] = result.path
                picked.append((result, entry))
            elif seen[key] != result.path:
                notes.append(
                    f"shown once: {printable(entry['name'])} made the same choices in {seen[key]} "
                    f"and {result.path}"
                )
    known = sorted({entry["name"] for result in results for entry in result.entries})
    for name in routers:
        if name not in known:
            raise UsageError(f"no file has a router {name!r}{did_you_mean(name, known)}")
    names = [entry["name"] for _, entry in picked]
    contenders: list[Contender] = []
    for result, entry in picked:
        mean, draws = _values(result, entry, metric)
        name = printable(entry["name"])
        if mean is None:
            notes.append(f"left out: {metric} of {name} of {result.path} is unknown")
            continue
        label = name if names.count(entry["name"]) == 1 else printable(f"{result.path}:{name}")
        protocol = printable(str(entry.get("protocol", "batch")))[:20]
        contenders.append(Contender(label, str(result.path), entry["name"], protocol, mean, draws))
    return contenders, notes


def _other_protocols(contenders: Sequence[Contender]) -> list[str]:
    """Return a note on who was asked otherwise than the baseline, and so knew more or less."""
    first, *others = contenders
    return [
        f"not like for like, {other.label}: protocol {other.protocol}, that of {first.label} is "
        f"{first.protocol} (docs/protocols.md)"
        for other in others
        if other.protocol != first.protocol
    ]


def _values(
    result: SavedResults, entry: Mapping[str, Any], metric: str
) -> tuple[float | None, Doubles]:
    try:
        mean = entry["metrics"][metric]["mean"]
        text = entry["draws"][metric]
        draws = unpack(text, result.data["bootstrap_draws"])
        if mean is None:
            return None, draws
        if isinstance(mean, bool) or not (isinstance(mean, int | float) and math.isfinite(mean)):
            raise UsageError(f"the mean is {mean!r}")
    except (KeyError, TypeError, AttributeError, OverflowError, UsageError) as error:
        raise UsageError(
            f"{result.path}: {metric} of {printable(entry['name'])} cannot be read "
            f"({printable(str(error))[:100]}); run bench evaluate --json again"
        ) from error
    return float(mean), draws


def _baseline(contenders: Sequence[Contender], wanted: str | None) -> int:
    if wanted is None:
        return 0
    labels = [contender.label for contender in contenders]
    found = [i for i, c in enumerate(contenders) if wanted in (c.label, c.name)]
    if len(found) != 1:
        problem = f"no router {wanted!r}" if not found else f"several routers {wanted!r}"
        raise UsageError(f"--baseline: there is {problem} here; name one of {', '.join(labels)}")
    return found[0]


def _compared(
    contenders: Sequence[Contender], metric: str, of: SavedResults, notes: list[str]
) -> Comparison:
    confidence = of.confidence
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    means = np.asarray([contender.mean for contender in contenders])
    draws = np.stack([contender.draws for contender in contenders])
    few, units = min(of.sizes), smaller(*of.sizes)
    ranges = rank_ranges(sign * means, sign * draws, confidence, units)
    gaps = draws[1:] - draws[0]
    p_values = [p_value(gap, few) for gap in gaps]
    differences: list[dict[str, Any] | None] = [None]
    for mean, gap, p, p_holm in zip(means[1:], gaps, p_values, holm(p_values), strict=True):
        low, high = interval(gap, confidence, units)
        centre = float(mean - means[0])
        differences.append(
            {"mean": centre, "low": low, "high": high, "p_value": p, "p_holm": p_holm}
        )
    rows: list[dict[str, Any]] = []
    for contender, gap, (best, worst) in zip(contenders, differences, ranges, strict=True):
        word = None if gap is None else _judged(gap, sign)
        rows.append(
            {
                "label": contender.label,
                "file": contender.file,
                "name": contender.name,
                "mean": contender.mean,
                "difference": gap,
                "rank": {"best": best, "worst": worst, "of": len(contenders)},
                "judgement": word,
                "sentence": None
                if gap is None
                else _sentence(contender.label, contenders[0].label, metric, gap, word),
            }
        )
    rows[1:] = sorted(rows[1:], key=lambda row: -sign * float(row["mean"]))
    tests, B = len(contenders) - 1, draws.shape[1]
    if B and tests * 2 / (1 + B) >= LEVEL:
        needed = math.ceil(tests * 2 / LEVEL)
        notes = [
            *notes,
            f"{tests} tests on {B} draws: no p (Holm) can fall below 5 %; evaluate with --draws "
            f"{needed} or more",
        ]
    if B and few < LEAST_UNITS:
        notes = [
            *notes,
            f"with {few} users or test queries nothing is tested; it takes {LEAST_UNITS} of each",
        ]
    elif B and tests * least_p(few) >= LEVEL:
        notes = [
            *notes,
            f"{tests} tests on {few} users or test queries: no p (Holm) can fall below 5 %",
        ]
    return Comparison(
        {
            "schema": COMPARISON_SCHEMA,
            "metric": metric,
            "baseline": contenders[0].label,
            "confidence": confidence,
            "bootstrap_draws": B,
            "routers": rows,
            "notes": notes,
        }
    )


def _judged(gap: Mapping[str, Any], sign: float) -> str:
    if gap["p_holm"] is None:
        return "untested"
    if gap["p_holm"] >= LEVEL:
        return "not told apart"
    return "better" if sign * gap["mean"] > 0 else "worse"


def _sentence(
    label: str, baseline: str, metric: str, gap: Mapping[str, Any], word: str | None
) -> str:
    relation = {
        "better": "is better than",
        "worse": "is worse than",
        "untested": "is not tested against",
    }.get(word or "", "is not told apart from")
    p = "" if gap["p_holm"] is None else f", p = {gap['p_holm']:.3f}"
    return f"{label} {relation} {baseline}: {metric} {_span(gap)}{p}"


def _span(gap: Mapping[str, Any]) -> str:
    text = f"{gap['mean']:+.4g}"
    if gap["low"] is not None:
        text += f" [{gap['low']:+.4g}, {gap['high']:+.4g}]"
    return text
