"""Owns the raw request and response bodies of model providers, which several conventions carry as JSON text beside their own keys.

Told apart by their members alone: a request has a list of messages (or `input`, `contents`), a response has choices, an
`output`, a `content` list, candidates or generations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from auditlog.normalise import notation, parts, shapes
from auditlog.normalise.values import Memo, first, number, structure, text
from auditlog.vocabulary import Message, Reasoning, Text, Tool, Usage

SENT = ("messages", "input", "contents", "prompt", "prompts", "chat_history", "items", "inputs")  # where requests keep what was said
SYSTEM = ("system", "instructions", "system_instruction", "systemInstruction", "system_prompt", "preamble")

PROMPTED = ("promptTokenCount", "prompt_token_count", "inputTokens", "promptTokens", "prompt_eval_count", "input_token_count")
COMPLETED = ("outputTokens", "completionTokens", "eval_count", "output_token_count")


class Request(msgspec.Struct, frozen=True):
    model: str | None = None
    system: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] | None = None


class Response(msgspec.Struct, frozen=True):
    model: str | None = None
    response_id: str | None = None
    messages: tuple[Message, ...] = ()
    usage: Usage | None = None
    finish_reason: str | None = None
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] | None = None


def request_of(body: Any, memo: Memo) -> Request:
    if isinstance(body, list):
        return Request(messages=shapes.messages(body, memo))
    if not isinstance(body, dict):
        return Request()
    inner = first(body, "kwargs", "body", "request")
    if isinstance(inner, dict) and not any(k in body for k in SENT):
        body = inner
    sent = first(body, *SENT)
    if isinstance(sent, dict) and any(k in sent for k in SENT):
        sent = first(sent, *SENT)
    while isinstance(sent, list) and len(sent) == 1 and isinstance(sent[0], list):
        sent = sent[0]  # a batch of one prompt
    if isinstance(sent, list) and sent and all(isinstance(s, list) for s in sent):
        sent = sent[0]
    heard = shapes.messages(sent, memo) if isinstance(sent, list | str | dict) else ()
    beside = [h for k in ("config", "toolConfig", "tool_config", "options", "parameters") if isinstance(h := body.get(k), dict)]
    holders = [body, *beside]
    tools = next((t for h in holders for k in ("tools", "functions") if isinstance(t := structure(h.get(k)), list) and t), None)
    system = next((s for h in holders if (s := first(h, *SYSTEM)) is not None), None)
    return Request(
        text(first(body, "model", "modelId", "model_id", "model_name")),
        _system(system, memo),
        heard,
        parts.tools(tools) if tools is not None else _none_offered(holders),
    )


def _none_offered(holders: list[dict[str, Any]]) -> tuple[Tool, ...] | None:
    """A request that says that it offered no tools is another thing than one that does not say."""
    return () if any(h.get("tools") == [] for h in holders) else None


def _system(value: Any, memo: Memo) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = value.get("parts", value)
    said = ["\n".join(p.text for p in m.parts if isinstance(p, Text)) for m in shapes.messages(value, memo, "system")] if value else []
    return tuple(s for s in said if s)


def response_of(body: Any, memo: Memo) -> Response:
    if isinstance(body, list):
        return Response(messages=tuple(m for m in shapes.messages(body, memo, "assistant") if m.role == "assistant"))
    if not isinstance(body, dict):
        return Response()
    told = tuple(m for m in (shapes.message(v, "assistant") for v in _answers(body)) if m is not None and m.parts and m.role == "assistant")
    if isinstance(body.get("raw"), str):  # the provider's own object, written down in Python's notation
        thoughts = tuple(Reasoning(t, "full") for name in ("reasoning_content", "thinking") for t in notation.texts_of(body["raw"], name))
        told += (Message("assistant", thoughts),) if thoughts else ()
    reason = first(body, "stop_reason", "finish_reason", "stopReason", "finishReason", "done_reason")
    choices = body.get("choices")
    if reason is None and isinstance(choices, list) and choices and isinstance(choices[0], dict):
        reason = choices[0].get("finish_reason")
    tools = body.get("tools")
    return Response(
        model=text(first(body, "model", "modelVersion", "model_version")),
        response_id=text(first(body, "id", "response_id", "responseId")) or _inner_id(body),
        messages=told,
        usage=usage_of(first(body, "usage", "usageMetadata", "usage_metadata", "token_usage", "tokenUsage"))
        or (usage_of(body) if "eval_count" in body else _inner_usage(body)),
        finish_reason=text(reason),
        system=_system(body.get("instructions"), memo),
        tools=parts.tools(tools) if isinstance(tools, list) and tools else None,
    )


def _answers(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages of a response, whichever of the usual places they stand in."""
    if isinstance(body.get("message"), dict) and "choices" not in body:
        yield {"role": "assistant", **body["message"]}
    for choice in body.get("choices") or ():
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
            yield choice["message"]
        elif isinstance(choice, dict) and isinstance(choice.get("text"), str):
            yield {"role": "assistant", "content": choice["text"]}
    output = body.get("output")
    if isinstance(output, list):
        yield from (o for o in output if isinstance(o, dict))
    elif isinstance(output, dict) and isinstance(output.get("message"), dict):
        yield output["message"]
    for candidate in body.get("candidates") or ():
        if isinstance(candidate, dict) and isinstance(candidate.get("content"), dict):
            yield {"role": "assistant", "parts": candidate["content"].get("parts")}
    for batch in body.get("generations") or ():
        for generation in batch if isinstance(batch, list) else [batch]:
            if isinstance(generation, dict) and isinstance(generation.get("message"), dict):
                yield generation["message"]
            elif isinstance(generation, dict) and isinstance(generation.get("text"), str) and generation["text"]:
                yield {"role": "assistant", "content": generation["text"]}
    if isinstance(body.get("content"), dict) and isinstance(body["content"].get("parts"), list):
        yield {"role": "assistant", "parts": body["content"]["parts"]}
    for key in ("messages", "replies"):
        listed = body.get(key)
        if isinstance(listed, list) and listed and isinstance(listed[-1], dict):
            yield listed[-1]
    plain = (
        None if "choices" in body else first(body, "output_text", "completion", "generated_text", "response", "output", "text", "answer")
    )
    if isinstance(plain, str) and structure(plain) is None and "content" not in body and "message" not in body:
        yield {"role": "assistant", "content": plain}
    if isinstance(body.get("thought"), str) and body.get("role") is None and "content" in body:
        yield from _with_thought(body)
    elif isinstance(body.get("content"), list | str) and (
        body.get("role") == "assistant" or body.get("type") == "message" or "stop_reason" in body
    ):
        yield {**body, "role": "assistant"}


