"""Owns the reading of OTLP/JSON: hex IDs, 64-bit numbers as text or number, enums only as numbers, unknown members ignored.

One parser, msgspec: of a repeated member the last one counts, at every level. `google.protobuf.json_format` is not used: it
reads a hex ID as base64, without an error.
"""

from __future__ import annotations

import binascii
import math
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from auditlog.errors import Problem
from auditlog.ingest import limits
from auditlog.ingest.from_protobuf import DEEPEST, check_reference, check_span_ids
from auditlog.item import (
    ABSENT,
    ARRAY,
    BOOL,
    BYTES,
    DOUBLE,
    EMPTY,
    INT,
    KVLIST,
    SPAN,
    STRING,
    Attribute,
    Context,
    Item,
    Link,
    Log,
    Span,
    SpanEvent,
    Value,
)

Number = int | str | None  # a 64-bit number is text in canonical OTLP/JSON and a number from many senders


class _Object(msgspec.Struct, rename="camel", gc=False):
    """A message of OTLP/JSON: members in lowerCamelCase, null the same as absent, unknown members ignored."""


class JArray(_Object):
    values: list[JValue | None] | None = None


class JKvlist(_Object):
    values: list[JPair] | None = None


class JValue(_Object):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Number = None
    double_value: float | str | None = None
    array_value: JArray | None = None
    kvlist_value: JKvlist | None = None
    bytes_value: str | None = None


class JPair(_Object):
    key: str | None = None
    value: JValue | None = None


class JEntityRef(_Object):
    schema_url: str | None = None
    type: str | None = None
    id_keys: list[str] | None = None
    description_keys: list[str] | None = None


class JResource(_Object):
    attributes: list[JPair] | None = None
    dropped_attributes_count: Number = None
    entity_refs: list[JEntityRef] | None = None


class JScope(_Object):
    name: str | None = None
    version: str | None = None
    attributes: list[JPair] | None = None
    dropped_attributes_count: Number = None


class JStatus(_Object):
    message: str | None = None
    code: int | None = None


class JEvent(_Object):
    time_unix_nano: Number = None
    name: str | None = None
    attributes: list[JPair] | None = None
    dropped_attributes_count: Number = None


class JLink(_Object):
    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: list[JPair] | None = None
    dropped_attributes_count: Number = None
    flags: Number = None


class JSpan(_Object):
    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    parent_span_id: str | None = None
    flags: Number = None
    name: str | None = None
    kind: int | None = None
    start_time_unix_nano: Number = None
    end_time_unix_nano: Number = None
    attributes: list[JPair] | None = None
    dropped_attributes_count: Number = None
    events: list[JEvent] | None = None
    dropped_events_count: Number = None
    links: list[JLink] | None = None
    dropped_links_count: Number = None
    status: JStatus | None = None


class JLog(_Object):
    time_unix_nano: Number = None
    observed_time_unix_nano: Number = None
    severity_number: int | None = None
    severity_text: str | None = None
    body: JValue | None = None
    attributes: list[JPair] | None = None
    dropped_attributes_count: Number = None
    flags: Number = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class JScopeSpans(_Object):
    scope: JScope | None = None
    spans: list[JSpan] | None = None
    schema_url: str | None = None


class JResourceSpans(_Object):
    resource: JResource | None = None
    scope_spans: list[JScopeSpans] | None = None
    schema_url: str | None = None


class JTraces(_Object):
    resource_spans: list[JResourceSpans] | None = None


class JScopeLogs(_Object):
    scope: JScope | None = None
    log_records: list[JLog] | None = None
    schema_url: str | None = None


class JResourceLogs(_Object):
    resource: JResource | None = None
    scope_logs: list[JScopeLogs] | None = None
    schema_url: str | None = None


class JLogs(_Object):
    resource_logs: list[JResourceLogs] | None = None


_TRACES: Final = msgspec.json.Decoder(JTraces)
_LOGS: Final = msgspec.json.Decoder(JLogs)
_TEXT_DOUBLES: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def number(value: Number, lowest: int, highest: int, what: str) -> int:
    """A number of a fixed width, exact, from a number or its text."""
    if value is None:
        return 0
    if isinstance(value, str):
        digits = value[1:] if value[:1] == "-" else value
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise Problem("field_invalid", f"{what} is text that is no whole number; send decimal digits.")
        value = int(value)
    if not lowest <= value <= highest:
        raise Problem("field_invalid", f"{what} is outside {lowest} to {highest}.")
    return value


