"""Owns small sessions for tests, written as a sender would."""

from __future__ import annotations

import json
from typing import Any

from auditlog.item import INT, STRING, Context, Item, Span
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived

SECOND = 1_000_000_000
START = 1_772_000_000 * SECOND


def text(role: str, said: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": said}]}


def call(call_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "parts": [{"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}]}


def answer(call_id: str | None, result: Any) -> dict[str, Any]:
    return {"role": "tool", "parts": [{"type": "tool_call_response", "id": call_id, "response": result}]}


def model(
    at: int,
    asked: list[Any],
    told: list[Any],
    *,
    trace: int = 1,
    span: int = 0,
    parent: int = 0,
    seconds: int = 1,
    layer: str = "lib",
    tools: Any = None,
    usage: tuple[int, int] | None = None,
    response: str | None = None,
    **more: str,
) -> Span:
    said: list[Any] = [("gen_ai.operation.name", STRING, "chat"), *((k.replace("__", "."), STRING, v) for k, v in more.items())]
    said += [("gen_ai.input.messages", STRING, json.dumps(asked))] if asked else []
    said += [("gen_ai.output.messages", STRING, json.dumps(told))] if told else []
    said += [("gen_ai.response.id", STRING, response)] if response else []
    said += [("gen_ai.tool.definitions", STRING, json.dumps(tools))] if tools is not None else []
    if usage is not None:
        said += [("gen_ai.usage.input_tokens", INT, usage[0]), ("gen_ai.usage.output_tokens", INT, usage[1])]
    return span_of(at, said, trace=trace, span=span or at + 100, parent=parent, seconds=seconds, layer=layer, name="chat")


def tool(
    at: int, name: str, *, call_id: str | None = None, arguments: Any = None, result: Any = None, span: int = 0, trace: int = 1, **more: Any
) -> Span:
    said: list[Any] = [("gen_ai.operation.name", STRING, "execute_tool"), ("gen_ai.tool.name", STRING, name)]
    said += [("gen_ai.tool.call.id", STRING, call_id)] if call_id else []
    said += [("gen_ai.tool.call.arguments", STRING, json.dumps(arguments))] if arguments is not None else []
    said += [("gen_ai.tool.call.result", STRING, result)] if result is not None else []
    return span_of(at, said, trace=trace, span=span or at + 200, name=f"execute_tool {name}", **more)


def span_of(
    at: int,
    said: list[Any],
    *,
    trace: int = 1,
    span: int = 1,
    parent: int = 0,
    seconds: int = 1,
    layer: str = "lib",
    name: str = "",
    status: Any = None,
) -> Span:
    start = START + at * SECOND
    return Span(
        context=Context(scope=(layer, "1")),
        trace_id=trace.to_bytes(16, "big"),
        span_id=span.to_bytes(8, "big"),
        name=name,
        attributes=said,
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        start=start,
        end=start + seconds * SECOND,
        status=status,
    )


def told(*items: Item) -> dict[str, Any]:
    return timeline(arrived(items), key="k")


def kinds(shown: dict[str, Any]) -> list[str]:
    return [s["kind"] for s in shown["steps"]]


def tools_of(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [s["tool"] for s in shown["steps"] if s["kind"] == "tool_call"]
