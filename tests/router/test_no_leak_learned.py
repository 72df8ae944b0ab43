"""No router of the registry learns from what it is tested on, and none is tested unvalidated.

On disk everything that a data set says of its test queries is overwritten, beside the queries
themselves; every router has to choose as before.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from honest_runs import EVERY, FACTS, Runs, perturb, quick, write_rated
from learned_data import asked, past_with_tastes, told
from loopback import Loopback
from prompt_server import reply
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.evaluation.registry import LEARNED, load
from personaroute_bench.evaluation.runner import evaluate

# One worker makes the runs that all tests here look at.
pytestmark = pytest.mark.xdist_group("no-leak-learned")

ONLINE = "an online router is told the reward of what it chose, after the choice: docs/protocols.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("leaks")
    data = small_benchmark(queries=(14, 5, 5))
    write_rated(data, folder / "data")
    for part, what in (("rewards", ("rewards",)), ("everything", ("rewards", "responses"))):
        write_rated(data, folder / part)
        perturb(data, folder / part, what)
    with Loopback(reply) as server:
        yield Runs(folder, server, learning=False)


@pytest.mark.parametrize("feedback", ["full", "choice"])
@pytest.mark.parametrize("name", EVERY)
def test_other_test_outcomes_same_choices(runs: Runs, name: str, feedback: str) -> None:
    if FACTS[name].protocol == "online":
        pytest.skip(ONLINE)
    # A cascade reads the answers that it has bought, so these stay as they are.
    other = "rewards" if FACTS[name].protocol == "cascade" else "everything"
    among = [one for one in EVERY if FACTS[one].protocol == FACTS[name].protocol]
    before, after = (runs(name, data, among, feedback=feedback) for data in ("data", other))
    assert before.entry["choices_sha256"] == after.entry["choices_sha256"]
    assert before.entry["metrics"]["reward"] != after.entry["metrics"]["reward"]


def test_the_folders_differ_where_they_should(runs: Runs) -> None:
    data, other = (Benchmark.load(runs.folder / name) for name in ("data", "everything"))
    for split in ("train", "validation"):
        mine, theirs = (d.interactions(STRATEGY, split) for d in (data, other))
        np.testing.assert_array_equal(mine.reward, theirs.reward)
    test = data.split_queries("test")
    past = np.setdiff1d(np.arange(len(data.query_ids)), test)
    for name in ("performance", "cost", "cost_usd", "status"):
        mine, theirs = getattr(data, name), getattr(other, name)
        np.testing.assert_array_equal(mine[past], theirs[past])
        assert (mine[test] != theirs[test]).mean() > 0.3
    hidden = [d.interactions(STRATEGY, "test") for d in (data, other)]
    assert (hidden[0].reward != hidden[1].reward).mean() > 0.9
    assert (hidden[0].chosen != hidden[1].chosen).mean() > 0.2


class Peeking:
    """What a leak looks like: it opens the test split itself."""

    folder: Path

    def fit(self, history: History) -> None:
        table = pq.read_table(self.folder / "interactions" / STRATEGY / "test")
        reward = table["reward"].to_numpy().reshape(len(history.user_ids), -1, 4)
        self.best = reward.argmax(axis=-1)

    def route(self, requests: Requests) -> Any:
        return self.best[requests.user_index, requests.query_index]


def test_a_leak_would_be_found(runs: Runs) -> None:
    digests = []
    for name in ("data", "rewards", "everything"):
        router = Peeking()
        router.folder = runs.folder / name
        results = evaluate(runs.folder / name, [router], bootstrap_draws=0)
        assert results.failed == []
        digests.append(results.routers[0]["choices_sha256"])
    assert digests[0] != digests[1]
    assert digests[1] == digests[2]  # the same rewards, other responses


@dataclasses.dataclass
class Descent:
    """One run of gradient descent under validation."""

    parameters: list[Any]
    """As they are used after it, the very objects."""
    best: list[Any]
    """Their values at the check with the highest score."""
    scores: list[float]
    result: float


@pytest.fixture
def descents(monkeypatch: pytest.MonkeyPatch) -> list[Descent]:
    """Watch all calls of `descend` that are given a validation score."""
    pytest.importorskip("torch")
    from personaroute_bench.router import descent

    original, seen = descent.descend, []

    def watched(
        parameters: Any, loss: Any, *, score: Any = None, fast: Any = (), **rest: Any
    ) -> Any:
        everything = [*parameters, *fast]
        if score is None:
            return original(parameters, loss, fast=fast, **rest)
        scores: list[float] = []
        best: list[Any] = []

        def check() -> float:
            scores.append(float(score()))
            if scores[-1] > max(scores[:-1], default=-np.inf):
                best[:] = [p.detach().clone() for p in everything]
            return scores[-1]

        result = original(parameters, loss, score=check, fast=fast, **rest)
        seen.append(Descent(everything, best, scores, result))
        return result

    for module in descending().values():
        monkeypatch.setattr(module, "descend", watched)
    return seen


def held(thing: Any, depth: int = 0) -> set[int]:
    """Addresses of the tensors that a router holds, however deep."""
    torch = pytest.importorskip("torch")
    if isinstance(thing, torch.Tensor):
        return {thing.data_ptr()}
    if isinstance(thing, torch.nn.Module):
        return {parameter.data_ptr() for parameter in thing.parameters()}
    if depth > 5:
        return set()
    if isinstance(thing, dict):
        parts = list(thing.values())
    elif isinstance(thing, list | tuple):
        parts = list(thing)
    else:
        parts = list(getattr(thing, "__dict__", {}).values())
    return set().union(*(held(part, depth + 1) for part in parts))


def descending() -> dict[str, Any]:
    """Routers whose module uses `descend`, and the modules."""
    modules = {n: importlib.import_module(p.partition(":")[0]) for n, p in LEARNED.items()}
    return {name: module for name, module in modules.items() if hasattr(module, "descend")}


def test_those_that_descend_are_found() -> None:
    assert {"mf", "mf-personal", "router-dc", "router-dc-personal"} <= set(descending())


@pytest.mark.parametrize("name", descending())
def test_the_weights_in_use_are_those_that_validated_best(
    name: str, descents: list[Descent]
) -> None:
    torch = pytest.importorskip("torch")
    with quick():
        router = load(name)(seed=0)
        router.fit(told(past_with_tastes(), feedback="choice"))
    if not descents:
        pytest.skip("how many steps it takes is selected in folds over the past, not on the way")
    for one in descents:
        assert one.result == max(one.scores)
        for now, then in zip(one.parameters, one.best, strict=True):
            torch.testing.assert_close(now.detach(), then, rtol=0, atol=0)
    used = held(router)
    mine = [one for one in descents if used & {p.data_ptr() for p in one.parameters}]
    assert mine, "no tensor of any descent is held by the router"
    assert max(one.result for one in mine) == max(one.result for one in descents)


@pytest.mark.parametrize("name", ["personalized", "personalized-graph"])
def test_stopping_at_the_best_epoch_changes_nothing(name: str) -> None:
    data = past_with_tastes()
    with quick():
        router = load(name)(width=8, epochs=6, patience=2)
        router.fit(told(data))
        assert router.best_epoch == int(np.argmin(router.losses))
        short = load(name)(width=8, epochs=router.best_epoch + 1, patience=2)
        short.fit(told(data))
        found = [np.asarray(one.route(asked(data))) for one in (router, short)]
    np.testing.assert_array_equal(*found)
