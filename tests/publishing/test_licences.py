from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_hub import FakeHub

from personaroute_bench.benchmark import Benchmark, read_table
from personaroute_bench.errors import UsageError
from personaroute_bench.publishing.licences import hub_licences, normalise, refused_tasks
from personaroute_bench.publishing.publish import publish
from personaroute_bench.publishing.tables import rewrite, texts_removed


def tasks(*licences: str) -> list[dict[str, str]]:
    return [{"task_id": f"t{n}", "licence": text} for n, text in enumerate(licences)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("MIT License", "mit"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("cc_by_sa 4.0", "cc-by-sa-4.0"),
        ("", ""),
    ],
)
def test_names_are_read_in_any_spelling(text: str, name: str) -> None:
    assert normalise(text) == name


def test_what_nobody_may_pass_on_is_refused() -> None:
    rows = tasks("MIT; CC BY 4.0", "unknown", "", "MIT; own terms", "research only", "CC BY-ND 4.0")
    assert set(refused_tasks(rows, [])) == {"t1", "t2", "t3", "t4"}
    assert set(refused_tasks(rows, ["Unknown", "own terms", "research only"])) == {"t2"}
    with pytest.raises(UsageError, match="the licence of no task"):
        refused_tasks(rows, ["mti"])


def test_the_hubs_names() -> None:
    assert hub_licences(["MIT; CC BY 4.0", "MIT"]) == ["cc-by-4.0", "mit"]
    assert hub_licences(["unknown", ""]) == ["other"]


def test_publishing_refuses_and_names_the_remedies(folder: Path, hub: FakeHub) -> None:
    with pytest.raises(UsageError) as caught:
        publish(folder, "org/x")
    for expected in ("sums: 'unknown'", "--allow-licence 'unknown'", "--without-text"):
        assert expected in str(caught.value)
    assert hub.seen == []


def test_without_text_only_the_texts_are_gone(folder: Path, hub: FakeHub) -> None:
    done = publish(folder, "org/x", without_text=True)
    assert set(done.without_text) == {"sums", "capitals", "letters"}
    whole, held = Benchmark.load(folder), Benchmark.load("org/x")
    assert held.directory is not None
    for name, columns in (
        ("queries", {"query", "prompt", "ground_truth"}),
        ("responses", {"response"}),
    ):
        ours, theirs = read_table(folder, name), read_table(held.directory, name)
        assert not any(value for column in columns for value in theirs[column].to_pylist())
        rest = [column for column in ours.column_names if column not in columns]
        assert theirs.select(rest).equals(ours.select(rest))
        assert theirs.schema.equals(ours.schema)
    assert whole.interactions("drift", "test").reward.tobytes() == (
        held.interactions("drift", "test").reward.tobytes()
    )
    assert held.manifest["without_text"]["sums"] == "unknown"
    assert "**Left out**" in hub.files("org/x")["README.md"].decode()
    for name, data in hub.files("org/x").items():
        assert b"How many has she" not in data, name


def test_texts_of_other_tasks_stay(folder: Path, tmp_path: Path) -> None:
    change = texts_removed("queries", ["sums-00"], ["sums"])
    rewrite(folder / "queries.parquet", tmp_path / "a.parquet", change)
    rewrite(folder / "queries.parquet", tmp_path / "b.parquet", change)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    for row in read_table(tmp_path, "a").to_pylist():
        assert bool(row["query"]) == (row["task_id"] != "sums")
    ids = read_table(folder, "queries")["query_id"].to_pylist()
    gone = [name for name in ids if name.startswith("sums")]
    rewrite(
        folder / "responses.parquet",
        tmp_path / "responses.parquet",
        texts_removed("responses", gone, ["sums"]),
    )
    for row in read_table(tmp_path, "responses").to_pylist():
        assert bool(row["response"]) == (row["query_id"] not in gone)


def test_the_manifest_says_which_licences(folder: Path, hub: FakeHub) -> None:
    publish(folder, "org/x", allowed_licences=["UNKNOWN"])
    assert "without_text" not in json.loads(hub.files("org/x")["manifest.json"])
