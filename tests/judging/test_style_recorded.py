"""Style on recorded responses of ten real LLMs: tastes lead to different LLMs, none to one only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from personaroute_bench.judging.choice import choose, gumbel_noise, persona_utility, style_utility
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.separability import persona_separability
from personaroute_bench.judging.style import measure_style, standardise_within_query

RECORDED = Path(__file__).resolve().parents[2] / ".." / "shared" / "recorded"
USERS, QUERIES = 200, 120

pytestmark = pytest.mark.skipif(
    not (RECORDED / "responses.parquet").exists(), reason="needs ../shared/recorded"
)


def test_recorded_llms_differ_enough_in_style_to_personalise() -> None:
    pool = yaml.safe_load((RECORDED / "core-pool.yaml").read_text(encoding="utf-8"))
    llms = sorted(llm["id"] for llm in pool["llms"])
    table = pq.read_table(
        RECORDED / "responses.parquet",
        columns=["query_id", "query", "llm", "response", "score"],
        filters=[("llm", "in", llms), ("task_id", "==", "alpaca_eval")],
    ).sort_by([("query_id", "ascending"), ("llm", "ascending")])
    table = table.slice(0, QUERIES * len(llms))
    raw = measure_style(table["response"].to_pylist(), table["query"].to_pylist())
    performance = table["score"].to_numpy().reshape(QUERIES, len(llms)).astype(np.float32)
    ok = np.ones(performance.shape, dtype=bool)
    ratings = standardise_within_query(raw.reshape(*ok.shape, -1), ok)
    spread = ratings.std(axis=1).mean(axis=0)
    assert (spread > 0.03).all(), dict(zip(NAMES, spread, strict=True))

    rng = np.random.default_rng(0)
    taste = np.zeros((USERS, len(NAMES)))
    for row in taste:
        row[rng.choice(len(NAMES), 3, replace=False)] = rng.choice([-1.0, 1.0], 3)
    noise = gumbel_noise(0, np.arange(USERS), table["query_id"].to_pylist()[:: len(llms)], llms)
    weight = np.full(USERS, 0.3)
    chosen = choose(persona_utility(performance, style_utility(ratings, taste), weight, ok, noise))
    share = chosen / chosen.sum(axis=-1, keepdims=True)

    # The acceptance rule: no LLM takes over 60 % of more than a tenth of the users.
    assert (share.mean(axis=1).max(axis=-1) > 0.6).mean() <= 0.1
    train, test = share[:, 1::2], share[:, ::2]
    single = test[..., train.mean(axis=(0, 1)).argmax()].mean()
    own = train.mean(axis=1).argmax(axis=-1)
    per_user = np.take_along_axis(test, own[:, None, None], axis=-1).mean()
    blind = test.mean(axis=0).max(axis=-1).mean()
    assert single < per_user < 0.5 and blind < 0.5  # what only knowing the user could add
    labels = [f"u{number}" for number in range(USERS)]
    assert persona_separability(chosen, ratings, labels, seed=0).low > 0.3  # chance is 0.005
