"""Owns the checks that what makes a search fast changes nothing of what it finds: bounds of time, sessions tried one by one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from auditlog.search import sessions
from auditlog.search.scope import Scope
from tests.asked import asked
from tests.db.api.conftest import World
from tests.db.api.test_filters import SESSIONS
from tests.db.api.test_search_page import DAY, call, send


def going_on(world: World, **given: str) -> set[str]:
    return {one["session_id"] for one in world.api.json("sessions", **given)["results"]}


def test_a_session_of_weeks_is_found_in_the_middle_of_its_time_and_a_short_one_only_in_its_own(world: World) -> None:
    send(world, call("weeks", DAY, "t"), call("weeks", DAY + timedelta(days=40), "t", 1))
    send(world, call("day", DAY, "t"), call("day", DAY + timedelta(hours=23), "t", 1), call("short", DAY, "t"))
    assert going_on(world, **{"from": "2026-03-20", "to": "2026-03-21"}) == {"weeks"}
    assert going_on(world, **{"from": "2026-03-03", "to": "2026-03-03"}) == {"weeks", "day"}
    assert going_on(world, **{"from": "2026-03-02"}) == {"weeks", "day", "short"}
    assert going_on(world, **{"from": "2026-04-12"}) == set()
    assert going_on(world, **{"from": "0001-01-01"}) == {"weeks", "day", "short"}


def test_every_filter_finds_the_same_when_sessions_are_tried_one_by_one(refund: World) -> None:
    scope = Scope(refund.project.pk)
    for given, hits in SESSIONS:
        assert sessions.matching(scope, given, one_by_one=True).count() == hits, given


@pytest.mark.parametrize(
    "query", [{"value": "done"}, {"tool": "t"}, {"customer_id": "ACME"}, {"q": "done"}, {"value": "odd"}, {"from": "2026-03-03"}]
)
def test_the_times_ahead_are_those_of_all_that_match_wherever_a_page_ends(world: World, query: dict[str, str]) -> None:
    send(world, *(call(f"s{n:02}", DAY + timedelta(hours=n), "t", result="odd" if n % 20 == 0 else "done") for n in range(40)))
    scope = Scope(world.project.pk)
    every = sorted(sessions.matching(scope, query).values_list("sort_at", flat=True), reverse=True)
    for limit in ("1", "7", "200"):
        page = sessions.page(scope, {**query, "limit": limit}, ahead=30)
        assert page.times == [at.timestamp() for at in every[:30]], limit
        assert len(sessions.page(scope, {**query, "limit": limit}).times) == 0


def test_only_where_many_sessions_match_are_they_tried_one_by_one(world: World) -> None:
    send(world, *(call(f"s{n:02}", DAY + timedelta(hours=n), "t", result="odd" if n % 20 == 0 else "done") for n in range(60)))
    for value, expected in (("done", True), ("odd", False)):
        with asked() as statements:
            sessions.page(Scope(world.project.pk), {"value": value, "limit": "1"}, ahead=30)
        assert any("OFFSET 0" in one for one in statements.statements) is expected, value


def test_a_page_plans_for_few_rows(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def looked(*_: Any, **__: Any) -> sessions.Page:

        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('random_page_cost'), current_setting('max_parallel_workers_per_gather')")
            seen.append(cursor.fetchone())
        return sessions.Page([], None)

    monkeypatch.setattr(sessions, "page", looked)
    operator.get("/")
    assert seen == [("1.1", "0")]
