"""Owns the reading of OTLP protobuf messages, already parsed by the protobuf runtime, into items; each value is walked once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from auditlog.errors import Problem
from auditlog.item import (
    ABSENT,
    ARRAY,
    BOOL,
    BYTES,
    DOUBLE,
    EMPTY,
    INT,
    KVLIST,
    LOG,
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

DEEPEST: Final = 64  # levels of arrays and lists inside one value; the protobuf runtime itself stops at 48
_ZERO_TRACE: Final = bytes(16)
_ZERO_SPAN: Final = bytes(8)
_NONE: Final[list[Any]] = []  # shared by items that have none; nobody changes an item's lists


class Undecodable(Exception):
    """The runtime refuses the message as a whole: one string that is no UTF-8 is enough. `salvage` then looks for what is good."""


def attributes(pairs: Iterable[Any]) -> list[Attribute]:
    """Key, type and value of each pair, in the order sent. Written flat, because it is most of what decoding costs."""
    out: list[Attribute] = []
    append = out.append
    for pair in pairs:
        key = pair.key
        if not key and pair.key_strindex:
            raise _reference()
        any_value = pair.value
        text = any_value.string_value
        if text:
            append((key, STRING, text))
            continue
        kind, value = _value(any_value, 1)
        if kind == EMPTY and not pair.HasField("value"):
            kind = ABSENT
        append((key, kind, value))
    return out


def _reference() -> Problem:
    """A key given as a number of the profiles dictionary means nothing in a span or log record: quarantined rather than guessed."""
    return Problem("field_invalid", "An attribute's key is a reference (key_strindex), which only profiles may use; send its text.")


def _value(any_value: Any, depth: int) -> Value:
    which = any_value.WhichOneof("value")
    if which == "string_value":
        return STRING, any_value.string_value
    if which == "int_value":
        return INT, any_value.int_value
    if which == "bool_value":
        return BOOL, any_value.bool_value
    if which == "double_value":
        return DOUBLE, any_value.double_value
    if which is None:
        return EMPTY, None
    if which == "bytes_value":
        return BYTES, any_value.bytes_value
    if depth > DEEPEST:
        raise Problem("item_too_deep", f"A value is nested deeper than {DEEPEST} levels; send it as JSON text instead.")
    if which == "array_value":
        return ARRAY, [_value(element, depth + 1) for element in any_value.array_value.values]
    if which == "kvlist_value":
        return KVLIST, [_pair(pair, depth + 1) for pair in any_value.kvlist_value.values]
    raise Problem("field_invalid", f"A value is given as {which}, which only profiles may use; send the text itself.")


def _pair(pair: Any, depth: int) -> Attribute:
    kind, value = _value(pair.value, depth)
    if kind == EMPTY and not pair.HasField("value"):
        kind = ABSENT
    if pair.key_strindex:
        raise _reference()
    return pair.key, kind, value


def context(resource: Any | None, resource_schema_url: str, scope: Any | None, schema_url: str) -> Context:
    """What all items of one ScopeSpans or ScopeLogs share. None: the message was not sent."""
    return Context(
        resource=None if resource is None else attributes(resource.attributes),
        resource_dropped=0 if resource is None else resource.dropped_attributes_count,
        resource_schema_url=resource_schema_url,
        entity_refs=[(e.schema_url, e.type, list(e.id_keys), list(e.description_keys)) for e in resource.entity_refs] if resource else [],
        scope=None if scope is None else (scope.name, scope.version),
        scope_attributes=[] if scope is None else attributes(scope.attributes),
        scope_dropped=0 if scope is None else scope.dropped_attributes_count,
        schema_url=schema_url,
    )


def check_span_ids(trace_id: bytes, span_id: bytes, parent: bytes) -> None:
    """A span without its own place in a trace can be found by nobody; the specification calls it invalid, so it is quarantined."""
    if len(trace_id) != 16 or trace_id == _ZERO_TRACE:
        raise Problem("trace_id_invalid", f"A span's trace_id has {len(trace_id)} bytes or is all zero; send 16 bytes, not all zero.")
    if len(span_id) != 8 or span_id == _ZERO_SPAN:
        raise Problem("span_id_invalid", f"A span's span_id has {len(span_id)} bytes or is all zero; send 8 bytes, not all zero.")
    if parent and len(parent) != 8:
        raise Problem("span_id_invalid", f"A span's parent_span_id has {len(parent)} bytes; 8, or none for a root, are needed.")


def check_reference(trace_id: bytes, span_id: bytes, of: str) -> None:
    """IDs of a link or log record: of the right length, or not there."""
    if trace_id and len(trace_id) != 16:
        raise Problem("trace_id_invalid", f"The trace_id of a {of} has {len(trace_id)} bytes; 16 or none are needed.")
    if span_id and len(span_id) != 8:
        raise Problem("span_id_invalid", f"The span_id of a {of} has {len(span_id)} bytes; 8 or none are needed.")


def _link(link: Any) -> Link:
    trace_id, span_id = link.trace_id, link.span_id
    check_reference(trace_id, span_id, "link")
    return Link(trace_id, span_id, link.trace_state, attributes(link.attributes), link.dropped_attributes_count, link.flags)


def span(message: Any, shared: Context) -> Span:
    """One span. Raises Problem with the code under which it is quarantined."""
    trace_id, span_id, parent = message.trace_id, message.span_id, message.parent_span_id
    check_span_ids(trace_id, span_id, parent)
    events, links = message.events, message.links
    return Span(
        shared,
        trace_id,
        span_id,
        message.name,
        message.start_time_unix_nano,
        message.end_time_unix_nano,
        attributes(message.attributes),
        parent,
        message.trace_state,
        message.flags,
        message.kind,
        message.dropped_attributes_count,
        [SpanEvent(e.time_unix_nano, e.name, attributes(e.attributes), e.dropped_attributes_count) for e in events] if events else _NONE,
        message.dropped_events_count,
        [_link(link) for link in links] if links else _NONE,
        message.dropped_links_count,
        (message.status.code, message.status.message) if message.HasField("status") else None,
    )


def log(message: Any, shared: Context) -> Log:
    """One log record. Raises Problem with the code under which it is quarantined."""
    trace_id, span_id = message.trace_id, message.span_id
    check_reference(trace_id, span_id, "log record")
    return Log(
        shared,
        message.time_unix_nano,
        message.observed_time_unix_nano,
        _value(message.body, 1) if message.HasField("body") else None,
        attributes(message.attributes),
        trace_id,
        span_id,
        message.severity_number,
        message.severity_text,
        message.event_name,
        message.dropped_attributes_count,
        message.flags,
    )


def request(body: bytes, signal: int) -> list[Item]:
    """Every item of a request. Raises Undecodable if the runtime refuses it, Problem if one item is bad: then see `salvage`."""
    out: list[Item] = []
    append = out.append
    try:
        message: Any = ExportTraceServiceRequest.FromString(body) if signal == SPAN else ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise Undecodable from error
    for group in message.resource_spans if signal == SPAN else message.resource_logs:
        resource = group.resource if group.HasField("resource") else None
        for part in group.scope_spans if signal == SPAN else group.scope_logs:
            shared = context(resource, group.schema_url, part.scope if part.HasField("scope") else None, part.schema_url)
            if signal == SPAN:
                for one in part.spans:
                    append(span(one, shared))
            else:
                for one in part.log_records:
                    append(log(one, shared))
    assert signal in (SPAN, LOG)
    return out
