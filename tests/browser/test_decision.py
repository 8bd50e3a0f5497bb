"""Owns what one does on the decision page beyond reading: the rest comes as one reads, Why opens in place, keys, quotations."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import cases
from tests.browser.visiting import Watched
from tests.service import Service

FIRST = 200  # steps of one page


@pytest.fixture
def watched(operator: BrowserContext, service: Service) -> Iterator[Watched]:
    with Watched(operator, service.first_run["url"]) as found:
        yield found
        assert found.problems == []


def numbers(page: Page) -> list[int]:
    return [int(each) for each in page.evaluate("[...document.querySelectorAll('.row[id]')].map((row) => row.id.slice(5))")]


def test_the_rest_of_a_long_session_comes_as_one_reads_each_step_once_and_in_order(watched: Watched, service: Service) -> None:
    page = watched.page
    watched.visit(f"/sessions/{cases.key_of(service, 300)}")
    assert numbers(page) == list(range(1, FIRST + 1))
    page.locator(".following").scroll_into_view_if_needed()
    expect(page.locator("#step-260")).to_be_attached()
    expect(page.locator(".following")).to_have_count(0)
    found = numbers(page)
    assert found == list(range(1, len(found) + 1)) and len(found) > 280
    late = page.locator(".row.tool_call[id]").last
    late.get_by_role("link", name="Why?").click()
    expect(late.get_by_text("Instruction in force")).to_be_visible()  # what came later works like what was there


def test_a_link_to_a_late_step_leads_to_it_and_works_without_a_script(operator: BrowserContext, service: Service) -> None:
    assert operator.browser is not None
    context = operator.browser.new_context(storage_state=operator.storage_state(), java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{service.first_run['url']}/sessions/{cases.key_of(service, 300)}")
    page.get_by_role("link", name="Go on with the next steps").click()
    link = page.locator("#step-250 a.n").evaluate("(each) => each.href")
    page.goto(link)
    expect(page.locator("#step-250")).to_be_in_viewport()
    context.close()


def test_why_opens_in_place_and_closes_with_escape_and_focus_stays_where_one_was(watched: Watched, service: Service) -> None:
    page = watched.page
    watched.visit(f"/sessions/{cases.key_of(service, 20)}")
    call = page.locator(".row.tool_call[id]").nth(4)
    link = call.get_by_role("link", name="Why?")
    link.focus()
    page.keyboard.press("Enter")
    expect(call.get_by_text("Where its values come from")).to_be_visible()
    expect(link).to_have_attribute("aria-expanded", "true")
    call.locator(".reasons a").first.focus()
    page.keyboard.press("Escape")
    expect(call.locator(".reasons")).to_be_empty()
    expect(link).to_be_focused()
    link.click()
    expect(call.get_by_text("Where its values come from")).to_be_visible()
    link.click()
    expect(call.locator(".reasons")).to_be_empty()


def test_a_quotation_is_verbatim_and_says_where_it_stands(operator: BrowserContext, watched: Watched, service: Service) -> None:
    operator.grant_permissions(["clipboard-read", "clipboard-write"])
    page = watched.page
    watched.visit(f"/sessions/{cases.key_of(service, 20)}")
    row = page.locator(".row.reasoning").first
    row.get_by_role("button", name="quote").click()
    expect(row.get_by_role("button", name="copied")).to_be_visible()
    said = page.evaluate("navigator.clipboard.readText()")
    number = (row.get_attribute("id") or "")[5:]
    text = row.locator(".prose").inner_text()
    assert said.startswith("> " + text.replace("\n", "\n> ")) and f"Session chat-20, payments 1.9.1, step {number}, 2026-03-12 " in said
    assert said.endswith(f"#step-{number}") and " UTC" in said


def test_the_waterfall_shows_where_one_reads(watched: Watched, service: Service) -> None:
    page = watched.page
    watched.visit(f"/sessions/{cases.key_of(service, 20)}")
    page.locator("#step-13").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('step-13').scrollIntoView({block: 'start'})")
    expect(page.locator(".map a.here")).to_have_count(1)
    here = page.locator(".map a.here").get_attribute("href") or ""
    assert 10 <= int(here.split("#step-")[1]) <= 14


def test_a_model_call_is_downloaded_as_a_request(watched: Watched, service: Service) -> None:
    page = watched.page
    watched.visit(f"/sessions/{cases.key_of(service, 20)}")
    with page.expect_download() as download:
        page.get_by_role("link", name="request", exact=True).first.click()
    found = json.loads(download.value.path().read_text())
    assert found["body"]["messages"][-1]["role"] == "user" and found["body"]["tools"]
