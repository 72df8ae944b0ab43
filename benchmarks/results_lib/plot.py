"""A line chart as SVG: no library, no fonts of its own, readable in a browser and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#1f4e8c", "#c8553d", "#2f7d4f", "#8a4fa3", "#b8860b", "#4a4a4a", "#0f8b8d", "#a23b72")
WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 40


def panels(
    charts: Sequence[tuple[str, Mapping[str, Sequence[float | None]]]],
    ticks: Sequence[str],
    axis: str,
) -> str:
    """Return panels of lines side by side, two a row, with one legend.

    Args:
        charts: title and, by name of the line, a value for each tick (None: a gap).
        ticks: labels along x, evenly spaced.
        axis: what x is.
    """
    names = list(dict.fromkeys(name for _, lines in charts for name in lines))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    rows = -(-len(charts) // 2)
    height = rows * HEIGHT + 20 * -(-len(names) // 4) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{height}" '
        f'viewBox="0 0 {2 * WIDTH} {height}">',
        "<style>text{font:12px sans-serif;fill:#222}.t{font-weight:bold}"
        ".l{fill:none;stroke-width:2}.g{stroke:#ddd}</style>",
        f'<rect width="{2 * WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for i, (title, lines) in enumerate(charts):
        parts.append(f'<g transform="translate({i % 2 * WIDTH},{i // 2 * HEIGHT})">')
        parts += _panel(title, lines, ticks, axis, colour)
        parts.append("</g>")
    for i, name in enumerate(names):
        x, y = 20 + i % 4 * 200, rows * HEIGHT + 15 + i // 4 * 20
        parts.append(f'<rect x="{x}" y="{y - 8}" width="14" height="4" fill="{colour[name]}"/>')
        parts.append(f'<text x="{x + 20}" y="{y - 2}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str,
    lines: Mapping[str, Sequence[float | None]],
    ticks: Sequence[str],
    axis: str,
    colour: Mapping[str, str],
) -> list[str]:
    values = [v for line in lines.values() for v in line if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.05
    low, high = low - pad, high + pad

    def x(i: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * i / max(1, len(ticks) - 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [f'<text class="t" x="{LEFT}" y="18">{escape(title)}</text>']
    for k in range(5):
        value = low + (high - low) * k / 4
        parts.append(f'<path class="g" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="8" y="{y(value) + 4:.1f}">{value:.3f}</text>')
    for i, tick in enumerate(ticks):
        parts.append(
            f'<text x="{x(i):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{escape(tick)}</text>'
        )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(axis)}</text>'
    )
    for name, line in lines.items():
        path, pen = "", "M"
        for i, value in enumerate(line):
            if value is None:
                pen = "M"
                continue
            path += f"{pen}{x(i):.1f} {y(value):.1f}"
            pen = "L"
            parts.append(
                f'<circle cx="{x(i):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour[name]}"/>'
            )
        parts.append(f'<path class="l" stroke="{colour[name]}" d="{path}"/>')
    return parts
