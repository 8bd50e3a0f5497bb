"""Owns what LiteLLM says beside the conventions: the provider's own request and response, spread over keys of one span.

`llm.<provider>.<member>` holds each member of both bodies, in Python's notation. It is a child of the span that the conventions
tell of, which lacks the IDs of calls, and reasoning.
"""

from __future__ import annotations

from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import notation, shapes
from auditlog.normalise.bodies import SENT, request_of, response_of
from auditlog.normalise.values import Memo, attributes, structure, text, where_of
from auditlog.vocabulary import AgentRun, Fact, ModelCall, Received

NAME = "litellm"
RAW = "raw_gen_ai_request"
OVERWRITTEN = frozenset(("llm.is_streaming", "metadata.user_api_key_hash", "error.llm_provider", "gen_ai.output.messages"))
WHOLE = "stringified_raw_response"  # a response that is no JSON object


def recognises(item: Item) -> bool:
    if not isinstance(item, Span):
        return False
    return claims(item) or (item.name == RAW and any(key.startswith("llm.") for key, _, _ in item.attributes))


def claims(item: Item) -> bool:
    """Whether it is a span of the application that several requests wrote on, the last of them in vain: what it says is of several."""
    if not isinstance(item, Span) or item.context.scope is None or item.context.scope[0] == NAME:
        return False
    keys = {key for key, _, _ in item.attributes}
    return keys >= OVERWRITTEN


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said = attributes(item.attributes)
    if item.name != RAW:
        sent = shapes.messages(said.get("gen_ai.input.messages"), memo)  # the last request repeats what tools returned before it
        answered = tuple(m for m in sent if m.role == "tool")
        return [AgentRun(where=where_of(received), input=answered, error=text(said.get("error.message")) or "error")]
    body = _body(said, memo)
    asked = request_of(body, memo)
    told = response_of({key: value for key, value in body.items() if key not in SENT}, memo)
    if not (asked.messages or told.messages):
        return []
    return [
        ModelCall(
            where=where_of(received),
            provider=next((key.split(".")[1] for key in said if key.startswith("llm.") and key.count(".") >= 2), None),
            response_model=told.model,
            response_id=told.response_id,
            usage=told.usage,
            finish_reason=told.finish_reason,
            system=asked.system,
            tools=asked.tools,
            input=asked.messages,
            output=told.messages,
        )
    ]


def _body(said: dict[str, Any], memo: Memo) -> dict[str, Any]:
    """Both bodies as one: they share only the model's name, which the response has set last."""
    out: dict[str, Any] = {}
    for key, value in said.items():
        member = key.split(".", 2)[2] if key.startswith("llm.") and key.count(".") >= 2 else None
        if member is not None:
            out[member] = _read(value, memo)
    whole = out.pop(WHOLE, None)
    return {**out, **whole} if isinstance(whole, dict) else out


def _read(value: Any, memo: Memo) -> Any:
    """A value that only a container can be; any other text is itself. A conversation is resent every turn: read once."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    known = memo.get(("notation", value))
    if known is None:
        known = structure(value) or notation.value(value) or value
        memo.put(("notation", value), known, len(value))
    return known
