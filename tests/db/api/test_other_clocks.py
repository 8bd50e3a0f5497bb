"""Owns the checks of data of other times than now: from 2019, and of a clock a year ahead. Kept by receipt, shown at its own time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from auditlog.store import partitions
from tests.db.api.conftest import World
from tests.db.api.test_access import recorded, text
from tests.db.api.test_recent import shown
from tests.db.api.test_search_page import call, send
from tests.db.derived import NOW

OLD, AHEAD = datetime(2019, 6, 1, 12, tzinfo=UTC), NOW + timedelta(days=366)
PRESENT = NOW - timedelta(hours=2)
DAY = timedelta(days=1)


@pytest.mark.parametrize("at", [OLD, AHEAD], ids=["2019", "a year ahead"])
def test_it_lies_where_it_was_received_and_is_shown_when_it_happened(world: World, operator: Client, at: datetime) -> None:
    before = world.bench.rows("SELECT bucket FROM bucket ORDER BY 1")
    send(world, sent := call("other", at, "look_up", result="needle"))
    ((bucket, occurred, received),) = world.bench.rows("SELECT bucket, occurred_at, received_at FROM event WHERE item = 3")
    assert bucket == partitions.bucket_at(1, "month", NOW).number and (occurred, received) == (at, NOW)
    assert {row[0] for row in world.bench.rows("SELECT bucket FROM bucket")} <= {row[0] for row in before} | {bucket}  # no time of a sender
    key = world.only_key()
    for query in ("session_id=other", "customer_id=ACME", "q=needle", f"from={at:%Y-%m-%d}&to={at:%Y-%m-%d}"):
        assert shown(operator, f"/?{query}") == {"other"}
    assert shown(operator, f"/?from={PRESENT - DAY:%Y-%m-%d}&to={PRESENT + DAY:%Y-%m-%d}") == set()
    page = text(operator.get(f"/sessions/{key}"))
    assert f"{at.day} {at:%b %Y} {at:%H:%M:%S}" in page
    assert f"{NOW.day} {NOW:%b %Y} {NOW:%H:%M:%S}" in page.split("<dt>Received</dt>")[1].split("</dd>")[0]
    assert ("are dated up to 366 days later than they were received" in page) == (at == AHEAD)
    (event,) = world.api.json("events", session=key)["results"]
    assert world.api.json(f"events/{event['id']}/raw") == sent
    record = text(operator.get(f"/events/{event['id']}"))
    assert f"{at.day} {at:%b %Y} {at:%H:%M:%S}" in record and f"{NOW.day} {NOW:%b %Y} {NOW:%H:%M:%S}" in record.split("Received")[1]


def test_sessions_of_a_clock_that_is_ahead_are_found_by_their_gap(world: World, operator: Client) -> None:
    send(
        world,
        call("ahead", AHEAD, "t"),
        call("old", OLD, "t"),
        call("present", PRESENT, "t"),
        call("a little", NOW + timedelta(seconds=50), "t"),
    )
    found = world.api.json("sessions", gap="clock_after_receipt")["results"]
    assert [one["session_id"] for one in found] == ["ahead"]


# -- what the search page shows where nobody chose a range -------------------------------------------------------------------


def test_only_old_data_is_shown_by_itself(world: World, operator: Client) -> None:
    send(world, call("old", OLD, "t"), call("older", OLD - 30 * DAY, "t"))
    assert shown(operator, "/") == {"old"} and "30 days up to 1 Jun 2019" in text(operator.get("/"))


def test_the_present_is_shown_before_the_past_and_the_future_and_both_are_a_link_away(world: World, operator: Client) -> None:
    send(world, call("old", OLD, "t"), call("present", PRESENT, "t"), *(call(f"ahead{n}", AHEAD + n * DAY, "t") for n in range(25)))
    page = text(operator.get("/"))
    assert shown(operator, "/") == shown(operator, "/?tool=t") == {"present"}
    assert f"30 days up to {PRESENT.day} {PRESENT:%b %Y}" in page
    link = f"/?from={PRESENT + DAY:%Y-%m-%d}"
    assert f'dated later than now, by a clock that is ahead: <a href="{link}">show those</a>' in page
    assert len(shown(operator, link)) == 20 and "present" not in shown(operator, link)
    assert "old" in shown(operator, "/?range=all&limit=100") and "ahead0" in shown(operator, "/?range=all&limit=100")
    told = recorded(world)[2]["about"]["filters"]
    assert told == {"tool": "t", "from": f"{PRESENT - 29 * DAY:%Y-%m-%d}", "to": f"{PRESENT:%Y-%m-%d}"}
    results = json.loads(b"".join(operator.get("/results.json")))
    assert {row["session_id"] for row in results["results"]} == {"present"}  # the file holds what the page shows


def test_nothing_is_said_of_clocks_where_none_is_ahead_and_nothing_is_hidden_where_all_are(world: World, operator: Client) -> None:
    send(world, call("present", NOW + timedelta(hours=20), "t"))
    assert shown(operator, "/") == {"present"} and "clock that is ahead" not in text(operator.get("/"))
    world.bench.wipe()
    send(world, call("ahead", AHEAD, "t"))
    assert shown(operator, "/") == {"ahead"}
