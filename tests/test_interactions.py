from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from personaroute_bench import interactions
from personaroute_bench.config import DataConfig
from personaroute_bench.errors import BenchError
from personaroute_bench.headroom import HeadroomMeter
from personaroute_bench.interactions import (
    Block,
    Law,
    ResponseGrid,
    user_blocks,
    write_interactions,
)
from personaroute_bench.schemas import interactions_schema
from personaroute_bench.users.laws import make_law
from personaroute_bench.users.populations import user_ids
from personaroute_bench.users.rewards import tied_best

QUERIES, LLMS, USERS = 10, 3, 7


@pytest.fixture
def grid() -> ResponseGrid:
    rng = np.random.default_rng(0)
    performance = rng.random((QUERIES, LLMS)).astype(np.float32)
    performance[2, 1] = np.nan
    cost = np.where(np.isnan(performance), np.nan, rng.random((QUERIES, LLMS))).astype(np.float32)
    return ResponseGrid(
        ok=~np.isnan(performance),
        query_ids=np.array([f"q{i}" for i in range(QUERIES)]),
        llm_ids=np.array(["a", "b", "c"]),
        split=np.array(["train"] * 6 + ["validation"] * 2 + ["test"] * 2),
        performance=performance,
        cost_usd=rng.random((QUERIES, LLMS)),
        cost=cost,
        completion_tokens=np.full((QUERIES, LLMS), 5.0),
    )


def law_of(grid: ResponseGrid) -> Law:
    return make_law("multi_cost_efficiency", DataConfig(), grid, None)


@pytest.mark.parametrize("block", [1, 60, 1_000_000])
def test_rows_are_the_rewards_whatever_the_block(
    grid: ResponseGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(interactions, "ROWS_PER_BLOCK", block)
    monkeypatch.setattr(interactions, "ROWS_PER_FILE", 50)
    users = np.asarray(user_ids(0, USERS))
    counts, headroom = write_interactions(tmp_path / "s", grid, users, law_of(grid))
    assert counts == {"train": 126, "validation": 42, "test": 42}
    expected = law_of(grid).block(0, USERS).reward
    for split in counts:
        files = sorted((tmp_path / "s" / split).glob("*.parquet"))
        table = pq.read_table(tmp_path / "s" / split)
        assert pq.read_schema(files[0]).equals(
            interactions_schema("multi_cost_efficiency"), check_metadata=False
        )
        mine = np.flatnonzero(grid.split == split)
        want = expected[:, mine]
        assert table["reward"].to_numpy() == pytest.approx(want.ravel(), nan_ok=True)
        assert table["chosen"].to_numpy().tolist() == tied_best(want).ravel().tolist()
        assert table["user_id"].to_pylist() == np.repeat(users, len(mine) * LLMS).tolist()
        assert table["query_id"].to_pylist() == (
            np.repeat(grid.query_ids[mine], LLMS).tolist() * USERS
        )
        assert table["llm_id"].to_pylist() == ["a", "b", "c"] * (len(mine) * USERS)
        assert table["reward"].null_count == (USERS if 2 in mine else 0)
    assert headroom.oracle >= headroom.user_blind_oracle >= headroom.best_single


def test_no_half_written_folder_is_left(grid: ResponseGrid, tmp_path: Path) -> None:
    def block(start: int, stop: int) -> Block:
        raise OSError(28, "No space left on device")

    law = Law("multi_cost_efficiency", grid.ok, block)
    with pytest.raises(BenchError, match="No space left on device"):
        write_interactions(tmp_path / "s", grid, np.asarray(user_ids(0, USERS)), law)
    assert list(tmp_path.iterdir()) == []


def test_blocks_cover_all_users_once() -> None:
    spans = list(user_blocks(10_000, 2_400))
    assert spans[0][0] == 0 and spans[-1][1] == 10_000
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert list(user_blocks(2, 10**9)) == [(0, 1), (1, 2)]


def test_headroom_by_hand() -> None:
    # Two users who want opposite things of two LLMs, one training and two test queries.
    reward = np.array([[[1, 0], [1, 0], [1, 0]], [[0, 1], [0, 1], [0, 1]]], dtype=np.float32)
    train, test = np.array([True, False, False]), np.array([False, True, True])
    meter = HeadroomMeter(["a", "b"], np.ones((3, 2), bool), train, test)
    for user in reward:  # block by block is the same as all at once
        meter.add(user[None], tied_best(user[None]))
    got = meter.result()
    assert (got.random, got.best_single, got.user_blind_oracle) == (0.5, 0.5, 0.5)
    assert (got.oracle, got.best_per_user) == (1.0, 1.0)
    assert (got.oracle_share, got.fixed_policy_share) == (1.0, 1.0)
    assert got.win_shares == {"a": 0.5, "b": 0.5}
    assert not got.low


def test_headroom_is_low_where_all_users_agree() -> None:
    reward = np.array([[[1, 0], [0, 1]]] * 3, dtype=np.float32)
    meter = HeadroomMeter(
        ["a", "b"], np.ones((2, 2), bool), np.array([True, False]), np.array([False, True])
    )
    meter.add(reward, tied_best(reward))
    assert meter.result().oracle_share == 0
    assert meter.result().low


def test_no_usable_test_response_is_an_error() -> None:
    with pytest.raises(BenchError, match="no test query has a response"):
        HeadroomMeter(
            ["a"], np.array([[True], [False]]), np.array([True, False]), np.array([False, True])
        )
