"""Where workers rest while nothing may be asked, and how few of them are woken."""

from __future__ import annotations

import asyncio
import math
from collections import deque


class Resting:
    """Workers without work, woken one at a time.

    Whatever changes wakes one; if that one finds work it wakes the next, else it rests again. So
    a change costs as many wake-ups as there is new work, not as many as there are workers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._resting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None

    async def rest(self, until: float) -> None:
        """Rest until woken, or until the loop's time `until` (inf: until woken)."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._resting.append(future)
        if until < math.inf and (self._alarm is None or until < self._alarm.when()):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(until, self._ring)
        await future

    def wake(self) -> None:
        """Wake one, if any rests."""
        while self._resting:
            future = self._resting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def wake_all(self) -> None:
        """Wake all."""
        while self._resting:
            self.wake()

    def close(self) -> None:
        """Let no alarm ring any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self) -> None:
        self._alarm = None
        self.wake()