def _u64(value: Number, what: str) -> int:
    return number(value, 0, 2**64 - 1, what)


def _u32(value: Number, what: str) -> int:
    return 0 if value is None else number(value, 0, 2**32 - 1, what)


def _enum(value: int | None, what: str) -> int:
    return 0 if value is None else number(value, -(2**31), 2**31 - 1, what)


def _identifier(text: str | None, size: int, code: str, what: str) -> bytes:
    """Hexadecimal of exactly `size` bytes, or nothing. Base64, which looks similar, must never be read as hexadecimal."""
    if not text:
        return b""
    if len(text) != 2 * size or not _HEX.issuperset(text):
        raise Problem(code, f"{what} is {len(text)} characters and not {2 * size} hexadecimal digits, as OTLP/JSON wants.")
    return bytes.fromhex(text)


def _double(value: float | str) -> float:
    if isinstance(value, float):
        return value
    if value in _TEXT_DOUBLES:
        return _TEXT_DOUBLES[value]
    try:
        if value.isascii() and "_" not in value and not set(value) & set("nNiI \t\r\n"):
            return float(value)
    except ValueError:
        pass
    raise Problem("field_invalid", 'doubleValue is text that is no number; send a number, "NaN", "Infinity" or "-Infinity".')


def _bytes(text: str) -> bytes:
    try:
        padded = text.replace("-", "+").replace("_", "/").rstrip("=")
        return b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("field_invalid", "bytesValue is no base64; send bytes in base64.") from None


def _value(v: JValue, depth: int) -> Value:
    """The one value that is set. Two at once are refused: keeping either would be a guess."""
    found: list[Value] = []
    if v.string_value is not None:
        found.append((STRING, v.string_value))
    if v.int_value is not None:
        found.append((INT, number(v.int_value, -(2**63), 2**63 - 1, "intValue")))
    if v.bool_value is not None:
        found.append((BOOL, v.bool_value))
    if v.double_value is not None:
        found.append((DOUBLE, _double(v.double_value)))
    if v.bytes_value is not None:
        found.append((BYTES, _bytes(v.bytes_value)))
    if depth > DEEPEST and (v.array_value is not None or v.kvlist_value is not None):
        raise Problem("item_too_deep", f"A value is nested deeper than {DEEPEST} levels; send it as JSON text instead.")
    if v.array_value is not None:
        elements = v.array_value.values or ()
        found.append((ARRAY, [(EMPTY, None) if e is None else _value(e, depth + 1) for e in elements]))
    if v.kvlist_value is not None:
        found.append((KVLIST, [_pair(pair, depth + 1) for pair in v.kvlist_value.values or ()]))
    if len(found) > 1:
        raise Problem("field_invalid", "A value has more than one of stringValue, intValue, ... set; send exactly one.")
    return found[0] if found else (EMPTY, None)


def _pair(pair: JPair, depth: int) -> Attribute:
    if pair.value is None:
        return pair.key or "", ABSENT, None
    return (pair.key or "", *_value(pair.value, depth))


def attributes(pairs: Sequence[JPair] | None) -> list[Attribute]:
    if not pairs:
        return []
    out: list[Attribute] = []
    for pair in pairs:
        v = pair.value
        if v is not None and v.string_value is not None and v == JValue(v.string_value):
            out.append((pair.key or "", STRING, v.string_value))
        else:
            out.append(_pair(pair, 1))
    return out


def context(resource: JResource | None, resource_schema_url: str | None, scope: JScope | None, schema_url: str | None) -> Context:
    """What all items of one ScopeSpans or ScopeLogs share. None: the message was not sent."""
    refs = (resource.entity_refs or ()) if resource else ()
    return Context(
        resource=None if resource is None else attributes(resource.attributes),
        resource_dropped=0 if resource is None else _u32(resource.dropped_attributes_count, "droppedAttributesCount"),
        resource_schema_url=resource_schema_url or "",
        entity_refs=[(e.schema_url or "", e.type or "", e.id_keys or [], e.description_keys or []) for e in refs],
        scope=None if scope is None else (scope.name or "", scope.version or ""),
        scope_attributes=[] if scope is None else attributes(scope.attributes),
        scope_dropped=0 if scope is None else _u32(scope.dropped_attributes_count, "droppedAttributesCount"),
        schema_url=schema_url or "",
    )


