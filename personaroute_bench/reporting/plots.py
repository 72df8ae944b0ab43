"""The figures, drawn by matplotlib without pyplot: no window, nothing global is changed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.cost_quality import pareto_front
from personaroute_bench.evaluation.texts import printable
from personaroute_bench.reporting.svg import COLOURS, for_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from personaroute_bench.benchmark import Doubles
    from personaroute_bench.reporting.cold_start import Point
    from personaroute_bench.reporting.results import Figure

DPI = 160
NAME_CHARS = 26
SERIES = tuple(COLOURS[f"c{i}"] for i in range(8))
MARKERS = "osD^vP*X"
DASHES = ("-", "--", "-.", ":")
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "personaroute-bench",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": COLOURS["soft"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "grid.color": COLOURS["line"],
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.bbox": "tight",
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure, for the page and as a picture."""

    svg: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A router in the plot of reward against cost."""

    number: int
    """Of its row in the table."""
    cost: Figure
    """USD a query."""
    reward: Figure
    control: bool

    @property
    def place(self) -> tuple[float, float]:
        """Means of cost and reward."""
        return self.cost.mean or 0.0, self.reward.mean or 0.0


def check_matplotlib() -> None:
    """Raise UsageError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "bench report draws with matplotlib, which is not installed; install it with: pip "
            "install 'personaroute-bench[report]'"
        ) from error


def front(marks: Sequence[Mark]) -> list[Mark]:
    """Return the routers that no other beats in both mean cost and mean reward; no controls."""
    open_ = [mark for mark in marks if not mark.control]
    if not open_:
        return []
    kept = pareto_front(*zip(*(mark.place for mark in open_), strict=True))
    return [open_[i] for i in kept.tolist()]


def draw_cost(marks: Sequence[Mark], prefix: str, label: str) -> Drawing:
    """Reward against USD a query, with intervals, and the Pareto front of the means."""
    with _figure(7.2, 4.4) as (canvas, axes):
        costs = [mark.place[0] for mark in marks]
        logarithmic = min(costs) > 0
        if logarithmic:
            _make_logarithmic(axes)
        best = front(marks)
        if len(best) > 1:
            axes.plot(
                [mark.place[0] for mark in best],
                [mark.place[1] for mark in best],
                color=COLOURS["c1"],
                drawstyle="steps-post",
                linewidth=1.2,
                zorder=1,
                label="Pareto front",
            )
        for mark in marks:
            colour = COLOURS["soft"] if mark.control else COLOURS["c0"]
            x, y = mark.place
            bars: dict[str, Any] = {"color": colour, "alpha": 0.45, "linewidth": 1.2, "zorder": 2}
            if mark.reward.low is not None and mark.reward.high is not None:
                axes.plot([x, x], [mark.reward.low, mark.reward.high], **bars)
            low, high = mark.cost.low, mark.cost.high
            if low is not None and high is not None and (low > 0 or not logarithmic):
                axes.plot([low, high], [y, y], **bars)
            axes.plot(
                [x],
                [y],
                marker="D" if mark.control else "o",
                markersize=7,
                color=colour,
                markerfacecolor=COLOURS["paper"] if mark.control else colour,
                linestyle="none",
                zorder=3,
            )
        _number(axes, marks)
        axes.set_xlabel(f"USD a query{', logarithmic' if logarithmic else ''}")
        axes.set_ylabel("mean reward")
        axes.grid(linewidth=0.6)
        if len(best) > 1:
            axes.legend(loc="lower right")
        return _finish(canvas, prefix, label)


def _make_logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    # Its own labels are formulas, which the page could not show.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelrotation=30)


