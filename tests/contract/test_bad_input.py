"""Owns what every transport answers to bad input: never a redirect, never a 500, neighbours stored, nothing half-stored."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from auditlog.item import Rest, Span, Unreadable
from tests.contract import transports
from tests.contract.conftest import Receivers
from tests.contract.transports import JSON, PROTOBUF, send, send_raw, span, traces, traces_json

Count = Callable[[], int]
Items = Callable[[dict[str, str] | None], list[Any]]

# transport: (port of, path, content type, a good body)
HTTP: dict[str, tuple[str, str, str, Callable[[], bytes]]] = {
    "OTLP port, protobuf": ("otlp", "/v1/traces", PROTOBUF, lambda: traces(span())),
    "OTLP port, JSON": ("otlp", "/v1/traces", JSON, lambda: traces_json(span())),
    "web port, protobuf": ("web", "/v1/traces", PROTOBUF, lambda: traces(span())),
    "web port, REST": ("web", "/api/v1/events", JSON, lambda: rest_body(rest_event())),
}
pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

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
    assert isinstance(items_of(answer.receipt)[0], (Span, Rest))


@over_http
@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("unknown", 401, "key_unknown"),
        ("mistyped", 401, "key_unknown"),
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


@over_http
@pytest.mark.parametrize("cut", [1, 8, 20])
def test_truncated_gzip_is_400_and_stores_nothing(receivers: Receivers, transport: str, cut: int, events: Count) -> None:
    before = events()
    body = gzip.compress(HTTP[transport][3]())
    refused(post(receivers, transport, body[:-cut], content_encoding="gzip"), 400, "compression_broken")
    assert events() == before


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


@over_http
def test_sixty_five_mebibytes_are_413_over_every_encoding(receivers: Receivers, transport: str, events: Count) -> None:
    before = events()
    refused(post(receivers, transport, b" " * (65 * 1024 * 1024)), 413, "body_too_large")
    refused(post(receivers, transport, gzip.compress(b" " * (65 * 1024 * 1024), 1), content_encoding="gzip"), 413, "body_too_large")
    assert events() == before


def test_a_chunked_body_over_the_limit_is_413(receivers: Receivers) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = transports.raw_head("/v1/traces", receivers.keys["good"], "Transfer-Encoding: chunked")
    answer = send_raw(receivers.otlp, head + chunk * 65 + b"0\r\n\r\n", end=False)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("port", ["otlp", "web"])
@pytest.mark.parametrize("path", ["/v1/foo", "/v1/foo/", "/v1/metrics", "/v1/metrics/", "/v1/traces/more", "/", "/foo", "/foo/", "/v1"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_an_unknown_path_is_404_with_and_without_a_slash(receivers: Receivers, port: str, path: str, content_type: str) -> None:
    answer = send(getattr(receivers, port), path, traces(span()), key=receivers.keys["good"], content_type=content_type)
    assert answer.status == 404
    assert answer.headers["content-type"] == content_type
    assert answer.google_status().code in (grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0])


@over_http
def test_a_slash_at_the_end_of_the_path_changes_nothing(receivers: Receivers, transport: str) -> None:
    port, path, content_type, good = HTTP[transport]
    answer = send(getattr(receivers, port), path + "/", good(), key=receivers.keys["good"], content_type=content_type)
    assert answer.status == 200


def bad_among_good(transport: str) -> tuple[bytes, int]:
    """Three good items around a bad one, and its position."""
    good, bad = [span("good") for _ in range(3)], span("MARK")
    if "REST" in transport:
        return rest_body(rest_event(), rest_event(kind="no such kind"), rest_event(), rest_event()), 1
    if "JSON" in transport:
        return traces_json(good[0], good[1], bad, good[2]).replace(b"MARK", b"\\ud800"), 2
    return traces(good[0], good[1], bad, good[2]).replace(b"MARK", b"\xff\xff\xff\xff"), 2


@over_http
def test_one_bad_item_is_quarantined_and_its_neighbours_are_stored(receivers: Receivers, transport: str, items_of: Items) -> None:
    body, index = bad_among_good(transport)
    answer = post(receivers, transport, body)
    assert answer.status == 200
    if "REST" in transport:
        document = json.loads(answer.body)
        assert (document["accepted"], document["duplicates"], document["batch"]["count"]) == (3, 0, 4)
        assert [entry["index"] for entry in document["quarantined"]] == [index]
        assert document["quarantined"][0]["code"] == "field_invalid"
        assert document["quarantined"][0]["message"]
    else:
        rejected, message = answer.rejected()
        assert rejected == 1
        assert f"item {index}" in message
    stored = items_of(answer.receipt)
    assert len(stored) == 4
    bad = [item for item in stored if isinstance(item, Unreadable)]
    assert len(bad) == 1
    assert bad[0].raw in body


def test_over_grpc_one_bad_item_is_quarantined_and_its_neighbours_are_stored(receivers: Receivers, items_of: Items) -> None:
    body, _ = bad_among_good("protobuf")
    answer = transports.call(receivers.grpc, body, key=receivers.keys["good"])
    assert answer.code == grpc.StatusCode.OK
    assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 1
    stored = items_of(answer.receipt)
    assert sorted(type(item).__name__ for item in stored) == ["Span", "Span", "Span", "Unreadable"]
    assert [item.raw in body for item in stored if isinstance(item, Unreadable)] == [True]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("unknown", grpc.StatusCode.UNAUTHENTICATED),
        ("revoked", grpc.StatusCode.UNAUTHENTICATED),
        ("reading", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_over_grpc_a_wrong_key_stores_nothing(receivers: Receivers, key: str, code: grpc.StatusCode, events: Count) -> None:
    before = events()
    assert transports.call(receivers.grpc, traces(span()), key=receivers.keys[key]).code == code
    assert events() == before


def test_over_grpc_garbage_is_invalid_argument_and_not_internal(receivers: Receivers) -> None:
    answer = transports.call(receivers.grpc, b"\xff\xfegarbage", key=receivers.keys["good"])
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert answer.message.startswith("body_undecodable: ")


@pytest.mark.parametrize("compressed", [False, True])
def test_over_grpc_sixty_five_mebibytes_are_resource_exhausted_and_not_to_be_repeated(receivers: Receivers, compressed: bool) -> None:
    answer = transports.call(receivers.grpc, bytes(65 * 1024 * 1024), key=receivers.keys["good"], gzip=compressed)
    assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not {"google.rpc.retryinfo-bin", "grpc-status-details-bin"} & set(answer.trailers)
