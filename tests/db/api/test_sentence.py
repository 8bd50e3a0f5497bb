"""Owns the checks of the search as a sentence: each part edited or taken away by itself, what is wrong with one, and what to do then."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.db import connection
from django.test import Client

from auditlog.search import sessions
from auditlog.web import search, sentence
from tests.db.api.conftest import World, person
from tests.db.api.test_access import recorded, text
from tests.db.api.test_search_page import DAY, call, send


class Form(HTMLParser):
    """What the form of the search would send: every field with its value, in closed parts, too."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.inside = False
        self.select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = given.get("id") == "search"
        if self.inside and tag == "input" and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")
        if self.inside and tag == "select":
            self.select = given["name"]
            self.fields[self.select] = ""
        if self.inside and tag == "option" and "selected" in given:
            self.fields[self.select] = given["value"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False


def said(page: str) -> str:
    """The sentence as one reads it, without what its parts are edited in."""
    found = page.split('<ul class="sentence"', 1)[1].split("</ul>", 1)[0]
    found = re.sub(r'<div class="edit menu">.*?</section>\s*</div>|<div class="edit.*?</div></details>', "", found, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found.split(">", 1)[1])).split())


def asked(address: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(address).query).items()}


def away(page: str, label: str) -> str:
    found = re.search(rf'<a class="away" href="([^"]+)" aria-label="Take away: {re.escape(label)}"', page)
    assert found is not None
    return unescape(found[1])


def test_a_search_reads_as_a_sentence_of_what_it_asks_for(refund: World, operator: Client) -> None:
    page = text(operator.get("/?customer_id=ACME-2024&from=2026-03-01&to=2026-03-31&amount_min=400&tool=issue_credit"))
    assert said(page) == "customer is ACME-2024 × amount ≥ 400 × called issue_credit × 1–31 Mar 2026 × + clear all"
    assert said(text(operator.get("/"))) == "all sessions 30 days up to 22 Nov 2026, the newest there is × +"
    assert said(text(operator.get(away(text(operator.get("/")), "the time range")))) == "all sessions any time +"


def test_a_part_is_changed_and_the_rest_is_kept(refund: World, operator: Client) -> None:
    before = {"customer_id": "ACME-2024", "amount_min": "400", "q": "charged twice", "view": "sessions", "when": "30d", "tz": "Asia/Tokyo"}
    fields = Form(text(operator.get("/", before))).fields
    assert {name: value for name, value in fields.items() if value} == before  # sent as it is, it is the same search
    answer = operator.get("/", fields | {"amount_min": "350"})
    assert answer.status_code == 302  # the empty fields of a form without JavaScript do not stay in the address
    assert asked(answer["Location"]) == before | {"amount_min": "350"}


def test_a_part_is_taken_away_and_the_rest_is_kept(refund: World, operator: Client) -> None:
    page = text(operator.get("/?customer_id=ACME-2024&amount_min=400&when=7d&view=sessions"))
    assert asked(away(page, "customer is")) == {"amount_min": "400", "when": "7d", "view": "sessions"}
    assert asked(away(page, "the time range")) == {"customer_id": "ACME-2024", "amount_min": "400", "view": "sessions", "range": "all"}


def test_every_filter_of_sessions_can_be_added_and_has_its_words(refund: World, operator: Client) -> None:
    fields = Form(text(operator.get("/"))).fields
    assert set(sessions.PARAMETERS) <= set(fields)
    assert set(sentence.WORDS) == set(sessions.PARAMETERS) - {"q", "from", "to"}
    viewer = Form(text(person(refund.project, "vera", "viewer").get("/"))).fields
    assert set(fields) - set(viewer) == {"value", "amount_min", "amount_max"}  # whose answer would be content


def test_a_choice_offers_what_there_is_and_keeps_what_there_is_not(world: World, operator: Client) -> None:
    page = text(operator.get("/?outcome=refused"))
    assert '<option value="refused" selected>' in page and '<option value="returned">' in page
    page = text(operator.get("/?outcome=vanished"))
    assert 'name="outcome" value="vanished"' in page and "is none of returned, failed, refused, unknown" in unescape(page)


# -- time ----------------------------------------------------------------------------------------------------------------------


def test_a_preset_is_a_link_stays_in_the_address_and_is_searched_for(world: World, operator: Client) -> None:
    send(world, call("old", DAY - timedelta(days=400), "past"))
    page = text(operator.get("/?tool=past"))
    (week,) = [unescape(one) for one in re.findall(r'<a href="([^"]+)">last 7 days', page)]
    assert asked(week) == {"tool": "past", "when": "7d"}
    page = text(operator.get(week))
    assert "No session matches" in page and said(page) == "called past × last 7 days × + clear all"
    assert "without the time range" in text(operator.get(f"{week}&hints=1"))


def test_dates_replace_a_preset(world: World, operator: Client) -> None:
    answer = operator.get("/?when=7d&from=2026-03-01&to=")
    assert answer.status_code == 302 and asked(answer["Location"]) == {"from": "2026-03-01"}
    page = text(operator.get("/?from=2026-03-01"))
    (week,) = [unescape(one) for one in re.findall(r'<a href="([^"]+)">last 7 days', page)]
    assert asked(week) == {"when": "7d"}


