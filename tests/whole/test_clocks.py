"""Owns what becomes of times that cannot be, on the running service: stored as sent over every transport, flagged where they are read."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.contract import transports, ways
from tests.contract.ways import WAYS, Way, over
from tests.service import Service

START = 1_700_000_000 * 10**9


def send(service: Service, way: Way, *members: ways.One) -> str:
    """The batch."""
    sent, key = ways.body(way, *members), service.first_run["ingest_key"]
    if way.transport == "gRPC":
        receipt = transports.call(service.grpc, sent, key=key, method=way.method).receipt
    else:
        receipt = transports.send(service.otlp, way.path, sent, key=key, content_type=way.content_type).receipt
    assert receipt and receipt["count"] == str(len(members))
    return receipt["batch"]


@pytest.mark.conformance(92)
@over([way for way in WAYS if way.signal == "traces"])
def test_an_end_before_the_start_and_a_start_of_nothing_are_stored_and_flagged(whole: Service, way: Way) -> None:
    session, trace_id = secrets.token_hex(8), secrets.token_bytes(16)
    backwards = ways.one(way, "backwards", trace_id=trace_id, start_time_unix_nano=START, end_time_unix_nano=START - 10**9)
    never = ways.one(way, "never", trace_id=trace_id, start_time_unix_nano=0, end_time_unix_nano=0)
    for one in (backwards, never):
        one.attributes.add(key="gen_ai.conversation.id").value.string_value = session
        one.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
    batch = send(whole, way, backwards, never)
    listed = {event["name"]: event for event in whole.get(f"/api/v1/events?batch={batch}")["results"]}
    assert listed["backwards"]["occurred_at"].startswith("2023-11-14T22:13:20")
    assert listed["never"]["occurred_at"] is None  # and not 1970
    for name, start, end in (("backwards", START, START - 10**9), ("never", 0, 0)):
        original = json.dumps(whole.get(f"/api/v1/events/{listed[name]['id']}/raw"))
        assert (f'"endTimeUnixNano": "{end}"' in original) == bool(end)
        assert (f'"startTimeUnixNano": "{start}"' in original) == bool(start)
    whole.settle()
    (found,) = whole.get(f"/api/v1/sessions?session_id={session}")["results"]
    gaps = whole.get(f"/api/v1/sessions/{found['key']}/timeline")["completeness"]["gaps"]
    (clock,) = (gap for gap in gaps if gap["code"] == "clock_end_before_start")
    assert clock["count"] == 1


@pytest.mark.conformance(92)
@over([way for way in WAYS if way.signal == "logs"])
def test_a_log_record_of_no_time_is_stored_and_shown_without_one(whole: Service, way: Way) -> None:
    batch = send(whole, way, ways.one(way, "never", time_unix_nano=0))
    (event,) = whole.get(f"/api/v1/events?batch={batch}")["results"]
    assert event["occurred_at"] is None
