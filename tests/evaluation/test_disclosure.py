"""Styles of past responses and times of queries, as they lie in a data set's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_benchmark import STRATEGY, save, small_benchmark

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.clock import read_clock
from personaroute_bench.evaluation.history import past_style
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.judging.dimensions import NAMES


class Listening:
    def fit(self, history: History) -> None:
        self.history = history
        self.support: History | None = None

    def adapt(self, support: History) -> None:
        self.support = support

    def route(self, requests: Requests) -> Any:
        self.requests = requests
        return np.zeros(len(requests), np.int64)


def listen(folder: Path, **options: Any) -> Listening:
    router = Listening()
    results = evaluate(folder, [router], bootstrap_draws=0, **options)
    assert not results.failed, results.traces
    return router


def rate(folder: Path, benchmark: Benchmark) -> np.ndarray:
    """Write ratings by two judges, the second of the first LLM only; return the first's."""
    Q, M = benchmark.performance.shape
    D = len(NAMES)
    rating = np.random.default_rng(3).random((Q, M, D)).astype(np.float32)
    rating[0, 1, 2] = np.nan
    q, m, d = (x.ravel() for x in np.indices(rating.shape))
    judges = ["embedded"] * q.size + ["other"] * (Q * D)
    second = m == 0
    table = pa.table(
        {
            "query_id": np.concatenate([benchmark.query_ids[q], benchmark.query_ids[q[second]]]),
            "llm_id": np.concatenate([benchmark.llm_ids[m], benchmark.llm_ids[m[second]]]),
            "judge": judges,
            "dimension": np.asarray(NAMES)[np.concatenate([d, d[second]])],
            "rating": pa.array(
                np.concatenate([rating.ravel(), 1 - rating[:, 0].ravel()]), from_pandas=True
            ),
        }
    )
    order = np.random.default_rng(0).permutation(table.num_rows)
    for name in ("query_id", "llm_id", "judge", "dimension"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].dictionary_encode())
    pq.write_table(table.take(order), folder / "ratings.parquet")
    return rating


