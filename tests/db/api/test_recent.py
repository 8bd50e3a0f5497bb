"""Owns the checks of the range that the search page shows where nobody chose one: said in words, never hiding who is asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from auditlog.search.scope import Scope
from auditlog.web import recent
from tests.db.api.conftest import World
from tests.db.api.test_access import recorded, text
from tests.db.api.test_search_page import call, send

NEWEST = datetime(2026, 3, 12, 10, tzinfo=UTC)


def three(world: World) -> None:
    """Sessions of the newest day, of the first of thirty, and of the one before."""
    for session, days in (("new", 0), ("edge", 29), ("old", 30)):
        send(world, call(session, NEWEST - timedelta(days=days), "tool", customer_id="ACME"))


def shown(operator: Client, path: str) -> set[str]:
    return set(re.findall(r'<bdi class="data id">(\w+)</bdi>', text(operator.get(path))))


def test_without_a_range_the_last_thirty_days_that_have_data_are_shown_and_said(world: World, operator: Client) -> None:
    three(world)
    page = text(operator.get("/"))
    assert "30 days up to 12 Mar 2026, the newest there is" in page and 'href="/?range=all">show all' in page
    assert shown(operator, "/") == shown(operator, "/?tool=tool") == {"new", "edge"}
    assert recorded(world)[-1]["about"]["filters"] == {"tool": "tool", "from": "2026-02-11"}
    assert len(world.api.json("sessions")["results"]) == 3  # a program says what it means


@pytest.mark.parametrize(
    "query",
    ["range=all", "from=2020-01-01", "to=2026-12-31", "q=tool", "q=ACME", "customer_id=ACME", "subject=customer:ACME", "value=done"],
)
def test_who_chose_a_range_or_names_somebody_sees_all_of_it(world: World, operator: Client, query: str) -> None:
    three(world)
    assert shown(operator, f"/?{query}") == {"new", "edge", "old"}
    assert "the newest there is" not in text(operator.get(f"/?{query}"))


def test_nothing_within_the_range_is_said_with_the_way_out(world: World, operator: Client) -> None:
    three(world)
    send(world, call("older", NEWEST - timedelta(days=90), "rare"))
    page = text(operator.get("/?tool=rare"))
    assert "No session matches" in page and "30 days up to 12 Mar 2026" in page and 'href="/?tool=rare&amp;range=all"' in page
    assert shown(operator, "/?tool=rare&range=all") == {"older"}


def test_days_are_those_of_the_reader_and_a_clock_that_is_ahead_hides_nobody(world: World) -> None:
    send(world, call("late", datetime(2026, 3, 12, 23, 30, tzinfo=UTC), "tool"), call("ahead", datetime(2190, 1, 1, tzinfo=UTC), "tool"))
    scope = Scope(world.project.pk)

    def since(**query: Any) -> tuple[str, str] | None:
        found = recent.default(scope, query, ZoneInfo("Europe/Zurich"))
        return None if found is None else (found.words.split(",")[0], found.filters["from"])

    assert since() == ("30 days up to 13 Mar 2026", "2026-02-12")
    assert since(**{"range": "all"}) is since(**{"from": "2026-01-01"}) is since(session_id="x") is None
    assert recent.default(Scope(world.other.pk), {}) is None


def test_the_newest_session_alone_decides_however_old_it_is(world: World) -> None:
    send(world, call("first", datetime(1970, 1, 3, tzinfo=UTC), "tool"))
    found = recent.default(Scope(world.project.pk), {})
    assert found is not None and found.filters == {"from": "1969-12-05"}
