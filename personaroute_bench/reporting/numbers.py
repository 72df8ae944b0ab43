"""Figures as texts: a number, and its interval apart, so that a page can set it smaller."""

from __future__ import annotations

from personaroute_bench.reporting.results import Figure

UNKNOWN = ("unknown", "")


def span(figure: Figure, form: str, scale: float = 1.0) -> tuple[str, str]:
    """Return the mean and ``[low, high]``, in one format; unknown money is never zero."""
    if figure.mean is None:
        return UNKNOWN
    centre = format(scale * figure.mean, form)
    if figure.low is None or figure.high is None:
        return centre, ""
    return centre, f"[{format(scale * figure.low, form)}, {format(scale * figure.high, form)}]"


def plain(figure: Figure, *, sign: bool = False) -> tuple[str, str]:
    """Return a reward or another number without a unit."""
    return span(figure, "+z.3f" if sign else "z.3f")


def percent(figure: Figure) -> tuple[str, str]:
    """Return a share in per cent."""
    centre, interval = span(figure, "z.1f", 100)
    return (centre if figure.mean is None else f"{centre} %"), interval


def usd(figure: Figure) -> tuple[str, str]:
    """Return USD, three figures of it."""
    return span(figure, ".3g")


def count(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}"
