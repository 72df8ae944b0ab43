from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_data import write_pool, write_responses

from personaroute_bench.config import DataConfig
from personaroute_bench.generate import generate
from personaroute_bench.publishing.card import escape


@given(st.text())
def test_foreign_text_cannot_leave_its_cell(text: str) -> None:
    safe = escape(text)
    assert "\n" not in safe and "<" not in safe and ">" not in safe
    bare = safe.replace("\\\\", "")
    for mark in "|`[]*":
        assert bare.count(mark) == bare.count("\\" + mark)


def test_the_card_says_what_it_is(tmp_path: Path) -> None:
    pool = write_pool(tmp_path, price_source="<script>alert(1)</script> | x")
    data = DataConfig(users=3, responses=str(write_responses(tmp_path)), pool=str(pool))
    generate(data, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert [config["config_name"] for config in header["configs"]] == [
        "multi_cost_efficiency",
        "tasks",
        "queries",
        "llms",
        "responses",
        "users",
    ]
    assert "recorded" in header["tags"]
    for expected in ("not the authors' release", "**Recorded**", "20 | f1\\_score", "60 of 60"):
        assert expected.replace("\\_", "_") in text
    assert "<script>" not in text
