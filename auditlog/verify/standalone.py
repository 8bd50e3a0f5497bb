#!/usr/bin/env python3
"""Owns the offline check of an export folder: everything is computed again from its bytes, nothing that the folder says is believed.

    python verify.py FOLDER [--checkpoint FILE] [--key NAME+HASH+KEY ...] [--without-signature]

Needs Python 3.10 or later, and `cryptography` for the one signature. Exit status: 0 nothing is wrong, 1 something is, 2 it could not be
checked or not all of it. `manage.py verify` uses the same functions on the database. What a field, a digest, a part, an entry and a
checkpoint are: docs/adr/013-sealed-log.md and docs/concepts.md of Auditlog. Memory stays the same however large the export is.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import os
import re
import sqlite3
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import IO, Any, NamedTuple

FIELDS = {
    1: "system prompt", 2: "tools", 3: "input", 4: "output", 5: "reasoning", 6: "arguments", 7: "result", 8: "identity", 9: "resource",
    10: "other attributes", 11: "body", 12: "links and events",
}  # fmt: skip
SPAN, LOG, REST, GOVERNANCE, UNREADABLE = 1, 2, 3, 4, 5
CONTENT, NODE = 1, 2  # codes of references to content
DEEPEST = 32  # levels of MessagePack; what is stored has seven
LONGEST = 512 * 1024 * 1024  # bytes of one line
HELD = 64 * 1024 * 1024  # bytes of contents kept in memory
MOST = 1000  # faults that are written out
NUMBER, HASH = "[0-9]{1,18}", "[0-9a-f]{64}"
LINES = {"batch": NUMBER, "bucket": NUMBER, "project": NUMBER, "received": "[0-9T:.-]+Z", "count": NUMBER, "root": HASH,
         "acknowledged": NUMBER, "duplicates": NUMBER, "receipt": HASH, "class": NUMBER}  # fmt: skip
ENTRY = re.compile("auditlog part 1\n" + "".join(f"{name} (?P<{name}>{form})\n" for name, form in LINES.items()))
SIGNATURE = re.compile("— ([^ +\n]+) ([A-Za-z0-9+/]+={0,2})\n")
CHECKED = ("parts.jsonl", "checkpoint.txt", "keys.json", "rotations.txt", "withheld.jsonl")
TOLD = ("verify.py", "README.txt", "certification.txt")
CHUNK = re.compile(r"(events|contents)/([0-9]{5,9})\.jsonl|timestamps/[a-z0-9.-]{1,99}\.(tsr|txt)")
CERTIFICATES = ("certificates/dispositions.jsonl", "certificates/erasures.jsonl")
FORMS = {  # the same records in other forms, which are for reading and prove nothing
    "html": r"index\.html|sessions/[A-Za-z0-9_-]{1,64}\.html",
    "csv": r"csv/(sessions|actions)\.csv",
    "otlp": r"otlp/(traces|logs)/[0-9]{5,9}\.jsonl",
    "parquet": r"parquet/(events/[0-9]{5,9}|sessions|actions)\.parquet",
}
READING = re.compile("|".join(FORMS.values()))
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - Python 3.10 has no datetime.UTC


class Wrong(Exception):
    """One contradiction: a stable code, and what is wrong in words. Whoever catches it knows where."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Fault(NamedTuple):
    code: str
    where: str  # the event, content, batch, file or range that is wrong
    message: str


def need(condition: object, code: str, message: str) -> None:
    if not condition:
        raise Wrong(code, message)


# --- MessagePack, as far as it is used, strictly ---


class Ext(NamedTuple):
    code: int
    data: bytes


_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_SINGLE = {0xC0: None, 0xC2: False, 0xC3: True}


