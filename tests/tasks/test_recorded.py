from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.tasks.recorded import RecordedResponses
from personaroute_bench.tasks.types import TaskSet

LLMS = ["org/big", "org/small"]


def rows(**extra: Any) -> list[dict[str, Any]]:
    found = []
    for task_id in ("colours", "sums"):
        for number in range(6):
            for llm in LLMS:
                found.append(
                    {
                        "task_id": task_id,
                        "query_id": f"{task_id}/{number}",
                        "query": f"{task_id} number {number}?",
                        "ground_truth": str(number),
                        "metric": "em",
                        "llm": llm,
                        "response": f"{llm} says {number}",
                        "score": number / 10,
                        **extra,
                    }
                )
    return found


def write(path: Path, table: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    return path


def load(source: RecordedResponses, **options: Any) -> TaskSet:
    return source.load(**({"seed": 0, "queries_per_task": None, "task_ids": None} | options))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_queries_and_responses(tmp_path: Path, suffix: str) -> None:
    table = rows(prompt_tokens=3, cost_usd=0.5, status="ok")
    table[0]["response"] = 'two\nlines, "quoted"'
    source = RecordedResponses(write(tmp_path / f"r{suffix}", table[::-1]))
    taskset = load(source)
    assert source.llm_ids == LLMS
    assert source.dropped == ""
    assert [task.task_id for task in taskset.tasks] == ["colours", "sums"]
    assert [query.query_id for query in taskset.queries[:2]] == ["colours/0", "colours/1"]
    first = taskset.queries[0]
    assert first.prompt == first.query == "colours number 0?"

    found = source.responses(taskset, LLMS[::-1])
    assert found["query_id"].to_pylist()[:3] == ["colours/0", "colours/0", "colours/1"]
    assert found["llm_id"].to_pylist()[:3] == ["org/small", "org/big", "org/small"]
    assert found["response"][1].as_py() == 'two\nlines, "quoted"'
    assert found["recorded_score"].to_pylist()[2:4] == [0.1, 0.1]
    assert found["prompt_tokens"].to_pylist() == [3] * 24
    assert found["cost_usd"].to_pylist() == [0.5] * 24
    assert found["status"].to_pylist() == ["ok"] * 24
    assert found.schema.field("llm_id").type == pa.string()


def test_the_least_columns(tmp_path: Path) -> None:
    least = [
        {("llm_id" if key == "llm" else key): row[key] for key in row if key != "score"}
        for row in rows()
    ]
    source = RecordedResponses(write(tmp_path / "r.jsonl", least))
    found = source.responses(load(source), LLMS)
    assert found.schema.names == ["query_id", "llm_id", "response", "recorded_score"]
    assert found["recorded_score"].null_count == 24


def test_sampling_keeps_the_earlier_ones(tmp_path: Path) -> None:
    source = RecordedResponses(write(tmp_path / "r.parquet", rows()))

    def ids(size: int, seed: int = 0) -> set[str]:
        return {query.query_id for query in load(source, queries_per_task=size, seed=seed).queries}

    assert len(ids(2)) == 4
    assert ids(2) < ids(4)
    assert {frozenset(ids(2, seed)) for seed in range(5)} != {frozenset(ids(2))}


def test_what_describes_the_tasks(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", rows())
    about = {"sums": {"description": "Adding up", "licence": "CC0", "source": "us", "metric": 3}}
    (tmp_path / "tasks.json").write_text(json.dumps(about), encoding="utf-8")
    colours, sums = load(RecordedResponses(path)).tasks
    assert (sums.description, sums.licence, sums.source, sums.metric) == (
        "Adding up",
        "CC0",
        "us",
        "em",
    )
    assert (colours.description, colours.licence, colours.source) == (
        "colours",
        "unknown",
        path.name,
    )
    write(path, rows(licence="MIT"))
    assert {task.licence for task in load(RecordedResponses(path)).tasks} == {"MIT"}


def test_incomplete_queries_are_left_out_and_counted(tmp_path: Path) -> None:
    table = [row for row in rows() if (row["query_id"], row["llm"]) != ("sums/2", "org/small")]
    path = write(tmp_path / "r.parquet", table)
    source = RecordedResponses(path)
    assert len(load(source).queries) == 11
    assert source.dropped.startswith("1 of 12 queries lack a response")
    assert "sums 1" in source.dropped
    alone = RecordedResponses(path, ["org/big"])
    assert len(load(alone).queries) == 12
    assert alone.dropped == ""
    with pytest.raises(UsageError, match=r"not exactly one response of LLM 'org/small'.*'sums/2'"):
        source.responses(load(alone), LLMS)


def test_a_task_without_complete_queries(tmp_path: Path) -> None:
    table = [row for row in rows() if row["task_id"] == "sums" or row["llm"] == "org/big"]
    source = RecordedResponses(write(tmp_path / "r.parquet", table))
    assert {query.task_id for query in load(source).queries} == {"sums"}
    with pytest.raises(
        UsageError, match=r"no query of task 'colours' .*fewest responses: org/small 0"
    ):
        load(source, task_ids=["colours", "sums"])


def test_recorded_only_metric(tmp_path: Path) -> None:
    verdicts = rows(metric="human_faithfulness", ground_truth=None)
    assert (
        load(RecordedResponses(write(tmp_path / "r.jsonl", verdicts))).queries[0].ground_truth
        is None
    )
    for row in verdicts:
        del row["score"]
    with pytest.raises(UsageError, match=r"column 'metric'.*recorded verdict"):
        load(RecordedResponses(write(tmp_path / "s.jsonl", verdicts)))


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one = RecordedResponses(write(tmp_path / "a.jsonl", rows())).fingerprint()
    assert RecordedResponses(write(tmp_path / "b.jsonl", rows()), LLMS[:1]).fingerprint() == one
    assert RecordedResponses(write(tmp_path / "a.jsonl", rows()[:-2])).fingerprint() != one


def changed(number: int, **cells: Any) -> list[dict[str, Any]]:
    table = rows()
    table[number] |= cells
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            [*rows(), rows()[3]],
            r"row 25 \(query_id 'colours/1', LLM 'org/small'\): a second .* in row 4",
        ),
        (changed(5, query="other?"), r"row 6 .*: query differs from that in row 5"),
        (changed(5, ground_truth="9"), r"row 6 .*: ground_truth differs"),
        (changed(4, query=" ", query_id="new"), r"row 5 .*: query is empty"),
        (changed(4, query_id=None), r"row 5 .*: query_id is empty"),
        (changed(4, llm=None), r"row 5 .*: llm_id is empty"),
        (rows(metric="f1"), r"column 'metric': unknown metric 'f1'"),
        (rows(ground_truth=None), r"'colours/0': ground_truth is empty"),
        (
            [{k: v for k, v in row.items() if k != "response"} for row in rows()],
            "no column 'response'",
        ),
        ([{k: v for k, v in row.items() if k != "llm"} for row in rows()], "'llm' or 'llm_id'"),
    ],
)
def test_bad_rows(tmp_path: Path, table: list[dict[str, Any]], message: str) -> None:
    path = write(tmp_path / "r.jsonl", table)
    with pytest.raises(UsageError, match=message):
        load(RecordedResponses(path))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"cost_usd": -1.0}, r"cost_usd cannot be -1.0; it lies between 0"),
        ({"cost_usd": float("nan")}, r"cost_usd cannot be nan"),
        ({"score": 1.5}, r": score cannot be 1.5; it lies between 0 and 1"),
        ({"prompt_tokens": -3}, r"prompt_tokens cannot be -3"),
        (
            {"status": "fine"},
            r"'sums/5', LLM 'org/small': status cannot be 'fine'; statuses are ok",
        ),
    ],
)
def test_bad_usage(tmp_path: Path, cells: dict[str, Any], message: str) -> None:
    table = [row | dict.fromkeys(cells) for row in rows()]
    table[-1] |= cells
    source = RecordedResponses(write(tmp_path / "r.parquet", table))
    with pytest.raises(UsageError, match=message):
        source.responses(load(source), LLMS)


def test_bad_arguments(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", rows())
    with pytest.raises(UsageError, match="no responses of LLM 'org/bg'; did you mean 'org/big'"):
        RecordedResponses(path, ["org/bg"])
    with pytest.raises(UsageError, match=r"unknown task 'sum'.*did you mean 'sums'"):
        load(RecordedResponses(path), task_ids=["sum"])
    with pytest.raises(UsageError, match="no file"):
        RecordedResponses(tmp_path / "none.parquet")
    for name, content in (("x.parquet", b"PAR1"), ("x.jsonl", b"{"), ("x.csv", b'a,"b\n1')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=f"{name}"):
            RecordedResponses(tmp_path / name)
    (tmp_path / "x.txt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"takes .parquet, .jsonl or .csv"):
        RecordedResponses(tmp_path / "x.txt")
    wrong = write(tmp_path / "w.jsonl", rows(cost_usd="dear"))
    with pytest.raises(UsageError, match=r"w.jsonl, line 1: cost_usd is 'dear'; give a number"):
        RecordedResponses(wrong)
