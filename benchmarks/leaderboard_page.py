"""Screenshots of the leaderboard for docs/, and how fast a page of 200 submissions is.

    python benchmarks/leaderboard_page.py [--work DIR] [--docs DIR]

Makes a simulated data set (100 users, 240 queries, seed 11), submits bundled routers to two
boards, builds the page and photographs it; then writes the first board's rows 200 times over and
measures, in Chromium, the wall time from opening the file until it is ready, then sorted by a
click, then searched; all in one go, driver included. Needs Chromium and
`pip install playwright`.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

ROUTERS = (
    ("Always the one", "best-single", "open"),
    ("By task", "best-per-task", "open"),
    ("By user", "best-per-user", "closed"),
    ("By user and task", "best-per-user-task", "open"),
    ("Coin", "random", "open"),
    ("Thrift", "cheapest", "closed"),
)
SHOTS = (("light", 1280, 880), ("dark", 1280, 880), ("phone", 390, 844))
SITE_LIMIT = 200_000
OPENINGS = 9


def make_site(work: Path) -> dict[str, Any]:
    """Generate, submit, build; everything below `work`."""
    from personaroute_bench.leaderboard.build import build
    from personaroute_bench.leaderboard.submission import About
    from personaroute_bench.leaderboard.submit import submit
    from personaroute_bench.leaderboard.track import Track

    from personaroute_bench.config import DataConfig
    from personaroute_bench.generate import generate

    data = work / "simulated-100"
    if not (data / "manifest.json").is_file():
        generate(DataConfig(users=100, seed=11), data)
    for feedback in ("full", "choice"):
        for name, router, openness in ROUTERS:
            about = About(
                name, openness, f"The bundled router {router}.", training_data="the history only"
            )
            track = Track("multi_cost_efficiency", feedback=feedback)
            submit(data, work / "subs" / f"{router}-{feedback}", about, track, router=router)
    return build([work / "subs"], [data], work / "site")


def photograph(browser: Any, page_file: Path, docs: Path) -> None:
    for name, width, height in SHOTS:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="light" if name == "light" else "dark",
        )
        page = context.new_page()
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]")
        if name == "phone":
            page.locator(".board").first.scroll_into_view_if_needed()
            page.evaluate("document.querySelector('#status').scrollIntoView()")
        target = docs / f"leaderboard-{name}.png"
        page.screenshot(path=target)
        context.close()
        size = target.stat().st_size
        print(f"{target}: {size:,} bytes")
        if size > SITE_LIMIT:
            raise SystemExit(f"{target} has more than {SITE_LIMIT:,} bytes")


def measure(browser: Any, found: dict[str, Any], work: Path) -> None:
    from personaroute_bench.leaderboard.page import write_site

    board = copy.deepcopy(found["boards"][0])
    controls = [row for row in board["rows"] if row["kind"] == "control"]
    rows = [row for row in board["rows"] if row["kind"] == "submission"]
    many = [
        {**rows[i % len(rows)], "name": f"row {i}", "description": "word " * 100}
        for i in range(200)
    ]
    board["rows"] = controls + many
    write_site({**found, "boards": [board]}, work / "large")
    file = work / "large" / "index.html"
    print(f"200 submissions: {file.stat().st_size:,} bytes")
    timed: dict[str, list[float]] = {"ready": [], "sorted": [], "searched": []}
    for run in range(1 + OPENINGS):
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        ready = time.perf_counter() - start
        page.get_by_role("button", name="USD a query").click()
        page.wait_for_selector("[aria-sort=ascending]")
        in_order = time.perf_counter() - start
        page.get_by_label("Search").fill("row 199")
        page.wait_for_function("document.querySelector('#status').textContent.startsWith('1 of')")
        searched = time.perf_counter() - start
        page.close()
        if run:  # the first warms the browser
            for name, value in zip(timed, (ready, in_order, searched), strict=True):
                timed[name].append(value)
    for name, seconds in timed.items():
        print(
            f"{name} {statistics.median(seconds):.2f} s after the file was opened, median of "
            f"{OPENINGS} ({min(seconds):.2f} to {max(seconds):.2f})"
        )


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=None, help="kept; else a temporary folder")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        work = options.work or Path(temporary)
        found = make_site(work)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        photograph(browser, work / "site" / "index.html", options.docs)
        measure(browser, found, work)
        browser.close()


if __name__ == "__main__":
    main()
