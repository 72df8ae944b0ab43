"""What routers say of themselves: in the listing, and in their rows."""

from __future__ import annotations

import builtins
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench
from places import ROOT
from rich.console import Console
from small_benchmark import STRATEGY, small_benchmark

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.evaluation.facts import all_facts, heard, router_facts
from personaroute_bench.evaluation.history import make_history, past_responses
from personaroute_bench.evaluation.registry import LEARNED, ROUTERS, load
from personaroute_bench.evaluation.runner import evaluate

EVERY = (*ROUTERS, *LEARNED)


@pytest.mark.parametrize("name", EVERY)
def test_every_router_says_its_idea_in_a_line(name: str) -> None:
    facts = router_facts(name)
    assert 20 <= len(facts.idea) <= 100
    assert facts.idea.endswith((".", "?"))
    assert facts.extra in (None, "gnn")
    assert facts.paper is None or re.fullmatch(r"\d{4}\.\d{4,5}", facts.paper)
    assert facts.default == (name in ROUTERS)


def test_some_facts_by_hand() -> None:
    embed = router_facts("mf-embedllm")
    assert (embed.paper, embed.personal, embed.extra) == ("2410.02223", False, "gnn")
    assert router_facts("knn-personal").personal
    assert router_facts("router-dc").note == (
        "an MLP on the stored embeddings stands in for the fine-tuned mDeBERTa"
    )
    assert router_facts("prompt-llm").note is None  # an instance says it after it has answered
    assert [facts.name for facts in all_facts()] == list(EVERY)


@pytest.mark.parametrize("name", [n for n in EVERY if n != "prompt-llm"])
def test_the_extra_is_what_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_benchmark(queries=(8, 3, 2))
    train, held = (data.interactions(STRATEGY, split) for split in ("train", "validation"))
    past = past_responses(data, np.concatenate([train.queries, held.queries]))
    router = load(name)()
    history = make_history(data, train, held, past)
    original = builtins.__import__

    def without_torch(module: str, scope: Any = None, *rest: Any, **named: Any) -> Any:
        ours = str((scope or {}).get("__name__", "")).startswith("personaroute_bench.")
        if ours and module.partition(".")[0] in ("torch", "torch_geometric"):
            raise ImportError(f"No module named {module!r}")
        return original(module, scope, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    if router_facts(name).extra == "gnn":
        with pytest.raises(BenchError, match=r"needs torch.*personaroute-bench\[gnn\]"):
            router.fit(history)
    else:
        router.fit(history)


def test_the_documents_name_every_router() -> None:
    documents = [ROOT / "docs" / name for name in ("evaluation.md", "baselines.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in documents)
    assert [name for name in EVERY if f"`{name}`" not in text] == []


def test_bench_routers_lists_them(bench: Bench) -> None:
    shown = bench("routers")
    assert shown.code == 0
    lines = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert set(EVERY) <= set(lines)
    assert lines["mf-personal"].split()[1:4] == ["yes", "gnn", "2406.18665"]
    assert "hybrid-llm: an MLP on the stored embeddings stands in" in shown.out
    rows = json.loads(bench("routers", "--json").out)
    assert [row["name"] for row in rows] == list(EVERY)
    assert rows[0] == {
        "name": "random", "idea": "A uniform choice among the candidates, by a hash.",
        "paper": None, "personal": False, "extra": None, "note": None, "protocol": "batch",
        "default": True,
    }  # fmt: skip


class Talking:
    """Says what it is told to say."""

    words: dict[str, Any]

    def fit(self, history: Any) -> None:
        for name, value in self.words.items():
            setattr(self, name, value)

    def route(self, requests: Any) -> Any:
        return np.zeros(len(requests), np.int64)


def row_of(tmp_path: Path, seeds: int = 1, **words: Any) -> tuple[dict[str, Any], str]:
    router = Talking()
    router.words = words
    results = evaluate(small_benchmark(), [router], bootstrap_draws=0, seeds=seeds)
    printed = io.StringIO()
    results.print(Console(file=printed, width=400))
    results.write(tmp_path / "results.json")
    rows = json.loads((tmp_path / "results.json").read_text())["routers"]
    (row,) = (row for row in rows if row["asked_for"])
    return row, printed.getvalue()


def test_notes_costs_and_fallbacks_stand_in_the_row(tmp_path: Path) -> None:
    row, printed = row_of(tmp_path, seeds=2, note="a stand-in", router_cost_usd=0.48, fallbacks=3)
    assert row["note"] == "a stand-in"
    assert row["router_cost_usd"] == pytest.approx(0.48 / 96)  # of 12 users × 8 queries, each seed
    assert row["fallbacks"] == 6
    assert f"{row['name']}: a stand-in" in printed
    assert "its own calls cost 0.005 USD a request, on top of USD/query" in printed


def test_what_is_not_said_is_unknown_and_not_zero(tmp_path: Path) -> None:
    row, printed = row_of(tmp_path)
    assert [row[key] for key in ("note", "router_cost_usd", "fallbacks")] == [None, None, None]
    assert "its own calls" not in printed


def test_notes_of_strangers_are_one_line_of_text(tmp_path: Path) -> None:
    row, printed = row_of(tmp_path, note="[red]x[/red]\n\x1b[31m<b>" + "y" * 5000)
    assert "\x1b" not in printed.replace("\x1b[0m", "")
    assert "[red]x[/red] \\x1b[31m<b>" in printed
    assert len(row["note"]) < 320


@pytest.mark.parametrize("cost", [-1, float("nan"), float("inf"), True, "3", None])
def test_a_cost_that_is_none_is_unknown(cost: Any) -> None:
    router = Talking()
    router.router_cost_usd = cost  # type: ignore[attr-defined]
    assert heard(router, bundled=True).cost_usd is None
    assert heard(Talking(), bundled=True).cost_usd == 0.0
    assert heard(Talking(), bundled=False).cost_usd is None
    router.fallbacks = True  # type: ignore[attr-defined]
    assert heard(router, bundled=True).fallbacks is None


def test_settings_of_nobody_are_an_error() -> None:
    with pytest.raises(UsageError, match="settings for 'knn', which is not among the routers"):
        evaluate(small_benchmark(), ["random"], settings={"knn": {}})
