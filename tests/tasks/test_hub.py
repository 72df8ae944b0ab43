from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.tasks.hub import BUNDLED, Hub
from personaroute_bench.tasks.mapping import make_query, read_mappings


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Real `datasets`, no network, a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
            patch.setenv(name, "1")
        import datasets
        import huggingface_hub.constants

        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def write_mapping(folder: Path, text: str) -> Path:
    path = folder / "hub.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    rows = [
        {"question": f"Q{i}?", "answers": {"text": [f"A{i}", "other"] if i != 3 else []}}
        for i in range(30)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in [*rows, rows[0]])
    (tmp_path / "qa.jsonl").write_text(lines, encoding="utf-8")
    return write_mapping(
        tmp_path,
        """
tasks:
  - task_id: qa
    dataset: json
    data_files: qa.jsonl
    licence: CC0
    fields: {query: question, ground_truth: answers.text.0}
  - {task_id: first, dataset: json, data_files: [qa.jsonl], max_rows: 2,
     fields: {query: question, ground_truth: answers.text.0}}
""",
    )


def test_load(mapping: Path) -> None:
    taskset = Hub(mapping).load(seed=0, queries_per_task=None, task_ids=None)
    assert [(task.task_id, task.source) for task in taskset.tasks] == [
        ("first", "json"),
        ("qa", "json"),
    ]
    counts = [sum(q.task_id == task_id for q in taskset.queries) for task_id in ("first", "qa")]
    assert counts == [2, 29]  # without the row that has no answer, and its double once
    assert {(q.query, q.ground_truth) for q in taskset.queries if q.task_id == "first"} == {
        ("Q0?", "A0"),
        ("Q1?", "A1"),
    }


def test_sampling_keeps_the_earlier_ones(mapping: Path) -> None:
    def ids(size: int) -> set[str]:
        loaded = Hub(mapping).load(seed=0, queries_per_task=size, task_ids=["qa"])
        return {query.query_id for query in loaded.queries}

    assert len(ids(6)) == 6
    assert ids(6) < ids(11)


def test_the_bundled_sets_map_their_columns() -> None:
    rows = {
        "alpaca": {"instruction": "Add.", "input": "", "output": "3", "text": ""},
        "gsm8k": {"question": "1+2?", "answer": "#### 3"},
        "squad": {
            "context": "It is 3.",
            "question": "What is it?",
            "answers": {"text": ["3"], "answer_start": [6]},
        },
        "multi_news": {"document": "A ||||| B", "summary": "3"},
    }
    mappings = {mapping.task_id: mapping for mapping in read_mappings(BUNDLED)}
    assert set(mappings) == set(rows)
    for task_id, row in rows.items():
        query = make_query(mappings[task_id], row, task_id)
        assert query.ground_truth is not None
        assert query.ground_truth.endswith("3")
        assert query.query in query.prompt
    alpaca = make_query(mappings["alpaca"], rows["alpaca"], "x")
    assert alpaca.query == "Add."  # no blank input below it


def test_no_network(tmp_path: Path) -> None:
    path = write_mapping(tmp_path, "tasks: [{task_id: gsm8k, dataset: openai/gsm8k, config: main}]")
    with pytest.raises(
        UsageError, match=r"cannot get openai/gsm8k \(main, train\).*--tasks embedded"
    ):
        Hub(path).load(seed=0, queries_per_task=2, task_ids=None)


def test_wrong_split_or_column(mapping: Path) -> None:
    text = mapping.read_text(encoding="utf-8")
    write_mapping(mapping.parent, text.replace("licence: CC0", "split: test"))
    with pytest.raises(UsageError, match=r"cannot read json .*Correct dataset, config, split"):
        Hub(mapping).load(seed=0, queries_per_task=2, task_ids=["qa"])
    write_mapping(mapping.parent, text.replace("query: question", "query: questions"))
    with pytest.raises(UsageError, match=r"row 0: no column 'questions' for query; did you mean"):
        Hub(mapping).load(seed=0, queries_per_task=2, task_ids=["qa"])


def test_unknown_task(mapping: Path) -> None:
    with pytest.raises(UsageError, match="unknown task 'qu'"):
        Hub(mapping).load(seed=0, queries_per_task=2, task_ids=["qu"])


def test_fingerprint_follows_the_data(mapping: Path) -> None:
    before = Hub(mapping).fingerprint()
    assert str(mapping.parent) not in json.dumps(before)
    with (mapping.parent / "qa.jsonl").open("a", encoding="utf-8") as lines:
        lines.write('{"question": "new", "answers": {"text": ["x"]}}\n')
    assert Hub(mapping).fingerprint() != before
