"""Owns what one does on the search page: parts of the sentence edited in place, ranges drawn on the bars, keys, saved searches, files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.planting import post
from tests.browser.visiting import Watched
from tests.service import Service

ACME = "/?customer_id=ACME-2024&tool=issue_credit"


@pytest.fixture
def watched(operator: BrowserContext, service: Service) -> Iterator[Watched]:
    with Watched(operator, service.first_run["url"]) as found:
        yield found
        assert found.problems == []


def asked(page: Page) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query, keep_blank_values=True).items()}


def test_a_part_is_edited_in_place_and_the_address_says_only_what_is_asked(watched: Watched) -> None:
    page = watched.page
    watched.visit(ACME + "&when=30d")
    page.get_by_text("called issue_credit").click()
    field = page.get_by_label("Tool", exact=True)
    expect(field).to_be_focused()
    field.fill("get_invoice")
    page.keyboard.press("Enter")
    page.wait_for_url("**get_invoice**")
    assert asked(page) == {"customer_id": "ACME-2024", "tool": "get_invoice", "when": "30d"}
    page.get_by_text("last 30 days").first.click()
    page.get_by_label("From").fill("2026-03-01")
    page.locator(".edit.time").get_by_role("button", name="Apply").click()
    page.wait_for_url("**from=**")
    assert asked(page) == {"customer_id": "ACME-2024", "tool": "get_invoice", "from": "2026-03-01"}
    page.get_by_label("Take away: customer is").click()
    page.wait_for_url(lambda url: "customer" not in url)
    assert asked(page) == {"tool": "get_invoice", "from": "2026-03-01"}


def test_a_filter_is_added(watched: Watched) -> None:
    page = watched.page
    watched.visit(ACME)
    page.get_by_label("Add a filter").click()
    page.get_by_text("Amount at least", exact=True).first.click()
    field = page.locator("#f-amount_min")
    expect(field).to_be_focused()
    field.fill("401")
    page.keyboard.press("Enter")
    page.wait_for_url("**amount_min**")
    assert asked(page) == {"customer_id": "ACME-2024", "tool": "issue_credit", "amount_min": "401"}
    expect(page.get_by_text("amount ≥ 401")).to_be_visible()
    expect(page.locator(".ledger .amount").first).to_be_visible()


def test_what_would_match_is_looked_for_after_the_page_has_answered(watched: Watched) -> None:
    watched.visit(ACME + "&amount_min=999999")
    expect(watched.page.get_by_role("link", name="without “amount ≥ 999999”")).to_be_visible()
    assert "hints" not in asked(watched.page)


def test_all_of_it_works_without_a_script(operator: BrowserContext, service: Service) -> None:
    assert operator.browser is not None
    context = operator.browser.new_context(storage_state=operator.storage_state(), java_script_enabled=False)
    page = context.new_page()
    page.goto(service.first_run["url"] + ACME + "&amount_min=999999")
    page.get_by_role("link", name="Look for what would match").click()
    page.get_by_role("link", name="without “amount ≥ 999999”").click()
    assert asked(page) == {"customer_id": "ACME-2024", "tool": "issue_credit"}
    page.get_by_label("Add a filter").click()
    page.get_by_text("Outcome of a call", exact=True).first.click()
    page.locator("#f-outcome").select_option("returned")
    page.locator("details[open] .one").get_by_role("button", name="Add").click()
    assert asked(page) == {"customer_id": "ACME-2024", "tool": "issue_credit", "outcome": "returned"}
    page.get_by_text("any time", exact=True).first.click()
    page.get_by_role("link", name="last 7 days").click()
    assert asked(page)["when"] == "7d"
    page.get_by_text("Keyboard").click()
    expect(page.get_by_text("to the search box")).to_be_visible()
    page.locator(".saved > summary").click()
    page.get_by_label("Save this search as").fill("without a script")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is saved")
    assert asked(page) == {"customer_id": "ACME-2024", "tool": "issue_credit", "outcome": "returned", "when": "7d"}
    page.goto(service.first_run["url"] + "/searches")
    page.get_by_role("button", name="Remove the saved search without a script").click()
    expect(page.get_by_role("status")).to_contain_text("removed")
    context.close()


def test_what_is_open_closes_with_escape_or_a_click_beside_it(watched: Watched) -> None:
    page = watched.page
    watched.visit(ACME)
    summary = page.get_by_text("called issue_credit")
    summary.click()
    expect(page.get_by_label("Tool", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Tool", exact=True)).to_be_hidden()
    expect(page.locator(".part summary:focus")).to_have_text("called issue_credit")
    summary.click()
    page.locator(".more").click()
    expect(page.get_by_label("Tool", exact=True)).to_be_hidden()


def test_the_keys_move_open_and_explain_and_do_nothing_while_one_types(watched: Watched) -> None:
    page = watched.page
    watched.visit("/")
    box = page.get_by_role("searchbox", name="Find a session")
    expect(box).to_be_focused()
    page.keyboard.type("j?k/")
    expect(box).to_have_value("j?k/")
    expect(page.get_by_role("dialog")).to_have_count(0)
    box.fill("")
    box.blur()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_contain_text("to the next row")
    page.keyboard.press("j")
    expect(page.locator("tr.here")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("j")
    expect(page.locator("tr.here a.open")).to_be_focused()
    first = page.locator("tr.here a.open").get_attribute("href")
    page.keyboard.press("j")
    second = page.locator("tr.here a.open").get_attribute("href")
    page.keyboard.press("k")
    assert page.locator("tr.here a.open").get_attribute("href") == first != second
    page.keyboard.press("/")
    expect(box).to_be_focused()
    box.blur()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions/**")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("opens and closes Why")


def test_a_range_drawn_on_the_bars_is_searched_for_and_a_click_on_one_still_is(watched: Watched) -> None:
    page = watched.page
    watched.visit("/")
    box = page.locator(".spread svg").bounding_box()
    assert box is not None
    before = page.url
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 20, steps=4)
    expect(page.locator(".spread .range")).to_have_count(1)
    page.mouse.up()
    page.wait_for_url("**from=**")
    given = asked(page)
    assert page.url != before and given["from"].endswith("Z") and given["to"].endswith(".999999Z") and given["from"] < given["to"]
    expect(page.locator(".sentence")).to_contain_text("2026")
    expect(page.locator(".ledger tbody tr").first).to_be_visible()
    page.go_back()
    page.locator(".spread svg a").first.click(force=True)
    page.wait_for_url("**from=**")


def test_whoever_stands_on_a_row_stands_there_still_when_new_ones_come(watched: Watched, service: Service) -> None:
    page = watched.page
    watched.visit("/?live=1&range=all")  # the event below is dated far ahead, which a search without a range leaves out
    page.get_by_role("searchbox").blur()
    page.keyboard.press("j")
    here = page.locator("tr.here a.open").get_attribute("href")
    event = {"kind": "tool_call", "at": "2033-01-01T00:00:00Z", "session_id": "just now", "tool": {"name": "brand_new", "call_id": "n"}}
    post(service, f"{service.first_run['url']}/api/v1/events", {"events": [event]})
    expect(page.get_by_text("brand_new")).to_be_visible(timeout=20_000)
    expect(page.locator(":focus")).to_have_attribute("href", here or "")
    page.keyboard.press("k")
    expect(page.locator("tr.here")).not_to_have_text("")
    assert page.locator("tr.here a.open").get_attribute("href") != here


def test_the_files_are_downloads_of_what_is_on_the_page(watched: Watched) -> None:
    page = watched.page
    watched.visit(ACME)
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    found = json.loads(download.value.path().read_text())
    assert {row["tool"] for row in found["results"]} == {"issue_credit"} and found["search"]["customer_id"] == "ACME-2024"
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    assert len(download.value.path().read_bytes().split(b"\r\n")) == len(found["results"]) + 2
