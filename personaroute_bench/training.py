"""train: fit a router on a data set's past and make it usable outside the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.checkpoints import KINDS, TrainedRouter
from personaroute_bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.history import Feedback, History, Tier


def train(
    benchmark: Benchmark | str | Path,
    router: str = "personalized",
    *,
    strategy: str | None = None,
    feedback: Feedback = "full",
    interactions_per_user: int | None = None,
    tier: Tier = "T1",
    seed: int = 0,
    device: str = "cpu",
    users: int | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> TrainedRouter:
    """Fit a router on the training and validation splits; the test split is not read.

    Args:
        benchmark: a data set, or its folder.
        router: one of `personaroute_bench.checkpoints.KINDS`.
        strategy: whose rewards; None: the only one there is.
        feedback: what the past tells, ``full``, ``choice`` or ``pairwise``.
        interactions_per_user: so many training queries a user; None: all.
        tier: what is known of users; at ``T0`` nobody has a past of their own.
        seed: of the router, and of what is sampled.
        device: a torch device, for routers that use torch.
        users: train on the first so many users only; None: on all, unless they are too many.
        on_progress: is told one line a step.

    Raises:
        UsageError: an option is wrong, or the router cannot be saved.
    """
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.history import make_history, past_responses
    from personaroute_bench.evaluation.registry import load
    from personaroute_bench.evaluation.streamed import is_large

    say = on_progress or (lambda line: None)
    if router not in KINDS:
        raise UsageError(f"router {router!r} cannot be saved{did_you_mean(router, KINDS)}")
    if interactions_per_user is not None and interactions_per_user < 1:
        raise UsageError(f"interactions_per_user is {interactions_per_user}; give 1 or more")
    if not isinstance(benchmark, Benchmark):
        benchmark = Benchmark.load(benchmark)
    if users is not None:
        benchmark = benchmark.first(users)
    elif is_large(benchmark):
        raise UsageError(
            f"{benchmark.directory} has {len(benchmark.user_ids):,} users, and these routers hold "
            "the past of all of them in memory at once; train on the first N with --users N "
            "(docs/scale.md), of any number that fits"
        )
    strategy = benchmark.check_strategy(strategy)
    parts = {
        split: benchmark.interactions(strategy, split)
        for split in ("train", "validation")
        if len(benchmark.split_queries(split))
    }
    if "train" not in parts:
        raise UsageError("the data set has no training split; generate it with more queries")
    known = np.concatenate([part.queries for part in parts.values()])
    history = make_history(
        benchmark,
        parts["train"],
        parts.get("validation"),
        past_responses(benchmark, known),
        feedback=feedback,
        tier=tier,
        interactions_per_user=interactions_per_user,
        seed=seed,
    )
    say(f"fitting {router} on {history!r}")
    options: dict[str, Any] = {} if router == "explicit-utility" else {"device": device}
    fitted = load(router)(seed=seed, **options)
    fitted.fit(history)
    embedders = set(benchmark.queries["embedder"].to_pylist())
    if len(embedders) != 1:
        raise UsageError(f"the queries have embeddings of {sorted(embedders)}; embed them with one")
    return TrainedRouter(
        kind=router,
        router=fitted,
        task_ids=history.task_ids.tolist(),
        centroids=task_centroids(history),
        embedder=_embedder_spec(str(embedders.pop())),
        training={
            "dataset_id": benchmark.manifest.get("dataset_id"),
            "strategy": strategy,
            "feedback": feedback,
            "interactions_per_user": interactions_per_user,
            "tier": tier,
            "seed": seed,
            "users": len(history.user_ids),
            "queries": len(history.query_ids),
            "provenance": benchmark.manifest.get("provenance"),
            "task_accuracy": task_accuracy(history),
        },
    )


def task_centroids(history: History) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return [T, D] the unit mean embedding of each task's training queries."""
    from personaroute_bench.embeddings import unit_rows

    member = history.task_of_query[None, :] == np.arange(len(history.task_ids))[:, None]
    return unit_rows(member.astype(np.float64) @ history.embeddings)


def task_accuracy(history: History) -> float | None:
    """Return the share of validation queries whose nearest centroid is their task's."""
    checked = history.validation
    if checked is None or not len(checked.query_ids):
        return None
    guess = (checked.embeddings @ task_centroids(history).T).argmax(axis=1)
    return float((guess == checked.task_of_query).mean())


def _embedder_spec(name: str) -> str:
    """Return what `make_embedder` takes for the name that the queries table holds."""
    return "hashing" if name.startswith("hashing-") else name
