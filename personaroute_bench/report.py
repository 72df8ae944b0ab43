"""What a long run tells whoever watches; the library itself prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from personaroute_bench.llms.progress import Progress


class Report:
    """Silent; `bench` passes one that prints. Subclass it to show progress elsewhere."""

    def stage(self, name: str, detail: str = "") -> None:
        """Begin a stage of the run, for instance ``responses``."""

    def note(self, message: str) -> None:
        """Say something that the user should know but need not act on."""

    def warn(self, message: str) -> None:
        """Say something that the user should act on."""

    def calls(self, progress: Progress) -> None:
        """Show how far the calls are; called often, so it must be cheap."""

    def rows(self, done: int, total: int) -> None:
        """Show how many interactions are written."""

    def close(self) -> None:
        """Take away whatever still moves on the screen."""
