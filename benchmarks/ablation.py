"""What each part of `personalized` is worth: layers, edge features, user state, head, mask share.

    python benchmarks/ablation.py DIR --strategy llm_judge [--feedback choice] [-n 20] [--seeds 1]

One data set, every variant by itself. Rewards are of the *validation* split, whose interactions the
variants do not get as edges here, so that settings can be chosen by this table; it never reads the
test split. About 15 s a variant and seed on two cores at 1,000 users × 168 queries × 10 LLMs,
15 variants. Writes a Markdown table to --out, and beside it a bar chart as SVG.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.history import History, make_history, past_responses

VARIANTS: dict[str, dict[str, Any]] = {
    "reference (2 layers, joined)": {},
    **{f"{n} layers": {"layers": n} for n in (0, 1, 3, 4, 5)},
    "no edge features": {"edge_features": False},
    "no user state": {"user_state": False},
    "graph alone": {"head": "graph"},
    **{f"graph alone, {n} layers": {"head": "graph", "layers": n} for n in (0, 1, 3)},
    "graph alone, no edge features": {"head": "graph", "edge_features": False},
    "mask share 0.1": {"mask_share": 0.1},
    "mask share 0.5": {"mask_share": 0.5},
}


def histories(arguments: argparse.Namespace, seed: int) -> tuple[History, History]:
    """Return the training history with an inner validation, and the validation split.

    A fifth of the training queries takes the part of validation inside; the real one scores.
    """
    data = Benchmark.load(arguments.directory)
    train, validation = (data.interactions(arguments.strategy, s) for s in ("train", "validation"))
    inner = np.random.default_rng(seed).permutation(len(train.queries)) % 5 == 0
    parts = [
        replace(
            train, queries=train.queries[at], reward=train.reward[:, at], chosen=train.chosen[:, at]
        )
        for at in (~inner, inner)
    ]
    known = np.concatenate([train.queries, validation.queries])
    options: dict[str, Any] = {"feedback": arguments.feedback, "seed": seed}
    responses = past_responses(data, known)
    few = arguments.interactions_per_user
    told = make_history(data, *parts, responses, interactions_per_user=few, **options)
    scored = make_history(data, validation, None, responses, **options)
    return told, scored


def score(router: Any, scored: History) -> float:
    """Return the mean value of the choices for the scored queries, over all users."""
    users = np.arange(len(scored.user_ids))
    scores = router.scores(users, scored.embeddings, scored.task_of_query)
    choice = scores.argmax(axis=-1)[..., None]
    return float(np.nanmean(np.take_along_axis(scored.values, choice, axis=-1)))


def chart(rows: list[tuple[str, float, float]]) -> str:
    """Return bars as SVG, the axis from the worst variant's 90 % to the best."""
    low, high = 0.9 * min(r[1] for r in rows), max(r[1] for r in rows)
    height = 22 * len(rows) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}">']
    parts.append("<style>text{font:12px sans-serif}rect{fill:#4a7ab5}</style>")
    for i, (name, mean, _) in enumerate(rows):
        y = 22 * i + 6
        width = 320 * (mean - low) / max(high - low, 1e-9)
        parts.append(f'<text x="4" y="{y + 12}">{escape(name)}</text>')
        parts.append(f'<rect x="220" y="{y}" width="{width:.1f}" height="16"/>')
        parts.append(f'<text x="{225 + width:.1f}" y="{y + 12}">{mean:.4f}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--strategy", default="llm_judge")
    parser.add_argument("--feedback", default="choice", choices=("full", "choice", "pairwise"))
    parser.add_argument("-n", "--interactions-per-user", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("ablation.md"))
    arguments = parser.parse_args()

    from personaroute_bench.router.explicit_utility import ExplicitUtility
    from personaroute_bench.router.personalized import Personalized

    told = [histories(arguments, seed) for seed in range(arguments.seeds)]
    rows = []
    for name, settings in [("utility head alone", None), *VARIANTS.items()]:
        found, start = [], time.perf_counter()
        for seed, (history, scored) in enumerate(told):
            router: Any = ExplicitUtility(seed)
            if settings is not None:
                router = Personalized(seed, **settings)
            router.fit(history)
            found.append(score(router, scored))
        seconds = (time.perf_counter() - start) / arguments.seeds
        rows.append((name, float(np.mean(found)), seconds))
        print(f"{name:32} {rows[-1][1]:.4f}   {seconds:.1f} s", flush=True)
    few = arguments.interactions_per_user or "all"
    lines = [
        f"{arguments.strategy}, feedback {arguments.feedback}, {few} interactions a user, "
        f"{arguments.seeds} seed(s); mean validation value",
        "",
        "| variant | value | fit s |",
        "|---|---|---|",
        *(f"| {name} | {mean:.4f} | {seconds:.1f} |" for name, mean, seconds in rows),
        "",
    ]
    arguments.out.write_text("\n".join(lines), encoding="utf-8")
    arguments.out.with_suffix(".svg").write_text(chart(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
