"""Owns the vocabulary of Langfuse: `langfuse.observation.*`, whose type says what it was and whose input and output are JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts
from auditlog.normalise.bodies import Response, request_of, response_of, usage_of
from auditlog.normalise.values import Memo, attributes, count, first, number, parsed, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, Happening, Message, ModelCall, Received, Text, Tool, ToolRun, Usage, Where

NAME = "langfuse"
P = "langfuse.observation."
SCHEMAS = frozenset(("parameters", "input_schema", "args_schema", "schema"))


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
    sent, offered = _without_tools(structure(said.get(P + "input")))
    asked = request_of(sent, memo)
    told = _told(said.get(P + "output"), memo)
    parameters = structure(said.get(P + "model.parameters"))
    usage = _usage(structure(said.get(P + "usage_details")))
    model = text(said.get(P + "model.name"))
    return ModelCall(
        where=where,
        requested_model=asked.model or text(parsed(said.get(P + "metadata.ls_model_name"))) or model,
        response_model=model or told.model,
        response_id=told.response_id,
        parameters={k: v for k, v in parameters.items() if not isinstance(v, list | dict)} if isinstance(parameters, dict) else {},
        usage=usage or told.usage,
        finish_reason=told.finish_reason,
        system=asked.system,
        tools=offered if offered else asked.tools,
        input=asked.messages,
        output=told.messages,
        error=error,
    )


def _without_tools(sent: Any) -> tuple[Any, tuple[Tool, ...]]:
    """(what was sent, the tools offered): the callback for LangChain appends each definition to the prompt as if a tool had spoken."""
    if not isinstance(sent, list):
        return sent, ()
    definitions = [inner for m in sent if (inner := _definition(m)) is not None]
    return ([m for m in sent if _definition(m) is None], parts.tools(definitions)) if definitions else (sent, ())


def _definition(message: Any) -> dict[str, Any] | None:
    content = message.get("content") if isinstance(message, dict) and message.get("role") == "tool" else None
    if not isinstance(content, dict) or not set(message) <= {"role", "content"}:
        return None
    named = content.get("function") if isinstance(content.get("function"), dict) else content
    return content if isinstance(named, dict) and text(named.get("name")) and not SCHEMAS.isdisjoint(named) else None


def _usage(said: Any) -> Usage | None:
    """Counts by kind. The callback for LangChain takes each kind that it names out of the whole: `output` beside `output_reasoning`."""
    found = usage_of(said)
    if found is None or not isinstance(said, dict) or said.keys().isdisjoint(("input", "output")):
        return found
    apart = {
        side: [n for k, v in said.items() if k.startswith(f"{side}_") and (n := number(v)) is not None] for side in ("input", "output")
    }
    if not _taken_out(said):
        apart = {}
    read = found.cached_input_tokens if found.cached_input_tokens is not None else count(said, "input_cache_read", "input_cached_tokens")
    return Usage(
        input_tokens=_whole(found.input_tokens, apart.get("input", ())),
        output_tokens=_whole(found.output_tokens, apart.get("output", ())),
        reasoning_tokens=found.reasoning_tokens
        if found.reasoning_tokens is not None
        else count(said, "output_reasoning", "output_reasoning_tokens"),
        cached_input_tokens=read,
        cache_write_tokens=count(said, "input_cache_creation"),
    )


def _whole(rest: int | None, apart: Iterable[int]) -> int | None:
    return None if rest is None else rest + sum(apart)


def _taken_out(said: dict[str, Any]) -> bool:
    """Whether the kinds stand beside the rest, and not within it: by the total, if it was sent."""
    total = number(said.get("total"))
    return total is None or sum(number(said.get(side)) or 0 for side in ("input", "output")) < total


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
