"""Owns the REST form: `{"events": [...]}` or one event a line (NDJSON), each checked and cut at its members without losing a byte."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from auditlog.errors import Problem
from auditlog.ingest import limits
from auditlog.ingest.outcome import Reported
from auditlog.ingest.salvage import Hidden
from auditlog.item import REST, Item, Rest, Unreadable

NDJSON: Final = "application/x-ndjson"
DEEPEST: Final = 64  # levels of arrays and objects inside one event
_CUT: Final = ("agent", "tool", "approval")  # objects that are cut one level deeper, so that their values are fields of their own
_LATEST: Final = 2**63 - 1  # nanoseconds: the year 2262

Kind = Literal[
    "prompt", "model_call", "reasoning", "tool_call", "message", "agent", "approval",
    "guardrail", "retrieval", "handoff", "feedback", "outcome", "other",
]  # fmt: skip


class _Part(msgspec.Struct):
    type: str
    media_type: str | None = None
    text: str | None = None
    bytes: str | None = None
    uri: str | None = None
    digest: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _Agent(msgspec.Struct):
    name: str | None = None
    version: str | None = None


class _OfferedTool(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    name: str
    call_id: str | None = None


class _Approval(msgspec.Struct):
    decision: Literal["approved", "modified", "overridden", "denied", "expired"]
    by: str | None = None
    reason: str | None = None


class _Retrieval(msgspec.Struct):
    source: str | None = None
    version: str | None = None
    query: str | None = None
    documents: list[Any] | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None


class Event(msgspec.Struct):
    """What is checked of an event; further members are kept as they are. Checked, never changed: what is stored is what was sent."""

    kind: Kind
    at: str
    id: str | None = None
    about: str | None = None
    session_id: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    sequence: int | None = None
    ended_at: str | None = None
    agent: _Agent | None = None
    user_id: str | None = None
    customer_id: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    system: str | None = None
    tools: list[_OfferedTool] | None = None
    input: list[_Message] | None = None
    output: list[_Message] | None = None
    reasoning: str | list[str] | None = None
    tool: _Tool | None = None
    approval: _Approval | None = None
    retrieval: _Retrieval | None = None
    attributes: dict[str, Any] | None = None


class Read(NamedTuple):
    items: list[Item]
    good: int
    reported: list[Reported]


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw]


_envelope: Final = msgspec.json.Decoder(_Envelope)
_event: Final = msgspec.json.Decoder(Event)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BAD: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NAME: Final = re.compile(rb'[\s,]*("(?:[^"\\]|\\.)*+")\s*:\s*', re.DOTALL)
# A text that never ends counts, too: were it no match, each quotation mark after its beginning would be tried to the end of the line.
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)
_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


def read(body: bytes, media: str) -> Read:
    """Every event of a request, the bad ones as Unreadable beside the good. Raises Problem where the outer form is wrong, or too much."""
    limits.json(body)
    if media == NDJSON:
        limits.items(body.count(b"\n"))  # empty lines as well: a body of nothing else is 64 million pieces
        raws = [line for line in body.split(b"\n") if line.strip()]
    else:
        hidden = Hidden(body)  # half a surrogate pair in one event must not refuse the others
        try:
            raws = [hidden.sent(raw) for raw in _envelope.decode(hidden.body).events]
        except RecursionError:
            raise Problem("nesting_too_deep", f"The body is nested too deeply; {DEEPEST} levels an event are allowed.") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem("body_undecodable", f'The body is no JSON object {{"events": [...]}}: {error}.') from None
    limits.items(len(raws))
    items: list[Item] = []
    reported: list[Reported] = []
    for index, raw in enumerate(raws):
        try:
            items.append(event(raw))
        except Problem as problem:
            items.append(Unreadable(REST, "json", raw, problem.code, problem.message, index))
            reported.append(Reported(index, problem.code, problem.message))
    return Read(items, len(items) - len(reported), reported)


def event(raw: bytes) -> Rest:
    """One event, checked and cut. Raises Problem with the code under which it is quarantined."""
    _refuse_depth(raw)
    try:
        checked = _event.decode(raw)
    except msgspec.ValidationError as error:
        code = "field_missing" if "missing required field" in str(error) else "field_invalid"
        raise Problem(code, f"The event is not as it should be: {error}.") from None
    except _BAD as error:
        raise Problem("item_undecodable", f"The event is no JSON object that can be read: {error}.") from None
    time = instant(checked.at, "at")
    if checked.ended_at is not None:
        instant(checked.ended_at, "ended_at")
    trace = checked.trace_id or ""
    trace_id = bytes.fromhex(trace) if _TRACE_ID.fullmatch(trace) and trace.strip("0") else b""
    gaps, members = _cut(raw)
    return Rest(gaps, members, trace_id=trace_id, session_id=checked.session_id or "", time=time)


def instant(text: str, name: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time, exact."""
    match = _INSTANT.fullmatch(text)
    try:
        if match is not None:
            zone = "+00:00" if match[3] in "Zz" else match[3]
            whole = datetime.fromisoformat(match[1].upper().replace(" ", "T") + zone)
            nanoseconds = int(whole.timestamp()) * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
            if 0 <= nanoseconds <= _LATEST:
                return nanoseconds
    except (ValueError, OverflowError):
        pass  # a date that does not exist, answered below
    raise Problem("field_invalid", f"`{name}` is no RFC 3339 time between 1970 and 2262; send for instance 2026-03-01T10:00:00.123456Z.")


def _refuse_depth(raw: bytes) -> None:
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return
    depth = 0
    for match in _BRACKETS.finditer(raw):
        if match[1]:
            depth += 1
            if depth > DEEPEST:
                raise Problem("item_too_deep", f"The event is nested deeper than {DEEPEST} levels; send deep data as JSON text.")
        elif match[2]:
            depth -= 1


def _cut(raw: bytes) -> tuple[list[bytes], list[tuple[str, bytes]]]:
    """(gaps, members): joined alternately they are `raw` again, byte for byte."""
    members: list[tuple[str, bytes]] = []
    gaps: list[bytes] = []
    end = 0
    for path, start, value in _walk(raw):
        if path in _CUT and value[:1] == b"{":
            for inner, inner_start, inner_value in _walk(value):
                gaps.append(raw[end : start + inner_start])
                members.append((f"{path}.{inner}", inner_value))
                end = start + inner_start + len(inner_value)
        else:
            gaps.append(raw[end:start])
            members.append((path, value))
            end = start + len(value)
    gaps.append(raw[end:])
    return gaps, members


def _walk(raw: bytes) -> list[tuple[str, int, bytes]]:
    """Name, place and bytes of each member of an object. Raises Problem if one is repeated: which of them counts would be a guess."""
    try:
        values = _members.decode(raw)
    except _BAD as error:
        raise Problem("item_undecodable", f"The event is no JSON object that can be read: {error}.") from None
    found = []
    at = raw.index(b"{") + 1
    for name, part in values.items():
        value = bytes(part)
        match = _NAME.match(raw, at)
        if match is None or msgspec.json.decode(match[1]) != name or not raw.startswith(value, match.end()):
            raise Problem("field_invalid", f"A member is repeated, at or before `{name:.60}`; send each member once.")
        at = match.end() + len(value)
        found.append((name, match.end(), value))
    if raw[at:].strip(b" \t\r\n") != b"}":
        raise Problem("field_invalid", "A member is repeated; send each member once.")
    return found