def _number(axes: Axes, marks: Sequence[Mark]) -> None:
    """Put the numbers of rows beside their marks; marks in one place share a label."""
    axes.margins(0.06, 0.08)
    axes.autoscale_view()
    spots: dict[tuple[int, int], list[Mark]] = {}
    for mark in marks:
        at = axes.transData.transform(mark.place)
        spots.setdefault((round(at[0] / 3), round(at[1] / 3)), []).append(mark)
    taken: list[tuple[float, float, float, float]] = []
    points = 72 / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    inside = np.asarray(axes.get_window_extent().extents) * points
    for found in spots.values():
        label = ", ".join(str(mark.number) for mark in found[:6])
        label += ", …" if len(found) > 6 else ""
        place = found[0].place
        x, y = axes.transData.transform(place) * points
        width = 6.5 * len(label)
        boxes = [
            (x + dx, y + dy, x + dx + width, y + dy + 11)
            for dx, dy in ((6, 5), (-6 - width, 5), (6, -15), (-6 - width, -15), (6, 18), (6, -28))
        ]
        free = (
            box
            for box in boxes
            if box[0] > inside[0]
            and box[2] < inside[2]
            and not any(_overlap(box, other) for other in taken)
        )
        box = next(free, boxes[0])
        taken.append(box)
        axes.annotate(
            label,
            place,
            xytext=(box[0] - x, box[1] - y),
            textcoords="offset points",
            fontweight="bold",
            zorder=4,
        )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def draw_users(values: Mapping[str, Doubles], prefix: str, label: str) -> Drawing:
    """Spread of users' oracle-normalised rewards [U]: 5, 25, 50, 75 and 95 % of them, a router."""
    with _figure(7.2, 0.9 + 0.42 * len(values)) as (canvas, axes):
        for i, of_user in enumerate(values.values()):
            low, left, middle, right, high = spread(of_user)
            y = len(values) - 1 - i
            ink: dict[str, Any] = {"color": COLOURS["c0"]}
            axes.plot([low, high], [y, y], linewidth=1.4, **ink)
            axes.fill_between([left, right], y - 0.22, y + 0.22, alpha=0.3, linewidth=0, **ink)
            axes.plot([middle, middle], [y - 0.28, y + 0.28], linewidth=2.4, **ink)
        for x in (0.0, 1.0):
            axes.axvline(x, color=COLOURS["soft"], linewidth=0.8, linestyle=":")
        names = [short(name) for name in values]
        axes.set_yticks(range(len(names) - 1, -1, -1), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel("oracle-normalised reward of a user: 0 random, 1 oracle")
        axes.grid(axis="x", linewidth=0.6)
        return _finish(canvas, prefix, label)


def spread(values: Doubles) -> tuple[float, ...]:
    """Return the quantiles 5, 25, 50, 75 and 95 % of what is not NaN; [U], not all NaN."""
    found = np.quantile(values[np.isfinite(values)], (0.05, 0.25, 0.5, 0.75, 0.95))
    return tuple(float(value) for value in found)


def draw_cold_start(
    curves: Mapping[str, Sequence[Point]], axis: str, prefix: str, label: str
) -> Drawing:
    """Oracle-normalised reward against interactions shown, a line with its interval a router."""
    with _figure(7.2, 4.2) as (canvas, axes):
        counts = sorted({point.shown for points in curves.values() for point in points})
        for i, (name, points) in enumerate(curves.items()):
            colour = SERIES[i % len(SERIES)]
            # Side by side, so that intervals of equal points can be told apart.
            aside = 0.06 * (i - (len(curves) - 1) / 2)
            x = [counts.index(point.shown) + aside for point in points]
            for at, point in zip(x, points, strict=True):
                low, high = point.figure.low, point.figure.high
                if low is not None and high is not None:
                    axes.plot([at, at], [low, high], color=colour, alpha=0.5, linewidth=1.3)
            axes.plot(
                x,
                [point.figure.mean or 0.0 for point in points],
                color=colour,
                marker=MARKERS[i % len(MARKERS)],
                linestyle=DASHES[i % len(DASHES)],
                label=short(name),
            )
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlabel(axis)
        axes.set_ylabel("oracle-normalised reward")
        axes.grid(linewidth=0.6)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return _finish(canvas, prefix, label)


def draw_shares(
    shares: Doubles, rows: Sequence[str], columns: Sequence[str], prefix: str, label: str
) -> Drawing:
    """Which LLM whom is sent to: shares [rows, columns], the darker the more."""
    from matplotlib.patches import Rectangle

    height, width = shares.shape
    with _figure(2.4 + 0.46 * width, 1.5 + 0.27 * height) as (canvas, axes):
        for i, j in zip(*np.nonzero(shares > 0), strict=True):
            share = float(shares[i, j])
            cell = Rectangle(
                (float(j), float(height - 1 - i)),
                1.0,
                1.0,
                facecolor=COLOURS["c0"],
                alpha=0.06 + 0.94 * share,
                linewidth=0,
            )
            axes.add_patch(cell)
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.set_xticks(
            np.arange(width) + 0.5, [short(name) for name in columns], rotation=40, ha="right"
        )
        axes.set_yticks(np.arange(height)[::-1] + 0.5, [short(name) for name in rows])
        axes.tick_params(length=0)
        return _finish(canvas, prefix, label)


def short(name: str) -> str:
    """Return a name that fits beside an axis."""
    line = printable(name)
    return line if len(line) <= NAME_CHARS else line[: NAME_CHARS - 1] + "…"


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Canvas, Axes]]:
    """Yield a figure of so many inches, in the style of this module and of nothing else."""
    from matplotlib import style
    from matplotlib.figure import Figure as Canvas

    with style.context(["default", STYLE]):
        canvas = Canvas(figsize=(width, height))
        yield canvas, canvas.subplots()


def _finish(canvas: Canvas, prefix: str, label: str) -> Drawing:
    text, picture = io.StringIO(), io.BytesIO()
    with warnings.catch_warnings():
        # A name in letters that matplotlib's font lacks: the page has them, the picture boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.savefig(text, format="svg", metadata={"Date": None})
        canvas.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    return Drawing(for_page(text.getvalue(), prefix, label), picture.getvalue())
