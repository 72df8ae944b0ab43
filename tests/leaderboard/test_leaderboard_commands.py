"""`bench submit` and `bench leaderboard`, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_command import Bench

from personaroute_bench.evaluation.runner import evaluate

Enter = Callable[..., Path]


def test_from_a_router_to_the_page(bench: Bench, folder: Path, tmp_path: Path) -> None:
    out, site = tmp_path / "subs" / "mine", tmp_path / "site"
    ran = bench(
        "submit", folder, "--router", "best-per-user", "--name", "mine", "--out", out,
        "--openness", "open", "--url", "https://example.org", "--price-date", "2026-01-31",
        "--contact", "me@example.org", "--quiet",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    assert "oracle_normalised_reward" in ran.out
    line = json.loads(ran.out.splitlines()[-1])
    assert sorted(line) == ["commitment", "committed_at", "name"]
    assert sorted(path.name for path in out.iterdir()) == ["choices.parquet", "submission.json"]

    ran = bench("leaderboard", "verify", tmp_path / "subs", "--data", folder)
    assert ran.code == 0
    assert ran.out.startswith(f"{out}: ok\n")

    ran = bench(
        "leaderboard", "build", tmp_path / "subs", "--data", folder, "--out", site,
        "--title", "Ours", "--draws", 100,
    )  # fmt: skip
    assert ran.code == 0
    assert ran.out == f"{site / 'index.html'}: 1 submission on 1 board, 0 left out\n"
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "<title>Ours</title>" in page
    assert "me@example.org" not in page  # the contact is not for the public
    assert str(tmp_path) not in page


def test_the_same_choices_from_a_file_are_the_same_submission(
    bench: Bench, folder: Path, enter: Enter, tmp_path: Path
) -> None:
    by_router = enter("mine", "best-per-user", seeds=2, interactions_per_user=2)
    evaluate(
        folder,
        ["best-per-user"],
        seeds=2,
        interactions_per_user=2,
        choices_dir=tmp_path / "choices",
        bootstrap_draws=0,
    )
    files = [tmp_path / "choices" / f"best-per-user{end}.parquet" for end in ("", "-seed1")]
    ran = bench(
        "submit", folder, "--name", "mine", "--openness", "open", "--out", tmp_path / "other",
        "--choices", files[0], "--choices", files[1], "--interactions-per-user", 2,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    first, second = (
        json.loads((path / "submission.json").read_text())
        for path in (by_router, tmp_path / "other")
    )
    del first["committed_at"], second["committed_at"]
    assert first == second
    assert (by_router / "choices.parquet").read_bytes() == (
        tmp_path / "other" / "choices.parquet"
    ).read_bytes()


def test_a_gap_in_the_choices_is_an_invalid_choice(
    bench: Bench, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "few.csv"
    file.write_text("user_id,query_id,llm_id\nuser-0,q26,llm-1\n")
    ran = bench("submit", folder, "--name", "few", "--choices", file, "--out", tmp_path / "sub")
    assert ran.code == 0, ran.err
    reported = json.loads((tmp_path / "sub" / "submission.json").read_text())["reported"]
    assert reported["charged"] == pytest.approx(95 / 96)


def test_wrong_figures_and_wrong_files_end_with_exit_code_one(
    bench: Bench, folder: Path, enter: Enter, edit: Callable[..., None], tmp_path: Path
) -> None:
    edit(enter("boasting"), reported__reward=0.99)
    (enter("cut") / "choices.parquet").write_bytes(b"PAR1")
    edit(enter("path"), name="../../../etc/passwd")
    edit(enter("typo"), track__setting="generall")
    enter("fine", "random")
    told = tmp_path / "told.json"
    ran = bench("leaderboard", "verify", tmp_path / "subs", "--data", folder, "--json", told)
    found = {Path(e["folder"]).name: e for e in json.loads(told.read_text())["submissions"]}
    assert found["boasting"]["differing"] == ["reward"] and not found["boasting"]["ok"]
    assert found["boasting"]["reported"]["reward"] == 0.99 != found["boasting"]["figures"]["reward"]
    assert found["fine"]["ok"] and found["fine"]["name"] == "fine"
    assert "choices.parquet cannot be read" in found["cut"]["problem"]
    assert found["typo"]["figures"] == {}
    assert ran.code == 1
    assert "boasting: 1 reported figure differs" in ran.out
    assert "0.99  DIFFERS" in ran.out
    assert "cut: WRONG" in ran.out
    assert "did you mean 'general'?" in ran.out
    assert "fine: ok" in ran.out
    assert "Traceback" not in ran.out + ran.err

    ran = bench(
        "leaderboard", "build", tmp_path / "subs", "--data", folder, "--out", tmp_path / "site",
        "--draws", 0, "--quiet",
    )  # fmt: skip
    assert ran.code == 0
    assert "left out: cut: cut/choices.parquet cannot be read" in ran.err
    assert "3 submissions on 1 board, 2 left out" in ran.out
    # A name that looks like a path is a name.
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == [
        "index.html",
        "leaderboard.json",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--name is missing"),
        (["--name", "x"], "either --router or --choices"),
        (["--name", "x", "--router", "cheapest", "--choices", "y"], "either --router or --choices"),
        (["--name", "x" * 90, "--router", "cheapest"], "name has 90 characters"),
        (["--name", "x", "--router", "cheapest", "--url", "ftp://x"], "no https address"),
        (["--name", "x", "--router", "cheapest", "--strategy", "other"], "unknown strategy"),
        (["--name", "x", "--router", "cheapest", "--seeds", "99"], "99 seeds are too many"),
        (["--name", "x", "--router", "cheapst"], "did you mean 'cheapest'"),
        (["--name", "x", "--router", "cheapest", "--shots", "3"], "does not apply to setting"),
        (["--name", "x", "--choices", "a", "--choices", "b", "--seeds", "3"], "given 2 times"),
        (["--name", "x", "--choices", "nothing.parquet"], "cannot read the prediction file"),
    ],
)
def test_a_wrong_option_is_one_message_and_writes_nothing(
    bench: Bench, folder: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    ran = bench("submit", folder, "--out", tmp_path / "sub", *options)
    assert ran.code == 2
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "sub").exists()


def test_other_files_are_not_written_over(bench: Bench, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    for name, words in (("full", "holds other files"), ("file", "is a file")):
        options: list[Any] = ["--name", "x", "--router", "cheapest", "--out", tmp_path / name]
        ran = bench("submit", folder, *options)
        assert ran.code == 2
        assert words in ran.err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["build", "nothing", "--data", "small"], "cannot read nothing"),
        (["build", "subs", "--data", "nothing"], "does not exist"),
        (["build", "subs", "--data", "small", "--data", "small/."], "are the same data set"),
        (["build", "subs", "--data", "small", "--draws", "5"], "--draws"),
        (["build", "subs", "--data", "small", "--opened", "soon"], "--opened 'soon' is no moment"),
        (["build", "subs", "--data", "small", "--commitments", "no"], "cannot read no"),
        (["serve", "nothing"], "bench leaderboard build"),
    ],
)
def test_a_wrong_option_of_the_board_is_one_message(
    bench: Bench,
    enter: Enter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    words: str,
) -> None:
    enter("mine")
    monkeypatch.chdir(tmp_path)
    ran = bench("leaderboard", *options)
    assert ran.code == 2
    assert words in ran.err
    assert not (tmp_path / "site").exists()


def test_the_library_does_not_import_the_leaderboard() -> None:
    import subprocess
    import sys

    code = (
        "import sys, personaroute_bench, personaroute_bench.cli, personaroute_bench.evaluation;"
        "print([name for name in sys.modules if 'personaroute_bench.leaderboard' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
