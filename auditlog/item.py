"""The one record that ingest and store speak: an item exactly as its sender sent it, whatever the transport.

Nothing here knows a vendor, a database or Django. `ingest` builds these from bytes, `store` keeps them and
builds them again, `normalise` reads them. "Verbatim" means: an item that went through the store compares
equal to the one that went in.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

# What an item is (column `event.item`). What it *means* (model call, tool call, ...) is derived, never stored here.
SPAN: Final = 1
LOG: Final = 2
REST: Final = 3
GOVERNANCE: Final = 4
UNREADABLE: Final = 5
ITEM_NAMES: Final = {SPAN: "span", LOG: "log", REST: "rest", GOVERNANCE: "governance", UNREADABLE: "unreadable"}

# Types of a value: the field numbers of opentelemetry.proto.common.v1.AnyValue, so that they need no translation.
WITHHELD: Final = -2  # the value was erased or withheld; it is not known any more (value is None)
# The same of a member of a REST event, whose value has to be JSON. It is this very object: what a sender writes can be equal to it, and is
# another, so that `is` tells them apart.
GONE: Final = b'"withheld"'
ABSENT: Final = -1  # a KeyValue whose `value` message was not sent at all
EMPTY: Final = 0  # an AnyValue with nothing set
STRING: Final = 1  # str
BOOL: Final = 2  # bool
INT: Final = 3  # int, 64 bit signed
DOUBLE: Final = 4  # float; NaN and infinities included
ARRAY: Final = 5  # list[Value]
KVLIST: Final = 6  # list[Attribute]
BYTES: Final = 7  # bytes

Value: TypeAlias = tuple[int, Any]
"""(type, value), for instance (STRING, "x"), (ARRAY, [(INT, 1), (STRING, "x")])."""

Attribute: TypeAlias = tuple[str, int, Any]
"""(key, type, value). Order and repeated keys are kept as sent."""


class Context(msgspec.Struct, frozen=True):
    """Resource and instrumentation scope, shared by all items of one ScopeSpans or ScopeLogs. Compare by identity for speed."""

    resource: list[Attribute] | None = None  # None: no Resource message was sent
    resource_dropped: int = 0
    resource_schema_url: str = ""
    entity_refs: list[tuple[str, str, list[str], list[str]]] = []  # schema_url, type, id_keys, description_keys
    scope: tuple[str, str] | None = None  # (name, version); None: no InstrumentationScope message was sent
    scope_attributes: list[Attribute] = []
    scope_dropped: int = 0
    schema_url: str = ""  # of the ScopeSpans / ScopeLogs


class SpanEvent(msgspec.Struct):
    time: int  # nanoseconds since 1970, as sent (0 to 2**64-1)
    name: str
    attributes: list[Attribute]
    dropped_attributes: int = 0


class Link(msgspec.Struct):
    trace_id: bytes
    span_id: bytes
    trace_state: str = ""
    attributes: list[Attribute] = []
    dropped_attributes: int = 0
    flags: int = 0


class Span(msgspec.Struct):
    context: Context
    trace_id: bytes  # 16 bytes
    span_id: bytes  # 8 bytes
    name: str
    start: int  # nanoseconds since 1970, as sent
    end: int
    attributes: list[Attribute]
    parent_span_id: bytes = b""
    trace_state: str = ""
    flags: int = 0
    kind: int = 0  # as sent, unknown numbers included
    dropped_attributes: int = 0
    events: list[SpanEvent] = []
    dropped_events: int = 0
    links: list[Link] = []
    dropped_links: int = 0
    status: tuple[int, str] | None = None  # (code, message); None: no Status message was sent


class Log(msgspec.Struct):
    context: Context
    time: int  # nanoseconds since 1970, 0 = not sent
    observed: int
    body: Value | None  # None: no body was sent; (EMPTY, None): an empty AnyValue was sent
    attributes: list[Attribute]
    trace_id: bytes = b""  # 16 bytes or empty
    span_id: bytes = b""
    severity: int = 0
    severity_text: str = ""
    event_name: str = ""
    dropped_attributes: int = 0
    flags: int = 0


class Rest(msgspec.Struct):
    """One REST event (or one governance event): a JSON object cut at its members, losslessly.

    `b"".join(interleave(gaps, raws)) == the bytes that were sent`: gaps has one entry more than members. A member is
    (path, raw JSON value); the objects `agent`, `tool` and `approval` are cut one level deeper ("tool.arguments").
    """

    gaps: list[bytes]
    members: list[tuple[str, bytes]]
    trace_id: bytes = b""  # 16 bytes or empty
    session_id: str = ""
    time: int = 0  # "at" in nanoseconds since 1970
    governance: bool = False

    def raw(self) -> bytes:
        parts = [self.gaps[0]]
        for (_, value), gap in zip(self.members, self.gaps[1:], strict=True):
            parts += (value, gap)
        return b"".join(parts)


class Unreadable(msgspec.Struct):
    """What could not be decoded, kept byte for byte: quarantine is evidence, too."""

    signal: int  # SPAN, LOG or REST: what it was sent as
    # How `raw` is to be read when it is tried again: "protobuf" or "json" is one item, with ".scope" or ".resource" behind it a whole
    # ScopeSpans/ScopeLogs or ResourceSpans/ResourceLogs whose scope or resource could not be read (ingest/salvage.py)
    encoding: str
    raw: bytes
    code: str  # stable code of the reason, from errors.py
    message: str  # what, which value, what to do
    index: int = 0  # position in the request, counted over all items
    context: Context | None = None  # where it could be decoded


Item: TypeAlias = Span | Log | Rest | Unreadable
