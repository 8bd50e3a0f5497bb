"""Owns the vocabulary of OpenTelemetry's GenAI conventions: span attributes, span events and log events, old and new forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from auditlog.item import Item, Log, Span
from auditlog.normalise import events, notation, observed, parts, shapes
from auditlog.normalise.values import Memo, attributes, count, decimal, first, given, parsed, plain, structure, text, where_of
from auditlog.vocabulary import (
    AgentRun,
    Call,
    Fact,
    Happening,
    Message,
    MessageRecord,
    ModelCall,
    Received,
    Result,
    Role,
    Text,
    Tool,
    ToolRun,
    Usage,
    Where,
)

NAME = "otel_genai"
MODEL_OPERATIONS = frozenset(
    [
        "chat",
        "text_completion",
        "generate_content",
        "completion",
        "completions",
        "responses",
        "message",
        "messages",
        "chat.completions",
        "text.completions",
        "chat_completion",
        "chat_completions",
        "acompletion",
        "aresponses",
        "inference",
        "converse",
        "invoke_model",
        "generate",
        "llm",
    ]
)
TOOLS = (
    "gen_ai.tool.definitions",
    "gen_ai.request.tools",
    "gen_ai.request.available_tools",
    "gen_ai.request.functions",
    "llm.tools",
    "model_request_parameters",
)
TOOL_OPERATIONS = frozenset(("execute_tool", "tool_call", "tool", "call_tool", "tools/call"))
TRANSFER = "gen_ai.transfer."
NO_CONVERSATION = frozenset(("embeddings", "embedding", "rerank", "image_generation", "create_agent"))
DETAILS = frozenset(("gen_ai.client.inference.operation.details", "gen_ai.client.operation.details"))
CONTENT_EVENTS: dict[str, tuple[str, Role, Literal["input", "output"]]] = {
    "gen_ai.content.prompt": ("gen_ai.prompt", "user", "input"),
    "gen_ai.content.completion": ("gen_ai.completion", "assistant", "output"),
}


def event_name(item: Log) -> str:
    if item.event_name:
        return item.event_name
    return next((value for key, _, value in item.attributes if key == "event.name" and isinstance(value, str)), "")


def recognises(item: Item) -> bool:
    if isinstance(item, Span):
        return any(key.startswith("gen_ai.") for key, _, _ in item.attributes) or any(e.name.startswith("gen_ai.") for e in item.events)
    return isinstance(item, Log) and event_name(item).startswith("gen_ai.")


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if isinstance(item, Span):
        return list(_span(item, where_of(received), memo))
    return list(_log(item, where_of(received), memo)) if isinstance(item, Log) else []


# -- spans ---------------------------------------------------------------------------------------------------------------------


def _span(item: Span, where: Where, memo: Memo) -> Iterator[Fact]:
    said = attributes(item.attributes)
    operation = str(said.get("gen_ai.operation.name") or "").lower()
    error = _error(item, said)
    if _is_tool(operation, said):
        yield _tool_run(item, where, said, error, memo)
        if any(key.startswith(TRANSFER) for key in said):
            yield transfer(where, said)
        return
    heard = list(_span_messages(item, said, memo))
    failed = error is not None and "gen_ai.request.model" in said and "gen_ai.agent.name" not in said
    if operation in MODEL_OPERATIONS or (not operation and (failed or _looks_like_a_call(said))):
        call = model_call(where, said, error, memo)
        call.input += tuple(m for direction, m in heard if direction == "input")
        call.output += tuple(m for direction, m in heard if direction == "output")
        if call.requested_model or call.response_model or call.response_id or call.usage or call.input or call.output or call.error:
            yield call  # else nothing but the operation's name says that a model was called
    elif operation == "handoff" or any(".handoff." in key for key in said):
        yield handoff(where, said)
    elif operation == "retrieval":
        yield retrieval(where, said, error)
    elif operation in NO_CONVERSATION:
        return
    else:
        yield AgentRun(
            where=where,
            name=text(first(said, "gen_ai.agent.name", "gen_ai.workflow.name")),
            version=text(said.get("gen_ai.agent.version")),
            system=system_texts(said.get("gen_ai.system_instructions"), memo),
            tools=offered(first(said, "gen_ai.tool.definitions", "gen_ai.agent.tools"), memo),
            error=error,
            input=shapes.messages(said.get("gen_ai.input.messages"), memo) + tuple(m for d, m in heard if d == "input"),
            output=shapes.messages(said.get("gen_ai.output.messages"), memo, "assistant") + tuple(m for d, m in heard if d == "output"),
        )


def _is_tool(operation: str, said: dict[str, Any]) -> bool:
    if str(said.get("gen_ai.tool.name", "")).startswith("("):
        return False  # no provider accepts such a name: it stands for several tools whose own spans are beside it
    return operation in TOOL_OPERATIONS or (not operation and "gen_ai.tool.name" in said and "gen_ai.request.model" not in said)


def handoff(where: Where, said: dict[str, Any]) -> Happening:
    """One agent hands the work to another; both are named under keys that end alike everywhere."""
    named = {
        side: next((v for k, v in said.items() if k.endswith((f"{side}_agent", f"{side}.agent")) and text(v)), None)
        for side in ("from", "to")
    }
    return Happening(
        where, "handoff", f"{named['from'] or '?'} → {named['to'] or '?'}" if any(named.values()) else where.name, named, named["from"]
    )


def transfer(where: Where, said: dict[str, Any]) -> Happening:
    """A tool call by which the work passes to another agent: the span's own agent is the one that hands it over."""
    source, target = text(said.get("gen_ai.agent.name")), text(said.get(TRANSFER + "target.name"))
    detail = {"from": source, "to": target, "mode": said.get(TRANSFER + "mode"), "type": said.get(TRANSFER + "target.type")}
    shown = f"{source or '?'} → {target or '?'}" if source or target else where.name
    return Happening(where, "handoff", shown, {k: v for k, v in detail.items() if v is not None}, source)


