"""Owns the checks of the search page: actions under their sessions, bars over time, and a page that keeps itself up to date."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

from django.test import Client

from auditlog.ingest import rest
from auditlog.item import SPAN, Unreadable
from auditlog.search import sessions
from auditlog.search.scope import Scope
from auditlog.search.spread import BARS, spread
from tests.db.api.conftest import World
from tests.db.api.test_access import said, text

DAY = datetime(2026, 3, 2, 10, tzinfo=UTC)


def send(world: World, *events: dict[str, Any]) -> None:
    world.bench.send(rest.read(json.dumps({"events": list(events)}).encode(), "application/json").items)
    world.bench.derive()


def call(session: str, at: datetime, name: str, number: int = 0, **tool: Any) -> dict[str, Any]:
    said = {"call_id": f"{session}-{number}", "name": name, "arguments": {}, "result": "done", **tool}
    return {"kind": "tool_call", "session_id": session, "customer_id": "ACME", "at": at.isoformat(), "tool": said}


def rows(page: str) -> list[str]:
    """The action rows of a ledger, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>", 1)[1], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_actions_stand_under_their_session_the_newest_first_and_lead_to_their_step(world: World, operator: Client) -> None:
    send(world, *(call("a", DAY + timedelta(minutes=n), f"tool_{n}", n) for n in range(6)), call("b", DAY + timedelta(days=1), "other"))
    page = text(operator.get("/"))
    assert [re.search(r"(tool_\d|other)", row)[0] for row in rows(page)] == ["other", "tool_5", "tool_4", "tool_3", "tool_2"]  # type: ignore[index]
    assert "6 tool calls, the last 4 shown" in page
    place = re.search(r'href="(/sessions/[^"]+#step-\d+)"[^>]*><span class="tool"><bdi>tool_5', page)
    assert place is not None
    address, anchor = place[1].split("#")
    assert f'id="{anchor}"' in text(operator.get(address)) and anchor == "step-6"


def test_a_filter_of_calls_shows_the_calls_that_match_and_says_so(world: World, operator: Client) -> None:
    send(world, *(call("a", DAY + timedelta(minutes=n), "refund" if n == 1 else "look", n) for n in range(5)))
    page = text(operator.get("/?tool=refund"))
    assert len(rows(page)) == 1 and "refund" in rows(page)[0] and "those that match shown" in page


def test_sessions_alone_are_one_row_each(world: World, operator: Client) -> None:
    send(world, *(call("a", DAY, "tool", n) for n in range(3)))
    page = text(operator.get("/?view=sessions"))
    assert len(rows(page)) == 1 and 'href="/"' in page and 'name="view" value="sessions"' in page


def test_a_call_that_was_never_offered_is_named_in_the_ledger_and_found_by_it(world: World, operator: Client) -> None:
    world.load("openinference/chat_hallucinated_tool", "openinference/chat_refund")
    page = text(operator.get("/"))
    (row,) = [row for row in rows(page) if "never offered" in row]
    assert "reverse_charge_immediately" in row
    (alone,) = rows(text(operator.get("/?check=not_offered")))
    assert "reverse_charge_immediately" in alone and "never offered" in alone
    found = world.api.json("actions", check="not_offered")["results"]
    assert [(one["tool"], one["offered"], one["arguments_valid"]) for one in found] == [("reverse_charge_immediately", False, None)]
    assert world.api.get("actions", check="strange").status_code == 400


# -- bars ----------------------------------------------------------------------------------------------------------------------


def test_bars_hold_every_session_once_and_lead_to_their_own(world: World, operator: Client) -> None:
    times = [DAY, DAY + timedelta(hours=1), DAY + timedelta(days=3), DAY + timedelta(days=3, hours=2), DAY + timedelta(days=9)]
    send(world, *(call(f"s{n}", at, "t") for n, at in enumerate(times)))
    found = spread(sessions.page(Scope(world.project.pk), {}, ahead=100).times)
    assert sum(bar.sessions for bar in found.bars) == len(times) and len(found.bars) <= BARS and not found.cut
    for at in times:
        (bar,) = [bar for bar in found.bars if bar.start <= at < bar.end]
        assert bar.sessions
    page = text(operator.get("/"))
    addresses = [unescape(one) for one in re.findall(r'<a href="(/\?from=[^"]+)"><title>', page)]
    assert len(addresses) == sum(bar.sessions > 0 for bar in found.bars)
    assert sum(len(rows(text(operator.get(address)))) for address in addresses) == len(times)


