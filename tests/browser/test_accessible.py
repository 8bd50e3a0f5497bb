"""Owns that people with any eyes and hands can use the pages: axe-core finds nothing serious, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser import cases
from tests.service import Service

PAGES = (  # a number: the session of so many steps
    *(
        "/login",
        "/",
        "/?q=nobody+ever",
        "/?q=the&facets=1",
        "/?trace_id=zz",
        "/?view=sessions",
        "/?live=1",
        "/?customer_id=ACME-2024&amount_min=400&tool=issue_credit&from=2026-03-01&to=2026-03-31",
        "/?trace_id=zz&amount_min=lots&from=soon&bogus=1&outcome=refused",
        "/?customer_id=ACME-2024&tool=nothing&when=7d",
        "/searches",
        "2",
        "20",
        "300",
        "dossier",
        "why/14",
        "instructions",
        "event",
        "/sessions/nope",
    ),
    *("/agents", "/log", "/quarantine", "/retention", "/settings", "/settings/password", "/settings/keys/1", "/settings/members/1"),
    "/api/v1/docs",
)


def address(service: Service, name: str) -> str:
    if name.isdigit():
        return f"/sessions/{cases.key_of(service, int(name))}"
    if name in ("dossier", "why/14", "instructions"):
        return f"/sessions/{cases.key_of(service, 20)}/{name}"
    if name == "event":
        found = service.get(f"/api/v1/events?session={cases.key_of(service, 20)}&limit=20")["results"]
        return f"/events/{found[-1]['id']}"
    return name


@pytest.fixture(scope="module", params=[("light", 1440), ("dark", 390)], ids=["light, 1440", "dark, 390"])
def reader(request: pytest.FixtureRequest, browser: Browser, operator: BrowserContext, service: Service) -> Iterator[Page]:
    """Where somebody who is logged in reads. The policy is lifted here alone, because axe is a script that no page may load."""
    scheme, width = request.param
    context = browser.new_context(
        base_url=service.first_run["url"],
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        storage_state=operator.storage_state(),
        bypass_csp=True,
    )
    yield context.new_page()  # one for all addresses: a new one is a process of its own, which takes longer than most pages
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_on(name: str, reader: Page, service: Service) -> None:
    reader.goto(address(service, name))
    reader.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(reader).response["violations"]
    told = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found if one["impact"] in ("serious", "critical")]
    assert told == []


def test_nothing_is_wider_than_a_small_screen(browser: Browser, operator: BrowserContext, service: Service) -> None:
    context = browser.new_context(
        base_url=service.first_run["url"], viewport={"width": 390, "height": 900}, storage_state=operator.storage_state()
    )
    page = context.new_page()
    wide = []
    for name in PAGES:
        page.goto(address(service, name))
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            wide.append(name)
    context.close()
    assert wide == []
