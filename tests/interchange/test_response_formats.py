from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from bench_command import Bench

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.interchange.alpaca_eval import open_alpaca_eval
from personaroute_bench.interchange.embedllm import open_embedllm
from personaroute_bench.interchange.llmrouterbench import open_llmrouterbench
from personaroute_bench.interchange.lm_eval import open_lm_eval
from personaroute_bench.interchange.mapped_parquet import open_mapped
from personaroute_bench.interchange.response_file import Source, write_responses
from personaroute_bench.interchange.routerbench import open_routerbench
from personaroute_bench.interchange.xroutebench import open_xroutebench

LLMS = ("acme/small", "acme/large v2")
PLAIN = ["acme/small", "acme/large-v2"]


def made(source: Source, tmp_path: Path) -> list[dict[str, Any]]:
    write_responses(source, tmp_path / "out")
    return list(pq.read_table(tmp_path / "out" / "responses.parquet").to_pylist())


def routerbench_frame(queries: int = 12) -> pd.DataFrame:
    rows = []
    for q in range(queries):
        row: dict[str, Any] = {
            "sample_id": f"sums.val.{q}",
            "prompt": str([f"Sum {q}?", "It's a sum."]),
            "eval_name": "sums" if q % 2 else "grade-school-math",
        }
        row |= {llm: float((q + m) % 2) for m, llm in enumerate(LLMS)}
        row |= {f"{llm}|model_response": str([f"{q} {llm}"]) for llm in LLMS}
        row |= {f"{llm}|total_cost": 1e-4 * (1 + 9 * m) for m, llm in enumerate(LLMS)}
        rows.append(row | {"oracle_model_to_route_to": LLMS[0]})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_routerbench(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"routerbench.{suffix}"
    frame = routerbench_frame()
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    rows = made(open_routerbench(path), tmp_path)
    assert len(rows) == 24
    first = rows[0]
    assert first["query"] == "Sum 0?\nIt's a sum." and first["response"] == "0 acme/small"
    assert (first["score"], first["cost_usd"], first["metric"]) == (0.0, 1e-4, "recorded_score")
    pool = yaml.safe_load((tmp_path / "out" / "pool.yaml").read_text())["llms"]
    assert [llm["id"] for llm in pool] == PLAIN
    assert all(llm["input_price"] is None for llm in pool)  # unknown, not zero


def test_a_pickle_is_never_opened(tmp_path: Path, bench: Bench) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    path = tmp_path / "routerbench_0shot.pkl"
    path.write_bytes(pickle.dumps(Trap()))
    ran = bench("import", "routerbench", path, "--out", tmp_path / "out")
    assert ran.code == 2 and "runs code when it is read" in ran.err
    disguised = path.rename(tmp_path / "routerbench.parquet")
    assert bench("import", "routerbench", disguised, "--out", tmp_path / "out").code == 2
    assert not (tmp_path / "harm").exists() and not (tmp_path / "out").exists()


def test_routerbench_becomes_a_data_set(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "routerbench.parquet"
    routerbench_frame(24).to_parquet(path)
    ran = bench("import", "routerbench", path, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "--allow-unknown-cost" in ran.out
    command = ran.out.split("Next: bench ")[1].split()[:-1]
    ran = bench(*command, tmp_path / "data", "--users", 5, "--quiet")
    assert ran.code == 0, ran.err
    data = Benchmark.load(tmp_path / "data")
    assert data.llm_ids.tolist() == PLAIN and data.performance.shape == (24, 2)
    np.testing.assert_allclose(data.cost_usd, np.tile([1e-4, 1e-3], (24, 1)))
    assert data.manifest["provenance"] == ["recorded"]


def llmrouterbench_result(llm: str, run: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "performance": 0.5,
        "model_name": llm,
        "dataset_name": "aime",
        "split": "test",
        "demo": False,
        "counts": 2,
        "records": [
            {
                "index": i,
                "origin_query": f"What is {i}?",
                "prompt": f"Answer briefly. What is {i}?",
                "prompt_tokens": 7,
                "completion_tokens": 3,
                "cost": 0.002 if llm == LLMS[1] else 0.0,
                "score": float(i),
                "prediction": str(i),
                "ground_truth": i,
                "raw_output": f"It is {i}.",
                "extra_fields": {},
            }
            for i in range(2)
        ],
        **(run or {}),
    }


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_llmrouterbench(tmp_path: Path) -> None:
    folder = tmp_path / "bench" / "aime" / "test"
    for m, llm in enumerate(LLMS):
        name = f"aime-test-m{m}-20251016_120000.json"
        write_json(folder / f"m{m}" / name, llmrouterbench_result(llm))
    old = llmrouterbench_result(LLMS[0], {"records": []})
    write_json(folder / "m0" / "aime-test-m0-20250101_000000.json", old)
    demo = llmrouterbench_result(LLMS[0], {"demo": True, "records": []})
    write_json(folder / "m0" / "aime-test-m0-20260101_000000.json", demo)
    rows = made(open_llmrouterbench(tmp_path / "bench"), tmp_path)
    assert len(rows) == 4
    large = next(r for r in rows if r["llm_id"] == PLAIN[1] and r["query_id"] == "aime/test/1")
    assert large["query"] == "What is 1?" and large["prompt"].startswith("Answer briefly.")
    assert (large["response"], large["ground_truth"]) == ("It is 1.", "1")
    assert (large["prompt_tokens"], large["completion_tokens"]) == (7, 3)
    assert large["cost_usd"] == 0.002 and large["score"] == 1.0
    # Every response of the small one "cost" 0.0: nobody knew its price.
    small = [r["cost_usd"] for r in rows if r["llm_id"] == PLAIN[0]]
    assert small == [None, None]


def test_llmrouterbench_without_score_is_an_error_status(tmp_path: Path) -> None:
    result = llmrouterbench_result(LLMS[0])
    result["records"][1]["score"] = None
    path = write_json(tmp_path / "a.json", result)
    rows = made(open_llmrouterbench(path), tmp_path)
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[1]["error_type"] == "missing_score" and rows[1]["score"] is None


def test_llmrouterbench_records_have_an_index_that_tells_queries_apart(tmp_path: Path) -> None:
    result = llmrouterbench_result(LLMS[0])
    result["records"][1]["index"] = None
    path = write_json(tmp_path / "a.json", result)
    with pytest.raises(UsageError, match="record 2: index is 'None'; give a number"):
        write_responses(open_llmrouterbench(path), tmp_path / "out")


def embedllm_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "prompt_id": q,
                "model_id": m,
                "category_id": 1,
                "label": (q + m) % 2,
                "prompt": f"Which, {q}?\nA or B",
                "model_name": llm,
                "category": "mmlu",
            }
            for q in range(4)
            for m, llm in enumerate(LLMS)
        ]
    )


