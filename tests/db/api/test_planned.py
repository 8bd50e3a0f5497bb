"""Owns the checks that what makes a search fast changes nothing of what it finds: bounds of time, sessions tried one by one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from auditlog.search import filters, sessions
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


@pytest.mark.parametrize("many", [1, 500])
@pytest.mark.parametrize("one_by_one", [True, False])
def test_every_filter_finds_the_same_however_its_sessions_are_looked_for(
    refund: World, monkeypatch: pytest.MonkeyPatch, many: int, one_by_one: bool
) -> None:
    monkeypatch.setattr(filters, "MANY", many)
    scope = Scope(refund.project.pk)
    for given, hits in SESSIONS:
        assert sessions.matching(scope, given, one_by_one=one_by_one).count() == hits, given


@pytest.mark.parametrize(("many", "nearest"), [(1, 2_000), (1, 15), (500, 2_000)], ids=["near", "not near enough", "few"])
@pytest.mark.parametrize(
    "query",
    [
        {"value": "done"},
        {"tool": "t"},
        {"customer_id": "ACME"},
        {"q": "done"},
        {"value": "odd"},
        {"from": "2026-03-03"},
        {"value": "done", "from": "2026-03-03"},
    ],
)  # fmt: skip
def test_a_page_and_the_times_ahead_are_those_of_all_that_match_wherever_a_page_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], many: int, nearest: int
) -> None:
    monkeypatch.setattr(filters, "MANY", many)
    monkeypatch.setattr(sessions, "_NEAREST", nearest)
    send(world, *(call(f"s{n:02}", DAY + timedelta(hours=n), "t", result="odd" if n % 20 == 0 else "done") for n in range(40)))
    scope = Scope(world.project.pk)
    every = sorted(sessions.matching(scope, query).values_list("sort_at", flat=True), reverse=True)
    for limit in ("1", "7", "200"):
        page = sessions.page(scope, {**query, "limit": limit}, ahead=30)
        looked_for = page.ahead  # fewer, where older ones were not looked into
        assert page.times == [at.timestamp() for at in every[:looked_for]], limit
        assert looked_for == 30 or (nearest < 30 and looked_for >= min(int(limit) + 1, 30)), limit
        assert looked_for > len(page.times) or len(every) > looked_for, f"{limit}: a cut is said where there is none"
        assert [row.sort_at for row in page.rows] == every[: int(limit)], limit
        behind = sessions.page(scope, {**query, "limit": limit, "cursor": page.next}) if page.next else sessions.Page([], None)
        assert [row.sort_at for row in behind.rows] == every[int(limit) : 2 * int(limit)], limit
        assert len(sessions.page(scope, {**query, "limit": limit}).times) == 0


def test_few_sessions_are_named_and_of_many_that_are_near_the_newest_are_tried_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "MANY", 5)
    send(world, *(call(f"s{n:02}", DAY + timedelta(hours=n), "t", result="odd" if n % 20 == 0 else "done") for n in range(60)))
    for value, expected in (("done", True), ("odd", False)):
        with asked() as statements:
            sessions.page(Scope(world.project.pk), {"value": value, "limit": "1"})
        assert any("OFFSET 0" in one for one in statements.statements) is expected, value


def test_the_rows_of_a_page_and_the_times_for_its_bars_are_asked_for_at_once_where_both_are_near(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "MANY", 5)
    monkeypatch.setattr(sessions, "_NEAREST", 20)
    send(world, *(call(f"s{n:02}", DAY + timedelta(hours=n), "t", result="odd" if n % 4 == 0 else "done") for n in range(60)))
    for value, known in (("done", 12), ("odd", 5)):  # as many as are among the newest twenty and the one that ends them
        with asked() as statements:
            page = sessions.page(Scope(world.project.pk), {"value": value, "limit": "3"}, ahead=12)
        assert (len(page.rows), page.ahead, len(page.times)) == (3, known, known), value
        assert sum("OFFSET 0" in one for one in statements.statements) == 1, value


def test_where_all_of_a_range_was_tried_no_cut_is_said_and_no_set_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MANY", 5)
    monkeypatch.setattr(sessions, "_NEAREST", 15)
    send(world, *(call(f"s{n:02}", DAY + timedelta(days=n), "t" if n % 9 else "odd", result="done") for n in range(60)))
    first = f"{DAY + timedelta(days=50):%Y-%m-%d}"
    for asks, known in (({"value": "done"}, 10), ({"tool": "odd"}, 1)):
        with asked() as statements:
            page = sessions.page(Scope(world.project.pk), {**asks, "limit": "3", "from": first}, ahead=30)
        assert (len(page.times), page.ahead) == (known, 30), asks
        ordered = [one for one in statements.statements if "ORDER BY" in one and ("action_value" in one or "session_term" in one)]
        assert len(ordered) == 1 and "OFFSET 0" in ordered[0], asks


def test_an_amount_of_another_edition_is_nobodys(refund: World) -> None:
    columns = "project_id, session_key, step, n, currency, side, pointer, began_at"
    refund.bench.owner.execute(
        f"INSERT INTO action_amount (edition, amount, {columns}) SELECT 2, amount + 5000, {columns} FROM action_amount"
    )
    scope = Scope(refund.project.pk)
    for least, found in (("400", 1), ("5000", 0)):
        for one_by_one in (True, False):
            known: dict[str, Any] = {"sets": {0: None}}  # as if there were many
            assert sessions.matching(scope, {"amount_min": least}, known=known, one_by_one=one_by_one).count() == found, (least, one_by_one)


def test_many_that_are_all_old_are_found_though_none_is_near(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MANY", 5)
    monkeypatch.setattr(sessions, "_NEAREST", 10)
    send(world, *(call(f"s{n:02}", DAY + timedelta(hours=n), "t", result="old" if n < 20 else "new") for n in range(60)))
    with asked() as statements:
        page = sessions.page(Scope(world.project.pk), {"value": "old", "limit": "3"}, ahead=30)
    assert [bytes(row.session_id) for row in page.rows] == [b"s19", b"s18", b"s17"]
    assert len(page.times) == page.ahead == 15  # the bars say that they are of the newest 15
    assert any("OFFSET 0" in one for one in statements.statements)  # they were looked for among the newest first


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