def test_style_is_of_past_responses_only_and_the_mean_of_judges(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    save(benchmark, tmp_path / "d")
    assert listen(tmp_path / "d").history.style is None  # no ratings
    rating = rate(tmp_path / "d", benchmark)
    history = listen(tmp_path / "d").history
    assert history.style is not None
    assert history.validation is not None
    assert history.validation.style is not None
    assert history.style.shape == (20, 4, 12)
    np.testing.assert_array_equal(history.style[:, 1:], rating[:20, 1:])
    np.testing.assert_allclose(history.style[:, 0], 0.5, atol=1e-6)
    np.testing.assert_array_equal(history.validation.style[:, 1:], rating[20:26, 1:])
    assert np.isnan(history.style[0, 1, 2])
    with pytest.raises(ValueError, match="WRITEABLE"):
        history.style.setflags(write=True)
    assert past_style(benchmark, np.arange(3)) is None  # in memory only


def test_style_of_new_llms_is_of_what_was_shown(benchmark: Benchmark, tmp_path: Path) -> None:
    save(benchmark, tmp_path / "d")
    rating = rate(tmp_path / "d", benchmark)
    router = listen(tmp_path / "d", setting="new-llm", held_out=["llm-1", "llm-3"], shots=2)
    assert router.history.style is not None
    np.testing.assert_array_equal(router.history.style[:, 1], rating[:20, 2])
    support = router.support
    assert support is not None
    assert support.style is not None
    shown = support.status != "undisclosed"
    assert not shown.all()
    assert np.isnan(support.style[~shown]).all()
    rows = [benchmark.query_ids.tolist().index(name) for name in support.query_ids.tolist()]
    expected = rating[rows][:, [0, 2, 1, 3]]
    np.testing.assert_array_equal(support.style[shown][:, 3], np.where(
        np.arange(4) == 0, 0.5, expected[:, :, 3])[shown].astype(np.float32))  # fmt: skip
    assert set(support.responses.column_names) >= {"response"}


def drifting(benchmark: Benchmark, folder: Path) -> np.ndarray:
    """Save the data set with strategy drift; return times [U, Q]."""
    kinds = ["sudden" if u % 3 else "gradual" for u in range(12)]
    users = benchmark.users.append_column("drift_kind", pa.array(kinds))
    save(Benchmark(**{**vars_of(benchmark), "users": users}), folder)
    (folder / "interactions" / STRATEGY).rename(folder / "interactions" / "drift")
    rng = np.random.default_rng(5)
    lives = ((0, 20), (20, 6), (26, 8))  # training, then validation, then test
    parts = [start + np.argsort(rng.random((12, n)), axis=1) for start, n in lives]
    time = np.concatenate(parts, axis=1).astype(np.int32)
    for path in (folder / "interactions" / "drift").glob("*/0.parquet"):
        table = pq.read_table(path, partitioning=None)
        u = [int(name[5:]) for name in table["user_id"].to_pylist()]
        q = [int(name[1:]) for name in table["query_id"].to_pylist()]
        table = table.append_column("time", pa.array(time[u, q]))
        table = table.append_column("segment", pa.array((time[u, q] // 7).astype(np.int8)))
        pq.write_table(table.take(rng.permutation(table.num_rows)), path)
    (folder / "manifest.json").write_text(json.dumps({"strategies": {"drift": {}}, "files": {}}))
    return time


def vars_of(benchmark: Benchmark) -> dict[str, Any]:
    import dataclasses

    return {f.name: getattr(benchmark, f.name) for f in dataclasses.fields(benchmark)}


def test_time_is_told_of_the_past_and_of_requests(benchmark: Benchmark, tmp_path: Path) -> None:
    time = drifting(benchmark, tmp_path / "d")
    router = listen(tmp_path / "d", setting="drift")
    history, requests = router.history, router.requests
    assert history.time is not None
    assert history.segments is not None
    assert history.validation is not None
    assert requests.time is not None
    np.testing.assert_array_equal(history.time, time[:, :20])
    np.testing.assert_array_equal(history.segments, time[:, :20] // 7)
    np.testing.assert_array_equal(history.validation.time, time[:, 20:26])
    np.testing.assert_array_equal(requests.time.reshape(12, 8), time[:, 26:])
    assert requests[9].time == time[1, 27]
    block = next(history.blocks())
    np.testing.assert_array_equal(block.time, time[:, :20])
    for array in (history.time, requests.time):
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_nobody_is_told_times_where_users_are_unknown(benchmark: Benchmark, tmp_path: Path) -> None:
    drifting(benchmark, tmp_path / "d")
    router = listen(tmp_path / "d", setting="drift", tier="T0")
    assert router.history.time is None
    assert router.history.segments is None
    assert router.requests.time is None
    assert router.requests[0].time is None


def test_times_of_new_users(benchmark: Benchmark, tmp_path: Path) -> None:
    time = drifting(benchmark, tmp_path / "d")
    new = ["user-2", "user-7"]
    router = listen(tmp_path / "d", setting="new-user", held_out=new, shots=2)
    assert router.support is not None
    assert router.requests.time is not None
    columns = [int(name[1:]) for name in router.support.query_ids.tolist()]
    np.testing.assert_array_equal(router.support.time, time[[2, 7]][:, columns])
    np.testing.assert_array_equal(router.requests.time.reshape(2, 8), time[[2, 7], 26:])


def test_drift_is_reported_by_kind(benchmark: Benchmark, tmp_path: Path) -> None:
    drifting(benchmark, tmp_path / "d")
    results = evaluate(tmp_path / "d", ["cheapest"], setting="drift", bootstrap_draws=0)
    *kinds, average = results["cheapest"]["by"]["drift_kind"]
    reward = benchmark.memory[STRATEGY, "test"].reward[:, :, 0]
    means = [
        float(reward[np.arange(12) % 3 == 0].mean()),
        float(reward[np.arange(12) % 3 > 0].mean()),
    ]
    assert [row["name"] for row in kinds] == ["gradual", "sudden"]
    assert [row["reward"] for row in kinds] == pytest.approx(means)
    assert [row["n"] for row in kinds] == [32, 64]
    assert average["reward"] == pytest.approx(np.mean(means))
    assert results["cheapest"]["metrics"]["reward"]["mean"] == pytest.approx(float(reward.mean()))


def test_a_time_that_is_missing_is_an_error(benchmark: Benchmark, tmp_path: Path) -> None:
    drifting(benchmark, tmp_path / "d")
    path = tmp_path / "d" / "interactions" / "drift" / "train" / "0.parquet"
    table = pq.read_table(path, partitioning=None)
    keep = np.asarray([name != "q3" for name in table["query_id"].to_pylist()])
    pq.write_table(table.filter(keep), path)
    with pytest.raises(BenchError, match="lacks the time of 12 "):
        read_clock(Benchmark.load(tmp_path / "d"), "drift")


def test_strategies_without_time_have_no_clock(tmp_path: Path) -> None:
    data = small_benchmark()
    save(data, tmp_path / "d")
    assert read_clock(Benchmark.load(tmp_path / "d"), STRATEGY) is None
    assert read_clock(data, STRATEGY) is None
