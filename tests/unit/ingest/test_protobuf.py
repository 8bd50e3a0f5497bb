"""Owns what becomes of protobuf that the runtime refuses, and of the bodies that real instrumentation sent."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from auditlog import otlp_json
from auditlog.errors import Problem
from auditlog.ingest.decode import decode, decode_request
from auditlog.item import INT, LOG, SPAN, Log, Span, Unreadable
from tests.strategies import as_request, singles

CASES = Path(__file__).resolve().parents[2] / "fixtures" / "otlp" / "cases"


def request(*names: str) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    part = message.resource_spans.add().scope_spans.add()
    for name in names:
        part.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name=name)
    return message


@pytest.mark.parametrize("source", sorted(path.name for path in CASES.iterdir()))
def test_every_body_that_real_instrumentation_sent_is_decoded_whole_and_survives_as_json(source: str) -> None:
    bodies = sorted((CASES / source).glob("*/*.gz"))
    assert bodies
    for path in bodies:
        body = gzip.decompress(path.read_bytes())
        signal = SPAN if "traces" in path.name else LOG
        form = "json" if ".json." in path.name else "protobuf"
        found = decode_request(body, signal, form)
        assert found.items and not found.rejected
        if form == "protobuf":
            parsed: Any = (ExportTraceServiceRequest if signal == SPAN else ExportLogsServiceRequest).FromString(body)
            assert [as_request(item) for item in found.items if isinstance(item, (Span, Log))] == singles(parsed, signal)
        for item in found.items:
            document = otlp_json.document(item)
            assert document is not None
            assert decode(document, signal, "json") == [item]


def test_items_of_one_scope_share_one_context() -> None:
    first, second = decode(request("a", "b").SerializeToString(), SPAN, "protobuf")
    assert isinstance(first, Span) and isinstance(second, Span)
    assert first.context is second.context


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"trace_id": b""}, "trace_id_invalid"),
        ({"trace_id": bytes(16)}, "trace_id_invalid"),
        ({"trace_id": b"x" * 24}, "trace_id_invalid"),
        ({"span_id": b"1234567"}, "span_id_invalid"),
        ({"span_id": bytes(8)}, "span_id_invalid"),
        ({"parent_span_id": b"123"}, "span_id_invalid"),
        ({"attributes": [{"key_strindex": 5}]}, "field_invalid"),
        ({"attributes": [{"key": "k", "value": {"string_value_strindex": 5}}]}, "field_invalid"),
    ],
)
def test_a_span_that_is_invalid_is_quarantined_with_its_bytes(fields: dict[str, Any], code: str) -> None:
    message = request("a", "b", "c")
    bad = message.resource_spans[0].scope_spans[0].spans[1]
    bad.CopyFrom(type(bad)(**({"trace_id": b"t" * 16, "span_id": b"s" * 8} | fields)))
    found = decode_request(message.SerializeToString(), SPAN, "protobuf")
    assert [type(item) for item in found.items] == [Span, Unreadable, Span]
    item = found.items[1]
    assert isinstance(item, Unreadable)
    assert (item.raw, item.code, item.index) == (bad.SerializeToString(), code, 1)


def length_delimited(field: int, content: bytes) -> bytes:
    out = bytearray([field << 3 | 2])
    size = len(content)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes(out) + bytes([size]) + content


def _deep(levels: int) -> bytes:
    """A span with one attribute of nested arrays, built by hand because the runtime would refuse it."""
    value = b"\x0a\x01x"
    for _ in range(levels):
        value = length_delimited(5, length_delimited(1, value))
    return b"\x0a\x10" + b"t" * 16 + b"\x12\x08" + b"s" * 8 + length_delimited(9, b"\x0a\x01k" + length_delimited(2, value))


def test_a_value_nested_40_deep_is_read_and_one_nested_beyond_the_runtime_is_quarantined() -> None:
    good, bad = _deep(40), _deep(5000)
    body = length_delimited(1, length_delimited(2, b"".join(length_delimited(2, one) for one in (good, bad, good))))
    found = decode_request(body, SPAN, "protobuf")
    assert [type(item) for item in found.items] == [Span, Unreadable, Span]
    assert isinstance(found.items[1], Unreadable)
    assert found.items[1].raw == bad


def test_a_resource_that_cannot_be_read_is_quarantined_with_its_items_and_the_next_one_is_read() -> None:
    message = request("a", "b")
    message.resource_spans[0].resource.attributes.add(key="MARK")
    broken = message.resource_spans[0].SerializeToString().replace(b"MARK", b"\xff\xff\xff\xff")
    message.MergeFrom(request("c"))
    found = decode_request(message.SerializeToString().replace(b"MARK", b"\xff\xff\xff\xff"), SPAN, "protobuf")
    unit, item = found.items
    assert isinstance(unit, Unreadable) and isinstance(item, Span)
    assert (unit.raw, unit.encoding, found.rejected, item.name) == (broken, "protobuf.resource", 2, "c")


def test_a_scope_that_cannot_be_read_is_quarantined_with_its_resource_known() -> None:
    message = request("a", "b")
    message.resource_spans[0].resource.attributes.add(key="n").value.int_value = 1
    message.resource_spans[0].scope_spans[0].scope.name = "MARK"
    broken = message.resource_spans[0].scope_spans[0].SerializeToString().replace(b"MARK", b"\xff\xff\xff\xff")
    found = decode_request(message.SerializeToString().replace(b"MARK", b"\xff\xff\xff\xff"), SPAN, "protobuf")
    unit = found.items[0]
    assert isinstance(unit, Unreadable)
    assert (unit.raw, unit.encoding, found.rejected) == (broken, "protobuf.scope", 2)
    assert unit.context is not None
    assert unit.context.resource == [("n", INT, 1)]


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans":[]}', b"garbage", b"\xff" * 30, b"\x0a\x05ab", b"\x0a\x03abc"])
def test_what_is_no_request_is_400(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        decode_request(body, SPAN, "protobuf")
    assert problem.value.code == "body_undecodable"


def test_a_request_that_was_cut_off_in_the_middle_is_400_and_not_half_of_it() -> None:
    body = request("a", "b", "c").SerializeToString()
    for cut in range(1, len(body)):
        with pytest.raises(Problem):
            decode_request(body[:cut], SPAN, "protobuf")
