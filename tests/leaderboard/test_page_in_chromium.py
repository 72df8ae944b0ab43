"""The page in a browser: sorting, filters, hostile texts, keyboard, accessibility, speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board_data import HOSTILE_NAME, HOSTILE_TEXT, page_data
from chromium import axe_script, chromium
from personaroute_bench.leaderboard.page import render, write_site

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open page data; at the end no script error, dialog or request may have happened."""
    contexts, problems = [], []

    def show(data: dict[str, Any], **options: Any) -> Any:
        write_site(data, tmp_path / "site")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"error {error}"))
        page.on("console", lambda line: problems.append(f"console {line.text}"))
        page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: problems.append(f"request {request.url}"))
        page.goto((tmp_path / "site" / "index.html").as_uri())
        page.wait_for_selector("html[data-ready=yes]", timeout=10_000)
        problems.remove(f"request {page.url}")
        return page

    yield show
    for context in contexts:
        context.close()
    assert problems == []


def names(page: Any, board: int = 0) -> list[str]:
    """Names of the submissions that can be seen on a board, from top to bottom."""
    rows = page.locator(f"#board-{board} tr.submission:visible th.name bdi")
    return [str(name) for name in rows.all_inner_texts()]


def column(page: Any, number: int, board: int = 0) -> list[float]:
    cells = page.locator(f"#board-{board} tbody tr:not(.detail):visible td:nth-child({number})")
    return [float(text.split("\n")[0].replace("−", "-")) for text in cells.all_inner_texts()]


def test_columns_are_sorted_both_ways_board_by_board(show: Open) -> None:
    page = show(page_data(boards=2, rows=6))
    before = names(page, board=1)
    head = page.locator("#board-0 thead th")
    assert head.nth(2).get_attribute("aria-sort") == "descending"
    assert column(page, 3) == sorted(column(page, 3), reverse=True)
    head.nth(5).locator("button").click()
    assert column(page, 6) == sorted(column(page, 6), reverse=True)
    assert head.nth(5).get_attribute("aria-sort") == "descending"
    assert head.nth(2).get_attribute("aria-sort") is None
    head.nth(5).locator("button").click()
    assert column(page, 6) == sorted(column(page, 6))
    assert head.nth(5).get_attribute("aria-sort") == "ascending"
    head.nth(7).locator("button").click()  # the cheapest comes first
    assert column(page, 8) == sorted(column(page, 8))
    head.nth(1).locator("button").click()
    assert names(page) == sorted(names(page))
    head.nth(0).locator("button").click()
    assert names(page)[0] == "router-0-0"
    assert names(page, board=1) == before


def test_unknown_figures_come_last_either_way(show: Open) -> None:
    data = page_data(boards=1, rows=3)
    data["boards"][0]["rows"][4]["figures"]["accuracy"] = [None, None, None]
    page = show(data)
    button = page.locator("#board-0 thead button").nth(5)
    for _ in range(2):
        button.click()
        cells = page.locator("#board-0 tbody tr:not(.detail) td:nth-child(6)").all_inner_texts()
        assert cells[-1].strip() == "–"


def test_filters_show_what_fits_and_always_the_controls(show: Open) -> None:
    page = show(page_data(boards=6, rows=4))
    status = page.locator("#status")
    assert status.inner_text() == "24 of 24 submissions on 6 boards"
    page.get_by_label("Provenance").select_option(label="recorded")
    assert status.inner_text() == "8 of 24 submissions on 2 boards"
    assert set(page.locator(".badge:visible").all_inner_texts()) == {"recorded responses"}
    page.get_by_label("Disclosure tier").select_option(label="T3")
    assert status.inner_text() == "4 of 24 submissions on 1 board"
    page.get_by_label("Code and weights").select_option(label="open")
    assert len(names(page, board=1)) == 2
    assert page.locator("#board-1 tr.control:visible").count() == 3
    page.get_by_role("button", name="Show all").click()
    assert status.inner_text() == "24 of 24 submissions on 6 boards"
    for label, value, left in (
        ("Strategy", "llm judge", 8),
        ("Setting", "general", 12),
        ("Population", "paper", 12),
        ("Feedback", "choice", 12),
        ("Data set", "data-0", 8),
    ):
        page.get_by_label(label, exact=True).select_option(label=value)
        assert status.inner_text().startswith(f"{left} of 24")
        page.get_by_label(label, exact=True).select_option(label="all")
    page.get_by_label("Search").fill("ROUTER-2-1")
    assert status.inner_text() == "1 of 24 submissions on 1 board"
    assert names(page, board=2) == ["router-2-1"]
    assert page.locator("#board-2 tr.control:visible").count() == 3


@pytest.mark.parametrize(
    "address",
    ["javascript:window.hacked=4", "data:text/html,<script>", "http://example.org", "//x", "x"],
)
def test_hostile_texts_are_shown_as_texts(show: Open, address: str) -> None:
    data = page_data(name=HOSTILE_NAME, description=HOSTILE_TEXT, url=address)
    data["boards"][1]["data"] = HOSTILE_NAME
    data["rejected"] = [{"folder": HOSTILE_NAME, "reason": HOSTILE_TEXT}]
    page = show(data)
    assert HOSTILE_NAME in names(page)
    page.locator("#board-0 tr.submission", has_text="window.hacked").locator(".more").click()
    detail = page.locator("#board-0 tr.detail:visible")
    assert "<img src=x onerror='window.hacked=2'>" in detail.inner_text()
    assert detail.locator("a").count() == 0
    assert page.locator("#rejected li").inner_text().startswith(HOSTILE_NAME)
    page.get_by_label("Data set").select_option(label=HOSTILE_NAME)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_an_https_address_is_a_link_that_gives_nothing_away(show: Open) -> None:
    page = show(page_data())
    page.locator(".more").first.click()
    link = page.locator("tr.detail:visible a")
    assert link.get_attribute("href") == "https://example.org/router"
    assert set(str(link.get_attribute("rel")).split()) >= {"noopener", "noreferrer", "nofollow"}


