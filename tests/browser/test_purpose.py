"""Owns that somebody who is asked why they look answers with the keyboard alone, and goes on to what they wanted, on any screen."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import cases
from tests.browser.visiting import Watched, log_in
from tests.service import Service

LONG = "Complaint of 3 March about a refund that nobody can explain " + "and more of it " * 9


@pytest.fixture
def asking(service: Service) -> Iterator[Service]:
    """The service's project asks; for other tests it does not."""
    yield service
    with service.connect() as conn:
        conn.execute("UPDATE project SET ask_purpose = false")


def turn_on(service: Service) -> None:
    with service.connect() as conn:
        conn.execute("UPDATE project SET ask_purpose = true")


def somebody(browser: Browser, service: Service, scheme: str = "light", width: int = 1440, *, javascript: bool = True) -> BrowserContext:
    """Logged in anew. The policy is lifted, because axe is a script that no page may load."""
    look = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    context = browser.new_context(base_url=service.first_run["url"], bypass_csp=javascript, java_script_enabled=javascript, **look)  # type: ignore[arg-type]
    log_in(context, service)
    return context


def say(page: Page, why: str, case: str) -> None:
    page.keyboard.type(why)
    page.keyboard.press("Tab")
    page.keyboard.type(case)
    page.keyboard.press("Enter")


def test_from_the_switch_to_the_page_that_was_wanted_with_the_keyboard(browser: Browser, asking: Service) -> None:
    address = f"/sessions/{cases.key_of(asking, 20)}"
    context = browser.new_context(base_url=asking.first_run["url"])
    log_in(context, asking)
    with Watched(context, asking.first_run["url"]) as watched:
        page = watched.page
        watched.visit("/settings")
        page.get_by_role("button", name="Ask for a purpose").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("whoever says what for")
        watched.visit(f"{address}?page=1")
        expect(page.get_by_role("heading", name="Why do you look?")).to_be_visible()
        expect(page.get_by_label("Purpose", exact=True)).to_be_focused()
        say(page, "Complaint of 3 March", "4711")
        expect(page).to_have_url(f"{asking.first_run['url']}{address}?page=1")
        strip = page.get_by_role("complementary", name="What you read for")
        expect(strip).to_contain_text(re.compile("Purpose: Complaint of 3 March.*case 4711", re.S))
        strip.get_by_role("link", name="change the purpose").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_label("Purpose", exact=True)).to_have_value("Complaint of 3 March")
        page.get_by_label("Purpose", exact=True).fill("")
        say(page, "Audit of refunds", "")
        expect(page).to_have_url(f"{asking.first_run['url']}{address}?page=1")
        expect(strip).to_contain_text("Audit of refunds")
        watched.visit("/settings")
        page.get_by_role("button", name="Ask no longer").press("Enter")
        expect(page.get_by_role("button", name="Ask for a purpose")).to_be_visible()
        expect(strip).to_have_count(0)
        assert watched.problems == []
    context.close()


def test_without_javascript_it_works_as_well(browser: Browser, asking: Service) -> None:
    turn_on(asking)
    context = somebody(browser, asking, javascript=False)
    page = context.new_page()
    page.goto("/?view=sessions")
    page.get_by_label("Purpose", exact=True).fill("Complaint")
    page.get_by_role("button", name="Go on").click()
    expect(page).to_have_url(re.compile(r"/\?view=sessions$"))
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(browser: Browser, asking: Service, scheme: str, width: int) -> None:
    turn_on(asking)
    context = somebody(browser, asking, scheme, width)
    page = context.new_page()
    page.goto("/")
    _check(page, width)
    page.get_by_label("Case").fill("x" * 61)
    page.get_by_label("Purpose", exact=True).fill(LONG[:200])
    page.keyboard.press("Enter")
    expect(page.get_by_text("more than 60 characters")).to_be_visible()
    _check(page, width)
    page.get_by_label("Case").fill("4711")
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(re.compile("/purpose"))
    for address in ("/", f"/sessions/{cases.key_of(asking, 20)}", "/agents"):  # each with styles of its own
        page.goto(address)
        strip = page.get_by_role("complementary", name="What you read for")
        expect(strip).to_contain_text("4711")
        box = strip.bounding_box()
        assert box is not None and box["height"] < 40, address  # one line, however long the purpose is
        expect(page.get_by_role("link", name="change the purpose")).to_be_in_viewport(ratio=1)
    _check(page, width)
    page.goto("/settings")
    _check(page, width)
    context.close()


def _check(page: Page, width: int) -> None:
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
