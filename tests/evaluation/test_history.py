from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.history import (
    History,
    frozen,
    make_history,
    pair_uniform,
    past_responses,
)


def told(benchmark: Benchmark, **options: Any) -> History:
    train, validation = (benchmark.interactions(STRATEGY, s) for s in ("train", "validation"))
    queries = np.concatenate([train.queries, validation.queries])
    responses = past_responses(benchmark, queries)
    return make_history(benchmark, train, validation, responses, **options)


def test_full_history_is_the_training_split_and_its_validation(benchmark: Benchmark) -> None:
    history = told(benchmark)
    assert history.query_ids.tolist() == [f"q{i}" for i in range(20)]
    assert history.validation is not None
    assert history.validation.query_ids.tolist() == [f"q{i}" for i in range(20, 26)]
    np.testing.assert_array_equal(history.rewards, benchmark.memory[STRATEGY, "train"].reward)
    assert history.interactions.num_rows == 12 * 20 * 4
    assert history.responses.num_rows == 20 * 4
    assert history.queries.column_names == ["query_id", "task_id", "query"]
    assert history.tie_order.tolist() == [0, 1, 2, 3]
    assert "12 users" in repr(history)


def everything(value: Any, seen: set[int]) -> Any:
    """Walk all that can be reached from a history through attributes and containers."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    if isinstance(value, History):
        yield from (x for part in vars(value).values() for x in everything(part, seen))


def test_nothing_in_it_names_a_test_query_or_the_data_set(benchmark: Benchmark) -> None:
    history = told(benchmark)
    _ = history.values, history.interactions
    hidden = set(benchmark.query_ids[-8:].tolist())
    for value in everything(history, set()):
        assert not isinstance(value, Benchmark)
        if isinstance(value, pa.Table) and "query_id" in value.column_names:
            assert not hidden & set(value["query_id"].to_pylist())
        if isinstance(value, np.ndarray) and value.dtype.kind == "U":
            assert not hidden & set(value.ravel().tolist())
        if isinstance(value, np.ndarray) and value.ndim == 3:
            assert value.shape[1] in (20, 6)
        if isinstance(value, pa.Table):
            assert "ground_truth" not in value.column_names


def test_arrays_cannot_be_written_nor_made_writable(benchmark: Benchmark) -> None:
    history = told(benchmark, feedback="pairwise")
    arrays = [v for v in everything(history, set()) if isinstance(v, np.ndarray)]
    assert len(arrays) > 20
    for array in [*arrays, history.values, history.rewards[:2]]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_frozen_keeps_strings_and_empty_arrays() -> None:
    assert frozen(np.asarray(["a", "bcd"])).tolist() == ["a", "bcd"]
    assert frozen(np.zeros((0, 3))).shape == (0, 3)


def test_values_are_charged_rewards() -> None:
    history = told(small_benchmark(failures=0.3))
    gaps = np.isnan(history.rewards)
    assert gaps.any()
    worst = np.broadcast_to(np.nanmin(history.rewards, axis=-1)[..., None], gaps.shape)
    np.testing.assert_array_equal(history.values[gaps], worst[gaps])
    np.testing.assert_array_equal(history.values[~gaps], history.rewards[~gaps])


def test_choice_tells_one_taken_response_a_query_and_no_rewards(benchmark: Benchmark) -> None:
    train = benchmark.memory[STRATEGY, "train"]
    train.chosen[:, 0] = True  # all tied
    history = told(benchmark, feedback="choice")
    assert np.isnan(history.rewards).all()
    assert (history.chosen.sum(axis=-1) == 1).all()
    assert (train.chosen | ~history.chosen).all()
    assert len(set(history.chosen[:, 0].argmax(axis=-1).tolist())) > 1  # ties fall differently
    assert history.interactions.column_names == ["user_id", "query_id", "llm_id"]
    assert history.interactions.num_rows == 12 * 20
    np.testing.assert_array_equal(history.values, history.chosen.astype(np.float32))
    other = told(benchmark, feedback="choice", seed=1)
    assert (other.chosen[:, 0] != history.chosen[:, 0]).any()
    np.testing.assert_array_equal(other.chosen[:, 1:], history.chosen[:, 1:])


def test_pairwise_tells_the_better_of_two() -> None:
    data = small_benchmark(failures=0.2)
    train = data.memory[STRATEGY, "train"]
    train.reward[0] = np.where(np.isnan(train.reward[0]), np.nan, 0.5)
    history = told(data, feedback="pairwise")
    assert history.pairs is not None
    assert np.isnan(history.rewards).all()
    u, q = np.nonzero(history.pairs[..., 0] >= 0)
    a, b = history.pairs[u, q].T
    assert len(u) > 100
    assert (a != b).all()
    first, second = train.reward[u, q, a], train.reward[u, q, b]
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()
    np.testing.assert_array_equal(history.chosen[u, q, a], first >= second)
    np.testing.assert_array_equal(history.chosen[u, q, b], second >= first)
    assert history.observed.sum() == 2 * len(u)
    assert (history.values[0][history.observed[0]] == 0.5).all()
    table = history.interactions.to_pydict()
    outcome = np.where(first == second, "tie", np.where(first > second, "a", "b"))
    assert table["outcome"] == outcome.tolist()
    assert table["a"] == [f"llm-{m}" for m in a]


@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_only_n_queries_a_user_are_told_and_the_same_share_of_validation(
    benchmark: Benchmark, feedback: Any
) -> None:
    history = told(benchmark, feedback=feedback, interactions_per_user=5)
    assert (history.observed.any(axis=-1).sum(axis=1) == 5).all()
    assert history.validation is not None
    assert (history.validation.observed.any(axis=-1).sum(axis=1) == 2).all()  # ⌈5 · 6 / 20⌉
    assert (np.isfinite(history.values) == history.observed).all()
    kept = history.observed.any(axis=-1)
    assert len({row.tobytes() for row in kept}) > 1
    more = told(benchmark, feedback=feedback, interactions_per_user=9).observed.any(axis=-1)
    assert (more | ~kept).all()  # more queries keep those there were
    other = told(benchmark, feedback=feedback, interactions_per_user=5, seed=1)
    assert (other.observed.any(axis=-1) != kept).any()


def test_a_users_sample_does_not_depend_on_who_else_there_is() -> None:
    few, many = (told(small_benchmark(n), interactions_per_user=3) for n in (5, 12))
    np.testing.assert_array_equal(few.observed, many.observed[:5])


def test_tiers(benchmark: Benchmark) -> None:
    assert told(benchmark, tier="T1").users.column_names == ["user_id"]
    explicit = told(benchmark, tier="T3").users
    assert explicit.column_names == ["user_id", "performance_weight", "cost_weight"]
    with pytest.raises(UsageError, match="persona"):
        told(benchmark, tier="T2")


def test_persona_texts_are_told_at_t2_and_weights_are_not(benchmark: Benchmark) -> None:
    import dataclasses

    users = benchmark.users.append_column("persona_text", pa.array(["likes brevity"] * 12))
    with_personas = dataclasses.replace(benchmark, users=users)
    assert told(with_personas, tier="T2").users.column_names == ["user_id", "persona_text"]


def test_t0_pools_the_past_without_names_or_order(benchmark: Benchmark) -> None:
    history, known = told(benchmark, tier="T0"), told(benchmark)
    assert (history.find_users(benchmark.user_ids) == -1).all()
    assert (known.find_users(benchmark.user_ids) == np.arange(12)).all()
    rows = {row.tobytes() for row in history.rewards}
    assert rows == {row.tobytes() for row in known.rewards}
    # another order of the users gives the very same history
    order = np.random.default_rng(0).permutation(12)
    part = benchmark.memory[STRATEGY, "train"]
    part.reward[:], part.chosen[:] = part.reward[order], part.chosen[order]
    part = benchmark.memory[STRATEGY, "validation"]
    part.reward[:], part.chosen[:] = part.reward[order], part.chosen[order]
    shuffled = told(benchmark, tier="T0")
    np.testing.assert_array_equal(shuffled.rewards, history.rewards)
    assert shuffled.users.equals(history.users)


def test_blocks_are_the_whole(benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("personaroute_bench.evaluation.history.BLOCK_CELLS", 5 * 20 * 4)
    history = told(benchmark, feedback="pairwise")
    blocks = list(history.blocks())
    assert [len(block.user_ids) for block in blocks] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate([b.chosen for b in blocks]), history.chosen)
    assert pa.concat_tables([b.interactions for b in blocks]).num_rows == 12 * 20
    assert all(b.validation is not None and len(b.validation.user_ids) <= 5 for b in blocks)


def test_pair_uniform_depends_on_the_two_ids_alone() -> None:
    users, queries = np.asarray(["a", "b", "c"]), np.asarray(["x", "y"])
    grid = pair_uniform(0, "s", users, queries)
    assert ((grid >= 0) & (grid < 1)).all()
    np.testing.assert_array_equal(pair_uniform(0, "s", users[2:], queries[1:]), grid[2:, 1:])
    assert len(np.unique(grid)) == 6
    assert (pair_uniform(1, "s", users, queries) != grid).all()
