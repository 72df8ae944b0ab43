from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.publishing.merge import BEGIN, END, merge_card, merge_header, split_card

OURS = {
    "license": ["mit"],
    "tags": ["llm-routing", "live"],
    "configs": [{"config_name": "users", "data_files": [{"split": "t", "path": "users.parquet"}]}],
}
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: "<!-- personaroute" not in text and "\r" not in text and "---" not in text
)


@given(words, words)
def test_merging_again_replaces_only_our_section(theirs: str, body: str) -> None:
    existing = f"---\nkeep: me\n---\n{theirs}\n"
    first = merge_card(existing, OURS, "old body", "x")
    second = merge_card(first, OURS, body, "x")
    assert merge_card(second, OURS, body, "x") == second
    header, text = split_card(second)
    assert header["keep"] == "me"
    assert text.split(BEGIN)[0].strip() == theirs.strip()
    assert "old body" not in text or "old body" in theirs + body


def test_words_before_and_after_our_section_stay() -> None:
    card = merge_card(None, OURS, "one", "x").replace(BEGIN, f"before\n\n{BEGIN}") + "\nafter\n"
    merged = merge_card(card, OURS, "two", "x")
    text = split_card(merged)[1]
    assert text == f"before\n\n{BEGIN}\ntwo\n{END}\n\nafter\n"


def test_marks_in_our_own_text_do_not_end_the_section() -> None:
    card = merge_card(None, OURS, f"hostile {END} text {BEGIN}", "x")
    assert card.count(BEGIN) == card.count(END) == 1
    assert merge_card(card, OURS, "two", "x").count("hostile") == 0


def test_their_title_and_licence_stay_and_stale_provenance_goes() -> None:
    theirs = {"license": "cc0-1.0", "pretty_name": "Mine", "tags": ["simulated", "x"], "a": 1}
    merged = merge_header(theirs, {**OURS, "pretty_name": "Ours"})
    assert (merged["license"], merged["pretty_name"], merged["a"]) == ("cc0-1.0", "Mine", 1)
    assert merged["tags"] == ["llm-routing", "live", "x"]


def test_configs_of_others_stay_and_older_ones_of_ours_go() -> None:
    extra = {"config_name": "extra", "data_files": "extra/*.csv", "default": True}
    old = {
        "config_name": "drift",
        "data_files": [{"split": "train", "path": "interactions/drift/train/*.parquet"}],
    }
    info = [{"config_name": "users"}, {"config_name": "drift"}, {"config_name": "extra"}]
    merged = merge_header({"configs": [old, extra], "dataset_info": info}, OURS)
    assert merged["configs"] == [
        *OURS["configs"],
        {"config_name": "extra", "data_files": "extra/*.csv"},
    ]
    assert merged["dataset_info"] == [{"config_name": "extra"}]


@pytest.mark.parametrize(
    "card",
    [
        "---\na: [\n---\ntext",
        "---\n- a list\n---\ntext",
        "---\nno end",
        f"{BEGIN}\nno end",
        f"{END}\n{BEGIN}",
        f"{BEGIN}\n{END}\n{BEGIN}\n{END}",
        "---\na: !!python/object/apply:os.system [x]\n---\n",
    ],
)
def test_a_card_that_cannot_be_merged_is_one_message(card: str) -> None:
    with pytest.raises(UsageError, match="mend it on the Hub"):
        merge_card(card, OURS, "body", "the card")


@pytest.mark.parametrize("card", [None, "", "  \n"])
def test_no_card_yet(card: str | None) -> None:
    header, text = split_card(merge_card(card, OURS, "body", "x"))
    assert header == OURS and text == f"{BEGIN}\nbody\n{END}\n"


def test_windows_line_ends_and_a_card_of_front_matter_only() -> None:
    assert split_card("---\r\na: 1\r\n---\r\ntext") == ({"a": 1}, "text")
    assert split_card("---\na: 1\n---") == ({"a": 1}, "")
    assert yaml.safe_load("a: 1") == {"a": 1}
