"""Queries and responses that exist already: `bench generate --responses FILE`.

FILE is Parquet, JSONL or CSV with one row a (query, LLM):

    task_id, query_id, query, ground_truth, metric, llm (or llm_id), response

and, where it has them, prompt, score, licence, and the usage columns of
`recorded_file.OPTIONAL`. Ids stand
verbatim in every table that is made from it. `tasks.json` beside FILE may describe the tasks:
``{"gsm8k": {"description": …, "licence": …}}``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.files import read_json, sha256_file
from personaroute_bench.scoring.registry import check_metric, is_recorded_only
from personaroute_bench.tasks.mapping import assemble, check_task_ids
from personaroute_bench.tasks.recorded_file import RecordedFile
from personaroute_bench.tasks.types import Query, Task, TaskSet

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = ("task_id", "query", "ground_truth", "metric", "prompt", "licence")


class RecordedResponses:
    """A TaskSource that brings its own responses.

    Args:
        path: the file.
        llm_ids: only these LLMs; None: all of the file. A query is delivered if it has a response
            of each of them.

    Attributes:
        dropped: after `load`, what was left out for want of responses, as a sentence; else "".

    Raises:
        UsageError: no such file, broken, a missing column, an LLM that the file does not have.
    """

    def __init__(self, path: str | Path, llm_ids: Sequence[str] | None = None):
        self._file = RecordedFile(Path(path))
        self.dropped = ""
        have = self._file.llm_ids()
        for llm_id in llm_ids or ():
            if llm_id not in have:
                raise UsageError(
                    f"{self._file.path} has no responses of LLM {llm_id!r}"
                    f"{did_you_mean(llm_id, have)} (choose among its LLMs with --llms or --pool)"
                )
        self.llm_ids = list(llm_ids) if llm_ids is not None else have

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the hash of the file; not where it lies, and not the LLMs chosen."""
        return {"source": "recorded", "sha256": sha256_file(self._file.path)}

    def load(
        self, *, seed: int, queries_per_task: int | None, task_ids: Sequence[str] | None
    ) -> TaskSet:
        """Deliver the queries that are complete for the chosen LLMs; see `TaskSource.load`.

        Raises:
            UsageError: also a repeated (query, LLM), one query_id with two texts, an empty cell,
                an unknown metric, no query that is complete.
        """
        rows = self._file.index(self.llm_ids)
        first, responses = self._distinct(rows)
        known = sorted(set(rows["task_id"].to_pylist()))
        check_task_ids(task_ids, known, str(self._file.path))
        table = rows.take(first)
        scored = "score" in self._file.columns
        cells = {
            name: table[name].to_pylist()
            for name in ("query_id", *_TEXTS)
            if name in rows.schema.names
        }
        queries: list[Query] = []
        licences: dict[str, str | None] = {}
        short: Counter[str] = Counter()
        for number, count in enumerate(responses):
            cell = {name: values[number] for name, values in cells.items()}
            if task_ids is not None and cell["task_id"] not in task_ids:
                continue
            if count < len(self.llm_ids):
                short[cell["task_id"]] += 1
                continue
            queries.append(self._query(cell, scored))
            licences.setdefault(cell["task_id"], cell.get("licence"))
        self.dropped = self._explain(short, len(queries))
        if not queries or set(task_ids or ()) - set(licences):
            raise UsageError(self._incomplete(rows, short))
        return assemble(
            self._tasks(queries, licences),
            queries,
            seed=seed,
            queries_per_task=queries_per_task,
            where=str(self._file.path),
        )

    def responses(self, taskset: TaskSet, llm_ids: Sequence[str]) -> pa.Table:
        """Return the responses, ordered by query as in ``taskset``, then by LLM as given.

        Returns:
            Table of len(queries) · len(llm_ids) rows: query_id, llm_id, response, recorded_score
            (null where the file has none), and those of `recorded_file.OPTIONAL`
            that the file has.

        Raises:
            UsageError: a response is missing, or a cell holds what cannot be (a negative cost).
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        query_ids = [query.query_id for query in taskset.queries]
        table = self._file.responses(query_ids, llm_ids)
        query = pc.index_in(table["query_id"], pa.array(query_ids)).to_numpy()
        llm = pc.index_in(table["llm_id"], pa.array(list(llm_ids), pa.string())).to_numpy()
        place = query.astype(np.int64) * len(llm_ids) + llm
        order = np.full(len(query_ids) * len(llm_ids), -1, dtype=np.int64)
        order[place] = np.arange(len(place))
        if (order < 0).any() or len(place) != len(order):
            hole = int(np.argmax(order < 0))
            raise UsageError(
                f"{self._file.path} has not exactly one response of LLM "
                f"{llm_ids[hole % len(llm_ids)]!r} to query {query_ids[hole // len(llm_ids)]!r}"
            )
        return table.take(pa.array(order))

    def _distinct(self, rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return of each query its first row and its number of responses, having checked all."""
        codes = {name: _codes(rows[name]) for name in rows.schema.names if name != "row"}
        for name in ("query_id", "llm_id", "task_id", "query", "metric"):
            if (codes[name] < 0).any():
                self._complain(rows, int(np.argmax(codes[name] < 0)), f"{name} is empty; fill it")
        query, llm = codes["query_id"], codes["llm_id"]
        pair = query * (int(llm.max(initial=0)) + 1) + llm
        order = np.argsort(pair, kind="stable")
        repeated = np.flatnonzero(pair[order][1:] == pair[order][:-1])
        if repeated.size:
            one, two = order[repeated[0]], order[repeated[0] + 1]
            self._complain(
                rows, int(two), f"a second response of this LLM to this query (the first is in row "
                f"{rows['row'][int(one)].as_py()}); keep one",
            )  # fmt: skip
        _, first, inverse, count = np.unique(
            query, return_index=True, return_inverse=True, return_counts=True
        )
        for name in _TEXTS:
            if name in codes and name != "licence":
                differs = codes[name] != codes[name][first][inverse]
                if differs.any():
                    at = int(np.argmax(differs))
                    other = rows["row"][int(first[inverse[at]])].as_py()
                    self._complain(
                        rows, at, f"{name} differs from that in row {other}; one query_id stands "
                        "for one query, the same for every LLM",
                    )  # fmt: skip
        return first, count

    def _complain(self, rows: pa.Table, at: int, what: str) -> None:
        row = {name: rows[name][at].as_py() for name in ("row", "query_id", "llm_id")}
        raise UsageError(
            f"{self._file.path}, row {row['row']} (query_id {row['query_id']!r}, LLM "
            f"{row['llm_id']!r}): {what}"
        )

    def _query(self, cell: Mapping[str, Any], scored: bool) -> Query:
        where = f"{self._file.path}, query_id {cell['query_id']!r}"
        try:
            check_metric(cell["metric"], recorded_scores=scored)
        except UsageError as error:
            raise UsageError(f"{where}, column 'metric': {error}") from error
        if cell["ground_truth"] is None and not is_recorded_only(cell["metric"]):
            raise UsageError(
                f"{where}: ground_truth is empty, and metric {cell['metric']!r} needs one"
            )
        return Query(
            query_id=cell["query_id"],
            task_id=cell["task_id"],
            query=cell["query"],
            prompt=cell.get("prompt") or cell["query"],
            ground_truth=cell["ground_truth"],
            metric=cell["metric"],
        )

    def _tasks(self, queries: Sequence[Query], licences: Mapping[str, str | None]) -> list[Task]:
        beside = self._file.path.with_name("tasks.json")
        described = read_json(beside) if beside.is_file() else {}
        metrics: dict[str, Counter[str]] = {}
        for query in queries:
            metrics.setdefault(query.task_id, Counter())[query.metric] += 1
        tasks = []
        for task_id, used in metrics.items():
            about = described.get(task_id) if isinstance(described, dict) else None
            words = about if isinstance(about, dict) else {}

            def said(key: str, default: str, words: Mapping[str, Any] = words) -> str:
                return words[key] if isinstance(words.get(key), str) else default

            tasks.append(
                Task(
                    task_id=task_id,
                    name=said("name", task_id),
                    description=said("description", task_id),
                    metric=used.most_common(1)[0][0],
                    source=said("source", self._file.path.name),
                    licence=licences.get(task_id) or said("licence", "unknown"),
                )
            )
        return tasks

    def _explain(self, short: Mapping[str, int], kept: int) -> str:
        if not short:
            return ""
        tasks = ", ".join(f"{task} {number}" for task, number in sorted(short.items()))
        return (
            f"{sum(short.values())} of {sum(short.values()) + kept} queries lack a response of "
            f"some of the {len(self.llm_ids)} LLMs and are left out ({tasks})"
        )

    def _incomplete(self, rows: pa.Table, short: Mapping[str, int]) -> str:
        """Say which LLMs are to blame for a task without a complete query."""
        import pyarrow.compute as pc

        task_id = max(short, key=lambda task: short[task]) if short else ""
        mine = rows.filter(pc.equal(rows["task_id"].cast("string"), task_id))
        number = Counter(mine["llm_id"].to_pylist())
        fewest = sorted(self.llm_ids, key=lambda llm_id: number[llm_id])[:3]
        counts = ", ".join(f"{llm_id} {number[llm_id]}" for llm_id in fewest)
        return (
            f"{self._file.path}: no query of task {task_id!r} has a response of each of the "
            f"{len(self.llm_ids)} LLMs (fewest responses: {counts}); choose LLMs with --llms, or "
            "other tasks with --task-ids"
        )


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a number for each distinct value of a column, -1 for null and blank text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    codes: NDArray[np.int64] = np.array(indices, dtype=np.int64)
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(encoded.dictionary)), 0)
    empty = np.append(blank.to_numpy(zero_copy_only=False), False)
    codes[empty[codes]] = -1
    return codes
