"""Owns what OTLP/HTTP answers to heads and bodies: media types, methods, keys, encodings, sizes; and to requests that hold nothing."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import zstandard

from auditlog import governance, keys
from auditlog.ingest import auth
from auditlog.store.connect import connect
from tests.contract import transports, ways
from tests.contract.conftest import Count, Items, Receivers
from tests.contract.transports import JSON, send, span, traces
from tests.contract.ways import AS_JSON, AS_PROTOBUF, OVER_HTTP, WAYS, Way, ask, body, one, over
from tests.strategies import as_request, singles

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
proves = pytest.mark.conformance

LIMIT = 64 * 1024 * 1024


def post(receivers: Receivers, way: Way, sent: bytes, content_type: str | None = None, **more: Any) -> transports.Answer:
    return send(receivers.otlp, way.path, sent, key=receivers.keys["good"], content_type=content_type or way.content_type, **more)


FIRST = [
    pytest.param(Way("protobuf", "traces"), marks=proves(1)),
    pytest.param(Way("protobuf", "logs"), marks=proves(2)),
    pytest.param(Way("JSON", "traces"), marks=proves(3)),
    pytest.param(Way("JSON", "logs"), marks=proves(4)),
]


@proves(68)
@pytest.mark.parametrize("way", FIRST, ids=str)
def test_a_valid_request_is_answered_with_an_empty_message_of_its_encoding(receivers: Receivers, way: Way, items_of: Items) -> None:
    answer = post(receivers, way, body(way, one(way, "first"), one(way)))
    assert (answer.status, answer.headers["content-type"]) == (200, way.content_type)
    assert answer.body == (b"{}" if way.transport == "JSON" else b"")
    assert {ways.name_of(item) for item in items_of(answer.receipt)} == {"first", "a"}


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("application/json; charset=utf-8", marks=proves(9)),
        pytest.param("APPLICATION/JSON", marks=proves(10)),
        "application/json;charset=UTF-8",
    ],
)
@over(AS_JSON)
def test_json_is_known_with_a_charset_and_in_capitals(receivers: Receivers, way: Way, content_type: str, items_of: Items) -> None:
    answer = post(receivers, way, body(way, one(way)), content_type)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, JSON, b"{}")
    assert len(items_of(answer.receipt)) == 1


@proves(5)
@over(AS_PROTOBUF)
def test_a_protobuf_body_of_no_bytes_is_no_error(receivers: Receivers, way: Way) -> None:
    answer = post(receivers, way, b"")
    assert (answer.status, answer.body, answer.receipt) == (200, b"", None)


@over(AS_JSON)
@pytest.mark.parametrize(("sent", "status"), [pytest.param(b"{}", 200, marks=proves(6)), pytest.param(b"", 400, marks=proves(7))])
def test_an_empty_json_object_is_no_error_and_no_json_is_one(receivers: Receivers, way: Way, sent: bytes, status: int) -> None:
    reply = ask(receivers, way, sent)
    assert (reply.http, reply.code, reply.receipt) == (status, "" if status == 200 else "body_undecodable", None)


@proves(8)
@over(WAYS)
def test_groups_without_items_are_no_error_and_store_nothing(receivers: Receivers, way: Way, events: Count) -> None:
    before = events()
    groups, parts, inner = ways.NAMES[way.signal]
    empty = [b"\n\0", b"\n\2\x12\0"]
    if way.transport == "JSON":
        listed: list[list[Any]] = [[], [{}], [{parts: []}], [{parts: [{inner: []}]}]]
        empty = [json.dumps({groups: told}).encode() for told in listed]
    for sent in empty:
        reply = ask(receivers, way, sent)
        assert (reply.code, reply.rejected, reply.receipt) == ("", 0, None)
    assert events() == before


@proves(65)
@over(AS_JSON)
def test_a_misspelt_member_is_hinted_at_without_a_rejection(receivers: Receivers, way: Way) -> None:
    reply = ask(receivers, way, b'{"resource_spans":[]}')
    assert (reply.code, reply.rejected) == ("", 0)
    assert "resourceSpans" in reply.message


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(None, marks=proves(11)),
        pytest.param("text/plain", marks=proves(12)),
        "application/x-www-form-urlencoded",
        "application/x-ndjson",
    ],
)
@over(AS_PROTOBUF)
def test_other_media_types_are_415_with_a_status(receivers: Receivers, way: Way, content_type: str | None) -> None:
    answer = send(receivers.otlp, way.path, body(way, one(way)), key=receivers.keys["good"], content_type=content_type)
    assert answer.status == 415
    assert answer.google_status().message.startswith("content_type_unsupported: ")


@proves(14)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
@over(OVER_HTTP)
def test_other_methods_are_405_with_allow(receivers: Receivers, method: str, way: Way) -> None:
    answer = post(receivers, way, b"", method=method)
    assert (answer.status, answer.headers["allow"], answer.headers["content-type"]) == (405, "POST", way.content_type)
    assert answer.google_status().message.startswith("method_not_allowed: ")


@proves(90)
@pytest.mark.parametrize("port", ["otlp", "web"])
@over(OVER_HTTP)
def test_a_page_of_another_origin_is_not_allowed_to_send(receivers: Receivers, port: str, way: Way) -> None:
    asked = {"origin": "https://evil.example", "access_control_request_method": "POST", "access_control_request_headers": "x-api-key"}
    answer = send(getattr(receivers, port), way.path, b"", key=None, method="OPTIONS", content_type=way.content_type, **asked)
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@proves(13)
@over(AS_PROTOBUF)
def test_a_json_body_as_protobuf_is_refused(receivers: Receivers, way: Way) -> None:
    twin = Way("JSON", way.signal)
    reply = ask(receivers, way, body(twin, one(twin)))
    assert (reply.http, reply.code) == (400, "body_undecodable")


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/api/v1/events"])
def test_a_protobuf_body_as_json_is_refused(receivers: Receivers, path: str) -> None:
    answer = send(receivers.otlp, path, traces(span()), key=receivers.keys["good"], content_type=JSON)
    assert answer.status == 400
    assert b"body_undecodable" in answer.body


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}
MARKS = {
    ("gzip", "protobuf"): proves(21), ("gzip", "JSON"): proves(22),
    "zstd": proves(23), "deflate": proves(24), "identity": proves(25),
}  # fmt: skip
PACKED = [
    pytest.param(encoding, way, marks=MARKS.get(encoding) or MARKS[encoding, way.transport], id=f"{encoding} {way}")
    for encoding in PACK
    for way in OVER_HTTP
]


@pytest.mark.parametrize(("encoding", "way"), PACKED)
def test_every_encoding_is_stored_as_what_was_packed(receivers: Receivers, encoding: str, way: Way, items_of: Items) -> None:
    sent = ways.message(way, ways.with_value(way, "packed", string_value="\0ä" * 1000))
    reply = ask(receivers, way, PACK[encoding](ways.encode(way, sent)), content_encoding=encoding)
    assert [as_request(item) for item in items_of(reply.receipt)] == singles(sent, way.number)


@pytest.mark.parametrize("encoding", [pytest.param("br", marks=proves(26)), pytest.param("gzip, gzip", marks=proves(30)), "compress"])
@over(OVER_HTTP)
def test_other_encodings_are_415(receivers: Receivers, encoding: str, way: Way) -> None:
    reply = ask(receivers, way, body(way, one(way)), content_encoding=encoding)
    assert (reply.http, reply.code) == (415, "content_encoding_unsupported")


def wide(data: bytes) -> bytes:
    """zstd that makes its reader hold a window of 128 MiB."""
    compressor = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj()
    return compressor.compress(data) + compressor.flush()


BROKEN: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "said to be gzip": ("gzip", bytes),
    "cut off": ("gzip", lambda data: gzip.compress(data)[:-1]),
    "a wide window": ("zstd", wide),
}


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("said to be gzip", marks=proves(27)),
        pytest.param("cut off", marks=proves(28)),
        pytest.param("a wide window", marks=proves(35)),
    ],
)
@over(OVER_HTTP)
def test_what_cannot_be_unpacked_is_400_and_stores_nothing(receivers: Receivers, how: str, way: Way, events: Count) -> None:
    before = events()
    encoding, spoil = BROKEN[how]
    reply = ask(receivers, way, spoil(body(way, one(way))), content_encoding=encoding)
    assert (reply.http, reply.code) == (400, "compression_broken")
    assert events() == before


@proves(29)
@over(OVER_HTTP)
def test_gzip_of_several_members_is_stored_whole(receivers: Receivers, way: Way, items_of: Items) -> None:
    sent = body(way, *[one(way, str(number)) for number in range(5)])
    third = len(sent) // 3
    packed = b"".join(gzip.compress(part) for part in (sent[:third], sent[third : 2 * third], sent[2 * third :]))
    found = items_of(ask(receivers, way, packed, content_encoding="gzip").receipt)
    assert {ways.name_of(item) for item in found} == set("01234")


def of_size(way: Way, size: int) -> bytes:
    """A request of so many bytes: an item, and beside it what is to be ignored."""
    sent = body(way, one(way))
    if way.transport == "JSON":
        return sent + b" " * (size - len(sent))
    rest = size - len(sent) - 5  # field 15, and its length in four bytes
    return sent + b"\x7a" + bytes(rest >> shift & 127 | (128 if shift < 21 else 0) for shift in (0, 7, 14, 21)) + bytes(rest)


@over(WAYS)
@proves(31)
def test_a_body_of_exactly_the_limit_is_taken(receivers: Receivers, way: Way) -> None:
    sent = of_size(way, LIMIT)
    assert len(sent) == LIMIT
    reply = ask(receivers, way, sent)
    assert reply.code == "" and reply.receipt and reply.receipt["count"] == "1"


@over(OVER_HTTP)
@proves(32)
def test_one_byte_more_than_the_limit_is_413(receivers: Receivers, way: Way, events: Count) -> None:
    before = events()
    sent = of_size(way, LIMIT + 1)
    for packed, encoding in ((sent, "identity"), (gzip.compress(sent, 1), "gzip")):
        reply = ask(receivers, way, packed, content_encoding=encoding)
        assert (reply.http, reply.code) == (413, "body_too_large")
    assert events() == before


@proves(36)
@over(OVER_HTTP)
def test_a_chunked_body_a_byte_over_the_limit_is_413(receivers: Receivers, way: Way) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = transports.raw_head(way.path, receivers.keys["good"], "Transfer-Encoding: chunked", content_type=way.content_type)
    answer = transports.send_raw(receivers.otlp, head + chunk * 64 + b"1\r\n \r\n0\r\n\r\n", end=False)
    assert answer.startswith(b"HTTP/1.1 413 ")


@cache
def bombs(encoding: str) -> list[bytes]:
    """One that is a byte too large, of 65 KB; and ten times as much."""
    if encoding == "gzip":
        one_too_many = gzip.compress(bytes(LIMIT + 1))
        return [one_too_many, one_too_many * 10]
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    return [compressor.compress(bytes(size)) for size in (LIMIT + 1, 10 * LIMIT)]


@over(OVER_HTTP)
@pytest.mark.parametrize("encoding", [pytest.param("gzip", marks=proves(33)), pytest.param("zstd", marks=proves(34))])
def test_bombs_are_413_and_leave_the_service_small(receivers: Receivers, encoding: str, way: Way) -> None:
    (worker,) = psutil.Process(receivers.processes["otlp"].pid).children()
    proc = Path(f"/proc/{worker.pid}")
    (proc / "clear_refs").write_text("5")  # the peak begins anew
    before = worker.memory_info().rss
    for bomb in bombs(encoding):
        assert ask(receivers, way, bomb, content_encoding=encoding).http == 413
    (peak,) = (line.split()[1] for line in (proc / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    assert int(peak) * 1024 - before < 3 * LIMIT  # what may be unpacked, twice while it is put together, and the rest of a request
    assert ask(receivers, way, body(way, one(way))).code == ""


@proves(83)
@over(OVER_HTTP)
def test_an_answer_can_be_read_by_whoever_takes_gzip(receivers: Receivers, way: Way) -> None:
    answer = post(receivers, way, body(way, one(way)), accept_encoding="gzip")
    assert answer.status == 200
    assert "content-encoding" not in answer.headers
    assert ways.said(way, answer.body) == (0, "")


@proves(89)
@over(WAYS)
@pytest.mark.parametrize("header", ["authorization", "x-api-key", "X-API-Key"])
def test_one_key_is_accepted_under_both_names_whatever_the_transport(receivers: Receivers, way: Way, header: str) -> None:
    key, sent = receivers.keys["good"], body(way, one(way))
    if way.transport == "gRPC":
        assert transports.call(receivers.grpc, sent, key=key, header=header.lower(), method=way.method).receipt
    else:
        value = f"Bearer {key}" if header == "authorization" else key
        assert send(receivers.otlp, way.path, sent, key=None, content_type=way.content_type, **{header: value}).status == 200


def test_that_a_key_was_used_is_recorded_once_a_day_and_only_then_noted(receivers: Receivers) -> None:
    made = keys.make()
    with connect("owner", autocommit=True) as connection:
        connection.execute(
            "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
            "SELECT %s, project_id, 'used', '{ingest}', %s, now() FROM api_key WHERE public_id = %s",
            (made.public_id, made.digest, keys.parse(receivers.keys["good"])),
        )
        recorded = f"SELECT count(*) FROM event WHERE item = 4 AND position('{made.public_id} on '::bytea IN vals) > 0"
        for _ in range(2):  # another process, for which it is the first time, changes nothing
            assert auth.Keys(lambda: connection).check(made.text, "ingest")
            used = "SELECT last_used_at FROM api_key WHERE public_id = %s AND last_used_at IS NOT NULL"
            deadline = time.monotonic() + 10
            while connection.execute(used, (made.public_id,)).fetchone() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert connection.execute(recorded).fetchone() == (1,)
            connection.execute("UPDATE api_key SET last_used_at = NULL WHERE public_id = %s", (made.public_id,))
    governance.close()


def test_a_revoked_key_ends_within_seconds(receivers: Receivers) -> None:
    made = keys.make()
    with connect("owner", autocommit=True) as connection:
        connection.execute(
            "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
            "SELECT %s, project_id, 'to be revoked', '{ingest}', %s, now() FROM api_key WHERE public_id = %s",
            (made.public_id, made.digest, keys.parse(receivers.keys["good"])),
        )
        assert send(receivers.otlp, "/v1/traces", traces(span()), key=made.text).status == 200
        # by somebody whose clock is ahead of ours
        connection.execute("UPDATE api_key SET revoked_at = now() + interval '1 day' WHERE public_id = %s", (made.public_id,))
    deadline = time.monotonic() + 10
    while send(receivers.otlp, "/v1/traces", traces(span()), key=made.text).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
