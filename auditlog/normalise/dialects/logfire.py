"""Owns the vocabulary of Logfire's own instrumentations: `request_data` and `response_data` as JSON, tools as plain attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts, shapes
from auditlog.normalise.bodies import request_of, response_of, usage_of
from auditlog.normalise.values import Memo, attributes, first, structure, text, where_of
from auditlog.vocabulary import Call, Fact, Message, ModelCall, Part, Reasoning, Received, Text, ToolRun

NAME = "logfire"
FUNCTION = frozenset(("name", "input", "output", "mcp_data"))  # of a tool's run, where another library told of it


def recognises(item: Item) -> bool:
    """By the attribute that every span of this library carries, and one of its own keys for calls or tools."""
    if not isinstance(item, Span):
        return False
    keys = {key for key, _, _ in item.attributes}
    return "logfire.msg" in keys and (not keys.isdisjoint(("request_data", "response_data", "tool_name")) or keys >= FUNCTION)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said, where = attributes(item.attributes), where_of(received)
    if "tool_name" in said and "request_data" not in said:
        found, raw = parts.arguments(first(said, "arguments", "tool_arguments"))
        answer = first(said, "result", "tool_response")
        call_id = text(said.get("tool_call_id"))
        return [ToolRun(where, str(said["tool_name"]), call_id, found, raw, answer, answer is not None)]
    if said.keys() >= FUNCTION and "request_data" not in said:
        found, raw = parts.arguments(said["input"])
        return [ToolRun(where, str(said["name"]), None, found, raw, said["output"], said["output"] is not None)]
    asked = request_of(structure(said.get("request_data")), memo)
    body = structure(said.get("response_data"))
    told = response_of(body, memo)
    streamed = body.get("combined_chunk_content") if isinstance(body, dict) else None
    plain = (Message("assistant", (Text(streamed),)),) if isinstance(streamed, str) and streamed else ()
    told_messages = tuple(Message(m.role, tuple(_plain_call(p) for p in m.parts), m.name) for m in told.messages)
    seen = tuple(_reasoning(structure(said.get("events"))))
    beside = shapes.messages(structure(said.get("output")), memo, "assistant") if body is None and "input" in said else ()
    heard = shapes.messages(structure(said["input"]), memo) if beside else asked.messages  # else the request has the answer at its end
    output = ((Message("assistant", seen),) if seen else ()) + (told_messages or plain or beside)
    return [
        ModelCall(
            where=where,
            requested_model=asked.model,
            system=asked.system,
            tools=asked.tools,
            input=heard,
            output=output,
            usage=usage_of(structure(said.get("usage"))),
            finish_reason=told.finish_reason,
            request_key=text(said.get("request_data")),
        )
    ]


def _plain_call(part: Part) -> Part:
    """One provider's calls are written with their arguments one level down, under `input`."""
    if isinstance(part, Call) and isinstance(part.arguments, dict) and set(part.arguments) <= {"input", "caller", "id", "name", "type"}:
        inner = part.arguments.get("input")
        if isinstance(inner, dict):
            return Call(part.name, part.call_id, inner, None, part.other_ids)
    return part


def _reasoning(events: Any) -> Iterator[Reasoning]:
    """Reasoning after the last thing that went in: events of a kind the library did not know, with the item as data."""
    last: list[Reasoning] = []
    for event in events if isinstance(events, list) else ():
        if not isinstance(event, dict):
            continue
        if event.get("event.name") in ("gen_ai.user.message", "gen_ai.tool.message", "gen_ai.system.message"):
            last = []
        elif isinstance(event.get("data"), dict):
            last += [p for p in parts.parts([event["data"]]) if isinstance(p, Reasoning)]
    yield from last
