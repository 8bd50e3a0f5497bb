"""Owns that stored text is text on every page: the whole URLconf, visited by an operator whose agents sent the hostile corpus."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from tests.browser import hostile
from tests.browser.addresses import ALSO, CONCRETE, Place, Planted, patterns
from tests.browser.visiting import Watched
from tests.service import Service

PROGRAMS = (  # patterns that are no pages
    *("api/", "healthz", "readyz", "metrics", "logout", "sessions/<str:key>/dossier.pdf", "sessions/<str:key>/calls", "results."),
    "access.",
)


@pytest.fixture(scope="module")
def planted(service: Service) -> Planted:
    return Planted(service)


def test_every_pattern_of_the_urlconf_is_visited() -> None:
    assert patterns() == sorted(CONCRETE)


@pytest.mark.parametrize("pattern", [p for p in CONCRETE if not p.startswith(PROGRAMS) or p == "api/v1/docs"])
def test_hostile_text_is_inert_on_the_pages_of(pattern: str, service: Service, operator: BrowserContext, planted: Planted) -> None:
    visited = 0
    with Watched(operator, service.first_run["url"]) as watched:
        for place in CONCRETE[pattern](planted):
            look(watched, operator, place)
            visited += 1
    assert visited


def look(watched: Watched, operator: BrowserContext, place: Place) -> None:
    answer = watched.visit(place.path)
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and "script-src" in policy, place.path
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return  # the reference's address in the API answers programs, too
    twin = operator.request.get(place.twin).text() if place.twin else ""
    found = watched.inspect(f"{place.path} {place.text!r:.80}", twin)
    if place.twin:
        wanted = place.text.replace("\r\n", "\n")
        assert place.text in found["copies"], place.path
        assert found["readable"].count(wanted) >= 8, (place.path, wanted)


def test_pages_that_do_not_exist_show_nothing_of_their_address_that_acts(service: Service, operator: BrowserContext) -> None:
    with Watched(operator, service.first_run["url"]) as watched:
        for path in ALSO:
            assert watched.visit(path).status == 404
            watched.inspect(path)


@pytest.mark.parametrize("pattern", [p for p in CONCRETE if p.startswith(PROGRAMS)])
def test_answers_for_programs_are_never_read_as_a_page(pattern: str, operator: BrowserContext, planted: Planted) -> None:
    for place in CONCRETE[pattern](planted):
        answer = operator.request.get(place.path, max_redirects=0)
        assert answer.headers["x-content-type-options"] == "nosniff", place.path
        assert "default-src" in answer.headers["content-security-policy"] and "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["content-type"].startswith(("application/json", "application/octet-stream")) or pattern in (
            "api/v1/docs",
            "logout",
            "access.csv",
            "access.json",  # what it refuses, it refuses with a page
            "results.csv",
            "sessions/<str:key>/dossier.pdf",
            "sessions/<str:key>/calls/<int:number>/request",
        )


def test_an_original_is_a_download_that_no_browser_interprets(operator: BrowserContext, planted: Planted) -> None:
    for event in (*planted.events("our step"), *planted.quarantined[:8]):
        answer = operator.request.get(f"/api/v1/events/{event}/raw")
        assert answer.ok and answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("away", hostile.AWAY)
def test_a_login_leads_nowhere_else(away: str, operator: BrowserContext) -> None:
    answer = operator.request.get("/login", params={"next": away}, max_redirects=0)
    assert (answer.status, answer.headers["location"]) == (302, "/")
