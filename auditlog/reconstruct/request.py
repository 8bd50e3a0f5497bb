"""Owns a recorded model call as a request that can be sent again: chat completions, or Anthropic's Messages where that was the provider.

What has no place in that form is named, and so is what had to be put in; nothing is left out silently.
Forms: OpenAI API reference, "Create chat completion"; Anthropic API reference, "Messages".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from auditlog.reconstruct.calls import JoinedCall
from auditlog.reconstruct.timeline import session_of
from auditlog.vocabulary import Call, Media, Message, Part, Reasoning, Received, Result, Text, Tool

NOTE: Final = "A replay need not repeat the recorded answer: models sample, and providers change them."
_MAX_TOKENS: Final = 4096  # Anthropic requires one
_KNOWN: Final = {  # names of parameters as recorded, and as both forms call them
    "max_output_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "maxOutputTokens": "max_tokens", "maxTokens": "max_tokens",
    "stop_sequences": "stop", "topP": "top_p", "topK": "top_k", "choice.count": "n",
    "frequencyPenalty": "frequency_penalty", "presencePenalty": "presence_penalty",
}  # fmt: skip
_CHAT: Final = frozenset(
    ("temperature", "top_p", "max_tokens", "stop", "seed", "n", "frequency_penalty", "presence_penalty", "reasoning_effort", "tool_choice")
)
_MESSAGES: Final = frozenset(("temperature", "top_p", "top_k", "max_tokens", "stop"))


def request_of(events: Iterable[Received], number: int) -> dict[str, Any] | None:
    """Model call `number` of the session that these events are, as {note, endpoint, left_out, put_in, body}; None: there is none."""
    calls = session_of(events)[0].calls
    if not 0 <= number < len(calls):
        return None
    call = calls[number]
    form = _Messages(call) if "anthropic" in (call.provider or "").lower() else _Chat(call)
    body = form.body()
    return {"note": NOTE, "endpoint": form.endpoint, "left_out": form.left_out, "put_in": form.put_in, "body": body}


class _Form:
    """What both forms share: the walk over the recorded messages, and the account of what did not fit."""

    endpoint = ""
    parameters: frozenset[str] = frozenset()

    def __init__(self, call: JoinedCall) -> None:
        self.call = call
        self.left_out: list[str] = []
        self.put_in: list[str] = []
        self.waiting: list[str] = []  # IDs of calls without a result so far, for results that name none

    def systems(self) -> list[str]:
        said = [p.text for m in self.call.input if m.role == "system" for p in m.parts if isinstance(p, Text)]
        return list(dict.fromkeys((*self.call.system, *said)))

    def settings(self) -> dict[str, Any]:
        found = {}
        for name, value in self.call.parameters.items():
            known = _KNOWN.get(name, name)
            if known in self.parameters and value is not None:
                found[known] = value
            elif value is not None:
                self.left_out.append(f"the parameter {name} = {value!r}")
        return found

    def call_id(self, part: Call, place: str) -> str:
        if not part.call_id:
            self.put_in.append(f"an ID for the call to {part.name} in {place}")
        self.waiting.append(part.call_id or f"call_{len(self.put_in)}")
        return self.waiting[-1]

    def result_id(self, part: Result, place: str) -> str:
        if part.call_id and part.call_id in self.waiting:
            self.waiting.remove(part.call_id)
            return part.call_id
        if part.call_id or not self.waiting:
            return part.call_id or "unknown"
        self.put_in.append(f"the ID of the call that the result in {place} answers, by order")
        return self.waiting.pop(0)

    def missing(self, part: Part, place: str) -> None:
        kind = "reasoning" if isinstance(part, Reasoning) else str(getattr(part, "kind", "") or type(part).__name__.lower())
        self.left_out.append(f"{kind} in {place}")

    def model(self) -> str:
        found = self.call.requested_model or self.call.response_model
        if not found:
            self.put_in.append("no model was recorded: name one in `model`")
        return found or ""

    def tools(self) -> tuple[Tool, ...]:
        if self.call.tools is None:
            self.left_out.append("the tools offered: they were not recorded in this request")
        for tool in self.call.tools or ():
            if tool.parameters is None:
                self.put_in.append(f"an empty schema for {tool.name}, whose parameters were not recorded")
        return self.call.tools or ()

    def body(self) -> dict[str, Any]:
        raise NotImplementedError


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _arguments(part: Call) -> Any:
    return part.arguments if part.arguments is not None else part.arguments_raw


class _Chat(_Form):
    endpoint = "/v1/chat/completions"
    parameters = _CHAT

    def body(self) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": text} for text in self.systems()]
        for n, message in enumerate(self.call.input):
            if message.role != "system":
                messages += self._messages(message, f"message {n + 1}")
        made: dict[str, Any] = {"model": self.model(), "messages": messages, **self.settings()}
        if offered := self.tools():
            made["tools"] = [
                {"type": "function", "function": _named(tool) | {"parameters": tool.parameters or {"type": "object"}}} for tool in offered
            ]
        return made

    def _messages(self, message: Message, place: str) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, Text):
                content.append({"type": "text", "text": part.text})
            elif isinstance(part, Call):
                said = part.arguments_raw if part.arguments_raw is not None else _said(_arguments(part) or {})
                function = {"name": part.name, "arguments": said}
                calls.append({"id": self.call_id(part, place), "type": "function", "function": function})
            elif isinstance(part, Result):
                results.append({"role": "tool", "tool_call_id": self.result_id(part, place), "content": _said(part.result)})
            elif isinstance(part, Media) and _image(part):
                content.append({"type": "image_url", "image_url": {"url": part.uri or f"data:{part.media_type};base64,{part.data}"}})
            else:
                self.missing(part, place)
        if not content and not calls:
            return results
        texts = [one["text"] for one in content if one["type"] == "text"]
        plain: Any = texts[0] if len(texts) == len(content) == 1 else content or None
        role = message.role if message.role != "tool" else "user"
        return [{"role": role, "content": plain, **({"tool_calls": calls} if calls else {})}, *results]


class _Messages(_Form):
    endpoint = "/v1/messages"
    parameters = _MESSAGES

    def body(self) -> dict[str, Any]:
        messages = []
        for n, message in enumerate(self.call.input):
            if message.role != "system" and (content := self._content(message, f"message {n + 1}")):
                messages.append({"role": "assistant" if message.role == "assistant" else "user", "content": content})
        settings = self.settings()
        if "stop" in settings:
            settings["stop_sequences"] = settings.pop("stop")
        if "max_tokens" not in settings:
            settings["max_tokens"] = _MAX_TOKENS
            self.put_in.append(f"max_tokens = {_MAX_TOKENS}, which was not recorded")
        made: dict[str, Any] = {"model": self.model(), "system": "\n\n".join(self.systems()), "messages": messages, **settings}
        if offered := self.tools():
            made["tools"] = [_named(tool) | {"input_schema": tool.parameters or {"type": "object"}} for tool in offered]
        return made

    def _content(self, message: Message, place: str) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, Text):
                content.append({"type": "text", "text": part.text})
            elif isinstance(part, Call):
                given = _arguments(part)
                if not isinstance(given, dict):
                    self.left_out.append(f"the arguments of {part.name} in {place}, which are no JSON object")
                    given = {}
                content.append({"type": "tool_use", "id": self.call_id(part, place), "name": part.name, "input": given})
            elif isinstance(part, Result):
                content.append({"type": "tool_result", "tool_use_id": self.result_id(part, place), "content": _said(part.result)})
            elif isinstance(part, Media) and _image(part):
                source = (
                    {"type": "base64", "media_type": part.media_type, "data": part.data} if part.data else {"type": "url", "url": part.uri}
                )
                content.append({"type": "image", "source": source})
            else:
                self.missing(part, place)
        return content


def _image(part: Media) -> bool:
    """Bytes or an address; the ID of a file at a provider is neither, and means nothing anywhere else."""
    return part.media_type.startswith("image") and (bool(part.data) or ":" in part.uri)


def _named(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, **({"description": tool.description} if tool.description else {})}
