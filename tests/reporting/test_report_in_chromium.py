"""The page in a browser: nothing is loaded, it fits, it can be read, in light and in dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import axe_script, chromium

from personaroute_bench.reporting import report

pytest.importorskip("matplotlib", reason="no matplotlib: pip install 'personaroute-bench[report]'")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(
    _runs: Callable[..., Path], _data: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A page with everything in it."""
    results = [
        _runs("general"),
        *(_runs(f"shots-{k}", setting="new-user", shots=k) for k in (5, 0)),
    ]
    choices = results[0].with_name("general-choices")
    out = tmp_path_factory.mktemp("page")
    return report(results, out, data=_data, choices=[choices]).page.as_uri()


@pytest.fixture
def show(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page; nothing may be loaded, and no error happen."""
    contexts, problems = [], []

    def show(**options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"error {error}"))
        page.on("console", lambda line: problems.append(f"console {line.text}"))
        page.on("request", lambda request: problems.append(f"request {request.url}"))
        page.goto(address)
        problems.remove(f"request {page.url}")
        return page

    yield show
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 360), ("light", 1280)])
def test_axe_finds_nothing_and_the_page_fits(
    show: Callable[..., Any], scheme: str, width: int
) -> None:
    page = show(color_scheme=scheme, viewport={"width": width, "height": 800})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(axe_script())
    found = page.evaluate("axe.run()")
    assert [(entry["id"], entry["nodes"][0]["html"]) for entry in found["violations"]] == []
    assert len(found["passes"]) > 20


def test_a_page_that_is_wrong_would_be_found(show: Callable[..., Any]) -> None:
    page = show()
    page.evaluate("document.querySelector('svg').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('h2').style.color = 'rgb(250, 250, 250)'")
    page.evaluate(axe_script())
    found = {entry["id"] for entry in page.evaluate("axe.run()")["violations"]}
    assert {"svg-img-alt", "color-contrast"} <= found


def test_plots_follow_dark_and_light(show: Callable[..., Any]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        page = show(color_scheme=scheme)
        seen[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " ...['.plot text', '.plot .fill-paper', '.plot .fill-c0'].map("
            "  name => getComputedStyle(document.querySelector(name)).fill)]"
        )
    assert all(light != dark for light, dark in zip(*seen.values(), strict=True))
    assert all(colours[0] == colours[2] for colours in seen.values())


def test_the_keyboard_reaches_what_scrolls(show: Callable[..., Any]) -> None:
    page = show(viewport={"width": 360, "height": 800})
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    for region in page.locator(".scroll:visible").all():
        region.focus()
        assert region.evaluate("node => node === document.activeElement")
