"""The money cap: reserve the most a call can cost before it is sent, settle when it is back.

    spent + unknown + reserved + next call <= max_cost        at every moment

``spent`` is what was billed, ``unknown`` the upper bound of calls whose bill never arrived (cut
connections, crashes), ``reserved`` the upper bound of calls now in flight. The cap belongs to a
data set over all its runs, so ``spent`` and ``unknown`` start from the ledger.
"""

from __future__ import annotations

import math

from personaroute_bench.errors import UsageError

# Whole picodollars add and subtract exactly, however many calls there are; floats drift.
_UNIT = 10**12


def check_max_cost(max_cost: float | None) -> float | None:
    """Return a cap in USD unchanged, None for no cap.

    Raises:
        UsageError: the cap is not a finite number above zero.
    """
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost > 0):
        raise UsageError(
            f"--max-cost {max_cost}: must be a finite number of USD above 0, for instance "
            "--max-cost 25; leave it out for no cap"
        )
    return max_cost


class Budget:
    """The account of one data set; all amounts in USD, None where unknown.

    A reservation of None (an LLM without prices) is admitted only where there is no cap.
    """

    def __init__(
        self, max_cost: float | None, *, spent: float = 0.0, unknown_upper_bound: float = 0.0
    ):
        """Start from what earlier runs spent.

        Raises:
            UsageError: `max_cost` is not a finite number above zero.
        """
        check_max_cost(max_cost)
        self.max_cost = max_cost
        self._cap = None if max_cost is None else math.floor(max_cost * _UNIT)
        self._spent = _units(spent)
        self._unknown = _units(unknown_upper_bound)
        self._reserved = 0
        self.outstanding = 0
        """Reservations not settled yet."""

    @property
    def spent(self) -> float:
        """Known spend."""
        return self._spent / _UNIT

    @property
    def unknown(self) -> float:
        """Upper bound of the spend that will never be known exactly."""
        return self._unknown / _UNIT

    @property
    def reserved(self) -> float:
        """Upper bound of what is in flight."""
        return self._reserved / _UNIT

    @property
    def left(self) -> float | None:
        """What a further call may cost at most right now; None without a cap."""
        if self._cap is None:
            return None
        return max(0, self._cap - self._spent - self._unknown - self._reserved) / _UNIT

    def reserve(self, usd: float | None) -> bool:
        """Reserve up to `usd` for one call; False, and nothing reserved, where it does not fit."""
        units = _units(usd or 0.0)
        if self._cap is not None and (
            usd is None or self._spent + self._unknown + self._reserved + units > self._cap
        ):
            return False
        self._reserved += units
        self.outstanding += 1
        return True

    def settle(self, reserved: float | None, actual: float | None) -> None:
        """Replace a reservation by the bill, or by its own bound where the bill is unknown."""
        units = _units(reserved or 0.0)
        self._reserved -= units
        self.outstanding -= 1
        if actual is None:
            self._unknown += units
        else:
            self._spent += _units(actual)


def _units(usd: float) -> int:
    """Return whole picodollars, rounded up: the account may err only on the safe side."""
    return math.ceil(usd * _UNIT)
