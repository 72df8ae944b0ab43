"""Read a file of recorded human choices, check every row, and turn rows into pairs.

One row is one comparison: a person saw the answers of two or more candidates to one query and
chose one of them, rated all of them, or had no preference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from personaroute_bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

REQUIRED = (
    "dataset",
    "user_id",
    "query_id",
    "query",
    "candidates",
    "responses",
    "chosen",
    "outcome",
)
OPTIONAL = ("chosen_index", "ratings", "source", "licence")
SUFFIXES = (".parquet", ".jsonl")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One checked row of the file."""

    row: int
    """Counted from 1."""
    dataset: str
    user_id: str
    query_id: str
    query: str
    candidates: tuple[str, ...]
    responses: tuple[str, ...]
    """In the order of the candidates; empty where the candidate really gave nothing."""
    chosen: str | None
    """None: no preference."""
    ratings: tuple[float, ...] | None
    source: str
    licence: str

    def pairs(self) -> Iterator[tuple[str, str, int]]:
        """Yield what the row tells of pairs: ``(a, b, verdict)`` with ids a < b.

        verdict is 1 where a was preferred, -1 where b was, 0 where neither was. Ratings compare
        every pair. Without them the chosen one beats each of the others, which are not compared
        with each other; no preference among more than two tells nothing of any one pair.
        """
        ratings = self.ratings
        if ratings is None:
            if self.chosen is None and len(self.candidates) > 2:
                return
            ratings = tuple(float(name == self.chosen) for name in self.candidates)
        rated = sorted(zip(self.candidates, ratings, strict=True))
        for (a, of_a), (b, of_b) in itertools.combinations(rated, 2):
            if self.ratings is None and len(rated) > 2 and self.chosen not in (a, b):
                continue
            yield a, b, (of_a > of_b) - (of_a < of_b)


def read_preferences(path: Path, datasets: Sequence[str] | None = None) -> list[Comparison]:
    """Read the rows of these data sets (None: of all), in the order of the file.

    Args:
        path: Parquet or JSONL with the columns of docs/preferences.md.
        datasets: values of the column `dataset`.

    Raises:
        UsageError: unreadable file, missing column, unknown data set, or the first row that
            contradicts itself; names file, row, value and remedy.
    """
    table = _read(path)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise UsageError(
            f"{path}: no column {missing[0]!r}{did_you_mean(missing[0], table.column_names)}; "
            f"needed are {', '.join(REQUIRED)}, and {', '.join(OPTIONAL)} are read where there"
        )
    columns = {name: table[name].to_pylist() for name in table.column_names}
    names = columns["dataset"]
    for name in datasets or ():
        if name not in names:
            known = sorted({str(value) for value in names if value is not None})
            raise UsageError(f"{path} has no data set {name!r}{did_you_mean(name, known)}")
    rows = [
        _Row(path, place + 1, {name: column[place] for name, column in columns.items()}).check()
        for place in range(table.num_rows)
        if datasets is None or names[place] in datasets
    ]
    if not rows:
        raise UsageError(f"{path} holds no rows; give a file with recorded choices")
    return rows


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from personaroute_bench.jsonl import read_json_table

    if not path.is_file():
        raise UsageError(f"no file {path}; give a Parquet or JSONL file of recorded choices")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: cannot read {path.suffix!r}; give {' or '.join(SUFFIXES)}")
    wanted = (*REQUIRED, *OPTIONAL)
    try:
        if path.suffix.lower() == ".parquet":
            names = [name for name in pq.read_schema(path).names if name in wanted]
            return pq.read_table(path, columns=names, partitioning=None)
        lists = {"candidates": pa.list_(pa.string()), "responses": pa.list_(pa.string())}
        lists |= {"ratings": pa.list_(pa.float64())}
        kinds = {name: lists.get(name, pa.string()) for name in wanted}
        return read_json_table(path, kinds | {"chosen_index": pa.int64()})[0]
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path} cannot be read as {path.suffix[1:]}: {reason[:300]}") from error


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    row: int
    values: Mapping[str, Any]

    def fail(self, what: str, remedy: str) -> NoReturn:
        raise UsageError(f"{self.path}, row {self.row}: {what}; {remedy}")

    def check(self) -> Comparison:
        candidates = self.texts("candidates")
        responses = self.texts("responses", empty=True)
        if len(candidates) < 2 or len(set(candidates)) < len(candidates):
            self.fail(
                f"candidates {_short(candidates)} are no comparison", "give two or more, each once"
            )
        if len(responses) != len(candidates):
            self.fail(
                f"{len(responses)} responses to {len(candidates)} candidates",
                "give one response a candidate, in the same order, empty where it gave nothing",
            )
        chosen = self.chosen(candidates)
        return Comparison(
            row=self.row,
            dataset=self.text("dataset"),
            user_id=self.text("user_id"),
            query_id=self.text("query_id"),
            query=self.text("query"),
            candidates=candidates,
            responses=responses,
            chosen=chosen,
            ratings=self.ratings(candidates, chosen),
            source=self.text("source", "unknown"),
            licence=self.text("licence", "unknown"),
        )

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip():
            self.fail(f"{name} is {_short(value)}", "give a text that is not empty")
        return value

    def texts(self, name: str, *, empty: bool = False) -> tuple[str, ...]:
        value = self.values[name]
        if not isinstance(value, list):
            self.fail(f"{name} is {_short(value)}", "give a list of texts")
        for item in value:
            if not isinstance(item, str) or not (empty or item.strip()):
                self.fail(f"{name} holds {_short(item)}", "give a list of texts")
        return tuple(value)

    def chosen(self, candidates: tuple[str, ...]) -> str | None:
        """Return who was chosen, once outcome, chosen and chosen_index tell the same."""
        outcome, chosen = self.values["outcome"], self.values["chosen"]
        if outcome not in ("chosen", "tie"):
            self.fail(f"outcome is {_short(outcome)}", "give 'chosen' or 'tie'")
        if outcome == "tie" and chosen is not None:
            self.fail(f"outcome is 'tie', but chosen is {_short(chosen)}", "leave chosen null")
        if outcome == "chosen" and chosen not in candidates:
            self.fail(
                f"chosen is {_short(chosen)}, which is none of the candidates",
                "give one of their ids, or the outcome 'tie'",
            )
        index = self.values.get("chosen_index")
        told = -1 if chosen is None else candidates.index(chosen)
        if index is not None and index != told:
            self.fail(f"chosen_index is {_short(index)}, but chosen is number {told}", "make one")
        return None if chosen is None else str(chosen)

    def ratings(self, candidates: tuple[str, ...], chosen: str | None) -> tuple[float, ...] | None:
        """Return the ratings; the choice must be the single highest, a tie must have none."""
        ratings = self.values.get("ratings")
        if ratings is None:
            return None
        if not isinstance(ratings, list) or len(ratings) != len(candidates):
            self.fail(f"ratings are {_short(ratings)}", "give one number a candidate, or null")
        for value in ratings:
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                self.fail(f"ratings hold {_short(value)}", "give finite numbers, or null for all")
        best = [
            name for name, value in zip(candidates, ratings, strict=True) if value == max(ratings)
        ]
        if (best if len(best) == 1 else [None]) != [chosen]:
            self.fail(
                f"chosen is {_short(chosen)}, but {_short(best)} have the highest rating",
                "choose the single highest, or give the outcome 'tie' where several share it",
            )
        return tuple(float(value) for value in ratings)


def _short(value: object) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 100 else f"{text[:97]}..."