def _event(e: JEvent) -> SpanEvent:
    dropped = _u32(e.dropped_attributes_count, "droppedAttributesCount")
    return SpanEvent(_u64(e.time_unix_nano, "timeUnixNano"), e.name or "", attributes(e.attributes), dropped)


def _link(link: JLink) -> Link:
    return Link(
        _identifier(link.trace_id, 16, "trace_id_invalid", "A link's traceId"),
        _identifier(link.span_id, 8, "span_id_invalid", "A link's spanId"),
        link.trace_state or "",
        attributes(link.attributes),
        _u32(link.dropped_attributes_count, "droppedAttributesCount"),
        _u32(link.flags, "flags"),
    )


def span(j: JSpan, shared: Context) -> Span:
    """One span. Raises Problem with the code under which it is quarantined."""
    trace_id = _identifier(j.trace_id, 16, "trace_id_invalid", "A span's traceId")
    span_id = _identifier(j.span_id, 8, "span_id_invalid", "A span's spanId")
    parent = _identifier(j.parent_span_id, 8, "span_id_invalid", "A span's parentSpanId")
    check_span_ids(trace_id, span_id, parent)
    return Span(
        shared,
        trace_id,
        span_id,
        j.name or "",
        _u64(j.start_time_unix_nano, "startTimeUnixNano"),
        _u64(j.end_time_unix_nano, "endTimeUnixNano"),
        attributes(j.attributes),
        parent,
        j.trace_state or "",
        _u32(j.flags, "flags"),
        _enum(j.kind, "kind"),
        _u32(j.dropped_attributes_count, "droppedAttributesCount"),
        [_event(e) for e in j.events or ()],
        _u32(j.dropped_events_count, "droppedEventsCount"),
        [_link(link) for link in j.links or ()],
        _u32(j.dropped_links_count, "droppedLinksCount"),
        None if j.status is None else (_enum(j.status.code, "status.code"), j.status.message or ""),
    )


def log(j: JLog, shared: Context) -> Log:
    """One log record. Raises Problem with the code under which it is quarantined."""
    trace_id = _identifier(j.trace_id, 16, "trace_id_invalid", "A log record's traceId")
    span_id = _identifier(j.span_id, 8, "span_id_invalid", "A log record's spanId")
    check_reference(trace_id, span_id, "log record")
    return Log(
        shared,
        _u64(j.time_unix_nano, "timeUnixNano"),
        _u64(j.observed_time_unix_nano, "observedTimeUnixNano"),
        None if j.body is None else _value(j.body, 1),
        attributes(j.attributes),
        trace_id,
        span_id,
        _enum(j.severity_number, "severityNumber"),
        j.severity_text or "",
        j.event_name or "",
        _u32(j.dropped_attributes_count, "droppedAttributesCount"),
        _u32(j.flags, "flags"),
    )


def request(body: bytes, signal: int) -> list[Item]:
    """Every item of a request. Raises TooMany; msgspec.DecodeError, RecursionError or Problem if anything is bad: then see `salvage`."""
    out: list[Any] = []
    if signal == SPAN:
        groups = _TRACES.decode(body).resource_spans or ()
        limits.items(sum(len(part.spans or ()) for group in groups for part in group.scope_spans or ()))
        for group in groups:
            for part in group.scope_spans or ():
                shared = context(group.resource, group.schema_url, part.scope, part.schema_url)
                out += [span(one, shared) for one in part.spans or ()]
    else:
        all_records = _LOGS.decode(body).resource_logs or ()
        limits.items(sum(len(block.log_records or ()) for records in all_records for block in records.scope_logs or ()))
        for records in all_records:
            for block in records.scope_logs or ():
                shared = context(records.resource, records.schema_url, block.scope, block.schema_url)
                out += [log(one, shared) for one in block.log_records or ()]
    return out
