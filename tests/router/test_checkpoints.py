"""Checkpoints: what is saved is what routes; what is hostile or does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file
from trained_routers import choices, people

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.checkpoints import TrainedRouter, load_router
from personaroute_bench.embeddings import make_embedder
from personaroute_bench.errors import UsageError
from personaroute_bench.training import train


def embedded() -> Benchmark:
    """Queries whose embeddings are those of their texts."""
    data = people()
    maths = ["add the pears", "multiply the numbers", "sum of three prices"]
    reading = ["who wrote the letter", "which town is meant", "what did the captain say"]
    texts = [f"{(maths, reading)[i % 2][i % 3]} in story {i}" for i in range(52)]
    vectors = make_embedder("hashing").embed(texts)
    queries = data.queries.drop_columns(["query", "embedding"])
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    queries = queries.append_column("query", pa.array(texts))
    queries = queries.append_column("embedding", column)
    queries = queries.append_column("embedder", pa.array(["hashing"] * 52))
    return dataclasses.replace(data, queries=queries)


@pytest.fixture(params=["explicit-utility", "personalized", "personalized-graph"])
def trained(request: pytest.FixtureRequest) -> TrainedRouter:
    if request.param != "explicit-utility":
        pytest.importorskip("torch").set_num_threads(1)
    return train(embedded(), request.param, feedback="choice")


def test_what_is_saved_is_what_routes(trained: TrainedRouter, tmp_path: Path) -> None:
    trained.save(tmp_path / "model")
    again = load_router(tmp_path / "model")
    data = embedded()
    np.testing.assert_array_equal(choices(again.router, data), choices(trained.router, data))
    assert again.training == trained.training
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "model.json",
        "model.safetensors",
    ]
    first, second = (r.route("add the numbers", "user-3") for r in (trained, again))
    assert first == second
    decision = first[0]
    assert decision.task == "maths" and decision.task_source == "predicted"
    assert list(decision.scores.values()) == sorted(decision.scores.values(), reverse=True)
    assert decision.choice == next(iter(decision.scores))
    assert 0 <= (decision.expected_performance or 0) <= 1
    # LLM m costs 0.001 · (1 + m) whatever the query
    cost = 0.001 * (1 + int(decision.choice.split("-")[1]))
    assert decision.expected_cost_usd == pytest.approx(cost, rel=1e-3)
    assert "this user" in decision.why
    assert "average user" in again.route("add the numbers", "stranger")[0].why


def test_a_task_given_and_candidates_named() -> None:
    model = train(embedded(), "explicit-utility")
    assert model.training["task_accuracy"] > 0.8
    decision = model.route("add", "user-0", task="reading", candidates=["llm-2", "llm-1"])[0]
    assert (decision.task, decision.task_source) == ("reading", "given")
    assert set(decision.scores) == {"llm-1", "llm-2"}
    many = model.route(["add", "who"], ["user-0", "user-1"], task=[None, "maths"])
    assert [d.task_source for d in many] == ["predicted", "given"]
    assert model.route([], []) == []
    for wrong, message in (
        ({"task": "cooking"}, "unknown task 'cooking'"),
        ({"candidates": ["llm-9"]}, "unknown candidate 'llm-9'"),
        ({"candidates": []}, "no candidates"),
    ):
        with pytest.raises(UsageError, match=message):
            model.route("add", "user-0", **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="1 queries, 2 users"):
        model.route(["add"], ["a", "b"])


def test_only_what_can_be_saved_is_trained() -> None:
    with pytest.raises(UsageError, match="cannot be saved"):
        train(embedded(), "best-single")


def broken(change: Any) -> Any:
    """Return a function that changes a checkpoint's JSON and arrays."""

    def apply(folder: Path) -> None:
        head = json.loads((folder / "model.json").read_text())
        arrays = load_file(folder / "model.safetensors")
        change(head, arrays)
        (folder / "model.json").write_text(json.dumps(head))
        save_file(arrays, folder / "model.safetensors")

    return apply


BROKEN = {
    "no file": lambda f: (f / "model.safetensors").unlink(),
    "a pickle": lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n."),
    "cut off": lambda f: (f / "model.safetensors").write_bytes(
        (f / "model.safetensors").read_bytes()[:-100]
    ),
    "no json": lambda f: (f / "model.json").unlink(),
    "not json": lambda f: (f / "model.json").write_text("{"),
    "foreign": lambda f: (f / "model.json").write_text("[1]"),
    "version": broken(lambda h, a: h.update(version=99)),
    "kind": broken(lambda h, a: h.update(router="os:system")),
    "kind of a list": broken(lambda h, a: h.update(router=["personalized"])),
    "no state": broken(lambda h, a: h.pop("state")),
    "state is a list": broken(lambda h, a: h.update(state=[1])),
    "ids": broken(lambda h, a: h["state"]["ids"]["user_ids"].pop()),
    "smoother": broken(lambda h, a: h["state"].update(smoother=["exec", 1])),
    "shape": broken(lambda h, a: a.update(table=a["table"][:, :2].copy())),
    "dtype": broken(lambda h, a: a.update(tasks=a["tasks"].astype(np.float32))),
    "missing": broken(lambda h, a: a.pop("weights")),
    "infinite": broken(lambda h, a: a["prior_mean"].__setitem__(0, np.inf)),
    "centroids": broken(lambda h, a: a.update(centroids=a["centroids"][:1].copy())),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    train(embedded(), "explicit-utility").save(folder)
    return folder


@pytest.mark.parametrize("what", BROKEN)
def test_hostile_and_mismatched_files_are_refused(what: str, saved: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    load_router(folder)
    BROKEN[what](folder)
    with pytest.raises(UsageError):
        load_router(folder)


def test_a_network_that_does_not_fit_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch").set_num_threads(1)
    train(embedded(), "personalized-graph").save(tmp_path)
    broken(lambda h, a: h["state"]["shape"].update(width=64))(tmp_path)
    with pytest.raises(UsageError, match="do not fit together"):
        load_router(tmp_path)
    broken(lambda h, a: h["state"]["shape"].update(width=10**9))(tmp_path)
    with pytest.raises(UsageError, match="do not fit together"):
        load_router(tmp_path)