def test_a_day_is_chosen_from_a_calendar_and_a_moment_is_kept_as_it_is(world: World, operator: Client) -> None:
    page = text(operator.get("/?from=2026-03-01&to=2026-03-02T10:00:00Z"))
    assert re.search(r'name="from" value="2026-03-01"[^>]* type="date"', page)
    assert re.search(r'name="to" value="2026-03-02T10:00:00Z"(?![^>]*type="date")', page)
    assert "1 Mar 2026 00:00 – 2 Mar 2026 10:00" in page


# -- states --------------------------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_said_beside_its_part_and_everything_is_kept(refund: World, operator: Client) -> None:
    given = {"trace_id": "zz", "customer_id": "ACME-2024", "amount_min": "lots", "from": "soon", "when_": "x"}
    answer = operator.get("/", given)
    page = text(answer)
    assert answer.status_code == 400 and "This search was not run" in page and "cr_55120" not in page
    for name, message in (("trace_id", "is no trace ID"), ("amount_min", "is no number"), ("from", "is no time"), ("when_", "There is no")):
        part = next(part for part in page.split('<li class="part')[1:] if f'name="{name}"' in part)
        assert part.startswith(" wrong") and message in part, name
    good = next(part for part in page.split('<li class="part')[1:] if 'name="customer_id"' in part)
    assert not good.startswith(" wrong")
    assert {name: value for name, value in Form(page).fields.items() if value} == given
    assert asked(away(page, "trace is")) == {name: value for name, value in given.items() if name != "trace_id"}


def test_a_wrong_value_that_no_part_shows_is_sent_once(world: World, operator: Client) -> None:
    page = text(operator.get("/?limit=0&when=never"))
    assert page.count('name="limit"') == 2 and page.count('name="when"') == 1  # once of them each in the form that sets the zone
    assert "is no number from 1 to" in page and "is none of today" in page


@pytest.mark.parametrize("query", ["query=1", "path=x", "self=1", "tool=a&tool=b", "limit=0", "when=never", "%00=1", "q=a&q=b"])
def test_no_name_or_repetition_makes_the_page_fail(world: World, operator: Client, query: str) -> None:
    answer = operator.get(f"/?{query}")
    page = text(answer)
    assert answer.status_code == 400 and "This search was not run" in page and (' wrong"' in page or 'id="q-problem"' in page)


def test_a_search_without_a_match_says_which_part_to_take_away(refund: World, operator: Client) -> None:
    page = text(operator.get("/?customer_id=ACME-2024&tool=issue_credit&amount_min=401"))
    assert '<ul class="hints">' not in page  # the answer does not wait for them
    assert unescape(re.findall(r'hx-get="([^"]+)"', page)[0]) == unescape(re.findall(r'<a href="([^"]+)">Look for what would', page)[0])
    page = text(operator.get(unescape(re.findall(r'hx-get="([^"]+)"', page)[0])))
    hints = page.split('<ul class="hints">')[1].split("</ul>")[0]
    assert [unescape(one) for one in re.findall(r"“([a-z ≥]+) <bdi>", hints)] == ["amount ≥"]
    (address,) = [unescape(one) for one in re.findall(r'href="([^"]+)"', hints)]
    assert "cr_55120" in text(operator.get(address))
    page = text(operator.get("/?customer_id=nobody&tool=nothing&hints=1"))
    assert '<ul class="hints">' not in page and "without any one part" in page


def test_what_only_helps_is_left_out_where_it_takes_long(refund: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    page, asks = sessions.page, 0

    def slow(*given: Any, **more: Any) -> sessions.Page:
        nonlocal asks
        asks += 1
        if asks > 2:
            with connection.cursor() as database:
                database.execute("SELECT pg_sleep(5)")
        return page(*given, **more)

    monkeypatch.setattr(search, "_HINT_SECONDS", 0.2)
    monkeypatch.setattr(sessions, "page", slow)
    answer = operator.get("/?customer_id=ACME-2024&tool=nothing&amount_min=1&hints=1")
    found = text(answer)
    assert answer.status_code == 200 and "No session matches" in found and "without any one part" not in found and asks == 3


def test_hints_give_nothing_away_to_whoever_may_not_read_content(refund: World) -> None:
    viewer = person(refund.project, "vera", "viewer")
    page = text(viewer.get("/?q=duplicate&tool=nothing&hints=1"))
    assert "No session matches" in page and '<ul class="hints">' not in page  # not even that the word was said


def test_a_search_that_takes_too_long_is_stopped_and_keeps_its_sentence(
    refund: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITLOG_QUERY_TIMEOUT", "1")

    def slow(*_: object, **__: object) -> None:
        with connection.cursor() as database:
            database.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(sessions, "page", slow)
    answer = operator.get("/?customer_id=ACME-2024")
    page = text(answer)
    assert answer.status_code == 504 and "This search was stopped" in page
    assert "in 1 seconds. Nothing was lost. Narrow the time range" in page
    assert said(page).startswith("customer is ACME-2024") and 'href="/?customer_id=ACME-2024&amp;when=today"' in page
    monkeypatch.undo()
    assert "cr_55120" in text(operator.get("/?customer_id=ACME-2024"))


def test_a_relative_range_is_recorded_as_it_was_asked_for(refund: World, operator: Client) -> None:
    send(refund, call("new", DAY, "pay"))
    before = len(recorded(refund))
    operator.get("/?" + urlencode({"tool": "pay", "from": "2026-03-01"}))
    (found,) = recorded(refund)[before:]
    assert found["about"]["filters"] == {"tool": "pay", "from": "2026-03-01"}
