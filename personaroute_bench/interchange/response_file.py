"""What formats without users become: `responses.parquet` and `pool.yaml` for `bench generate`.

Every importer yields tables with the columns of `SCHEMA` and says where they come from; they are
checked and written block by block.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from personaroute_bench.benchmark import Bools, Ints
from personaroute_bench.errors import UsageError
from personaroute_bench.files import disk_error, marked, write_json
from personaroute_bench.interchange.interaction_rows import FirstSeen, Names
from personaroute_bench.llms.types import STATUSES

# The metric of scores that were recorded and cannot be computed again.
RECORDED = "recorded_score"
_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    {
        "task_id": _TEXT,
        "query_id": _TEXT,
        "query": _TEXT,
        "prompt": _TEXT,
        "ground_truth": _TEXT,
        "metric": _TEXT,
        "llm_id": _TEXT,
        "response": _TEXT,
        "score": _NUMBER,
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "cost_usd": _NUMBER,
        "latency_s": _NUMBER,
        "status": _TEXT,
        "error_type": _TEXT,
    }
)
# Texts that must be the same in every row of a query.
_OF_QUERY = ("task_id", "query", "prompt", "ground_truth", "metric")
_ROWS = 4096
_MAX_LLMS = 1 << 16


@dataclass(frozen=True, slots=True)
class Origin:
    """Rows that come from one place."""

    path: Path
    first: int
    """Number of the first row there, counted from 1."""
    table: pa.Table
    """Columns of `SCHEMA`; those that are left out are null."""


@dataclass(frozen=True, slots=True)
class Source:
    """A format that was opened: what it is, its rows, and what is known of its LLMs."""

    format: str
    path: Path
    """What was given, for messages."""
    rows: Iterator[Origin]
    llms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """LLM to fields of the pool file."""
    free_is_unknown: bool = False
    """Whether an LLM all of whose costs are 0 is one whose price nobody knew."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written."""

    directory: Path
    rows: int
    queries: int
    tasks: int
    llms: tuple[str, ...]
    unpriced: tuple[str, ...]
    """LLMs with neither a price nor a cost of each response."""
    notes: tuple[str, ...]


