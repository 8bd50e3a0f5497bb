"""Owns what every transport answers to bad input: never a redirect, never a 500, neighbours stored, nothing half-stored."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from auditlog.item import Log, Rest, Span, Unreadable
from tests.contract import transports
from tests.contract.conftest import Count, Items, Receivers
from tests.contract.transports import GRPC_EXPORT, JSON, PROTOBUF, logs, send, send_raw, span, traces
from tests.contract.ways import NAMES, OVER_GRPC, WAYS, Way, ask, bad, body, encode, message, one, over

JSON_TRACES, JSON_LOGS = Way("JSON", "traces"), Way("JSON", "logs")
# transport: (port of, path, content type, a good body)
HTTP: dict[str, tuple[str, str, str, Callable[[], bytes]]] = {
    "OTLP port, protobuf": ("otlp", "/v1/traces", PROTOBUF, lambda: traces(span())),
    "OTLP port, JSON": ("otlp", "/v1/traces", JSON, lambda: body(JSON_TRACES, one(JSON_TRACES))),
    "OTLP port, protobuf logs": ("otlp", "/v1/logs", PROTOBUF, lambda: logs()),
    "OTLP port, JSON logs": ("otlp", "/v1/logs", JSON, lambda: body(JSON_LOGS, one(JSON_LOGS))),
    "web port, protobuf": ("web", "/v1/traces", PROTOBUF, lambda: traces(span())),
    "web port, REST": ("web", "/api/v1/events", JSON, lambda: rest_body(rest_event())),
}
pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

proves = pytest.mark.conformance
over_http = pytest.mark.parametrize("transport", HTTP)


def rest_event(**members: Any) -> dict[str, Any]:
    return {"kind": "prompt", "at": "2026-03-01T10:00:00Z", "session_id": secrets.token_hex(8)} | members


def rest_body(*events: Any) -> bytes:
    return json.dumps({"events": events}).encode()


def post(receivers: Receivers, transport: str, body: bytes | None = None, *, key: str = "good", **headers: str) -> transports.Answer:
    port, path, content_type, good = HTTP[transport]
    body = good() if body is None else body
    return send(getattr(receivers, port), path, body, key=receivers.keys[key], content_type=content_type, **headers)


def refused(answer: transports.Answer, status: int, code: str) -> None:
    """An answer in the form of its transport, with the stable code."""
    assert answer.status == status, answer
    assert "x-auditlog-receipt" not in answer.headers
    if b'"error"' in answer.body:
        assert json.loads(answer.body)["error"]["code"] == code
    else:
        assert answer.google_status().message.startswith(f"{code}: ")


@over_http
def test_a_good_request_is_stored_and_has_a_receipt(receivers: Receivers, transport: str, items_of: Items) -> None:
    answer = post(receivers, transport)
    assert answer.status == 200
    assert answer.receipt is not None
    assert answer.receipt["count"] == "1"
    assert len(bytes.fromhex(answer.receipt["root"])) == 32
    assert isinstance(items_of(answer.receipt)[0], (Span, Log, Rest))


@proves(18)
@over_http
@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("unknown", 401, "key_unknown"),
        ("mistyped", 401, "key_unknown"),
        ("forged", 401, "key_unknown"),
        ("revoked", 401, "key_revoked"),
        ("expired", 401, "key_expired"),
        ("reading", 403, "scope_missing"),
    ],
)
def test_a_wrong_key_stores_nothing(receivers: Receivers, transport: str, key: str, status: int, code: str, events: Count) -> None:
    before = events()
    refused(post(receivers, transport, key=key), status, code)
    assert events() == before


@over_http
def test_a_large_body_with_a_wrong_key_is_read_to_its_end_so_that_the_sender_sees_the_answer(receivers: Receivers, transport: str) -> None:
    refused(post(receivers, transport, b"x" * 20_000_000, key="unknown"), 401, "key_unknown")


@proves(17, 19)
@over_http
def test_no_key_or_a_cookie_instead_of_one_is_401_and_no_login_page(receivers: Receivers, transport: str) -> None:
    port, path, content_type, good = HTTP[transport]
    for headers in ({}, {"cookie": "sessionid=expired"}):
        refused(send(getattr(receivers, port), path, good(), key=None, content_type=content_type, **headers), 401, "key_missing")


@over_http
def test_garbage_is_400_and_stores_nothing(receivers: Receivers, transport: str, events: Count) -> None:
    before = events()
    refused(post(receivers, transport, b"\xff\xfegarbage"), 400, "body_undecodable")
    assert events() == before


@proves(28)
@over_http
@pytest.mark.parametrize("cut", [1, 8, 20])
def test_truncated_gzip_is_400_and_stores_nothing(receivers: Receivers, transport: str, cut: int, events: Count) -> None:
    before = events()
    body = gzip.compress(HTTP[transport][3]())
    refused(post(receivers, transport, body[:-cut], content_encoding="gzip"), 400, "compression_broken")
    assert events() == before


@proves(37)
@over_http
@pytest.mark.parametrize("announced", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_shorter_than_announced_is_400_and_stores_nothing(
    receivers: Receivers, transport: str, announced: str, events: Count
) -> None:
    """Cut at the end of an item, so that what arrived could be read: it is still not what was sent."""
    before = events()
    port, path, content_type, good = HTTP[transport]
    body = good()
    if "chunked" in announced:
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n"
    head = transports.raw_head(path, receivers.keys["good"], announced, content_type=content_type)
    answer = send_raw(getattr(receivers, port), head + body, end=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body_truncated" in answer
    assert events() == before


@pytest.mark.parametrize("transport", ["web port, protobuf", "web port, REST"])
def test_sixty_five_mebibytes_are_413_on_the_web_port_too(receivers: Receivers, transport: str, events: Count) -> None:
    before = events()
    refused(post(receivers, transport, b" " * (65 * 1024 * 1024)), 413, "body_too_large")
    refused(post(receivers, transport, gzip.compress(b" " * (65 * 1024 * 1024), 1), content_encoding="gzip"), 413, "body_too_large")
    assert events() == before


@proves(15)
@pytest.mark.parametrize("port", ["otlp", "web"])
@pytest.mark.parametrize("path", ["/v1/foo", "/v1/foo/", "/v1/traces/more", "/", "/foo", "/foo/", "/v1"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_an_unknown_path_is_404_with_and_without_a_slash(receivers: Receivers, port: str, path: str, content_type: str) -> None:
    answer = send(getattr(receivers, port), path, traces(span()), key=receivers.keys["good"], content_type=content_type)
    assert answer.status == 404
    assert answer.headers["content-type"] == content_type
    assert answer.google_status().code == grpc.StatusCode.NOT_FOUND.value[0]


@proves(20)
@pytest.mark.parametrize("port", ["otlp", "web"])
@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/metrics/"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_metrics_are_404_because_that_is_not_repeated(receivers: Receivers, port: str, path: str, content_type: str) -> None:
    answer = send(getattr(receivers, port), path, b"", key=receivers.keys["good"], content_type=content_type)
    assert (answer.status, answer.headers["content-type"]) == (404, content_type)
    assert "retry-after" not in answer.headers
    assert answer.google_status().code == grpc.StatusCode.UNIMPLEMENTED.value[0]


@proves(16)
@over_http
def test_a_slash_at_the_end_of_the_path_changes_nothing(receivers: Receivers, transport: str) -> None:
    port, path, content_type, good = HTTP[transport]
    answer = send(getattr(receivers, port), path + "/", good(), key=receivers.keys["good"], content_type=content_type)
    assert answer.status == 200


def bad_among_good(transport: str) -> tuple[bytes, int]:
    """Three good items around a bad one, and its position."""
    if "REST" in transport:
        return rest_body(rest_event(), rest_event(kind="no such kind"), rest_event(), rest_event()), 1
    way = Way("JSON" if "JSON" in transport else "protobuf", "logs" if "logs" in transport else "traces")
    wrong, spoil = bad(way)
    return spoil(body(way, one(way, "good"), one(way, "good"), wrong, one(way, "good"))), 2


@over_http
def test_one_bad_item_is_quarantined_and_its_neighbours_are_stored(receivers: Receivers, transport: str, items_of: Items) -> None:
    sent, index = bad_among_good(transport)
    answer = post(receivers, transport, sent)
    assert answer.status == 200
    if "REST" in transport:
        document = json.loads(answer.body)
        assert (document["accepted"], document["duplicates"], document["batch"]["count"]) == (3, 0, 4)
        assert [entry["index"] for entry in document["quarantined"]] == [index]
        assert document["quarantined"][0]["code"] == "field_invalid"
        assert document["quarantined"][0]["message"]
    quarantined_among_four(items_of(answer.receipt), sent)


def quarantined_among_four(stored: list[Any], sent: bytes) -> None:
    assert len(stored) == 4
    (unreadable,) = (item for item in stored if isinstance(item, Unreadable))
    assert unreadable.raw in sent


@proves(64)
@over(WAYS)
def test_three_good_items_and_a_bad_one_are_three_and_one_in_quarantine(
    receivers: Receivers, way: Way, events: Count, items_of: Items
) -> None:
    before = events()
    wrong, spoil = bad(way)
    sent = spoil(body(way, one(way, "good"), one(way, "good"), wrong, one(way, "good")))
    reply = ask(receivers, way, sent)
    assert (reply.code, reply.rejected) == ("", 1)
    assert "item 2: " in reply.message
    assert events() == before + 4
    quarantined_among_four(items_of(reply.receipt), sent)


@proves(66)
@over(WAYS)
def test_only_bad_items_are_all_rejected_and_all_kept(receivers: Receivers, way: Way, items_of: Items) -> None:
    reply = ask(receivers, way, body(way, *[one(way, str(number), trace_id=b"short") for number in range(2)]))
    assert (reply.code, reply.rejected) == ("", 2)
    assert [type(item) for item in items_of(reply.receipt)] == [Unreadable, Unreadable]


def unreadable_resource(way: Way, count: int) -> bytes:
    """A request of so many items under a resource that cannot be read."""
    wrong, spoil = bad(way)
    if way.transport == "JSON":
        groups, parts, inner = NAMES[way.signal]
        resource = {"attributes": [{"key": "MARK"}]}
        return spoil(json.dumps({groups: [{"resource": resource, parts: [{inner: [{"traceId": "12"}] * count}]}]}).encode())
    request = message(way, *[wrong] * count)
    (group,) = request.resource_spans if way.signal == "traces" else request.resource_logs
    group.resource.attributes.add(key="MARK")
    return spoil(encode(way, request))


@proves(84)
@over(WAYS)
def test_the_answer_to_100000_rejected_items_stays_small(receivers: Receivers, way: Way, items_of: Items) -> None:
    """All in one resource that cannot be read, which is kept as a whole: that many rows would take longer than a sender waits."""
    reply = ask(receivers, way, unreadable_resource(way, 100_000))
    assert (reply.code, reply.rejected) == ("", 100_000)
    assert len(reply.message) < 4096
    assert len(items_of(reply.receipt)) == 1


@proves(84)
@over(WAYS)
def test_the_answer_to_many_items_that_are_rejected_one_by_one_stays_small(receivers: Receivers, way: Way) -> None:
    reply = ask(receivers, way, body(way, *[one(way, str(number), trace_id=b"short") for number in range(2_000)]))
    assert reply.rejected == 2_000
    assert len(reply.message) < 4096


@proves(17)
@over(OVER_GRPC)
def test_over_grpc_no_key_is_unauthenticated(receivers: Receivers, way: Way) -> None:
    answer = transports.call(receivers.grpc, body(way, one(way)), key=None, method=way.method)
    assert answer.code == grpc.StatusCode.UNAUTHENTICATED
    assert answer.message.startswith("key_missing: ")


@proves(18)
@over(OVER_GRPC)
@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("unknown", "key_unknown"), ("mistyped", "key_unknown"),
        ("forged", "key_unknown"), ("revoked", "key_revoked"), ("expired", "key_expired"),
        ("reading", "scope_missing"),
    ],
)  # fmt: skip
def test_over_grpc_a_wrong_key_stores_nothing(receivers: Receivers, way: Way, key: str, code: str, events: Count) -> None:
    before = events()
    assert ask(receivers, way, body(way, one(way)), key=key).code == code
    assert events() == before


@proves(20)
@pytest.mark.parametrize(
    "method", [GRPC_EXPORT.format("metrics", "Metrics"), "/opentelemetry.proto.collector.trace.v1.TraceService/Import"]
)
def test_over_grpc_what_is_not_stored_is_unimplemented(receivers: Receivers, method: str) -> None:
    answer = transports.call(receivers.grpc, b"", key=receivers.keys["good"], method=method)
    assert answer.code == grpc.StatusCode.UNIMPLEMENTED
    assert transports.retry_seconds(answer) is None
