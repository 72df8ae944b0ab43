"""Random draws that depend on a seed and a key only, never on what was drawn for other keys."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of draws of its own for each (seed, key), the same on every machine and release.

    Neither numpy nor the standard library promises its stream of numbers for ever; SHA-512 of
    the key and a counter does. One digest gives eight numbers.
    """

    __slots__ = ("_count", "_key", "_pool")

    def __init__(self, seed: int, *key: object) -> None:
        self._key = "\x1f".join((str(seed), *(str(part) for part in key)))
        self._count = 0
        self._pool: list[float] = []

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        if not self._pool:
            text = f"{self._key}\x1f{self._count}".encode("utf-8", "surrogatepass")
            raw = hashlib.sha512(text).digest()
            self._count += 1
            self._pool = [
                (int.from_bytes(raw[i : i + 8], "big") >> 11) / 2.0**53 for i in range(0, 64, 8)
            ]
        return self._pool.pop()

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """Return a whole number in [low, high], both ends included."""
        return low + int(self.uniform() * (high - low + 1))

    def normal(self) -> float:
        """Return a standard normal number (Box and Muller)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())

    def pick(self, values: Sequence[T]) -> T:
        """Return one of the values."""
        return values[int(self.uniform() * len(values))]

    def sample(self, values: Sequence[T], count: int) -> list[T]:
        """Return ``count`` different places' values in random order (all, if there are fewer)."""
        rest = list(values)
        return [rest.pop(int(self.uniform() * len(rest))) for _ in range(min(count, len(rest)))]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """Return all values in random order."""
        return self.sample(values, len(values))
