"""Queries from one's own files: JSONL, CSV, Parquet, or a YAML that maps several of them.

A JSONL file needs no more than this (docs/tasks.md lists the further columns):

    {"query": "Which river runs through Prague?", "ground_truth": "the Vltava"}
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.files import sha256_file
from personaroute_bench.tasks.mapping import (
    QUERY_FIELDS,
    TaskMapping,
    assemble,
    check_task_ids,
    make_query,
    read_mappings,
)
from personaroute_bench.tasks.types import Query, Task, TaskSet

TABLE_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
MAPPING_SUFFIXES = (".yaml", ".yml")
# A cell may hold a long document; Python's own limit is 128 KiB.
_MAX_CELL = 64 * 1024 * 1024


class TaskFile:
    """A TaskSource over a local file.

    Args:
        path: JSONL, CSV or Parquet with one query a row, or a YAML of field mappings.
        columns: what the file calls our fields, for instance ``{"query": "question"}``.

    Raises:
        UsageError: no such file, an unknown kind of file, an unknown field.
    """

    def __init__(self, path: str | Path, columns: Mapping[str, str] | None = None):
        self.path = Path(path)
        if not self.path.is_file():
            raise UsageError(f"no file {self.path}; give a JSONL, CSV, Parquet or YAML file")
        for name in columns or ():
            if name not in QUERY_FIELDS:
                raise UsageError(f"unknown field {name!r}{did_you_mean(name, QUERY_FIELDS)}")
        suffix = self.path.suffix.lower()
        if suffix in MAPPING_SUFFIXES:
            self._mappings = read_mappings(self.path)
        elif suffix in TABLE_SUFFIXES:
            mapping = TaskMapping(self.path.stem, path=self.path.name, fields=dict(columns or {}))
            self._mappings = (mapping,)
        else:
            known = ", ".join((*TABLE_SUFFIXES, *MAPPING_SUFFIXES))
            raise UsageError(f"{self.path}: cannot read {suffix or 'a file without suffix'!r}; "
                             f"give one of {known}")  # fmt: skip

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the mappings and the hashes of the files; not where they lie."""
        return {
            "source": "file",
            "tasks": [mapping.fingerprint() for mapping in self._mappings],
            "sha256": [sha256_file(path) for path in self._files()],
        }

    def load(
        self, *, seed: int, queries_per_task: int | None, task_ids: Sequence[str] | None
    ) -> TaskSet:
        """Deliver the queries; see `TaskSource.load`."""
        queries = [query for mapping in self._mappings for query in self._queries(mapping)]
        found = {query.task_id for query in queries}
        check_task_ids(task_ids, found, str(self.path))
        wanted = found if task_ids is None else set(task_ids)
        return assemble(
            self._tasks(queries),
            [query for query in queries if query.task_id in wanted],
            seed=seed,
            queries_per_task=queries_per_task,
            where=str(self.path),
        )

    def _files(self) -> list[Path]:
        found = []
        for mapping in self._mappings:
            if mapping.path:
                found.append(self.path.parent / mapping.path)
            found += [self.path.parent / name for name in mapping.files()]
        missing = [path for path in found if not path.is_file()]
        if missing:
            raise UsageError(f"{self.path} names {missing[0]}, and there is no such file")
        return found

    def _queries(self, mapping: TaskMapping) -> Iterator[Query]:
        if mapping.dataset is not None:
            from personaroute_bench.tasks.hub import hub_queries

            yield from hub_queries(mapping, self.path.parent)
            return
        path = self.path.parent / (mapping.path or "")
        for count, (place, row) in enumerate(read_rows(path)):
            if mapping.max_rows is not None and count >= mapping.max_rows:
                return
            yield make_query(mapping, row, place)

    def _tasks(self, queries: Sequence[Query]) -> list[Task]:
        """Return the tasks of the mappings, and one for each further id in a task_id column."""
        tasks = {mapping.task_id: mapping.task() for mapping in self._mappings}
        first = self._mappings[0].task()
        metrics: dict[str, Counter[str]] = {}
        for query in queries:
            metrics.setdefault(query.task_id, Counter())[query.metric] += 1
        for task_id, used in metrics.items():
            task = tasks.get(task_id) or replace(
                first, task_id=task_id, name=task_id, description=task_id
            )
            tasks[task_id] = replace(task, metric=used.most_common(1)[0][0])
        return list(tasks.values())


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a JSONL, CSV or Parquet file; the place names file and row.

    Raises:
        UsageError: missing or broken file.
    """
    suffix = path.suffix.lower()
    reader = {".csv": _read_csv, ".parquet": _read_parquet}.get(suffix, _read_jsonl)
    if suffix not in TABLE_SUFFIXES:
        raise UsageError(f"{path}: not one of {', '.join(TABLE_SUFFIXES)}")
    try:
        for number, row in reader(path):
            yield f"{path}, row {number}", row
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}, row {number}: not valid JSON: {error}") from error
            if not isinstance(row, dict):
                raise UsageError(f"{path}, row {number}: expected an object {{…}} on each line")
            yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    limit = csv.field_size_limit(_MAX_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise UsageError(
                        f"{path}, row {number}: has not as many cells as the header; put text "
                        "with commas or line breaks in double quotes"
                    )
                yield number, row
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: broken CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            number = 0
            for batch in parquet.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise UsageError(f"{path} is not a readable Parquet file: {error}") from error
