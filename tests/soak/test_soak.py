"""The soak in short: 600 calls, two kills, one empty purse; `make soak` is 20,000 calls."""

from __future__ import annotations

from pathlib import Path

from soak import Plan, soak

SHORT = Plan(
    120, 5, 24,
    (("kill", 0.15), ("cap", 0.5), ("stop", 0), ("cap", 10), ("kill", 0.8)),
    fault_rate=0.08, timeout_s=2,
)  # fmt: skip


def test_nothing_is_lost_or_paid_twice_under_fire(tmp_path: Path) -> None:
    figures = soak(SHORT, tmp_path, say=lambda line: None)
    assert (figures["settled"], figures["kills"], figures["budget_stops"]) == (600, 2, 1)
    assert 0 < figures["unknown_calls"] < 200
    assert len(figures["faults"]) >= 6
    assert figures["known_usd"] < figures["charged_usd"]  # kills and faults cost real money ...
    assert figures["charged_usd"] <= figures["known_usd"] + figures["unknown_usd_at_most"]