def _with_thought(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A result with `thought` beside its `content`: beside calls it is what the model said with them, beside a text its reasoning."""
    if isinstance(body["content"], list):
        yield {"role": "assistant", "content": body["thought"], "tool_calls": body["content"]}
    else:
        yield {"role": "assistant", "content": body["content"], "reasoning_content": body["thought"]}


def _inner_id(body: dict[str, Any]) -> str | None:
    """A response's ID that a framework moved into its own metadata."""
    for generation in _answers(body):
        inner = generation.get("kwargs") if isinstance(generation.get("kwargs"), dict) else generation
        metadata = inner.get("response_metadata") if isinstance(inner, dict) else None
        if isinstance(metadata, dict) and text(metadata.get("id")):
            return str(metadata["id"])
    return None


def _inner_usage(body: dict[str, Any]) -> Usage | None:
    """Usage that a framework keeps with the message, or in its own account of the provider."""
    for holder in (*_answers(body), body.get("llm_output"), body.get("response_metadata")):
        inner = holder.get("kwargs", holder) if isinstance(holder, dict) else None
        found = usage_of(first(inner, "usage_metadata", "token_usage", "usage")) if isinstance(inner, dict) else None
        if found is not None:
            return found
    return None


def usage_of(said: Any) -> Usage | None:
    """A provider's own account of tokens, as it stands in its response."""
    if not isinstance(said, dict):
        return None
    if isinstance(said.get("tokens"), dict):
        said = said["tokens"]
    details = first(said, "output_tokens_details", "completion_tokens_details", "output_token_details")
    inputs = first(said, "input_tokens_details", "prompt_tokens_details", "input_token_details")
    read, written = number(said.get("cache_read_input_tokens")), number(said.get("cache_creation_input_tokens"))
    asked = number(first(said, "input_tokens", "prompt_tokens", "input", *PROMPTED))
    found = Usage(
        input_tokens=asked if asked is None or "total_tokens" in said else asked + (read or 0) + (written or 0),  # cached ones stand apart
        output_tokens=number(
            first(said, "output_tokens", "completion_tokens", "output", "candidatesTokenCount", "candidates_token_count", *COMPLETED)
        ),
        reasoning_tokens=number(
            first(details, "reasoning_tokens", "reasoning")
            if isinstance(details, dict)
            else first(said, "thoughts_token_count", "thoughtsTokenCount", "reasoningTokens")
        ),
        cached_input_tokens=number(first(inputs, "cached_tokens", "cache_read")) if isinstance(inputs, dict) else read,
    )
    return None if found == Usage() else found


def last_answer(found: Any) -> tuple[Message, ...]:
    """The answer at the end of a framework's state, where that state is serialised messages; nothing of any other value."""
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    for key in ("outputs", "update", "messages"):
        while isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) and key in found[0]:
            found = found[0]
        if isinstance(found, dict) and isinstance(found.get(key), list | dict):
            found = found[key]
    while isinstance(found, list) and found and isinstance(found[-1], dict) and isinstance(found[-1].get("update"), dict):
        found = found[-1]["update"].get("messages")
    last = found[-1] if isinstance(found, list) and found else None
    if not isinstance(last, dict) or not shapes.is_serialised(last):
        return ()
    message = shapes.message(last, "assistant")
    return (message,) if message is not None and message.role == "assistant" else ()
