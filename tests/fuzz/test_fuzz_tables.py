"""Foreign tables: tasks, recorded responses, importers, predictions; whole, or one message."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome import attempt, fuzzed, leaves_nothing, refused
from shapes import csv_files, json_files, line_files, parquet_files
from small_data import response_rows, write_pool

from personaroute_bench.batch_routing import read_requests
from personaroute_bench.config import DataConfig
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.generate import generate
from personaroute_bench.interchange.alpaca_eval import open_alpaca_eval
from personaroute_bench.interchange.embedllm import open_embedllm
from personaroute_bench.interchange.llmrouterbench import open_llmrouterbench
from personaroute_bench.interchange.lm_eval import open_lm_eval
from personaroute_bench.interchange.mapped_parquet import open_mapped
from personaroute_bench.interchange.preferences import import_preferences
from personaroute_bench.interchange.preferences_file import read_preferences
from personaroute_bench.interchange.response_file import Source, write_responses
from personaroute_bench.interchange.routerbench import open_routerbench
from personaroute_bench.interchange.xroutebench import open_xroutebench
from personaroute_bench.tasks.files import TaskFile
from personaroute_bench.tasks.recorded import RecordedResponses

Files = st.SearchStrategy[bytes]


def tables(rows: list[dict[str, Any]], *kinds: str) -> st.SearchStrategy[tuple[str, bytes]]:
    """Draw (suffix, bytes) of a file that should hold these rows."""
    table = pa.Table.from_pylist(rows)
    flat = pd.DataFrame(rows).to_csv(index=False)
    makers: dict[str, Callable[[], Files]] = {
        "parquet": lambda: parquet_files(table),
        "csv": lambda: csv_files(flat),
        "jsonl": lambda: line_files(rows),
    }
    return st.one_of(
        *(st.tuples(st.just(kind), makers[kind]()) for kind in kinds or ("parquet", "csv"))
    )


def written(folder: str, file: tuple[str, bytes], stem: str = "in") -> Path:
    path = Path(folder) / f"{stem}.{file[0]}"
    path.write_bytes(file[1])
    return path


RESPONSES = [row | {"score": 0.5, "prompt_tokens": 5, "cost_usd": 0.1, "latency_s": 1.0,
                    "status": "ok"} for row in response_rows()[:12]]  # fmt: skip
TASKS = [{"query": f"Which, {n}?", "ground_truth": "x", "task_id": "t"} for n in range(4)]


@fuzzed
@given(tables(TASKS, "parquet", "csv", "jsonl"))
def test_task_files(file: tuple[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, file)

        def load() -> Any:
            source = TaskFile(path)
            source.fingerprint()
            return source.load(seed=0, queries_per_task=3, task_ids=None)

        if not refused(result := attempt(load), path):
            assert result.queries and result.tasks


@fuzzed
@given(
    tables(RESPONSES, "parquet", "csv", "jsonl"),
    json_files({"sums": {"description": "d", "licence": "MIT"}}),
)
def test_recorded_responses(file: tuple[str, bytes], beside: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, file)
        if len(beside) % 2:
            (Path(folder) / "tasks.json").write_bytes(beside)

        def load() -> Any:
            source = RecordedResponses(path)
            source.fingerprint()
            taskset = source.load(seed=0, queries_per_task=None, task_ids=None)
            return source.responses(taskset, source.llm_ids)

        if not refused(result := attempt(load), folder):
            assert result.num_rows


@fuzzed
@given(tables(RESPONSES, "parquet", "jsonl"))
def test_a_data_set_of_recorded_responses(file: tuple[str, bytes]) -> None:
    """The whole way: complete, or no manifest."""
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig(
            users=2, responses=str(written(folder, file)), pool=str(write_pool(Path(folder)))
        )
        made = attempt(generate, data, Path(folder) / "out")
        whole = (Path(folder) / "out" / "manifest.json").exists()
        assert whole != refused(made)


def llmrouterbench_result() -> dict[str, Any]:
    record = {
        "index": 0, "origin_query": "What?", "prompt": "Say: What?", "prompt_tokens": 7,
        "completion_tokens": 3, "cost": 0.002, "score": 1.0, "prediction": "1",
        "ground_truth": 1, "raw_output": "It is 1.", "extra_fields": {},
    }  # fmt: skip
    return {
        "performance": 0.5, "model_name": "acme/a", "dataset_name": "aime", "split": "test",
        "demo": False, "counts": 1, "records": [record],
    }  # fmt: skip


ROUTERBENCH = [
    {
        "sample_id": f"sums.val.{q}", "prompt": "['Sum?', 'It is.']", "eval_name": "sums",
        "a": 1.0, "a|model_response": "['x']", "a|total_cost": 1e-4,
        "oracle_model_to_route_to": "a",
    }
    for q in range(3)
]  # fmt: skip
EMBEDLLM = [
    {"prompt_id": q, "model_id": m, "category_id": 1, "label": (q + m) % 2, "prompt": "Which?",
     "model_name": f"m{m}", "category": "mmlu"}
    for q in range(2) for m in range(2)
]  # fmt: skip
XROUTE = [
    {"task_name": "mmlu", "query": f"Which, {q}?", "ground_truth": "B", "metric": "em_mc",
     "choices": "A) x", "task_id": "t", "model_name": f"m{m}", "response": "B", "token_num": 12,
     "input_tokens": 10, "output_tokens": 2, "response_time": 0.5, "performance": 1.0,
     "embedding_id": q}
    for q in range(2) for m in range(2)
]  # fmt: skip
ALPACA = [
    {"instruction": "Say.", "output": "x", "generator": name, "dataset": "helpful"}
    for name in ("ref", "a")
]
LM_EVAL = [
    {"doc_id": n, "target": "x", "arguments": [["Say.", {}]], "filtered_resps": ["x"],
     "filter": "none", "metrics": ["acc"], "acc": 1.0}
    for n in range(2)
]  # fmt: skip


def formats() -> dict[str, tuple[Callable[[Path], Source], st.SearchStrategy[tuple[str, bytes]]]]:
    return {
        "routerbench": (open_routerbench, tables(ROUTERBENCH)),
        "embedllm": (open_embedllm, tables(EMBEDLLM, "csv")),
        "xroutebench": (open_xroutebench, tables(XROUTE, "parquet")),
        "llmrouterbench": (
            open_llmrouterbench,
            st.tuples(st.just("json"), json_files(llmrouterbench_result())),
        ),
        "alpaca": (
            lambda path: open_alpaca_eval(path, "ref"),
            st.tuples(st.just("json"), json_files(ALPACA)),
        ),
        "lm_eval": (open_lm_eval, st.tuples(st.just("jsonl"), line_files(LM_EVAL))),
        "mapped": (
            lambda path: open_mapped(path, {"llm_id": "llm"}, {"metric": "f1_score"}),
            tables([{k: v for k, v in row.items() if k != "metric"} for row in RESPONSES]),
        ),
    }


@pytest.mark.parametrize("name", list(formats()))
def test_importers(name: str) -> None:
    open_format, files = formats()[name]

    @fuzzed
    @given(files)
    def check(file: tuple[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, out = written(folder, file, "samples_x"), Path(folder) / "out"
            made = attempt(lambda: write_responses(open_format(path), out))
            if refused(made, path):
                leaves_nothing(out)
            else:
                assert pq.read_metadata(out / "responses.parquet").num_rows == made.rows > 0

    check()


PEOPLE = [
    {
        "dataset": "chats", "user_id": f"u{n % 2}", "query_id": f"q{n}", "query": f"Why, {n}?",
        "candidates": ["b", "a"], "responses": ["from b", "from a"], "chosen": "b",
        "outcome": "chosen", "chosen_index": 0, "ratings": [2.0, 1.0], "source": "s",
        "licence": "MIT",
    }
    for n in range(8)
]  # fmt: skip


@fuzzed
@given(tables(PEOPLE, "parquet", "jsonl"))
def test_preferences(file: tuple[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = written(folder, file), Path(folder) / "out"
        rows = attempt(read_preferences, path)
        made = attempt(import_preferences, path, out)
        if refused(rows, path):
            assert refused(made)
        assert (out / "manifest.json").exists() != refused(made)


USERS, QUERIES, LLMS = np.asarray(["007", "8"]), np.asarray(["p", "q"]), np.asarray(["a", "b"])
CHOICES = [{"user_id": u, "query_id": q, "llm_id": "a"} for u in ("007", "8") for q in ("p", "q")]


@fuzzed
@given(tables(CHOICES, "parquet", "csv", "jsonl"))
def test_predictions(file: tuple[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, file)
        read = attempt(read_predictions, path, USERS, QUERIES, LLMS)
        if not refused(read, path):
            choice, problem = read
            assert choice.shape == (2, 2) and (choice >= -1).all() and (choice < 2).all()
            assert (problem is None) == (choice >= 0).all()


@fuzzed
@given(line_files([{"query": "Which?", "user_id": "u", "task_id": "t"}, {"query": "Who?"}]))
def test_requests(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, ("jsonl", raw))
        read = attempt(read_requests, path, user="u")
        if not refused(read, path):
            assert len(read[0]) == len(read[1]) == len(read[2]) > 0


def test_the_good_files_are_good() -> None:
    """Else all of the above would only show that nonsense is refused."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (open_format, _) in formats().items():
            good: tuple[str, bytes] = {
                "routerbench": ("parquet", parquet(ROUTERBENCH)),
                "embedllm": ("csv", pd.DataFrame(EMBEDLLM).to_csv(index=False).encode()),
                "xroutebench": ("parquet", parquet(XROUTE)),
                "llmrouterbench": ("json", json.dumps(llmrouterbench_result()).encode()),
                "alpaca": ("json", json.dumps(ALPACA).encode()),
                "lm_eval": ("jsonl", "\n".join(map(json.dumps, LM_EVAL)).encode()),
                "mapped": ("parquet", parquet(RESPONSES)),
            }[name]
            path = written(folder, good, "samples_x")
            assert write_responses(open_format(path), Path(folder) / name).rows > 0
        assert read_preferences(written(folder, ("parquet", parquet(PEOPLE))))
        assert len(RecordedResponses(written(folder, ("parquet", parquet(RESPONSES)))).llm_ids) == 3


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()
