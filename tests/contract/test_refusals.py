"""Owns the form of every refusal over HTTP: a google.rpc.Status in the encoding of the request, whichever path, port, Host or state."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from auditlog.errors import CODES, INVALID, UNAVAILABLE
from tests.contract import transports
from tests.contract.conftest import Receivers
from tests.contract.transports import send, send_raw
from tests.contract.ways import OVER_HTTP, Way, body, one, over

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
proves = pytest.mark.conformance
both_ports = pytest.mark.parametrize("port", ["otlp", "web"])

# what is asked otherwise than a good request, and the code it is refused with
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"key": None}, "key_missing"),
    ({"key": None, "cookie": "sessionid=expired"}, "key_missing"),
    ({"key": "unknown"}, "key_unknown"),
    ({"key": "forged"}, "key_unknown"),
    ({"key": "revoked"}, "key_revoked"),
    ({"key": "expired"}, "key_expired"),
    ({"key": "reading"}, "scope_missing"),
    ({"method": "GET"}, "method_not_allowed"),
    ({"method": "PUT"}, "method_not_allowed"),
    ({"path": "/v1/foo"}, "not_found"),
    ({"path": "/v1/metrics"}, "signal_unsupported"),
    ({"path": "/"}, "not_found"),
    ({"path": "/login"}, "not_found"),
    ({"path": "/login", "host": "evil.example"}, "not_found"),
    ({"content_encoding": "br"}, "content_encoding_unsupported"),
    ({"content_encoding": "gzip"}, "compression_broken"),
    ({"content_encoding": "gzip", "body": gzip.compress(bytes(64 * 1024 * 1024 + 1))}, "body_too_large"),
    ({"body": b"\xff\xfegarbage"}, "body_undecodable"),
]


def status_of(answer: transports.Answer, way: Way) -> Status:
    """The Status of a refusal; its details are the same in both encodings."""
    assert answer.headers["content-type"] == way.content_type
    status = answer.google_status()
    code = status.message.partition(": ")[0]
    assert (answer.status, status.code) == (CODES[code].http, CODES[code].grpc)
    if way.transport == "JSON":
        names = [detail["@type"].rpartition(".")[2] for detail in json.loads(answer.body)["details"]]
    else:
        names = [detail.type_url.rpartition(".")[2] for detail in status.details]
    more = {INVALID: [BadRequest], UNAVAILABLE: [RetryInfo]}.get(status.code, [])
    assert names == ["ErrorInfo", *(kind.DESCRIPTOR.name for kind in more)]
    return status


@proves(67, 68)
@both_ports
@over(OVER_HTTP)
def test_every_refusal_is_a_status_in_the_encoding_of_the_request(receivers: Receivers, way: Way, port: str) -> None:
    good = body(way, one(way))
    for odd, code in REFUSED:
        asked = {"path": way.path, "body": good, "key": "good", "content_type": way.content_type} | odd
        key = receivers.keys[asked["key"]] if asked["key"] else None
        answer = send(getattr(receivers, port), asked.pop("path"), asked.pop("body"), **asked | {"key": key})
        assert status_of(answer, way).message.startswith(f"{code}: "), (odd, answer)


@proves(67, 68)
@both_ports
@over(OVER_HTTP)
def test_a_body_that_broke_off_and_a_database_that_is_away_are_told_in_the_same_form(receivers: Receivers, way: Way, port: str) -> None:
    head = transports.raw_head(way.path, receivers.keys["good"], "Content-Length: 1000", content_type=way.content_type)
    sent = send_raw(getattr(receivers, port), head + b"short", end=True)
    top, _, rest = sent.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in top.decode().split("\r\n")[1:])
    assert status_of(transports.Answer(int(top.split()[1]), headers, rest), way).message.startswith("body_truncated: ")
    receivers.door.shut()
    answer = send(getattr(receivers, port), way.path, body(way, one(way)), key=receivers.keys["good"], content_type=way.content_type)
    assert status_of(answer, way).message.startswith("store_unavailable: ")


@proves(67)
@over(OVER_HTTP)
def test_a_host_that_is_not_ours_keeps_no_exporter_from_storing(receivers: Receivers, way: Way) -> None:
    """Django would answer 400 with a page; it is never asked."""
    answer = send(
        receivers.web, way.path, body(way, one(way)), key=receivers.keys["good"], content_type=way.content_type, host="evil.example"
    )
    assert (answer.status, answer.headers["content-type"]) == (200, way.content_type)


@proves(15)
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/traces", "/api/v1/traces/"])
@over(OVER_HTTP)
def test_no_path_beside_the_api_leads_elsewhere(receivers: Receivers, way: Way, path: str) -> None:
    answer = send(receivers.web, path, body(way, one(way)), key=receivers.keys["good"], content_type=way.content_type)
    assert answer.status == 404
    assert "location" not in answer.headers


@proves(67)
@both_ports
@pytest.mark.parametrize("sent", [b"no HTTP at all\r\n\r\n", b"POST /v1/traces HTTP/1.1\r\nContent-Length: many\r\n\r\n"])
def test_what_is_no_http_is_refused_without_a_body(receivers: Receivers, port: str, sent: bytes) -> None:
    """By the HTTP server: no encoding of an answer can be known, and a body of no bytes is a Status in protobuf."""
    answer = send_raw(getattr(receivers, port), sent, end=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert Status.FromString(answer.partition(b"\r\n\r\n")[2]) == Status()
