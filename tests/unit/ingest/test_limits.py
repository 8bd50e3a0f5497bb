"""Owns how many items and values a request may hold, whatever it is written in and however they are hidden."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from auditlog.ingest import limits, rest
from auditlog.ingest.decode import decode_request
from auditlog.item import LOG, SPAN

VALUES, ITEMS = 1_000, 50  # instead of the real limits, for bodies that are made in no time


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_VALUES", VALUES)
    monkeypatch.setattr(limits, "MOST_ITEMS", ITEMS)


def field(number: int, content: bytes) -> bytes:
    size, more = len(content), b""
    while size >= 0x80:
        more += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + more + bytes([size]) + content


def item(content: bytes, after: bytes = b"") -> bytes:
    """A request with one item that has IDs and this content, and whatever follows in its ScopeSpans."""
    ids = field(1, b"t" * 16) + field(2, b"s" * 8)
    return field(1, field(2, field(2, ids + content) + after))


def refused(code: str, body: bytes, signal: int, encoding: str = "protobuf") -> None:
    with pytest.raises(limits.TooMany) as caught:
        decode_request(body, signal, encoding)
    assert caught.value.code == code


PAIR = field(9, b"")
BOMBS = {
    "attributes": PAIR * (VALUES + 1),
    "events": field(11, b"") * (VALUES + 1),
    "links": field(13, b"") * (VALUES + 1),
    "attributes of events": field(11, field(3, b"") * (VALUES + 1)),
    "attributes of links": field(13, field(4, b"") * (VALUES + 1)),
    "elements": field(9, field(2, field(5, field(1, b"") * (VALUES + 1)))),
    "pairs": field(9, field(2, field(6, field(1, b"") * (VALUES + 1)))),
    "arrays in arrays": field(9, field(2, field(5, field(1, field(5, field(1, b""))) * VALUES))),
    "tags written long": b"\xca\x00\x00" * (VALUES + 1),
    "between brackets that nobody knows": b"\x7b" + PAIR * (VALUES + 1) + b"\x7c",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_more_values_than_allowed_are_refused(small: None, kind: str) -> None:
    refused("too_many_values", item(BOMBS[kind]), SPAN)


def test_values_of_resources_scopes_and_log_records_count_as_well(small: None) -> None:
    resource = field(1, field(1, field(1, b"") * (VALUES + 1)))
    entities = field(1, field(1, field(3, field(3, b"") * (VALUES + 1))))
    scope = field(1, field(2, field(1, field(3, b"") * (VALUES + 1))))
    groups, parts = field(1, b"") * (VALUES + 1), field(1, field(2, b"") * (VALUES + 1))
    body_value = field(1, field(2, field(2, field(5, field(5, field(1, b"") * (VALUES + 1))))))
    attributes = field(1, field(2, field(2, field(6, b"") * (VALUES + 1))))
    for body in (resource, entities, scope, groups, parts, body_value, attributes):
        refused("too_many_values", body, LOG)


def test_as_many_values_as_allowed_are_taken(small: None) -> None:
    count = VALUES - 2  # the messages around the item are two
    assert decode_request(item(PAIR * count), SPAN, "protobuf").items[0].attributes == [("", -1, None)] * count  # type: ignore[union-attr]
    refused("too_many_values", item(PAIR * (count + 1)), SPAN)


def test_values_are_summed_over_items(small: None) -> None:
    some = field(2, field(6, b"") * ((VALUES - 2) // 4))
    assert len(decode_request(field(1, field(2, some * 4)), LOG, "protobuf").items) == 4
    refused("too_many_values", field(1, field(2, some * 5)), LOG)


def test_a_bomb_behind_a_message_that_is_broken_is_found_before_it_is_salvaged(small: None) -> None:
    broken = field(9, b"\x0a\xff\xff\xff")
    refused("too_many_values", item(broken, after=field(2, PAIR * (VALUES + 1))), SPAN)


def test_an_endless_number_is_no_endless_work(small: None) -> None:
    with pytest.raises(limits._Broken):
        limits._varint(b"\xff" * 11 + b"\x01", 0)
    refused("too_many_values", item(b"\x08" + b"\xff" * 1_000_000, after=field(2, PAIR * (VALUES + 1))), SPAN)


@pytest.mark.parametrize("signal", [SPAN, LOG])
def test_more_items_than_allowed_are_refused_and_as_many_are_not(small: None, signal: int) -> None:
    body = field(1, field(2, field(2, field(1, b"t" * 16) + field(2, b"s" * 8)) * ITEMS))
    assert len(decode_request(body, signal, "protobuf").items) == ITEMS
    refused("too_many_items", body * 2, signal)
    refused("too_many_items", field(1, field(2, b"\x12\x00" * (ITEMS + 1))), signal)


@pytest.mark.parametrize(
    ("signal", "names"), [(SPAN, ("resourceSpans", "scopeSpans", "spans")), (LOG, ("resourceLogs", "scopeLogs", "logRecords"))]
)
@pytest.mark.parametrize("bad", ["", ',{"traceId":1}'])  # read at once, or salvaged one by one
def test_more_items_than_allowed_are_refused_in_json(small: None, signal: int, names: tuple[str, ...], bad: str) -> None:
    one = '{"traceId":"' + "ab" * 16 + '","spanId":"' + "cd" * 8 + '"}'
    outer, middle, inner = names

    def body(count: int) -> bytes:
        return f'{{"{outer}":[{{"{middle}":[{{"{inner}":[{",".join([one] * count)}{bad}]}}]}}]}}'.encode()

    assert len(decode_request(body(ITEMS - 1), signal, "json").items) == ITEMS - (not bad)
    refused("too_many_items", body(ITEMS + 1), signal, "json")


@pytest.mark.parametrize("list_of", ["{}", "null", '{"value":{"stringValue":"a, b"}}'])
def test_more_values_than_allowed_are_refused_in_json(small: None, list_of: str) -> None:
    body = '{"resourceLogs":[{"resource":{"attributes":[' + ",".join([list_of] * (VALUES + 1)) + "]}}]}"
    refused("too_many_values", body.encode(), LOG, "json")


def test_commas_and_brackets_in_texts_are_no_values(small: None) -> None:
    text = ',[{"' * 3 * VALUES + "\\"
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": text}}]}]}]}
    assert len(decode_request(json.dumps(document).encode(), LOG, "json").items) == 1


def test_rest_events_have_the_same_limits(small: None) -> None:
    event = b'{"kind":"other","at":"2026-03-01T10:00:00Z"}'
    assert rest.read(b"\n".join([event] * ITEMS) + b"\n", rest.NDJSON).good == ITEMS
    assert rest.read(b'{"events":[' + b",".join([event] * ITEMS) + b"]}", "application/json").good == ITEMS
    many = [
        (b"\n".join([event] * (ITEMS + 1)), rest.NDJSON, "too_many_items"),
        (b"\n" * (ITEMS + 1), rest.NDJSON, "too_many_items"),
        (b'{"events":[' + b",".join([b"1"] * (ITEMS + 1)) + b"]}", "application/json", "too_many_items"),
        (b'{"a":[' + b"1," * VALUES + b"1]}", rest.NDJSON, "too_many_values"),
        (b'"\n{"a":[' + b"1," * VALUES + b'1]}\n"', rest.NDJSON, "too_many_values"),  # nothing hides behind a text that is not closed
    ]
    for body, media, code in many:
        with pytest.raises(limits.TooMany) as caught:
            rest.read(body, media)
        assert caught.value.code == code


@pytest.mark.parametrize("end", [b"", b'"', b'"\\', b"\\", b'"\n', b'"a\\"'])
def test_a_body_that_ends_in_the_middle_is_counted_in_one_pass(small: None, end: bytes) -> None:
    limits.json(b"[" + b'",",' * (VALUES - 2) + b'"' + b",," * VALUES + b'"' + b" " * 200_000 + end)


def messages(message: Message) -> int:
    """How many messages the runtime has made of one, itself included."""
    count = 1
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            many: Any = value if descriptor.is_repeated else [value]
            count += sum(messages(one) for one in many)
    return count


def test_what_is_counted_is_what_the_runtime_makes() -> None:
    traces = ExportTraceServiceRequest()
    group = traces.resource_spans.add()
    group.resource.attributes.add(key="a").value.string_value = "x" * 300
    part = group.scope_spans.add()
    part.scope.attributes.add(key="b").value.int_value = -1
    span = part.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=1, flags=300)
    span.attributes.add(key="c").value.array_value.values.add().kvlist_value.values.add(key="d").value.double_value = 1.5
    span.events.add(time_unix_nano=2).attributes.add(key="e").value.bytes_value = b"\xff" * 200
    span.links.add(trace_id=b"l" * 16).attributes.add(key="f").value.bool_value = True
    span.status.message = "no"
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add()
    record.body.kvlist_value.values.add(key="g").value.string_value = "y"
    record.attributes.add(key="h").value.array_value.values.add()
    for request, fields, one in ((traces, limits._SPAN, span), (logs, limits._LOG, record)):
        body = request.SerializeToString()
        found: list[tuple[int, int]] = []
        around = limits._Walk(body).count(0, len(body), limits._REQUEST, 10_000, found)
        ((size, at),) = found
        assert body[at : at + size] == one.SerializeToString()
        assert around == messages(request) - 1 - messages(one)
        assert limits._Walk(body).count(at, at + size, fields, 10_000, []) == messages(one) - 1


@pytest.mark.parametrize(
    "field_",
    [b"\x10\x00", b"\x13", b"\x3a\x00", b"\x10" + b"\xff" * 8 + b"\x01", b"\xf8\x80\x80\x80\x80\x80\x80\x80\x00\x00"],
    ids=["scalar", "bracket", "unknown", "long scalar", "long tag"],
)
def test_fields_that_hold_nothing_are_walked_up_to_a_bound(field_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost no memory but Python for each of their bytes: 64 MiB of them held both threads of a process for seconds."""
    monkeypatch.setattr(limits, "MOST_WALKED", 200_000)
    refused("too_many_values", field_ * (200_000 // len(field_) + 1), SPAN)
    inside = field(1, field(2, field(2, field_ * 150_000))) + field(1, b"\x10\x00" * 60_000)
    limits._Walk(inside).count(0, len(inside), limits._REQUEST, limits.MOST_VALUES, [])  # an item is not entered unless it must be
