"""Owns the vocabulary of OpenInference: flattened `llm.*` messages, `input.value` and `output.value`, span kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import parts, shapes
from auditlog.normalise.bodies import last_answer, request_of, response_of
from auditlog.normalise.values import Memo, attributes, count, decimal, first, nested, numbered, parsed, structure, text, where_of
from auditlog.vocabulary import (
    AgentRun,
    Call,
    Fact,
    Happening,
    Message,
    ModelCall,
    Part,
    Received,
    Result,
    Text,
    Tool,
    ToolRun,
    Usage,
    Where,
)

NAME = "openinference"
KIND = "openinference.span.kind"
PRIVATE = re.compile(r"\._[a-z]\w*$")
ANSWERED = ("llm.output_messages.", "llm.token_count.")


def recognises(item: Item) -> bool:
    """By its span kind; where the sender's attribute limit dropped that, by keys that nobody else writes."""
    if not isinstance(item, Span):
        return False
    return any(
        key == KIND or key.startswith(("llm.input_messages.", "llm.output_messages.", "llm.token_count.")) for key, _, _ in item.attributes
    )


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said = attributes(item.attributes)
    kind = str(said.get(KIND) or "").upper()
    where, error = where_of(received), _error(item)
    if kind == "LLM" and PRIVATE.search(item.name) and not any(key.startswith(ANSWERED) for key in said):
        asked = request_of(structure(said.get("input.value")), memo)  # a library's own function that only prepares the request
        return [AgentRun(where=where, input=tuple(m for m in asked.messages if m.role == "user"), error=error)]
    if kind == "LLM" or not kind:
        return list(_model_calls(where, said, error, memo))
    named = item.name.lower()
    if kind == "TOOL" and (named.startswith("handoff to ") or ("tool.name" not in said and named.startswith("handoff"))):
        return [_handoff(where, said)]
    if kind == "TOOL":
        return [_tool_run(where, said, error)]
    if kind in ("RETRIEVER", "RERANKER"):
        return [_retrieval(where, said, error)]
    if kind == "GUARDRAIL":
        return [_guardrail(where, said, error)]
    if kind in ("EMBEDDING", "EVALUATOR", "PROMPT"):
        return []
    return [_agent_run(where, said, error, memo)]


def _error(item: Span) -> str | None:
    if item.status is None or item.status[0] != 2:
        return None
    for event in item.events:
        if event.name == "exception":
            found = first(attributes(event.attributes), "exception.message", "exception.type")
            if isinstance(found, str):
                return found
    return item.status[1] or "error"


# -- flattened keys ------------------------------------------------------------------------------------------------------------


def _messages(said: dict[str, Any], prefix: str) -> tuple[Message, ...]:
    sent = (m for m in numbered(nested(said, prefix)) if isinstance(m, dict))
    found = (_message({**m, **m["message"]} if isinstance(m.get("message"), dict) else m) for m in sent)
    return tuple(m for m in found if m.parts)


def _message(sent: Any) -> Message:
    if not isinstance(sent, dict):
        return Message("user", ())
    role = shapes.role_of(sent.get("role"), "user")
    calls = [c for c in (_call(t) for t in numbered(sent.get("tool_calls"))) if c is not None]
    out = list(_contents(sent, calls))
    name = text(first(sent, "name", "function_call_name"))
    if text(sent.get("thought")):  # said beside calls; beside a text it is the reasoning, and then the raw response says so
        out.insert(0, Text(sent["thought"]))
    answers = [parts.part({"type": "tool_result", **a}) for v in numbered(sent.get("function")) if isinstance(a := structure(v), dict)]
    if answers:
        return Message("tool", tuple(a for a in answers if a is not None))
    if role == "tool":
        answer: Any = sent.get("content") if sent.get("content") is not None else "\n".join(p.text for p in out if isinstance(p, Text))
        return Message("tool", (Result(answer, text(sent.get("tool_call_id")), name),))
    if text(sent.get("function_call_name")):
        found, raw = parts.arguments(sent.get("function_call_arguments_json"))
        calls.append(Call(str(sent["function_call_name"]), None, found, raw))
    placed = {c.call_id for c in out if isinstance(c, Call) and c.call_id}
    out += [c for c in calls if c.call_id is None or c.call_id not in placed]
    return Message(role, tuple(out), text(sent.get("name")))


