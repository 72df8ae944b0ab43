"""Must show 1 of issue 6: two Dask workers on loopback, one of them killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_command import Bench
from loopback import Loopback
from side_by_side import assert_same_rows
from small_data import response_rows, write_pool
from test_far import without_times
from test_generate_http import FAST, replay, write_tasks
from test_judges import config as judged_config
from test_judges import rate

from personaroute_bench import interactions
from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.engines.calls import SHARDS
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.generate import generate
from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.schemas import SPLITS, STRATEGIES

distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed (pip install 'personaroute-bench[dask]')"
)

ROWS = response_rows()
pytestmark = pytest.mark.xdist_group("dask")


def cluster_of(workers: int) -> Any:
    """A cluster that is there already, as a user's would be."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with cluster_of(2) as cluster:
        yield cluster


@pytest.fixture
def there(cluster: Any) -> RunConfig:
    return replace(FAST, engine="dask", scheduler=cluster.scheduler_address)


def config(folder: Path, url: str) -> DataConfig:
    return DataConfig(
        users=5,
        strategies=("multi_cost_efficiency", "mixed"),
        pool=str(write_pool(folder, url)),
        tasks=str(write_tasks(folder, ROWS)),
    )


def asks(ledger: Path, body: dict[str, Any]) -> bool:
    """Whether this request is one that the shard's worker waits for."""
    with Ledger(ledger, read_only=True) as book:
        open_calls = book.query(
            "SELECT c.model, c.request_json FROM attempts a JOIN calls c ON c.key = a.key "
            "WHERE a.state = 'in_flight'"
        )
        prompt = json.dumps(body["messages"][-1]["content"])
        return any(model == body["model"] and prompt in text for model, text in open_calls)


