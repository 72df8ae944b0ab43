"""How long an evaluation will still take: each router as long as it took before."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable


class Pace:
    """Counts steps (a router, seed and fold), and estimates the time that the others need.

    Args:
        steps: name of the router to how many steps it has.
        clock: seconds.
    """

    def __init__(
        self, steps: Iterable[tuple[str, int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = Counter(dict(steps))
        self._total = self._left.total()
        self._took: dict[str, list[float]] = {}
        self._clock, self._since = clock, clock()

    def step(self, name: str) -> str:
        """Note that a step of a router has ended; return how far this is, in words."""
        now = self._clock()
        self._took.setdefault(name, []).append(now - self._since)
        self._since = now
        self._left[name] -= 1
        left = self.seconds_left()
        text = f"{self._total - self._left.total()} of {self._total}"
        return text if left is None else f"{text}, about {duration(left)} left"

    def drop(self, name: str) -> None:
        """Forget the steps of a router that are not made, since it has failed."""
        self._since = self._clock()
        self._total -= self._left.pop(name, 0)

    def seconds_left(self) -> float | None:
        """Return the estimate; None where nothing is left, or nothing is known yet.

        A router that has not run takes as long as those that have, on average.
        """
        if not self._left.total() or not self._took:
            return None
        means = {name: sum(took) / len(took) for name, took in self._took.items()}
        usual = sum(means.values()) / len(means)
        return sum(means.get(name, usual) * count for name, count in self._left.items())


def duration(seconds: float) -> str:
    """Write a time for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
