"""Queries from public data sets through the `datasets` library, by a YAML of field mappings.

`datasets` keeps what it has downloaded in its cache as memory-mapped Arrow files, so a second run
needs no network, and reading a sample holds one row at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.files import sha256_file
from personaroute_bench.tasks.mapping import (
    EmptyCell,
    TaskMapping,
    assemble,
    check_sample_size,
    check_task_ids,
    make_query,
    read_mappings,
    sample,
)
from personaroute_bench.tasks.types import Query, TaskSet

BUNDLED = Path(__file__).with_name("hub-tasks.yaml")


class Hub:
    """A TaskSource over the data sets that a mapping file names.

    Args:
        mappings: a YAML file; default: the paper's public sets.

    Raises:
        UsageError: the file is no valid mapping.
    """

    def __init__(self, mappings: str | Path = BUNDLED):
        self.path = Path(mappings)
        self._mappings = read_mappings(self.path)

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the mappings, with the hashes of local data files; not where they lie."""
        return {
            "source": "hub",
            "tasks": [mapping.fingerprint() for mapping in self._mappings],
            "sha256": [
                sha256_file(path)
                for mapping in self._mappings
                for path in (self.path.parent / name for name in mapping.files())
                if path.is_file()
            ],
        }

    def load(
        self, *, seed: int, queries_per_task: int | None, task_ids: Sequence[str] | None
    ) -> TaskSet:
        """Deliver the queries; see `TaskSource.load`. Only the tasks asked for are downloaded."""
        check_sample_size(queries_per_task)
        check_task_ids(task_ids, (m.task_id for m in self._mappings), str(self.path))
        chosen = [m for m in self._mappings if task_ids is None or m.task_id in task_ids]
        queries: list[Query] = []
        for mapping in chosen:
            rows = hub_queries(mapping, self.path.parent)
            queries += sample(rows, seed=seed, size=queries_per_task)
        return assemble(
            (mapping.task() for mapping in chosen),
            queries,
            seed=seed,
            queries_per_task=queries_per_task,
            where=str(self.path),
        )


def hub_queries(mapping: TaskMapping, folder: Path) -> Iterator[Query]:
    """Yield the queries of one data set, each distinct one once.

    Rows without a query or a reference are left out: public sets have some.

    Args:
        mapping: names the data set and its columns.
        folder: where relative ``data_files`` are looked for first.

    Raises:
        UsageError: the data set cannot be had, or a mapped column is not in it.
    """
    rows = _open(mapping, folder)
    count = len(rows) if mapping.max_rows is None else min(mapping.max_rows, len(rows))
    seen: set[str] = set()
    for number in range(count):
        place = f"{mapping.dataset}, split {mapping.split}, row {number}"
        try:
            query = make_query(mapping, rows[number], place)
        except EmptyCell:
            continue
        if query.query_id not in seen:
            seen.add(query.query_id)
            yield query


def _open(mapping: TaskMapping, folder: Path) -> Any:
    """Return the rows as a `datasets.Dataset`."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    local = [folder / name for name in mapping.files()]
    data_files = [
        str(path) if path.exists() else name
        for path, name in zip(local, mapping.files(), strict=True)
    ]
    name = f"{mapping.dataset} ({mapping.config or 'default'}, {mapping.split})"
    try:
        return datasets.load_dataset(
            str(mapping.dataset),
            name=mapping.config,
            split=mapping.split,
            revision=mapping.revision,
            data_files=data_files or None,
        )
    except (DatasetNotFoundError, FileNotFoundError, ConnectionError, OSError) as error:
        # Offline, the library says of every data set that it is not cached or not found.
        raise UsageError(
            f"cannot get {name}: {_first_line(error)}. Either the Hub cannot be reached (connect "
            "once, or point HF_HOME to a cache that holds it), or the data set is gone, private or "
            "misspelt; --tasks embedded needs no download, --task-ids leaves this task out"
        ) from error
    except (ValueError, RuntimeError) as error:  # no such config or split, a loading script
        raise UsageError(
            f"cannot read {name}: {_first_line(error)}. Correct dataset, config, split or revision "
            "in the task mapping (docs/tasks.md), or leave this task out with --task-ids"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
