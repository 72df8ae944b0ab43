"""Options of engines: mistakes show before anything is started."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from bench_command import Bench

from personaroute_bench.config import RunConfig
from personaroute_bench.engines import LocalEngine, open_engine
from personaroute_bench.errors import UsageError
from personaroute_bench.report import Report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "tcp://127.0.0.1:1"}, "--scheduler tcp://127.0.0.1:1 is for a Dask cluster"),
        ({"workers": 2}, "--workers 2 is for a Dask cluster"),
        ({"engine": "dask", "workers": 0}, "--workers must be at least 1"),
        ({"engine": "dask", "scheduler": "localhost"}, "'localhost' is no address"),
        ({"engine": "dask", "scheduler": "inproc://a:1"}, "is no address"),
        ({"engine": "dsak"}, "did you mean 'dask'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunConfig(**options)


def test_without_dask_the_message_says_how_to_get_it(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else find(name)
    )
    ran = bench("generate", "--limit", 4, "--out", tmp_path / "out", "--engine", "dask")
    assert ran.code == 2
    assert "personaroute-bench[dask]" in ran.err and "Traceback" not in ran.err


def test_the_local_engine_keeps_the_order_and_tells_how_far_it_is() -> None:
    class Watching:
        ticks = 0

        def tick(self) -> None:
            self.ticks += 1

        def interrupted(self) -> None:
            raise AssertionError

    watch = Watching()
    with open_engine(RunConfig(), Report()) as engine:
        assert isinstance(engine, LocalEngine) and not engine.parallel
        assert list(engine.map(lambda block: block * 2, [3, 1, 2], watch)) == [6, 2, 4]
    assert watch.ticks == 3