def _contents(sent: dict[str, Any], calls: list[Call]) -> Iterator[Part]:
    """The numbered contents in their order; the plain content only where they do not repeat it."""
    listed = list(numbered(sent.get("contents")))
    texts = []
    for element in listed:
        inner = element.get("message_content", element) if isinstance(element, dict) else {}
        if not isinstance(inner, dict):
            continue
        holder = (
            element.get("tool_call") if isinstance(element, dict) and isinstance(element.get("tool_call"), dict) else inner.get("tool_call")
        )
        kind = str(inner.get("type") or "").lower()
        if kind in ("tool_use", "tool_call") or isinstance(holder, dict):
            call = _call(inner if isinstance(inner.get("tool_call"), dict) else {"tool_call": holder}) if isinstance(holder, dict) else None
            if call is not None and any(c.call_id == call.call_id and c.name == call.name for c in calls):
                yield call
        elif kind in parts.REASONINGS:
            yield from _reasoning(inner)
        elif isinstance(inner.get("text"), str):
            texts.append(inner["text"])
            if inner["text"]:
                yield Text(inner["text"])
        elif inner:
            yield from _other(kind, inner)
    content = sent.get("content")
    structured = structure(content)
    if isinstance(structured, list) and structured and all(isinstance(p, dict) and "type" in p for p in structured) and not listed:
        yield from (p for p in parts.parts(structured) if not isinstance(p, Call))  # a list of parts written as JSON text
    elif isinstance(content, str) and content.strip() and "".join(texts) != content and content not in texts:
        yield Text(content)


def _other(kind: str, inner: dict[str, Any]) -> Iterator[Part]:
    """An image, a sound, a film: its own keys stand two levels down, each under its kind's name."""
    holder = inner.get(kind)
    own = holder.get(kind) if isinstance(holder, dict) else None
    found = parts.part({**(own if isinstance(own, dict) else inner), "type": kind or "unknown"})
    if found is not None:
        yield found
    if isinstance(own, dict) and text(own.get("transcript")):
        yield Text(own["transcript"])


def _reasoning(inner: dict[str, Any]) -> Iterator[Part]:
    found = list(parts.parts([{**inner, "type": "reasoning"}]))
    yield from found if found else ()


def _call(sent: Any) -> Call | None:
    inner = sent.get("tool_call", sent) if isinstance(sent, dict) else None
    if not isinstance(inner, dict):
        return None
    function = inner.get("function") if isinstance(inner.get("function"), dict) else {}
    name = text(first(function, "name")) if isinstance(function, dict) else None
    if name is None:
        return None
    found, raw = parts.arguments(function.get("arguments") if isinstance(function, dict) else None)
    return Call(name, text(inner.get("id")), found, raw)


# -- facts ---------------------------------------------------------------------------------------------------------------------


