"""Benchmark: a data set on disk, as dense arrays in memory.

Arrays are indexed [query, llm] or [user, query, llm], in the order of the tables `queries`,
`llms` and `users`. What has no value (a response that is not ok, an unknown price) is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from personaroute_bench.config import is_virtual
from personaroute_bench.errors import BenchError, UsageError, did_you_mean
from personaroute_bench.files import read_json, sha256_file
from personaroute_bench.manifest_shape import check_manifest
from personaroute_bench.publishing.pull import local_folder
from personaroute_bench.table_check import check_table

if TYPE_CHECKING:
    from personaroute_bench.virtual import Source

Strings = NDArray[np.str_]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DEFAULT_DIRECTORY = Path("personaroute-data")
MANIFEST = "manifest.json"
# Interactions are handed out in blocks of users of about so many rows: flat memory.
BLOCK_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Interactions:
    """What a block of users thinks of every candidate for the queries of one split."""

    users: Ints
    """[u] indices into Benchmark.user_ids."""
    queries: Ints
    """[q] indices into Benchmark.query_ids."""
    reward: Floats
    """[u, q, m]; NaN where the response is not ok (or its cost unknown)."""
    chosen: Bools
    """[u, q, m]; true for every tied best candidate."""

    def rows(self, rows: slice) -> Interactions:
        """Return the interactions of some users."""
        return Interactions(self.users[rows], self.queries, self.reward[rows], self.chosen[rows])


@dataclass(frozen=True)
class Benchmark:
    """The tables of one data set; see docs/design.md, "The tables"."""

    directory: Path | None
    manifest: Mapping[str, Any]
    tasks: pa.Table
    queries: pa.Table
    llms: pa.Table
    users: pa.Table
    performance: Floats
    """[Q, M], in [0, 1]; NaN unless the response is ok."""
    cost_usd: Doubles
    """[Q, M], USD; NaN where unknown."""
    cost: Floats
    """[Q, M], normalised within task to [0, 1]; NaN where unknown."""
    status: Strings
    """[Q, M], see docs/statuses.md."""
    memory: Mapping[tuple[str, str], Interactions] = field(default_factory=dict)
    """(strategy, split) to interactions that are not on disk, for tests."""
    whole: bool = True
    """False where it has the first users only of those in its folder; see `first`."""

    @classmethod
    def load(cls, directory: str | Path = DEFAULT_DIRECTORY) -> Benchmark:
        """Read a data set that `bench generate` has completed.

        Args:
            directory: its folder; or ``org/name`` or ``org/name@revision`` on the Hub, which is
                fetched into the Hub's cache and compared with its manifest.

        Raises:
            UsageError: there is no complete data set in the folder, or none of that name.
            BenchError: a file is damaged, or the Hub cannot be reached.
        """
        directory = local_folder(directory)
        if not (directory / MANIFEST).is_file():
            state = "is not complete" if (directory / "config.json").is_file() else "does not exist"
            raise UsageError(
                f"the data set {directory} {state} (it has no {MANIFEST}); "
                f"make it, or continue it, with: bench generate --out {directory}"
            )
        manifest = check_manifest(read_json(directory / MANIFEST), directory / MANIFEST)
        names = ("tasks", "queries", "llms", "responses", "users")
        verify(directory, manifest, [path for n in names for path in files_of(directory, n)])
        tables = {name: read_table(directory, name) for name in ("tasks", "queries", "llms")}
        responses = read_table(
            directory,
            "responses",
            ["query_id", "llm_id", "performance", "cost_usd", "cost", "status"],
        )
        queries, llms = tables["queries"], tables["llms"]
        shape = (queries.num_rows, llms.num_rows)
        row = index_of(responses["query_id"], queries["query_id"], "responses.query_id")
        column = index_of(responses["llm_id"], llms["llm_id"], "responses.llm_id")

        def dense(name: str, dtype: Any) -> NDArray[Any]:
            grid = np.full(shape, np.nan, dtype=dtype)
            grid[row, column] = responses[name].to_numpy()
            return grid

        status = np.full(shape, "skipped_budget", dtype="U16")
        status[row, column] = responses["status"].combine_chunks().cast(pa.string()).to_pylist()
        return cls(
            directory=directory,
            manifest=manifest,
            tasks=tables["tasks"],
            queries=queries,
            llms=llms,
            users=read_table(directory, "users"),
            performance=dense("performance", np.float32),
            cost_usd=dense("cost_usd", np.float64),
            cost=dense("cost", np.float32),
            status=status,
        )

    @cached_property
    def query_ids(self) -> Strings:
        """[Q] ids, in the order of the table."""
        return np.asarray(self.queries["query_id"].to_pylist(), dtype=np.str_)

    @cached_property
    def llm_ids(self) -> Strings:
        """[M] ids."""
        return np.asarray(self.llms["llm_id"].to_pylist(), dtype=np.str_)

    @cached_property
    def user_ids(self) -> Strings:
        """[U] ids."""
        return np.asarray(self.users["user_id"].to_pylist(), dtype=np.str_)

    @cached_property
    def task_ids(self) -> Strings:
        """[T] ids."""
        return np.asarray(self.tasks["task_id"].to_pylist(), dtype=np.str_)

    @cached_property
    def task_of_query(self) -> Ints:
        """[Q] index into task_ids."""
        return index_of(self.queries["task_id"], self.tasks["task_id"], "queries.task_id")

    @cached_property
    def embeddings(self) -> Floats:
        """[Q, D] float32, unit length."""
        column = self.queries["embedding"].combine_chunks()
        flat = np.asarray(column.flatten(), dtype=np.float32)
        return flat.reshape(self.queries.num_rows, -1)

    @property
    def strategies(self) -> list[str]:
        """Names of the strategies whose interactions the data set holds."""
        found = {strategy for strategy, _ in self.memory}
        if self.directory is not None:
            found |= set(self.manifest.get("strategies", {}))
        return sorted(found)

    @property
    def sealed(self) -> bool:
        """Whether test outcomes, users' weights and the seed are withheld (docs/publishing.md)."""
        seal = self.manifest.get("seal")
        return isinstance(seal, dict) and seal.get("state") == "sealed"

    def check_strategy(self, strategy: str | None) -> str:
        """Return the strategy, or the only one there is.

        Raises:
            UsageError: unknown, or several to choose from.
        """
        known = self.strategies
        if strategy is None:
            if len(known) == 1:
                return known[0]
            if not known:
                raise UsageError(
                    f"{self.directory or 'the data set'} holds no strategy with rewards (pairs of "
                    "real people have none); give a data set of bench generate"
                )
            raise UsageError(
                f"the data set has several strategies; give --strategy, one of {known}"
            )
        if strategy not in known:
            raise UsageError(f"unknown strategy {strategy!r}{did_you_mean(strategy, known)}")
        return strategy

    def split_queries(self, split: str) -> Ints:
        """[q] indices of the queries of one split of the general setting."""
        names = np.asarray(self.queries["split"].to_pylist())
        return np.flatnonzero(names == split)

    def responses(self, columns: list[str] | None = None) -> pa.Table:
        """Return the table of responses (texts included unless columns are named)."""
        if self.directory is None:
            raise BenchError("this data set is in memory only and has no response texts")
        return read_table(self.directory, "responses", columns)

    def interactions(self, strategy: str, split: str) -> Interactions:
        """Return all users' interactions of one split at once; see `blocks` for many users."""
        blocks = list(self.blocks(strategy, split))
        return Interactions(
            users=np.concatenate([block.users for block in blocks]),
            queries=blocks[0].queries,
            reward=np.concatenate([block.reward for block in blocks]),
            chosen=np.concatenate([block.chosen for block in blocks]),
        )

    @property
    def virtual(self) -> bool:
        """Whether interactions are computed when they are asked for, and not stored."""
        return is_virtual(self.manifest)

    def block(self, strategy: str, split: str, start: int, stop: int) -> Interactions:
        """Return the interactions of users ``start`` to ``stop`` (exclusive); see `blocks`."""
        blocks = self.blocks(strategy, split, start=start, stop=stop, step=stop - start)
        return next(iter(blocks))

    def blocks(
        self,
        strategy: str,
        split: str,
        *,
        start: int = 0,
        stop: int | None = None,
        step: int | None = None,
    ) -> Iterator[Interactions]:
        """Yield interactions block by block of users, in the order of the users table.

        Args:
            strategy, split: whose.
            start: first user, counted from 0.
            stop: one past the last user; None: all.
            step: users a block; None: about a million rows.

        Raises:
            UsageError: the data set is sealed, and its test rows are withheld.
            BenchError: rows are missing, twice there, or name unknown ids.
        """
        held = self.memory.get((strategy, split))
        if held is not None and (start, stop, step) == (0, None, None):
            yield held  # whatever its users are: who asks for all of it gets it as it is
            return
        stop = self.users.num_rows if stop is None else stop
        per_user = len(self.split_queries(split)) * len(self.llm_ids)
        step = step or max(1, BLOCK_ROWS // max(1, per_user))
        if held is not None:
            for at in range(start, stop, step):
                yield held.rows(slice(at, min(at + step, stop)))
            return
        if self.sealed and split == "test":
            raise UsageError(
                f"{self.directory} is sealed: its test outcomes are withheld until its author "
                "opens it (docs/publishing.md); this needs them"
            )
        if self.virtual:
            yield from self._computed(strategy, split, start, stop, step)
            return
        from personaroute_bench.stored import stored_blocks

        assert self.directory is not None, "a data set without a folder is held in memory"
        folder = self.directory / "interactions" / strategy / split
        if folder not in self._verified:
            verify(self.directory, self.manifest, sorted(folder.glob("*.parquet")))
            self._verified.add(folder)
        yield from stored_blocks(self, strategy, split, start, stop, step)

    def first(self, count: int) -> Benchmark:
        """Return the data set of its first users only; draws of users do not depend on others.

        Raises:
            UsageError: there are not so many.
        """
        if not 1 <= count <= self.users.num_rows:
            raise UsageError(
                f"--users {count}: the data set has {self.users.num_rows:,} users; give a number "
                "from 1 to that"
            )
        some = slice(0, count)
        return replace(
            self,
            users=self.users.slice(0, count),
            memory={key: part.rows(some) for key, part in self.memory.items()},
            whole=self.whole and count == self.users.num_rows,
        )

    def source(self, strategy: str) -> Source:
        """Return what the interactions of a virtual data set are computed from."""
        from personaroute_bench.virtual import source_of

        if strategy not in self._sources:
            self._sources[strategy] = source_of(self, strategy)
        return self._sources[strategy]

    def _computed(
        self, strategy: str, split: str, start: int, stop: int, step: int
    ) -> Iterator[Interactions]:
        from personaroute_bench.users.rewards import tied_best

        queries, source = self.split_queries(split), self.source(strategy)
        for at in range(start, stop, step):
            end = min(at + step, stop)
            reward = source.block(strategy, queries, at, end).reward
            yield Interactions(np.arange(at, end), queries, reward, tied_best(reward))

    @cached_property
    def _verified(self) -> set[Path]:
        """Folders whose files were compared with the manifest; once is enough."""
        return set()

    @cached_property
    def _sources(self) -> dict[str, Source]:
        return {}


def verify(directory: Path, manifest: Mapping[str, Any], paths: Iterable[Path]) -> None:
    """Compare files with the hashes of the manifest; files that it does not name are left out.

    Raises:
        BenchError: a file was changed or damaged after the data set was made.
    """
    for path in paths:
        entry = manifest.get("files", {}).get(path.relative_to(directory).as_posix())
        if entry is None or not path.is_file():
            continue
        if path.stat().st_size != entry["bytes"] or sha256_file(path) != entry["sha256"]:
            raise BenchError(
                f"{path} is not the file that {MANIFEST} describes: it was changed or damaged; "
                "make it again by running bench generate with the same options on the folder"
            )


def index_of(values: Any, known: Any, what: str) -> Ints:
    """Return for each value its position in `known`.

    Args:
        values: Arrow (dictionary) strings, shape [n].
        known: Arrow strings, shape [k], unique.
        what: named in the error.

    Raises:
        BenchError: a value that `known` lacks.
    """
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    known = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    place = {name: i for i, name in enumerate(known.to_pylist())}
    names = values.dictionary.to_pylist()
    codes = np.asarray(values.indices, dtype=np.int64)
    used = np.unique(codes)
    missing = [names[i] for i in used if names[i] not in place]
    if missing:
        raise BenchError(f"{what} names {missing[0]!r}, which its own table lacks")
    lookup = np.asarray([place.get(name, -1) for name in names], dtype=np.int64)
    return lookup[codes] if len(codes) else np.zeros(0, dtype=np.int64)


def files_of(directory: Path, name: str) -> list[Path]:
    """Return the files of a table: one, or several where it is sharded; none where it is absent."""
    single = directory / f"{name}.parquet"
    return [single] if single.is_file() else sorted((directory / name).glob("*.parquet"))


def read_table(directory: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """Read `DIR/NAME.parquet`, or `DIR/NAME/*.parquet` where it is sharded.

    Raises:
        UsageError: missing or broken file, missing column.
    """
    paths = files_of(directory, name)
    if not paths:
        raise UsageError(f"{directory} has no table {name!r}; run bench generate on it again")
    try:
        table = pa.concat_tables(
            [pq.read_table(path, columns=columns, partitioning=None) for path in paths],
            promote_options="permissive",
        )
        return check_table(table, name, f"table {name!r} of {directory}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read table {name!r} of {directory}: {error}") from error
