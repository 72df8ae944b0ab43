from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.interchange import arrow_rows
from personaroute_bench.interchange.arrow_rows import TableFile


def frame() -> pd.DataFrame:
    texts = ['a "quoted" word', "two\nlines", 'both, "x"\n\n"y"', "", "None", "é\r\nü", '"']
    return pd.DataFrame({"text": texts * 9, "number": range(63)})


@pytest.mark.parametrize("size", [1, 7, 40, 200, 10_000])
def test_pieces_hold_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(arrow_rows, "BLOCK_BYTES", size)
    path = tmp_path / "a.csv"
    frame().to_csv(path, index=False)
    blocks = list(TableFile(path).blocks(["text"], ["number"]))
    assert [text for _, block in blocks for text in block["text"].to_pylist()] == frame()[
        "text"
    ].to_list()
    assert [n for _, block in blocks for n in block["number"].to_pylist()] == list(range(63))
    firsts = [first for first, _ in blocks]
    counts = [len(block["text"]) for _, block in blocks]
    assert firsts == [1 + sum(counts[:i]) for i in range(len(counts))]
    assert len(blocks) > 5 if size < 200 else len(blocks) >= 1


def test_bytes_order_mark_and_missing_last_line_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufefftext,number\n"x",1\ny,2'.encode())
    blocks = TableFile(path).blocks(["text"], ["number"])
    assert [block["text"].to_pylist() for _, block in blocks] == [["x"], ["y"]]


def test_parquet_and_csv_read_the_same(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "a.csv", index=False)
    frame().to_parquet(tmp_path / "a.parquet")
    read = [
        pa.concat_tables(
            pa.table({name: column.cast(pa.string()) for name, column in block.items()})
            for _, block in TableFile(tmp_path / name).blocks(["text"], ["number"])
        )
        for name in ("a.csv", "a.parquet")
    ]
    assert read[0].equals(read[1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"text,text\n1,2\n", "two columns 'text'"),
        (b"text,number\nx,\xff\n", "."),
        (b'text,number\n"open,1\nx,2\n', "."),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        list(TableFile(path).blocks(["text"], ["number"]))


def test_other_kinds_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    (tmp_path / "a.parquet").write_bytes(b"x")
    for name, said in (("a.xlsx", "cannot read '.xlsx'"), ("b.csv", "no file"),
                       ("a.parquet", "not a readable Parquet")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            TableFile(tmp_path / name)
