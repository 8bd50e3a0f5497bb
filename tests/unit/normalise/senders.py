"""Owns small items as senders of other vocabularies write them, and one short story that each of them tells in its own words."""

from __future__ import annotations

import json
from typing import Any

from auditlog.item import ARRAY, BOOL, BYTES, DOUBLE, INT, KVLIST, STRING, Attribute, Context, Item, Log, Span, SpanEvent, Value
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived

SECOND = 1_000_000_000
START = 1_772_000_000 * SECOND
TRACE = (1).to_bytes(16, "big")

# The story: asked, thought, looked up, answered.
SYSTEM = "You are Clara. Be careful."
ASK = "Refund the $400, please."
THOUGHT = "Look first."
ARGUMENTS = {"customer": "ACME-2024", "limit": 3}
RESULT = '{"charges": 2}'
DONE = "Nothing was charged twice."
SCHEMA = {"type": "object", "properties": {"customer": {"type": "string"}, "limit": {"type": "integer"}}, "required": ["customer"]}
FUNCTION = {"name": "look_up", "description": "Look it up", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}
CALL_ID = "call_0123456789ab"


def value(sent: Any) -> Value:
    """A Python value as OTLP types it."""
    if isinstance(sent, bool):
        return BOOL, sent
    if isinstance(sent, int):
        return INT, sent
    if isinstance(sent, float):
        return DOUBLE, sent
    if isinstance(sent, bytes):
        return BYTES, sent
    if isinstance(sent, dict):
        return KVLIST, [(k, *value(v)) for k, v in sent.items()]
    if isinstance(sent, list):
        return ARRAY, [value(v) for v in sent]
    return STRING, sent


def attributes(sent: dict[str, Any]) -> list[Attribute]:
    return [(key, *value(v)) for key, v in sent.items() if v is not None]


def span(at: int, name: str, sent: dict[str, Any], *, events: list[tuple[str, dict[str, Any]]] | None = None, parent: int = 0,
         number: int = 0, scope: str = "lib", resource: dict[str, Any] | None = None, error: str | None = None) -> Span:  # fmt: skip
    return Span(
        context=Context(resource=attributes(resource) if resource is not None else None, scope=(scope, "1")),
        trace_id=TRACE,
        span_id=(number or at + 10).to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        start=START + at * SECOND,
        end=START + (at + 1) * SECOND,
        attributes=attributes(sent),
        events=[SpanEvent(START + at * SECOND + n, event, attributes(said)) for n, (event, said) in enumerate(events or [])],
        status=(2, error) if error is not None else None,
    )


def log(at: int, name: str, body: Any, sent: dict[str, Any] | None = None, *, within: int = 0, order: int = 0) -> Log:
    return Log(
        Context(scope=("lib", "1")),
        START + at * SECOND + order,
        0,
        value(body) if body is not None else None,
        attributes(sent or {}),
        TRACE,
        within.to_bytes(8, "big") if within else b"",
        event_name=name,
    )


def text(sent: Any) -> str:
    return json.dumps(sent, ensure_ascii=False)


def openai_history() -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": None, "tool_calls": [openai_call()]},
        {"role": "tool", "tool_call_id": CALL_ID, "content": RESULT},
    ]


def openai_call() -> dict[str, Any]:
    return {"id": CALL_ID, "type": "function", "function": {"name": "look_up", "arguments": text(ARGUMENTS)}}


def told(*items: Item) -> dict[str, Any]:
    return timeline(arrived(items), key="k")


def story(*items: Item, thought: bool = True, system: bool = True, tools: bool = True, usage: bool = True, result: Any = RESULT,
          call_id: str | None = CALL_ID) -> dict[str, Any]:  # fmt: skip
    """Checks that the items tell the story, all of it and nothing twice; the flags name what this sender does not record."""
    shown = told(*items)
    wanted = ["user_message", *(["reasoning"] if thought else []), "tool_call", "assistant_message"]
    assert [s["kind"] for s in shown["steps"]] == wanted, [(s["kind"], s.get("text")) for s in shown["steps"]]
    assert [s["text"] for s in shown["steps"] if s["kind"] != "tool_call"] == [ASK, *([THOUGHT] if thought else []), DONE]
    assert [p["text"] for p in shown["system_prompts"]] == ([SYSTEM] if system else [])
    assert [(t["name"], t["parameters"]) for t in shown["tools_offered"]] == ([("look_up", SCHEMA)] if tools else [])
    (tool,) = [s["tool"] for s in shown["steps"] if s["kind"] == "tool_call"]
    assert (tool["name"], tool["arguments"], tool["call_id"]) == ("look_up", ARGUMENTS, call_id)
    assert tool["result"] in (result, json.loads(result) if isinstance(result, str) and result[:1] in "[{" else result)
    assert tool["outcome"] == "returned"
    assert shown["totals"]["model_calls"] == 2
    if usage:
        assert (shown["totals"]["input_tokens"], shown["totals"]["output_tokens"]) == (30, 12)
    return shown