def _model_calls(where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> Iterator[Fact]:
    """Two facts about one call: what the flattened attributes say, and what the raw request and response say beside them."""
    parameters = structure(said.get("llm.invocation_parameters"))
    heard = _messages(said, "llm.input_messages.")
    definitions = [
        first(t["tool"], "json_schema", "name")
        for t in numbered(nested(said, "llm.tools."))
        if isinstance(t, dict) and isinstance(t.get("tool"), dict)
    ]
    yield ModelCall(
        where=where,
        requested_model=text(first(said, "llm.request.model_name"))
        or (text(first(parameters, "model", "model_name", "model_id")) if isinstance(parameters, dict) else None),
        response_model=text(first(said, "llm.response.model_name", "llm.model_name")),
        provider=text(first(said, "llm.provider", "llm.system")),
        parameters=_scalars(parameters),
        usage=_usage(said),
        finish_reason=text(said.get("llm.finish_reason")),
        input=heard,
        output=_messages(said, "llm.output_messages."),
        tools=parts.tools(definitions) if definitions else None,
        agent=text(first(said, "agent.name", "llm.agent.name")),
        error=error,
        cost_usd=decimal(said.get("llm.cost.total")),
    )
    asked = request_of(structure(said.get("input.value")), memo)
    beside = request_of(parameters, memo)
    told = response_of(structure(said.get("output.value")), memo)
    yield ModelCall(
        where=where,
        requested_model=asked.model,
        response_id=told.response_id,
        usage=told.usage,
        finish_reason=told.finish_reason,
        response_model=told.model,
        tools=asked.tools if asked.tools is not None else beside.tools if beside.tools is not None else told.tools,
        system=asked.system or told.system,
        input=asked.messages,
        output=told.messages,
    )


def _handoff(where: Where, said: dict[str, Any]) -> Happening:
    """One agent hands the work to another. No tool has such a name: with spaces. Some say no more than the name of the other."""
    given, taken = structure(said.get("input.value")), structure(said.get("output.value"))
    source = text(given.get("from_agent")) if isinstance(given, dict) else None
    target = text(taken.get("to_agent")) if isinstance(taken, dict) else where.name.partition(" to ")[2] or None
    detail = {side: name for side, name in (("from", source), ("to", target)) if name}
    return Happening(where, "handoff", where.name, detail, agent=source)


def _guardrail(where: Where, said: dict[str, Any], error: str | None) -> Happening:
    """What a guardrail was given and how it ended. One that stops the work may end with an error and say nothing else."""
    seen = {
        "input": said.get("input.value"),
        "output": said.get("output.value"),
        "triggered": said.get("guardrail.triggered"),
        "error": error,
    }
    detail = {k: v for k, v in seen.items() if v is not None}
    verdict = {True: "triggered", False: "not triggered"}.get(bool(seen["triggered"])) if isinstance(seen["triggered"], bool) else None
    shown = error or detail.get("output") or verdict or where.name
    return Happening(where, "guardrail", str(shown), {"name": where.name} | detail if detail else {})


def _retrieval(where: Where, said: dict[str, Any], error: str | None) -> Happening:
    """What was searched for and found; a reranker is given documents and puts them into another order, or leaves some out."""
    query = first(said, "reranker.query", "input.value")
    given = _documents(said, "reranker.input_documents.")
    detail = {
        "query": query,
        "model": said.get("reranker.model_name"),
        "top_k": said.get("reranker.top_k"),
        "reranked": given or None,
        "documents": _documents(said, "reranker.output_documents.") or _documents(said, "retrieval.documents."),
        "error": error,
    }
    return Happening(where, "retrieval", str(query or ""), {k: v for k, v in detail.items() if v is not None})


def _documents(said: dict[str, Any], prefix: str) -> list[Any]:
    """Documents without the word that stands before each of their keys; metadata is JSON written as text."""
    listed = (d.get("document", d) if isinstance(d, dict) else d for d in numbered(nested(said, prefix)))
    return [{**d, "metadata": parsed(d["metadata"])} if isinstance(d, dict) and "metadata" in d else d for d in listed]


def _scalars(value: Any) -> dict[str, Any]:
    """Parameters of the request, without the bulk that libraries put beside them (tools, instructions)."""
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if not isinstance(v, list | dict) and not (isinstance(v, str) and len(v) > 200)}


