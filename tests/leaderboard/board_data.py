"""Page data of any size, made up: what `build_boards` returns."""

from __future__ import annotations

from typing import Any

import numpy as np

HOSTILE_NAME = "</script><script>window.hacked=1</script>{{script}}"
HOSTILE_TEXT = (
    "<img src=x onerror='window.hacked=2'> \u2028 &lt;b&gt; ${window.hacked=3} {{data}} "
    "]]> <!-- <script> "
)


def page_data(boards: int = 2, rows: int = 3, **first: Any) -> dict[str, Any]:
    """So many boards with so many submissions each; `first` changes the very first submission."""
    rng = np.random.default_rng(0)
    made = [_board(number, rows, rng) for number in range(boards)]
    if first:
        next(row for row in made[0]["rows"] if row["kind"] == "submission").update(first)
    return {"schema": 1, "confidence": 0.95, "draws": 1000, "boards": made, "rejected": []}


def _board(number: int, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    strategies = ("multi_cost_efficiency", "llm_judge", "mixed")
    names = ("oracle", "best-per-user", "best-single")
    controls = [
        {"kind": "control", "name": name, "standing": "control", "rank": None, **_scores(rng)}
        for name in names
    ]
    return {
        "id": f"board-{number}",
        "data": f"data-{number % 4}",
        "manifest_sha256": "a" * 64,
        "provenance": ("live", "recorded", "simulated")[number % 3],
        "population": ("default", "paper")[number % 2],
        "track": {
            "strategy": strategies[number % 3],
            "setting": ("general", "new-user")[number % 2],
            "feedback": ("full", "choice")[number % 2],
            "tier": ("T1", "T3")[number % 2],
            "interactions_per_user": (None, 10)[number % 2],
            "shots": (None, 5)[number % 2],
        },
        "held_out": 3 * (number % 2),
        "users": 1000,
        "queries": 48,
        "llms": 10,
        "opened": (None, "2026-02-01T00:00:00Z")[number % 2],
        "sealed": False,
        "headroom": 0.42,
        "rows": controls + [_row(number, place, rng) for place in range(rows)],
    }


def _scores(rng: np.random.Generator) -> dict[str, Any]:
    def figure(centre: float) -> list[float]:
        return [round(centre, 7), round(centre - 0.0123456, 7), round(centre + 0.0123456, 7)]

    names = (
        "reward",
        "oracle_normalised_reward",
        "accuracy",
        "performance",
        "cost_usd",
        "regret",
        "charged",
        "shuffled_gain",
        "user_sensitivity",
        "gain",
    )
    figures = {name: figure(float(rng.uniform(0.1, 0.9))) for name in names}
    return {"figures": figures, "p_value": 0.001, "invalid": 0}


def _row(number: int, place: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "kind": "submission",
        "name": f"router-{number}-{place}",
        "openness": ("open", "closed")[place % 2],
        "description": "A router that learns what each user likes. " * 6,
        "url": "https://example.org/router",
        "training_data": "the history only",
        "hardware": "two cores",
        "price_date": "2026-01-31",
        "standing": "ranked",
        "rank": [place + 1, max(1, place), place + 2],
        "seeds": 5,
        "commitment": "b" * 64,
        "committed_at": "2026-01-01T00:00:00Z",
        "commitments": 1,
        "choices_sha256": ["c" * 64] * 5,
        "check": "reproduced",
        "differences": [],
        **_scores(rng),
    }
