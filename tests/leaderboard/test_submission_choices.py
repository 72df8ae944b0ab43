from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from personaroute_bench.leaderboard import choices as module
from personaroute_bench.leaderboard.choices import read_choices, write_choices
from personaroute_bench.leaderboard.track import Asked, Track
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.errors import UsageError

Change = Callable[[list[dict[str, Any]]], Any]


@pytest.fixture
def asked() -> Asked:
    return Asked.of(small_benchmark(users=3, queries=(4, 2, 2)), Track(STRATEGY, seeds=2))


def rows(asked: Asked) -> list[dict[str, Any]]:
    users, queries, _ = asked.ids
    return [
        {"user_id": str(u), "query_id": str(q), "llm_id": "llm-1", "seed": s}
        for s in range(2)
        for u in users
        for q in queries
    ]


def test_written_choices_are_read_again(asked: Asked, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = [rng.integers(-1, 4, asked.shape) for _ in range(2)]
    write_choices(tmp_path / "c.parquet", made, asked)
    found = read_choices(tmp_path / "c.parquet", asked)
    np.testing.assert_array_equal(np.stack(found), np.stack(made))


def test_the_order_of_rows_and_plain_strings_do_not_matter(asked: Asked, tmp_path: Path) -> None:
    table = rows(asked)
    table[5]["llm_id"] = None
    table[7]["llm_id"] = "llm-3"
    pq.write_table(pa.Table.from_pylist(table[::-1]), tmp_path / "c.parquet", row_group_size=5)
    found = np.stack(read_choices(tmp_path / "c.parquet", asked)).ravel()
    expected = np.full(12, 1)
    expected[[5, 7]] = [-1, 3]
    np.testing.assert_array_equal(found, expected)


def _set(place: int, key: str, value: Any) -> Change:
    return lambda table: table[place].__setitem__(key, value)


def _retype(key: str, make: Callable[[int], Any]) -> Change:
    def change(table: list[dict[str, Any]]) -> None:
        for i, row in enumerate(table):
            row[key] = make(i)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(3, "user_id", "nobody"), "row 4: user_id 'nobody' is no user who asks here"),
        (_set(3, "user_id", None), "row 4: user_id null is no user"),
        (_set(3, "query_id", "q0"), "row 4: query_id 'q0' is no query asked here"),
        (_set(3, "llm_id", "gpt-9"), "row 4: llm_id 'gpt-9' is no candidate"),
        (_set(3, "llm_id", "NaN"), "row 4: llm_id 'NaN' is no candidate"),
        (_set(3, "llm_id", "../../x\n<b>"), r"llm_id '../../x\n<b>' is no candidate"),
        (_set(3, "seed", 2), "row 4: seed 2; this track has 0 to 1"),
        (_set(3, "seed", None), "row 4: seed None"),
        (_set(3, "query_id", "q6"), "row 4: a second choice for user 'user-1', query 'q6', seed 0"),
        (lambda table: table.pop(), "11 rows; 3 users × 2 test queries × 2 seeds need 12"),
        (lambda table: table.append(table[0]), "13 rows"),
        (_retype("llm_id", lambda i: float("nan")), "column 'llm_id' is double"),
        (_retype("llm_id", lambda i: i % 4), "column 'llm_id' is int64; it must hold text"),
        (_retype("llm_id", lambda i: b"llm-1"), "column 'llm_id' is binary"),
        (_retype("llm_id", lambda i: ["llm-1"]), "column 'llm_id' is list"),
        (_retype("user_id", lambda i: {"a": "b"}), "column 'user_id' is struct"),
        (_retype("seed", lambda i: "0"), "must hold whole numbers"),
        (_retype("seed", lambda i: 0.0), "must hold whole numbers"),
        (_retype("more", lambda i: 0), "it must have user_id, query_id, llm_id, seed"),
    ],
)
def test_a_wrong_file_is_one_message(
    asked: Asked, tmp_path: Path, change: Change, words: str
) -> None:
    table = rows(asked)
    change(table)
    path = tmp_path / "c.parquet"
    pq.write_table(pa.Table.from_pylist(table), path)
    with pytest.raises(UsageError) as error:
        read_choices(path, asked)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_request_that_is_missing_behind_a_full_count(asked: Asked, tmp_path: Path) -> None:
    table = rows(asked)
    table[0] = dict(table[-1])
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "c.parquet", row_group_size=3)
    with pytest.raises(UsageError, match="row 12: a second choice"):
        read_choices(tmp_path / "c.parquet", asked)


def test_a_second_choice_in_another_block(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 3)
    table = rows(asked)
    table[10] = dict(table[1])
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "c.parquet")
    with pytest.raises(UsageError, match="row 11: a second choice for user 'user-0'"):
        read_choices(tmp_path / "c.parquet", asked)


def test_columns_of_one_name(asked: Asked, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows(asked))
    pq.write_table(table.append_column("seed", table["seed"]), tmp_path / "c.parquet")
    with pytest.raises(UsageError, match="it must have"):
        read_choices(tmp_path / "c.parquet", asked)


@pytest.mark.parametrize("size", [0, 4, 100, 600])
def test_a_cut_file(asked: Asked, tmp_path: Path, size: int) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.Table.from_pylist(rows(asked)), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        read_choices(path, asked)


def test_a_changed_byte_never_ends_in_another_error(asked: Asked, tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    write_choices(path, [np.zeros(asked.shape, dtype=np.int64)] * 2, asked)
    good, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, len(good), 150).tolist():
        changed = bytearray(good)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        try:
            read_choices(path, asked)
        except UsageError:
            refused += 1
    assert refused > 50


def test_a_pickle_is_not_opened(asked: Asked, tmp_path: Path) -> None:
    path, witness = tmp_path / "c.parquet", tmp_path / "witness"
    path.write_bytes(pickle.dumps(_Writes(str(witness))))
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        read_choices(path, asked)
    assert not witness.exists()


class _Writes:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def test_a_link_is_not_followed(asked: Asked, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows(asked)), tmp_path / "real.parquet")
    (tmp_path / "c.parquet").symlink_to(tmp_path / "real.parquet")
    with pytest.raises(UsageError, match="is a link"):
        read_choices(tmp_path / "c.parquet", asked)


def test_a_huge_file_is_not_read(asked: Asked, tmp_path: Path) -> None:
    with (tmp_path / "c.parquet").open("wb") as file:
        file.truncate(module.LARGEST_FILE + 1)
    with pytest.raises(UsageError, match="write less"):
        read_choices(tmp_path / "c.parquet", asked)


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = rows(asked)
    for i, row in enumerate(table):
        row["llm_id"] = f"{i}" + "x" * 1_000_000
    path = tmp_path / "c.parquet"
    pq.write_table(pa.Table.from_pylist(table), path, compression="zstd")
    monkeypatch.setattr(module, "LARGEST_COLUMN", 10_000_000)
    monkeypatch.setattr(module, "_read_rows", lambda *_: pytest.fail("it was unpacked"))
    assert path.stat().st_size < 100_000
    with pytest.raises(UsageError, match="bytes in one column"):
        read_choices(path, asked)


def test_one_long_text_named_in_every_row_is_held_once(asked: Asked, tmp_path: Path) -> None:
    """A few kilobytes could otherwise unpack to rows times the longest text."""
    path, long, count = tmp_path / "c.parquet", 4 << 20, len(rows(asked))
    table = pa.Table.from_pylist(rows(asked))
    users = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * long])
    table = table.set_column(0, "user_id", users)
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(UsageError, match="row 1: user_id 'xxx"):
            read_choices(path, asked)
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < count * long / 2
