"""bench report: results of evaluations as one page for people, and as pictures.

    RESULT.json … ─► results ─► cold_start ┐
    data set, choices ─► joined ─► examples ┴─► plots ─► page ─► report.html, PNGs

See docs/report.md.
"""

from __future__ import annotations

from personaroute_bench.reporting.report import Written, report

__all__ = ["Written", "report"]
