"""Owns what becomes of a request that cannot be decoded as a whole: item by item, the good ones are kept and the bad ones quarantined.

Units, smallest first: one item; one ScopeSpans/ScopeLogs whose scope cannot be read (encoding "protobuf.scope", "json.scope");
one ResourceSpans/ResourceLogs whose resource cannot be read ("protobuf.resource", "json.resource"). Each is kept byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from auditlog.errors import Problem
from auditlog.ingest import from_json, from_protobuf, limits
from auditlog.item import SPAN, Context, Item, Unreadable


class Salvaged(NamedTuple):
    items: list[Item]
    rejected: int  # spans or log records that are in quarantine; a unit larger than one item counts all of its own
    message: str  # of the first one
    good: int
    boundaries: int  # items whose beginning and end were found, good or bad


class _Broken(Exception):
    """Not even the outer structure can be walked."""


class _Collector:
    """Gathers items in the order sent, and the position of each."""

    def __init__(self, signal: int, encoding: str) -> None:
        self.signal = signal
        self.encoding = encoding
        self.items: list[Item] = []
        self.index = self.rejected = self.good = self.boundaries = 0
        self.message = ""

    def keep(self, item: Item) -> None:
        self.items.append(item)
        self.index += 1
        limits.items(self.index)
        self.good += 1
        self.boundaries += 1

    def quarantine(self, raw: bytes, problem: Problem, context: Context | None, unit: str = "", holds: int = 1) -> None:
        """`holds`: how many items were found in the unit; one of which nothing can be told counts as one."""
        bad = Unreadable(self.signal, self.encoding + unit, raw, problem.code, problem.message, self.index, context)
        self.items.append(bad)
        self.message = self.message or f"item {self.index}: {problem.message}"
        self.boundaries += holds
        self.index += max(1, holds)
        limits.items(self.index)
        self.rejected += max(1, holds)

    def result(self) -> Salvaged:
        return Salvaged(self.items, self.rejected, self.message, self.good, self.boundaries)


def _refusal(what: str) -> Problem:
    return Problem("item_undecodable", f"{what} cannot be decoded: a text that is no UTF-8, nesting beyond the limit, or a damaged field.")


# --- protobuf -----------------------------------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _Broken
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


_FIXED: Final = {1: 8, 5: 4}


def fields(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Number and, for length-delimited fields, the bytes of each field of a message, which need not be decodable."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if not tag >> 3:
            raise _Broken
        if wire == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise _Broken
            yield tag >> 3, data[at : at + size]
            at += size
        elif wire == 0:
            _, at = _varint(data, at)
            yield tag >> 3, None
        elif wire in _FIXED:
            at += _FIXED[wire]
            if at > end:
                raise _Broken
            yield tag >> 3, None
        else:
            raise _Broken


class _Parts(NamedTuple):
    head: bytes | None  # field 1, resource or scope; sent in pieces, they are joined, as protobuf merges them
    members: list[bytes]  # field 2
    schema_url: str  # field 3


def _parts(data: bytes) -> _Parts:
    head: bytes | None = None
    members: list[bytes] = []
    schema_url = b""
    for field, content in fields(data):
        if content is None:
            continue
        if field == 1:
            head = content if head is None else head + content
        elif field == 2:
            members.append(content)
        elif field == 3:
            schema_url = content
    try:
        return _Parts(head, members, schema_url.decode())
    except UnicodeDecodeError as error:
        raise _Broken from error


def protobuf(body: bytes, signal: int) -> Salvaged:
    out = _Collector(signal, "protobuf")
    try:
        groups = [content for field, content in fields(body) if field == 1 and content is not None]
    except _Broken:
        raise Problem("body_undecodable", "The body is no OTLP protobuf message; compare Content-Type with what is sent.") from None
    for group in groups:
        _protobuf_group(group, out)
    return out.result()


def _protobuf_group(group: bytes, out: _Collector) -> None:
    try:
        resource, scopes, schema_url = _parts(group)
        message = None if resource is None else Resource.FromString(resource)
        from_protobuf.context(message, schema_url, None, "")
    except (_Broken, DecodeError, Problem):
        out.quarantine(group, _refusal("A resource"), None, ".resource", _count(group, 2))
        return
    for part in scopes:
        try:
            scope, members, scope_url = _parts(part)
            shared = from_protobuf.context(
                message, schema_url, None if scope is None else InstrumentationScope.FromString(scope), scope_url
            )
        except (_Broken, DecodeError, Problem):
            known = from_protobuf.context(message, schema_url, None, "")
            out.quarantine(part, _refusal("An instrumentation scope"), known, ".scope", _count(part, 1))
            continue
        for raw in members:
            _protobuf_item(raw, shared, out)


def _protobuf_item(raw: bytes, shared: Context, out: _Collector) -> None:
    try:
        if out.signal == SPAN:
            item: Item = from_protobuf.span(SpanMessage.FromString(raw), shared)
        else:
            item = from_protobuf.log(LogRecord.FromString(raw), shared)
    except DecodeError:
        out.quarantine(raw, _refusal("The item"), shared)
    except Problem as problem:
        out.quarantine(raw, problem, shared)
    else:
        out.keep(item)


def _count(data: bytes, levels: int) -> int:
    """How many items a unit holds that cannot be read as a whole; 0 where even that cannot be told."""
    try:
        members = [content for field, content in fields(data) if field == 2 and content is not None]
    except _Broken:
        return 0
    return len(members) if levels == 1 else sum(_count(m, 1) for m in members)


# --- JSON ---------------------------------------------------------------------------------------------------------------------

# Everything up to the next escape of half a surrogate pair (group 1), and that escape (group 2), a broken escape or the end. The JSON
# parser refuses halves even in a value that is only skipped, so for the walk they are hidden behind a character that the body does not
# contain, and put back. The pattern matches wherever it is tried: were it to fail, it would be tried again from each byte of the body.
_PAIR: Final = rb"[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF: Final = rb"[dD][89a-fA-F][0-9a-fA-F]{2}"
_LONE: Final = re.compile(rb"((?:[^\\]++|\\[^u]|\\u(?:(?![dD][89a-fA-F])|" + _PAIR + rb"))*+)(?:\\u(" + _HALF + rb")|\\|\Z)")


class Hidden:
    """The body without halves of surrogate pairs, and the way back to the bytes that were sent."""

    def __init__(self, body: bytes) -> None:
        # Two bytes of UTF-8 and four digits for the six bytes of an escape. A body that has all 1,920 such characters is read as it is.
        self._marker = next((m for m in (chr(c).encode() for c in range(0x80, 0x800)) if m not in body), b"")
        self.body = _LONE.sub(self._hide, body) if self._marker else body
        self.used = self.body != body

    def _hide(self, match: re.Match[bytes]) -> bytes:
        half = match[2]
        return match[0] if half is None else match[1] + self._marker + half

    def sent(self, part: msgspec.Raw) -> bytes:
        return bytes(part).replace(self._marker, b"\\u") if self.used else bytes(part)

    def is_in(self, text: str | None) -> bool:
        return bool(text) and self.used and self._marker.decode() in str(text)


_BAD: Final = (msgspec.DecodeError, UnicodeDecodeError)  # the second for bytes that are no UTF-8


class _Traces(msgspec.Struct, rename="camel"):
    resource_spans: list[msgspec.Raw] | None = None


class _Logs(msgspec.Struct, rename="camel"):
    resource_logs: list[msgspec.Raw] | None = None


class _Group(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw()  # not `| None`: msgspec then takes nothing but null
    scope_spans: list[msgspec.Raw] | None = None
    scope_logs: list[msgspec.Raw] | None = None
    schema_url: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    scope: msgspec.Raw = msgspec.Raw()
    spans: list[msgspec.Raw] | None = None
    log_records: list[msgspec.Raw] | None = None
    schema_url: str | None = None


_decode_span: Final[Callable[[Any], from_json.JSpan]] = msgspec.json.Decoder(from_json.JSpan).decode
_decode_log: Final[Callable[[Any], from_json.JLog]] = msgspec.json.Decoder(from_json.JLog).decode


def json(body: bytes, signal: int) -> Salvaged:
    out = _Collector(signal, "json")
    hidden = Hidden(body)
    try:
        if signal == SPAN:
            groups = msgspec.json.decode(hidden.body, type=_Traces).resource_spans
        else:
            groups = msgspec.json.decode(hidden.body, type=_Logs).resource_logs
    except _BAD as error:
        raise Problem("body_undecodable", f"The body is no OTLP/JSON message: {error}.") from None
    for group in groups or ():
        _json_group(group, hidden, out)
    return out.result()


def _json_group(group: msgspec.Raw, hidden: Hidden, out: _Collector) -> None:
    try:
        parts = msgspec.json.decode(group, type=_Group)
        resource = None if not bytes(parts.resource) else msgspec.json.decode(hidden.sent(parts.resource), type=from_json.JResource | None)
        from_json.context(resource, parts.schema_url, None, None)
        if hidden.is_in(parts.schema_url):
            raise _refusal("A schemaUrl")
    except (*_BAD, Problem):
        out.quarantine(hidden.sent(group), _refusal("A resource"), None, ".resource", _json_count(group))
        return
    for part in (parts.scope_spans if out.signal == SPAN else parts.scope_logs) or ():
        _json_part(part, resource, parts.schema_url, hidden, out)


def _json_part(part: msgspec.Raw, resource: from_json.JResource | None, schema_url: str | None, hidden: Hidden, out: _Collector) -> None:
    try:
        parts = msgspec.json.decode(part, type=_Part)
        scope = None if not bytes(parts.scope) else msgspec.json.decode(hidden.sent(parts.scope), type=from_json.JScope | None)
        shared = from_json.context(resource, schema_url, scope, parts.schema_url)
        if hidden.is_in(parts.schema_url):
            raise _refusal("A schemaUrl")
    except (*_BAD, Problem):
        known = from_json.context(resource, schema_url, None, None)
        out.quarantine(hidden.sent(part), _refusal("An instrumentation scope"), known, ".scope", _json_count(part))
        return
    for raw in (parts.spans if out.signal == SPAN else parts.log_records) or ():
        _json_item(hidden.sent(raw), shared, out)


def _json_item(raw: bytes, shared: Context, out: _Collector) -> None:
    try:
        item: Item = from_json.span(_decode_span(raw), shared) if out.signal == SPAN else from_json.log(_decode_log(raw), shared)
    except _BAD as error:
        out.quarantine(raw, Problem("item_undecodable", f"The item cannot be decoded: {error}."), shared)
    except Problem as problem:
        out.quarantine(raw, problem, shared)
    else:
        out.keep(item)


class _CountPart(msgspec.Struct, rename="camel"):
    spans: list[msgspec.Raw] | None = None
    log_records: list[msgspec.Raw] | None = None


class _CountGroup(msgspec.Struct, rename="camel"):
    scope_spans: list[_CountPart] | None = None
    scope_logs: list[_CountPart] | None = None
    spans: list[msgspec.Raw] | None = None
    log_records: list[msgspec.Raw] | None = None


def _json_count(unit: msgspec.Raw) -> int:
    try:
        group = msgspec.json.decode(unit, type=_CountGroup)
    except _BAD:
        return 0
    parts = [*(group.scope_spans or ()), *(group.scope_logs or ())]
    found = sum(len(p.spans or ()) + len(p.log_records or ()) for p in parts)
    return found + len(group.spans or ()) + len(group.log_records or ())
