"""Results by group: of tasks, of kinds of drift, of queries on which users agree or do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation.metrics import mean, oracle_normalised_reward
from personaroute_bench.evaluation.personalisation import agreement, controversial

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints
    from personaroute_bench.evaluation.metrics import Outcomes
    from personaroute_bench.evaluation.personal_results import Scored
    from personaroute_bench.evaluation.results import Plan

NORMALISED = "oracle_normalised_reward"
AGREEMENT = ("agreed", "controversial")
METRICS = ("reward", NORMALISED, "accuracy", "shuffled_gain")


def groups_of(
    benchmark: Benchmark, plan: Plan, users: Ints, queries: Ints
) -> tuple[str | None, list[str], Ints]:
    """Return what a setting's results are split by, its values, and the value of each [U, Q]."""
    shape, none = (len(users), len(queries)), np.zeros((0, 0), dtype=np.int64)
    if plan.setting == "cross-task":
        task = np.broadcast_to(benchmark.task_of_query[queries], shape)
        return "task", benchmark.task_ids.tolist(), task
    if plan.setting == "drift" and "drift_kind" in benchmark.users.column_names:
        kinds = benchmark.users["drift_kind"].to_pylist()
        names = sorted({str(kind) for kind in kinds})
        number = np.asarray([names.index(str(kinds[u])) for u in users.tolist()], dtype=np.int64)
        return "drift_kind", names, np.broadcast_to(number[:, None], shape)
    return None, [], none


def by_group(
    values: Scored, outcomes: Outcomes, names: Sequence[str], group: Ints
) -> list[dict[str, Any]]:
    """Return the metrics of each group, and the mean of the groups.

    Args:
        values: of one router.
        outcomes: of the test split.
        names: of the groups.
        group: [U, Q] number of the group.
    """
    rows: list[dict[str, Any]] = []
    for number in np.unique(group):
        here = group == number
        reward = np.where(here, values["reward"], np.nan)
        row: dict[str, Any] = {"name": names[number]}
        for metric in METRICS:
            if metric == NORMALISED:
                row[metric] = oracle_normalised_reward(reward, outcomes.chance, outcomes.best)[0]
            else:
                row[metric] = mean(np.where(here, values[metric], np.nan))
        rows.append(row | {"n": int(np.isfinite(reward).sum())})
    average: dict[str, Any] = {"name": "average"}
    for metric in METRICS:
        known = [row[metric] for row in rows if row[metric] is not None]
        average[metric] = float(np.mean(known)) if known else None
    return [*rows, average | {"n": sum(row["n"] for row in rows)}]


def by_agreement(values: Scored, outcomes: Outcomes) -> dict[str, dict[str, Any]]:
    """Return the metrics on agreed and on controversial queries; of those there are.

    Agreed are the queries on which one LLM is best for most users (`personalisation`).
    """
    scored = outcomes.scored
    split = controversial(agreement(outcomes.chosen, scored)).astype(np.int64)
    rows = by_group(values, outcomes, AGREEMENT, np.tile(split, (len(scored), 1)))
    return named_by_agreement(rows, split)


def named_by_agreement(rows: list[dict[str, Any]], split: Ints) -> dict[str, dict[str, Any]]:
    """Return the rows of agreed and of controversial queries, with how many there are.

    Args:
        rows: of `by_group`.
        split: [Q] 1 for a controversial query, else 0.
    """
    queries = {"agreed": int((split == 0).sum()), "controversial": int(split.sum())}
    return {
        row.pop("name"): row | {"queries": queries[name]}
        for row in rows
        if (name := row["name"]) in queries
    }
