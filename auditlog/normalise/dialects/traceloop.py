"""Owns the vocabulary of Traceloop's OpenLLMetry: `traceloop.entity.*` around everything, and the older flattened `gen_ai.prompt.N`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts, shapes
from auditlog.normalise.bodies import last_answer
from auditlog.normalise.values import Memo, attributes, count, first, nested, numbered, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, Message, ModelCall, Part, Received, Result, Tool, ToolRun, Usage, Where

NAME = "traceloop"
OLD = ("gen_ai.prompt.", "gen_ai.completion.", "llm.prompts.", "llm.completions.")


def recognises(item: Item) -> bool:
    if not isinstance(item, Span):
        return False
    return any(key.startswith(("traceloop.span.", "traceloop.entity.", *OLD)) or key == "llm.request.type" for key, _, _ in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    return list(_facts(item, where_of(received), attributes(item.attributes))) if isinstance(item, Span) else []


def _facts(item: Span, where: Where, said: dict[str, Any]) -> Iterator[Fact]:
    error = item.status[1] or "error" if item.status is not None and item.status[0] == 2 else None
    if any(key.startswith(OLD) for key in said) or said.get("llm.request.type") in ("chat", "completion"):
        yield _model_call(where, said, error)
        return
    kind = str(said.get("traceloop.span.kind") or "").lower()
    name = text(said.get("traceloop.entity.name")) or where.name
    if kind == "tool":
        yield _tool_run(where, said, name, error)
    elif kind:
        told = last_answer(structure(first(said, "traceloop.entity.output", "gen_ai.task.output")))
        yield AgentRun(where=where, name=name if kind == "agent" else None, output=told, error=error)


# -- the flattened form --------------------------------------------------------------------------------------------------------


def _messages(said: dict[str, Any], *prefixes: str) -> tuple[Message, ...]:
    for prefix in prefixes:
        found = [_message(m) for m in numbered(nested(said, prefix)) if isinstance(m, dict)]
        if found:
            return tuple(m for m in found if m.parts)
    return ()


def _message(sent: dict[str, Any]) -> Message:
    role = shapes.role_of(sent.get("role"), "assistant" if "finish_reason" in sent else "user")
    content = structure(sent.get("content"))
    out: list[Part] = parts.parts(content if isinstance(content, list) else sent.get("content"))
    if role == "tool":
        answered = next((p for p in out if isinstance(p, Result)), None)
        return Message("tool", (answered or Result(sent.get("content"), text(sent.get("tool_call_id"))),))
    reasoning = text(first(sent, "reasoning", "reasoning_content", "thinking"))
    calls = [
        c for t in numbered(sent.get("tool_calls")) if isinstance(t, dict) and (c := parts.part({"type": "tool_call", **t})) is not None
    ]
    if isinstance(sent.get("function_call"), dict):  # the older form of one call, which has no ID
        calls += [c] if (c := parts.tool_call(sent["function_call"])) is not None else []
    before = parts.parts([{"type": "reasoning", "content": reasoning}]) if reasoning else []
    known = {getattr(p, "call_id", None) for p in out} - {None}
    return Message(role, (*before, *out, *(c for c in calls if getattr(c, "call_id", None) not in known)))


def _model_call(where: Where, said: dict[str, Any], error: str | None) -> ModelCall:
    offered = [
        Tool(str(f["name"]), text(f.get("description")), structure(f.get("parameters") or f.get("input_schema"))) for f in _functions(said)
    ]
    heard = _messages(said, "gen_ai.prompt.", "llm.prompts.")
    told = _messages(said, "gen_ai.completion.", "llm.completions.")
    ended = [m.get("finish_reason") for m in numbered(nested(said, "gen_ai.completion.")) if isinstance(m, dict) and m.get("finish_reason")]
    p, q = "gen_ai.usage.", "llm.usage."
    usage = Usage(
        input_tokens=count(said, p + "input_tokens", p + "prompt_tokens", q + "prompt_tokens"),
        output_tokens=count(said, p + "output_tokens", p + "completion_tokens", q + "completion_tokens"),
        reasoning_tokens=count(said, p + "reasoning_tokens", q + "reasoning_tokens"),
        cached_input_tokens=count(said, p + "cache_read_input_tokens", p + "cache_read.input_tokens"),
    )
    return ModelCall(
        where=where,
        requested_model=text(first(said, "gen_ai.request.model", "llm.request.model")),
        response_model=text(first(said, "gen_ai.response.model", "llm.response.model")),
        response_id=text(first(said, "gen_ai.response.id", "llm.response.id")),
        provider=text(first(said, "gen_ai.provider.name", "gen_ai.system", "llm.vendor")),
        usage=None if usage == Usage() else usage,
        finish_reason=text(ended[0]) if ended else None,
        tools=tuple(offered) or None,
        input=heard,
        output=tuple(Message("assistant", m.parts, m.name) for m in told),
        error=error,
    )


def _functions(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for found in numbered(nested(said, "llm.request.functions.")):
        if isinstance(found, dict) and text(found.get("name")):
            yield found


# -- tools ---------------------------------------------------------------------------------------------------------------------


def _tool_run(where: Where, said: dict[str, Any], name: str, error: str | None) -> ToolRun:
    sent, raw = parts.arguments(first(said, "traceloop.entity.input", "gen_ai.tool.call.arguments"))
    if isinstance(sent, dict):
        sent = parts.called_with(sent)
    answer = first(said, "traceloop.entity.output", "gen_ai.tool.call.result")
    result = shapes.answer_of(answer)
    return ToolRun(
        where=where,
        name=text(said.get("gen_ai.tool.name")) or name,
        call_id=result.call_id if result is not None else None,
        arguments=sent if isinstance(sent, dict) else None,
        arguments_raw=None if isinstance(sent, dict) else raw,
        result=result.result if result is not None else answer,
        returned=answer is not None,
        error=error,
    )
