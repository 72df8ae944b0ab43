"""`bench import personaroute-csv`: the published CSVs become a data set with their own splits.

CSV rows ─► arrays (checked) ─► tables, interactions ─► card, manifest

Columns, and what of them is kept where: docs/exchange.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from personaroute_bench.benchmark import Floats, Ints
from personaroute_bench.errors import UsageError
from personaroute_bench.files import read_json, sha256_file
from personaroute_bench.folder import CONFIG, MANIFEST, DataFolder
from personaroute_bench.interchange.arrow_rows import TableFile
from personaroute_bench.interchange.interaction_rows import (
    OF_QUERY,
    OF_TASK,
    Collected,
    InteractionRows,
)
from personaroute_bench.interchange.personaroute_files import find_files, strategy_of
from personaroute_bench.schemas import SPLITS

# Raise it when the same files give other tables.
IMPORT_VERSION = 1
PUBLISHED = "published"
# The shares by which the authors' code cuts a file without official splits.
TRAIN_SHARE, VALIDATION_SHARE = 0.7, 0.1
# Rewards in the files are printed doubles; more than this apart is another number.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class ImportedData:
    """A whole data set on disk."""

    directory: Path
    manifest: Mapping[str, Any]
    changed: bool
    """False where everything was there already."""


def import_personaroute(
    path: str | Path,
    out: str | Path,
    *,
    config: str | None = None,
    descriptions: str | Path | None = None,
    embedder: str = PUBLISHED,
    allow_mismatch: bool = False,
) -> ImportedData:
    """Make a data set of CSVs in the layout of the published PersonaRoute-Bench.

    Args:
        path: folder of the published files, or one CSV that holds all splits.
        out: folder of the data set; the same import again changes nothing.
        config: which of several configurations in the folder, say ``Router_user_data_v1``.
        descriptions: JSON of the LLMs' descriptions and prices as the authors' code has it;
            None: unknown.
        embedder: ``published`` takes the files' vectors; else see `make_embedder`.
        allow_mismatch: count rewards and best LLMs that do not follow from the other columns
            instead of refusing them; the reward of the file is kept.

    Raises:
        UsageError: a missing, doubled or contradictory row, or a folder of another data set.
        BenchError: no space, no permission.
    """
    from personaroute_bench.interchange.personaroute_folder import write_folder

    published = find_files(Path(path), config)
    files = {split: TableFile(file) for split, file in published.files.items()}
    strategies = {strategy_of(file) for file in files.values()}
    if len(strategies) > 1:
        raise UsageError(f"the files of {published.config} are of two strategies; do not mix them")
    strategy = strategies.pop()
    known = read_descriptions(Path(descriptions)) if descriptions is not None else {}
    maker = None
    if embedder != PUBLISHED:
        from personaroute_bench.embeddings import make_embedder

        maker = make_embedder(embedder)
    elif any("query_embedding" not in file.columns for file in files.values()):
        raise UsageError(
            f"{path} has no column 'query_embedding'; choose what embeds the queries, for "
            "instance --embedder hashing"
        )
    configuration = {
        "import": "personaroute-csv",
        "config": published.config,
        "files": {split: file.name for split, file in published.files.items()},
        "splits": "official" if published.official else "by position, 70/10/20 in each task",
        "strategies": [strategy],
        "embedder": embedder,
        "descriptions": known,
        "allow_mismatch": allow_mismatch,
    }

    def prepared() -> tuple[Collected, Any]:
        data = read_rows(files, strategy)
        missing = [name for name in known if name not in data.llm_ids]
        if known and (missing or len(known) < len(data.llm_ids)):
            raise UsageError(
                f"{descriptions} describes {', '.join(known)}, and the rows name "
                f"{', '.join(data.llm_ids)}; give the descriptions of the same LLMs"
            )
        reward, mismatches = rewards_of(data, strategy, allow_mismatch, str(path))
        data = in_order(replace(data, values=reward), published.official)
        for number, split in enumerate(SPLITS):
            if not (data.split_of_query == number).any():
                raise UsageError(
                    f"{path} has {len(data.queries)} queries, and none of them falls to the split "
                    f"{split!r}; give at least 10 queries a task, or official splits"
                )
        return data, mismatches

    with ThreadPoolExecutor(1) as pool:
        # Files of gigabytes are hashed while they are read, where it is known that they must be.
        hashes = {name: pool.submit(sha256_file, file) for name, file in published.files.items()}
        # Refused rows must leave no folder behind that stands for them.
        ready = None if (Path(out) / CONFIG).exists() else prepared()
        defining = configuration | {
            "version": IMPORT_VERSION,
            "files": {name: future.result() for name, future in hashes.items()},
            "embedder": PUBLISHED if maker is None else dict(maker.fingerprint()),
        }
    with DataFolder.open(Path(out), defining) as folder:
        if folder.is_whole():
            return ImportedData(folder.path, read_json(folder.path / MANIFEST), changed=False)
        data, mismatches = ready or prepared()
        manifest = write_folder(
            folder, data, strategy, configuration, defining, maker, known, mismatches
        )
    return ImportedData(Path(out), manifest, changed=True)


def read_rows(files: Mapping[str, TableFile], strategy: str) -> Collected:
    """Read and check all rows of the files.

    Raises:
        UsageError: see `InteractionRows`.
    """
    first = next(iter(files.values()))
    value = "reward" if strategy == "multi_cost_efficiency" else "best_answer"
    optional = {name for name in (*OF_QUERY, *OF_TASK, "response") if name in first.columns}
    if strategy == "multi_cost_efficiency":
        optional |= {"performance_preference"}
        optional |= {"best_llm"} & set(first.columns)
    rows = InteractionRows(value, frozenset(optional))
    for split, file in files.items():
        rows.add(file, SPLITS.index(split) if split in SPLITS else 0)
    return rows.collect()


def rewards_of(
    data: Collected, strategy: str, allow_mismatch: bool, where: str
) -> tuple[Floats, dict[str, int]]:
    """Return [U, Q, M] rewards, and how many rows contradict the other columns.

    multi_cost_efficiency: the file's own reward. llm_judge: 1/k for each of k chosen answers;
    NaN where none is, since no choice is not a choice of all.

    Raises:
        UsageError: a contradiction, unless allowed.
    """
    if strategy == "llm_judge":
        chosen = data.values.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return data.values / chosen, {"without_choice": int((chosen == 0).sum())}
    assert data.preference is not None
    wrong_reward, wrong_best = 0, 0
    for u, alpha in enumerate(data.preference):  # a user at a time: flat memory
        told = alpha * data.effect - (1 - alpha) * data.cost
        off = np.abs(data.values[u] - told) > TOLERANCE
        wrong_reward += int(off.sum())
        lost = np.zeros(len(data.queries), dtype=np.bool_)
        if data.best is not None:
            named = np.take_along_axis(data.values[u], data.best[u][:, None], axis=-1)[:, 0]
            lost = (data.best[u] < 0) | (named < data.values[u].max(axis=-1) - TOLERANCE)
            wrong_best += int(lost.sum())
        if not allow_mismatch and (off.any() or lost.any()):
            q = int(np.argmax(off.any(axis=-1) | lost))
            what = "best_llm is not an LLM with the highest reward"
            if off[q].any():
                m = int(off[q].argmax())
                what = (
                    f"LLM {data.llm_ids[m]!r}: reward {data.values[u, q, m]:g}, but "
                    f"{alpha:g} · effect − {1 - alpha:g} · cost is {told[q, m]:g}"
                )
            raise UsageError(
                f"{where}, user {data.user_ids[u]!r}, query {data.queries[q][:60]!r}: {what}; "
                "correct the file, or keep its rewards as they are with --allow-mismatch"
            )
    return data.values, {"reward": wrong_reward, "best_llm": wrong_best}


def in_order(data: Collected, official: bool) -> Collected:
    """Sort queries by task, then split; cut each task by position where there is no official split.

    So a file that is exported again has the order that the authors' code cuts by position.
    """
    split = data.split_of_query.astype(np.int64)
    if not official:
        split = np.zeros(len(data.queries), dtype=np.int64)
        for task in range(len(data.task_ids)):
            mine = np.flatnonzero(data.task_of_query == task)
            train = int(len(mine) * TRAIN_SHARE)
            split[mine[train:]] = 1
            split[mine[train + int(len(mine) * VALIDATION_SHARE) :]] = 2
    order: Ints = np.lexsort((np.arange(len(split)), split, data.task_of_query))

    def take(texts: list[Any]) -> list[Any]:
        return [texts[q] for q in order]

    return replace(
        data,
        queries=take(data.queries),
        task_of_query=data.task_of_query[order],
        split_of_query=split[order],
        query_texts={name: take(texts) for name, texts in data.query_texts.items()},
        responses=take(data.responses),
        effect=data.effect[order],
        cost=data.cost[order],
        values=data.values[:, order],
        best=None if data.best is None else data.best[:, order],
    )


def read_descriptions(path: Path) -> dict[str, dict[str, Any]]:
    """Read ``{"LLM": {"feature": …, "input_price": …, "output_price": …, "model": …}}``.

    Beyond the authors' keys, ``parameters_billion`` may tell the size; each key may be left out.

    Raises:
        UsageError: not such a file, or a price that is no number.
    """
    told = read_json(path)
    if not isinstance(told, dict) or not all(isinstance(entry, dict) for entry in told.values()):
        raise UsageError(f'{path}: expected {{"LLM": {{"feature": …, "input_price": …}}}}')
    for name, entry in told.items():
        for key in ("input_price", "output_price", "parameters_billion"):
            price = entry.get(key)
            good = isinstance(price, int | float) and not isinstance(price, bool) and price >= 0
            if price is not None and not (good and np.isfinite(price)):
                raise UsageError(f"{path}, {name!r}: {key} is {price!r}; give a number, or null")
        for key in ("feature", "model"):
            if not isinstance(entry.get(key, ""), str):
                raise UsageError(f"{path}, {name!r}: {key} is not a text")
    keys = ("feature", "input_price", "output_price", "model", "parameters_billion")
    return {name: {key: entry.get(key) for key in keys} for name, entry in told.items()}
