from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_benchmark import save, small_benchmark

from personaroute_bench.evaluation.runner import evaluate


@pytest.fixture(scope="session")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 12 users, 8 test queries, 4 LLMs; one response in ten refused."""
    folder = tmp_path_factory.mktemp("report") / "small"
    save(small_benchmark(failures=0.1), folder)
    return folder


@pytest.fixture(scope="session")
def _runs(_data: Path) -> Callable[..., Path]:
    made: dict[str, Path] = {}

    def run(name: str, *routers: str, **options: object) -> Path:
        if name not in made:
            results = evaluate(
                _data,
                list(routers) or ["best-per-user", "best-per-task"],
                bootstrap_draws=100,
                choices_dir=_data.parent / f"{name}-choices",
                **options,  # type: ignore[arg-type]
            )
            made[name] = _data.parent / f"{name}.json"
            results.write(made[name])
        return made[name]

    return run


@pytest.fixture
def data(_data: Path) -> Path:
    return _data


@pytest.fixture
def run(_runs: Callable[..., Path]) -> Callable[..., Path]:
    """Evaluate once a session; choices lie in NAME-choices beside NAME.json."""
    return _runs


@pytest.fixture
def result(run: Callable[..., Path]) -> Path:
    return run("general")


@pytest.fixture
def choices(result: Path) -> Path:
    return result.with_name("general-choices")
