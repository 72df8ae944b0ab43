"""What each part of `personalized` is worth: layers, edge features, user state, head, mask share.

    python benchmarks/ablation.py DIR [DIR ...] --strategy llm_judge [--feedback choice] [-n 20]

Every variant by itself, on one data set or several. Rewards are of the *validation* split, whose
interactions the variants do not get as edges here, so that settings can be chosen by this table; it
never reads the test split. About 3 s a variant and data set at 200 users × 168 queries × 10 LLMs,
16 variants. Writes a Markdown table to --out, and beside it a chart as SVG. `±` is the standard
error of the paired difference from the reference over validation queries, which all users share.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
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


def histories(arguments: argparse.Namespace, directory: Path, seed: int) -> tuple[History, History]:
    """Return the training history with an inner validation, and the validation split.

    A fifth of the training queries takes the part of validation inside; the real one scores.
    """
    data = Benchmark.load(directory)
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


def score(router: Any, scored: History) -> np.ndarray:
    """Return [Q] the mean value over users of the choices for the scored queries."""
    users = np.arange(len(scored.user_ids))
    scores = router.scores(users, scored.embeddings, scored.task_of_query)
    choice = scores.argmax(axis=-1)[..., None]
    return np.nanmean(np.take_along_axis(scored.values, choice, axis=-1)[..., 0], axis=0)


def chart(rows: list[Row]) -> str:
    """Return each variant's difference from the reference as SVG, bars from the middle."""
    most = max(abs(row.gap) + row.error for row in rows) or 1.0
    height = 22 * len(rows) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}">']
    parts.append("<style>text{font:12px sans-serif}rect{fill:#4a7ab5}path{stroke:#333}</style>")
    for i, row in enumerate(rows):
        y, middle, scale = 22 * i + 6, 430, 190 / most
        left, width = middle + min(row.gap, 0) * scale, abs(row.gap) * scale
        low, high = (middle + (row.gap + side * row.error) * scale for side in (-1, 1))
        parts.append(f'<text x="4" y="{y + 12}">{escape(row.name)}</text>')
        parts.append(f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="16"/>')
        parts.append(f'<path d="M{low:.1f} {y + 8}H{high:.1f}"/>')
    parts.append(f'<path d="M430 0V{height}"/>')
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class Row:
    """One variant: mean value, difference from the reference, its standard error, CPU seconds."""

    name: str
    value: float
    gap: float
    error: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="+")
    parser.add_argument("--strategy", default="llm_judge")
    parser.add_argument("--feedback", default="choice", choices=("full", "choice", "pairwise"))
    parser.add_argument("-n", "--interactions-per-user", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("ablation.md"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)  # now, and not after all the work

    from personaroute_bench.router.explicit_utility import ExplicitUtility
    from personaroute_bench.router.personalized import Personalized

    runs = [(path, seed) for path in arguments.directory for seed in range(arguments.seeds)]
    told = [(*histories(arguments, path, seed), seed) for path, seed in runs]
    found: dict[str, tuple[np.ndarray, float]] = {}
    for name, settings in [*VARIANTS.items(), ("utility head alone", None)]:
        values, start = [], time.process_time()
        for history, scored, seed in told:
            router: Any = ExplicitUtility(seed)
            if settings is not None:
                router = Personalized(seed, **settings)
            router.fit(history)
            values.append(score(router, scored))
        found[name] = np.concatenate(values), (time.process_time() - start) / len(told)
        print(f"{name:32} {found[name][0].mean():.4f}   {found[name][1]:.1f} s", flush=True)
    reference = found[next(iter(VARIANTS))][0]
    rows = []
    for name, (values, seconds) in found.items():
        gap = values - reference
        error = float(gap.std() / np.sqrt(max(len(gap) - 1, 1)))
        rows.append(Row(name, float(values.mean()), float(gap.mean()), error, seconds))
    few = arguments.interactions_per_user or "all"
    names = ", ".join(path.name for path in arguments.directory)
    lines = [
        f"{names}; {arguments.strategy}, feedback `{arguments.feedback}`, {few} interactions a "
        f"user, {arguments.seeds} seed(s) each; mean value on {len(reference)} validation queries.",
        "",
        "| variant | value | against the reference | fit, CPU s |",
        "|---|---|---|---|",
        *(
            f"| {r.name} | {r.value:.4f} | {r.gap:+.4f} ± {r.error:.4f} | {r.seconds:.1f} |"
            for r in rows
        ),
        "",
    ]
    arguments.out.write_text("\n".join(lines), encoding="utf-8")
    arguments.out.with_suffix(".svg").write_text(chart(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
