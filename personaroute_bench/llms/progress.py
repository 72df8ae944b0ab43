"""How far a run is: the values, and a display of them on standard error.

On a terminal a bar that moves; in a file or a pipe one plain line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINE_SECONDS = 10.0
_LINE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a run."""

    done: int
    """Calls that need no further asking in this run: cached, answered or failed."""
    total: int
    cached: int
    """Of those done: answered by an earlier run, so free."""
    failed: int
    """Of those done in this run: ended in an error."""
    spend_usd: float
    """Known spend of the data set over all its runs: what --max-cost is compared with."""
    reserved_usd: float
    """The most that the calls in flight can add."""
    unknown_usd: float
    """Upper bound of the spend of calls whose bill never arrived."""
    rate: float
    """Calls finished a second, over the last ten seconds or so."""
    seconds_left: float | None
    """None while nothing is known of the rate."""

    def text(self) -> str:
        """Return the line that people read."""
        parts = [f"{self.done:,} of {self.total:,} calls"]
        if self.cached:
            parts.append(f"{self.cached:,} from the ledger")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        parts.append(f"{self.rate:,.1f}/s")
        parts.append(money(self.spend_usd))
        if self.unknown_usd:
            parts.append(f"and up to {money(self.unknown_usd)} unknown")
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(parts)


def money(usd: float) -> str:
    """Return USD for people: two places, or as many as a small amount needs to be seen."""
    if 0 < abs(usd) < 0.01:
        return f"${usd:.2g}" if abs(usd) >= 1e-4 else f"${usd:.1e}"
    return f"${usd:,.2f}"


def duration(seconds: float) -> str:
    """Return seconds as ``40 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(min(seconds, 1e9))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


class ProgressPrinter:
    """Shows a run's progress: hand it to `run_calls` as `on_progress`, then close it."""

    def __init__(
        self,
        label: str = "asking",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Choose the kind of display.

        Args:
            label: what the calls are for, for instance ``responses``.
            stream: None for standard error; a bar where it is a terminal, else plain lines.
            clock: seconds, for the intervals between plain lines.
        """
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._bar: RichProgress | None = None
        self._task = cast("TaskID", 0)
        self._lined_at = clock()
        self._lined_done = 0
        self._last: Progress | None = None

    def __enter__(self) -> ProgressPrinter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, progress: Progress) -> None:
        """Show one moment."""
        self._last = progress
        if self._stream.isatty():
            self._show_bar(progress)
        elif self._line_is_due(progress):
            self._line(progress)

    def close(self) -> None:
        """End the display; the last moment has been shown. Closing twice is fine."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self._last is not None and self._last.done > self._lined_done:
            self._line(self._last)
        self._last = None

    def _show_bar(self, progress: Progress) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            # Markup stays off: nothing in a text is to be interpreted.
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[line]}", markup=False),
                console=Console(file=self._stream),
            )
            self._task = self._bar.add_task(self._label, total=progress.total, line="")
            self._bar.start()
        self._bar.update(
            self._task, completed=progress.done, total=progress.total, line=progress.text()
        )

    def _line_is_due(self, progress: Progress) -> bool:
        """Every ten seconds, or every tenth of the calls but not each second, and at the end."""
        grown = progress.done - self._lined_done
        if progress.done >= progress.total:
            return grown > 0
        waited = self._clock() - self._lined_at
        return waited >= _LINE_SECONDS or (waited >= 1.0 and grown >= progress.total * _LINE_SHARE)

    def _line(self, progress: Progress) -> None:
        self._lined_at = self._clock()
        self._lined_done = progress.done
        print(f"{self._label}: {progress.text()}", file=self._stream, flush=True)
