"""Owns the vocabulary of the Vercel AI SDK: `ai.prompt.*`, `ai.response.*`, `ai.toolCall.*`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts, shapes
from auditlog.normalise.bodies import request_of
from auditlog.normalise.values import Memo, attributes, count, first, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, Message, ModelCall, Part, Reasoning, Received, Text, ToolRun, Usage, Where

NAME = "vercel_ai"


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and any(key == "ai.operationId" for key, _, _ in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said, where = attributes(item.attributes), where_of(received)
    error = item.status[1] or "error" if item.status is not None and item.status[0] == 2 else None
    operation = str(said.get("ai.operationId") or "")
    if operation == "ai.toolCall":
        return [_tool_run(where, said, error)]
    if operation.endswith((".doGenerate", ".doStream")):
        return [_model_call(where, said, error, memo)]
    if operation.startswith(("ai.embed", "ai.rerank")):
        return []
    asked = request_of(structure(said.get("ai.prompt")), memo)
    return [AgentRun(where=where, system=asked.system, input=asked.messages, output=_answer(said), error=error)]


def _answer(said: dict[str, Any]) -> tuple[Message, ...]:
    told: list[Part] = []
    reasoning = said.get("ai.response.reasoning")
    listed = structure(reasoning)
    if isinstance(listed, list):
        told += parts.parts([{"type": "reasoning", **r} for r in listed if isinstance(r, dict)])
    elif text(reasoning):
        told.append(Reasoning(str(reasoning), "full"))
    if text(said.get("ai.response.text")):
        told.append(Text(said["ai.response.text"]))
    told += _calls(structure(said.get("ai.response.toolCalls")))
    return (Message("assistant", tuple(told)),) if told else ()


def _calls(listed: Any) -> Iterator[Part]:
    for call in listed if isinstance(listed, list) else ():
        found = parts.part({**call, "type": "tool-call"}) if isinstance(call, dict) else None
        if found is not None:
            yield found


def _model_call(where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> ModelCall:
    p = "ai.usage."
    usage = Usage(
        input_tokens=count(said, p + "inputTokens", p + "promptTokens"),
        output_tokens=count(said, p + "outputTokens", p + "completionTokens"),
        reasoning_tokens=count(said, p + "reasoningTokens", p + "outputTokenDetails.reasoningTokens"),
        cached_input_tokens=count(said, p + "cachedInputTokens", p + "inputTokenDetails.cacheReadTokens"),
        cache_write_tokens=count(said, p + "inputTokenDetails.cacheWriteTokens"),
    )
    tools = said.get("ai.prompt.tools")
    return ModelCall(
        where=where,
        requested_model=text(said.get("ai.model.id")),
        response_model=text(said.get("ai.response.model")),
        response_id=text(said.get("ai.response.id")),
        provider=text(said.get("ai.model.provider")),
        parameters={
            k.removeprefix("ai.settings."): v for k, v in said.items() if k.startswith("ai.settings.") and not isinstance(v, list | dict)
        },
        usage=None if usage == Usage() else usage,
        finish_reason=text(said.get("ai.response.finishReason")),
        tools=parts.tools(tools) if tools is not None else None,
        input=shapes.messages(said.get("ai.prompt.messages"), memo),
        output=_answer(said),
        error=error,
    )


def _settings(said: dict[str, Any]) -> dict[str, Any]:
    p = "ai.settings."
    return {
        k.removeprefix(p): v
        for k, v in said.items()
        if k.startswith(p) and not k.startswith(p + "context") and not isinstance(v, list | dict)
    }


def _tool_run(where: Where, said: dict[str, Any], error: str | None) -> ToolRun:
    found, raw = parts.arguments(first(said, "ai.toolCall.args", "ai.toolCall.input"))
    answer = first(said, "ai.toolCall.result", "ai.toolCall.output")
    return ToolRun(
        where=where,
        name=text(said.get("ai.toolCall.name")) or where.name,
        call_id=text(said.get("ai.toolCall.id")),
        arguments=found,
        arguments_raw=raw,
        result=answer,
        returned=answer is not None,
        error=error,
    )
