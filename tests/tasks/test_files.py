from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.tasks.files import TaskFile
from personaroute_bench.tasks.mapping import fill, value_at
from personaroute_bench.tasks.sources import source_for

ROWS = [{"query": f"What is {i} + 1?", "ground_truth": str(i + 1)} for i in range(20)]


def load(path: Path, **options: Any) -> Any:
    columns = options.pop("columns", None)
    wanted = {"seed": 0, "queries_per_task": None, "task_ids": None} | options
    return TaskFile(path, columns).load(**wanted)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_least_file(tmp_path: Path) -> None:
    taskset = load(write_jsonl(tmp_path / "sums.jsonl", ROWS))
    (task,) = taskset.tasks
    assert (task.task_id, task.metric, task.licence) == ("sums", "f1_score", "unknown")
    assert len(taskset.queries) == 20
    query = next(query for query in taskset.queries if query.ground_truth == "4")
    assert query.query == query.prompt == "What is 3 + 1?"
    assert query.query_id.startswith("sums-")
    assert list(taskset.queries) == sorted(taskset.queries, key=lambda q: (q.task_id, q.query_id))


def test_ids_survive_another_order_and_equal_rows_count_once(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    first = load(write_jsonl(path, ROWS))
    assert load(write_jsonl(path, ROWS[::-1] + ROWS[:3])) == first


def test_formats_agree(tmp_path: Path) -> None:
    rows = [*ROWS, {"query": 'He said "a,\nb"', "ground_truth": "é"}]
    expected = load(write_jsonl(tmp_path / "sums.jsonl", rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "sums.parquet")
    cells = [[row["query"].replace('"', '""'), row["ground_truth"]] for row in rows]
    lines = ["query,ground_truth", *(f'"{query}",{truth}' for query, truth in cells)]
    (tmp_path / "sums.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for suffix in ("parquet", "csv"):
        assert load(tmp_path / f"sums.{suffix}").queries == expected.queries


def test_all_columns(tmp_path: Path) -> None:
    row = {"id": 7, "q": "2+2?", "a": 4.0, "how": "num_em", "kind": "maths", "sent": "Say: 2+2?"}
    columns = {"query": "q", "ground_truth": "a", "query_id": "id", "metric": "how"}
    columns |= {"task_id": "kind", "prompt": "sent"}
    taskset = load(write_jsonl(tmp_path / "x.jsonl", [row]), columns=columns)
    (query,) = taskset.queries
    assert (query.query_id, query.task_id, query.metric) == ("7", "maths", "num_em")
    assert (query.query, query.ground_truth, query.prompt) == ("2+2?", "4", "Say: 2+2?")
    assert [(task.task_id, task.metric) for task in taskset.tasks] == [("maths", "num_em")]


def test_more_queries_keep_the_earlier_ones(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "sums.jsonl", ROWS)
    few = {query.query_id for query in load(path, queries_per_task=5).queries}
    more = {query.query_id for query in load(path, queries_per_task=12).queries}
    assert len(few) == 5
    assert few < more
    assert {query.query_id for query in load(path, queries_per_task=5, seed=1).queries} != few
    assert len(load(path, queries_per_task=99).queries) == 20


def test_yaml_maps_several_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"context": "C", "qa": [{"q": "Q?", "a": ["yes", "no"]}]}])
    write_jsonl(tmp_path / "b.jsonl", ROWS)
    mapping = tmp_path / "ours.yaml"
    mapping.write_text(
        r"""
tasks:
  - task_id: reading
    description: Our reading task
    path: a.jsonl
    metric: em
    licence: CC0
    fields: {query: "{context}\n{qa.0.q}", ground_truth: qa.0.a.1}
    prompt: "{query} Answer {{briefly}}, given {context}."
  - {task_id: sums, path: b.jsonl, metric: num_em, max_rows: 4}
""",
        encoding="utf-8",
    )
    taskset = load(mapping)
    assert [(t.task_id, t.metric, t.licence) for t in taskset.tasks] == [
        ("reading", "em", "CC0"),
        ("sums", "num_em", "unknown"),
    ]
    first = taskset.queries[0]
    assert (first.query, first.ground_truth) == ("C\nQ?", "no")
    assert first.prompt == "C\nQ? Answer {briefly}, given C."
    assert len(taskset.queries) == 5
    only = load(mapping, task_ids=["sums"])
    assert {query.task_id for query in only.queries} == {"sums"}
    with pytest.raises(UsageError, match=r"unknown task 'sum'.*did you mean 'sums'"):
        load(mapping, task_ids=["sum"])


