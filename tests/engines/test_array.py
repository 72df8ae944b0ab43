"""Arrays of jobs: shards that know nothing of each other make the data set that one run makes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_command import Bench
from loopback import Loopback
from side_by_side import assert_same_rows
from small_data import response_rows, write_pool
from test_generate_http import FAST, replay, write_tasks
from test_judges import config as judged_config
from test_judges import rate

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.engines.array import parse_shard, settle_shard
from personaroute_bench.engines.merge import merge_shards
from personaroute_bench.engines.shard_note import Shard, ShardNote
from personaroute_bench.errors import (
    BenchError,
    ConfigMismatch,
    Incomplete,
    TooManyFailures,
    UsageError,
)
from personaroute_bench.generate import generate
from personaroute_bench.llms.ledger import Ledger

ROWS = response_rows()


def config(folder: Path, url: str, **changes: Any) -> DataConfig:
    fields: dict[str, Any] = {"users": 5, "max_tokens": 200, **changes}
    return DataConfig(
        pool=str(write_pool(folder, url)), tasks=str(write_tasks(folder, ROWS)), **fields
    )


def asked(server: Loopback) -> Counter[tuple[str, str]]:
    return Counter((seen.model, seen.prompt) for seen in server.seen)


def run_array(data: DataConfig, out: Path, of: int, run: RunConfig = FAST) -> None:
    for number in range(1, of + 1):
        settle_shard(data, out, Shard(number, of), run=run)


def test_an_array_makes_what_one_run_makes(tmp_path: Path, bench: Bench) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        alone = generate(data, tmp_path / "alone", run=FAST)
        server.seen.clear()
        options = ["generate", "--users", 5, "--pool", data.pool, "--tasks", data.tasks,
                   "--max-tokens", 200, "--out", tmp_path / "out"]  # fmt: skip
        for number in (2, 3, 1):
            ran = bench(*options, "--shard", f"{number}/3")
            assert ran.code == 0, ran.err
            assert f"Shard {number}/3 is done" in ran.out
            assert f"bench merge {tmp_path / 'out'}" in ran.out
        assert set(asked(server).values()) == {1} and len(server.seen) == 180
        refused = bench(*options)
        assert refused.code == 2 and "3 shards that are not merged" in refused.err
        merged = bench("merge", tmp_path / "out")
        assert merged.code == 0, merged.err
        assert "180 of 180 responses ok" in merged.out
        again = generate(data, tmp_path / "out", run=FAST)
        assert not again.changed and len(server.seen) == 180
    assert_same_rows(tmp_path / "alone", tmp_path / "out")
    assert again.manifest["spend"] == pytest.approx(alone.manifest["spend"])
    assert not (tmp_path / "out" / "shards").exists()


def test_shards_on_disks_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        generate(data, tmp_path / "alone", run=FAST)
        server.seen.clear()
        monkeypatch.chdir(tmp_path)  # relative names, read elsewhere afterwards
        data = replace(data, pool="pool.yaml", tasks="tasks.jsonl")
        for number in (1, 2):
            settle_shard(data, tmp_path / f"node{number}", Shard(number, 2), run=FAST)
        nodes = [tmp_path / "node1", tmp_path / "node2" / "shards" / "2-of-2"]
        (tmp_path / "else").mkdir()
        monkeypatch.chdir(tmp_path / "else")
        with pytest.raises(UsageError, match="--out"):
            merge_shards(nodes)
        merge_shards(nodes, tmp_path / "out")
        assert nodes[1].exists(), "folders outside are the user's"
        merge_shards(nodes, tmp_path / "out")  # once more changes nothing
        assert len(server.seen) == 180
    assert_same_rows(tmp_path / "alone", tmp_path / "out")


def test_missing_double_and_foreign_shards_are_named(tmp_path: Path) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data, out = config(tmp_path, server.url), tmp_path / "out"
        for number in (1, 3):
            settle_shard(data, out, Shard(number, 4), run=FAST)
        with pytest.raises(UsageError, match=r"shards 2/4, 4/4 are missing.*--shard I/4"):
            merge_shards([out])
        with pytest.raises(UsageError, match=r"is shard 1/4, got --shard 1/2"):
            settle_shard(data, out, Shard(1, 2), run=FAST)
        other = replace(data, users=9)
        with pytest.raises(ConfigMismatch, match=r"users: 5 → 9"):
            settle_shard(other, out, Shard(2, 4), run=FAST)
        settle_shard(other, tmp_path / "other", Shard(2, 4), run=FAST)
        with pytest.raises(ConfigMismatch, match=r"users: 9 → 5"):
            merge_shards([out, tmp_path / "other"], out)
        settle_shard(data, tmp_path / "twice", Shard(1, 4), run=FAST)
        with pytest.raises(UsageError, match=r"shard 1/4 is given twice: .*out.* and .*twice"):
            merge_shards([out, tmp_path / "twice"], out)
        settle_shard(data, tmp_path / "halves", Shard(1, 2), run=FAST)
        with pytest.raises(UsageError, match=r"shard 1/4 and .* shard 1/2"):
            merge_shards([out, tmp_path / "halves"], out)
        first, third = (out / "shards" / f"{n}-of-4" / "ledger.sqlite" for n in (1, 3))
        shutil.copy(third, tmp_path / "kept")
        shutil.copy(first, third)
        for number in (2, 4):
            settle_shard(data, out, Shard(number, 4), run=FAST)
        with pytest.raises(UsageError, match=r"3-of-4.*holds calls of other shards than 3/4"):
            merge_shards([out])
        shutil.copy(tmp_path / "kept", third)
        with pytest.raises(UsageError, match="holds no shards"):
            merge_shards([tmp_path / "nothing"])
        assert not (out / "responses.parquet").exists()
        merge_shards([out])
    assert (out / "manifest.json").exists()


def test_a_shard_that_was_killed_is_not_merged_unnoticed(tmp_path: Path) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data, out = config(tmp_path, server.url), tmp_path / "out"
        run_array(data, out, 2)
        path = out / "shards" / "2-of-2"
        note = json.loads((path / "shard.json").read_text())
        (path / "shard.json").write_text(json.dumps({**note, "finished": False}))
        with Ledger(path / "ledger.sqlite") as ledger:  # killed with one call in flight
            (last,) = next(ledger.query("SELECT max(id) FROM attempts LIMIT 1")) or (0,)
            ledger.execute("UPDATE calls SET settled_attempt = NULL WHERE settled_attempt = ?",
                           (last,))  # fmt: skip
            ledger.execute("DELETE FROM replies WHERE attempt_id = ?", (last,))
            ledger.execute("UPDATE attempts SET state = 'in_flight', kind = NULL, "
                           "cost_usd = NULL WHERE id = ?", (last,))  # fmt: skip
        with pytest.raises(UsageError, match=r"shard 2/2 is not finished"):
            merge_shards([out])
        settle_shard(data, out, Shard(2, 2), run=FAST)
        assert len(server.seen) == 181
        merged = merge_shards([out])
    assert merged.generated is not None
    spend = merged.generated.manifest["spend"]
    assert (spend["calls"], spend["unknown_calls"]) == (180, 1)
    assert spend["unknown_usd_at_most"] > 0


def test_what_is_there_can_be_merged_and_the_rest_divided_anew(tmp_path: Path) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data, out = config(tmp_path, server.url), tmp_path / "out"
        settle_shard(data, out, Shard(2, 3), run=FAST)
        merged = merge_shards([out], partial=True)
        assert merged.generated is None
        assert merged.missing == ("shards 1/3, 3/3 are missing",)
        run_array(data, out, 5)
        merge_shards([out])
        assert set(asked(server).values()) == {1} and len(server.seen) == 180


def test_all_shards_together_keep_the_cap(tmp_path: Path) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data, out = config(tmp_path, server.url), tmp_path / "out"
        whole = generate(data, tmp_path / "whole", run=FAST).manifest["spend"]["usd"]
        server.seen.clear()
        capped = replace(FAST, max_cost=0.9 * whole)
        for number in (1, 2):
            with pytest.raises(Incomplete, match=rf"shard {number}/2 has used up its part"):
                settle_shard(data, out, Shard(number, 2), run=capped)
        merge_shards([out], partial=True)
        with Ledger(out / "ledger.sqlite", read_only=True) as ledger:
            assert 0 < ledger.spend().known_usd <= 0.9 * whole
        with pytest.raises(Incomplete):
            settle_shard(data, out, Shard(1, 2), run=replace(FAST, max_cost=1e-6))
        run_array(data, out, 2, replace(FAST, max_cost=10.0))
        merge_shards([out])
        assert set(asked(server).values()) == {1} and len(server.seen) == 180
    assert_same_rows(tmp_path / "whole", out)


def test_the_ledger_shows_shards_before_they_are_merged(tmp_path: Path, bench: Bench) -> None:
    out = tmp_path / "out"
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        run_array(data, out, 2, FAST)
        shown = bench("ledger", out)
        assert shown.code == 0
        assert "1/2" in shown.out
        assert "2/2" in shown.out
        assert "Spend of these 2 shards" in shown.out
        facts = json.loads(bench("ledger", out, "--json").out)["shards"]
        assert [shard["finished"] for shard in facts] == [True, True]
        assert sum(shard["settled"] for shard in facts) == len(server.seen)
        one = json.loads(bench("ledger", out / "shards" / "1-of-2", "--json").out)
        assert one["settled"] == facts[0]["settled"] > 0
        refused = bench("ledger", out, "--export", tmp_path / "all.jsonl")
        assert refused.code == 2
        assert "1-of-2" in refused.err
        merge_shards([out])
    whole = json.loads(bench("ledger", out, "--json").out)
    assert "shards" not in whole
    spent = sum(shard["spend"]["known_usd"] for shard in facts)
    assert whole["spend"]["known_usd"] == pytest.approx(spent)


def test_a_data_sets_own_ledger_is_used_with_shards_beside_it(tmp_path: Path, bench: Bench) -> None:
    out = tmp_path / "out"
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        settle_shard(data, out, Shard(1, 2), run=FAST)
        merge_shards([out], partial=True)
        settle_shard(data, out, Shard(2, 2), run=FAST)
    facts = json.loads(bench("ledger", out, "--json").out)
    assert facts["settled"] > 0
    assert [shard["shard"] for shard in facts["shards"]] == ["2/2"]
    assert "1 shards beside it are not merged yet" in bench("ledger", out).out
    exported = bench("ledger", out, "--export", tmp_path / "mine.jsonl")
    assert exported.code == 0
    assert len((tmp_path / "mine.jsonl").read_text().splitlines()) == facts["calls"]


def test_the_ledger_of_a_data_set_is_found_where_it_is_kept(tmp_path: Path, bench: Bench) -> None:
    elsewhere = tmp_path / "books" / "mine.sqlite"
    elsewhere.parent.mkdir()
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        generate(data, tmp_path / "out", run=replace(FAST, ledger=elsewhere))
    facts = json.loads(bench("ledger", tmp_path / "out", "--json").out)
    assert facts["settled"] == len(server.seen)


def test_judges_are_a_second_array(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Any:
        texts = replay(ROWS)
        found = texts.get((body["model"], body["messages"][-1]["content"]))
        return found if found is not None else rate(body)

    with Loopback(reply) as server:
        judged = judged_config(tmp_path, server.url, judge="rubric", audit=8)
        data = replace(
            judged, responses=None, pool=str(write_pool(tmp_path, server.url)),
            tasks=str(write_tasks(tmp_path, ROWS)),
        )  # fmt: skip
        generate(data, tmp_path / "alone", run=FAST)
        calls = len(server.seen)
        server.seen.clear()
        run_array(data, tmp_path / "out", 2)
        with pytest.raises(Incomplete, match=r"2 shards are merged.*calls are still to be asked"):
            merge_shards([tmp_path / "out"])
        run_array(data, tmp_path / "out", 3)
        merge_shards([tmp_path / "out"])
        assert set(asked(server).values()) == {1} and len(server.seen) == calls
        # Responses that exist already: the judges are the first array.
        server.seen.clear()
        generate(judged, tmp_path / "recorded", run=FAST)
        recorded = len(server.seen)
        run_array(judged, tmp_path / "shards", 2)
        merge_shards([tmp_path / "shards"])
        assert len(server.seen) == 2 * recorded
    assert_same_rows(tmp_path / "alone", tmp_path / "out")
    assert_same_rows(tmp_path / "recorded", tmp_path / "shards")


def test_failed_calls_hold_the_merge_as_they_hold_a_run(tmp_path: Path) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data, out = config(tmp_path, server.url), tmp_path / "out"
        server.fault_for = lambda body: "400" if body["model"] == "acme/large" else None
        with pytest.raises(TooManyFailures):
            settle_shard(data, out, Shard(1, 2), run=FAST)
        run_array(data, out, 2, replace(FAST, max_error_rate=1.0))
        with pytest.raises(TooManyFailures, match="acme/large"):
            merge_shards([out])
        with pytest.raises(UsageError, match=r"holds no shards.*merged already, bench generate"):
            merge_shards([out])
        generate(data, out, run=replace(FAST, max_error_rate=1.0))
        assert set(asked(server).values()) == {1} and len(server.seen) == 180


def test_who_works_where(tmp_path: Path) -> None:
    from personaroute_bench.folder import DataFolder
    from personaroute_bench.plan import make_plan
    from personaroute_bench.report import Report

    with Loopback(replies=replay(ROWS)) as server:
        data, out = config(tmp_path, server.url), tmp_path / "out"
        plan = make_plan(data, FAST, Report())
        with (
            DataFolder.open(out, plan.defining),
            pytest.raises(UsageError, match=r"bench generate or bench merge works in"),
        ):
            settle_shard(data, out, Shard(1, 1), run=FAST)
        settle_shard(data, out, Shard(1, 1), run=FAST)
        with (
            Ledger(out / "shards" / "1-of-1" / "ledger.sqlite"),
            pytest.raises(BenchError, match="in use by process"),
        ):
            merge_shards([out])
        merge_shards([out])


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "3", "a/b", "1/3/5", "-1/3", "1.0/3", ""])
def test_what_names_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard .* names no shard"):
        parse_shard(text)


def test_names_of_shards() -> None:
    shard = parse_shard(" 3/16 ")
    assert (str(shard), shard.folder) == ("3/16", "03-of-16")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    data = DataConfig(users=2, limit=4)
    for run in (RunConfig(engine="dask"), RunConfig(ledger=tmp_path / "ledger.sqlite")):
        with pytest.raises(UsageError, match=r"--engine dask|--ledger"):
            settle_shard(data, tmp_path / "out", Shard(1, 2), run=run)
    responses = judged_config(tmp_path, "http://127.0.0.1:9/v1", judge="rubric")
    responses = replace(responses, strategies=("multi_cost_efficiency",))
    with pytest.raises(UsageError, match="nothing to divide"):
        settle_shard(responses, tmp_path / "out", Shard(1, 2))
    assert not (tmp_path / "out" / "shards").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"format": 9}', '{"format": 1, "number": "x"}'])
def test_damaged_notes(tmp_path: Path, text: str) -> None:
    (tmp_path / "shard.json").write_text(text)
    with pytest.raises(UsageError, match=r"shard.json"):
        ShardNote.read(tmp_path)
