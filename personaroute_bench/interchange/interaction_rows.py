"""Collect long rows (user, query, LLM, outcome) block by block into arrays, and check them.

What must be the same wherever it is repeated (a query's truth, a response, a user's weight) is
kept once and compared with every further row. A row costs 12 bytes of memory, and as much
again while the arrays are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.benchmark import Doubles, Floats, Ints
from personaroute_bench.errors import UsageError
from personaroute_bench.interchange.arrow_rows import TableFile

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LLMS = 256
# Texts that must not differ between rows of one query, of one task, and of one response.
OF_QUERY = ("ground_truth", "metric", "query_embedding")
OF_TASK = ("task_description", "task_description_embedding")
_ID = ("user_id", "task_id", "query", "llm")


class Names:
    """Texts, numbered in the order in which they are first met."""

    def __init__(self) -> None:
        self.list: list[str] = []
        self._place: dict[str, int] = {}

    def codes(self, column: pa.DictionaryArray) -> Ints:
        """[n] the number of each cell; -1 where it is null or blank."""
        local = np.asarray([self._code(text) for text in column.dictionary.to_pylist()] + [-1])
        codes: Ints = local[column.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        return codes

    def _code(self, text: str | None) -> int:
        if text is None or not text.strip():
            return -1
        place = self._place.setdefault(text, len(self.list))
        if place == len(self.list):
            self.list.append(text)
        return place


class FirstSeen:
    """One value an index, given by the first row that has it; grows as indices do."""

    def __init__(self, empty: float | int) -> None:
        self._empty = empty
        self.values: NDArray[Any] = np.full(0, empty)

    def differs(self, index: Ints, values: NDArray[Any]) -> int | None:
        """Take what is new, and return the first position that contradicts what was there."""
        need = int(index.max(initial=-1)) + 1
        if need > len(self.values):
            more = np.full(max(need, 2 * len(self.values)) - len(self.values), self._empty)
            self.values = np.concatenate([self.values, more])
        held = self.values[index]
        new = np.isnan(held) if np.isnan(self._empty) else held == self._empty
        if new.any():
            where, first = np.unique(index[new], return_index=True)
            self.values[where] = values[new][first]
            held = self.values[index]
        wrong = held != values
        return int(wrong.argmax()) if wrong.any() else None


@dataclass(frozen=True, eq=False)
class Collected:
    """U users × Q queries × M LLMs, queries in the order of first sight."""

    user_ids: list[str]
    llm_ids: list[str]
    task_ids: list[str]
    queries: list[str]
    """[Q] texts."""
    task_of_query: Ints
    """[Q]"""
    split_of_query: Ints
    """[Q] number of the file group that the query stands in."""
    query_texts: Mapping[str, list[str | None]]
    """Column of OF_QUERY to [Q] texts; only those that the file has."""
    task_texts: Mapping[str, list[str | None]]
    """Column of OF_TASK to [T] texts."""
    responses: list[list[str]]
    """[Q][M]; blank where the file has none."""
    effect: Doubles
    """[Q, M]"""
    cost: Doubles
    """[Q, M]"""
    values: Floats
    """[U, Q, M] reward, or 1 for a chosen answer."""
    preference: Doubles | None
    """[U] performance weight."""
    best: NDArray[np.int16] | None
    """[U, Q] index of the LLM that the file calls best; -1 where that is none, or several."""


class InteractionRows:
    """Takes blocks of rows; `collect` gives the arrays.

    Args:
        value: the column with the outcome.
        optional: columns of OF_QUERY and OF_TASK, `response`, `performance_preference` and
            `best_llm`, as far as the files have them.
    """

    def __init__(self, value: str, optional: frozenset[str]) -> None:
        self._value = value
        self._names = {
            name: Names() for name in (*_ID, "response", "best_llm", *OF_QUERY, *OF_TASK)
        }
        self._queries: dict[tuple[int, int], int] = {}
        self._optional = optional
        self._facts = {
            name: FirstSeen(-1) for name in (*OF_QUERY, *OF_TASK, "response", "split")
        } | {name: FirstSeen(np.nan) for name in ("effect", "cost", "performance_preference")}
        self._rows: list[tuple[NDArray[Any], ...]] = []
        self._files: list[tuple[int, TableFile]] = []
        self._count = 0

    def add(self, file: TableFile, split: int) -> None:
        """Read one file, all of whose queries belong to one split.

        Raises:
            UsageError: a missing or contradictory cell; names file, row, value and remedy.
        """
        texts = [*_ID, *sorted(self._optional - {"performance_preference"})]
        numbers = ["effect", "cost", self._value]
        numbers += ["performance_preference"] if "performance_preference" in self._optional else []
        file.need(*texts, *numbers)
        self._files.append((self._count, file))
        for first, block in file.blocks(texts, numbers):
            self._add(file, first, block, split)

    def _add(self, file: TableFile, first: int, block: Mapping[str, pa.Array], split: int) -> None:
        code = {
            name: self._names[name].codes(column)
            for name, column in block.items()
            if name in self._names
        }
        number = {name: block[name].to_numpy(zero_copy_only=False) for name in block.keys() - code}
        for name in _ID:
            if (code[name] < 0).any():
                file.fail(first + int((code[name] < 0).argmax()), f"{name} is empty", "fill it")
        for name, values in number.items():
            wrong = ~np.isfinite(values)
            low, high = (-np.inf, np.inf) if name == "reward" else (-1e-9, 1 + 1e-9)
            wrong |= (values < low) | (values > high)
            if name == "best_answer":
                wrong |= (values != 0) & (values != 1)
            if wrong.any():
                at = int(wrong.argmax())
                shown = "missing" if np.isnan(values[at]) else f"{values[at]:g}"
                wanted = {"reward": "a finite number", "best_answer": "0 or 1"}
                file.fail(
                    first + at,
                    f"{name} is {shown}",
                    f"it must be {wanted.get(name, 'between 0 and 1')}: correct the row, or leave "
                    "its query out for all users",
                )
        if len(self._names["llm"].list) > MAX_LLMS:
            raise UsageError(
                f"{file.path} names more than {MAX_LLMS} LLMs; is its column 'llm' the right one?"
            )
        query = self._query_codes(code["task_id"], code["query"])
        cell = query * MAX_LLMS + code["llm"]
        told = {name: code[name] for name in (*OF_QUERY, *OF_TASK, "response") if name in code}
        told |= {name: values for name, values in number.items() if name in self._facts}
        told["split"] = np.full(len(query), split)
        for name, values in told.items():
            index = cell
            if name in (*OF_QUERY, "split"):
                index = query
            elif name in OF_TASK:
                index = code["task_id"]
            elif name == "performance_preference":
                index = code["user_id"]
            # A blank text is a value of its own, so that it differs from one that is not.
            place = self._facts[name].differs(index, values + 1 if name in self._names else values)
            if place is not None:
                self._contradiction(file, first + place, name, code["llm"][place])
        self._rows.append(
            (
                code["user_id"].astype(np.int32),
                cell.astype(np.int32),
                number[self._value].astype(np.float32),
                code.get("best_llm", np.full(len(query), -1)).astype(np.int16),
            )
        )
        self._count += len(query)

    def collect(self) -> Collected:
        """Return all rows as arrays.

        Raises:
            UsageError: no row, a row twice, or a row that is missing.
        """
        if not self._count:
            raise UsageError("the files hold no rows; give files with interactions")
        user, cell, value, best = (
            np.concatenate([block[i] for block in self._rows]) for i in range(4)
        )
        self._rows.clear()
        names = {name: held.list for name, held in self._names.items()}
        shape = (len(names["user_id"]), len(self._queries), len(names["llm"]))
        query, llm = cell // MAX_LLMS, cell % MAX_LLMS
        place = (user.astype(np.int64) * shape[1] + query) * shape[2] + llm
        self._check_whole(place, shape, names)
        values = np.empty(shape, dtype=np.float32)
        values.reshape(-1)[place] = value
        called = None
        if "best_llm" in self._optional:
            rows = np.empty(shape, dtype=np.int16)
            rows.reshape(-1)[place] = self._best_llms(names)[best]
            # The rows of one query must agree on which LLM is best.
            called = np.where((rows == rows[..., :1]).all(axis=-1), rows[..., 0], -1)

        keys = list(self._queries)
        cells = (np.arange(shape[1])[:, None] * MAX_LLMS + np.arange(shape[2])).reshape(-1)

        def texts(name: str, count: int) -> list[str | None]:
            # One is added to codes where they are noted, so the last entry stands for blank.
            held = [*names[name], None]
            return [held[int(code) - 1] for code in self._facts[name].values[:count]]

        response = [*names["response"], ""]
        said = self._facts["response"].values if "response" in self._optional else None
        return Collected(
            user_ids=names["user_id"],
            llm_ids=names["llm"],
            task_ids=names["task_id"],
            queries=[names["query"][text] for _, text in keys],
            task_of_query=np.asarray([task for task, _ in keys]),
            split_of_query=self._facts["split"].values[: shape[1]],
            query_texts={n: texts(n, shape[1]) for n in OF_QUERY if n in self._optional},
            task_texts={n: texts(n, len(names["task_id"])) for n in OF_TASK if n in self._optional},
            responses=[
                [response[int(code) - 1] for code in row]
                for row in (
                    np.zeros(shape[1:], dtype=np.int64)
                    if said is None
                    else said[cells].reshape(shape[1:])
                )
            ],
            effect=self._facts["effect"].values[cells].reshape(shape[1:]),
            cost=self._facts["cost"].values[cells].reshape(shape[1:]),
            values=values,
            preference=self._facts["performance_preference"].values[: shape[0]]
            if "performance_preference" in self._optional
            else None,
            best=called,
        )

    def _check_whole(
        self, place: Ints, shape: tuple[int, int, int], names: Mapping[str, list[str]]
    ) -> None:
        """Raise unless every (user, query, LLM) has exactly one row."""
        size = int(np.prod(shape))
        seen = np.zeros(size, dtype=np.bool_)
        seen[place] = True
        texts = [names["query"][text] for _, text in self._queries]

        def said(at: int) -> str:
            u, q, m = np.unravel_index(at, shape)
            return f"user {names['user_id'][u]!r}, LLM {names['llm'][m]!r}, query {texts[q][:60]!r}"

        if len(place) > np.count_nonzero(seen):
            order = np.argsort(place, kind="stable")
            again = order[1:][place[order][1:] == place[order][:-1]]
            at = int(again.min())
            start, file = next(entry for entry in reversed(self._files) if entry[0] <= at)
            file.fail(at - start + 1, f"a second row of {said(int(place[at]))}", "keep one")
        if not seen.all():
            paths = ", ".join(str(file.path) for _, file in self._files)
            raise UsageError(
                f"{paths}: {size - len(place):,} of {size:,} rows are missing, the first is that "
                f"of {said(int(seen.argmin()))}; every user needs a row for every query and LLM: "
                "add the rows, or leave out the user, query or LLM"
            )

    def _best_llms(self, names: Mapping[str, list[str]]) -> Ints:
        """Return the LLM that each text of `best_llm` means: a name, or a place from 0; else -1."""
        place = {name: number for number, name in enumerate(names["llm"])}
        places = {str(number): number for number in place.values()}
        return np.asarray([place.get(t, places.get(t, -1)) for t in names["best_llm"]] + [-1])

    def _query_codes(self, task: Ints, text: Ints) -> Ints:
        both, inverse = np.unique(task << 32 | text, return_inverse=True)
        # In the order of the rows, not of the codes: queries keep the order of the file.
        first = np.full(len(both), len(inverse))
        np.minimum.at(first, inverse, np.arange(len(inverse)))
        known = np.empty(len(both), dtype=np.int64)
        for k in np.argsort(first):
            key = (int(both[k] >> 32), int(both[k] & 0xFFFFFFFF))
            known[k] = self._queries.setdefault(key, len(self._queries))
        return known[inverse]

    def _contradiction(self, file: TableFile, row: int, name: str, llm: int) -> None:
        if name == "split":
            file.fail(
                row,
                "this query stands in the file of another split too",
                "keep every query in one of train, validation and test",
            )
        of = "this query"
        if name in OF_TASK:
            of = "this task"
        elif name == "performance_preference":
            of = "this user"
        elif name not in OF_QUERY:
            of = f"this query and LLM {self._names['llm'].list[llm]!r}"
        file.fail(
            row,
            f"{name} of {of} is not what an earlier row says",
            "make them the same; it cannot depend on who asks",
        )
