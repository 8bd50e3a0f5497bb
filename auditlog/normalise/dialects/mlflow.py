"""Owns the vocabulary of MLflow tracing: `mlflow.spanType`, `mlflow.spanInputs` and `mlflow.spanOutputs`, each value JSON text."""

from __future__ import annotations

from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts
from auditlog.normalise.bodies import request_of, response_of, usage_of
from auditlog.normalise.values import Memo, attributes, parsed, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, Happening, Message, ModelCall, Received, Text, ToolRun, Where

NAME = "mlflow"


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and any(key == "mlflow.spanType" for key, _, _ in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said = {key: parsed(value) for key, value in attributes(item.attributes).items() if key.startswith("mlflow.")}
    where = where_of(received)
    error = item.status[1] or "error" if item.status is not None and item.status[0] == 2 else None
    kind = str(said.get("mlflow.spanType") or "").upper()
    if kind in ("CHAT_MODEL", "LLM"):
        return [_model_call(where, said, error, memo)]
    if kind == "TOOL":
        return [_tool_run(where, said, error)]
    if kind == "RETRIEVER":
        return [Happening(where, "retrieval", "", {"query": said.get("mlflow.spanInputs"), "documents": said.get("mlflow.spanOutputs")})]
    if kind in ("EMBEDDING", "RERANKER", "PARSER"):
        return []
    answer = said.get("mlflow.spanOutputs")
    if kind != "AGENT":
        return [AgentRun(where=where, error=error)]
    told = (Message("assistant", (Text(answer),)),) if isinstance(answer, str) and answer else ()
    return [AgentRun(where=where, name=item.name, input=_asked(said.get("mlflow.spanInputs")), output=told, error=error)]


def _asked(sent: Any) -> tuple[Message, ...]:
    """What an agent was asked, where a single text went into it."""
    texts = [v for v in sent.values() if isinstance(v, str)] if isinstance(sent, dict) and len(sent) == 1 else []
    return tuple(Message("user", (Text(t),)) for t in texts if t)


def _model_call(where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> ModelCall:
    sent = structure(said.get("mlflow.spanInputs"))
    asked = request_of(sent, memo)
    answer = said.get("mlflow.spanOutputs")
    told = response_of(structure(answer), memo)
    tools = said.get("mlflow.chat.tools")
    plain = (Message("assistant", (Text(answer),)),) if isinstance(answer, str) and answer else ()
    return ModelCall(
        where=where,
        requested_model=asked.model or text(said.get("mlflow.llm.model")),
        response_model=told.model,
        response_id=told.response_id,
        provider=text(said.get("mlflow.llm.provider")),
        parameters={k: v for k, v in sent.items() if not isinstance(v, list | dict | str)} if isinstance(sent, dict) else {},
        usage=usage_of(said.get("mlflow.chat.tokenUsage")) or told.usage,
        finish_reason=told.finish_reason,
        system=asked.system or told.system,
        tools=asked.tools if asked.tools is not None else parts.tools(tools) if tools is not None else told.tools,
        input=asked.messages,
        output=told.messages or plain,
        error=error,
    )


def _tool_run(where: Where, said: dict[str, Any], error: str | None) -> ToolRun:
    found, raw = parts.arguments(said.get("mlflow.spanInputs"))
    own = parts.called_with(found) if isinstance(found, dict) else None
    if isinstance(own, str):
        own, raw = parts.arguments(own)
    answer = said.get("mlflow.spanOutputs")
    return ToolRun(
        where=where,
        name=where.name,
        arguments=own,
        arguments_raw=raw if own is None else None,
        result=answer,
        returned="mlflow.spanOutputs" in said,
        error=error,
    )
