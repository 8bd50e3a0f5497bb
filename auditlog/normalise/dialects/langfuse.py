"""Owns the vocabulary of Langfuse: `langfuse.observation.*`, whose type says what it was and whose input and output are JSON."""

from __future__ import annotations

from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts
from auditlog.normalise.bodies import Response, request_of, response_of, usage_of
from auditlog.normalise.values import Memo, attributes, first, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, Happening, Message, ModelCall, Received, Text, ToolRun, Where

NAME = "langfuse"
P = "langfuse.observation."


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and any(key.startswith(P) for key, _, _ in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said, where = attributes(item.attributes), where_of(received)
    failed = (item.status is not None and item.status[0] == 2) or said.get(P + "level") == "ERROR"
    error = text(said.get(P + "status_message")) or (item.status[1] if item.status else "") or "error" if failed else None
    kind = str(said.get(P + "type") or "span").lower()
    if kind in ("generation", "model_call"):
        return [_generation(where, said, error, memo)]
    if kind == "tool":
        return [_tool_run(where, said, error)]
    if kind == "retriever":
        return [Happening(where, "retrieval", str(said.get(P + "input") or ""), {"documents": said.get(P + "output")})]
    if kind == "guardrail":
        return [Happening(where, "guardrail", str(said.get(P + "output") or ""), {"input": said.get(P + "input")})]
    if kind in ("embedding", "evaluator", "event"):
        return []
    return [AgentRun(where=where, name=item.name if kind == "agent" else None, error=error)]


def _generation(where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> ModelCall:
    asked = request_of(structure(said.get(P + "input")), memo)
    told = _told(said.get(P + "output"), memo)
    parameters = structure(said.get(P + "model.parameters"))
    usage = usage_of(structure(said.get(P + "usage_details")))
    model = text(said.get(P + "model.name"))
    return ModelCall(
        where=where,
        requested_model=asked.model or model,
        response_model=model or told.model,
        response_id=told.response_id,
        parameters={k: v for k, v in parameters.items() if not isinstance(v, list | dict)} if isinstance(parameters, dict) else {},
        usage=usage or told.usage,
        finish_reason=told.finish_reason,
        system=asked.system,
        tools=asked.tools,
        input=asked.messages,
        output=told.messages,
        error=error,
    )


def _told(sent: Any, memo: Memo) -> Response:
    found = structure(sent)
    if found is None:
        return Response(messages=(Message("assistant", (Text(sent),)),)) if text(sent) else Response()
    told = response_of(found, memo)
    if told.messages or not isinstance(found, dict):
        return told
    return response_of([{"role": "assistant", **found}], memo)


def _tool_run(where: Where, said: dict[str, Any], error: str | None) -> ToolRun:
    found, raw = parts.arguments(said.get(P + "input"))
    own = parts.called_with(found) if isinstance(found, dict) else None
    answer = first(said, P + "output")
    return ToolRun(
        where=where,
        name=where.name,
        arguments=own,
        arguments_raw=raw if own is None else None,
        result=answer,
        returned=answer is not None,
        error=error,
    )