def test_two_workers_make_the_same_tables_as_one_process(tmp_path: Path, bench: Bench) -> None:
    with Loopback(replies=replay(ROWS)) as server:
        data = config(tmp_path, server.url)
        generate(data, tmp_path / "local", run=FAST)
        server.seen.clear()
        ran = bench(
            "generate", "--users", 5, "--strategy", "multi_cost_efficiency", "--strategy", "mixed",
            "--pool", data.pool, "--tasks", data.tasks, "--out", tmp_path / "dask",
            "--engine", "dask", "--workers", 2,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        assert "Dask: 2 workers on this machine" in ran.err
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
    assert len(asked) == 180 and set(asked.values()) == {1}
    assert_same_rows(tmp_path / "local", tmp_path / "dask")
    with Ledger(tmp_path / "dask" / "ledger.sqlite", read_only=True) as ledger:
        pids = [pid for (pid,) in ledger.query("SELECT DISTINCT pid FROM runs")]
    assert len(pids) == 2 and os.getpid() not in pids


def test_a_worker_is_killed_and_the_run_finishes(tmp_path: Path, there: RunConfig) -> None:
    """SIGKILL in the middle of its shard; the other one, or its successor, takes the shard up."""
    out = tmp_path / "out"
    killed: list[int] = []
    answered = 0
    lock = threading.Lock()
    texts = replay(ROWS)

    def reply(body: dict[str, Any]) -> str | dict[str, Any]:
        nonlocal answered
        with lock:
            answered += 1
            if answered >= 60 and not killed:
                # The one who asked this: its reply never comes, so this call is asked again.
                ledgers = (out / SHARDS).glob("*/ledger.sqlite")
                (ledger,) = (ledger for ledger in ledgers if asks(ledger, body))
                killed.append(int(ledger.with_name("ledger.sqlite.lock").read_text()))
                os.kill(killed[0], signal.SIGKILL)
        return texts[body["model"], body["messages"][-1]["content"]]

    with Loopback(reply) as server:
        data = config(tmp_path, server.url)
        result = generate(data, out, run=replace(there, concurrency=8))
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
        generate(data, tmp_path / "local", run=FAST)
    assert killed
    assert_same_rows(tmp_path / "local", out)
    with Ledger(out / "ledger.sqlite", read_only=True) as ledger:
        pids = [pid for (pid,) in ledger.query("SELECT pid FROM runs")]
        ((attempts,),) = ledger.query("SELECT count(*) FROM attempts")
        ((twice,),) = ledger.query(
            "SELECT count(*) FROM (SELECT key FROM attempts WHERE state = 'replied' "
            "GROUP BY key HAVING count(*) > 1)"
        )
    assert len(pids) == 3 and killed[0] in pids  # two shards, one of them begun twice
    # Only what was in flight at the kill is asked again, and stands as unknown spend.
    unknown = result.manifest["spend"]["unknown_calls"]
    assert 0 < unknown <= 4 and twice == 0
    assert result.manifest["spend"]["calls"] == 180 == len(asked)
    assert attempts == 180 + unknown
    assert 180 < sum(asked.values()) <= attempts


def test_a_scheduler_that_ends_is_one_message_and_nothing_is_lost(tmp_path: Path) -> None:
    texts, closing = replay(ROWS), threading.Event()

    def reply(body: dict[str, Any]) -> str | dict[str, Any]:
        if len(server.seen) >= 60 and not closing.is_set():
            closing.set()
            ending.start()
        return texts[body["model"], body["messages"][-1]["content"]]

    with cluster_of(2) as cluster, Loopback(reply, delay_s=0.02) as server:
        ending = threading.Thread(target=cluster.close)
        data, out = config(tmp_path, server.url), tmp_path / "out"
        run = replace(FAST, engine="dask", scheduler=cluster.scheduler_address)
        with pytest.raises(BenchError, match=r"scheduler tcp://.* is gone.*same command"):
            generate(data, out, run=run)
        ending.join()
        result = generate(data, out, run=FAST)
        asked = Counter((seen.model, seen.prompt) for seen in server.seen)
    spend = result.manifest["spend"]
    assert len(asked) == 180 == spend["calls"]
    assert sum(asked.values()) - 180 <= spend["unknown_calls"] <= FAST.concurrency


def test_judging_is_divided_too(tmp_path: Path, there: RunConfig) -> None:
    with Loopback(rate) as server:
        data = judged_config(tmp_path, server.url, judge="rubric", audit=12)
        generate(data, tmp_path / "local", run=FAST)
        calls = len(server.seen)
        generate(data, tmp_path / "dask", run=there)
        assert len(server.seen) == 2 * calls
    assert_same_rows(tmp_path / "local", tmp_path / "dask")


def test_simulated_llms_answer_alike_everywhere(tmp_path: Path, there: RunConfig) -> None:
    data = DataConfig(users=3, queries_per_task=5)
    generate(data, tmp_path / "local")
    generate(data, tmp_path / "dask", run=there)
    assert_same_rows(tmp_path / "local", tmp_path / "dask")


def test_interactions_are_written_by_all_workers(
    tmp_path: Path, there: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every strategy's law, however it was put together, works on a worker."""
    monkeypatch.setattr(interactions, "ROWS_PER_BLOCK", 600)  # 12 users a block, 9 blocks
    data = DataConfig(users=103, limit=5, strategies=STRATEGIES)
    local = generate(data, tmp_path / "local")
    monkeypatch.chdir(tmp_path)  # the workers stay where they were started
    dask = generate(data, "dask", run=there)
    assert_same_rows(tmp_path / "local", tmp_path / "dask")
    assert local.manifest["strategies"] == dask.manifest["strategies"]
    for strategy in STRATEGIES:
        folder = tmp_path / "dask" / "interactions" / strategy
        assert len(list((folder / "train").iterdir())) > 1
        assert {path.name for path in folder.iterdir()} == set(SPLITS)
        assert not list(folder.parent.glob(".*"))


def test_routers_run_on_the_workers(tmp_path: Path, cluster: Any, bench: Bench) -> None:
    out = tmp_path / "data"
    generate(DataConfig(users=10, queries_per_task=6), out)
    here = ["evaluate", out, "--router", "knn", "--router", "lin-ucb", "--seeds", 2, "--draws", 0]
    there = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
    results = []
    for number, more in enumerate(([], there)):
        path = tmp_path / f"{number}.json"
        ran = bench(*here, *more, "--json", path)
        assert ran.code == 0, ran.err
        results.append(without_times(json.loads(path.read_text())))
    assert "2 workers" in ran.err
    assert results[0] == results[1]


def test_what_goes_wrong_on_a_worker_is_one_message(
    tmp_path: Path, there: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The key is here and not there: the workers were started without it.
    monkeypatch.setenv("ACME_KEY", "sk-very-secret-0123456789")
    data = config(tmp_path, "http://192.0.2.1:9/v1")
    write_pool(tmp_path, "http://192.0.2.1:9/v1", api_key_env="ACME_KEY")
    with pytest.raises(BenchError, match="ACME_KEY"):
        generate(data, tmp_path / "out", run=there)


def test_no_scheduler_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from personaroute_bench.engines import dask_engine

    monkeypatch.setattr(dask_engine, "CONNECT_S", 0.1)
    run = RunConfig(engine="dask", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"tcp://127.0.0.1:9: no Dask scheduler"):
        generate(DataConfig(users=3, limit=4), tmp_path / "out", run=run)


def test_dask_is_imported_only_where_it_is_asked_for() -> None:
    code = (
        "import json, sys; import personaroute_bench.cli, personaroute_bench.generate, "
        "personaroute_bench.engines.calls; "
        "print(json.dumps([name in sys.modules for name in ('dask', 'distributed')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == [False, False]