def _usage(said: dict[str, Any]) -> Usage | None:
    p = "llm.token_count."
    found = Usage(
        input_tokens=count(said, p + "prompt"),
        output_tokens=count(said, p + "completion"),
        reasoning_tokens=count(said, p + "completion_details.reasoning"),
        cached_input_tokens=count(said, p + "prompt_details.cache_read"),
        cache_write_tokens=count(said, p + "prompt_details.cache_write"),
    )
    return None if found == Usage() else found


def _tool_run(where: Where, said: dict[str, Any], error: str | None) -> ToolRun:
    name = text(said.get("tool.name")) or where.name
    schema = structure(first(said, "tool.json_schema", "tool.parameters"))
    found, raw = _tool_arguments(said, schema)
    answer = said.get("output.value")
    call_id = text(first(said, "tool_call.id", "tool.id"))
    result = shapes.answer_of(answer)
    if result is not None:
        answer, call_id = result.result, call_id or result.call_id
        error = error or (str(result.result) if result.failed else None)
    is_schema = isinstance(schema, dict) and ("properties" in schema or schema.get("type") == "object")
    return ToolRun(
        where=where,
        name=name,
        call_id=call_id,
        arguments=found,
        arguments_raw=raw,
        result=answer,
        returned=answer is not None,
        error=error,
        agent=text(said.get("agent.name")),
        tool=Tool(name, text(said.get("tool.description")), schema if is_schema else None),
    )


def _tool_arguments(said: dict[str, Any], schema: Any) -> tuple[Any, str | None]:
    """Arguments are under `input.value`; some senders write them under `tool.parameters`, where others write the schema."""
    sent = said.get("input.value")
    found, raw = parts.arguments(sent)
    if isinstance(found, dict) and isinstance(found.get("kwargs"), dict) and not found.get("args"):
        return found["kwargs"], raw
    described = isinstance(schema, dict) and any(isinstance(v, dict) and "type" in v for v in schema.values())
    if not isinstance(found, dict) and isinstance(schema, dict) and schema and not described and schema.get("type") != "object":
        return schema, text(said.get("tool.parameters"))
    return found, raw


def _agent_run(where: Where, said: dict[str, Any], error: str | None, memo: Memo) -> AgentRun:
    """An agent's own input and output are messages only where they are plain text: frameworks also write their state there."""
    asked, answered = said.get("input.value"), said.get("output.value")
    state = structure(answered)
    heard = _messages(said, "llm.input_messages.")
    agent = str(said.get(KIND) or "").upper() == "AGENT"
    return AgentRun(
        where=where,
        name=_agent_name(where, said) if agent else text(said.get("agent.name")),
        error=error,
        input=heard or (_plain_message(asked, said.get("input.mime_type"), "user") if agent else ()),
        history=_history(state, memo),
        output=_messages(said, "llm.output_messages.")
        or (_plain_message(answered, said.get("output.mime_type"), "assistant") if agent else last_answer(state)),
    )


def _agent_name(where: Where, said: dict[str, Any]) -> str | None:
    """Some name an agent only as a node of their graph; where that is an ID, the span has another name, and it names nobody."""
    node = text(said.get("graph.node.id"))
    return text(first(said, "agent.name", "graph.node.name")) or (node if node == where.name else None)


def _history(state: Any, memo: Memo) -> tuple[Message, ...]:
    """The conversation in the state that a framework's run ended with."""
    listed = state.get("messages") if isinstance(state, dict) else None
    first_one = listed[0] if isinstance(listed, list) and len(listed) > 1 else None
    if not isinstance(first_one, str) and not (isinstance(first_one, dict) and "role" in first_one):
        return ()  # states of graphs repeat the whole in every step, and the calls of their models have spans
    found = shapes.messages(listed, memo)
    return found if any(m.role == "assistant" for m in found) else ()


def _plain_message(value: Any, mime: Any, role: Any) -> tuple[Message, ...]:
    if not isinstance(value, str) or not value.strip() or (mime is not None and "json" in str(mime)) or structure(value) is not None:
        return ()
    return (Message(role, (Text(value),)),)
