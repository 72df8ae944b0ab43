from __future__ import annotations

import json
from pathlib import Path

from bench_command import Bench
from small_benchmark import small_benchmark

from personaroute_bench.evaluation.runner import evaluate


def test_bench_compare(bench: Bench, tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    data = small_benchmark(users=40, queries=(40, 10, 48))
    evaluate(data, ["best-single"], bootstrap_draws=200).write(a)
    evaluate(data, ["best-per-user"], bootstrap_draws=200).write(b)
    ran = bench("compare", a, b, "--json", tmp_path / "c.json")
    assert ran.code == 0, ran.err
    assert "best-per-user is better than best-single: reward +" in ran.out
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["routers"][1]["difference"]["p_holm"] < 0.05
    assert bench("compare", a, b, "--metric", "accuracy").code == 0
    alone = bench("compare", a)
    assert alone.code == 2
    assert "name more files" in alone.err
    assert bench("compare", a, b, "--json", tmp_path).code == 2
