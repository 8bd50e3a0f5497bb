"""Owns the rest of what OTLP/HTTP answers: media types, methods, encodings, answers that are large or gzip."""

from __future__ import annotations

import gzip
import json
import secrets
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from auditlog.item import Log, Span
from tests.contract import transports
from tests.contract.conftest import Receivers
from tests.contract.transports import JSON, PROTOBUF, logs, send, span, traces, traces_json

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

Items = Callable[[dict[str, str] | None], list[Any]]


def post(receivers: Receivers, body: bytes, path: str = "/v1/traces", **more: Any) -> transports.Answer:
    return send(receivers.otlp, path, body, key=receivers.keys["good"], **more)


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=UTF-8"])
def test_json_is_known_with_a_charset_and_in_capitals(receivers: Receivers, content_type: str) -> None:
    answer = post(receivers, traces_json(span()), content_type=content_type)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, JSON, b"{}")


def test_protobuf_is_answered_with_an_empty_message(receivers: Receivers) -> None:
    answer = post(receivers, traces(span()))
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, PROTOBUF, b"")


def test_logs_are_stored(receivers: Receivers, items_of: Items) -> None:
    answer = post(receivers, logs(3), "/v1/logs")
    assert answer.status == 200
    assert ExportLogsServiceResponse.FromString(answer.body) == ExportLogsServiceResponse()
    assert [type(item) for item in items_of(answer.receipt)] == [Log] * 3


def test_a_bad_log_record_is_counted_as_a_log_record(receivers: Receivers) -> None:
    answer = post(receivers, b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"12"},{}]}]}]}', "/v1/logs", content_type=JSON)
    assert json.loads(answer.body)["partialSuccess"]["rejectedLogRecords"] == "1"


@pytest.mark.parametrize(("content_type", "body"), [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b'{"resourceSpans":[]}'), (PROTOBUF, b"\n\0")])
def test_a_request_without_items_is_200_without_a_receipt(receivers: Receivers, content_type: str, body: bytes) -> None:
    answer = post(receivers, body, content_type=content_type)
    assert answer.status == 200
    assert answer.receipt is None


def test_a_misspelt_member_is_hinted_at_without_a_rejection(receivers: Receivers) -> None:
    rejected, message = post(receivers, b'{"resource_spans":[]}', content_type=JSON).rejected()
    assert rejected == 0
    assert "resourceSpans" in message


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"])
def test_other_media_types_are_415_with_a_status(receivers: Receivers, content_type: str | None) -> None:
    answer = post(receivers, traces(span()), content_type=content_type)
    assert answer.status == 415
    assert answer.google_status().message.startswith("content_type_unsupported: ")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_other_methods_are_405_with_allow(receivers: Receivers, method: str, content_type: str) -> None:
    answer = post(receivers, b"", method=method, content_type=content_type)
    assert (answer.status, answer.headers["allow"], answer.headers["content-type"]) == (405, "POST", content_type)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.google_status().message.startswith("method_not_allowed: ")


@pytest.mark.parametrize("path", ["/v1/traces", "/api/v1/events"])
def test_a_json_body_as_protobuf_or_the_reverse_is_refused(receivers: Receivers, path: str) -> None:
    if path == "/v1/traces":
        assert post(receivers, traces_json(span())).google_status().message.startswith("body_undecodable: ")
    answer = post(receivers, traces(span()), path, content_type=JSON)
    assert answer.status == 400
    assert b"body_undecodable" in answer.body


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_every_encoding_is_stored_as_what_was_packed(receivers: Receivers, encoding: str, content_type: str, items_of: Items) -> None:
    name = secrets.token_hex(8)
    body = (traces if content_type == PROTOBUF else traces_json)(span(name))
    answer = post(receivers, PACK[encoding](body), content_type=content_type, content_encoding=encoding)
    assert answer.status == 200
    item = items_of(answer.receipt)[0]
    assert isinstance(item, Span)
    assert item.name == name


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "compress"])
def test_other_encodings_are_415(receivers: Receivers, encoding: str) -> None:
    assert post(receivers, traces(span()), content_encoding=encoding).status == 415


