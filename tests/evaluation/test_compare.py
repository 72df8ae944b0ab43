"""bench compare: pairs what can be paired, and refuses the rest in one clear message."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from small_benchmark import STRATEGY, small_benchmark, with_interactions

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.compare import compare
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.evaluation.standing import pack

Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Evaluate routers and write their results to NAME.json."""

    def make(name: str, *routers: Any, data: Any = None, **options: Any) -> Path:
        results = evaluate(
            data or small_benchmark(queries=(20, 6, 12)),
            routers,
            **{"bootstrap_draws": 200, **options},
        )
        results.write(tmp_path / f"{name}.json")
        return tmp_path / f"{name}.json"

    return make


def change(path: Path, **changes: Any) -> Path:
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | changes))
    return path


def test_two_runs_say_what_one_run_says(made: Made) -> None:
    data = small_benchmark(users=40, queries=(40, 10, 48))
    together = evaluate(data, ["best-per-user", "random"], bootstrap_draws=200)
    names = ("best-single", "best-per-user", "random")
    files = [made(name, name, data=data) for name in names]
    comparison = compare(files)
    assert comparison.data["baseline"] == "best-single"
    rows = {row["name"]: row for row in comparison.data["routers"]}
    for name in ("best-per-user", "random"):
        gap = together[name]["differences"][0]
        assert gap["baseline"] == "best-single"
        found = rows[name]["difference"]
        for key in ("mean", "low", "high", "p_value"):
            assert found[key] == pytest.approx(gap[key])
    assert rows["best-per-user"]["judgement"] == "better"
    assert rows["best-per-user"]["rank"] == {"best": 1, "worst": 1, "of": 3}
    assert comparison.sentences[0].startswith("best-per-user is better than best-single: reward +")


def test_every_metric_and_that_less_cost_is_better(made: Made) -> None:
    files = made("a", "largest"), made("b", "cheapest")
    for metric in ("reward", "oracle_normalised_reward", "accuracy", "performance", "cost_usd"):
        assert compare(files, metric=metric).data["metric"] == metric
    (row,) = (r for r in compare(files, metric="cost_usd").data["routers"] if r["difference"])
    assert row["name"] == "cheapest"
    assert row["difference"]["mean"] < 0
    assert row["judgement"] == "better"
    assert row["rank"]["best"] == 1
    with pytest.raises(UsageError, match="charged"):
        compare(files, metric="charged")


def test_a_run_of_all_has_all_but_the_controls(made: Made) -> None:
    found = {row["name"] for row in compare([made("all")]).data["routers"]}
    assert "best-per-task" in found
    assert "oracle" not in found


def test_names_are_picked_and_told_apart_by_file(made: Made) -> None:
    files = made("a", "best-per-user"), made("b", "best-per-user", feedback="choice")
    with pytest.raises(UsageError, match="feedback full and choice"):
        compare(files)
    comparison = compare(files, across=True)
    labels = [row["label"] for row in comparison.data["routers"]]
    assert labels == [f"{file}:best-per-user" for file in files]
    assert "not like for like" in comparison.data["notes"][0]
    named = compare(files[:1], routers=["oracle", "best-single"], baseline="oracle")
    assert named.data["baseline"] == "oracle"
    assert named.data["routers"][1]["judgement"] == "worse"
    with pytest.raises(UsageError, match="did you mean 'oracle'"):
        compare(files[:1], routers=["orakle"])
    with pytest.raises(UsageError, match="no router 'nobody'"):
        compare(files[:1], routers=["oracle", "best-single"], baseline="nobody")
    with pytest.raises(UsageError, match="several routers"):
        compare(files, across=True, baseline="best-per-user")


def test_the_same_choices_twice_are_one_router(made: Made) -> None:
    file = made("a", "best-per-user")
    with pytest.raises(UsageError, match="1 router to compare"):
        compare([file, file])


def test_cascades_that_bought_otherwise_are_two_routers(made: Made) -> None:
    data = small_benchmark()
    files = [made(name, "frugal-gpt", "random", data=data) for name in ("a", "b")]
    entries = json.loads(files[1].read_text())["routers"]
    for entry in entries:
        for seed in entry["per_seed"]:
            if "purchases_sha256" in seed:
                seed["purchases_sha256"] = "0" * 64
    change(files[1], routers=entries)
    comparison = compare(files)
    labels = [row["label"] for row in comparison.data["routers"]]
    assert sorted(labels) == sorted(["random", *(f"{file}:frugal-gpt" for file in files)])
    once, *rest = comparison.data["notes"]
    assert once == f"shown once: random made the same choices in {files[0]} and {files[1]}"
    assert "protocol" in rest[0]


