"""Owns the checks of facets: what is counted, up to which bound, and that each value leads to what it counts."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import jsonschema
import pytest
from django.db import connection
from django.test import Client

from auditlog.api.shapes import FACETS
from auditlog.search import facets
from auditlog.search.scope import Scope
from auditlog.web import found
from tests.db.api.conftest import World, person
from tests.db.api.test_access import text
from tests.db.api.test_search_page import DAY, send


def call(session: str, tool: str, customer: str, *, agent: str = "shop", number: int = 0, **told: Any) -> dict[str, Any]:
    at = (DAY + timedelta(minutes=number)).isoformat()
    said = {"call_id": f"{session}-{number}", "name": tool, "arguments": {}, **(told or {"result": "done"})}
    return {"kind": "tool_call", "session_id": session, "customer_id": customer, "agent": {"name": agent}, "at": at, "tool": said}


def some(world: World) -> None:
    send(
        world,
        call("a", "refund", "ACME"),
        call("a", "refund", "ACME", number=1),
        call("a", "look", "ACME", number=2, error="no"),
        call("a", "look", "ACME", number=3),  # the same tool with another outcome
        call("b", "refund", "ACME"),
        call("c", "look", "Zoë & Söhne", agent="billing", error="no"),
    )


def counted(world: World, **given: Any) -> dict[str, Any]:
    answer = world.api.json("sessions", facets=1, **given)["facets"]
    jsonschema.validate(answer, FACETS)
    return dict(answer)


def of(answer: dict[str, Any], name: str) -> list[tuple[str, int]]:
    return [(one["value"], one["sessions"]) for one in answer["counts"][name]["values"]]


def test_sessions_are_counted_by_what_they_have_each_once(world: World) -> None:
    some(world)
    answer = counted(world)
    assert (answer["sessions"], answer["more_sessions"]) == (3, False)
    assert of(answer, "agent") == [("shop", 2), ("billing", 1)]
    assert of(answer, "customer_id") == [("ACME", 2), ("Zoë & Söhne", 1)]
    assert of(answer, "tool") == [("look", 2), ("refund", 2)]
    assert of(answer, "outcome") == [("failed", 2), ("returned", 2)]
    assert sum(count for _, count in of(answer, "verdict")) == 3
    assert "facets" not in world.api.json("sessions")


def test_a_customer_of_the_newest_days_leads_to_as_many_sessions_as_were_counted_of_it(world: World, operator: Client) -> None:
    send(world, call("a", "refund", "ACME"), call("b", "refund", "ACME"), call("long ago", "refund", "ACME", number=-90 * 24 * 60))
    page = operator.get("/?facets=1").content.decode()
    href = re.search(r'href="([^"]*customer_id=ACME[^"]*)"', page)
    assert href is not None and "2 sessions shown" in page
    assert "2 sessions shown" in operator.get(unescape(href[1])).content.decode()


def test_every_value_leads_to_as_many_sessions_as_it_counts(world: World) -> None:
    some(world)
    world.bench.owner.execute("UPDATE session SET findings = '[]'")
    for name, facet in counted(world)["counts"].items():
        for one in facet["values"]:
            assert len(world.api.json("sessions", **{name: one["value"]})["results"]) == one["sessions"], (name, one)


def test_filters_and_words_narrow_what_is_counted_and_pages_do_not(world: World) -> None:
    some(world)
    assert of(counted(world, customer_id="ACME"), "tool") == [("refund", 2), ("look", 1)]
    assert of(counted(world, q="look"), "agent") == [("billing", 1), ("shop", 1)]
    assert counted(world, limit=1)["sessions"] == 3
    assert counted(world, customer_id="nobody")["sessions"] == 0
    assert world.api.get("sessions", facets="2").status_code == 400


def test_findings_are_counted_by_their_code(world: World) -> None:
    some(world)
    many = json.dumps([{"code": "cap", "message": "x"}, {"code": "cap", "message": "y"}, {"code": "scope", "message": "z"}])
    world.bench.owner.execute("UPDATE session SET findings = %s WHERE agent_name = 'shop'", (many,))
    assert of(counted(world), "finding") == [("cap", 2), ("scope", 2)]


def test_no_more_than_the_newest_are_looked_at_and_the_rarer_values_are_numbered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    send(world, *(call(f"s{n:02}", f"tool{n}", "ACME", number=n) for n in range(12)))
    answer = counted(world)
    assert len(of(answer, "tool")) == 8 and answer["counts"]["tool"]["more_values"] == 4
    monkeypatch.setattr(facets, "MOST", 5)
    answer = counted(world)
    assert (answer["sessions"], answer["more_sessions"]) == (5, True)
    assert sorted(of(answer, "tool")) == sorted((f"tool{n}", 1) for n in range(7, 12))


def test_the_page_counts_when_it_is_asked_to_and_each_value_adds_its_filter(world: World, operator: Client) -> None:
    some(world)
    page = text(operator.get("/?tool=refund"))
    ask = re.search(r'<p class="facets"><a href="([^"]+)"', page)
    assert ask is not None and '<aside class="facets"' not in page
    page = text(operator.get(unescape(ask[1])))
    aside = page.split('<aside class="facets"')[1].split("</aside>")[0]
    assert "2 sessions" in aside and '<b aria-current="true"><bdi>refund</bdi></b>' in aside
    link = re.search(r'<a href="([^"]+)"><bdi>look</bdi>', aside)
    assert link is not None and unescape(link[1]) == "/?facets=1&tool=look"
    assert len(re.findall("Söhne", text(operator.get("/?facets=1")).split('<aside class="facets"')[1].split("</aside>")[0])) == 1
    assert "without counts" in page.lower() and 'class="facets"' not in text(operator.get("/?customer_id=nobody"))


def test_a_name_that_is_only_shown_cut_is_no_link(world: World, operator: Client) -> None:
    send(world, call("a", "t" * 300, "ACME"))
    aside = text(operator.get("/?facets=1")).split('<aside class="facets"')[1].split("</aside>")[0]
    assert "t" * 200 in aside and f'"><bdi>{"t" * 200}' not in aside


def test_the_page_says_that_only_the_newest_were_counted(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    some(world)
    monkeypatch.setattr(facets, "MOST", 2)
    assert "2+ sessions, the newest 2 counted" in text(operator.get("/?facets=1"))


def test_counting_that_takes_too_long_is_given_up_and_the_ledger_stands(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    some(world)

    def slow(*_: Any, **__: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(facets, "facets", slow)
    monkeypatch.setattr(found, "_PATIENCE", 1)
    page = text(operator.get("/?facets=1"))
    assert "longer than 1 second " in page and "refund" in page.split('id="ledger"')[1]


def test_another_project_counts_nothing_and_a_viewer_counts_what_a_viewer_may_find(world: World) -> None:
    some(world)
    assert facets.facets(Scope(world.other.pk), {}).sessions == 0
    viewer = person(world.project, "vera", "viewer")
    assert "ACME" in text(viewer.get("/?facets=1")) and viewer.get("/?facets=1&value=done").status_code == 403
