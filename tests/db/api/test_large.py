"""Owns the checks of what the largest looks like where it is read: one span of 60 MiB, and a session of thousands of events."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime

import pytest
from django.test import Client

from auditlog.derive import timeline
from auditlog.item import STRING, Context, Item, Span
from auditlog.store import partitions
from tests.db.api.conftest import World
from tests.db.api.test_access import text

START = 1_790_000_000 * 10**9
MIB = 2**20


def tool(session: str, number: int, arguments: str, result: str) -> Span:
    at = START + number * 10**9
    said = {
        "session.id": session, "customer.id": "ACME", "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "read_file",
        "gen_ai.tool.call.id": f"c{number}", "gen_ai.tool.call.arguments": arguments, "gen_ai.tool.call.result": result,
    }  # fmt: skip
    attributes = [(key, STRING, value) for key, value in said.items()]
    return Span(Context(), b"\1" * 16, number.to_bytes(8), "execute_tool read_file", at, at + 10**8, attributes)


def test_a_span_of_sixty_mib_is_found_shown_in_part_and_kept_whole(world: World, operator: Client) -> None:
    result = secrets.token_hex(512) * (60 * MIB // 1024)
    now = datetime.now(UTC)
    world.bench.send([tool("large", 1, '{"path": "needle.txt"}', result)], now)
    world.bench.derive()
    assert world.bench.rows("SELECT error, tool_calls FROM session") == [("", 1)]
    assert world.bench.rows("SELECT bucket FROM event WHERE item = 1") == [(partitions.bucket_at(1, "month", now).number,)]
    key = world.only_key()
    for query in ("q=needle.txt", "session_id=large", "customer_id=ACME"):
        assert f"/sessions/{key}" in text(operator.get(f"/?{query}"))
    page = text(operator.get(f"/sessions/{key}"))
    assert len(page) < MIB and f"Shown are the first 200,000 of {len(result):,} characters" in page
    (record,) = re.findall(r'href="(/events/[0-9a-f]+)"', page)
    assert len(text(operator.get(record))) < 2 * MIB
    (event,) = world.api.json("events", session=key)["results"]
    ((sent,),) = [scope["spans"] for scope in world.api.json(f"events/{event['id']}/raw")["resourceSpans"][0]["scopeSpans"]]
    assert {pair["key"]: pair["value"]["stringValue"] for pair in sent["attributes"]}["gen_ai.tool.call.result"] == result
    (step,) = world.api.json(f"sessions/{key}/timeline")["steps"]
    assert step["tool"]["result"] == result  # the API cuts nothing


def test_a_session_of_many_events_opens_a_page_at_a_time_and_says_where_it_ends(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MOST_EVENTS", 800)
    items: list[Item] = [tool("long", n, json.dumps({"order": f"A-{n:05d}"}), f"credited {n}") for n in range(1, 1_201)]
    for start in range(0, 1_200, 400):
        assert world.bench.send(items[start : start + 400]).stored == 400
    world.bench.derive()
    key = world.only_key()
    assert world.bench.rows("SELECT tool_calls, parts, error FROM session") == [(800, 5, "")]
    page = text(operator.get(f"/sessions/{key}"))
    assert len(page) < MIB and 'id="step-200"' in page and 'id="step-201"' not in page
    assert "Not shown: everything after the first 800 events." in page
    assert 'id="step-800"' in text(operator.get(f"/sessions/{key}?page=4"))
    assert f"/sessions/{key}" in text(operator.get("/?q=A-00800"))
    found = world.api.json(f"sessions/{key}/timeline")
    assert [step["tool"]["result"] for step in found["steps"]] == [f"credited {n}" for n in range(1, 801)]
    assert "session_cut" in {gap["code"] for gap in found["completeness"]["gaps"]}
    listed: list[str] = []
    following = f"/api/v1/events?session={key}&limit=200"
    while following:  # every event is there, whatever the timeline has left
        events = json.loads(world.api.client.get(following, headers=world.api.headers).content)
        listed += [event["id"] for event in events["results"]]
        following = events["next"]
    assert len(listed) == len(set(listed)) == 1_200
