"""Our scores of real recorded responses, against the recorded scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from personaroute_bench.scoring import score_many

RECORDED = Path(__file__).resolve().parents[2] / ".." / "shared" / "recorded" / "responses.parquet"

# Share of rows that must agree to 1e-6; docs/scoring.md explains where the others differ.
FLOORS = {
    "alpaca_eval": 0.995,
    "gsm8k": 0.995,
    "cruxeval": 0.99,
    "math_l5": 0.99,
    "mmlu_pro": 0.985,
    "kor_counterfactual": 0.99,
    "kor_cipher": 0.99,
    "kor_logic": 0.95,
    "kor_puzzle": 0.93,
    "kor_operation": 0.80,
}


@pytest.mark.skipif(
    not RECORDED.is_file(), reason="the recorded responses are not beside the repository"
)
@pytest.mark.parametrize("task_id", FLOORS)
def test_recorded_scores(task_id: str) -> None:
    import pyarrow.parquet as pq

    names = ["metric", "response", "ground_truth", "score"]
    rows = pq.read_table(RECORDED, columns=names, filters=[("task_id", "=", task_id)])
    assert rows.num_rows > 2000
    ours = score_many(
        rows["metric"][0].as_py(), rows["response"].to_pylist(), rows["ground_truth"].to_pylist()
    )
    agree = np.abs(ours - rows["score"].to_numpy()) < 1e-6
    assert agree.mean() >= FLOORS[task_id]
