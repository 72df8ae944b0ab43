"""bench train and bench route, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from bench_command import Bench

from personaroute_bench import cli
from personaroute_bench.cli.route import route
from personaroute_bench.cli.train import train

names = {command.name for command in cli.app.registered_commands}


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register train and route where the command line has not done so."""
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("evaluate")(lambda: None)
    app.command("train")(train)
    app.command("route")(route)
    if not {"train", "route"} <= names:
        monkeypatch.setattr(cli, "app", app)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 30 users and the router trained on it, made once."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        from personaroute_bench.config import DataConfig
        from personaroute_bench.generate import generate

        generate(
            DataConfig(users=30, queries_per_task=20, strategies=("multi_cost_efficiency",)),
            folder / "data",
        )
    from personaroute_bench.training import train as fit

    fit(folder / "data", "explicit-utility").save(folder / "model")
    return folder


def user(folder: Path) -> str:
    found: str = json.loads((folder / "model" / "model.json").read_text())["state"]["ids"][
        "user_ids"
    ][4]
    return found


def test_train_then_route(bench: Bench, trained: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    ran = bench(
        "train", trained / "data", "--router", "explicit-utility", "--out", model, "--quiet"
    )
    assert ran.code == 0, ran.err
    assert "30 users" in ran.out and "predicted right for" in ran.out and "bench route" in ran.out
    ran = bench("route", model, "--user", user(trained), "How many pears has Ann?")
    assert ran.code == 0, ran.err
    assert "expected performance" in ran.out and "(predicted)" in ran.out
    assert "weights of this user" in ran.out


def test_json_and_candidates(bench: Bench, trained: Path) -> None:
    model = trained / "model"
    everything = json.loads(bench("route", model, "--user", "x", "--json", "Two and two?").out)
    two = sorted(everything["scores"])[:2]
    ran = bench(
        "route", model, "--user", "x", "--candidates", ",".join(two), "--json", "Two and two?"
    )
    decision: dict[str, Any] = json.loads(ran.out)
    assert set(decision["scores"]) == set(two)
    assert decision["choice"] == max(two, key=decision["scores"].__getitem__)
    assert "average user" in decision["why"]


def test_many_from_a_file(bench: Bench, trained: Path, tmp_path: Path) -> None:
    requests = tmp_path / "queries.jsonl"
    lines = [{"query": f"What is {n} + {n}?", "user_id": user(trained)} for n in range(7)]
    requests.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    out = tmp_path / "choices.parquet"
    ran = bench("route", trained / "model", "--file", requests, "--out", out)
    assert ran.code == 0, ran.err
    table = pq.read_table(out)
    assert table.num_rows == 7
    assert table["query"].to_pylist() == [line["query"] for line in lines]
    printed = bench("route", trained / "model", "--file", requests).out.splitlines()
    assert [json.loads(line)["choice"] for line in printed] == table["llm_id"].to_pylist()
    assert np.isfinite(table["score"].to_numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL"], "give a query"),
        (["MODEL", "--user", "u", "--file", "f.jsonl", "q"], "give a query"),
        (["MODEL", "q"], "say who asks"),
        (["MODEL", "--user", "u", "--out", "x.parquet", "q"], "--out is for --file"),
        (["MODEL", "--user", "u", "--task", "cooking", "q"], "unknown task 'cooking'"),
        (["MODEL", "--user", "u", "--candidates", "gpt-0", "q"], "unknown candidate 'gpt-0'"),
        (["MODEL", "--user", "u", "--candidates", ",", "q"], "no candidates"),
        (["nowhere", "--user", "u", "q"], "holds no trained router"),
        (["MODEL", "--file", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
    ],
)
def test_wrong_usage(bench: Bench, trained: Path, arguments: list[str], message: str) -> None:
    given = [trained / "model" if a == "MODEL" else a for a in arguments]
    ran = bench("route", *given)
    assert ran.code == 2
    assert message in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not valid JSON"),
        ("[1]", "line 2: expected an object"),
        ('{"query": 3, "user_id": "u"}', "line 2: query is 3"),
        ('{"query": "x"}', "line 2: user_id is None"),
        ('{"query": "x", "user_id": "u", "task_id": 7}', "line 2: task_id is 7"),
    ],
)
def test_a_wrong_line_is_named(
    bench: Bench, trained: Path, tmp_path: Path, line: str, message: str
) -> None:
    requests = tmp_path / "q.jsonl"
    requests.write_text('{"query": "x", "user_id": "u"}\n' + line)
    ran = bench("route", trained / "model", "--file", requests)
    assert ran.code == 2 and message in ran.err


def test_a_router_that_cannot_be_saved(bench: Bench, trained: Path) -> None:
    ran = bench("train", trained / "data", "--router", "personalised")
    assert ran.code == 2
    assert "did you mean 'personalized'" in ran.err
