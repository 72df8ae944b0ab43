"""Choices: read from whatever a router answered, hashed, written; nothing here knows outcomes."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation.texts import printable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints, Strings

INVALID = -1
# Users whose choices are hashed and written at a time.
_DIGESTED_USERS = 5_000


@dataclass(frozen=True, eq=False)
class Answered:
    """Answers that were read already where they were given, in another process."""

    choice: Ints
    """[n] indices of LLMs, -1 where the answer was invalid."""
    problem: str | None
    """The first problem there, in words."""


def read_answers(answers: Any, count: int, llm_ids: Strings) -> tuple[Ints, str | None]:
    """Turn what `route` returned into indices of LLMs.

    Args:
        answers: ids, integer indices, or anything else.
        count: number of requests.
        llm_ids: [M] the candidates.

    Returns:
        [count] index into llm_ids, -1 where the answer is invalid; and the first problem in
        words, None where there is none. Answers of the wrong number cannot be told apart, so
        all of them are invalid.
    """
    if isinstance(answers, Answered):
        # They come from a stranger, and are as suspect as any.
        found, problem = _read(answers.choice, count, llm_ids)
        return found, answers.problem or problem
    return _read(answers, count, llm_ids)


def _read(answers: Any, count: int, llm_ids: Strings) -> tuple[Ints, str | None]:
    none = np.full(count, INVALID, dtype=np.int64)
    if isinstance(answers, (str, bytes, dict)) or not isinstance(answers, Iterable):
        return none, f"{type(answers).__name__} instead of a sequence of answers"
    if isinstance(answers, np.ndarray) and answers.ndim != 1:
        return none, f"an array of shape {answers.shape} instead of ({count},)"
    if isinstance(answers, np.ndarray) and np.issubdtype(answers.dtype, np.integer):
        if len(answers) != count:
            return none, f"{len(answers)} answers to {count} requests"
        known = (answers >= 0) & (answers < len(llm_ids))
        problem = None if known.all() else _complaint(answers[~known][0].item(), len(llm_ids))
        return np.where(known, answers, INVALID).astype(np.int64), problem
    items = answers.tolist() if hasattr(answers, "tolist") else answers
    listed = list(itertools.islice(items, count + 1))
    if len(listed) != count:
        number = len(listed) if len(listed) < count else f"more than {count}"
        return none, f"{number} answers to {count} requests"
    place = {name: i for i, name in enumerate(llm_ids.tolist())}
    problem = None
    for i, item in enumerate(listed):
        if isinstance(item, str):
            found = place.get(item, INVALID)
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            found = int(item) if 0 <= item < len(llm_ids) else INVALID
        else:
            found = INVALID
        none[i] = found
        if found == INVALID and problem is None:
            problem = _complaint(item, len(llm_ids))
    return none, problem


def _complaint(answer: Any, candidates: int) -> str:
    if isinstance(answer, str):
        return f"{answer[:60]!r} is no candidate"
    if isinstance(answer, int) and not isinstance(answer, bool):
        return f"index {answer} is outside 0…{candidates - 1}"
    return f"{shown(answer)} ({type(answer).__name__}) is neither an id nor an index"


def shown(answer: Any) -> str:
    """Return an answer as a few characters of one line."""
    return printable(repr(answer)[:60])


def place(choice: Ints, llms: Ints, grid: Ints, columns: Ints) -> None:
    """Put a fold's choices [U, q], indices into its candidates, among all [U, Q]."""
    for start in range(0, len(choice), _DIGESTED_USERS):
        some = slice(start, start + _DIGESTED_USERS)
        part = choice[some]
        grid[some, columns] = np.where(part >= 0, llms[part], INVALID)


def choices_digest(choice: Ints, user_ids: Strings, query_ids: Strings, llm_ids: Strings) -> str:
    """Return the SHA-256 hex digest that commits to choices [U, Q].

    Over the rows of the choices file in order, each ``user␟query␟llm␞`` in UTF-8 with the
    separators U+001F and U+001E, llm empty where the choice is invalid: anyone can recompute it.
    """
    names = [*llm_ids.tolist(), ""]  # index -1 is the last
    cells = [[f"\x1f{query}\x1f{name}\x1e" for name in names] for query in query_ids.tolist()]
    running = hashlib.sha256()
    for start in range(0, len(choice), _DIGESTED_USERS):
        some = slice(start, start + _DIGESTED_USERS)
        # Many users get the same LLMs: what stands between their names is put together once.
        after: dict[bytes, list[str]] = {}
        lines = []
        for user, row in zip(user_ids[some].tolist(), choice[some], strict=True):
            key = row.tobytes()
            parts = after.get(key)
            if parts is None:
                parts = ["", *(cell[m] for cell, m in zip(cells, row.tolist(), strict=True))]
                after[key] = parts
            lines.append(user.join(parts))
        running.update("".join(lines).encode("utf-8", "surrogatepass"))
    return running.hexdigest()


def write_choices(
    path: Path,
    choice: Ints,
    user_ids: Strings,
    query_ids: Strings,
    llm_ids: Strings,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write choices [U, Q] as Parquet: user_id, query_id, llm_id (null where invalid).

    `more` are further columns, each an Arrow array [U · Q].
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from personaroute_bench.files import atomic_path

    Q = choice.shape[1]

    def names(index: Any, ids: Strings) -> Any:
        return pa.DictionaryArray.from_arrays(index, pa.array(ids.tolist(), pa.string()))

    def block(some: slice) -> pa.Table:
        flat, users = choice[some].ravel().astype(np.int32), user_ids[some]
        rows = slice(some.start * Q, some.start * Q + len(flat))
        user = np.repeat(np.arange(len(users), dtype=np.int32), Q)
        query = np.tile(np.arange(Q, dtype=np.int32), len(users))
        columns = {
            "user_id": names(pa.array(user), users),
            "query_id": names(pa.array(query), query_ids),
            "llm_id": names(pa.array(flat, mask=flat < 0), llm_ids),
        }
        return pa.table(columns | {name: column[rows] for name, column in (more or {}).items()})

    with atomic_path(path, option="--choices") as temporary:
        schema = block(slice(0, 0)).schema
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for start in range(0, len(choice), _DIGESTED_USERS):
                writer.write_table(block(slice(start, start + _DIGESTED_USERS)))


def choices_file(name: str, seed: int = 0, taken: Collection[str] = ()) -> str:
    """Return a safe file name for a router's choices: NAME.parquet, NAME-seedK.parquet for K > 0.

    Everything but letters, digits and ``. _ - :`` becomes ``-`` (on Windows ``:`` too).

    Args:
        name: of the router.
        seed: of the repetition.
        taken: names of files that are somebody else's; ``-2``, ``-3`` … tells apart what would
            fall together with one of them, on file systems that ignore case too.
    """
    allowed = "A-Za-z0-9._-" if os.name == "nt" else "A-Za-z0-9._:-"
    stem = re.sub(f"[^{allowed}]", "-", name).lstrip(".")[:120] or "router"
    if seed:
        stem += f"-seed{seed}"
    others = {file.lower() for file in taken}
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    free = (f"{stem}{ending}.parquet" for ending in endings)
    return next(file for file in free if file.lower() not in others)
