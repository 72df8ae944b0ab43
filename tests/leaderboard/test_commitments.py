"""A sealed data set: what may be ranked after it was opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from personaroute_bench.leaderboard.build import build
from personaroute_bench.leaderboard.commitments import Commitments, commitment_line
from personaroute_bench.leaderboard.datasets import DataSet
from personaroute_bench.leaderboard.submission import About, read_submission
from personaroute_bench.leaderboard.submit import submit
from personaroute_bench.leaderboard.track import Track
from small_benchmark import STRATEGY

from personaroute_bench.errors import UsageError

Enter = Callable[..., Path]
RowOf = Callable[..., dict[str, Any]]


def commit(file: Path, submission: Path, moment: str) -> None:
    line = commitment_line(read_submission(submission), moment)
    with file.open("a", encoding="utf-8") as handle:
        handle.write(line + "\n")


def test_only_what_was_committed_before_the_opening_is_ranked(
    folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path
) -> None:
    early, late, never = enter("early", "largest"), enter("late"), enter("never", "random")
    file = tmp_path / "commitments.jsonl"
    commit(file, early, "2026-01-31T23:59:59Z")
    commit(file, late, "2026-02-01T00:00:00Z")
    found = build(
        [early, late, never],
        [folder],
        tmp_path / "site",
        commitments=file,
        opened="2026-02-01",
        draws=0,
    )
    standing = {name: row_of(found, name)["standing"] for name in ("early", "late", "never")}
    assert standing == {"early": "ranked", "late": "open test", "never": "open test"}
    assert row_of(found, "early")["rank"] == [1, 1, 1]
    assert row_of(found, "late")["rank"] is None
    assert row_of(found, "late")["figures"]  # shown all the same
    assert found["boards"][0]["opened"] == "2026-02-01T00:00:00Z"


def test_the_date_of_the_list_counts_not_the_submission_s_own(
    folder: Path, enter: Enter, edit: Callable[..., None], row_of: RowOf, tmp_path: Path
) -> None:
    late = enter("late")
    edit(late, committed_at="2020-01-01T00:00:00Z")
    file = tmp_path / "commitments.jsonl"
    commit(file, late, "2026-03-01")
    found = build(
        [late], [folder], tmp_path / "site", commitments=file, opened="2026-02-01", draws=0
    )
    assert row_of(found, "late")["standing"] == "open test"
    assert row_of(found, "late")["committed_at"] == "2026-03-01T00:00:00Z"


def test_choices_changed_after_the_commitment_are_not_ranked(
    folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path
) -> None:
    first = enter("mine", "random")
    file = tmp_path / "commitments.jsonl"
    commit(file, first, "2026-01-01")
    again = enter("mine", "best-per-user")
    found = build(
        [again], [folder], tmp_path / "site", commitments=file, opened="2026-02-01", draws=0
    )
    assert row_of(found, "mine")["standing"] == "open test"


def test_who_commits_often_is_shown_to(
    folder: Path, enter: Enter, row_of: RowOf, tmp_path: Path
) -> None:
    file = tmp_path / "commitments.jsonl"
    for router in ("random", "cheapest", "largest"):
        commit(file, enter("mine", router), "2026-01-01")
    commit(file, enter("mine", "largest"), "2026-01-02")  # the same again is no new one
    found = build([tmp_path / "subs"], [folder], tmp_path / "site", commitments=file, draws=0)
    assert row_of(found, "mine")["commitments"] == 3


def test_the_earliest_date_of_a_commitment_counts(tmp_path: Path) -> None:
    file = tmp_path / "commitments.jsonl"
    moments = ("2026-03-01T00:00:00Z", "2026-01-01T01:00:00+02:00", "2026-02-01")
    lines = [{"commitment": "a" * 64, "committed_at": moment} for moment in moments]
    file.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert Commitments.read(file).at == {"a" * 64: "2025-12-31T23:00:00Z"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[]", "no JSON object"),
        ("{", "line 2"),
        ('{"commitment": "xyz", "committed_at": "2026-01-01"}', "64 hexadecimal digits"),
        ('{"commitment": "' + "a" * 64 + '"}', "committed_at"),
        ('{"commitment": "' + "a" * 64 + '", "committed_at": "soon"}', "no moment in UTC"),
        ('{"commitment": "' + "a" * 64 + '", "committed_at": "2026-01-01", "name": 1}', "a text"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "commitments.jsonl"
    good = {"commitment": "b" * 64, "committed_at": "2026-01-01"}
    file.write_text(json.dumps(good) + "\n" + line + "\n")
    with pytest.raises(UsageError, match="line 2") as error:
        Commitments.read(file)
    assert words in str(error.value)


@pytest.fixture
def sealed(folder: Path, tmp_path: Path) -> Path:
    """The data set as its author publishes it: without test outcomes, with a seal."""
    path = tmp_path / "sealed"
    shutil.copytree(folder, path)
    manifest = json.loads((path / "manifest.json").read_text()) | {"dataset_id": "the-same"}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"created": "later"}))
    (path / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(path / "interactions" / STRATEGY / "test")
    _seal(path)
    return path


def _seal(path: Path, **more: str) -> None:
    seal = {
        "schema": "personaroute_bench/seal/1",
        "sealed_at": "2026-01-01T00:00:00+00:00",
        "withheld": {},
        "seed": "0" * 64,
        **more,
    }
    (path / "seal.json").write_text(json.dumps(seal))


def choices_of(folder: Path, tmp_path: Path, router: str) -> Path:
    from personaroute_bench.evaluation.runner import evaluate

    evaluate(folder, [router], choices_dir=tmp_path / "choices", bootstrap_draws=0)
    return tmp_path / "choices" / f"{router}.parquet"


def test_from_the_seal_to_the_board(
    folder: Path, sealed: Path, row_of: RowOf, tmp_path: Path
) -> None:
    file = choices_of(folder, tmp_path, "best-per-user")
    sub = tmp_path / "sub"
    found = submit(
        sealed,
        sub,
        About("mine", "open"),
        Track(STRATEGY),
        choices=[file],
        now=datetime(2026, 1, 10, tzinfo=UTC),
    )
    assert found.row is None
    assert read_submission(sub).reported == {}
    lines = tmp_path / "commitments.jsonl"
    commit(lines, sub, "2026-01-10")
    with pytest.raises(UsageError, match="is sealed, so a router has no result yet"):
        submit(sealed, tmp_path / "x", About("x", "open"), Track(STRATEGY), router="cheapest")

    # While it is sealed there are no figures, not even from the author's own folder.
    for data in (sealed, _with_seal(folder)):
        waiting = build([sub], [data], tmp_path / "site", commitments=lines, draws=0)
        assert waiting["boards"][0]["sealed"]
        assert row_of(waiting, "mine")["standing"] == "sealed"
        assert row_of(waiting, "mine")["figures"] == {}
        assert [row["kind"] for row in waiting["boards"][0]["rows"]] == ["submission"]

    # The opening: another manifest, the same data set.
    _seal(folder, opened_at="2026-02-01T12:00:00+00:00", salt="00" * 32)
    after = build([sub], [folder], tmp_path / "site", commitments=lines, draws=0)
    assert row_of(after, "mine")["standing"] == "ranked"
    assert row_of(after, "mine")["figures"]["reward"][0] is not None
    assert after["boards"][0]["opened"] == "2026-02-01T12:00:00Z"
    unknown = build([sub], [folder], tmp_path / "site", draws=0)
    assert row_of(unknown, "mine")["standing"] == "open test"


def _with_seal(folder: Path) -> Path:
    _seal(folder)
    return folder


def test_a_data_set_that_was_never_sealed_is_not_taken_for_another_by_its_id(
    folder: Path, sealed: Path, tmp_path: Path
) -> None:
    file = choices_of(folder, tmp_path, "cheapest")
    submit(sealed, tmp_path / "sub", About("mine", "open"), Track(STRATEGY), choices=[file])
    found = build([tmp_path / "sub"], [folder], tmp_path / "site", draws=0)
    assert "none of those given" in found["rejected"][0]["reason"]


def test_times_without_rewards_are_no_outcomes(folder: Path) -> None:
    data = DataSet.load(folder)
    assert data.asked(Track(STRATEGY)).has_outcomes()
    part = folder / "interactions" / STRATEGY / "test" / "0.parquet"
    pq.write_table(pa.table({"user_id": ["user-0"], "time": [0]}), part)
    assert not data.asked(Track(STRATEGY)).has_outcomes()
    assert data.sealed(data.asked(Track(STRATEGY)))


def test_another_name_after_the_opening_does_not_hide_how_many_were_committed(
    folder: Path, enter: Enter, edit: Callable[..., None], row_of: RowOf, tmp_path: Path
) -> None:
    file = tmp_path / "commitments.jsonl"
    for router in ("random", "largest", "cheapest"):
        lucky = enter("mine", router)
        commit(file, lucky, "2026-01-01")
    edit(lucky, name="other")
    found = build(
        [lucky], [folder], tmp_path / "site", commitments=file, opened="2026-02-01", draws=0
    )
    row = row_of(found, "other")
    assert (row["standing"], row["commitments"]) == ("ranked", 3)