def test_everything_can_be_done_with_the_keyboard(show: Open) -> None:
    page = show(page_data(boards=1, rows=4))

    def focused(what: str) -> Any:
        return page.evaluate(f"document.activeElement.{what}")

    page.keyboard.press("Tab")
    assert focused("textContent") == "Skip to the boards"
    box = page.locator(".skip").bounding_box()
    assert box is not None
    assert box["x"] >= 0  # seen when it is reached
    page.keyboard.press("Tab")
    assert focused("name") == "provenance"
    page.keyboard.press("ArrowDown")
    assert page.locator("#status").inner_text() == "4 of 4 submissions on 1 board"
    for _ in range(30):
        page.keyboard.press("Tab")
        if focused("textContent") == "Accuracy":
            break
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").inner_text().startswith("Accuracy")
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    for _ in range(10):
        page.keyboard.press("Tab")
        if focused("textContent") == "Details":
            break
    assert page.locator("tr.detail:visible").count() == 0
    page.keyboard.press("Enter")
    assert focused("ariaExpanded") == "true"
    controlled = focused("getAttribute('aria-controls')")
    assert page.locator(f"#{controlled}").is_visible()
    page.keyboard.press("Enter")
    assert page.locator("tr.detail:visible").count() == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("light", 1280), ("dark", 1280)])
def test_axe_finds_nothing(show: Open, scheme: str, width: int) -> None:
    data = page_data(boards=2, rows=2, check="differs", standing="open test", rank=None)
    data["boards"][0] |= {"users": 9, "queries": 12}
    data["boards"][0]["rows"][3]["differences"] = [
        {"figure": "reward", "reported": 0.9, "reproduced": 0.5}
    ]
    data["rejected"] = [{"folder": "wrong", "reason": "it is no submission"}]
    page = show(data, color_scheme=scheme, viewport={"width": width, "height": 800})
    for more in page.locator(".more").all():
        more.click()
    page.evaluate(axe_script())
    found = page.evaluate("axe.run()")
    assert [(entry["id"], entry["nodes"][0]["html"]) for entry in found["violations"]] == []
    assert len(found["passes"]) > 20


def test_a_page_that_is_wrong_would_be_found(show: Open) -> None:
    page = show(page_data())
    page.evaluate("document.querySelector('select').parentElement.replaceWith('x')")
    page.evaluate("document.querySelector('form').append(document.createElement('select'))")
    page.evaluate(axe_script())
    found = page.evaluate("axe.run()")
    assert "select-name" in [entry["id"] for entry in found["violations"]]


@pytest.mark.parametrize("width", [320, 768, 2560])
def test_the_page_fits_from_phone_to_wide(show: Open, width: int) -> None:
    data = page_data(boards=2, rows=3, name="n" * 80, description="d" * 1000)
    page = show(data, viewport={"width": width, "height": 800})
    for more in page.locator(".more").all():
        more.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    name, region = page.locator("th.name").first, page.locator(".scroll").first
    region.evaluate("node => { node.scrollLeft = 10000; }")
    assert name.bounding_box()["x"] >= 0  # the name stays while the figures are scrolled


def test_dark_and_light_differ(show: Open) -> None:
    colours = {
        show(page_data(), color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert len(colours) == 2


def test_two_hundred_submissions_can_be_used_within_a_second(show: Open) -> None:
    page = show({"schema": 1, "confidence": 0.95, "draws": 0, "boards": [], "rejected": []})
    # CPU seconds, so that a busy machine changes nothing.
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = tools.send("Performance.getMetrics")["metrics"]
        return float(next(entry["value"] for entry in metrics if entry["name"] == "TaskDuration"))

    before = spent()
    page.set_content(render(page_data(boards=8, rows=25)), wait_until="load")
    assert page.locator("#status").inner_text() == "200 of 200 submissions on 8 boards"
    page.get_by_label("Search").fill("router-3-7")
    assert page.locator("#status").inner_text() == "1 of 200 submissions on 1 board"
    page.locator("#board-3 thead button").nth(5).click()
    used = spent() - before
    assert 0.01 < used < 1.0


def test_a_sealed_board_has_rows_without_figures(show: Open) -> None:
    data = page_data(boards=1, rows=2)
    board = data["boards"][0]
    board |= {"sealed": True, "headroom": None}
    board["rows"] = [
        row | {"standing": "sealed", "rank": None, "check": "sealed", "figures": {}}
        for row in board["rows"]
        if row["kind"] == "submission"
    ]
    for row in board["rows"]:
        del row["p_value"], row["invalid"]
    page = show(data)
    assert names(page) == ["router-0-0", "router-0-1"]
    assert "sealed: the outcomes are not public yet" in page.locator(".facts").inner_text()
    page.locator(".more").first.click()
    assert "NaN" not in page.locator("body").inner_text()
    assert "undefined" not in page.locator("body").inner_text()


def test_an_empty_board_is_a_page_too(show: Open) -> None:
    page = show({"schema": 1, "confidence": 0.95, "draws": 0, "boards": [], "rejected": []})
    assert page.locator("#status").inner_text() == "0 of 0 submissions on 0 boards"
