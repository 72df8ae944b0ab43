"""What is read from a file of results, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.reporting.cold_start import find_cold_starts
from personaroute_bench.reporting.results import read_result


def changed(path: Path, to: Path, *place: str | int, value: Any) -> Path:
    data = json.loads(path.read_text(encoding="utf-8"))
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    to.write_text(json.dumps(data), encoding="utf-8")
    return to


def test_every_router_is_read_best_first_and_failed_ones_last(result: Path, tmp_path: Path) -> None:
    file = changed(result, tmp_path / "r.json", "routers", 0, "metrics", value={})
    best = json.loads(result.read_text(encoding="utf-8"))["routers"][0]["name"]
    read = read_result(file)
    assert read.routers[-1].name == best
    means = [row["reward"].mean for row in read.routers[:-1]]
    assert means == sorted(means, reverse=True)
    assert (read.users, read.queries, read.llms) == (12, 8, 4)
    assert read.provenance == "simulated"
    assert read.routers[-1]["reward"].mean is None


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("routers", 0, "metrics", "reward", "mean"), "0.5", "routers[0].metrics.reward.mean"),
        (("routers", 0, "metrics", "reward", "low"), float("nan"), "metrics.reward.low is nan"),
        (("routers", 0, "metrics", "cost_usd", "mean"), 1e300, "cost_usd.mean"),
        (("routers", 0, "name"), 7, "routers[0].name is 7"),
        (("routers", 0), "x", "routers[0] is 'x'"),
        (("routers", 0, "per_seed"), {}, "routers[0].per_seed"),
        (("routers", 0, "asked_for"), 1, "asked_for"),
        (("sizes", "users"), -1, "sizes.users is -1"),
        (("sizes",), None, "sizes is None"),
        (("confidence",), 2, "confidence"),
        (("held_out",), [1], "held_out"),
        (("data", "directory"), ["x"], "data.directory"),
        (("seeds",), True, "seeds is True"),
        (("schema",), 99, "schema 99"),
        (("kind",), "pairs", "pairs of real people"),
        (("routers",), None, "no results"),
    ],
)
def test_a_value_that_is_wrong_is_named(
    result: Path, tmp_path: Path, place: tuple[Any, ...], value: Any, told: str
) -> None:
    file = changed(result, tmp_path / "r.json", *place, value=value)
    with pytest.raises(UsageError) as caught:
        read_result(file)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00"])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.json"):
        read_result(file)


def test_shots_make_a_curve_and_other_results_stand_alone(
    run: Callable[..., Path], result: Path
) -> None:
    few = run("shots-5", setting="new-user", shots=5)
    none = run("shots-0", setting="new-user", shots=0)
    curves, rest = find_cold_starts([read_result(path) for path in (few, result, none)])
    assert [one.path for one in rest] == [result]
    assert [one.path for one in curves[0].results] == [none, few]
    assert [one.path for one in curves[0].last] == [few]
    points = curves[0].curves["best-per-user"]
    assert [point.shown for point in points] == [0, 5]
    assert (
        points[1].figure
        == read_result(few).routers[
            [row.name for row in read_result(few).routers].index("best-per-user")
        ]["oracle_normalised_reward"]
    )
    assert "oracle" not in curves[0].curves


def test_interactions_a_user_make_a_curve_whose_end_is_all_of_them(
    run: Callable[..., Path], result: Path
) -> None:
    few = run("few", interactions_per_user=2)
    curves, rest = find_cold_starts([read_result(result), read_result(few)])
    assert rest == []
    assert [p.shown for p in curves[0].curves["best-per-user"]] == [2, 20]


def test_results_under_other_conditions_make_no_curve(run: Callable[..., Path]) -> None:
    full = run("shots-5", setting="new-user", shots=5)
    choice = run("choice", setting="new-user", shots=3, feedback="choice")
    curves, rest = find_cold_starts([read_result(full), read_result(choice)])
    assert curves == []
    assert len(rest) == 2


def test_one_router_with_two_results_for_a_point_is_refused(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    few, none = (run(f"shots-{k}", setting="new-user", shots=k) for k in (5, 0))
    names = [row.name for row in read_result(few).routers]
    place = ("routers", names.index("best-per-user"), "per_seed", 0, "choices_sha256")
    other = changed(few, tmp_path / "other.json", *place, value="0" * 64)
    with pytest.raises(UsageError, match=r"other\.json both have router 'best-per-user'"):
        find_cold_starts([read_result(path) for path in (few, none, other)])
