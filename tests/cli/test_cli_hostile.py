"""What a terminal is sent: no escape sequences of strangers, no keys, no raw traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench_command import Bench
from loopback import Loopback
from small_data import response_rows, write_pool, write_responses

from personaroute_bench.cli.screen import harmless
from personaroute_bench.config import DataConfig
from personaroute_bench.generate import generate
from personaroute_bench.secrets import hide_secrets

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\ud800"
KEY = "abcdefgh-very-secret-12345"


def clean(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_names_of_strangers_do_not_steer_the_terminal(tmp_path: Path, bench: Bench) -> None:
    rows = response_rows()
    for row in rows:
        row["task_id"] += ESCAPE[:-1]
        row["query"] = f"{ESCAPE[:-1]} {row['query']}"
        row["llm"] = row["llm"].replace("zeta/medium", "zeta/\x9bmedium")
    path = write_responses(tmp_path, rows)
    imported = tmp_path / "out"
    pool = yaml.safe_load(write_pool(tmp_path).read_text())
    pool["llms"][2] |= {"id": "zeta/\x9bmedium", "name": f"z{ESCAPE[:-1]}"}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    words = ["--responses", path, "--users", 3, "--out", imported, "--pool", tmp_path / "pool.yaml"]
    made = bench("generate", *words)
    shown = bench("show", imported, "--examples", 5)
    assert made.code == 0, made.err
    for ran in (made, shown):
        assert clean(ran.out) and clean(ran.err), ran
    assert shown.code == 0 and "owned" in shown.out
    assert clean(bench("evaluate", imported, "--router", "cheapest", "--draws", 0).out)


def test_messages_about_strangers_files_do_not_either(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "tasks.jsonl").write_text(json.dumps({f"query{ESCAPE}": "x"}))
    ran = bench("generate", "--tasks", tmp_path / "tasks.jsonl", "--out", tmp_path / "out")
    assert ran.code == 2 and "no column 'query'" in ran.err and clean(ran.err)
    ran = bench("show", tmp_path / f"no{ESCAPE[:-1]}folder")
    assert ran.code == 2 and clean(ran.err)


@pytest.mark.parametrize("client", ["aiohttp", "openai", "litellm"])
def test_a_key_stands_in_no_file_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench, client: str
) -> None:
    """Also where the endpoint repeats it, refuses it, or is not there at all."""
    if client == "litellm":
        pytest.importorskip("personaroute_bench.llms.wires.litellm_wire").import_litellm()
    monkeypatch.setenv("ACME_KEY", KEY)
    rows = {row["query_id"]: row for row in response_rows()[:24]}
    names = ("task_id", "query_id", "query", "ground_truth", "metric")
    lines = [json.dumps({name: row[name] for name in names}) for row in rows.values()]
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines))
    said = ""
    with Loopback() as server:
        for number, fault in enumerate(("echo_key", "401", "cut", "garbage", "redirect", None)):

            def fault_for(body: dict[str, Any], fault: str | None = fault) -> str | None:
                return fault

            server.fault_for = fault_for
            url = server.url if fault else "http://127.0.0.1:9/v1"
            pool = write_pool(tmp_path, url, api_key_env="ACME_KEY")
            ran = bench(
                "generate", "--tasks", tmp_path / "tasks.jsonl", "--pool", pool, "--users", 2,
                "--out", tmp_path / f"out{number}", "--client", client, "--llms", "acme/small",
                "--max-attempts", 1, "--timeout", 5, "--max-error-rate", 1,
            )  # fmt: skip
            said += ran.out + ran.err
            ledger = tmp_path / f"out{number}" / "ledger.sqlite"
            exported = tmp_path / f"ledger{number}.jsonl"
            said += bench("ledger", ledger, "--export", exported).err
        assert server.seen, said
        assert any(seen.headers.get("Authorization") == f"Bearer {KEY}" for seen in server.seen)
    assert "Traceback" not in said and KEY not in said
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_fault_of_our_own_tells_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.setenv("ACME_API_KEY", KEY)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"Authorization: Bearer {KEY} at https://me:{KEY}@host/v1 {ESCAPE}")

    monkeypatch.setattr("personaroute_bench.describe.describe", broken)
    generate(DataConfig(users=2, limit=12), tmp_path / "out")
    ran = bench("show", tmp_path / "out")
    assert ran.code == 1 and "error: unexpected RuntimeError" in ran.err
    assert KEY not in ran.err and clean(ran.err) and "please report" in ran.err


def test_what_counts_as_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setenv("MY_KEY_2", "abcdefgh")
    monkeypatch.setenv("SHORT_KEY", "true")
    monkeypatch.setenv("KEYBOARD", "a-layout-name")
    text = "hf_0123456789 abcdefgh true a-layout-name https://u:pass@host/x?y"
    assert (
        hide_secrets(text) == "[redacted] [redacted] true a-layout-name https://[redacted]@host/x?y"
    )
    assert harmless("two\nlines\x1b[2J\ud800") == "two\nlines [2J "
