"""CSV files of our own making in exactly the layout of the published PersonaRoute-Bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SHORT = {"train": "train", "validation": "val", "test": "test"}


def cells(tasks: int = 2, per_task: int = 10, llms: int = 3, seed: int = 0) -> pd.DataFrame:
    """One row a (query, LLM): all columns that do not depend on the user."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for t in range(tasks):
        described = np.round(rng.normal(size=(1, 5)), 4).astype(np.float32)
        for q in range(per_task):
            # One digit after the point, so that NumPy prints some as "0." and "-1.".
            vector = np.round(rng.normal(size=(1, 5)), 1 if q else 0).astype(np.float32)
            rows.extend(
                {
                    "task_id": f"task{t}",
                    "query": f'Query {q} of "task {t}",\nin two lines',
                    "query_embedding": str(vector),
                    "ground_truth": f"truth {t} {q}",
                    "metric": "f1_score",
                    "llm": f"LLaMA-{m} ({m}b)",
                    "effect": rng.random(),
                    "cost": rng.random(),
                    "task_description": f"what task {t} asks, and why",
                    "task_description_embedding": str(described),
                    "response": f"Answer {q},\n{m} – “é”",
                }
                for m in range(llms)
            )
    return pd.DataFrame(rows)


def version_1(base: pd.DataFrame, users: int = 4) -> pd.DataFrame:
    """Multi-cost-efficiency, as `router_user_data_v1.csv`."""
    parts = []
    llms = base["llm"].nunique()
    for user in range(1, users + 1):
        alpha = round(0.2 * user, 1)
        reward = alpha * base["effect"] - (1 - alpha) * base["cost"]
        best = reward.to_numpy().reshape(-1, llms).argmax(axis=1)
        parts.append(
            pd.concat(
                [
                    pd.DataFrame(
                        {"user_id": user, "performance_preference": alpha}, index=base.index
                    ),
                    base,
                    reward.rename("reward"),
                    pd.Series(np.repeat(best, llms), index=base.index, name="best_llm"),
                ],
                axis=1,
            )
        )
    return pd.concat(parts, ignore_index=True)


def version_2(base: pd.DataFrame, users: int = 4, seed: int = 1) -> pd.DataFrame:
    """LLM judge, as `router_user_data_v2.csv`."""
    rng = np.random.default_rng(seed)
    llms = base["llm"].nunique()
    parts = []
    for user in range(1, users + 1):
        chosen = rng.integers(llms, size=len(base) // llms)
        best = (np.tile(np.arange(llms), len(chosen)) == np.repeat(chosen, llms)).astype(int)
        user_id = pd.Series(user, index=base.index, name="user_id")
        parts.append(pd.concat([user_id, base], axis=1).assign(best_answer=best))
    return pd.concat(parts, ignore_index=True)


def official_split(rows: pd.DataFrame, llms: int = 3) -> np.ndarray[Any, Any]:
    """[rows] 70/10/20 by place in the task."""
    users = rows["user_id"].nunique()
    tasks = rows["task_id"].nunique()
    per_task = len(rows) // users // tasks // llms
    place = np.tile(np.repeat(np.arange(per_task), llms), users * tasks)
    train, validation = int(per_task * 0.7), int(per_task * 0.1)
    return np.select([place < train, place < train + validation], ["train", "validation"], "test")


def write_published(folder: Path, rows: pd.DataFrame, version: str, llms: int = 3) -> Path:
    """Write the files of one configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    split = official_split(rows, llms)
    for name, short in SHORT.items():
        part = rows[split == name]
        part.to_csv(folder / f"router_user_{short}_data_{version}.csv", index=False)
    rows.to_csv(folder / f"router_user_data_{version}.csv", index=False)
    return folder
