from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from personaroute_bench.leaderboard import board
from personaroute_bench.leaderboard.build import build
from personaroute_bench.leaderboard.datasets import load_all
from personaroute_bench.leaderboard.scoring import FIGURES, score_rows
from personaroute_bench.leaderboard.submission import About
from personaroute_bench.leaderboard.submit import submit
from personaroute_bench.leaderboard.track import Asked, Track
from personaroute_bench.leaderboard.verify import verify
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.runner import evaluate

Enter = Callable[..., Path]
RowOf = Callable[..., dict[str, Any]]


def figure(row: dict[str, Any], name: str) -> float:
    return float(row["figures"][name][0])


def test_figures_and_intervals_are_those_of_bench_evaluate(
    folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path
) -> None:
    enter("mine", "best-per-user-task")
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=200)
    expected = evaluate(folder, ["best-per-user-task"], bootstrap_draws=200)
    for name, router in (
        ("mine", "best-per-user-task"),
        ("best-single", "best-single"),
        ("best-per-user", "best-per-user"),
        ("oracle", "oracle"),
    ):
        row, metrics = row_of(found, name), expected[router]["metrics"]
        for metric in board.SHOWN:
            for place, part in enumerate(("mean", "low", "high")):
                assert row["figures"][metric][place] == pytest.approx(
                    metrics[metric][part], rel=1e-6, abs=1e-9
                ), (name, metric, part)
        assert row["p_value"] == pytest.approx(metrics["shuffled_gain"]["p_value"])
    gap = figure(row_of(found, "mine"), "reward") - figure(row_of(found, "best-single"), "reward")
    assert figure(row_of(found, "mine"), "gain") == pytest.approx(gap, abs=1e-6)
    assert row_of(found, "best-single")["figures"]["gain"] == [0, 0, 0]


def test_seeds_are_averaged_and_controls_see_the_same_history(
    folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path
) -> None:
    told: dict[str, Any] = {"feedback": "choice", "interactions_per_user": 3, "seeds": 3}
    enter("mine", "best-per-user-task", **told)
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    expected = evaluate(folder, ["best-per-user-task"], bootstrap_draws=0, **told)
    for name, router in (("mine", "best-per-user-task"), ("best-per-user", "best-per-user")):
        reward = expected[router]["metrics"]["reward"]["mean"]
        assert figure(row_of(found, name), "reward") == pytest.approx(reward, rel=1e-6)
    assert row_of(found, "mine")["figures"]["reward"][1:] == [None, None]


@pytest.mark.parametrize(
    "told",
    [
        {"setting": "new-user", "shots": 2},
        {"setting": "new-llm", "held_out": ("llm-2",)},
        {"setting": "cross-task"},
    ],
)
def test_other_settings(
    folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path, told: dict[str, Any]
) -> None:
    enter("mine", "best-per-user", **told)
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    assert not found["rejected"]
    options = told | {"bootstrap_draws": 0}
    expected = evaluate(folder, ["best-per-user"], **options)["best-per-user"]["metrics"]
    assert figure(row_of(found, "mine"), "reward") == pytest.approx(
        expected["reward"]["mean"], rel=1e-6
    )


def test_a_hand_computed_board() -> None:
    """Two users, two queries, two LLMs: reward of LLM m to user u is 1 where m = u, else 0."""
    benchmark = small_benchmark(users=2, queries=(4, 2, 2), llms=2)
    part = benchmark.memory[STRATEGY, "test"]
    part.reward[:] = np.eye(2)[:, None, :]
    part.chosen[:] = part.reward == 1
    asked = Asked.of(benchmark, Track(STRATEGY))
    own, first = np.asarray([[0, 0], [1, 1]]), np.zeros((2, 2), dtype=np.int64)
    none = np.asarray([[0, -1], [1, 1]])
    found = score_rows(
        asked, asked.outcomes(), {"own": [own], "first": [first], "gap": [none]}, draws=0
    )

    def values(name: str) -> list[float | None]:
        shown = ("reward", "oracle_normalised_reward", "regret", "charged", "shuffled_gain")
        return [found[name].figures[figure].mean for figure in shown]

    assert values("own") == [1, 1, 0, 0, 1]
    assert values("first") == [0.5, 0, 0.5, 0, 0]
    assert values("gap") == [0.75, 0.5, 0.25, 0.25, 0.75]
    assert [row.invalid for row in found.values()] == [0, 0, 1]


def test_ranks_and_their_ranges(folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path) -> None:
    for name, router in (
        ("good", "best-per-user-task"),
        ("twin", "best-per-user-task"),
        ("bad", "largest"),
    ):
        enter(name, router)
    found = build([tmp_path / "subs"], [folder], tmp_path / "site")
    good, twin, bad = (row_of(found, name)["rank"] for name in ("good", "twin", "bad"))
    assert good == twin == [1, 1, 2]  # two rows of the same choices share first and second place
    assert bad[0] == 3
    assert bad[1] <= 3 <= bad[2]
    (one,) = found["boards"]
    rewards = [row["figures"]["reward"][0] for row in one["rows"]]
    assert rewards == sorted(rewards, reverse=True)
    controls = {row["name"] for row in one["rows"] if row["kind"] == "control"}
    assert controls == {"oracle", "user-blind-oracle", "best-per-user", "best-single"}
    assert all(row["rank"] is None for row in one["rows"] if row["kind"] == "control")