def test_one_moment_needs_no_bars(world: World, operator: Client) -> None:
    send(world, call("a", DAY, "t"), call("b", DAY, "t"))
    assert 'class="spread"' not in text(operator.get("/"))


# -- kept up to date -----------------------------------------------------------------------------------------------------------


def test_a_page_that_keeps_itself_up_to_date_gets_what_is_new_and_nothing_else(world: World, operator: Client) -> None:
    send(world, call("a", DAY, "first"))
    page = text(operator.get("/?live=1"))
    poll = unescape(re.search(r'hx-get="([^"]+)"', page)[1])  # type: ignore[index]
    before = len(said(world))
    assert operator.get(poll, headers={"HX-Request": "true"}).status_code == 204
    assert len(said(world)) == before  # nothing was shown
    send(world, call("b", DAY + timedelta(minutes=1), "second"))
    answer = operator.get(poll, headers={"HX-Request": "true"})
    part = text(answer)
    assert answer.status_code == 200 and part.startswith('<div id="ledger"') and "second" in part and "<html" not in part
    assert unescape(re.search(r'hx-get="([^"]+)"', part)[1]) != poll  # type: ignore[index]
    assert len(said(world)) == before + 1
    assert "htmx" in page and "htmx" not in text(operator.get("/"))


def test_what_was_received_and_is_not_read_yet_is_no_empty_project(world: World, operator: Client) -> None:
    assert "Nothing was received yet" in text(operator.get("/"))
    world.bench.send(rest.read(json.dumps({"events": [call("a", DAY, "t")]}).encode(), "application/json").items)
    page = text(operator.get("/"))
    assert "is being read" in page and "Nothing was received yet" not in page
    world.bench.derive()
    assert len(rows(text(operator.get("/")))) == 1


# -- what could not be read ----------------------------------------------------------------------------------------------------


def broken(number: int, code: str = "trace_id_invalid") -> Unreadable:
    return Unreadable(SPAN, "protobuf", b"\x0a\x01" + number.to_bytes(4), code, f"item {number}: the trace ID has 1 byte", number)


def test_what_could_not_be_read_is_listed_with_its_reason_and_kept_byte_for_byte(world: World, operator: Client) -> None:
    world.bench.send([broken(1), broken(2, "item_undecodable")])
    world.bench.derive()
    page = text(operator.get("/quarantine"))
    assert "item 1: the trace ID has 1 byte" in page and "item 2" in page and "that is all" in page
    assert "item 2" not in text(operator.get("/quarantine?code=trace_id_invalid"))
    place = re.search(r'href="(/events/[0-9a-f]{64})"><bdi>item 1', page)
    assert place is not None and "kept byte for byte" in text(operator.get(place[1]))
    raw = operator.get(f"/api/v1{place[1]}/raw")
    assert raw.content == b"\x0a\x01\x00\x00\x00\x01" and "attachment" in raw["Content-Disposition"]


def test_the_list_of_what_could_not_be_read_skips_nothing_and_repeats_nothing(world: World, operator: Client) -> None:
    world.bench.send([broken(n) for n in range(130)])  # one request: all received at the same time
    world.bench.derive()
    seen: list[str] = []
    address: str | None = "/quarantine?limit=50"
    while address:
        page = text(operator.get(address))
        seen += re.findall(r"item (\d+):", page)
        following = re.search(r'href="(\?[^"]+)" rel="next"', page)
        address = "/quarantine" + unescape(following[1]) if following else None
    assert sorted(map(int, seen)) == list(range(130))
    assert operator.get("/quarantine?cursor=nonsense").status_code == 400
    assert operator.get("/quarantine?bogus=1").status_code == 400