def write_responses(source: Source, out: str | Path) -> Converted:
    """Write the folder, whole or not at all.

    Args:
        source: an opened format.
        out: a new or empty folder.

    Raises:
        UsageError: the folder holds files, or a row is wrong; names file, row, value and remedy.
        BenchError: no space, no permission.
    """
    out = Path(out)
    check_new_folder(out)
    aside = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        check = _Check()
        with pq.ParquetWriter(
            aside / "responses.parquet",
            SCHEMA.with_metadata(marked(None, "recorded")),
            compression="zstd",
        ) as writer:
            for origin in source.rows:
                writer.write_table(check(origin))
        done = _finish(aside, source, check, out)
        if out.exists():
            out.rmdir()
        aside.replace(out)
    except OSError as error:
        raise disk_error(error, out) from error
    except (pa.ArrowException, UnicodeError, OverflowError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{source.path} cannot be read as {source.format}: {reason[:300]}; correct the cell, "
            "or take the file away"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return done


def check_new_folder(out: Path) -> None:
    """Raise UsageError unless `out` can be put in place whole: new or empty, and with a name."""
    if not out.name:
        raise UsageError(f"--out {out} is where you are; name a new folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder; give a new one")


def in_blocks(path: Path, rows: Iterable[Mapping[str, Any]], first: int = 1) -> Iterator[Origin]:
    """Make tables of rows that are read one by one (JSON)."""
    block: list[Mapping[str, Any]] = []
    for row in rows:
        block.append(row)
        if len(block) == _ROWS:
            yield Origin(path, first, _table(path, first, block))
            first, block = first + len(block), []
    if block:
        yield Origin(path, first, _table(path, first, block))


def _table(path: Path, first: int, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(list(rows), schema=SCHEMA)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise UsageError(f"{path}, rows from {first}: {error}; correct the cell") from error


class _Check:
    """Looks at every block: what is missing, doubled or contradictory ends the import."""

    def __init__(self) -> None:
        self.names = {name: Names() for name in (*_OF_QUERY, "query_id", "llm_id")}
        self.facts = {name: FirstSeen(-1) for name in _OF_QUERY}
        self.places: list[tuple[int, Path, int]] = []
        self.pairs: list[Ints] = []
        self.count = 0
        self.unscored = 0
        self.blank = 0
        self.cost = np.zeros(0)
        self.unknown = np.zeros(0, dtype=np.int64)

    def __call__(self, origin: Origin) -> pa.Table:
        table = origin.table
        for name in SCHEMA.names:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(table.num_rows))
        table = _plain_ids(table.select(SCHEMA.names).cast(SCHEMA))
        code = {
            name: held.codes(table[name].combine_chunks().dictionary_encode())
            for name, held in self.names.items()
        }
        for name in ("query_id", "task_id", "query", "metric", "llm_id"):
            self._refuse(origin, code[name] < 0, f"{name} is empty", "fill it")
        for name in ("score", "cost_usd", "latency_s", "prompt_tokens", "completion_tokens"):
            column = table[name].to_numpy()
            top = 1.0 if name == "score" else 1e15
            with np.errstate(invalid="ignore"):
                outside = (column < 0) | (column > top)
            self._refuse(
                origin,
                outside,
                f"{name} is not between 0 and {top:g}",
                "correct it, or leave it out",
            )
        known = pc.is_in(table["status"], pa.array([*STATUSES, None], pa.string()))
        self._refuse(
            origin,
            ~known.to_numpy(),
            "status is none that is known",
            f"statuses are {', '.join(STATUSES)}, and it may be left out",
        )
        for name, fact in self.facts.items():
            # One is added so that a blank text is a value of its own.
            at = fact.differs(code["query_id"], code[name] + 1)
            if at is not None:
                self._fail(
                    origin,
                    at,
                    f"{name} is not what an earlier row says of the same query",
                    "a query and how it is scored are the same for every LLM",
                )
        if len(self.names["llm_id"].list) >= _MAX_LLMS:
            raise UsageError(f"{origin.path} names {_MAX_LLMS} LLMs or more; is the column right?")
        self._count(table, code["llm_id"])
        self.places.append((self.count, origin.path, origin.first))
        self.pairs.append(code["query_id"] * _MAX_LLMS + code["llm_id"])
        self.count += table.num_rows
        return table

    def _count(self, table: pa.Table, llm: Ints) -> None:
        size = len(self.names["llm_id"].list)
        cost = table["cost_usd"].to_numpy()
        self.cost = _longer(self.cost, size) + np.bincount(llm, np.nan_to_num(cost), minlength=size)
        self.unknown = _longer(self.unknown, size) + np.bincount(
            llm, np.isnan(cost), minlength=size
        ).astype(np.int64)
        recorded = pc.equal(table["metric"], RECORDED).to_numpy(zero_copy_only=False)
        self.unscored += int((recorded & np.isnan(table["score"].to_numpy())).sum())
        self.blank += int(pc.sum(pc.equal(pc.fill_null(table["response"], ""), "")).as_py() or 0)

    def whole(self, given: Path) -> None:
        """Raise where there is no row, or one (query, LLM) twice."""
        if not self.count:
            raise UsageError(f"{given} holds no rows; give files that hold responses")
        pairs = np.concatenate(self.pairs)
        order = np.argsort(pairs, kind="stable")
        again = order[1:][pairs[order][1:] == pairs[order][:-1]]
        if len(again):
            at = int(again.min())
            start, path, first = next(entry for entry in reversed(self.places) if entry[0] <= at)
            llm = self.names["llm_id"].list[int(pairs[at]) % _MAX_LLMS]
            query = self.names["query_id"].list[int(pairs[at]) // _MAX_LLMS]
            raise UsageError(
                f"{path}, row {first + at - start}: a second response of LLM {llm!r} to query "
                f"{query!r}; keep one"
            )

    def _refuse(self, origin: Origin, wrong: Bools, what: str, remedy: str) -> None:
        if wrong.any():
            self._fail(origin, int(wrong.argmax()), what, remedy)

    def _fail(self, origin: Origin, at: int, what: str, remedy: str) -> None:
        row = {name: origin.table[name][at].as_py() for name in ("query_id", "llm_id")}
        raise UsageError(
            f"{origin.path}, row {origin.first + at} (query {row['query_id']!r}, LLM "
            f"{row['llm_id']!r}): {what}; {remedy}"
        )


def _longer(values: Any, size: int) -> Any:
    return np.concatenate([values, np.zeros(size - len(values), dtype=values.dtype)])


def _finish(folder: Path, source: Source, check: _Check, out: Path) -> Converted:
    """Write the pool and the tasks."""
    import yaml

    check.whole(source.path)
    llms = check.names["llm_id"].list
    free = [
        name
        for name, cost, unknown in zip(llms, check.cost, check.unknown, strict=True)
        if source.free_is_unknown and cost == 0 and not unknown
    ]
    if free:
        _forget_costs(folder / "responses.parquet", free)
    entries, unpriced = [], []
    known = {_plain(name): dict(told) for name, told in source.llms.items()}
    for name, unknown in zip(llms, check.unknown, strict=True):
        told = known.get(name, {})
        entry = {"id": name, "name": name, "model": name, "provider": "recorded"} | told
        # Prices that nobody told stand as null: fill them in, 0 only where a call is free.
        entry = {"input_price": None, "output_price": None} | entry
        entries.append(dict(sorted(entry.items(), key=lambda item: item[0] != "id")))
        if (unknown or name in free) and entry["input_price"] is None:
            unpriced.append(name)
    text = yaml.safe_dump({"llms": entries}, sort_keys=False, allow_unicode=True)
    (folder / "pool.yaml").write_text(text, encoding="utf-8")
    tasks = check.names["task_id"].list
    write_json(
        folder / "tasks.json",
        {
            task: {"source": f"{source.format} data, imported", "licence": "unknown"}
            for task in tasks
        },
    )
    notes = []
    if free:
        notes.append(
            f"every response of {_some(free)} is said to have cost 0: taken as unknown, not free"
        )
    if check.unscored:
        notes.append(f"{check.unscored:,} responses have no score; their status will be error")
    if check.blank:
        notes.append(f"{check.blank:,} responses have no text")
    return Converted(
        directory=out,
        rows=check.count,
        queries=len(check.names["query_id"].list),
        tasks=len(tasks),
        llms=tuple(llms),
        unpriced=tuple(unpriced),
        notes=tuple(notes),
    )


def _forget_costs(path: Path, llms: Sequence[str]) -> None:
    """Make the costs of these LLMs null."""
    aside = path.with_suffix(".next")
    place = SCHEMA.get_field_index("cost_usd")
    with (
        pq.ParquetFile(path) as old,
        pq.ParquetWriter(aside, old.schema_arrow, compression="zstd") as new,
    ):
        for batch in old.iter_batches():
            free = pc.is_in(batch["llm_id"], pa.array(list(llms)))
            cost = pc.if_else(free, pa.scalar(None, pa.float64()), batch["cost_usd"])
            table = pa.Table.from_batches([batch])
            new.write_table(table.set_column(place, SCHEMA.field(place), cost))
    aside.replace(path)


def _plain(name: str) -> str:
    """Return a name as a pool file takes it for an id: without spaces and commas."""
    return re.sub(r"[\s,\x00-\x1f\x7f]+", "-", name.strip())[:200]


def _plain_ids(table: pa.Table) -> pa.Table:
    """Return the table with LLM ids that a pool file takes."""
    names = table["llm_id"].combine_chunks().dictionary_encode()
    plain = pa.array([_plain(name) for name in names.dictionary.to_pylist()], pa.string())
    if plain.equals(names.dictionary):
        return table
    place = SCHEMA.get_field_index("llm_id")
    return table.set_column(place, SCHEMA.field(place), plain.take(names.indices))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
