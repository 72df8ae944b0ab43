"""How rows of somebody's data set become queries: the YAML schema of field mappings.

    tasks:
      - task_id: gsm8k
        description: School maths word problems
        dataset: openai/gsm8k       # a data set that `datasets` can load, or path: FILE
        config: main
        split: test
        metric: GSM8K
        licence: MIT
        fields:
          query: question           # a column, a path such as answers.text.0, or a template
          ground_truth: answer
        prompt: |                   # what the LLMs are sent; default: the query
          {query}

          End with a line "#### number".

A template replaces ``{column}`` (or ``{path.to.value}``) by the row's value and ``{{`` by ``{``; it
can do nothing else, so a mapping from a stranger is safe to use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import digest, hash_uniform
from personaroute_bench.scoring.registry import check_metric
from personaroute_bench.tasks.types import Query, Task, TaskSet

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_NUMBER = re.compile(r"[0-9]{1,9}")
QUERY_FIELDS = ("query", "ground_truth", "query_id", "metric", "task_id", "prompt")


class EmptyCell(UsageError):
    """A row has no query or no reference; public sets have some such rows, own files should not."""


@dataclass(frozen=True, slots=True)
class TaskMapping:
    """One entry of a mapping file: where one task's rows are and what their columns mean."""

    task_id: str
    name: str = ""
    description: str = ""
    licence: str = "unknown"
    metric: str = "f1_score"
    dataset: str | None = None
    """Name for `datasets.load_dataset`: a Hub data set, or ``json``, ``csv``, ``parquet``."""
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: str | tuple[str, ...] | None = None
    path: str | None = None
    """A local JSONL, CSV or Parquet file, in place of ``dataset``; relative to the YAML."""
    max_rows: int | None = None
    """Only so many rows are read, from the front; None: all."""
    prompt: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def task(self) -> Task:
        """Return the row of the `tasks` table."""
        return Task(
            task_id=self.task_id,
            name=self.name or self.task_id,
            description=self.description or self.task_id,
            metric=self.metric,
            source=self.dataset or Path(self.path or "").name,
            licence=self.licence,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return the JSON value of all that decides the queries."""
        return {**asdict(self), "data_files": self.data_files and list(self.files())}

    def files(self) -> tuple[str, ...]:
        """Return ``data_files`` as a tuple."""
        given = self.data_files or ()
        return (given,) if isinstance(given, str) else tuple(given)


def read_mappings(path: Path) -> tuple[TaskMapping, ...]:
    """Read a mapping file.

    Raises:
        UsageError: unreadable, no YAML, unknown or missing keys, wrong types, unknown metric.
    """
    from personaroute_bench.llms._yaml import YamlFile

    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot read the task mapping {path}: {reason}") from error
    file = YamlFile(raw, str(path))
    content = file.value(file.root)
    entries = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path}: expected a key 'tasks' with a list of tasks (docs/tasks.md)")
    mappings = tuple(
        _mapping(entry, f"{path}, task {number}") for number, entry in enumerate(entries, start=1)
    )
    ids = [mapping.task_id for mapping in mappings]
    for task_id in ids:
        if ids.count(task_id) > 1:
            raise UsageError(f"{path}: task_id {task_id!r} occurs twice; give each task its own")
    return mappings


def _mapping(entry: Any, place: str) -> TaskMapping:
    if not isinstance(entry, dict):
        raise UsageError(f"{place}: expected keys and values, got {_short(entry)}")
    known = [known.name for known in fields(TaskMapping)]
    for key, value in entry.items():
        if key not in known:
            raise UsageError(f"{place}: unknown key {key!r}{did_you_mean(str(key), known)}")
        if not _has_type(key, value):
            raise UsageError(f"{place}: {key} cannot be {_short(value)}; see docs/tasks.md")
    values = {key: value for key, value in entry.items() if value is not None}
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    _check_characters(texts | values.get("fields", {}), place)
    if isinstance(values.get("data_files"), list):
        values["data_files"] = tuple(values["data_files"])
    if not values.get("task_id"):
        raise UsageError(f"{place}: task_id is missing; give the task a short name")
    if bool(values.get("dataset")) == bool(values.get("path")):
        raise UsageError(f"{place}: give either 'dataset' (for the Hub) or 'path' (a file)")
    mapping = TaskMapping(**values)
    for name in mapping.fields:
        if name not in QUERY_FIELDS:
            raise UsageError(f"{place}: unknown field {name!r}{did_you_mean(name, QUERY_FIELDS)}")
    try:
        check_metric(mapping.metric)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    return mapping


def _short(value: Any) -> str:
    return repr(value)[:80]


def _has_type(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key == "fields":
        return isinstance(value, dict) and all(
            isinstance(name, str) and isinstance(column, str) for name, column in value.items()
        )
    if key == "max_rows":
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    if key == "data_files" and isinstance(value, list):
        return all(isinstance(name, str) for name in value)
    return isinstance(value, str)


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """Return ``row["answers"]["text"][0]`` for ``answers.text.0``.

    Raises:
        LookupError: there is no such value.
    """
    if path in row:  # a column's own name may hold dots
        return row[path]
    value: Any = row
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif (
            isinstance(value, (list, tuple)) and _NUMBER.fullmatch(step) and int(step) < len(value)
        ):
            value = value[int(step)]
        else:
            raise LookupError(path)
    return value


def fill(template: str, row: Mapping[str, Any]) -> str:
    """Replace ``{path}`` by the row's values; nothing else is interpreted.

    Raises:
        LookupError: a value that the template names is not there.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        return _text(value_at(row, match[1].strip())) or ""

    return _PLACEHOLDER.sub(replace, template)


def _text(value: Any) -> str | None:
    """Return a cell as text: a list joined by line breaks, a whole float without its ``.0``."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return "\n".join(_text(part) or "" for part in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def make_query(mapping: TaskMapping, row: Mapping[str, Any], place: str) -> Query:
    """Turn one row into a query.

    Without a query_id of its own, a query is named by a hash of its content, so that its id
    survives another order of the rows.

    Raises:
        UsageError: a missing column, an unknown metric, text that is none; names the place.
        EmptyCell: an empty query or ground truth.
    """
    cells: dict[str, str] = {}
    for name in QUERY_FIELDS:
        written = mapping.fields.get(name)
        if written is None and name not in ("query", "ground_truth") and name not in row:
            continue
        column = written or name
        try:
            value = fill(column, row).strip() if "{" in column else _text(value_at(row, column))
        except LookupError as error:
            have = [str(known) for known in row]
            if "." in column and column.split(".")[0] in row:  # answers.text.0 of an empty list
                continue
            raise UsageError(
                f"{place}: no column {error.args[0]!r} for {name}"
                f"{did_you_mean(str(error.args[0]), have)}; map it with fields (docs/tasks.md)"
            ) from None
        if value is not None and value.strip():
            cells[name] = value
    for name in ("query", "ground_truth"):
        if name not in cells:
            column = mapping.fields.get(name, name)
            raise EmptyCell(f"{place}, column {column!r}: {name} is empty; fill it or drop the row")
    metric = cells.get("metric", mapping.metric)
    try:
        check_metric(metric)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
    task_id = cells.get("task_id", mapping.task_id)
    prompt = cells.get("prompt", cells["query"])
    if mapping.prompt is not None:
        try:
            prompt = fill(mapping.prompt, {**row, **cells})
        except LookupError as error:
            raise UsageError(
                f"{place}: the prompt names {{{error.args[0]}}}, which is no column of the row"
            ) from None
    _check_characters(cells | {"task_id": task_id, "prompt": prompt}, place)
    content = digest([task_id, cells["query"], cells["ground_truth"], prompt, metric])
    return Query(
        query_id=cells.get("query_id", f"{task_id}-{content[:16]}"),
        task_id=task_id,
        query=cells["query"],
        prompt=prompt,
        ground_truth=cells["ground_truth"],
        metric=metric,
    )


def _check_characters(texts: Mapping[str, str], place: str) -> None:
    """Raise UsageError for half of a surrogate pair, which JSON can spell and no file can hold."""
    for name, text in texts.items():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{place}: {name} holds {text[error.start]!a}, half of a character; write the "
                "whole character or remove it"
            ) from None


def assemble(
    tasks: Iterable[Task],
    queries: Iterable[Query],
    *,
    seed: int,
    queries_per_task: int | None,
    where: str,
) -> TaskSet:
    """Sample the queries of each task, sort them, and keep the tasks that have any.

    A query is kept by the hash of (seed, its id), so asking for more keeps those that were there.
    Equal rows count once.

    Raises:
        UsageError: one id for two different queries, nothing left, a sample size below one.
    """
    check_sample_size(queries_per_task)
    by_id: dict[str, Query] = {}
    for query in queries:
        if by_id.setdefault(query.query_id, query) != query:
            raise UsageError(
                f"{where}: query_id {query.query_id!r} stands for two different queries; "
                "make the ids unique, or leave the column out to have them made"
            )
    kept = [
        query
        for group in _grouped(by_id.values()).values()
        for query in sample(group, seed=seed, size=queries_per_task)
    ]
    if not kept:
        raise UsageError(f"{where}: holds no queries")
    held = {query.task_id for query in kept}
    return TaskSet(
        tasks=tuple(sorted((t for t in tasks if t.task_id in held), key=lambda t: t.task_id)),
        queries=tuple(sorted(kept, key=lambda query: (query.task_id, query.query_id))),
    )


def check_sample_size(queries_per_task: int | None) -> None:
    """Check that at least one query a task is asked for.

    Raises:
        UsageError: it is below one.
    """
    if queries_per_task is not None and queries_per_task < 1:
        raise UsageError(f"--queries-per-task is {queries_per_task}; give at least 1")


def sample(queries: Iterable[Query], *, seed: int, size: int | None) -> list[Query]:
    """Return the ``size`` queries of lowest seeded hash; all of them where size is None."""
    import heapq

    def place(query: Query) -> tuple[float, str]:
        return hash_uniform(seed, "queries", query.query_id), query.query_id

    return list(queries) if size is None else heapq.nsmallest(size, queries, key=place)


def check_task_ids(wanted: Iterable[str] | None, known: Iterable[str], where: str) -> None:
    """Check that every task that is asked for exists.

    Raises:
        UsageError: an unknown task; names it and what is known.
    """
    have = sorted(set(known))
    for task_id in wanted or ():
        if task_id not in have:
            raise UsageError(f"unknown task {task_id!r} in {where}{did_you_mean(task_id, have)}")


def _grouped(queries: Iterable[Query]) -> dict[str, list[Query]]:
    groups: dict[str, list[Query]] = {}
    for query in queries:
        groups.setdefault(query.task_id, []).append(query)
    return groups
