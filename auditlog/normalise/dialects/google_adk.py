"""Owns what Google's Agent Development Kit says beside the conventions: thoughts, which it writes as ordinary texts, and its own JSON.

The conventions' vocabulary reads the rest of the same items. The kit copies the parts of an answer without the mark that says
which of them was thought. Only the reasoning tokens that were billed tell that there was one, and only its place tells which: it
comes first. That is a conclusion and no record, so its form is "unknown", never "full". Where the kit also keeps the provider's
own response, that one has the mark.
"""

from __future__ import annotations

from typing import Any

from auditlog.item import Item, Log, Span
from auditlog.normalise import observed, parts, shapes
from auditlog.normalise.values import Memo, attributes, count, given, structure, where_of
from auditlog.vocabulary import Call, Fact, Message, ModelCall, Part, Reasoning, Received, Text, ToolRun, Usage, Where

NAME = "google_adk"
SCOPE = "gcp.vertex.agent"
ASKED, TOLD = f"{SCOPE}.llm_request", f"{SCOPE}.llm_response"
ARGUMENTS, RESULT = f"{SCOPE}.tool_call_args", f"{SCOPE}.tool_response"
MESSAGES = "gen_ai.output.messages"


def recognises(item: Item) -> bool:
    return isinstance(item, Span | Log) and item.context.scope is not None and item.context.scope[0] == SCOPE


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span | Log):
        return []
    said, where = attributes(item.attributes), where_of(received)
    asked, answered = structure(said.get(ASKED)), structure(said.get(TOLD))
    if asked or answered:
        return [_kept_whole(where, asked, answered, memo)]
    if structure(said.get(ARGUMENTS)) or structure(said.get(RESULT)):
        return [_tool_run(where, said)]
    p = "gen_ai.usage."
    billed = count(said, p + "reasoning.output_tokens", p + "experimental.reasoning_tokens")
    if not billed:
        return []
    usage = Usage(count(said, p + "input_tokens"), count(said, p + "output_tokens"), billed)  # several calls may share one span
    told = shapes.messages(said.get(MESSAGES), memo, "assistant")
    thought = tuple(Message(m.role, _first_as_thought(m.parts), m.name) for m in told)
    return [ModelCall(where=where, output=thought, usage=usage)] if thought != told else []


def _first_as_thought(told: tuple[Part, ...]) -> tuple[Part, ...]:
    """The first text, where another text or a call follows it. A text that stands alone is the answer."""
    if any(isinstance(p, Reasoning) for p in told) or not told or not isinstance(told[0], Text):
        return told
    if not any(isinstance(p, Text | Call) for p in told[1:]):
        return told
    return Reasoning(told[0].text, "unknown"), *told[1:]


def _kept_whole(where: Where, asked: Any, answered: Any, memo: Memo) -> ModelCall:
    """The provider's own request and response."""
    sent, told = observed.asked_of(asked, memo), observed.told_of(answered, memo)
    return ModelCall(
        where=where,
        requested_model=sent.model,
        response_id=told.response_id,
        usage=told.usage,
        system=sent.system,
        tools=sent.tools,
        input=sent.messages,
        output=told.messages,
    )


def _tool_run(where: Where, said: dict[str, Any]) -> ToolRun:
    found, raw = parts.arguments(said.get(ARGUMENTS))
    answer = structure(said.get(RESULT))
    return ToolRun(
        where=where,
        name=str(said.get("gen_ai.tool.name") or where.name.removeprefix("execute_tool").strip()),
        call_id=given(said.get("gen_ai.tool.call.id")),
        arguments=found,
        arguments_raw=raw,
        result=answer,
        returned=answer is not None,
    )
