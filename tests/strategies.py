"""Owns random OTLP requests as protobuf: every type of value, nesting, events, links, NUL, repeated keys; and what was broken in them.

Also the way back from an item to the message it was, so that nothing can be lost unseen between the two.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from auditlog.item import ABSENT, ARRAY, BOOL, BYTES, DOUBLE, INT, KVLIST, SPAN, STRING, Attribute, Context, Log, Span

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
texts = st.text(max_size=12) | st.sampled_from(["", "\0", "a\0b", "gen_ai.input.messages", "session.id", "ünïcödé 🙂", "x" * 300])
# One NaN: JSON has a word for it and none for its bits. That those are kept of protobuf is a test of tests/unit/store/test_pack.py.
doubles = st.floats().map(lambda value: value if value == value else math.nan)
trace_ids = st.binary(min_size=16, max_size=16).filter(any)
span_ids = st.binary(min_size=8, max_size=8).filter(any)


def _set(name: str) -> Any:
    return lambda value: AnyValue(**{name: value})


def _nested(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    def array(values: list[AnyValue]) -> AnyValue:
        message = AnyValue()
        message.array_value.SetInParent()
        message.array_value.values.extend(values)
        return message

    def kvlist(pairs: list[tuple[str, AnyValue | None]]) -> AnyValue:
        message = AnyValue()
        message.kvlist_value.SetInParent()
        message.kvlist_value.values.extend([_pair(*pair) for pair in pairs])
        return message

    return st.lists(inner, max_size=3).map(array) | st.lists(st.tuples(texts, st.none() | inner), max_size=3).map(kvlist)


def _pair(key: str, value: AnyValue | None) -> KeyValue:
    return KeyValue(key=key, value=value)


any_values: st.SearchStrategy[AnyValue] = st.recursive(
    st.just(AnyValue())
    | texts.map(_set("string_value"))
    | st.booleans().map(_set("bool_value"))
    | i64.map(_set("int_value"))
    | doubles.map(_set("double_value"))
    | st.binary(max_size=20).map(_set("bytes_value")),
    _nested,
    max_leaves=8,
)
attributes = st.lists(st.builds(_pair, texts, st.none() | any_values), max_size=5)
events = st.builds(SpanMessage.Event, time_unix_nano=u64, name=texts, attributes=attributes, dropped_attributes_count=u32)
links = st.builds(
    SpanMessage.Link,
    trace_id=st.just(b"") | trace_ids,
    span_id=st.just(b"") | span_ids,
    trace_state=texts,
    attributes=attributes,
    dropped_attributes_count=u32,
    flags=u32,
)
spans = st.builds(
    SpanMessage,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=st.just(b"") | st.binary(min_size=8, max_size=8),
    trace_state=texts,
    flags=u32,
    name=texts,
    kind=i32,
    start_time_unix_nano=u64,
    end_time_unix_nano=u64,
    attributes=attributes,
    dropped_attributes_count=u32,
    events=st.lists(events, max_size=2),
    dropped_events_count=u32,
    links=st.lists(links, max_size=2),
    dropped_links_count=u32,
    status=st.none() | st.builds(Status, code=i32, message=texts),
)
logs = st.builds(
    LogRecord,
    time_unix_nano=u64,
    observed_time_unix_nano=u64,
    severity_number=i32,
    severity_text=texts,
    body=st.none() | any_values,
    attributes=attributes,
    dropped_attributes_count=u32,
    flags=u32,
    trace_id=st.just(b"") | trace_ids,
    span_id=st.just(b"") | span_ids,
    event_name=texts,
)
resources = st.builds(Resource, attributes=attributes, dropped_attributes_count=u32)
scopes = st.builds(InstrumentationScope, name=texts, version=texts, attributes=attributes, dropped_attributes_count=u32)


@st.composite
def trace_requests(draw: st.DrawFn, items: st.SearchStrategy[SpanMessage] = spans) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        group = request.resource_spans.add(resource=draw(st.none() | resources), schema_url=draw(texts))
        for _ in range(draw(st.integers(0, 2))):
            group.scope_spans.add(scope=draw(st.none() | scopes), spans=draw(st.lists(items, max_size=3)), schema_url=draw(texts))
    return request


@st.composite
def log_requests(draw: st.DrawFn, items: st.SearchStrategy[LogRecord] = logs) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        group = request.resource_logs.add(resource=draw(st.none() | resources), schema_url=draw(texts))
        for _ in range(draw(st.integers(0, 2))):
            group.scope_logs.add(scope=draw(st.none() | scopes), log_records=draw(st.lists(items, max_size=3)), schema_url=draw(texts))
    return request


def singles(request: Any, signal: int) -> list[bytes]:
    """Each item of a request as a request of its own: what an item must still say after it was decoded."""
    out = []
    for group in request.resource_spans if signal == SPAN else request.resource_logs:
        for part in group.scope_spans if signal == SPAN else group.scope_logs:
            for one in part.spans if signal == SPAN else part.log_records:
                single, place = _empty(signal, group.schema_url, part.schema_url)
                if group.HasField("resource"):
                    place[0].resource.CopyFrom(group.resource)
                if part.HasField("scope"):
                    place[1].scope.CopyFrom(part.scope)
                place[2].append(one)
                out.append(single.SerializeToString(deterministic=True))
    return out


def _empty(signal: int, group_url: str, part_url: str) -> tuple[Any, Any]:
    if signal == SPAN:
        traces = ExportTraceServiceRequest()
        group = traces.resource_spans.add(schema_url=group_url)
        part = group.scope_spans.add(schema_url=part_url)
        return traces, (group, part, part.spans)
    records = ExportLogsServiceRequest()
    block = records.resource_logs.add(schema_url=group_url)
    inner = block.scope_logs.add(schema_url=part_url)
    return records, (block, inner, inner.log_records)


def as_request(item: Span | Log) -> bytes:
    """The item as a request of its own, built from nothing but the item."""
    signal = SPAN if isinstance(item, Span) else 0
    context = item.context
    single, (group, part, members) = _empty(signal, context.resource_schema_url, context.schema_url)
    _context(context, group, part)
    message = members.add()
    if isinstance(item, Span):
        _span(item, message)
    else:
        _log(item, message)
    return bytes(single.SerializeToString(deterministic=True))


def _context(context: Context, group: Any, part: Any) -> None:
    if context.resource is not None:
        group.resource.SetInParent()
        group.resource.attributes.extend(_pairs(context.resource))
        group.resource.dropped_attributes_count = context.resource_dropped
        for schema_url, kind, id_keys, description_keys in context.entity_refs:
            group.resource.entity_refs.add(schema_url=schema_url, type=kind, id_keys=id_keys, description_keys=description_keys)
    if context.scope is not None:
        part.scope.SetInParent()
        part.scope.name, part.scope.version = context.scope
        part.scope.attributes.extend(_pairs(context.scope_attributes))
        part.scope.dropped_attributes_count = context.scope_dropped


def _span(item: Span, message: Any) -> None:
    message.trace_id, message.span_id, message.parent_span_id = item.trace_id, item.span_id, item.parent_span_id
    message.trace_state, message.flags, message.name, message.kind = item.trace_state, item.flags, item.name, item.kind
    message.start_time_unix_nano, message.end_time_unix_nano = item.start, item.end
    message.attributes.extend(_pairs(item.attributes))
    message.dropped_attributes_count = item.dropped_attributes
    message.dropped_events_count, message.dropped_links_count = item.dropped_events, item.dropped_links
    for event in item.events:
        added = message.events.add(time_unix_nano=event.time, name=event.name, dropped_attributes_count=event.dropped_attributes)
        added.attributes.extend(_pairs(event.attributes))
    for link in item.links:
        added = message.links.add(trace_id=link.trace_id, span_id=link.span_id, trace_state=link.trace_state, flags=link.flags)
        added.attributes.extend(_pairs(link.attributes))
        added.dropped_attributes_count = link.dropped_attributes
    if item.status is not None:
        message.status.SetInParent()
        message.status.code, message.status.message = item.status


def _log(item: Log, message: Any) -> None:
    message.time_unix_nano, message.observed_time_unix_nano = item.time, item.observed
    message.severity_number, message.severity_text = item.severity, item.severity_text
    if item.body is not None:
        message.body.CopyFrom(value_message(*item.body))
    message.attributes.extend(_pairs(item.attributes))
    message.dropped_attributes_count, message.flags = item.dropped_attributes, item.flags
    message.trace_id, message.span_id, message.event_name = item.trace_id, item.span_id, item.event_name


def _pairs(pairs: list[Attribute]) -> list[KeyValue]:
    return [_pair(key, None if kind == ABSENT else value_message(kind, value)) for key, kind, value in pairs]


def value_message(kind: int, value: Any) -> AnyValue:
    if kind == ARRAY:
        array = AnyValue()
        array.array_value.SetInParent()
        array.array_value.values.extend([value_message(*element) for element in value])
        return array
    if kind == KVLIST:
        kvlist = AnyValue()
        kvlist.kvlist_value.SetInParent()
        kvlist.kvlist_value.values.extend(_pairs(value))
        return kvlist
    names = {STRING: "string_value", BOOL: "bool_value", INT: "int_value", DOUBLE: "double_value", BYTES: "bytes_value"}
    return AnyValue(**{names[kind]: value}) if kind in names else AnyValue()