def test_the_number_of_rows_scored_at_once_changes_nothing(
    folder: Path, enter: Enter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "cheapest", "largest", "best-per-task"):
        enter(name, name)
    whole = build([tmp_path / "subs"], [folder], tmp_path / "a")
    monkeypatch.setattr(board, "CHUNK", 1)
    assert build([tmp_path / "subs"], [folder], tmp_path / "b") == whole
    for name in ("index.html", "leaderboard.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_rows_told_other_things_are_on_other_boards(
    folder: Path, enter: Enter, tmp_path: Path
) -> None:
    enter("plain")
    enter("told", tier="T3")
    enter("few", interactions_per_user=2)
    enter("seeds", interactions_per_user=2, seeds=2)
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    names = [
        sorted(row["name"] for row in one["rows"] if row["kind"] == "submission")
        for one in found["boards"]
    ]
    assert names == [["plain"], ["few", "seeds"], ["told"]]
    for one in found["boards"]:
        ranks = [row["rank"][0] for row in one["rows"] if row["kind"] == "submission"]
        assert min(ranks) == 1
        assert one["provenance"] == "simulated"


def test_boards_stand_live_recorded_simulated(folder: Path, enter: Enter, tmp_path: Path) -> None:
    places = []
    for provenance in ("simulated", "live", "recorded"):
        manifest = json.loads((folder / "manifest.json").read_text())
        other = tmp_path / f"data-{provenance}"
        other.symlink_to(folder) if provenance == "simulated" else _copy(folder, other)
        manifest["provenance"] = [provenance]
        if provenance != "simulated":
            (other / "manifest.json").write_text(json.dumps(manifest))
        submit(
            other,
            tmp_path / "subs" / provenance,
            About(provenance, "open"),
            Track(STRATEGY),
            router="cheapest",
        )
        places.append(other)
    found = build([tmp_path / "subs"], places, tmp_path / "site", draws=0)
    assert [one["provenance"] for one in found["boards"]] == ["live", "recorded", "simulated"]


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target)


def test_reported_figures_are_compared(
    folder: Path, enter: Enter, edit: Callable[..., None], row_of: RowOf, tmp_path: Path
) -> None:
    honest, boasting, silent = enter("honest"), enter("boasting"), enter("silent")
    true = json.loads((honest / "submission.json").read_text())["reported"]
    assert sorted(true) == sorted(FIGURES)
    rounded = {name: float(f"{value:.5g}") for name, value in true.items()}
    edit(honest, reported=rounded)
    edit(boasting, reported__reward=true["reward"] + 0.01)
    edit(silent, reported={})
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    checks = [row_of(found, name)["check"] for name in ("honest", "boasting", "silent")]
    assert checks == ["reproduced", "differs", "not reported"]
    (difference,) = row_of(found, "boasting")["differences"]
    assert difference["figure"] == "reward"
    assert difference["reproduced"] == pytest.approx(true["reward"])
    # What is believed is what was computed.
    rewards = {figure(row_of(found, name), "reward") for name in ("honest", "boasting", "silent")}
    assert len(rewards) == 1
    ok = [one.ok for one in verify([boasting, honest, silent], load_all([folder]))]
    assert ok == [False, True, True]


def test_other_choices_than_those_hashed_are_left_out(
    folder: Path, enter: Enter, tmp_path: Path
) -> None:
    first, second = enter("first", "cheapest"), enter("second", "largest")
    (first / "choices.parquet").write_bytes((second / "choices.parquet").read_bytes())
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    (entry,) = found["rejected"]
    assert entry["folder"] == "first"
    assert "the submission says" in entry["reason"]
    assert str(tmp_path) not in entry["reason"]  # the page is public
    (one,) = verify([first], load_all([folder]))
    assert not one.ok
    assert one.row is None


def test_a_track_that_the_data_set_cannot_have_does_not_end_the_others(
    folder: Path, enter: Enter, edit: Callable[..., None], row_of: RowOf, tmp_path: Path
) -> None:
    edit(enter("no-personas"), track__tier="T2")
    edit(enter("no-drift"), track__strategy="drift", track__setting="drift")
    edit(enter("no-such-user"), track__setting="new-user", track__held_out=["eve"])
    odd = enter("odd").rename(tmp_path / "subs" / "line\nbreak\x1b[2J")
    (odd / "choices.parquet").unlink()
    enter("fine")
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    reasons = {entry["folder"]: entry["reason"] for entry in found["rejected"]}
    assert sorted(reasons) == ["line break\\x1b[2J", "no-drift", "no-personas", "no-such-user"]
    assert "persona" in reasons["no-personas"]
    assert all(reason.isprintable() for reason in reasons.values())
    assert row_of(found, "fine")["rank"] == [1, 1, 1]


def test_a_submission_for_another_data_set_is_left_out(
    folder: Path, enter: Enter, edit: Callable[..., None], tmp_path: Path
) -> None:
    edit(enter("mine"), data__manifest_sha256="0" * 64)
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", draws=0)
    assert "none of those given with --data" in found["rejected"][0]["reason"]
    assert found["boards"] == []


@pytest.mark.parametrize("router", ["oracle", "user-blind-oracle"])
def test_a_control_cannot_be_submitted(enter: Enter, router: str) -> None:
    with pytest.raises(UsageError, match="cannot be submitted"):
        enter("mine", router)


def test_a_router_that_fails_leaves_no_submission(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_router.py").write_text(
        "class Broken:\n"
        "    def fit(self, history): raise ValueError('no idea')\n"
        "    def route(self, requests): return []\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="no idea"):
        submit(
            folder,
            tmp_path / "sub",
            About("x", "open"),
            Track(STRATEGY),
            router="broken_router:Broken",
        )
    assert not (tmp_path / "sub").exists()