def test_embedllm(tmp_path: Path) -> None:
    frame = embedllm_frame()
    (tmp_path / "in").mkdir()
    frame[:4].to_csv(tmp_path / "in" / "train.csv", index=False)
    frame[4:].to_csv(tmp_path / "in" / "test.csv", index=False)
    rows = made(open_embedllm(tmp_path / "in"), tmp_path)
    assert {(r["query_id"], r["llm_id"], r["score"]) for r in rows} == {
        (str(q), PLAIN[m], float((q + m) % 2)) for q in range(4) for m in range(2)
    }
    assert all(r["response"] is None and r["status"] == "ok" for r in rows)
    assert rows[0]["query"].endswith("?\nA or B")


def xroute_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "task_name": "mmlu",
                "query": f"Which, {q}?",
                "ground_truth": "B",
                "metric": "em_mc",
                "choices": "A) x\nB) y" if q else None,
                "task_id": None,
                "model_name": llm,
                "response": "B",
                "token_num": 12,
                "input_tokens": 10,
                "output_tokens": 2,
                "response_time": 0.5,
                "performance": float(m),
                "embedding_id": q,
            }
            for q in range(3)
            for m, llm in enumerate(LLMS)
        ]
    )


def test_xroutebench(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    xroute_frame().to_parquet(folder / "train.parquet")
    prices = pd.DataFrame({"model_name": LLMS, "input_price": 0.1, "output_price": [0.2, None]})
    prices.to_parquet(folder / "llm_candidates.parquet")
    done = write_responses(open_xroutebench(folder), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "responses.parquet").to_pylist()
    assert done.queries == 3 and len(rows) == 6
    assert [rows[0]["query"], rows[2]["query"]] == ["Which, 0?", "Which, 1?\nA) x\nB) y"]
    assert (rows[0]["prompt_tokens"], rows[0]["completion_tokens"]) == (10, 2)
    assert rows[0]["latency_s"] == 0.5 and rows[1]["score"] == 1.0
    pool = yaml.safe_load((tmp_path / "out" / "pool.yaml").read_text())["llms"]
    assert [llm["output_price"] for llm in pool] == [0.2, None]


def test_xroutebench_pairs_are_no_responses(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    pd.DataFrame({"model_1": ["a"], "model_2": ["b"], "judge": ["c"]}).to_parquet(path)
    with pytest.raises(UsageError, match="bench import preferences"):
        open_xroutebench(path)


def test_xroutebench_choices_may_be_lists(tmp_path: Path) -> None:
    path = tmp_path / "video.parquet"
    frame = xroute_frame()
    frame["choices"] = [["A) x", "B) y"]] * len(frame)
    frame.to_parquet(path)
    rows = made(open_xroutebench(path), tmp_path)
    assert rows[0]["query"] == "Which, 0?\nA) x\nB) y"


def alpaca(tmp_path: Path) -> Path:
    for name in (*LLMS, "davinci"):
        outputs = [
            {
                "instruction": f"Describe {i}.",
                "output": f"{i} is a number" if name == "davinci" else f"{i} is {name}",
                "generator": name,
                "dataset": "helpful_base",
                "datasplit": "eval",
            }
            for i in range(3)
        ]
        write_json(tmp_path / "in" / name.replace("/", "-") / "model_outputs.json", outputs)
    return tmp_path / "in"


def test_alpaca_eval(tmp_path: Path) -> None:
    rows = made(open_alpaca_eval(alpaca(tmp_path), "davinci"), tmp_path)
    assert {row["llm_id"] for row in rows} == set(PLAIN) and len(rows) == 6
    row = next(r for r in rows if r["query"] == "Describe 1." and r["llm_id"] == PLAIN[0])
    assert (row["ground_truth"], row["metric"]) == ("1 is a number", "f1_score")
    assert (row["response"], row["task_id"]) == ("1 is acme/small", "helpful_base")


def test_alpaca_eval_needs_a_reference_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'davinci'"):
        open_alpaca_eval(alpaca(tmp_path), "davinci3")


def lm_eval_lines(llm: int) -> list[dict[str, Any]]:
    return [
        {
            "doc_id": i,
            "doc": {"question": f"What is {i}?"},
            "target": f"#### {i}",
            "arguments": {"gen_args_0": {"arg_0": f"Q: What is {i}?", "arg_1": {"until": []}}},
            "resps": [[f"It is {i}."]],
            "filtered_resps": [f"{i}" if kind == "strict-match" else f"It is {i}."],
            "filter": kind,
            "metrics": ["exact_match"],
            "doc_hash": "00",
            "exact_match": float(i == llm),
        }
        for kind in ("strict-match", "flexible-extract")
        for i in range(3)
    ]


def lm_eval_logs(tmp_path: Path) -> Path:
    for m, name in enumerate(("acme__small", "acme__large")):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        text = "".join(json.dumps(line) + "\n" for line in lm_eval_lines(m))
        (folder / "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl").write_text(text)
        (folder / "samples_gsm8k_2025-01-02T03-04-05.678901.jsonl").write_text("{}\n")
    return tmp_path / "in"


def test_lm_eval(tmp_path: Path) -> None:
    rows = made(open_lm_eval(lm_eval_logs(tmp_path)), tmp_path)
    assert len(rows) == 6  # one filter of two, the later log of two
    row = next(r for r in rows if r["llm_id"] == "acme/large" and r["query_id"] == "gsm8k/1")
    assert (row["query"], row["response"], row["score"]) == ("Q: What is 1?", "1", 1.0)
    assert row["ground_truth"] == "#### 1" and row["task_id"] == "gsm8k"


def test_lm_eval_filter_and_metric(tmp_path: Path) -> None:
    logs = lm_eval_logs(tmp_path)
    rows = made(open_lm_eval(logs, filter_="flexible-extract"), tmp_path)
    assert rows[1]["response"] == "It is 1."
    with pytest.raises(UsageError, match="no metric 'acc'"):
        write_responses(open_lm_eval(logs, metric="acc"), tmp_path / "other")
    with pytest.raises(UsageError, match="has no --filter 'none'"):
        write_responses(open_lm_eval(logs, filter_="none"), tmp_path / "other")


def test_lm_eval_with_options_scored_by_likelihood(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    line = {
        "doc_id": 0,
        "target": 2,
        "arguments": [["The sky is", " blue"], ["The sky is", " red"]],
        "resps": [[[-1.5, False]], [[-3.0, False]]],
        "filtered_resps": [[-1.5, False], [-3.0, False]],
        "acc": True,
    }
    (folder / "samples_hella.jsonl").write_text(json.dumps(line))
    rows = made(open_lm_eval(folder, metric="acc"), tmp_path)
    assert (rows[0]["query"], rows[0]["response"]) == ("The sky is", None)
    assert (rows[0]["score"], rows[0]["ground_truth"], rows[0]["status"]) == (1.0, "2", "ok")


def test_mapped_parquet(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "ours.parquet"
    frame = pd.DataFrame(
        {
            "question": ["a?", "a?", "b?", "b?"],
            "who": [*LLMS, *LLMS],
            "right": [True, False, False, True],
            "usd": [0.1, 0.2, 0.3, None],
        }
    )
    frame.to_parquet(path)
    mapping = ["--map", "query=question", "--map", "llm_id=who", "--map", "score=right"]
    mapping += ["--map", "cost_usd=usd", "--set", "task_id=ours"]
    ran = bench("import", "parquet", path, *mapping, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["unpriced"] == [PLAIN[1]]
    rows = pq.read_table(tmp_path / "out" / "responses.parquet").to_pylist()
    assert [row["score"] for row in rows] == [1, 0, 0, 1]
    assert [row["cost_usd"] for row in rows] == [0.1, 0.2, 0.3, None]
    assert len({row["query_id"] for row in rows}) == 2
    assert {row["task_id"] for row in rows} == {"ours"}


@pytest.mark.parametrize(
    ("columns", "constants", "said"),
    [
        ({"llm_id": "who"}, {}, "which column is the query"),
        ({"query": "question"}, {}, "which column is the llm_id"),
        ({"query": "question", "llm_id": "who"}, {}, "how is a response scored"),
        ({"querry": "question"}, {}, "unknown field 'querry'; did you mean 'query'"),
        ({"query": "what"}, {}, "no column 'what'"),
        ({"query": "question", "llm_id": "who"}, {"score": "1"}, "only a text field"),
        ({"query": "question", "llm_id": "who"}, {"status": "fine"}, "statuses are ok, truncated"),
    ],
)
def test_mapping_mistakes(
    tmp_path: Path, columns: dict[str, str], constants: dict[str, str], said: str
) -> None:
    path = tmp_path / "ours.parquet"
    pd.DataFrame({"question": ["a"], "who": ["b"]}).to_parquet(path)
    with pytest.raises(UsageError, match=said):
        open_mapped(path, columns, constants)


def test_a_column_of_statuses_has_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "ours.parquet"
    frame = pd.DataFrame(
        {"query": ["a"] * 3, "llm_id": list("xyz"), "score": [1.0, None, None]}
        | {"status": ["ok", None, "fine"]}
    )
    frame.to_parquet(path)
    with pytest.raises(
        UsageError, match=r"row 3 .*: status is none that is known; statuses are ok"
    ):
        write_responses(open_mapped(path, {}, {}), tmp_path / "out")
    frame[:2].to_parquet(path)
    write_responses(open_mapped(path, {}, {}), tmp_path / "out")


def _embedllm(change: Any) -> Any:
    def write(tmp_path: Path) -> Source:
        path = tmp_path / "train.csv"
        change(embedllm_frame()).to_csv(path, index=False)
        return open_embedllm(path)

    return write


def _set(row: int, column: str, value: Any) -> Any:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_embedllm(_set(2, "label", None)), r"row 3 \(line 6\): label is missing"),
        (_embedllm(_set(2, "label", 2)), r"row 3 .*: score is not between 0 and 1"),
        (_embedllm(_set(2, "label", "yes")), r"row 3 \(line 6\): label is 'yes'"),
        (_embedllm(_set(3, "prompt", "other")), r"row 4 .*: query is not what an earlier row says"),
        (_embedllm(_set(2, "model_name", None)), r"row 3 .*: llm_id is empty"),
        (_embedllm(lambda f: pd.concat([f, f[:1]])), r"row 9: a second response of LLM"),
        (_embedllm(lambda f: f.head(0)), "holds no rows"),
        (_embedllm(lambda f: f.drop(columns="label")), "no column 'label'"),
    ],
)
def test_one_clear_message_and_nothing_left_behind(tmp_path: Path, write: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        write_responses(write(tmp_path), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.csv"]


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    embedllm_frame().to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(UsageError, match="not an empty folder"):
        write_responses(open_embedllm(tmp_path / "train.csv"), tmp_path)


def test_text_that_pretends_to_be_python_stays_text(tmp_path: Path) -> None:
    frame = routerbench_frame(2)
    frame["prompt"] = ["[__import__('os')]", "[" * 500]
    path = tmp_path / "r.parquet"
    frame.to_parquet(path)
    rows = made(open_routerbench(path), tmp_path)
    assert {row["query"] for row in rows} == {"[__import__('os')]", "[" * 500}


def test_the_folder_one_stands_in_is_no_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is where you are; name a new folder"):
        write_responses(Source("any", Path(), iter(())), Path())
