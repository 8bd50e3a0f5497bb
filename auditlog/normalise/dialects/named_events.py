"""Owns log records of agents that write one event per thing that happened: `….user_prompt`, `….api_request`, `….tool_result`.

Command-line agents do so, each under a prefix of its own; the last words of the event's name say what happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Log
from auditlog.normalise import notation, observed, parts
from auditlog.normalise.bodies import usage_of
from auditlog.normalise.identity import words
from auditlog.normalise.values import Memo, attributes, decimal, first, given, number, plain, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, Failure, Happening, Message, MessageRecord, ModelCall, Received, Text, ToolRun, Where

NAME = "named_events"
PROMPTS = frozenset((("user", "prompt"), ("user", "message"), ("user", "input")))
ANSWERS = frozenset((("assistant", "message"), ("assistant", "response")))
REQUESTS = frozenset((("api", "request"), ("api", "response"), ("llm", "request"), ("llm", "response"), ("model", "call"), ("llm", "call")))
BODIES = frozenset((("request", "body"), ("response", "body")))
ERRORS = frozenset((("api", "error"), ("llm", "error")))
TOOLS = frozenset((("tool", "result"), ("tool", "call")))
DECISIONS = frozenset((("tool", "decision"), ("permission", "decision")))
KNOWN = PROMPTS | ANSWERS | REQUESTS | BODIES | ERRORS | TOOLS | DECISIONS
REFUSED = frozenset(("reject", "rejected", "deny", "denied", "abort"))


def _name(item: Log) -> str:
    """The event's name, under its own field, an attribute, or as the whole body."""
    named = item.event_name or next((v for k, _, v in item.attributes if k == "event.name" and isinstance(v, str)), "")
    body = item.body[1] if item.body is not None else None
    return body if isinstance(body, str) and len(body) < 80 and "." in body and body.endswith(named) else named


def recognises(item: Item) -> bool:
    """By the last words of the name, behind a prefix: a bare `gen_ai.…` belongs to the conventions."""
    if not isinstance(item, Log):
        return False
    name = _name(item)
    return "." in name and not name.startswith("gen_ai.") and tuple(words(name)[-2:]) in KNOWN


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Log):
        return []
    body = plain(*item.body) if item.body is not None else None
    said = {**(body if isinstance(body, dict) else {}), **attributes(item.attributes)}
    return list(_facts(tuple(words(_name(item))[-2:]), where_of(received), said, memo))


def _facts(kind: tuple[str, ...], where: Where, said: dict[str, Any], memo: Memo) -> Iterator[Fact]:
    if kind in PROMPTS | ANSWERS:
        content = text(first(said, "prompt", "message", "content", "text", "response"))
        if content is not None:
            asked = kind in PROMPTS
            message = Message("user" if asked else "assistant", (Text(content),))
            yield MessageRecord(where, message, "input" if asked else "output")
    elif kind in REQUESTS:
        yield from _model_call(where, said, memo, answered=kind[-1] == "response")
    elif kind in BODIES:
        yield from _body(where, said, memo, kind[0])
    elif kind in ERRORS:
        yield Failure(where, str(first(said, "error", "error.message", "error_message", "status_code") or "error"))
    elif kind in DECISIONS:
        decision = str(said.get("decision") or "").lower()
        name = first(said, "tool_name", "function_name", "name")
        detail = {"decision": "denied" if decision in REFUSED else decision, "tool": name}
        yield Happening(
            where, "approval", f"{name}: {decision}", detail, text(said.get("source")), given(first(said, "call_id", "tool_use_id"))
        )
    else:
        yield from _tool_run(where, said)


def _model_call(where: Where, said: dict[str, Any], memo: Memo, answered: bool) -> Iterator[Fact]:
    """A request that names neither tokens nor cost is only the announcement of its response."""
    usage = usage_of({"total_tokens": None, **{k.replace("_token_count", "_tokens"): number(v) for k, v in said.items() if "token" in k}})
    cost = said.get("cost_usd")
    if usage is None and cost is None and not answered:
        return
    told = observed.told_of(first(said, "response_text", "response"), memo)
    yield ModelCall(
        where=where,
        requested_model=text(first(said, "model", "gen_ai.request.model")),
        response_id=given(first(said, "response_id", "message_id")),
        usage=usage,
        output=told.messages,
        cost_usd=decimal(cost) if not isinstance(cost, str) else _decimal(cost),
        error=text(said.get("error")),
    )


def _decimal(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if 0 <= found < 1e12 else None


def _body(where: Where, said: dict[str, Any], memo: Memo, side: str) -> Iterator[Fact]:
    """A provider's body beside the event of its call: it says more, but it is not another call."""
    body = structure(said.get("body"))
    if side == "request":
        asked = observed.asked_of(body, memo)
        yield AgentRun(where=where, system=asked.system, tools=asked.tools, input=asked.messages)
    else:
        yield AgentRun(where=where, output=observed.told_of(body, memo).messages)


def _tool_run(where: Where, said: dict[str, Any]) -> Iterator[Fact]:
    name = text(first(said, "tool_name", "function_name", "name", "tool.name"))
    if name is None:
        return
    found, raw = parts.arguments(first(said, "tool_input", "tool_parameters", "function_args", "arguments", "args", "input"))
    if found is None and raw is not None:
        found = notation.value(raw)
    answer = first(said, "output", "result", "tool_output", "response")
    failed = str(said.get("success", "true")).lower() == "false"
    yield ToolRun(
        where=where,
        name=name,
        call_id=given(first(said, "call_id", "tool_use_id", "tool_call_id")),
        arguments=found,
        arguments_raw=raw,
        result=answer,
        returned=answer is not None,
        error=str(first(said, "error", "error.message", "error_message") or "failed") if failed else None,
    )