def test_templates_interpret_nothing() -> None:
    row = {"a": "{b}", "b": "x", "c.d": "dotted", "e": {"f": [1, 2]}}
    assert fill("{a} {{b}} {c.d} {e.f}", row) == "{b} {b} dotted 1\n2"
    for hostile in ("{a.__class__}", "{a!r}", "{e.f.9}", "{}"):
        with pytest.raises(LookupError):
            fill(hostile, row)
    assert value_at(row, "e.f.1") == 2


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = TaskFile(write_jsonl(tmp_path / "s.jsonl", ROWS)).fingerprint()
    assert TaskFile(write_jsonl(tmp_path / "other" / "s.jsonl", ROWS)).fingerprint() == one
    assert TaskFile(write_jsonl(tmp_path / "s.jsonl", ROWS[:3])).fingerprint() != one
    assert str(tmp_path) not in json.dumps(one)
    json.dumps(TaskFile(tmp_path / "s.jsonl", {"query": "query"}).fingerprint())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"query": "x"}\n', r"row 1: no column 'ground_truth'"),
        ("a.jsonl", '\n{"question": "x", "ground_truth": "y"}\n', r"row 2: no column 'query'"),
        (
            "a.jsonl",
            '{"query": " ", "ground_truth": "y"}\n',
            r"row 1, column 'query': query is empty",
        ),
        ("a.jsonl", '{"query": "x", "ground_truth": null}\n', r"ground_truth is empty"),
        ("a.jsonl", '{"query": "x", "ground_truth": "y"}\n{"que', r"row 2: not valid JSON"),
        ("a.jsonl", "[1]\n", r"row 1: expected an object"),
        ("a.jsonl", "[" * 100_000, r"row 1: not valid JSON"),
        (
            "a.jsonl",
            '{"query": "x", "ground_truth": "y", "metric": "f1"}\n',
            r"row 1: unknown metric 'f1'",
        ),
        (
            "a.jsonl",
            '{"query_id": 1, "query": "x", "ground_truth": "y"}\n'
            '{"query_id": 1, "query": "z", "ground_truth": "y"}\n',
            r"query_id '1' stands for two different queries",
        ),
        (
            "a.jsonl",
            '{"query": "x", "ground_truth": "y"}\n{"query": "\\ud800", "ground_truth": "y"}\n',
            r"a\.jsonl, row 2: query holds '\\ud800', half of a character",
        ),
        (
            "a.jsonl",
            '{"query": "x", "ground_truth": ["y", "z\\udfff"]}\n',
            r"row 1: ground_truth holds '\\udfff'",
        ),
        (
            "a.jsonl",
            '{"query": "x", "ground_truth": "y", "task_id": "\\ud800"}\n',
            r"row 1: task_id holds",
        ),
        ("a.yaml", 'tasks: [{task_id: t, path: x, name: "\\ud800"}]', r"task 1: name holds"),
        (
            "a.yaml",
            'tasks: [{task_id: t, path: x, fields: {query: "\\ud800"}}]',
            r"task 1: query holds",
        ),
        ("a.jsonl", "", r"holds no queries"),
        ("a.csv", "query,ground_truth\nx\n", r"row 1: has not as many cells"),
        ("a.csv", 'query,ground_truth\n"x,y\n', r"broken CSV"),
        ("a.parquet", "PAR1 not", r"not a readable Parquet file"),
        ("a.yaml", "tasks: [", r"a.yaml:1: this is not valid YAML"),
        ("a.yaml", "files: []", r"expected a key 'tasks'"),
        (
            "a.yaml",
            "tasks: [{task_id: t, pth: x}]",
            r"task 1: unknown key 'pth'; did you mean 'path'",
        ),
        ("a.yaml", "tasks: [{task_id: t}]", r"give either 'dataset'.* or 'path'"),
        ("a.yaml", "tasks: [{path: x}]", r"task_id is missing"),
        ("a.yaml", "tasks: [{task_id: t, path: x, max_rows: 0}]", r"max_rows cannot be 0"),
        ("a.yaml", "tasks: [{task_id: t, path: x, metric: f1}]", r"unknown metric 'f1'"),
        ("a.yaml", "tasks: [{task_id: t, path: x, fields: {qery: q}}]", r"unknown field 'qery'"),
        (
            "a.yaml",
            "tasks: [{task_id: t, path: none.jsonl}]",
            r"cannot read .*none.jsonl: No such file",
        ),
        ("a.yaml", "tasks: [{task_id: t, path: x}, {task_id: t, path: y}]", r"'t' occurs twice"),
        (
            "a.yaml",
            "tasks: [!!python/object/apply:os.getcwd []]",
            r"a.yaml:1: the tag .* not allowed",
        ),
        ("a.txt", "x", r"cannot read '.txt'"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        load(path)


def test_a_prompt_from_other_columns_is_text_too(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [ROWS[0] | {"note": "half \ud800"}])
    path = tmp_path / "map.yaml"
    path.write_text("tasks: [{task_id: t, path: rows.jsonl, prompt: '{query} {note}'}]")
    with pytest.raises(UsageError, match=r"rows\.jsonl, row 1: prompt holds"):
        load(path)


def test_bad_arguments(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "s.jsonl", ROWS)
    with pytest.raises(UsageError, match="no file"):
        TaskFile(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="unknown field 'qury'; did you mean 'query'"):
        TaskFile(path, {"qury": "q"})
    with pytest.raises(UsageError, match="--queries-per-task is 0"):
        load(path, queries_per_task=0)
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "\xe9", "ground_truth": "x"}')
    with pytest.raises(UsageError, match="not UTF-8"):
        load(tmp_path / "latin.jsonl")


def test_source_for(tmp_path: Path) -> None:
    assert isinstance(source_for(str(write_jsonl(tmp_path / "s.jsonl", ROWS))), TaskFile)
    assert source_for("hub").fingerprint()["source"] == "hub"
    with pytest.raises(UsageError, match=r"'embeded' is neither.*did you mean 'embedded'"):
        source_for("embeded")