def retrieval(where: Where, said: dict[str, Any], error: str | None = None) -> Happening:
    """What was searched, where, and what was found; documents without their text are only references."""
    p = "gen_ai.retrieval."
    query = text(first(said, p + "query.text", p + "query"))
    detail = {"source": said.get("gen_ai.data_source.id"), "query": query, "documents": parsed(said.get(p + "documents")), "error": error}
    return Happening(where, "retrieval", query or where.name, {k: v for k, v in detail.items() if v is not None})


def _looks_like_a_call(said: dict[str, Any]) -> bool:
    return "gen_ai.response.id" in said or (
        "gen_ai.request.model" in said
        and first(said, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.response.model") is not None
    )


def _error(item: Span, said: dict[str, Any]) -> str | None:
    """What went wrong, in the sender's words: the exception's message, else the status, else the type."""
    for event in item.events:
        if event.name == "exception":
            told = attributes(event.attributes)
            message = first(told, "exception.message", "exception.type")
            if isinstance(message, str):
                return message
    if item.status is not None and item.status[0] == 2:
        return item.status[1] or text(said.get("error.type")) or "error"
    return text(said.get("error.type"))


def model_call(where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> ModelCall:
    """A call from the attributes of a span, a log record or a span event: they carry the same keys."""
    finish = first(said, "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "gen_ai.completion.finish_reason")
    finish = structure(finish) or finish
    tools = offered(first(said, *TOOLS), memo)
    asked, told = observed.asked_of(said.get("gen_ai.prompt"), memo), observed.told_of(said.get("gen_ai.completion"), memo)
    return ModelCall(
        where=where,
        requested_model=text(said.get("gen_ai.request.model")) or asked.model,
        response_model=text(said.get("gen_ai.response.model")) or told.model,
        response_id=text(said.get("gen_ai.response.id")),
        provider=text(first(said, "gen_ai.provider.name", "gen_ai.system")),
        parameters={
            k.removeprefix("gen_ai.request."): v for k, v in said.items() if k.startswith("gen_ai.request.") and k != "gen_ai.request.model"
        },
        usage=usage(said) or told.usage,
        finish_reason=",".join(map(str, finish)) if isinstance(finish, list) else text(finish),
        system=system_texts(said.get("gen_ai.system_instructions"), memo) or asked.system,
        tools=tools if tools is not None else asked.tools,
        agent=text(said.get("gen_ai.agent.name")),
        error=error,
        input=shapes.messages(first(said, "gen_ai.input.messages", "gen_ai.input_messages"), memo) or asked.messages,
        output=shapes.messages(first(said, "gen_ai.output.messages", "gen_ai.output_messages"), memo, "assistant") or told.messages,
        cost_usd=decimal(first(said, "operation.cost", "gen_ai.usage.cost", "gen_ai.cost.total_cost")),
    )


def usage(said: dict[str, Any]) -> Usage | None:
    p = "gen_ai.usage."
    found = Usage(
        input_tokens=count(said, p + "input_tokens", p + "prompt_tokens", "gen_ai.response.prompt_tokens"),
        output_tokens=count(said, p + "output_tokens", p + "completion_tokens", "gen_ai.response.completion_tokens"),
        reasoning_tokens=count(
            said, p + "reasoning.output_tokens", p + "reasoning_tokens", p + "details.reasoning_tokens", p + "output_tokens.reasoning"
        ),
        cached_input_tokens=count(
            said,
            p + "cache_read.input_tokens",
            p + "cache_read_input_tokens",
            p + "details.cache_read_tokens",
            p + "cached_input_tokens",
            p + "input_tokens.cached",
        ),
        cache_write_tokens=count(
            said, p + "cache_creation.input_tokens", p + "cache_write.input_tokens", p + "cache_creation_input_tokens"
        ),
    )
    return None if found == Usage() else found


def offered(value: Any, memo: Memo) -> tuple[Tool, ...] | None:
    if not isinstance(value, str):
        return None if value is None else parts.tools(value)
    known: tuple[Tool, ...] | None = memo.get(("tools", value))
    if known is None:
        known = parts.tools(value)
        memo.put(("tools", value), known, len(value))
    return known


def system_texts(value: Any, memo: Memo) -> tuple[str, ...]:
    """One text per system instruction; the parts of one instruction are one text."""
    if value is None:
        return ()
    said = ["\n".join(p.text for p in m.parts if isinstance(p, Text)) for m in shapes.messages(value, memo, "system")]
    return tuple(s for s in said if s)


# -- tools ---------------------------------------------------------------------------------------------------------------------


def _tool_run(item: Span, where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> ToolRun:
    found, raw = parts.arguments(first(said, "gen_ai.tool.call.arguments", "gen_ai.tool.arguments", "tool_arguments"))
    answer = first(said, "gen_ai.tool.call.result", "gen_ai.tool.result", "gen_ai.tool.output", "tool_response")
    for event in item.events:
        told = attributes(event.attributes)
        if event.name == "gen_ai.tool.message" and found is None and raw is None:
            found, raw = parts.arguments(told.get("content"))
        elif event.name == "gen_ai.choice" and answer is None:
            answer = told.get("message")
        elif event.name in DETAILS:
            found, raw, answer = _from_details(told, found, raw, answer, memo)
    status = str(said.get("gen_ai.tool.status") or "").lower()
    if error is None and status in ("error", "failed", "failure"):
        error = status
    if found is None and raw is not None:
        found = notation.value(raw)
    whole = shapes.answer_of(answer)
    name = text(said.get("gen_ai.tool.name")) or item.name.removeprefix("execute_tool").strip() or item.name
    schema = structure(said.get("gen_ai.tool.json_schema"))
    return ToolRun(
        where=where,
        name=name,
        call_id=given(first(said, "gen_ai.tool.call.id", "gen_ai.tool.call_id")) or (whole.call_id if whole is not None else None),
        arguments=found,
        arguments_raw=raw,
        result=whole.result if whole is not None else answer,
        returned=answer is not None,
        error=error or (str(whole.result) if whole is not None and whole.failed else None),
        agent=text(said.get("gen_ai.agent.name")),
        tool=Tool(name, text(said.get("gen_ai.tool.description")), schema)
        if schema is not None or "gen_ai.tool.description" in said
        else None,
    )


def _from_details(told: dict[str, Any], found: Any, raw: str | None, answer: Any, memo: Memo) -> tuple[Any, str | None, Any]:
    for message in shapes.messages(told.get("gen_ai.input.messages"), memo):
        for part in message.parts:
            if isinstance(part, Call) and found is None and raw is None:
                found, raw = part.arguments, part.arguments_raw
    for message in shapes.messages(told.get("gen_ai.output.messages"), memo, "tool"):
        for part in message.parts:
            if isinstance(part, Result) and answer is None:
                answer = part.result
    return found, raw, answer


# -- messages in events --------------------------------------------------------------------------------------------------------


def _span_messages(item: Span, said: dict[str, Any], memo: Memo) -> Iterator[tuple[str, Message]]:
    for event in item.events:
        told = attributes(event.attributes)
        if event.name in events.NAMES:
            found = events.message(event.name, told, memo)
            if found is not None:
                yield found[0], found[1]
        elif event.name in CONTENT_EVENTS:
            key, role, direction = CONTENT_EVENTS[event.name]
            yield from ((direction, m) for m in _content(told, key, role, memo) if key not in said)
        elif event.name in DETAILS:
            yield from (("input", Message("system", (Text(s),))) for s in system_texts(told.get("gen_ai.system_instructions"), memo))
            yield from (("input", m) for m in shapes.messages(told.get("gen_ai.input.messages"), memo))
            yield from (("output", m) for m in shapes.messages(told.get("gen_ai.output.messages"), memo, "assistant"))
    listed = structure(said.get("events"))
    if isinstance(listed, list):  # the same events as one attribute
        yield from events.listed([told for told in listed if isinstance(told, dict)], memo)


def _content(told: dict[str, Any], key: str, role: Role, memo: Memo) -> tuple[Message, ...]:
    """A whole prompt or completion as one value; some write "None" where a model only called tools."""
    if told.get(key) == "None":
        return ()
    found = observed.asked_of(told.get(key), memo).messages if role == "user" else ()
    return found or shapes.messages(told.get(key), memo, role)


# -- logs ----------------------------------------------------------------------------------------------------------------------


def _log(item: Log, where: Where, memo: Memo) -> Iterator[Fact]:
    name = event_name(item)
    body = plain(*item.body) if item.body is not None else None
    structured = structure(body)
    told: dict[str, Any] = structured if isinstance(structured, dict) else {}
    if name in DETAILS:
        said = {**told, **attributes(item.attributes)}
        yield model_call(where, said, text(said.get("error.type")), memo)
    elif name in events.NAMES:
        said = told or ({"content": body} if isinstance(body, str) else {})
        if not said:
            said = {
                k: v for k, v in attributes(item.attributes).items() if k in ("content", "message", "tool_calls", "role", "id", "index")
            }
        content = structure(said.get("content"))
        if isinstance(content, dict) and isinstance(content.get("tools"), list):
            yield AgentRun(where=where, tools=parts.tools(content["tools"]))  # what was offered, recorded as if it were a message
            return
        found = events.message(name, said, memo)
        if found is not None:
            yield MessageRecord(where, found[1], found[0], text(said.get("finish_reason")))
    elif name == "gen_ai.evaluation.result":
        said = attributes(item.attributes)
        yield Happening(
            where=where,
            kind="feedback",
            text=str(first(said, "gen_ai.evaluation.explanation", "gen_ai.evaluation.score.label") or ""),
            detail={k.removeprefix("gen_ai.evaluation."): v for k, v in said.items() if k.startswith("gen_ai.evaluation.")},
            about=text(said.get("gen_ai.response.id")),
        )
