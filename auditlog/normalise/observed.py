"""Owns observations: items that say what kind of work they were, what went in and what came out, each as one value.

Many vocabularies are no more than that under keys of their own. A dialect finds the values; what they mean is found here, by
their shapes: provider's bodies, lists of messages, plain text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from auditlog.normalise import notation, parts, shapes, transcript
from auditlog.normalise.bodies import Request, Response, request_of, response_of
from auditlog.normalise.values import Memo, structure, text
from auditlog.vocabulary import AgentRun, Fact, Happening, HappeningKind, Message, ModelCall, Other, Text, Tool, ToolRun, Usage, Where

KINDS: dict[str, str] = {
    **dict.fromkeys(
        [
            "llm",
            "generation",
            "chat",
            "chat_model",
            "model",
            "model_generation",
            "completion",
            "llm_call",
            "model_call",
            "inference",
            "chat_completion",
            "language_model",
            "text_completion",
            "generate_content",
            "chat_completions",
            "model_inference",
        ],
        "model",
    ),
    **dict.fromkeys(
        ["tool", "function", "tool_call", "mcp_tool_call", "provider_tool_call", "function_call", "execute_tool", "tool_execution"], "tool"
    ),
    **dict.fromkeys(["retriever", "retrieval", "vector_search"], "retrieval"),
    **dict.fromkeys(["guardrail", "guardrails"], "guardrail"),
    **dict.fromkeys(["handoff", "transfer"], "handoff"),
    **dict.fromkeys(["agent", "agent_run", "invoke_agent"], "agent"),
    **dict.fromkeys(
        [
            "chain",
            "workflow",
            "task",
            "workflow_run",
            "crew",
            "flow",
            "pipeline",
            "session",
            "graph",
            "node",
            "step",
            "root",
            "span",
            "prompt",
            "parser",
        ],
        "run",
    ),
}


class Observation(msgspec.Struct):
    """What one item says of one piece of work; None where it does not say."""

    kind: str
    name: str | None = None
    sent: Any = None
    answered: Any = None
    system: Any = None
    tools: tuple[Tool, ...] | None = None
    requested_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    parameters: dict[str, Any] = {}
    usage: Usage | None = None
    call_id: str | None = None
    agent: str | None = None
    error: str | None = None
    cost_usd: float | None = None


def facts(where: Where, seen: Observation, memo: Memo) -> list[Fact]:
    if seen.kind == "model":
        return [_model_call(where, seen, memo)]
    if seen.kind == "tool":
        return [_tool_run(where, seen)]
    if seen.kind in ("retrieval", "guardrail", "handoff"):
        return [_happening(where, seen)]
    return [_agent_run(where, seen, memo)]


def _model_call(where: Where, seen: Observation, memo: Memo) -> ModelCall:
    asked, told = asked_of(seen.sent, memo), told_of(seen.answered, memo)
    system = asked_of(seen.system, memo, "system").messages if seen.system is not None else ()
    return ModelCall(
        where=where,
        requested_model=seen.requested_model or asked.model,
        response_model=seen.response_model or told.model,
        response_id=seen.response_id or told.response_id,
        parameters=seen.parameters,
        usage=seen.usage or told.usage,
        finish_reason=told.finish_reason,
        system=asked.system or told.system or tuple(t for m in system if (t := "\n".join(p.text for p in m.parts if isinstance(p, Text)))),
        tools=seen.tools if seen.tools is not None else asked.tools if asked.tools is not None else told.tools,
        input=asked.messages,
        output=told.messages,
        agent=seen.agent,
        error=seen.error,
        cost_usd=seen.cost_usd,
    )


def asked_of(sent: Any, memo: Memo, role: Any = "user") -> Request:
    """What went into a model: a provider's request, messages, or a text."""
    found = structure(sent)
    if found is None and isinstance(sent, str):
        found = notation.value(sent)
    if found is None:
        return Request(messages=transcript.messages(sent, role, memo)) if isinstance(sent, str) and sent.strip() else Request()
    if isinstance(found, list) and found and all(isinstance(f, str) for f in found):
        found = [f if structure(f) is None else structure(f) for f in found]
    return request_of(found, memo) if role == "user" else Request(messages=shapes.messages(found, memo, role))


def told_of(answered: Any, memo: Memo) -> Response:
    """What came out of a model: a provider's response, messages, parts, or a text."""
    found = structure(answered)
    if found is None:
        return (
            Response(messages=(Message("assistant", (Text(answered),)),)) if isinstance(answered, str) and answered.strip() else Response()
        )
    told = response_of(found, memo)
    if told.messages:
        return told
    if isinstance(found, list) and found and all(isinstance(f, str) for f in found):
        return Response(messages=tuple(m for f in found for m in told_of(f, memo).messages))
    for message in shapes.messages(found, memo, "assistant"):
        if message.role == "assistant" and any(not isinstance(p, Other) for p in message.parts):
            return msgspec.structs.replace(told, messages=(message,))
    return told


def _tool_run(where: Where, seen: Observation) -> ToolRun:
    found, raw = parts.arguments(seen.sent)
    own = parts.called_with(found) if isinstance(found, dict) else found
    if not isinstance(own, dict) and (own is not None or raw is not None):
        own = notation.value(own if isinstance(own, str) else raw or "") or own
    answer = seen.answered
    result = shapes.answer_of(answer)
    inner = structure(answer)
    if result is None and isinstance(inner, dict) and len(inner) == 1 and set(inner) <= {"output", "result", "return_value"}:
        only = next(iter(inner.values()))
        result = shapes.answer_of(only)
        answer = only if result is None else answer
    return ToolRun(
        where=where,
        name=seen.name or where.name,
        call_id=seen.call_id or (result.call_id if result is not None else None),
        arguments=own,
        arguments_raw=None if isinstance(own, dict) else raw,
        result=result.result if result is not None else answer,
        returned=answer is not None,
        error=seen.error or (str(result.result) if result is not None and result.failed else None),
        agent=seen.agent,
    )


def _happening(where: Where, seen: Observation) -> Happening:
    kind: HappeningKind = "retrieval" if seen.kind == "retrieval" else "guardrail" if seen.kind == "guardrail" else "handoff"
    said = seen.answered if kind == "guardrail" else seen.sent
    detail = {k: v for k, v in (("input", seen.sent), ("output", seen.answered)) if v is not None}
    return Happening(where, kind, said if isinstance(said, str) else where.name, detail)


def _agent_run(where: Where, seen: Observation, memo: Memo) -> AgentRun:
    """An agent's own input and output are messages only where they are plain text: frameworks also write their state there."""
    plain = [text(v) if isinstance(v, str) and structure(v) is None else None for v in (seen.sent, seen.answered)]
    agent = seen.kind == "agent"
    return AgentRun(
        where=where,
        name=(seen.name or seen.agent) if agent else None,
        system=tuple(m.parts[0].text for m in asked_of(seen.system, memo, "system").messages if m.parts and isinstance(m.parts[0], Text)),
        tools=seen.tools,
        input=(Message("user", (Text(plain[0]),)),) if agent and plain[0] else (),
        output=(Message("assistant", (Text(plain[1]),)),) if agent and plain[1] else (),
        error=seen.error,
    )
