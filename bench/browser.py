"""Owns the measurement of a decision of 300 steps in a browser: for how long its main thread is busy without a pause.

    python -m bench.browser [--runs 5]

A real service, a real Chromium. Tasks of more than 50 ms are what the Long Tasks API of the W3C reports: while the page loads, while
somebody scrolls through all of it, and while somebody goes through its steps by keyboard and asks "why?" of some.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import cases
from tests.browser.visiting import log_in
from tests.service import Service
from tests.story.chromium import PATH

STEPS: Final = 300
SCROLLS: Final = 80  # of 800 pixels, at most: the page of 200 steps and what is loaded behind it
KEYS: Final = 60
_NOTE: Final = """window.busy = [];
new PerformanceObserver((list) => { for (const one of list.getEntries()) busy.push(one.duration); })
  .observe({type: "longtask", buffered: true});"""
_TAKEN: Final = "(() => { const found = window.busy; window.busy = []; return found; })()"


def load(page: Page, path: str) -> list[float]:
    page.goto(path, wait_until="load")
    page.wait_for_timeout(500)
    return list(page.evaluate(_TAKEN))


def scroll(page: Page) -> list[float]:
    page.mouse.move(700, 400)
    for _ in range(SCROLLS):
        page.mouse.wheel(0, 800)
        page.wait_for_timeout(16)
    page.wait_for_timeout(300)
    return list(page.evaluate(_TAKEN))


def keyboard(page: Page) -> list[float]:
    page.evaluate("scrollTo(0, 0)")
    for number in range(KEYS):
        page.keyboard.press("j")
        if number % 20 == 19:
            page.keyboard.press("w")
            page.wait_for_timeout(300)
            page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    return list(page.evaluate(_TAKEN))


def visits(browser: Browser, service: Service, runs: int) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {"load": [], "scroll": [], "keyboard": []}
    for width in (1440, 390):
        context: Any = browser.new_context(base_url=service.first_run["url"], viewport={"width": width, "height": 900})
        context.set_default_timeout(15_000)
        context.add_init_script(_NOTE)
        log_in(context, service)
        path = f"/sessions/{cases.key_of(service, STEPS)}"
        for _ in range(runs):
            page = context.new_page()
            found["load"].append(load(page, path))
            found["scroll"].append(scroll(page))
            found["keyboard"].append(keyboard(page))
            page.close()
        context.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    service = Service()
    try:
        service.start()
        cases.load(service)
        service.settle()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            found = visits(browser, service, given.runs)
            version = browser.version
            browser.close()
    finally:
        service.remove()
    print(f"{os.cpu_count()} cores, Chromium {version}; {STEPS} steps, {given.runs} visits each at 1440 and 390 pixels\n")
    print("| while | tasks over 50 ms a visit | longest ms, median of the visits | longest of all |\n|---|---|---|---|")
    for name, runs in found.items():
        longest = [max(one, default=0) for one in runs]
        print(f"| {name} | {statistics.mean(map(len, runs)):.1f} | {statistics.median(longest):.0f} | {max(longest):.0f} |")


if __name__ == "__main__":
    main()