def test_a_body_of_exactly_the_limit_is_taken(receivers: Receivers) -> None:
    body = b"{" + b" " * (64 * 1024 * 1024 - 2) + b"}"
    assert post(receivers, body, content_type=JSON).status == 200
    assert post(receivers, gzip.compress(body, 1), content_type=JSON, content_encoding="gzip").status == 200
    assert post(receivers, body + b" ", content_type=JSON).status == 413


def test_bombs_are_413_and_leave_the_service_small(receivers: Receivers) -> None:
    gzipped = gzip.compress(bytes(64 * 1024 * 1024 + 1))
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(640 * 1024 * 1024))
    for _ in range(5):
        assert post(receivers, gzipped, content_encoding="gzip").status == 413
        assert post(receivers, packed, content_encoding="zstd").status == 413
    assert post(receivers, traces(span())).status == 200


def test_all_items_rejected_is_200_and_all_are_kept(receivers: Receivers, items_of: Items) -> None:
    answer = post(receivers, traces(span(trace_id=b""), span(span_id=b"")))
    assert answer.rejected()[0] == 2
    assert len(items_of(answer.receipt)) == 2


def test_the_answer_to_many_rejected_items_stays_small(receivers: Receivers) -> None:
    answer = post(receivers, traces(*[span(str(number), trace_id=b"") for number in range(5000)]))
    assert answer.rejected()[0] == 5000
    assert len(answer.body) < 4096


def test_the_same_span_id_with_other_content_is_kept_beside_it(receivers: Receivers, items_of: Items) -> None:
    first = span("first")
    second = span("second", trace_id=first.trace_id, span_id=first.span_id)
    assert post(receivers, traces(first)).status == 200
    assert items_of(post(receivers, traces(second)).receipt)[0].name == "second"


def test_a_span_of_a_thousand_events_and_ten_thousand_attributes_is_stored_whole(receivers: Receivers, items_of: Items) -> None:
    large = span("large")
    for number in range(10_000):
        large.attributes.add(key=f"k{number}").value.int_value = number
    large.attributes.add(key="long").value.string_value = "x\0" * 500_000
    for number in range(1_000):
        large.events.add(time_unix_nano=2**64 - 1, name=str(number))
    item = items_of(post(receivers, traces(large)).receipt)[0]
    assert (len(item.attributes), len(item.events), item.events[-1].time) == (10_001, 1_000, 2**64 - 1)
    assert item.attributes[-1][2] == "x\0" * 500_000


def test_x_api_key_is_as_good_as_authorization(receivers: Receivers) -> None:
    assert send(receivers.otlp, "/v1/traces", traces(span()), key=None, x_api_key=receivers.keys["good"]).status == 200
    assert transports.call(receivers.grpc, traces(span()), key=receivers.keys["good"], header="x-api-key").code.name == "OK"


def test_a_revoked_key_ends_within_seconds(receivers: Receivers) -> None:
    import time

    from auditlog import keys
    from auditlog.store.connect import connect

    made = keys.make()
    with connect("owner", autocommit=True) as connection:
        connection.execute(
            "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
            "SELECT %s, project_id, 'to be revoked', '{ingest}', %s, now() FROM api_key WHERE public_id = %s",
            (made.public_id, made.digest, keys.parse(receivers.keys["good"])),
        )
        assert send(receivers.otlp, "/v1/traces", traces(span()), key=made.text).status == 200
        connection.execute("UPDATE api_key SET revoked_at = now() WHERE public_id = %s", (made.public_id,))
        used = connection.execute("SELECT last_used_at IS NOT NULL FROM api_key WHERE public_id = %s", (made.public_id,)).fetchone()
        assert used == (True,)
    deadline = time.monotonic() + 10
    while send(receivers.otlp, "/v1/traces", traces(span()), key=made.text).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
