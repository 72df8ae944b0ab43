"""LLM judges in the whole pipeline, over real HTTP on loopback."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from bench_command import Bench
from kills import kill_repeatedly
from loopback import Loopback
from small_data import LLMS, write_pool, write_responses

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.errors import ConfigMismatch, Incomplete, TooManyFailures, UsageError
from personaroute_bench.generate import generate
from personaroute_bench.judging.dimensions import NAMES

FAST = RunConfig(concurrency=16, backoff_s=0.01, timeout_s=10)
USERS = 6
QUERIES = 24


def judge_pool(folder: Path, url: str) -> str:
    path = folder / "judges.yaml"
    judges = [
        {"id": f"judge/{name}", "name": name, "model": f"judge/{name}", "provider": "openai",
         "base_url": url, "input_price": 1.0, "output_price": 2.0, "family": name}
        for name in ("one", "two", "three")
    ]  # fmt: skip
    path.write_text(yaml.safe_dump({"llms": judges}))
    return str(path)


def config(folder: Path, url: str, **changes: Any) -> DataConfig:
    return DataConfig(
        users=USERS, strategies=("llm_judge",), queries_per_task=QUERIES // 3,
        responses=str(write_responses(folder)), pool=str(write_pool(folder)),
        judge_pool=judge_pool(folder, url), judge_llms=("judge/one",), **changes,
    )  # fmt: skip


def rewards(out: Path) -> Any:
    parts = [pq.read_table(out / "interactions" / "llm_judge" / s) for s in ("train", "test")]
    return [part.to_pandas() for part in parts]


def first_answer(body: dict[str, Any]) -> str:
    return '{"choice": [1]}'


def rate(body: dict[str, Any]) -> str:
    # Every answer the same, but the second shown is the most formal one.
    ratings = {label: dict.fromkeys(NAMES, 3) for label in ("1", "2", "3")}
    ratings["2"]["formality"] = 5
    return json.dumps(ratings)


def test_a_judge_that_takes_the_first_answer_is_found_out(tmp_path: Path) -> None:
    with Loopback(first_answer) as server:
        data = config(tmp_path, server.url, judge="direct")
        result = generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == USERS * QUERIES
        asked = server.seen[0].body["messages"]
        assert asked[0]["role"] == "system" and asked[0]["content"].startswith("You")
        assert not any(llm in asked[1]["content"] for llm in LLMS)  # blind
        again = generate(data, tmp_path / "out", run=FAST)
        assert not again.changed and len(server.seen) == USERS * QUERIES
    table = pq.read_table(tmp_path / "out" / "judgments.parquet").to_pylist()
    assert all(row["chosen"] == row["shown"][:1] for row in table)
    assert all(row["reply"] == '{"choice": [1]}' for row in table)
    # Shuffled orders, undone rightly: each LLM wins about a third of 144 choices (± 17 is 3 s.d.).
    wins = Counter(row["chosen"][0] for row in table)
    assert all(abs(wins[llm] - USERS * QUERIES / 3) < 18 for llm in LLMS)
    judge = result.manifest["strategies"]["llm_judge"]["judge"]
    (position,) = [figures["position"] for figures in judge["judges"]]
    assert position["p_value"] < 1e-6
    chosen = {(r["persona_id"], r["query_id"]): r["chosen"][0] for r in table}
    users = pq.read_table(tmp_path / "out" / "users.parquet").to_pandas().set_index("user_id")
    for part in rewards(tmp_path / "out"):
        for row in part[part["chosen"]].itertuples():
            persona = users.loc[row.user_id, "persona_id"]
            assert chosen[persona, row.query_id] == row.llm_id
    assert result.manifest["spend"]["calls"] == USERS * QUERIES
    assert result.manifest["provenance"] == ["recorded"]


def test_both_orders_of_a_biased_judge_are_ties(tmp_path: Path) -> None:
    with Loopback(first_answer) as server:
        data = config(tmp_path, server.url, judge="direct", both_orders=True)
        generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == 2 * USERS * QUERIES
    for part in rewards(tmp_path / "out"):
        counts = part.groupby(["user_id", "query_id"], observed=True)["chosen"].sum()
        assert set(counts) == {2}
        assert set(part.loc[part["chosen"], "reward"]) == {0.5}


@pytest.mark.parametrize(("judge", "reply"), [("direct", first_answer), ("rubric", rate)])
def test_a_schema_is_sent_only_where_the_provider_can(
    tmp_path: Path, judge: Any, reply: Any
) -> None:
    with Loopback(reply) as server:
        data = replace(config(tmp_path, server.url, judge=judge), limit=6)
        generate(data, tmp_path / "plain", run=FAST)
        assert not any("response_format" in seen.body for seen in server.seen)
        server.seen.clear()
        generate(replace(data, judge_schema=True), tmp_path / "schema", run=FAST)
        kinds = {seen.body["response_format"]["type"] for seen in server.seen}
        assert kinds == {"json_schema"}


def test_pairs_of_answers(tmp_path: Path) -> None:
    with Loopback(first_answer) as server:
        data = config(tmp_path, server.url, judge="direct", pairs=0)
        generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == USERS * QUERIES * 3  # three LLMs, three pairs
    table = pq.read_table(tmp_path / "out" / "judgments.parquet").to_pandas()
    assert set(table["mode"]) == {"pairwise"} and set(table["shown"].str.len()) == {2}


@pytest.mark.parametrize(
    "options",
    [{"repeats": 2}, {"both_orders": True}, {"pairs": 3}, {"audit": 5}],
)
def test_options_of_a_direct_judge_are_refused_elsewhere(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="leave"):
        DataConfig(strategies=("llm_judge",), **options)


def test_a_rubric_costs_a_call_a_query_whatever_the_users(tmp_path: Path) -> None:
    with Loopback(rate) as server:
        data = config(tmp_path, server.url, judge="rubric")
        generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == QUERIES
        generate(replace(data, users=50), tmp_path / "out", run=FAST)
        assert len(server.seen) == QUERIES
    table = pq.read_table(tmp_path / "out" / "ratings.parquet").to_pandas()
    formal = table[table["dimension"] == "formality"].groupby("query_id", observed=True)["rating"]
    assert set(formal.max()) == {1.0} and set(formal.median()) == {0.5}
    assert set(table["judge"]) == {"judge/one"}


def test_an_audit_compares_the_rubric_with_the_direct_judge(tmp_path: Path) -> None:
    def both(body: dict[str, Any]) -> str:
        return first_answer(body) if body["messages"][0]["role"] == "system" else rate(body)

    with Loopback(both) as server:
        data = config(tmp_path, server.url, judge="rubric", audit=20)
        result = generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == QUERIES + 20
    judge = result.manifest["strategies"]["llm_judge"]["judge"]
    assert judge["audited"] is not None
    assert any("kappa" in line for line in judge["lines"])


def test_rubric_judges_are_compared(tmp_path: Path) -> None:
    with Loopback(rate) as server:
        data = replace(
            config(tmp_path, server.url, judge="rubric"), judge_llms=("judge/one", "judge/two")
        )
        judge = generate(data, tmp_path / "out", run=FAST).manifest["strategies"]["llm_judge"]
    (pair,) = judge["judge"]["between_ratings"]
    assert (pair["first"], pair["second"]) == ("judge/one", "judge/two")
    assert pair["correlation"] == pytest.approx(1)
    assert any("correlate by 1.00" in line for line in judge["judge"]["lines"])


def test_the_large_preset_asks_three_judges_in_two_wordings(tmp_path: Path) -> None:
    place = {"judge/one": 1, "judge/two": 2, "judge/three": 3}

    with Loopback(lambda body: f"Answer {place[body['model']]}") as server:
        data = replace(
            config(tmp_path, server.url, judge="direct"),
            preset="large", users=12, judge_llms=tuple(place),
        )  # fmt: skip
        generate(data, tmp_path / "out", run=FAST)
        assert len(server.seen) == 2 * 6 * QUERIES  # two personas, six configurations
        with pytest.raises(UsageError, match="three judge LLMs"):
            generate(replace(data, judge_llms=("judge/one",)), tmp_path / "two", run=FAST)
    users = pq.read_table(tmp_path / "out" / "users.parquet").to_pandas().set_index("user_id")
    assert users["persona_id"].nunique() == 2
    judgments = pq.read_table(tmp_path / "out" / "judgments.parquet").to_pandas()
    judgments["pick"] = judgments["chosen"].str[0]
    for part in rewards(tmp_path / "out"):
        for row in part[part["chosen"]].itertuples():
            number = int(row.user_id[1:]) - 1
            judge = list(place)[number % 6 // 2]
            asked = judgments[
                (judgments["persona_id"] == users.loc[row.user_id, "persona_id"])
                & (judgments["query_id"] == row.query_id)
                & (judgments["judge"] == judge)
            ]
            assert len(asked) == 2 and set(asked["pick"]) == {row.llm_id}


def test_what_cannot_be_read_is_no_choice(tmp_path: Path) -> None:
    def vague(body: dict[str, Any]) -> str:
        return "They are all lovely." if "pears" in body["messages"][1]["content"] else "Answer 2"

    with Loopback(vague) as server:
        result = generate(config(tmp_path, server.url, judge="direct"), tmp_path / "out", run=FAST)
    table = pq.read_table(tmp_path / "out" / "judgments.parquet").to_pandas()
    assert Counter(table["status"]) == {"ok": USERS * 16, "unparsed": USERS * 8}
    for part in rewards(tmp_path / "out"):
        vague_rows = part[part["query_id"].astype(str).str.startswith("sums")]
        assert vague_rows["reward"].isna().all() and not vague_rows["chosen"].any()
    calls = result.manifest["strategies"]["llm_judge"]["judge"]["calls"]
    assert calls["statuses"]["unparsed"] == USERS * 8


def test_faults_and_the_cap_hold_for_judge_calls(tmp_path: Path) -> None:
    with Loopback(first_answer, faults=["500", "429", "cut", "garbage"]) as server:
        data = config(tmp_path, server.url, judge="direct")
        with pytest.raises(Incomplete, match="--max-cost"):
            generate(data, tmp_path / "out", run=replace(FAST, max_cost=0.03))
        before = len(server.seen)
        assert 0 < before < USERS * QUERIES
        result = generate(data, tmp_path / "out", run=replace(FAST, max_cost=5.0))
        asked = Counter((s.prompt, s.body["messages"][0]["content"]) for s in server.seen)
    assert len(asked) == USERS * QUERIES
    # Only the four faults were asked a second time.
    assert sum(asked.values()) == USERS * QUERIES + 4
    assert set(pq.read_table(tmp_path / "out" / "judgments.parquet")["status"].to_pylist()) == {
        "ok"
    }
    assert result.manifest["spend"]["unknown_calls"] >= 1


def test_a_killed_judge_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Loopback(first_answer, delay_s=0.02) as server:
        data = config(tmp_path, server.url, judge="direct")
        generate(data, tmp_path / "whole", run=FAST)
        server.seen.clear()
        arguments = [
            "generate", "--users", str(USERS), "--strategy", "llm_judge", "--queries-per-task",
            str(QUERIES // 3), "--responses", str(data.responses), "--pool", str(data.pool),
            "--judge", "direct", "--judge-pool", str(data.judge_pool), "--judge-llm", "judge/one",
            "--out", str(out),
        ]  # fmt: skip
        unknown = kill_repeatedly(
            server, arguments, out / "ledger.sqlite", kills=8, concurrency=4, seed=3
        )
        result = generate(data, out, run=FAST)
        asked = Counter((s.prompt, s.body["messages"][0]["content"]) for s in server.seen)
    assert len(asked) == USERS * QUERIES
    assert sum(asked.values()) - len(asked) <= unknown
    assert result.manifest["spend"]["unknown_calls"] == unknown
    for name in ("judgments", "ratings", "users"):
        one, two = (
            pq.read_table(folder / f"{name}.parquet") for folder in (out, tmp_path / "whole")
        )
        assert one.equals(two)


def test_a_judge_that_mostly_fails_never_makes_a_whole_data_set(tmp_path: Path) -> None:
    with Loopback(first_answer) as server:
        server.fault_for = lambda body: "400" if len(body["messages"][1]["content"]) % 3 else None
        data = config(tmp_path, server.url, judge="direct")
        for _ in range(3):
            with pytest.raises(TooManyFailures):
                generate(data, tmp_path / "out", run=FAST)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_another_judge_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Loopback(rate) as server:
        data = config(tmp_path, server.url, judge="rubric")
        generate(data, tmp_path / "out", run=FAST)
        embedded = replace(data, judge="embedded", judge_llms=(), judge_pool=None)
        with pytest.raises(ConfigMismatch, match=r'judge: "rubric" → "embedded"'):
            generate(embedded, tmp_path / "out", run=FAST)


def test_mistakes_in_judge_options_show_before_anything_is_paid(tmp_path: Path) -> None:
    with Loopback(rate) as server:
        data = config(tmp_path, server.url, judge="rubric")
        with pytest.raises(UsageError, match="judge/one"):
            generate(replace(data, judge_llms=("judge/oen",)), tmp_path / "out", run=FAST)
        assert not server.seen and not (tmp_path / "out").exists()


def test_mixed_alone_asks_no_direct_judge(tmp_path: Path) -> None:
    with Loopback(first_answer) as server:
        data = replace(config(tmp_path, server.url, judge="direct"), strategies=("mixed",))
        generate(data, tmp_path / "out", run=FAST)
        assert not server.seen


def test_a_simulated_judge_is_refused(tmp_path: Path) -> None:
    data = DataConfig(
        users=3, strategies=("llm_judge",), limit=12, judge="rubric", judge_llms=("sim/reed-12b",)
    )
    with pytest.raises(UsageError, match=r"simulated and cannot read"):
        generate(data, tmp_path / "out")


def test_dry_run_tells_what_judging_costs(bench: Bench, tmp_path: Path) -> None:
    arguments = (
        "generate", "--dry-run", "--json", "--strategy", "llm_judge", "--users", 1000,
        "--responses", write_responses(tmp_path), "--pool", write_pool(tmp_path), "--judge-pool",
        judge_pool(tmp_path, "http://127.0.0.1:9/v1"), "--judge-llm", "judge/one", "--out",
        tmp_path / "out",
    )  # fmt: skip
    direct = json.loads(bench(*arguments, "--judge", "direct").out)
    rubric = json.loads(bench(*arguments, "--judge", "rubric").out)
    assert direct["judge"][0]["calls"] == 1000 * 60
    assert rubric["judge"][0]["calls"] == 60
    assert direct["judge"][0]["usd_expected"] > 50 * rubric["judge"][0]["usd_expected"] > 0
    assert not (tmp_path / "out").exists()
