"""Owns the first five minutes: a fresh start with its demo, the operator that it made, and the $400 of ACME-2024."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.service import Service
from tests.story.chromium import PATH
from tests.story.test_why_the_400 import log_in


@pytest.fixture
def fresh() -> Iterator[Service]:
    service = Service(demo=True)
    try:
        service.start()
        deadline = time.monotonic() + 90
        while "demo sessions are loaded" not in service.log.read_text():
            assert time.monotonic() < deadline, service.log.read_text()[-2000:]
            time.sleep(0.2)
        while (status := service.get("/api/v1/status"))["pending_batches"] or status["stale_summaries"]:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        yield service
    finally:
        service.remove()


def test_a_fresh_start_shows_why_the_400_were_credited(fresh: Service) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        page = browser.new_page()
        log_in(page, fresh.first_run)
        rows = page.get_by_role("row").filter(has_text="refund").or_(page.get_by_role("row").filter(has_text="lookup"))
        expect(rows.first).to_be_visible()
        page.get_by_role("searchbox", name="Find a session").fill("ACME-2024")
        page.get_by_role("button", name="Find", exact=True).click()
        page.get_by_role("row").filter(has_text="cr_55d0").get_by_role("link").first.click()
        call = page.locator("li.row.tool_call").filter(has=page.get_by_label("Tool call issue_credit"))
        reasoning = call.locator("xpath=preceding-sibling::li[1]")
        expect(reasoning).to_have_class(re.compile("reasoning"))
        expect(reasoning).to_contain_text("a genuine duplicate under rule 2")
        browser.close()
    with fresh.connect() as conn:
        assert len(conn.execute("SELECT DISTINCT session_key FROM trace").fetchall()) == 13
