"""Owns the story: somebody asks why an account was credited $400, and an operator finds the answer, in a real browser."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pypdf
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import corpus
from tests.service import Service
from tests.story.chromium import PATH

CASES = ("openinference/chat_refund", "openai-agents-v2/halluc", "langchain-openinference/llmerr")


def send(service: Service, name: str) -> None:
    """The bodies of a case as the instrumentation sent them."""
    run = service.first_run
    for body in corpus.case(name)["bodies"]:
        request = urllib.request.Request(
            run["otlp_http"] + body["path"],
            data=(corpus.CASES / name / body["file"]).read_bytes(),
            headers={"Authorization": f"Bearer {run['ingest_key']}", "Content-Type": body["content_type"], "Content-Encoding": "gzip"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


def settle(service: Service) -> None:
    run = service.first_run
    for _ in range(200):
        request = urllib.request.Request(run["url"] + "/api/v1/status", headers={"Authorization": f"Bearer {run['read_key']}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            status = json.load(answer)
        if not status["pending_batches"] and not status["stale_summaries"]:
            return
        time.sleep(0.2)
    raise AssertionError(f"still pending: {status}")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    try:
        made.start()
        for name in CASES:
            send(made, name)
        settle(made)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield made
        made.close()


def log_in(page: Page, run: dict[str, str]) -> None:
    page.goto(run["url"] + "/")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("Name").fill(run["username"])
    page.get_by_label("Password").fill(run["password"])
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("searchbox", name="Find a session")).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_an_operator_finds_why_the_account_was_credited(service: Service, browser: Browser, javascript: bool) -> None:
    context = browser.new_context(java_script_enabled=javascript, viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    problems: list[Any] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    log_in(page, service.first_run)

    page.get_by_role("searchbox", name="Find a session").fill("ACME-2024")
    page.get_by_role("button", name="Find", exact=True).click()
    credited = page.get_by_role("row").filter(has_text="issue_credit").filter(has_text="cr_55120")
    expect(credited).to_contain_text("$400.00")
    credited.get_by_role("link").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("issue_credit")
    call = page.locator("li.row.tool_call").filter(has=page.get_by_label("Tool call issue_credit"))
    expect(call).to_contain_text("400")
    expect(call).to_contain_text("returned")
    reasoning = call.locator("xpath=preceding-sibling::li[1]")
    expect(reasoning).to_have_class(re.compile("reasoning"))
    expect(reasoning).to_contain_text("So issue_credit of exactly 400 is allowed")
    expect(call.locator(".notes")).to_contain_text("amount_usd")  # and where it came from
    expect(call.locator(".notes").get_by_role("link", name="step 1").first).to_be_visible()

    number = call.get_attribute("id")
    link = service.first_run["url"] + f"{urlsplit(page.url).path}#{number}"
    if javascript:
        page.get_by_role("button", name="Copy link").click()
        expect(page.get_by_role("button", name="copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == link  # of the step that the search led to
    else:
        assert page.get_by_role("button", name="Copy link").count() == 0
        assert call.locator("a.n").evaluate("each => each.href") == link
    page.goto("about:blank")
    page.goto(link)
    expect(call).to_be_in_viewport()

    call.get_by_role("link", name="record 1").click()
    expect(page.get_by_role("heading", name="As sent")).to_be_visible()
    assert problems == []
    context.close()


def squeezed(text: str) -> str:
    return re.sub(r"[\s\u200b]", "", text)


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_three_clicks_lead_to_the_reasoning_the_origin_and_the_missing_approval_and_a_fourth_prints_them(
    service: Service, browser: Browser, javascript: bool
) -> None:
    context = browser.new_context(java_script_enabled=javascript, viewport={"width": 1440, "height": 900}, accept_downloads=True)
    page = context.new_page()
    log_in(page, service.first_run)
    page.get_by_role("searchbox", name="Find a session").fill("ACME-2024")
    page.keyboard.press("Enter")

    credited = page.get_by_role("row").filter(has_text="issue_credit").filter(has_text="cr_55120")
    credited.get_by_role("link").click()  # 1
    call = page.locator("li.row.tool_call").filter(has=page.get_by_label("Tool call issue_credit"))
    session = page.url.split("#")[0]
    call.get_by_role("link", name="Why?").click()  # 2
    why = page.get_by_role("region", name=re.compile("What is recorded around step"))
    expect(why).to_contain_text("So issue_credit of exactly 400 is allowed")
    amount = why.locator("dl.origins > div").filter(has=page.get_by_text("amount_usd", exact=True))
    expect(amount.locator("mark").first).to_contain_text("400")
    expect(why.locator("dl.origins > div").filter(has=page.get_by_text("reason", exact=True))).to_contain_text("nowhere before")
    expect(why).to_contain_text("no approval was recorded before this step")
    expect(why.locator(".instruction mark").first).to_be_visible()
    if javascript:
        assert page.url.split("#")[0] == session  # in place: nothing was left
        page.keyboard.press("Escape")
    else:
        page.get_by_role("link", name=re.compile("Back to step")).click()
        expect(call).to_be_in_viewport()

    page.get_by_role("link", name="Dossier").click()  # 3
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF").click()
    pages = pypdf.PdfReader(io.BytesIO(download.value.path().read_bytes())).pages
    printed = squeezed("".join(each.extract_text() for each in pages))
    for said in ("issue_credit", "$400.00", "ACME-2024", "So issue_credit of exactly 400 is allowed", "no approval was recorded"):
        assert squeezed(said) in printed, said
    context.close()
