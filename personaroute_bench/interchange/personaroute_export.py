"""`bench export --to personaroute-csv`: a data set as the authors' code reads it.

Rows are sorted by user, task, split and query, so that the authors' code, which cuts a file by
position, meets the same splits wherever tasks have equally many queries.
"""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.files import disk_error, write_json
from personaroute_bench.interchange.embedding_text import print_embedding
from personaroute_bench.interchange.response_file import check_new_folder
from personaroute_bench.schemas import SPLITS

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Bools, Floats, Interactions, Ints

# Column names and their order in the published files; what varies with the user stands outside.
_CELL = (
    "task_id",
    "query",
    "query_embedding",
    "ground_truth",
    "metric",
    "llm",
    "effect",
    "cost",
    "task_description",
    "task_description_embedding",
    "response",
)
COLUMNS = {
    "multi_cost_efficiency": ("user_id", "performance_preference", *_CELL, "reward", "best_llm"),
    "llm_judge": ("user_id", *_CELL, "best_answer"),
}
VERSION = {"multi_cost_efficiency": "v1", "llm_judge": "v2"}
_SHORT = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    directory: Path
    files: tuple[str, ...]
    rows: int
    notes: tuple[str, ...]
    """What the reader of the files must know."""


def export_personaroute(
    benchmark: Benchmark, out: str | Path, *, strategy: str | None = None
) -> Exported:
    """Write ``router_user_{train,val,test}_data_vN.csv``, ``router_user_data_vN.csv`` and more.

    Beside them: ``LLM_Descriptions_vN.json``, and ``user_ids.csv`` where ids had to be numbered.

    Args:
        benchmark: a data set.
        out: a new or empty folder.
        strategy: one of `COLUMNS`; None: the only one there is.

    Raises:
        UsageError: another strategy, the folder holds files, or no query has only ok responses.
        BenchError: no space, no permission.
    """
    strategy, out = benchmark.check_strategy(strategy), Path(out)
    if strategy not in COLUMNS:
        raise UsageError(
            f"strategy {strategy!r} has no place in the published layout; export one of "
            f"{', '.join(COLUMNS)}"
        )
    check_new_folder(out)
    cells = Cells.of(benchmark)
    aside = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        rows = _write(aside, benchmark, strategy, cells)
        if out.exists():
            out.rmdir()
        aside.replace(out)
    except OSError as error:
        raise disk_error(error, out) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    files = tuple(sorted(path.name for path in out.iterdir()))
    return Exported(out, files, rows, tuple(_notes(benchmark, cells)))


@dataclass(frozen=True)
class Cells:
    """What of a row does not depend on the user, as CSV text."""

    kept: Ints
    """[K] indices of the queries written, by task, then split, then their own order."""
    split: list[str]
    """[K]"""
    text: list[list[str]]
    """[K][M] the columns of `_CELL`, without line end."""

    @classmethod
    def of(cls, benchmark: Benchmark) -> Cells:
        """Print them, each once.

        Raises:
            UsageError: no query has an ok response with a normalised cost of every LLM.
        """
        whole: Bools = np.isfinite(benchmark.performance + benchmark.cost).all(axis=-1)
        names = np.asarray(benchmark.queries["split"].to_pylist())
        place = np.select([names == split for split in SPLITS], range(3), default=3)
        order = np.lexsort((np.arange(len(place)), place, benchmark.task_of_query))
        kept = order[whole[order] & (place[order] < 3)]
        if not len(kept):
            raise UsageError(
                "no query has an ok response with a cost from every LLM, and the published "
                "layout has no place for others; generate with LLMs that answered"
            )
        return cls(kept, names[kept].tolist(), list(_print_cells(benchmark, kept)))


