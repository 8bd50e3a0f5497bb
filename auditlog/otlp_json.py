"""Owns the way back from a stored item to JSON: a span or log record as a document of OTLP/JSON, a REST event as it was sent.

Pure. What `from_json` reads from the document equals the item in every field; a test says so for random items.
"""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any, Final

import msgspec

from auditlog.item import (
    ABSENT,
    ARRAY,
    BOOL,
    BYTES,
    DOUBLE,
    INT,
    KVLIST,
    STRING,
    WITHHELD,
    Attribute,
    Context,
    Item,
    Link,
    Log,
    Rest,
    Span,
    SpanEvent,
    Unreadable,
)

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_HERE: Final = b"\0"  # JSON has no such byte: in a text it is escaped


class Documents:
    """Spans and log records as JSON, one after the other. What is around one is kept: mostly the next has the same resource and scope."""

    def __init__(self) -> None:
        self._of: tuple[type, Context] | None = None
        self._around = (b"", b"")

    def pieces(self, item: Span | Log) -> tuple[bytes, bytes, bytes]:
        """The document of a span or log record, to be joined."""
        if self._of is None or self._of[1] is not item.context or self._of[0] is not type(item):
            before, _, after = _encode(_wrap(item.context, *_NAMES[type(item)])).partition(_HERE)
            self._of, self._around = (type(item), item.context), (before, after)
        return self._around[0], _encode(_span(item) if isinstance(item, Span) else _log(item)), self._around[1]


def document(item: Item) -> bytes | None:
    """The item as JSON, or None where JSON cannot carry it: then its bytes are all there is (`Unreadable.raw`)."""
    if isinstance(item, Rest):
        return item.raw()
    return None if isinstance(item, Unreadable) else b"".join(Documents().pieces(item))


_NAMES: Final = {Span: ("resourceSpans", "scopeSpans", "spans"), Log: ("resourceLogs", "scopeLogs", "logRecords")}


def _wrap(context: Context, groups: str, parts: str, items: str) -> Json:
    part: Json = {}
    if context.scope is not None:
        name, version = context.scope
        part["scope"] = _given(
            name=name, version=version, attributes=_attributes(context.scope_attributes), droppedAttributesCount=context.scope_dropped
        )
    part[items] = [msgspec.Raw(_HERE)]
    if context.schema_url:
        part["schemaUrl"] = context.schema_url
    group: Json = {}
    if context.resource is not None:
        refs = [
            _given(schemaUrl=schema_url, type=kind, idKeys=id_keys, descriptionKeys=description_keys)
            for schema_url, kind, id_keys, description_keys in context.entity_refs
        ]
        group["resource"] = _given(
            attributes=_attributes(context.resource), droppedAttributesCount=context.resource_dropped, entityRefs=refs
        )
    group[parts] = [part]
    if context.resource_schema_url:
        group["schemaUrl"] = context.resource_schema_url
    return {groups: [group]}


def _given(**members: Any) -> Json:
    """Without what has the default value, as OTLP/JSON has it."""
    return {name: value for name, value in members.items() if value}


def _span(span: Span) -> Json:
    members = _given(
        traceId=span.trace_id.hex(),
        spanId=span.span_id.hex(),
        traceState=span.trace_state,
        parentSpanId=span.parent_span_id.hex(),
        flags=span.flags,
        name=span.name,
        kind=span.kind,
        startTimeUnixNano=_long(span.start),
        endTimeUnixNano=_long(span.end),
        attributes=_attributes(span.attributes),
        droppedAttributesCount=span.dropped_attributes,
        events=[_event(event) for event in span.events],
        droppedEventsCount=span.dropped_events,
        links=[_link(link) for link in span.links],
        droppedLinksCount=span.dropped_links,
    )
    if span.status is not None:
        code, message = span.status
        members["status"] = _given(code=code, message=message)
    return members


def _event(event: SpanEvent) -> Json:
    return _given(
        timeUnixNano=_long(event.time),
        name=event.name,
        attributes=_attributes(event.attributes),
        droppedAttributesCount=event.dropped_attributes,
    )


def _link(link: Link) -> Json:
    return _given(
        traceId=link.trace_id.hex(),
        spanId=link.span_id.hex(),
        traceState=link.trace_state,
        attributes=_attributes(link.attributes),
        droppedAttributesCount=link.dropped_attributes,
        flags=link.flags,
    )


def _log(log: Log) -> Json:
    members = _given(
        timeUnixNano=_long(log.time),
        observedTimeUnixNano=_long(log.observed),
        severityNumber=log.severity,
        severityText=log.severity_text,
        attributes=_attributes(log.attributes),
        droppedAttributesCount=log.dropped_attributes,
        flags=log.flags,
        traceId=log.trace_id.hex(),
        spanId=log.span_id.hex(),
        eventName=log.event_name,
    )
    if log.body is not None:
        members["body"] = _value(*log.body)
    return members


def _long(number: int) -> str:
    """64-bit numbers are text in OTLP/JSON: many readers would round them."""
    return str(number) if number else ""


def _attributes(attributes: list[Attribute]) -> list[Json]:
    # Nearly every value is text.
    return [
        {"key": key, "value": {"stringValue": value}} if kind == STRING else _attribute(key, kind, value) for key, kind, value in attributes
    ]


def _attribute(key: str, kind: int, value: Any) -> Json:
    if kind == ABSENT:
        return {"key": key}
    return {"key": key, "withheld": True} if kind == WITHHELD else {"key": key, "value": _value(kind, value)}


def _value(kind: int, value: Any) -> Json:
    if kind == STRING:
        return {"stringValue": value}
    if kind == BOOL:
        return {"boolValue": value}
    if kind == INT:
        return {"intValue": str(value)}
    if kind == DOUBLE:
        if math.isfinite(value):
            return {"doubleValue": value}
        return {"doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if kind == ARRAY:
        return {"arrayValue": {"values": [_value(*element) for element in value]}}
    if kind == KVLIST:
        return {"kvlistValue": {"values": _attributes(value)}}
    if kind == BYTES:
        return {"bytesValue": b64encode(value).decode()}
    return {"withheld": True} if kind == WITHHELD else {}  # a member that readers of OTLP/JSON must ignore, and people understand
