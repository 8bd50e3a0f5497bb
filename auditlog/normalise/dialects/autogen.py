"""Owns the vocabulary of AutoGen's event log: one JSON object per log record, for each model call and each tool call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Log
from auditlog.normalise import parts, shapes
from auditlog.normalise.bodies import response_of
from auditlog.normalise.values import Memo, number, plain, structure, text, where_of
from auditlog.vocabulary import Fact, ModelCall, Received, ToolRun, Usage, Where

NAME = "autogen"
SCOPE = "autogen_core.events"


def recognises(item: Item) -> bool:
    return isinstance(item, Log) and item.context.scope is not None and item.context.scope[0] == SCOPE


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    body = structure(plain(*item.body)) if isinstance(item, Log) and item.body is not None else None
    return list(_facts(body, where_of(received), memo)) if isinstance(body, dict) else []


def _facts(body: dict[str, Any], where: Where, memo: Memo) -> Iterator[Fact]:
    kind = body.get("type")
    agent = text(body.get("agent_id"))
    name = agent.split("/", 1)[0].rsplit("_", 1)[0] if agent else None
    if kind == "ToolCall" and text(body.get("tool_name")):
        found, raw = parts.arguments(body.get("arguments"))
        answer = body.get("result")
        yield ToolRun(where, str(body["tool_name"]), None, found, raw, answer, answer is not None, agent=name)
    elif isinstance(body.get("messages"), list) and ("response" in body or kind in ("LLMCall", "LLMStreamEnd")):
        told = response_of(structure(body.get("response")), memo)
        usage = Usage(number(body.get("prompt_tokens")), number(body.get("completion_tokens")))
        yield ModelCall(
            where=where,
            response_model=told.model,
            response_id=told.response_id,
            usage=told.usage or (None if usage == Usage() else usage),
            finish_reason=told.finish_reason,
            tools=parts.tools(body["tools"]) if body.get("tools") else None,
            input=shapes.messages(body["messages"], memo),
            output=told.messages,
            agent=name,
        )
