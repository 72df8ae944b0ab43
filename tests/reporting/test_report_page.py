"""The page as a text: whole, self-contained, and nobody's text is more than a text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_report_results import changed

from personaroute_bench.errors import UsageError
from personaroute_bench.reporting import report

pytest.importorskip("matplotlib", reason="no matplotlib: pip install 'personaroute-bench[report]'")

HOSTILE = "</style><script>window.hacked=1</script>\"'$x^$ <img src=x onerror=alert(1)> \u202e"
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Outline(HTMLParser):
    """Elements and attributes; raises where an end tag closes something else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*results: Path, out: Path, **options: Any) -> str:
    return report(list(results), out, **options).page.read_text(encoding="utf-8")


@pytest.fixture
def full(result: Path, data: Path, choices: Path, tmp_path: Path) -> str:
    return page_of(result, out=tmp_path / "out", data=data, choices=[choices])


def test_the_page_is_well_formed_and_loads_nothing(full: str) -> None:
    assert full.startswith("<!doctype html>")
    outline = Outline(full)
    names = {tag for tag, _ in outline.tags}
    assert "svg" in names
    assert not names & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
    for tag, attributes in outline.tags:
        assert "style" not in attributes, tag
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in ("src", "href", "xlink:href"):
                assert str(value).startswith("#"), (tag, value)
    assert not re.search(r"url\((?!#)|@import", full)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {v for _, a in outline.tags for n, v in a.items() if n == "href"}
    assert {str(link)[1:] for link in links} <= set(ids)


def test_the_page_says_what_it_stands_on(full: str, result: Path) -> None:
    text = " ".join(Outline(full).text.split())
    data = json.loads(result.read_text(encoding="utf-8"))
    assert "simulated responses" in text
    assert data["data"]["manifest_sha256"] in text
    for said in ("12 users × 8 test queries × 4 LLMs", "general", "full", "T1", "1 seed"):
        assert said in text
    assert "12 users are few" in text
    assert "8 test queries are few" in text
    for entry in data["routers"]:
        reward = entry["metrics"]["reward"]
        assert f"{reward['mean']:z.3f}[{reward['low']:z.3f}, {reward['high']:z.3f}]" in text
        if entry["asked_for"]:
            assert entry["verdict"] in text


def test_users_choices_and_examples_are_shown(full: str) -> None:
    text = " ".join(Outline(full).text.split())
    assert "by α, the weight of performance, from low to high" in text
    assert "It paid: had the two been swapped" in text
    assert "weight of performance" in text
    assert "What is" in text
    assert "give --data" not in text


def test_without_data_and_choices_it_is_said_what_to_give(result: Path, tmp_path: Path) -> None:
    written = report([result], tmp_path / "out")
    assert [path.name for path in written.pictures] == ["report-cost.png"]
    assert "give --data" in written.notes[0]
    assert "give --data" in written.page.read_text(encoding="utf-8")


def test_pictures_lie_beside_the_page(
    result: Path, data: Path, choices: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    written = report([result], out, data=data, choices=[choices])
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.pictures)
    assert {path.name for path in out.iterdir()} == {
        "report.html",
        *(path.name for path in written.pictures),
    }
    again = report([result], out)
    assert "report-users.png" in again.notes[-1]


def test_the_same_results_give_the_same_page(full: str, result: Path, data: Path, choices: Path,
                                             tmp_path: Path) -> None:  # fmt: skip
    assert page_of(result, out=tmp_path / "b", data=data, choices=[choices]) == full


def test_hostile_texts_are_texts(result: Path, tmp_path: Path) -> None:
    file = result
    for place in (
        ("routers", 0, "name"),
        ("routers", 1, "status"),
        ("routers", 1, "note"),
        ("routers", 2, "verdict"),
        ("data", "directory"),
        ("data", "provenance"),
        ("strategy",),
    ):
        file = changed(file, tmp_path / "r.json", *place, value=HOSTILE)
    text = page_of(file, out=tmp_path / "out")
    outline = Outline(text)
    assert not {tag for tag, _ in outline.tags} & {"script", "img"}
    assert "<script>window.hacked=1</script>" in outline.text
    assert "\u202e" not in text


def test_hostile_names_are_texts_in_drawings_too(run: Callable[..., Path], tmp_path: Path) -> None:
    few, none = (run(f"shots-{k}", setting="new-user", shots=k) for k in (5, 0))
    files = []
    for path in (few, none):
        data = json.loads(path.read_text(encoding="utf-8"))
        at = [entry["name"] for entry in data["routers"]].index("best-per-user")
        name = "<b>\u8def\u7531 & $x^"
        files.append(changed(path, tmp_path / path.name, "routers", at, "name", value=name))
    text = page_of(*files, out=tmp_path / "out")
    assert "&lt;b&gt;\u8def\u7531 &amp; $x^</text>" in text
    assert "b" not in {tag for tag, _ in Outline(text).tags}


def test_unknown_cost_is_unknown_and_not_drawn(result: Path, tmp_path: Path) -> None:
    empty = {"mean": None, "low": None, "high": None, "n": 0}
    file = changed(result, tmp_path / "r.json", "routers", 2, "metrics", "cost_usd", value=empty)
    name = json.loads(file.read_text(encoding="utf-8"))["routers"][2]["name"]
    text = " ".join(Outline(page_of(file, out=tmp_path / "out")).text.split())
    assert f"Not drawn, since the cost is unknown: {name}." in text


def test_another_data_set_is_refused(result: Path, choices: Path, tmp_path: Path) -> None:
    from small_benchmark import save, small_benchmark

    save(small_benchmark(seed=1), tmp_path / "other")
    with pytest.raises(UsageError, match="is not the data set of"):
        report([result], tmp_path / "out", data=tmp_path / "other", choices=[choices])
    assert not (tmp_path / "out").exists()


def test_choices_of_another_run_are_refused(
    run: Callable[..., Path], result: Path, data: Path, tmp_path: Path
) -> None:
    other = run("shots-5", setting="new-user", shots=5).with_name("shots-5-choices")
    with pytest.raises(UsageError, match="has no choices of these results"):
        report([result], tmp_path / "out", data=data, choices=[other])


def test_a_choices_file_outside_the_folder_is_not_read(
    result: Path, data: Path, choices: Path, tmp_path: Path
) -> None:
    entry = json.loads(result.read_text(encoding="utf-8"))["routers"][0]
    place = ("routers", 0, "per_seed", 0, "choices_file")
    path = f"../{choices.name}/{entry['choices_file']}"
    file = changed(result, tmp_path / "r.json", *place, value=path)
    written = report([file], tmp_path / "out", data=data, choices=[choices])
    assert any("the name of its choices file" in note for note in written.notes)


def test_the_command_says_what_it_wrote(
    bench: Any, result: Path, data: Path, choices: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page"
    ran = bench("report", result, "--data", data, "--choices", choices, "--out", out)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == str(out / "report.html")
    assert bench("report", result, "--router", "nobody").code == 2
    assert bench("report", tmp_path / "none.json").code == 2
    assert bench("report", result, "--choices", choices).code == 2