def _print_cells(benchmark: Benchmark, kept: Ints) -> Iterator[list[str]]:
    """Yield for each query the text of its M rows."""
    import pyarrow as pa

    from personaroute_bench.benchmark import index_of

    table = benchmark.responses(["query_id", "llm_id", "response"])
    row = index_of(table["query_id"], benchmark.queries["query_id"], "responses.query_id")
    column = index_of(table["llm_id"], benchmark.llms["llm_id"], "responses.llm_id")
    where = np.zeros(benchmark.performance.shape, dtype=np.int64)
    where[row, column] = np.arange(len(row))
    response = table["response"].combine_chunks()
    vectors = benchmark.embeddings
    if "embedding_length" in benchmark.queries.column_names:
        vectors = vectors * benchmark.queries["embedding_length"].to_numpy()[:, None]
    columns = {
        name: benchmark.queries[name].to_pylist() for name in ("query", "ground_truth", "metric")
    }
    tasks = list(_print_tasks(benchmark))
    for q in kept:
        task = int(benchmark.task_of_query[q])
        texts = response.take(pa.array(where[q])).to_pylist()
        printed = print_embedding(vectors[q])
        yield [
            _line(
                [
                    benchmark.task_ids[task],
                    columns["query"][q],
                    printed,
                    columns["ground_truth"][q] or "",
                    columns["metric"][q],
                    llm,
                    str(benchmark.performance[q, m]),
                    str(benchmark.cost[q, m]),
                    *tasks[task],
                    texts[m],
                ]
            )
            for m, llm in enumerate(benchmark.llm_ids)
        ]


def _print_tasks(benchmark: Benchmark) -> Iterator[tuple[str, str]]:
    """Yield each task's description and its embedding; without one, its queries' mean."""
    told = [None] * benchmark.tasks.num_rows
    if "description_embedding" in benchmark.tasks.column_names:
        told = benchmark.tasks["description_embedding"].to_pylist()
    for task, (text, vector) in enumerate(
        zip(benchmark.tasks["description"].to_pylist(), told, strict=True)
    ):
        mine = benchmark.embeddings[benchmark.task_of_query == task]
        mean = mine.mean(axis=0) if len(mine) else np.zeros(mine.shape[1])
        yield text, print_embedding(mean if vector is None else np.asarray(vector))


def _write(folder: Path, benchmark: Benchmark, strategy: str, cells: Cells) -> int:
    """Write all files; return the rows of the one that holds every split."""
    version, columns = VERSION[strategy], COLUMNS[strategy]
    ids = _user_ids(folder, benchmark)
    alpha = None
    if strategy == "multi_cost_efficiency":
        alpha = benchmark.users["performance_weight"].to_pylist()
    place = np.full(benchmark.queries.num_rows, -1)
    place[cells.kept] = np.arange(len(cells.kept))
    paths = {"all": folder / f"router_user_data_{version}.csv"}
    paths |= {s: folder / f"router_user_{_SHORT[s]}_data_{version}.csv" for s in SPLITS}
    shape = (len(cells.kept), len(benchmark.llm_ids))
    reward, chosen = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.bool_)
    # A user's rows as pieces of bytes: what varies with the user, what does not, what varies.
    pieces = [b""] * (3 * reward.size)
    pieces[1::3] = [text.encode() for row in cells.text for text in row]
    runs = list(_runs(cells.split, 3 * shape[1]))
    files: dict[str, BinaryIO] = {}
    rows = 0
    try:
        for name, path in paths.items():
            files[name] = path.open("wb")
            files[name].write(_line(columns).encode() + b"\n")
        # Splits are read side by side: the file with all of them is sorted by user first.
        streams = [benchmark.blocks(strategy, s) for s in SPLITS if len(benchmark.split_queries(s))]
        for blocks in zip(*(_single_users(stream) for stream in streams), strict=True):
            u = int(blocks[0].users[0])
            head = ids[u] + "," if alpha is None else f"{ids[u]},{alpha[u]!r},"
            for block in blocks:
                k = place[block.queries]
                reward[k[k >= 0]] = block.reward[0][k >= 0]
                chosen[k[k >= 0]] = block.chosen[0][k >= 0]
            pieces[0::3] = [head.encode()] * reward.size
            pieces[2::3] = _choices(chosen) if alpha is None else _rewards(reward, chosen)
            for split, run in runs:
                files[split].write(b"".join(pieces[run]))
            files["all"].write(b"".join(pieces))
            rows += reward.size
    finally:
        for file in files.values():
            file.close()
    _write_descriptions(folder / f"LLM_Descriptions_{version}.json", benchmark)
    return rows


