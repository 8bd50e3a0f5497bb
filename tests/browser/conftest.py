"""Owns what the tests of the pages stand on: one service that holds the hostile corpus and real sessions, and one browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.browser import cases, planting
from tests.browser.visiting import log_in
from tests.service import Service
from tests.story.chromium import PATH


@pytest.fixture(scope="package")  # the browser ends before tests that start one of their own
def service() -> Iterator[Service]:
    made = Service()
    try:
        made.start()
        planting.plant(made)
        cases.load(made)
        made.settle()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="package")  # the browser ends before tests that start one of their own
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield made
        made.close()


@pytest.fixture(scope="package")  # the browser ends before tests that start one of their own
def operator(service: Service, browser: Browser) -> Iterator[BrowserContext]:
    """Somebody who is logged in."""
    context = browser.new_context(base_url=service.first_run["url"], viewport={"width": 1440, "height": 900})
    log_in(context, service)
    yield context
    context.close()