class Unpacker:
    """Reads values one after the other. Raises Wrong("unreadable"): too short, too deep, or nothing that is ever stored."""

    __slots__ = ("at", "data", "deepest")

    def __init__(self, data: bytes, deepest: int = DEEPEST) -> None:
        self.data, self.at, self.deepest = data, 0, deepest

    def take(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        need(self.at <= len(self.data), "unreadable", "MessagePack ends too early")
        return self.data[start : self.at]

    def value(self, depth: int = 0) -> Any:
        need(self.at < len(self.data) and depth < self.deepest, "unreadable", "MessagePack ends too early or is nested too deeply")
        byte = self.data[self.at]
        self.at += 1
        if byte < 0x80:
            return byte
        if byte >= 0xE0:
            return byte - 256
        if byte < 0x90:
            return self._map(byte & 15, depth)
        if byte < 0xA0:
            return [self.value(depth + 1) for _ in range(byte & 15)]
        if byte < 0xC0:
            return self.take(byte & 31).decode()
        if byte in _SINGLE:
            return _SINGLE[byte]
        if byte in _NUMBERS:
            return struct.unpack(_NUMBERS[byte], self.take(struct.calcsize(_NUMBERS[byte])))[0]
        need(byte in _LENGTHS, "unreadable", f"MessagePack has the byte {byte:#x}, which is never stored")
        length = int.from_bytes(self.take(_LENGTHS[byte]), "big")
        if byte <= 0xC6:
            return self.take(length)
        if byte <= 0xC9:
            code = self.take(1)[0]
            return Ext(code, self.take(length))
        if byte <= 0xDB:
            return self.take(length).decode()
        return [self.value(depth + 1) for _ in range(length)] if byte <= 0xDD else self._map(length, depth)

    def _map(self, length: int, depth: int) -> dict[Any, Any]:
        pairs = [(self.value(self.deepest - 1), self.value(depth + 1)) for _ in range(length)]  # keys are plain
        made = dict(pairs)
        need(len(made) == length, "unreadable", "a key stands twice in MessagePack")
        return made


def unpack(data: bytes, deepest: int = DEEPEST) -> Any:
    reader = Unpacker(data, deepest)
    value = reader.value()
    need(reader.at == len(data), "unreadable", "bytes follow after the MessagePack")
    return value


# --- an event: skeleton, values, fields (auditlog/store/pack.py says how they are made) ---


class Event(NamedTuple):
    event_id: bytes
    item: int
    trace_id: bytes
    span_id: bytes
    occurred: int | None  # nanoseconds since 1970
    digest: bytes
    prefix: bytes
    missing: list[int]  # fields whose values are gone
    changed: list[int]  # fields whose values are not those that were committed
    references: list[tuple[int, bytes, bool]]  # (field, SHA-256 of content, whether it is a node)
    structure: list[Any]
    values: dict[int, list[Any]]  # entries by field


def read_event(skeleton: bytes, vals: bytes) -> Event:
    """Takes an event apart and computes every commitment again. Raises Wrong("unreadable")."""
    try:
        return _read_event(skeleton, vals)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise Wrong("unreadable", f"skeleton or values cannot be taken apart ({type(error).__name__})") from error


def _read_event(skeleton: bytes, vals: bytes) -> Event:
    form, version, event_id, structure, listing = unpack(skeleton)
    item, head, _, _ = structure
    need((form, version) == (1, 1), "unreadable", f"format {form!r}, fields {version!r}: of another version than this verifier")
    commitments = dict(zip(listing[::2], listing[1::2], strict=True))
    entries, (vals_form, prefix, seed), references, values = _entries(vals)
    need(vals_form == 1 and len(commitments) == len(listing) // 2, "unreadable", "another format of values, or a field stands twice")
    all_salts = hashlib.shake_128(seed).digest(16 * 13) if isinstance(seed, bytes) else b""
    changed = [field for field in entries if field not in commitments]
    for field, committed in commitments.items():
        need(field in FIELDS and len(committed) == 32, "unreadable", f"there is no field {field!r}")
        if field in entries:
            salt = all_salts[16 * field : 16 * field + 16] if all_salts else seed[field]
            if len(salt) != 16 or hashlib.sha256(salt + entries[field]).digest() != committed:
                changed.append(field)
    need(item in (SPAN, LOG, REST, GOVERNANCE, UNREADABLE) and len(event_id) == 16, "unreadable", f"there is no kind {item!r} of item")
    times = {SPAN: head[5:7], LOG: head[3:5], REST: head[1:2], GOVERNANCE: head[1:2], UNREADABLE: []}[item]
    need(all(type(time) is int and time >= 0 for time in times), "unreadable", "a time is no number")
    trace_id = head[0] if item != UNREADABLE else b""
    span_id = head[1] if item in (SPAN, LOG) else b""
    need(isinstance(trace_id, bytes) and isinstance(span_id, bytes), "unreadable", "an identifier is not made of bytes")
    return Event(
        event_id, item, trace_id, span_id, next(filter(None, times), None), hashlib.sha256(skeleton).digest(), prefix,
        [field for field in commitments if field not in entries], changed, references, structure, values,
    )  # fmt: skip


def _entries(vals: bytes) -> tuple[dict[int, bytes], list[Any], list[tuple[int, bytes, bool]], dict[int, list[Any]]]:
    """(the entries of each field as they stand there, what precedes them, what they refer to, the entries decoded)."""
    reader = Unpacker(vals)
    opening = reader.take(1)[0]
    length = opening & 15 if 0x90 <= opening < 0xA0 else int.from_bytes(reader.take(2), "big")
    need((0x90 <= opening < 0xA0 or opening == 0xDC) and length % 2 and length >= 3, "unreadable", "the values are no list of fields")
    first = [reader.value(1) for _ in range(3)]
    entries: dict[int, bytes] = {}
    references: list[tuple[int, bytes, bool]] = []
    values: dict[int, list[Any]] = {}
    for _ in range((length - 3) // 2):
        field = reader.value(1)
        start = reader.at
        value = reader.value(1)
        need(field in FIELDS and field not in entries and isinstance(value, list), "unreadable", f"field {field!r} stands twice or is none")
        entries[field], values[field] = vals[start : reader.at], value
        references += [(field, sha, node) for sha, node in refers(value)]
    need(reader.at == len(vals), "unreadable", "bytes follow after the values")
    return entries, first, references, values


def refers(entries: list[Any]) -> Iterator[tuple[bytes, bool]]:
    """(SHA-256, whether it is a node) of all content that decoded entries refer to."""
    for entry in entries:
        if isinstance(entry, Ext):
            need(entry.code in (CONTENT, NODE) and len(entry.data) == 32, "unreadable", "a reference is no SHA-256")
            yield entry.data, entry.code == NODE
        elif isinstance(entry, list):
            yield from refers(entry)


def node_refers(data: bytes) -> list[tuple[bytes, bool]]:
    """What a node refers to. Raises Wrong("content_changed") for what is none."""
    try:
        return list(refers(unpack(data)))
    except (Wrong, ValueError, TypeError) as error:
        raise Wrong("content_changed", "it stands where a run of earlier elements belongs, and is none") from error


def columns_differ(event: Event, public: str, item: Any, trace_id: Any, span_id: Any, occurred_us: int | None) -> list[str]:
    """Names of the columns that contradict the skeleton. IDs in hex; public: trace key and event ID."""
    expected = None if event.occurred is None else event.occurred // 1000
    right = {
        "id": public[32:] == event.event_id.hex() and len(public) == 64 and (not event.trace_id or public[:32] == event.trace_id.hex()),
        "item": type(item) is int and item == event.item,
        "trace_id": (trace_id or "") == event.trace_id.hex(),
        "span_id": (span_id or "") == event.span_id.hex(),
        "occurred_at": occurred_us == expected,
    }
    return [name for name, fits in right.items() if not fits]


# --- the copy for people, made again from the bytes that are proven (auditlog/store/unpack.py and auditlog/otlp_json.py make it) ---

# Which key belongs to which field, and which keys are written as numbers: version 1 of auditlog/store/fields.py, word for word
SYSTEM, TOOLS, INPUT, OUTPUT, REASONING, ARGUMENTS, RESULT, IDENTITY, RESOURCE, OTHER, BODY, EVENTS = range(1, 13)
SESSION_KEYS = (
    "session.id",
    "gen_ai.conversation.id",
    "session_id",
    "langfuse.session.id",
    "traceloop.association.properties.session_id",
    "lmnr.association.properties.session_id",
    "ai.telemetry.metadata.sessionId",
    "langsmith.trace.session_id",
)
RULES = tuple((field, re.compile(pattern, re.VERBOSE)) for field, pattern in (
    (ARGUMENTS, r"(^|[._])tool[._](call[._])?(function[._])?(arguments|args|parameters|input)$ | ^ai\.toolcall\.args$ | ^tool_arguments$"),
    (RESULT, r"(^|[._])tool[._](call[._])?(result|response|output)$ | ^ai\.toolcall\.result$ | ^tool_response$"),
    (SYSTEM, r"system_instructions?$ | system_prompt | system\.message | ^system$ | instructions$ | prompt_template"),
    (TOOLS, r"""tool[._]definitions | ^llm\.tools\. | request\.functions\. | ^ai\.prompt\.tools | tools_offered | ^tools$
        | json_schema$ | available_tools"""),
    (REASONING, r"(^|[._])(reasoning|thinking)([._](content|text|summary))?$ | reasoning_content"),
    (IDENTITY, r"""(session|conversation|thread|user|customer|enduser|account|patient|tenant|member|ticket)[._]?id
        | ^(user|enduser|customer|client|session)\. | [._](email|phone|ip_address|username|user)$
        | ^(agent|about|id|trace_id|parent_id)(\.|$) | ^metadata$ | association\.properties | telemetry\.metadata | \.metadata\."""),
    (INPUT, r"""input[._]messages | (^|[._])(prompts?|input|inputs|request_data|spaninputs|query|question)(\.|$) | \.prompt\."""),
    (OUTPUT, r"""output[._]messages | (^|[._])(completions?|output|outputs|response_data|spanoutputs|answer|documents)(\.|$)
        | \.response\.(text|object|toolcalls)"""),
))  # fmt: skip
INTERNED = (
    "session.id", "user.id", "customer.id", "gen_ai.conversation.id", "gen_ai.agent.name", "gen_ai.agent.id", "gen_ai.agent.version",
    "gen_ai.agent.description", "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model",
    "gen_ai.response.model", "gen_ai.request.temperature", "gen_ai.request.max_tokens", "gen_ai.request.top_p", "gen_ai.request.top_k",
    "gen_ai.request.seed", "gen_ai.request.frequency_penalty", "gen_ai.request.presence_penalty", "gen_ai.request.stop_sequences",
    "gen_ai.request.choice.count", "gen_ai.response.id", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "gen_ai.usage.total_tokens",
    "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.output.type",
    "gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.description", "gen_ai.tool.call.id", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.event.content", "gen_ai.prompt", "gen_ai.completion", "server.address", "server.port", "error.type",
    "openinference.span.kind", "input.value", "input.mime_type", "output.value", "output.mime_type", "metadata", "agent.name", "tool.name",
    "tool.description", "tool.parameters", "tool_call.id", "llm.model_name", "llm.provider", "llm.system", "llm.invocation_parameters",
    "llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total", "llm.token_count.prompt_details.cache_read",
    "llm.token_count.completion_details.reasoning", "llm.request.type", "traceloop.span.kind", "traceloop.entity.name",
    "traceloop.entity.path", "traceloop.workflow.name", "traceloop.entity.input", "traceloop.entity.output", "exception.type",
    "exception.message", "exception.stacktrace", "exception.escaped", "code.function", "code.filepath", "code.lineno", "thread.id",
    "thread.name", "http.request.method", "http.response.status_code", "url.full", "url.path", "event.name", "logfire.msg",
    "logfire.msg_template", "logfire.span_type", "logfire.json_schema",
)  # fmt: skip
STRING, BOOL, INT, DOUBLE, ARRAY, KVLIST, BYTES = 1, 2, 3, 4, 5, 6, 7  # types of values; what is not above 0 has no entry
FRAMES = {16: (b"[", b",", b"]"), 17: (b"[", b", ", b"]")}  # of a text that was cut at its elements; 18: with a frame of its own
CUT_ARRAY, JSON_WHOLE = 19, 24
DEEP = 200  # levels of MessagePack in a value that is itself nested
GONE: Any = object()  # withheld, erased, or its content is not there

Attributes = list[dict[str, Any]]


@lru_cache(maxsize=20_000)
def field_of(key: str) -> int:
    if key in SESSION_KEYS:
        return IDENTITY
    lowered = key.lower()
    return next((field for field, pattern in RULES if pattern.search(lowered)), OTHER)


def given(**members: Any) -> dict[str, Any]:
    """Without what has the default value, as OTLP/JSON has it."""
    return {name: value for name, value in members.items() if value not in ("", 0, [], None)}


def any_value(kind: int, value: Any) -> dict[str, Any]:
    """An AnyValue of OTLP/JSON."""
    if kind == DOUBLE and not math.isfinite(value):
        return {"doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if kind in (STRING, BOOL, DOUBLE):
        return {{STRING: "stringValue", BOOL: "boolValue", DOUBLE: "doubleValue"}[kind]: value}
    if kind == INT:
        return {"intValue": str(value)}
    if kind == BYTES:
        return {"bytesValue": base64.b64encode(value).decode()}
    if kind == ARRAY:
        return {"arrayValue": {"values": [any_value(*element) for element in value]}}
    return {"kvlistValue": {"values": attributes_of(value)}} if kind == KVLIST else {}


def attributes_of(found: list[Any]) -> Attributes:
    return [{"key": key} if kind == -1 else {"key": key, "value": any_value(kind, value)} for key, kind, value in found]


def number(value: int) -> str:
    return str(value) if value else ""


class Copy:
    """Makes the readable copy of one event. content: bytes by SHA-256, None for what is not there."""

    def __init__(self, event: Event, content: Callable[[bytes], bytes | None]) -> None:
        self._structure, self._content = event.structure, content
        self._values = {field: iter(entries) for field, entries in event.values.items()}
        self._resource = RESOURCE in event.values

    def make(self) -> Any:
        """OTLP/JSON as an object, or the text of a REST event; None for what is unreadable, which has no copy."""
        kind = self._structure[0]
        if kind in (REST, GOVERNANCE):
            return self._rest()
        return None if kind == UNREADABLE else self._wrapped(*(self._span() if kind == SPAN else self._log()))

    def take(self, field: int) -> Any:
        return next(self._values[field]) if field in self._values else GONE

    def text_of(self, field: int) -> str:
        found = self.take(field)
        return "" if found is GONE else found

    def bytes_of(self, entry: Any) -> Any:
        if isinstance(entry, Ext):
            found = self._content(entry.data)
            return GONE if found is None else found
        return entry.encode() if isinstance(entry, str) else entry

    def pieces(self, entries: list[Any]) -> list[Any]:
        """The elements of a value that was cut: what precedes them lies behind nodes, each of which begins with the one before."""
        runs = [entries]
        while runs[-1] and isinstance(runs[-1][0], Ext) and runs[-1][0].code == NODE:
            data = self.bytes_of(runs[-1][0])
            if data is GONE:
                return [GONE]
            runs.append(unpack(data))
        return [self.bytes_of(one) for run in reversed(runs) for one in run if not (isinstance(one, Ext) and one.code == NODE)]

    def text(self, code: Any, entry: Any) -> Any:
        """Bytes of a text that was cut, or of a REST member."""
        if code == JSON_WHOLE:
            return self.bytes_of(entry)
        opening, between, closing = FRAMES[code] if isinstance(code, int) else code[1:]
        pieces = self.pieces(entry)
        return GONE if GONE in pieces else opening + between.join(pieces) + closing

    def value(self, field: int, code: Any) -> dict[str, Any]:
        """An AnyValue: the next one of a field."""
        if isinstance(code, int) and code <= 0:
            return {}
        entry = self.take(field)
        if entry is GONE:
            return {"withheld": True}
        if code in (INT, BOOL, DOUBLE):
            return any_value(code, entry)
        if code == CUT_ARRAY:
            pieces = self.pieces(entry)
            return {"withheld": True} if GONE in pieces else any_value(ARRAY, [unpack(piece, DEEP) for piece in pieces])
        data = self.text(code, entry) if code not in (STRING, BYTES, ARRAY, KVLIST) else self.bytes_of(entry)
        if data is GONE:
            return {"withheld": True}
        if code in (ARRAY, KVLIST):
            return any_value(code, unpack(data, DEEP))
        return any_value(BYTES, data) if code == BYTES else {"stringValue": data.decode()}

    def attributes(self, names: list[Any], field: int = 0) -> Attributes:
        made = []
        for name, code in zip(names[::2], names[1::2], strict=True):
            key = INTERNED[name] if isinstance(name, int) else name
            value = self.value(field or field_of(key), code)
            made.append({"key": key} if code == -1 else {"key": key, **value} if value.get("withheld") else {"key": key, "value": value})
        return made

    def _span(self) -> tuple[str, str, str, dict[str, Any]]:
        _, head, names, (events, links) = self._structure
        trace_id, span_id, parent, flags, kind, start, end, dropped, dropped_events, dropped_links, code = head
        name, state = self.text_of(OTHER), self.text_of(OTHER)
        status = None if code is None else given(code=code, message=self.text_of(OTHER))
        made = given(
            traceId=trace_id.hex(), spanId=span_id.hex(), traceState=state, parentSpanId=parent.hex(), flags=flags, name=name, kind=kind,
            startTimeUnixNano=number(start), endTimeUnixNano=number(end), attributes=self.attributes(names),
            droppedAttributesCount=dropped, droppedEventsCount=dropped_events, droppedLinksCount=dropped_links,
            events=[
                given(timeUnixNano=number(time), name=self.text_of(EVENTS), attributes=self.attributes(inner, EVENTS),
                      droppedAttributesCount=lost)
                for time, lost, inner in events
            ],
            links=[
                given(traceId=trace.hex(), spanId=span.hex(), flags=bits, droppedAttributesCount=lost, traceState=self.text_of(EVENTS),
                      attributes=self.attributes(inner, EVENTS))
                for trace, span, bits, lost, inner in links
            ],
        )  # fmt: skip
        return "resourceSpans", "scopeSpans", "spans", made if status is None else made | {"status": status}

    def _log(self) -> tuple[str, str, str, dict[str, Any]]:
        _, head, names, code = self._structure
        trace_id, span_id, flags, time, observed, severity, dropped = head
        level, name = self.text_of(OTHER), self.text_of(OTHER)
        made = given(
            timeUnixNano=number(time), observedTimeUnixNano=number(observed), severityNumber=severity, severityText=level,
            attributes=self.attributes(names), droppedAttributesCount=dropped, flags=flags, traceId=trace_id.hex(), spanId=span_id.hex(),
            eventName=name,
        )  # fmt: skip
        return "resourceLogs", "scopeLogs", "logRecords", made if code is None else made | {"body": self.value(BODY, code)}

    def _wrapped(self, groups: str, parts: str, items: str, one: dict[str, Any]) -> dict[str, Any]:
        data = self.bytes_of(self.take(RESOURCE)) if self._resource else GONE
        context = [None, 0, "", [], None, [], 0, ""] if data is GONE else unpack(data, DEEP)
        resource, lost, url, refs, scope, named, scope_lost, schema = context
        part: dict[str, Any] = {items: [one]} | ({"schemaUrl": schema} if schema else {})
        if scope is not None:
            part["scope"] = given(name=scope[0], version=scope[1], attributes=attributes_of(named), droppedAttributesCount=scope_lost)
        group: dict[str, Any] = {parts: [part]} | ({"schemaUrl": url} if url else {})
        if resource is not None:
            entities = [given(schemaUrl=ref[0], type=ref[1], idKeys=ref[2], descriptionKeys=ref[3]) for ref in refs]
            group["resource"] = given(attributes=attributes_of(resource), droppedAttributesCount=lost, entityRefs=entities)
        return {groups: [group]}

    def _rest(self) -> str:
        _, _, names, gaps = self._structure
        made = [gaps[0]]
        for (path, code), gap in zip(zip(names[::2], names[1::2], strict=True), gaps[1:], strict=True):
            entry = self.take(field_of(path))
            data = GONE if entry is GONE else self.text(code, entry)
            made += [b'"withheld"' if data is GONE else data, gap]
        return b"".join(made).decode(errors="replace")


# --- the log: RFC 6962, tlog-checkpoint, signed-note ---


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    level = [leaf_hash(leaf) for leaf in leaves] or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        above = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = above + level[-1:] if len(level) % 2 else above
    return level[0]


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2, of a leaf's bytes."""
    if not 0 <= index < size:
        return False
    fn, sn, result = index, size - 1, leaf_hash(leaf)
    for step in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            result = hashlib.sha256(b"\x01" + step + result).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = hashlib.sha256(b"\x01" + result + step).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and result == root


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes
    text: bytes  # what is signed
    signatures: list[tuple[str, bytes, bytes]]  # (name, hash of the key, signature)


def read_checkpoint(note: str) -> Checkpoint:
    """Raises Wrong("checkpoint_unreadable")."""
    text, gap, signed = note.rpartition("\n\n")
    lines = text.split("\n")
    found = SIGNATURE.findall(signed)
    signatures = [(name, raw[:4], raw[4:]) for name, raw in ((name, unbase64(data)) for name, data in found)]
    need(len({one[:2] for one in signatures}) == len(signatures), "checkpoint_unreadable", "one key stands twice below it")
    need(gap and found and "".join(f"— {name} {data}\n" for name, data in found) == signed, "checkpoint_unreadable", "it is no signed note")
    plain = len(lines) >= 3 and all(lines) and not re.search("[\x00-\x09\x0b-\x1f]", note)
    need(plain and re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]), "checkpoint_unreadable", "it is no signed note of origin, size and root")
    root = unbase64(lines[2])
    need(len(root) == 32, "checkpoint_unreadable", "its root does not have 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root, f"{text}\n".encode(), signatures)


def key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def signed_by(checkpoint: Checkpoint, name: str, public: bytes) -> bool | None:
    """Whether a signature of this key is there and right; None where `cryptography` is not installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return None
    for signer, number, signature in checkpoint.signatures:
        if (signer, number) == (name, key_hash(name, public)):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, checkpoint.text)
                return True
            except (InvalidSignature, ValueError):
                return False
    return False


def unbase64(text: Any) -> bytes:
    """Raises Wrong for what is not exactly what base64 writes."""
    try:
        data = base64.b64decode(text, validate=True)
        need(isinstance(text, str) and base64.b64encode(data).decode() == text, "unreadable", "base64 that is not canonical")
        return data
    except (ValueError, TypeError) as error:
        raise Wrong("unreadable", "it is no base64") from error


def unhex(text: Any) -> bytes:
    need(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text), "unreadable", "it is no hash of 64 hex digits")
    return bytes.fromhex(text)


# --- the folder ---


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    need(len(made) == len(pairs), "unreadable", "a key stands twice in one JSON object")
    return made


def _constant(name: str) -> Any:
    raise Wrong("unreadable", f"{name} is no JSON")


def read_json(data: bytes) -> Any:
    """Raises Wrong("unreadable") also for what other readers would take: keys that stand twice, NaN, text that is no UTF-8."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_pairs, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise Wrong("unreadable", f"it is no JSON that can be read ({type(error).__name__})") from error


def has(value: Any, **kinds: Any) -> Any:
    """The value, if it is a JSON object that has exactly these members, each of its kind. Raises Wrong("unreadable")."""
    need(isinstance(value, dict) and value.keys() == kinds.keys(), "unreadable", f"it must have the members {', '.join(kinds)}")
    for name, kind in kinds.items():
        fits = isinstance(value[name], kind) and not (isinstance(value[name], bool) and kind is not bool)
        fits = fits and not (type(value[name]) is int and abs(value[name]) >= 2**63)
        need(fits, "unreadable", f"{name} is of another type")
    return value


def pair(value: list[Any]) -> tuple[int, int]:
    """The first and last number of a range."""
    fits = len(value) == 2 and all(type(one) is int and abs(one) < 2**63 for one in value)
    need(fits, "unreadable", "a range does not have a first and a last number")
    return value[0], value[1]


def shown(value: Any) -> str:
    """For a terminal: no control characters, bounded."""
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def microseconds(time: str) -> int:
    """Since 1970, of a time as an export writes it. Raises Wrong("unreadable")."""
    need(re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z", time), "unreadable", "a time is no time in UTC")
    try:
        return (datetime.fromisoformat(f"{time[:-1]}+00:00") - EPOCH) // timedelta(microseconds=1)
    except ValueError as error:
        raise Wrong("unreadable", "a time is no time in UTC") from error


def content_bytes(line: Any) -> bytes:
    return line["text"].encode() if "text" in line else unbase64(line["bytes"])


NONE = type(None)
TABLES = """
CREATE TABLE events (batch, bucket, digest, id, project, received, PRIMARY KEY (batch, bucket, digest)) WITHOUT ROWID;
CREATE TABLE parts (batch, bucket, PRIMARY KEY (batch, bucket)) WITHOUT ROWID;
CREATE TABLE leaf (number PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE absent (bucket PRIMARY KEY, parts, sealed, gone, low, high, first, last) WITHOUT ROWID;
CREATE TABLE certificate (number PRIMARY KEY, bucket, events, disposed, low, high, first, last, bound) WITHOUT ROWID;
CREATE TABLE recorded (number, event, said, PRIMARY KEY (number, event)) WITHOUT ROWID;
CREATE TABLE elsewhere (event PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE missing (id, field, PRIMARY KEY (id, field)) WITHOUT ROWID;
CREATE TABLE withheld (id PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE ref (sha PRIMARY KEY, event) WITHOUT ROWID;
CREATE TABLE node (sha PRIMARY KEY, event, read) WITHOUT ROWID;
CREATE INDEX node_read ON node (read);
CREATE TABLE contents (sha PRIMARY KEY, node, path, at, size) WITHOUT ROWID;
"""


HERE = "event NOT IN (SELECT event FROM elsewhere)"


class Export:
    """One check of one folder. What has been seen lies in a temporary database on disk, so that memory does not follow the export."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.faults: list[Fault] = []
        self.more = 0  # faults beyond those that are written out
        self.done: dict[str, int] = dict.fromkeys(
            ("files", "bytes", "reading", "events", "contents", "parts", "whole", "withheld", "erased", "certificates", "bound"), 0
        )
        self.gone: dict[tuple[str, str], int] = {}  # (field, why): how many
        self.notes: list[str] = []
        self.signature_checked = True
        self.place = ("", 0, 0)  # file, offset and length of the line that is read
        self.recent: OrderedDict[bytes, bytes] = OrderedDict()  # contents, the last ones that were asked for
        self.held = 0  # their bytes
        self.opened: dict[str, IO[bytes]] = {}
        self.there: set[str] = set()
        self.chunks: dict[str, list[str]] = {}
        self.manifest: dict[str, Any] = {}
        self.manifest_sha = ""
        self.checkpoint: Checkpoint | None = None
        self.db = sqlite3.connect("", isolation_level=None)
        self.db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES} BEGIN;")

    def close(self) -> None:
        """Lets go of files and of the temporary database."""
        self.db.close()
        for file in self.opened.values():
            file.close()

    def fault(self, code: str, where: str, message: str) -> None:
        if len(self.faults) < MOST:
            self.faults.append(Fault(code, where, message))
        else:
            self.more += 1

    def check(self, trusted: list[tuple[str, bytes]], outside: Checkpoint | None) -> None:
        """All of it. Raises Wrong where there is no manifest to begin with, OSError."""
        self.files()
        if not self.manifest:
            return
        self.note(trusted, outside)
        for number, line in self.lines("contents"):
            self._line(number, line, self.content)
        for number, line in self.lines("events"):
            self._line(number, line, self.event)
        self.references()
        for number, line in self.lines("withheld.jsonl"):
            self._line(number, line, self.withheld)
        for number, line in self.lines("certificates/erasures.jsonl"):
            self._line(number, line, self.erased)
        for number, line in self.lines("parts.jsonl"):
            self._line(number, line, self.part)
        for number, line in self.lines("certificates/dispositions.jsonl"):
            self._line(number, line, self.certificate)
        self.absences()
        self.leftovers()

    def _line(self, where: str, line: bytes, check: Any) -> None:
        try:
            check(where, read_json(line))
        except Wrong as wrong:
            self.fault(wrong.code, where, wrong.message)

    def _named(self, name: str, where: str, check: Callable[[], None]) -> None:
        try:
            check()
        except Wrong as wrong:
            self.fault(wrong.code, name, f"{where}: {wrong.message}")

    def open(self, path: str) -> IO[bytes]:
        """Never follows a link; the folders above were seen to be none when they were listed."""
        name = os.path.join(self.folder, path)
        need(os.path.isfile(name) and not os.path.islink(name), "file_missing", f"{path} is not there, or is no regular file")
        return os.fdopen(os.open(name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb")

    def listed(self, inside: str = "") -> Iterator[str]:
        """Every regular file of the folder; what is neither file nor folder is a fault."""
        need(inside.count("/") < 4, "file_unsafe", "folders are nested more deeply than in any export")
        with os.scandir(os.path.join(self.folder, inside)) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    yield from self.listed(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    yield path
                else:
                    self.fault("file_unsafe", shown(path), "it is a link or no regular file: it is not opened")

    def files(self) -> None:
        """The manifest, then every file against it."""
        with self.open("manifest.json") as file:
            raw = file.read(LONGEST)
        self.manifest_sha = hashlib.sha256(raw).hexdigest()
        try:
            named = self.named_files(read_json(raw))
        except Wrong as wrong:
            self.fault(wrong.code, "manifest.json", wrong.message)
            return
        there = [path for path in self.listed() if path != "manifest.json"]
        for path in sorted(named.keys() - set(there)):
            outside = path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", path) or ":" in path
            code, message = ("file_outside", "it leads out of the folder") if outside else ("file_missing", "the manifest names it")
            self.fault(code, shown(path), message)
        for path in there:
            if path not in named:
                self.fault("file_stray", shown(path), "the manifest does not name it")
            else:
                self.file(path, named[path])
        self.there = set(there) & named.keys()
        for kind in ("events", "contents"):
            paths = self.chunks[kind] = sorted(path for path in self.there if path.startswith(f"{kind}/"))
            if paths != [f"{kind}/{number:05}.jsonl" for number in range(1, len(paths) + 1)]:
                self.fault("file_missing", kind, "its chunks are not numbered from 1 without a gap")
        for path in sorted(set(CHECKED) - named.keys()):
            self.fault("file_missing", path, "the manifest does not name it, and every export has it")

    def named_files(self, manifest: Any) -> dict[str, Any]:
        has(
            manifest, format=str, made_at=str, project=dict, scope=dict, recipient=str, purpose=str, formats=list, counts=dict,
            files=list, checkpoint=dict,
        )  # fmt: skip
        need(manifest["format"] == "auditlog-export/1", "unreadable", f"format {shown(manifest['format'])} is of another version")
        has(manifest["counts"], events=int, contents=int, parts=int, withheld=int)
        has(manifest["checkpoint"], size=int, root=str)
        has(manifest["project"], id=int, name=str)
        scope = has(manifest["scope"], **{"sessions": (list, NONE), "from": (str, NONE), "to": (str, NONE)}, sealed_to=int, not_sealed=int)
        for time in filter(None, (manifest["made_at"], scope["from"], scope["to"])):
            microseconds(time)
        need(all(isinstance(key, str) for key in scope["sessions"] or ()), "unreadable", "a session of the scope is no text")
        known = all(isinstance(one, str) and one in ("jsonl", *FORMS) for one in manifest["formats"])
        need(known, "unreadable", f"formats {shown(manifest['formats'])} are not all known")
        named: dict[str, Any] = {}
        for one in manifest["files"]:
            has(one, path=str, sha256=str, bytes=int, records=(int, NONE))
            need(one["path"] not in named, "unreadable", f"the manifest names {shown(one['path'])} twice")
            named[one["path"]] = one
        self.manifest = manifest
        return named

    def file(self, path: str, named: dict[str, Any]) -> None:
        sha, size, lines = hashlib.sha256(), 0, 0
        with self.open(path) as file:
            while data := file.read(1 << 20):
                sha.update(data)
                size, lines = size + len(data), lines + data.count(b"\n")
        self.done["files"], self.done["bytes"] = self.done["files"] + 1, self.done["bytes"] + size
        if (sha.hexdigest(), size) != (named["sha256"], named["bytes"]):
            self.fault("file_changed", path, "it is not the file that the manifest names: its SHA-256 or length differs")
        if path.endswith(".jsonl") and lines != named["records"]:
            self.fault("count_differs", path, f"it has {lines} lines, the manifest says {shown(named['records'])}")
        if READING.fullmatch(path):
            self.done["reading"] += 1
        elif not (path in CHECKED + TOLD + CERTIFICATES or CHUNK.fullmatch(path)):
            self.fault("file_stray", shown(path), "an export of this format has no such file")

    def lines(self, what: str) -> Iterator[tuple[str, bytes]]:
        """(file:line, bytes) of every line of a file, or of all chunks of a kind."""
        for path in self.chunks.get(what, [what] if what in self.there else []):
            with self.open(path) as file:
                number = at = 0
                while line := file.readline(LONGEST):
                    self.place = (path, at, len(line))
                    number, at = number + 1, at + len(line)
                    if not line.endswith(b"\n"):
                        self.fault("unreadable", f"{path}:{number}", "the line does not end, or is longer than any that is written")
                        break
                    yield f"{path}:{number}", line

    def text(self, path: str) -> str:
        need(path in self.there, "file_missing", "it is not there")
        with self.open(path) as file:
            try:
                return file.read(64 << 20).decode()
            except ValueError as error:
                raise Wrong("unreadable", "it is no UTF-8") from error

    # --- checkpoint and keys ---

    def note(self, trusted: list[tuple[str, bytes]], outside: Checkpoint | None) -> None:
        try:
            checkpoint = self.checkpoint = read_checkpoint(self.text("checkpoint.txt"))
            size, root = self.manifest["checkpoint"]["size"], self.manifest["checkpoint"]["root"]
            need((size, root) == (checkpoint.size, checkpoint.root.hex()), "checkpoint_differs", "the manifest names another size or root")
            keys = self.keys()
            in_force = [key for key in keys if key[2] <= checkpoint.size][-1:]
            need(in_force and in_force[0][0] == checkpoint.origin, "key_unknown", "keys.json has no key of its origin for its size")
            name, public, _ = in_force[0]
            signed = signed_by(checkpoint, name, public)
            self.signature_checked = signed is not None
            need(signed is not False, "signature_wrong", "it is not signed by the key that keys.json names for it")
            self.signatures(checkpoint, keys)
            self.trust(checkpoint, name, public, trusted, outside, self.rotations(keys))
        except Wrong as wrong:
            self.fault(wrong.code, "checkpoint.txt", wrong.message)

    def keys(self) -> list[tuple[str, bytes, int]]:
        found = read_json(self.text("keys.json").encode())
        need(isinstance(found, list), "unreadable", "keys.json is no list")
        keys = []
        for one in found:
            has(one, name=str, public_key=str, created_at=str, from_size=int)
            microseconds(one["created_at"])
            keys.append((one["name"], unbase64(one["public_key"]), one["from_size"]))
            need(len(keys[-1][1]) == 32 and one["name"].isprintable(), "key_unknown", "a public key does not have 32 bytes, or no name")
        need(keys == sorted(keys, key=lambda key: key[2]), "unreadable", "keys.json is not in the order of sizes")
        return keys

    def signatures(self, note: Checkpoint, keys: list[tuple[str, bytes, int]]) -> None:
        """Every signature of a note by a key of keys.json must be right; of others it is said that nobody looked at them."""
        numbers = {(name, key_hash(name, public)): public for name, public, _ in keys}
        for name, number, _ in note.signatures:
            if (name, number) in numbers:
                wrong = signed_by(note, name, numbers[name, number]) is False
                need(not wrong, "signature_wrong", f"the signature {number.hex()} on the note of {note.size} leaves is not that key's")
            else:
                self.notes.append(f"A signature by {shown(name)} with the key {number.hex()} was NOT checked: keys.json has no such key.")

    def rotations(self, keys: list[tuple[str, bytes, int]]) -> list[set[tuple[str, bytes]]]:
        """For each note of rotations.txt the keys that signed it: at least two, of keys.json."""
        text = self.text("rotations.txt")
        blocks = re.findall("((?:[^\n]+\n)+\n(?:— [^\n]+\n)+)", text)
        need("".join(blocks) == text, "checkpoint_unreadable", "rotations.txt is no sequence of signed notes")
        found = []
        for note in map(read_checkpoint, blocks):
            self.signatures(note, keys)
            found.append({(name, public) for name, public, _ in keys if signed_by(note, name, public)})
            few = self.signature_checked and len(found[-1]) < 2
            need(not few, "rotation_unvouched", f"the note of {note.size} leaves in rotations.txt is not signed by two keys of keys.json")
            same = self.checkpoint is None or note.size != self.checkpoint.size or note == self.checkpoint
            need(same, "checkpoint_differs", "rotations.txt has another note, or other signatures, for the same size")
        return found

    def trust(
        self, checkpoint: Checkpoint, name: str, public: bytes, trusted: list[tuple[str, bytes]], outside: Checkpoint | None,
        rotations: list[set[tuple[str, bytes]]],
    ) -> None:  # fmt: skip
        """What was given from outside, against what the export says."""
        if trusted:
            known = set(trusted)
            for signers in rotations:  # in the order of their sizes
                known |= signers if signers & known else set()
            vouched = (name, public) in known
            need(vouched, "key_untrusted", "it is signed by a key that is none of those given, nor does one of them vouch for it")
            self.notes.append("The signing key is one that was given from outside, or follows from it.")
        if outside is not None:
            need(outside.origin == checkpoint.origin, "checkpoint_differs", f"the checkpoint given is of {shown(outside.origin)}")
            if outside.size == checkpoint.size:
                need(outside.root == checkpoint.root, "checkpoint_differs", "the checkpoint given has another root for the same size")
                self.notes.append("Size and root are those of the checkpoint that was given from outside.")
            else:
                need(signed_by(outside, name, public) is not False, "key_untrusted", "the checkpoint given is signed by another key")
                self.notes.append(
                    f"The checkpoint given from outside has {outside.size} leaves and is signed by the same key. That one tree continues "
                    "the other is NOT shown by this export: ask for one with the same size, or for a consistency proof."
                )
        if not trusted and outside is None:
            vkey = f"{name}+{key_hash(name, public).hex()}+{base64.b64encode(chr(1).encode() + public).decode()}"
            self.notes.append(
                "The key comes from the export itself: it shows that the export agrees with itself, NOT who made it. Compare this key with "
                f"one that you have from elsewhere, or give it as --key, or a checkpoint as --checkpoint: {shown(vkey)}"
            )

    # --- lines ---

    def event(self, where: str, line: Any) -> None:
        need(isinstance(line, dict), "unreadable", "it is no JSON object")
        last = "otlp" if "otlp" in line else "rest" if "rest" in line else None
        kinds = {"id": str, "batch": int, "bucket": int, "project": int, "item": int, "occurred_at": (str, NONE), "received_at": str}
        kinds |= {"trace_id": (str, NONE), "span_id": (str, NONE), "skeleton": str, "vals": str}
        has(line, **kinds, **({} if last is None else {last: dict if last == "otlp" else str}))
        self.done["events"] += 1
        unhex(public := line["id"])
        microseconds(line["received_at"])
        skeleton = unbase64(line["skeleton"])
        row = (line["batch"], line["bucket"], hashlib.sha256(skeleton).digest(), public, line["project"], line["received_at"])
        if not self.db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)", row).rowcount:
            self.fault("event_twice", public, f"{where}: the same event stands there a second time")
            return
        try:
            event = read_event(skeleton, unbase64(line["vals"]))
            occurred = None if line["occurred_at"] is None else microseconds(line["occurred_at"])
            differing = columns_differ(event, public, line["item"], line["trace_id"], line["span_id"], occurred)
        except Wrong as wrong:
            self.fault(wrong.code, public, f"{where}: {wrong.message}")
            return
        if line["project"] != self.manifest["project"]["id"]:
            differing.append("project")
        for name in differing:
            self.fault("column_changed", public, f"{where}: {name} contradicts what was sealed")
        for field in event.changed:
            name = FIELDS.get(field, str(field))
            self.fault("field_changed", public, f"{where}: {name}: the values are not those that were committed")
        if not event.changed:
            self._named(public, where, lambda: self.copy(event, line))
        if event.item == GOVERNANCE and not event.missing and re.search("disposition[.]certificate|import[.]origin", line.get("rest", "")):
            self._named(public, where, lambda: self.recorded(public, read_json(line["rest"].encode())))
        self.db.executemany("INSERT OR IGNORE INTO missing VALUES (?, ?)", [(public, field) for field in event.missing])
        self.db.executemany("INSERT OR IGNORE INTO ref VALUES (?, ?)", [(sha, public) for _, sha, _ in event.references])
        nodes = [(sha, public) for _, sha, node in event.references if node]
        self.db.executemany("INSERT OR IGNORE INTO node VALUES (?, ?, 0)", nodes)

    def recorded(self, public: str, record: Any) -> None:
        """The certificate of a disposition as it stands among the evidence, and which of them are of another installation."""
        action, about = (record.get("action"), record.get("about")) if isinstance(record, dict) else (None, None)
        if action == "import.origin" and isinstance(about, dict) and isinstance(about.get("foreign"), list):
            self.db.executemany("INSERT OR IGNORE INTO elsewhere VALUES (?)", [(one,) for one in about["foreign"] if isinstance(one, str)])
        if action == "disposition.certificate" and isinstance(about, dict):
            number = about.get("disposition")
            if type(number) is int and abs(number) < 2**63:
                said = json.dumps(about, sort_keys=True)
                self.db.execute("INSERT OR IGNORE INTO recorded VALUES (?, ?, ?)", (number, public, said))

    def content(self, where: str, line: Any) -> None:
        kind = "text" if isinstance(line, dict) and "text" in line else "bytes"
        has(line, **{"sha256": str, kind: str})
        self.done["contents"] += 1
        try:
            data = content_bytes(line)
        except UnicodeEncodeError as error:
            raise Wrong("unreadable", "its text holds half a character") from error
        sha = unhex(line["sha256"])
        need(hashlib.sha256(data).digest() == sha, "content_changed", f"the content is not what {line['sha256']} names")
        # What may be a node is kept until all references are known: an array of 16 or 17 entries, which is no UTF-8
        kept = data if data[:1] == b"\xdc" else None
        fresh = self.db.execute("INSERT OR IGNORE INTO contents VALUES (?, ?, ?, ?, ?)", (sha, kept, *self.place)).rowcount
        need(fresh, "content_twice", f"{line['sha256']} stands there a second time")

    def content_of(self, sha: bytes) -> bytes | None:
        """A content that was found to be right, read again where it stands."""
        if sha in self.recent:
            self.recent.move_to_end(sha)
            return self.recent[sha]
        row = self.db.execute("SELECT path, at, size FROM contents WHERE sha = ?", (sha,)).fetchone()
        if row is None:
            return None
        path, at, size = row
        if path not in self.opened:
            for file in self.opened.values() if len(self.opened) >= 64 else ():
                file.close()
            self.opened = {} if len(self.opened) >= 64 else self.opened
            self.opened[path] = self.open(path)
        self.opened[path].seek(at)
        data = self.recent[sha] = content_bytes(read_json(self.opened[path].read(size)))
        self.held += len(data)
        while self.held > HELD and len(self.recent) > 1:
            self.held -= len(self.recent.popitem(last=False)[1])
        return data

    def copy(self, event: Event, line: Any) -> None:
        """The copy for people must say what the proven bytes say."""
        try:
            made = Copy(event, self.content_of).make()
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, StopIteration) as error:
            raise Wrong("unreadable", f"skeleton and values cannot be put together ({type(error).__name__})") from error
        said = line.get("rest") if event.item in (REST, GOVERNANCE) else line.get("otlp")
        few = {"otlp", "rest"} & line.keys() == ({"rest"} if isinstance(made, str) else set() if made is None else {"otlp"})
        need(few and said == made, "copy_differs", "the copy for people, otlp or rest, is not what was stored")

    def references(self) -> None:
        """Follows the nodes; then nothing may be missing, and nothing be there that no event refers to."""
        todo = "SELECT node.sha, node.event, contents.node FROM node JOIN contents USING (sha) WHERE read = 0 LIMIT 1000"
        while rows := self.db.execute(todo).fetchall():
            for sha, event, data in rows:
                self.db.execute("UPDATE node SET read = 1 WHERE sha = ?", (sha,))
                try:
                    below = node_refers(data or b"")
                except Wrong as wrong:
                    self.fault(wrong.code, event, f"content {sha.hex()}: {wrong.message}")
                    continue
                self.db.executemany("INSERT OR IGNORE INTO ref VALUES (?, ?)", [(one, event) for one, _ in below])
                self.db.executemany("INSERT OR IGNORE INTO node VALUES (?, ?, 0)", [(one, event) for one, node in below if node])
        for sha, event in self.db.execute("SELECT sha, event FROM ref WHERE sha NOT IN (SELECT sha FROM contents) ORDER BY sha"):
            self.fault("content_missing", event, f"content {sha.hex()} is not in the export")
        for (sha,) in self.db.execute("SELECT sha FROM contents WHERE sha NOT IN (SELECT sha FROM ref) ORDER BY sha"):
            self.fault("content_stray", sha.hex(), "no event of the export refers to this content")

    def withheld(self, where: str, line: Any) -> None:
        has(line, id=str, field=(int, NONE), reason=str, basis=str)
        unhex(line["id"])
        self.done["withheld"] += 1
        name = "whole event" if line["field"] is None else FIELDS.get(line["field"], "")
        self.gone[name, f"withheld: {line['reason']}"] = self.gone.get((name, f"withheld: {line['reason']}"), 0) + 1
        if line["field"] is None:
            there = self.db.execute("SELECT 1 FROM events WHERE id = ?", (line["id"],)).fetchone()
            need(there is None, "withheld_differs", f"event {line['id']} is said to be withheld, and is there")
            self.db.execute("INSERT OR IGNORE INTO withheld VALUES (?)", (line["id"],))
        else:
            self.named(line)

    def erased(self, where: str, line: Any) -> None:
        has(line, id=str, field=int, reason=str)
        unhex(line["id"])
        self.done["erased"] += 1
        name = FIELDS.get(line["field"], "")
        self.gone[name, f"erased: {line['reason']}"] = self.gone.get((name, f"erased: {line['reason']}"), 0) + 1
        self.named(line)

    def named(self, line: Any) -> None:
        gone = self.db.execute("DELETE FROM missing WHERE id = ? AND field = ?", (line["id"], line["field"])).rowcount
        need(gone, "withheld_differs", f"field {line['field']} of event {line['id']} is said to be gone, and is there, or is named twice")

    def part(self, where: str, line: Any) -> None:
        kinds: dict[str, Any] = {"index": int, "entry": str, "path": list, "whole": bool}
        has(line, **kinds, **({} if isinstance(line, dict) and line.get("whole") is True else {"events": dict, "withheld": list}))
        self.done["parts"] += 1
        found = ENTRY.fullmatch(line["entry"])
        need(found, "unreadable", "the entry of the leaf does not have its eleven lines")
        assert found
        entry = found.groupdict()
        batch, bucket, count = int(entry["batch"]), int(entry["bucket"]), int(entry["count"])
        name = f"batch {batch}"
        new = self.db.execute("INSERT OR IGNORE INTO parts VALUES (?, ?)", (batch, bucket)).rowcount
        new = new and self.db.execute("INSERT OR IGNORE INTO leaf VALUES (?)", (line["index"],)).rowcount
        need(new, "part_twice", f"{name} in bucket {bucket}, or leaf {line['index']}, stands there a second time")
        path = [unhex(one) for one in line["path"]]
        if self.checkpoint is not None:
            proven = included(line["entry"].encode(), line["index"], self.checkpoint.size, path, self.checkpoint.root)
            if not proven:
                self.fault("leaf_unproven", name, f"{where}: the path of leaf {line['index']} does not lead to the checkpoint")
        rows = self.db.execute(
            "SELECT digest, id, project, received FROM events WHERE batch = ? AND bucket = ? ORDER BY digest", (batch, bucket)
        ).fetchall()
        for _, public, project, received in rows:
            if (str(project), received) != (entry["project"], entry["received"]):
                self.fault("column_changed", public, f"project or received_at is not that of {name} as it was sealed")
        self.inside(entry, name)
        if line["whole"]:
            self.done["whole"] += 1
            self.absent(line, bucket, batch, count, 0)
            need(len(rows) == count, "count_differs", f"{name}, bucket {bucket}: {count} events were sealed, {len(rows)} are there")
            root = merkle_root([digest for digest, *_ in rows])
            need(root.hex() == entry["root"], "root_differs", f"{name}, bucket {bucket}: the digests do not give the root that was sealed")
            return
        partial = self.manifest["scope"]["sessions"] is not None
        need(rows or line["withheld"] or not partial, "part_stray", f"no event of the export lies in {name}")
        for one in line["withheld"]:
            said = isinstance(one, str) and self.db.execute("SELECT 1 FROM withheld WHERE id = ?", (one,)).fetchone()
            need(said, "withheld_differs", f"{name}: event {shown(one)} is said to be withheld, and withheld.jsonl does not say so")
        gone = count - len(rows) - len(set(line["withheld"]))
        need(gone >= 0, "count_differs", f"{name}, bucket {bucket}: {count} events were sealed, and more are there or withheld")
        if not partial:
            self.absent(line, bucket, batch, count, gone)
        root = bytes.fromhex(entry["root"])
        for digest, public, *_ in rows:
            self._proven(line["events"].get(public), digest, count, root, public, name)
        for public in sorted(line["events"].keys() - {public for _, public, *_ in rows}):
            self.fault("event_missing", shown(public), f"{where}: {name} has a path for this event, and the export does not have it")

    def inside(self, entry: dict[str, str], name: str) -> None:
        """A part of which nothing is there must be of this project and of this range, too."""
        scope, received = self.manifest["scope"], entry["received"]
        mine = entry["project"] == str(self.manifest["project"]["id"])
        after, before = scope["from"] is None or received >= scope["from"], scope["to"] is None or received < scope["to"]
        need(mine and after and before, "part_stray", f"{name} was received by another project, or outside of the scope")

    def absent(self, line: Any, bucket: int, batch: int, count: int, gone: int) -> None:
        """Adds up what a bucket's parts promised and what of it is not there."""
        low, high, first, last = (batch, batch, line["index"], line["index"]) if gone else (None, None, None, None)
        self.db.execute(
            "INSERT INTO absent VALUES (?, 1, ?, ?, ?, ?, ?, ?) ON CONFLICT (bucket) DO UPDATE SET parts = parts + 1, "
            "sealed = sealed + excluded.sealed, gone = gone + excluded.gone, "
            "low = min(coalesce(low, excluded.low), coalesce(excluded.low, low)), "
            "high = max(coalesce(high, excluded.high), coalesce(excluded.high, high)), "
            "first = min(coalesce(first, excluded.first), coalesce(excluded.first, first)), "
            "last = max(coalesce(last, excluded.last), coalesce(excluded.last, last))",
            (bucket, count, gone, low, high, first, last),
        )

    # --- what is not there any more, and the certificates that say so ---

    def certificate(self, where: str, line: Any) -> None:
        """One disposition, as far as it concerns this project."""
        need(isinstance(line, dict), "unreadable", "it is no JSON object")
        wanted = {name: line.get(name) for name in ("disposition", "bucket", "events", "disposed", "batches", "leaves")}
        has(wanted, disposition=int, bucket=int, events=int, disposed=int, batches=list, leaves=(list, NONE))
        low, high, first, last = pair(line["batches"]) + (pair(line["leaves"]) if line["leaves"] else (None, None))
        number = line["disposition"]
        said = self.db.execute(f"SELECT said FROM recorded WHERE number = ? AND {HERE}", (number,)).fetchone()
        row = (number, line["bucket"], line["events"], line["disposed"], low, high, first, last, int(said is not None))
        new = self.db.execute("INSERT OR IGNORE INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row).rowcount
        need(new, "certificate_stray", f"disposition {number} stands there a second time")
        self.done["certificates"] += 1
        self.done["bound"] += said is not None
        same = said is None or said[0] == json.dumps(line, sort_keys=True)
        need(same, "certificate_differs", f"disposition {number}: the record of it among the evidence says something else")

    def absences(self) -> None:
        """Every event that was sealed and is not there must be one of those that a certificate counts, and the other way round."""
        scope = self.manifest["scope"]
        if scope["sessions"] is not None:
            for number, disposed in self.db.execute("SELECT number, disposed FROM certificate ORDER BY 1"):
                self.notes.append(
                    f"Disposition {number} took a part of these sessions, which is NOT counted: an export of sessions has no parts of what "
                    f"is gone. It took {disposed:,} events of the project."
                )
            return
        every = scope["from"] is None and scope["to"] is None and not scope["not_sealed"]
        for row in self.db.execute("SELECT * FROM absent ORDER BY bucket"):
            self._accounted(row, every)
        for number, bucket, events in self.db.execute(
            "SELECT number, bucket, events FROM certificate WHERE bucket NOT IN (SELECT bucket FROM absent) ORDER BY 1"
        ):
            if events and not scope["not_sealed"]:
                self.fault("certificate_stray", f"disposition {number}", f"no part of this export lay in its bucket {bucket}")
        recorded = f"SELECT number, event FROM recorded WHERE number NOT IN (SELECT number FROM certificate) AND {HERE} ORDER BY 1"
        for number, event in self.db.execute(recorded) if every else ():
            self.fault("certificate_missing", event, f"it records disposition {number}, whose certificate is not in {CERTIFICATES[0]}")

    def _accounted(self, row: tuple[Any, ...], every: bool) -> None:
        """One bucket: a row of `absent`."""
        bucket, parts, sealed, gone, low, high, first, last = row
        found = self.db.execute("SELECT * FROM certificate WHERE bucket = ? ORDER BY number", (bucket,)).fetchall()
        if gone and not found:
            where = f"{gone:,} events of bucket {bucket}, batches {low} to {high}, are not there"
            self.fault("certificate_missing", f"bucket {bucket}", f"{where}, and no certificate says that they were disposed of")
        disposed = sum(one[3] for one in found)
        for number, _, events, _, *ranges, bound in found:
            name = f"disposition {number}"
            within = all(
                beyond is None or limit is None or sign * (beyond - limit) <= 0
                for beyond, limit, sign in zip((low, high, first, last), ranges, (-1, 1, -1, 1), strict=True)
            )
            if not within:
                self.fault("certificate_differs", name, f"it is of other batches or leaves than what is not there: {low} to {high}")
            if sealed != events if every else sealed > events:
                self.fault("count_differs", name, f"it says that bucket {bucket} had {events:,} events, its parts say {sealed:,}")
            why = "deleted when its time was over" if bound else "deleted when its time was over; the certificate stands in no record here"
            self.gone["certificate", f"disposition {number}, {why}"] = 1
        if found and (gone != disposed if every else gone > disposed):
            where = f"disposition {found[0][0]}" + (f" to {found[-1][0]}" if len(found) > 1 else "")
            self.fault("count_differs", where, f"{disposed:,} events are said to be gone from bucket {bucket}, and {gone:,} are not there")
        if gone and found:
            self.gone["whole event", f"disposed of, bucket {bucket}, {parts:,} parts"] = gone

    def _proven(self, proof: Any, digest: bytes, count: int, root: bytes, public: str, name: str) -> None:
        try:
            has(proof, index=int, path=list)
            if included(digest, proof["index"], count, [unhex(one) for one in proof["path"]], root):
                return
        except Wrong:
            pass  # a proof that is none proves nothing, either
        self.fault("event_unproven", public, f"no path leads from this event to the root of {name}")

    def leftovers(self) -> None:
        parts = "(batch, bucket) NOT IN (SELECT batch, bucket FROM parts) GROUP BY 1, 2"
        for batch, bucket, count, public in self.db.execute(f"SELECT batch, bucket, count(*), min(id) FROM events WHERE {parts}"):
            self.fault("event_unproven", public, f"{count} events of batch {batch} in bucket {bucket} have no part, this one among them")
        for public, field in self.db.execute("SELECT id, field FROM missing"):
            message = f"{FIELDS[field]}: the values are not there, and no line of withheld.jsonl or certificates/erasures.jsonl says why"
            self.fault("field_unaccounted", public, message)
        for name, said in self.manifest["counts"].items():
            if said != self.done[name]:
                self.fault("count_differs", "manifest.json", f"it says {said} {name}, there are {self.done[name]}")


NOT_PROVEN = (
    "that what an agent did was sent, and what happened before it was received (the sender's own numbers and receipts show that)",
    "that times of receipt are right: they are the service's clock. timestamps/ bounds them: NOT checked here, README.txt says how",
    "that the scope was chosen well: what is here is proven, not what else there is. A part that is here whole has nothing left out",
    "what the manifest says of recipient, purpose, scope and time, and the reasons in withheld.jsonl: nobody signed them",
    "of an event without a trace ID, the first half of its ID",
    "of an export of sessions or of a range of time, that nothing else of them was deleted than the certificates here say",
)


def report(export: Export, out: IO[str]) -> None:
    manifest, done = export.manifest, export.done

    def say(line: str = "") -> None:
        out.write(f"{line}\n")

    say(f"Export of project {shown(manifest.get('project'))}, made at {shown(manifest.get('made_at'))}")
    say(f"For {shown(manifest.get('recipient'))}; purpose {shown(manifest.get('purpose'))}")
    say(f"Scope {shown(manifest.get('scope'))}")
    say("\nComputed again and compared:")
    say(f"  {done['files']:,} files of {done['bytes']:,} bytes: SHA-256, length, lines")
    say(f"  {done['events']:,} events: identifiers, the commitment of every field, digest, the copy for people")
    say(f"  {done['contents']:,} contents: SHA-256, and that events refer to each")
    say(f"  {done['parts']:,} parts of batches ({done['whole']:,} whole): root over the events, entry, path to the checkpoint")
    if export.checkpoint is not None:
        state = "signature" if export.signature_checked else "SIGNATURE NOT CHECKED: the Python package `cryptography` is not installed"
        say(f"  checkpoint of {export.checkpoint.size:,} leaves, root {export.checkpoint.root.hex()}: {state}")
    if done["certificates"]:
        bound = f"{done['bound']:,} stand in records of this export"
        say(f"  {done['certificates']:,} certificates of dispositions against what is not there; {bound}")
    say(f"  manifest.json has the SHA-256 {export.manifest_sha}: compare it with the one that you were told. Nobody signed it")
    if done["reading"]:
        say(f"  {done['reading']:,} files are other forms, for reading and no evidence: their SHA-256, NOT what they say")
    for note in export.notes:
        say(f"  {note}")
    if export.gone:
        say("\nNot in this export (everything else verifies without it):")
    for (field, why), count in sorted(export.gone.items()):
        say(f"  {count:,} x {field}: {shown(why)}")
    say("\nNOT proven by this:")
    for line in NOT_PROVEN:
        say(f"  {line}")
    cut = f", CUT SHORT to the first {MOST:,}" if export.more else ""
    say(f"\n{len(export.faults) + export.more:,} faults{cut}")
    for fault in export.faults:
        say(f"  {fault.code}  {fault.where}: {fault.message}")


def read_key(text: str) -> tuple[str, bytes]:
    """A key as signed-note writes it: NAME+HASH+KEY. Raises Wrong."""
    name, number, data = [*text.split("+", 2), "", ""][:3]
    public = unbase64(data)
    need(public[:1] == b"\x01" and len(public) == 33 and key_hash(name, public[1:]).hex() == number, "unreadable", f"{text!r} is no key")
    return name, public[1:]


def main(arguments: Sequence[str], out: IO[str]) -> int:
    parser = argparse.ArgumentParser(prog="verify.py", description="Checks an export of Auditlog offline. Exit status 0, 1 or 2.")
    parser.add_argument("folder")
    parser.add_argument("--checkpoint", metavar="FILE", help="a checkpoint that you have from elsewhere")
    parser.add_argument("--key", action="append", default=[], metavar="NAME+HASH+KEY", help="a public key that you have from elsewhere")
    parser.add_argument("--without-signature", action="store_true", help="do not call it a failure that `cryptography` is not installed")
    given = parser.parse_args(arguments)
    try:
        trusted = [read_key(key) for key in given.key]
        outside = None
        if given.checkpoint:
            with open(given.checkpoint, encoding="utf-8", newline="") as file:
                outside = read_checkpoint(file.read(1 << 20))
        export = Export(given.folder)
        try:
            export.check(trusted, outside)
        finally:
            export.close()
    except (Wrong, OSError, UnicodeError, sqlite3.Error) as error:
        out.write(f"It could not be checked: {str(error)!a}\n")
        return 2
    report(export, out)
    if export.faults:
        out.write("\nSOMETHING IS WRONG.\n")
        return 1
    if not (export.signature_checked or given.without_signature):
        out.write("\nNOT ALL OF IT WAS CHECKED: install `cryptography`, or say --without-signature.\n")
        return 2
    out.write("\nNothing is wrong with what was checked.\n")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:], sys.stdout))
