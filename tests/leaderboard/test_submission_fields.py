from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from personaroute_bench.leaderboard.submission import (
    LARGEST_JSON,
    About,
    Submission,
    check_about,
    find_submissions,
    parse_submission,
    read_submission,
)
from personaroute_bench.leaderboard.track import Track

from personaroute_bench.errors import UsageError

GOOD = Submission(
    about=About(
        "mine",
        "open",
        "It routes.\nWell.",
        "https://example.org/x",
        "none",
        "one CPU",
        "2026-01-31",
    ),
    track=Track("llm_judge", "new-user", "choice", "T1", 5, 3, ("user-1",), 2),
    data_name="small",
    dataset_id="abc",
    manifest_sha256="a" * 64,
    choices_sha256=("b" * 64, "c" * 64),
    reported={"reward": 0.5, "cost_usd": None},
    committed_at="2026-11-22T10:00:00Z",
)


def test_what_is_written_is_read_again() -> None:
    assert parse_submission(json.loads(json.dumps(GOOD.as_json())), "here") == GOOD


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema", 2, "this program reads schema 1"),
        ("schema", True, "this program reads schema 1"),
        ("name", "", "name is empty"),
        ("name", "x" * 81, "name has 81 characters; at most 80"),
        ("name", ["x"], "name must be a text"),
        ("name", "a\nb", "U+000A"),
        ("name", "evil\u202egnp.exe", "U+202E"),
        ("description", "\x00", "U+0000"),
        ("description", "x" * 1001, "1,001 characters"),
        ("openness", "half", "give 'open' or 'closed'"),
        ("url", "javascript:alert(1)", "no https address"),
        ("url", "http://example.org", "no https address"),
        ("url", "https://user:secret@example.org", "no https address"),
        ("url", "https://", "no https address"),
        ("url", "https://example.org/\" onclick='x", "no https address"),
        ("url", "https://[", "no https address"),
        ("price_date", "yesterday", "write YYYY-MM-DD"),
        ("committed_at", "2026-11-22T10:00:00", "no moment in UTC"),
        ("committed_at", 5, "must be a text"),
        ("data", [], "data must be a JSON object"),
        ("data/manifest_sha256", "../../etc/passwd", "no SHA-256"),
        ("data/path", "/etc/passwd", "data has an unknown key 'path'"),
        ("choices_sha256", ["b" * 64], "must be a list of 2"),
        ("choices_sha256", ["b" * 64, "B" * 64], "no SHA-256"),
        ("track/seeds", True, "track.seeds must be a whole number"),
        ("track/seeds", 21, "are too many"),
        ("track/shots", 10**9, "a whole number up to 10,000"),
        ("track/seeds", 0, "seeds is 0"),
        ("track/setting", "specific", "unknown setting"),
        ("track/tier", None, "track.tier must be a short text"),
        ("track/held_out", "user-1", "must be a list of texts"),
        ("track/setting", "general", "does not apply to setting 'general'"),
        ("reported/reward", "0.5", "must be a number or null"),
        ("reported/reward", True, "must be a number or null"),
        ("reported/reward", 10**400, "no finite number"),
        ("reported/rewards", 1, "did you mean 'reward'"),
        ("extra", 1, "unknown key 'extra'"),
    ],
)
def test_a_wrong_field_is_named(path: str, value: Any, words: str) -> None:
    whole = json.loads(json.dumps(GOOD.as_json()))
    place = whole
    *outer, last = path.split("/")
    for key in outer:
        place = place[key]
    place[last] = value
    with pytest.raises(UsageError) as error:
        parse_submission(whole, "here")
    assert words in str(error.value)
    assert str(error.value).startswith("here: ")


@pytest.mark.parametrize("key", ["schema", "name", "openness", "data", "track", "choices_sha256"])
def test_a_missing_field_is_named(key: str) -> None:
    whole = GOOD.as_json()
    del whole[key]
    with pytest.raises(UsageError, match=f"lacks the key '{key}'"):
        parse_submission(whole, "here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": NaN}', "NaN is no JSON number"),
        ('{"schema": 1, "schema": 1}', "'schema' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("\x00", "not valid JSON"),
        ("", "not valid JSON"),
        ("[]", "must be a JSON object"),
    ],
)
def test_what_is_no_submission_is_said_in_one_message(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "submission.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as error:
        read_submission(tmp_path)
    assert words in str(error.value)
    assert len(str(error.value)) < 500


def test_other_bytes_than_text(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid JSON"):
        read_submission(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(GOOD.as_json()))
    inside = tmp_path / "sub"
    inside.mkdir()
    (inside / "submission.json").symlink_to(secret)
    with pytest.raises(UsageError, match="is a link"):
        read_submission(inside)


def test_a_linked_folder_is_not_followed(tmp_path: Path, enter: Callable[..., Path]) -> None:
    (tmp_path / "link").symlink_to(enter("mine"))
    with pytest.raises(UsageError, match="is a link"):
        read_submission(tmp_path / "link")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "submission.json")
    with pytest.raises(UsageError, match="no plain file"):
        read_submission(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "submission.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    with pytest.raises(UsageError, match="at most 1,048,576 are read"):
        read_submission(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(GOOD.as_json())), JSON)
def test_any_value_of_a_field_is_accepted_or_named(key: str, value: Any) -> None:
    whole = GOOD.as_json() | {key: value}
    try:
        found = parse_submission(whole, "here")
    except UsageError:
        return
    json.dumps(found.as_json(), allow_nan=False)


@given(JSON)
def test_any_json_is_accepted_or_named(value: Any) -> None:
    with pytest.raises(UsageError):
        parse_submission(value, "here")


@given(st.text(max_size=90))
def test_a_name_that_is_accepted_can_be_shown(name: str) -> None:
    try:
        found = check_about(About(name, "open")).name
    except UsageError:
        return
    assert 0 < len(found) <= 80
    assert "\n" not in found
    found.encode("utf-8")


def test_the_commitment_binds_choices_track_and_data_but_not_the_name() -> None:
    def change(**changes: Any) -> str:
        return dataclasses.replace(GOOD, **changes).commitment

    assert change(about=About("other", "closed")) == GOOD.commitment
    assert change(reported={}, committed_at=None) == GOOD.commitment
    others = {
        change(choices_sha256=("b" * 64, "d" * 64)),
        change(track=dataclasses.replace(GOOD.track, tier="T3")),
        change(manifest_sha256="d" * 64),
    }
    assert len(others | {GOOD.commitment}) == 4


def test_submissions_are_found_in_folders_and_once(
    tmp_path: Path, enter: Callable[..., Path]
) -> None:
    first, second = enter("b"), enter("a")
    assert find_submissions([tmp_path / "subs", first]) == [second, first]
    with pytest.raises(UsageError, match="holds no submission"):
        find_submissions([tmp_path / "small"])
    with pytest.raises(UsageError, match="cannot read"):
        find_submissions([tmp_path / "nothing"])
