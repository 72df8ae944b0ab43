"""The page as text: what is in the file, whatever strangers wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from board_data import HOSTILE_NAME, HOSTILE_TEXT, page_data
from hypothesis import given
from hypothesis import strategies as st
from personaroute_bench.leaderboard.page import json_block, render, write_site
from personaroute_bench.leaderboard.serve import make_server

from personaroute_bench.errors import UsageError

BLOCK = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def test_hostile_texts_stay_inside_the_data_block() -> None:
    data = page_data(name=HOSTILE_NAME, description=HOSTILE_TEXT, url="javascript:alert(1)")
    data["rejected"] = [{"folder": HOSTILE_NAME, "reason": HOSTILE_TEXT}]
    page = render(data, title=HOSTILE_NAME)
    clean = render(page_data(), title="x")
    for tag in ("<script", "</script", "<img", "onerror="):
        assert page.lower().count(tag) == clean.lower().count(tag) + (tag == "onerror=") * 2
    assert json.loads(BLOCK.findall(page)[0]) == data


@given(st.text())
def test_any_text_survives_in_the_block_and_ends_nothing(text: str) -> None:
    block = json_block({"name": text})
    assert json.loads(block) == {"name": text}
    assert not set("<>&") & set(block)
    assert block.isascii()


def test_the_policy_allows_the_page_s_own_style_and_script_and_nothing_else() -> None:
    page = render(page_data())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "unsafe" not in policy[1]
    assert policy[1].startswith("default-src 'none';")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]


def test_the_page_loads_nothing_and_has_no_inline_handlers() -> None:
    page = render(page_data())
    rest = BLOCK.sub("", page)
    frame = re.sub(r"<(script|style)>.*?</\1>", "", rest, flags=re.DOTALL)
    assert re.findall(r"\b(?:src|href)=(\S+?)>", frame) == ['"#boards"']
    assert not re.search(r"<[^>]+\son\w+=", frame)
    assert "url(" not in rest
    assert "@import" not in rest
    assert "innerHTML" not in rest
    assert "eval(" not in rest


def test_two_hundred_submissions_stay_below_two_megabytes() -> None:
    assert len(render(page_data(boards=8, rows=25)).encode()) < 2_000_000


def test_the_server_shows_two_files_on_the_loopback_address_only(tmp_path: Path) -> None:
    write_site(page_data(), tmp_path / "site")
    (tmp_path / "secret.txt").write_text("no")
    (tmp_path / "site" / "other.txt").write_text("no")
    with make_server(tmp_path / "site") as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            assert _get(f"{base}/") == (tmp_path / "site" / "index.html").read_bytes()
            assert json.loads(_get(f"{base}/leaderboard.json")) == page_data()
            for path in ("/other.txt", "/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd"):
                with pytest.raises(urllib.error.HTTPError, match="404") as error:
                    _get(base + path)
                error.value.close()
        finally:
            server.shutdown()
            thread.join()


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bench leaderboard build"):
        make_server(tmp_path)
    write_site(page_data(), tmp_path)
    with make_server(tmp_path) as server, pytest.raises(UsageError, match="another --port"):
        make_server(tmp_path, server.server_port)


def test_numbers_that_are_no_json_never_reach_the_page(tmp_path: Path) -> None:
    data: dict[str, Any] = page_data()
    data["boards"][0]["headroom"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        write_site(data, tmp_path / "site")
    assert not (tmp_path / "site" / "index.html").exists()