def test_few_users_or_queries_claim_nothing(made: Made) -> None:
    lonely = made("a", "best-per-user", "random", data=small_benchmark(users=1))
    comparison = compare([lonely])
    (row,) = (row for row in comparison.data["routers"] if row["difference"])
    assert row["difference"]["p_value"] is None
    assert row["judgement"] == "untested"
    assert comparison.data["notes"][-1] == (
        "with 1 users or test queries nothing is tested; it takes 9 of each"
    )
    for sizes in ({"users": 10**400, "test": 10**400}, {"users": "many"}, 3):
        found = compare([change(lonely, sizes=sizes)]).data["routers"][1]["difference"]
        assert found["p_value"] == (None if sizes in (3, {"users": "many"}) else 2 / 201)


@pytest.mark.parametrize("what", ["outcomes", "users", "draws", "settings"])
def test_what_cannot_be_paired_is_refused(made: Made, what: str) -> None:
    data = small_benchmark()
    first = made("a", "best-per-user", data=data)
    options: dict[str, Any] = {"data": data}
    if what == "outcomes":
        reward = data.memory[STRATEGY, "test"].reward + np.float32(0.1)
        options["data"] = with_interactions(data, "test", reward=reward)
    elif what == "users":
        ids = [f"person-{u}" for u in range(12)]
        users = data.users.set_column(0, "user_id", [ids])
        options["data"] = dataclasses.replace(data, users=users)
    elif what == "draws":
        options["bootstrap_draws"] = 300
    else:
        options["setting"] = "new-user"
    second = made("b", "best-per-user", **options)
    message = "200 and 300 draws" if what == "draws" else "different test outcomes"
    for across in (False, True):
        with pytest.raises(UsageError, match=message):
            compare([first, second], across=across)


def test_other_random_streams_are_refused(made: Made) -> None:
    first, second = made("a", "best-per-user"), made("b", "random")
    key = json.loads(second.read_text())["paired"]
    change(second, paired=key | {"draws_sha256": "0" * 64})
    with pytest.raises(UsageError, match="different random streams"):
        compare([first, second])


def test_failed_routers_and_too_few_draws_are_said(made: Made) -> None:
    class Broken:
        def fit(self, history: Any) -> None:
            raise ValueError("\x1b[31mno")

        def route(self, requests: Any) -> Any: ...

    file = made("a", "best-per-user", "random", Broken, bootstrap_draws=0)
    comparison = compare([file])
    assert comparison.data["routers"][1]["judgement"] == "untested"
    assert comparison.data["routers"][1]["rank"]["worst"] == 2
    (note,) = comparison.data["notes"]
    assert "has no results" in note
    assert "\x1b" not in note
    few = compare(
        [made("b", "best-per-user", "random", "largest", "cheapest", bootstrap_draws=100)]
    )
    assert "--draws 120 or more" in few.data["notes"][-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no results"),
        ("{", "not valid JSON"),
        ('{"routers": []}', "lacks the draws"),
        ('{"routers": [], "kind": "pairs"}', "recorded pairs"),
        ('{"routers": [], "paired": {}, "bootstrap_draws": 100}', "lacks the draws"),
        (
            '{"routers": [3, {"name": 4}], "paired": {"outcomes_sha256": "0"}, '
            '"bootstrap_draws": 100}',
            "0 router",
        ),
    ],
)
def test_files_that_are_no_results(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        compare([tmp_path / "x.json"])


@pytest.mark.parametrize(
    "broken",
    [
        {"draws": {}},
        {"draws": 3},
        {"draws": {"reward": "AAAA"}},
        {"draws": {"reward": pack(np.full(200, np.inf))}},
        {"metrics": {"reward": {"mean": True}}},
        {"metrics": {"reward": {"mean": 10**400}}},
        {"draws": {}, "per_seed": [1, {"choices_sha256": []}], "protocol": {"a": []}},
    ],
)
def test_entries_that_cannot_be_read_are_named(made: Made, broken: Any) -> None:
    file = made("a", "best-per-user", "random")
    entries = json.loads(file.read_text())["routers"]
    change(file, routers=[entry | broken for entry in entries])
    with pytest.raises(UsageError, match="reward of best-per-user cannot be read"):
        compare([file])


def test_the_table_escapes_names(made: Made) -> None:
    file = made("a", "best-per-user", "random")
    entries = json.loads(file.read_text())["routers"]
    for entry in entries:
        if entry["name"] == "random":
            entry["name"] = "[red]\x1b[31mbold[/red]"
    change(file, routers=entries)
    out = io.StringIO()
    compare([file]).print(Console(file=out, width=100, force_terminal=True, color_system=None))
    assert "[red]" in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()
    assert "is worse than best-per-user" in out.getvalue()
