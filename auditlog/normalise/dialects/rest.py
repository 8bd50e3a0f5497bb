"""Owns our own vocabulary: REST events, of every kind that the contract names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import msgspec

from auditlog.item import GONE, Item, Rest
from auditlog.normalise import parts, shapes
from auditlog.normalise.values import Memo, first, number, text
from auditlog.vocabulary import (
    AgentRun,
    Fact,
    Failure,
    Happening,
    HappeningKind,
    Message,
    MessageRecord,
    ModelCall,
    Numbered,
    Reasoning,
    Received,
    ToolRun,
    Usage,
    Where,
)

NAME = "rest"
HAPPENINGS = frozenset(("approval", "guardrail", "retrieval", "handoff", "feedback", "outcome", "other"))


def recognises(item: Item) -> bool:
    return isinstance(item, Rest) and not item.governance


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    return list(_facts(item, received, memo)) if isinstance(item, Rest) else []


def members(item: Rest) -> dict[str, Any]:
    """The event as it was sent, `agent`, `tool` and `approval` put together again."""
    out: dict[str, Any] = {}
    for path, raw in item.members:
        if raw is GONE:
            continue  # not known any more: whatever is said of it would be made up
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            value = raw.decode("utf-8", "replace")  # what cannot be parsed is shown as its text
        head, _, tail = path.partition(".")
        if tail:
            holder = out.setdefault(head, {})
            if isinstance(holder, dict):
                holder[tail] = value
        else:
            out[head] = value
    return out


def where_of(item: Rest, said: dict[str, Any], received: Received) -> Where:
    return Where(
        event_id=received.id,
        received_at=received.received_at,
        trace_id=item.trace_id.hex(),
        span_id=str(said.get("id") or ""),
        parent_id=str(said.get("parent_id") or ""),
        start=item.time,
        end=_nanoseconds(said.get("ended_at")) or item.time,
        layer="rest",
        name=str(said.get("kind") or ""),
        order=number(said.get("sequence")) or 0,
    )


def _nanoseconds(value: Any) -> int:
    try:
        found = msgspec.convert(value, datetime) if isinstance(value, str) else None
    except msgspec.ValidationError:
        return 0
    return int(found.timestamp() * 1_000_000) * 1000 if found is not None else 0


def _facts(item: Rest, received: Received, memo: Memo) -> Iterator[Fact]:
    said = members(item)
    kind, where = str(said.get("kind") or "other"), where_of(item, said, received)
    yield from _numbered(where, said)
    agent = said.get("agent") if isinstance(said.get("agent"), dict) else {}
    name = text(agent.get("name")) if isinstance(agent, dict) else None
    heard, told = shapes.messages(said.get("input"), memo), shapes.messages(said.get("output"), memo, "assistant")
    system = (said["system"],) if isinstance(said.get("system"), str) and said["system"] else ()
    tools = parts.tools(said["tools"]) if isinstance(said.get("tools"), list) else None
    thoughts = tuple(Reasoning(t, "full") for t in _texts(said.get("reasoning")))
    if thoughts:
        told = (Message("assistant", thoughts), *told)
    if kind == "model_call":
        yield ModelCall(
            where=where,
            requested_model=text(said.get("model")),
            response_model=text(said.get("response_model")),
            usage=_usage(said.get("usage")),
            response_id=text(said.get("response_id")),
            system=system,
            tools=tools,
            input=heard,
            output=told,
            agent=name,
            error=text(said.get("error")),
        )
        return
    if kind in ("prompt", "agent"):
        version = text(agent.get("version")) if isinstance(agent, dict) else None
        yield AgentRun(where=where, name=name, version=version, system=system, tools=tools, input=heard, output=told)
    else:
        yield from (MessageRecord(where, m, "input", agent=name) for m in heard)
        yield from (MessageRecord(where, m, "output", agent=name) for m in told)
    if kind == "tool_call" or isinstance(said.get("tool"), dict):
        run = _tool_run(where, said.get("tool"), name)
        if run is not None:
            yield run
    if kind in HAPPENINGS:
        yield _happening(where, kind, said, name)
    if kind not in ("tool_call",) and text(said.get("error")):
        yield Failure(where, str(said["error"]))


def _numbered(where: Where, said: dict[str, Any]) -> Iterator[Fact]:
    """Its place in the sender's own count, and with the last one how many there are: `sequence_count` beside it or in `attributes`."""
    place, agent, more = number(said.get("sequence")), said.get("agent"), said.get("attributes")
    if place is not None:
        total = number(first({**(more if isinstance(more, dict) else {}), **said}, "sequence_count"))
        yield Numbered(where, place, str(agent.get("name") or "") if isinstance(agent, dict) else "", total)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.strip() else []
    return [t for v in value for t in _texts(v)] if isinstance(value, list) else []


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return Usage(
        number(value.get("input_tokens")),
        number(value.get("output_tokens")),
        number(value.get("reasoning_tokens")),
        number(value.get("cached_input_tokens")),
    )


def _tool_run(where: Where, tool: Any, agent: str | None) -> ToolRun | None:
    if not isinstance(tool, dict) or text(tool.get("name")) is None:
        return None
    found, raw = parts.arguments(tool.get("arguments"))
    error = tool.get("error")
    shown = error if isinstance(error, str) or error is None else msgspec.json.encode(error).decode()
    return ToolRun(
        where=where,
        name=str(tool["name"]),
        call_id=text(tool.get("call_id")),
        arguments=found,
        arguments_raw=raw,
        result=tool.get("result"),
        returned=tool.get("result") is not None,
        error=shown or None,
        agent=agent,
    )


def _happening(where: Where, kind: str, said: dict[str, Any], agent: str | None) -> Happening:
    found = said.get(kind)
    detail: dict[str, Any] = found if isinstance(found, dict) else {} if found is None else {kind: found}
    if isinstance(said.get("attributes"), dict) and not detail:
        detail = dict(said["attributes"])
    shown = text(first(detail, "reason", "text", "query", "decision", "message")) or text(said.get("text"))
    return Happening(
        where=where,
        kind=cast(HappeningKind, kind),
        text=shown or "",
        detail=detail,
        actor=text(detail.get("by")),
        about=text(said.get("about")),
        agent=agent,
    )