def _runs(splits: Sequence[str], width: int) -> Iterator[tuple[str, slice]]:
    """Yield each run of queries of one split, and where its pieces are, `width` a query."""
    start = 0
    for split, queries in itertools.groupby(splits):
        stop = start + width * len(list(queries))
        yield split, slice(start, stop)
        start = stop


def _choices(chosen: Bools) -> list[bytes]:
    """Return the ends of a user's rows [K, M] where a judge chose."""
    return [b",1\n" if one else b",0\n" for one in chosen.reshape(-1).tolist()]


def _rewards(reward: Floats, chosen: Bools) -> list[bytes]:
    """Return the ends of a user's rows [K, M] with rewards: reward and place of the best LLM."""
    best = np.repeat(chosen.argmax(axis=-1), reward.shape[-1]).tolist()
    ends = [b",%d\n" % m for m in range(reward.shape[-1])]
    printed = reward.reshape(-1).astype(np.str_).tolist()
    return [b"," + r.encode() + ends[m] for r, m in zip(printed, best, strict=True)]


def _single_users(stream: Iterator[Interactions]) -> Iterator[Interactions]:
    """Yield interactions one user at a time."""
    from dataclasses import replace

    for block in stream:
        for at in range(len(block.users)):
            one = slice(at, at + 1)
            yield replace(
                block, users=block.users[one], reward=block.reward[one], chosen=block.chosen[one]
            )


def _user_ids(folder: Path, benchmark: Benchmark) -> list[str]:
    """Return the ids as numbers, as in the published files; other ids are numbered from 1."""
    ids: list[str] = benchmark.user_ids.tolist()
    if all(name.isdecimal() and name.isascii() and name == str(int(name)) for name in ids):
        return ids
    numbers = [str(number) for number in range(1, len(ids) + 1)]
    with (folder / "user_ids.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user_id", "id_here"), *zip(numbers, ids, strict=True)])
    return numbers


def _write_descriptions(path: Path, benchmark: Benchmark) -> None:
    told: Mapping[str, list[Any]] = benchmark.llms.to_pydict()
    write_json(
        path,
        {
            name: {
                "feature": told["description"][m] or name,
                "input_price": told["input_price"][m],
                "output_price": told["output_price"][m],
                "model": told["model"][m],
                "parameters_billion": told["parameters"][m],
            }
            for m, name in enumerate(told["llm_id"])
        },
    )


def _notes(benchmark: Benchmark, cells: Cells) -> Iterator[str]:
    """Say what the authors' configuration must be, and what could not be written."""
    left = benchmark.queries.num_rows - len(cells.kept)
    if left:
        yield (
            f"{left} queries have a response that failed or has no cost, and are left out: the "
            "layout has a score in every row"
        )
    task, split = benchmark.task_of_query[cells.kept], np.asarray(cells.split)
    counts = {
        tuple(int(((task == t) & (split == name)).sum()) for name in SPLITS) for t in set(task)
    }
    shape = f"user_num: {benchmark.users.num_rows}, llm_num: {len(benchmark.llm_ids)}"
    yield f"set in the authors' config.yaml {shape}, num_task: {len(set(task.tolist()))}"
    if len(counts) == 1:
        one = counts.pop()
        ratio = ", ".join(f"{number / sum(one):.6g}" for number in one)
        yield f"and split_ratio: [{ratio}], which gives these very splits"
    else:
        yield (
            "tasks have different numbers of queries or other shares, so the authors' code, which "
            "cuts by position, mixes the splits; take equally many queries of each task"
        )
    texts = [benchmark.queries["query"][int(q)].as_py() for q in cells.kept]
    formulas = sum(text.startswith(("=", "+", "-", "@")) for text in texts)
    if formulas:
        yield (
            f"{formulas} queries begin with =, +, - or @, which a spreadsheet takes for a formula "
            "(responses may too): texts stand as they are, so import the columns as text there"
        )
    if len(set(texts)) < len(texts):
        yield "some queries have the same text, which the authors' code takes for one query"


def _line(cells: Any) -> str:
    """Return one CSV line without its end, quoted as the csv module does."""
    out = io.StringIO()
    # The module quotes text that holds a character of its line end, so that must be both of them.
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()[:-2]
