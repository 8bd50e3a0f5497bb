"""Owns the shapes in which messages, parts and tools are written, whoever wrote them: providers' own JSON and conventions alike.

A dialect knows *where* a vocabulary puts messages; this module knows what a message looks like. Shapes are told apart by
their members, never by a vendor's name, so that a library seen for the first time is understood if it writes known shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from auditlog.normalise.values import Memo, first, parsed, structure, text
from auditlog.vocabulary import Call, Form, Media, Message, Other, Part, Reasoning, Result, Role, Text, Tool

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "instructions": "system",
    "user": "user",
    "human": "user",
    "customer": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "aimessagechunk": "assistant",
    "aimessage": "assistant",
    "humanmessage": "user",
    "systemmessage": "system",
    "toolmessage": "tool",
    "tool-call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "tool_response": "tool",
    "tool-response": "tool",
    "tool_call_response": "tool",
}
TEXTS = frozenset(("text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"))
REASONINGS = frozenset(
    ("reasoning", "thinking", "reasoning_content", "reasoning_text", "thought", "redacted_thinking", "redacted_reasoning")
)
CALLS = frozenset(
    ("tool_call", "tool_use", "function_call", "tool-call", "toolcall", "server_tool_use", "mcp_call", "custom_tool_call", "function")
)
RESULTS = frozenset(
    (
        "tool_call_response",
        "tool_result",
        "tool-result",
        "function_call_output",
        "tool_response",
        "toolresult",
        "custom_tool_call_output",
        "web_search_tool_result",
        "mcp_tool_result",
        "function_response",
    )
)
MEDIA = frozenset(
    ("image", "image_url", "input_image", "audio", "input_audio", "video", "file", "input_file", "document", "blob", "uri", "media")
)


# -- messages ------------------------------------------------------------------------------------------------------------------


def messages(value: Any, memo: Memo, default: Role = "user") -> tuple[Message, ...]:
    """Messages from a list of them, one of them, or a JSON text of either; a bare text is one message of the default role."""
    if isinstance(value, str):
        listed = _raw_list(value, memo, default)
        if listed is not None:
            return listed
        found = parsed(value)
        if not isinstance(found, dict | list):
            return (Message(default, (Text(value),)),) if value else ()
        value = found
    if isinstance(value, dict):
        one = message(value, default)
        return (one,) if one is not None else ()
    if not isinstance(value, list):
        return ()
    if value and all(isinstance(v, dict) and _is_part(v) and "role" not in v for v in value) and not any(_is_item(v) for v in value):
        return (Message(default, tuple(parts(value))),)
    found_all = (
        message(v, default) if isinstance(v, dict) else Message(default, (Text(v),)) if isinstance(v, str) else None for v in value
    )
    return tuple(m for m in found_all if m is not None and m.parts)


def _raw_list(value: str, memo: Memo, default: Role) -> tuple[Message, ...] | None:
    """The fast way for a JSON array of objects with roles: each element is parsed once for all the prompts that repeat it."""
    if not value.startswith("["):
        return None
    try:
        raws = msgspec.json.decode(value, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    out: list[Message] = []
    for raw in raws:
        key = (bytes(raw), default)
        known = memo.get(key)
        if known is None:
            if not key[0].startswith(b"{"):
                return None
            element = msgspec.json.decode(raw)
            if "role" not in element:
                return None
            known = message(element, default)
            memo.put(key, known, len(key[0]))
        if known is not None and known.parts:
            out.append(known)
    return tuple(out)


def _is_item(value: dict[str, Any]) -> bool:
    """An item of a list in which calls and results stand beside messages instead of inside them."""
    return value.get("type") in ("function_call", "function_call_output", "message", "reasoning") and (
        "call_id" in value or "summary" in value or "content" in value
    )


def role_of(value: Any, default: Role) -> Role:
    return ROLES.get(str(value).lower(), default) if value is not None else default


def message(value: dict[str, Any], default: Role = "user") -> Message | None:
    """One message from any object that has a role, or that is what a role implies."""
    value = _unwrapped(value)
    kind = str(value.get("type", "")).lower()
    if "role" not in value and (kind in CALLS or kind in REASONINGS):
        return Message("assistant", tuple(parts([value])))
    if "role" not in value and kind in RESULTS:
        return Message("tool", tuple(parts([value])))
    role = role_of(value.get("role"), ROLES.get(kind, default))
    out: list[Part] = list(_reasoning_beside(value))
    content = first(value, "parts", "content", "contents", "text", "message")
    if role == "tool" and not _holds_results(content):
        call_id = text(first(value, "tool_call_id", "toolCallId", "tool_use_id", "call_id", "id"))
        failed = True if value.get("status") == "error" or value.get("is_error") is True else None
        result = _joined(content) if isinstance(content, list) else content
        return Message("tool", (Result(result, call_id, text(value.get("name")), failed),))
    out += parts(content)
    out += _calls_beside(value, out)
    return Message(role, tuple(out), text(value.get("name")))


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """Serialised message objects keep the message one level down (`data`, `kwargs`, `message`); the class's name is its role."""
    for key in ("data", "kwargs"):
        inner = value.get(key)
        if isinstance(inner, dict) and ("content" in inner or "tool_calls" in inner):
            name = value.get("id")
            named = name[-1].lower() if isinstance(name, list) and name and isinstance(name[-1], str) else value.get("type")
            return {"type": named, **inner} if "role" not in inner and (str(inner.get("type", "")).lower() not in ROLES) else inner
    inner = value.get("message")
    if isinstance(inner, dict) and "role" not in value and any(k in inner for k in ("role", "content", "tool_calls", "parts")):
        return inner
    return value


def is_serialised(value: dict[str, Any]) -> bool:
    """Whether an object is a message that a library wrote down whole, and not any JSON that happens to be a tool's answer."""
    if isinstance(value.get("data"), dict) or isinstance(value.get("kwargs"), dict):
        return _unwrapped(value) is not value
    return str(value.get("type", value.get("role", ""))).lower() in ("tool", "tool_result", "toolmessage", "ai") and "content" in value


def answer_of(value: Any) -> Result | None:
    """The tool's answer inside a message that a library wrote down whole; None where the value is the answer itself."""
    found = structure(value)
    if not isinstance(found, dict) or not is_serialised(found):
        return None
    inner = message(found, "tool")
    return next((p for p in inner.parts if isinstance(p, Result)), None) if inner is not None else None


def _reasoning_beside(value: dict[str, Any]) -> Iterable[Part]:
    """Reasoning that stands beside the content instead of inside it."""
    extra = value.get("additional_kwargs")
    for holder in (value, extra if isinstance(extra, dict) else {}):
        for key in ("reasoning_content", "reasoning", "thinking", "thought"):
            found = holder.get(key)
            if isinstance(found, str) and found.strip() and found.lower() not in ("true", "false"):
                yield Reasoning(found, "full")
                return
            if isinstance(found, dict):
                yield from _reasoning({"type": "reasoning", **found})
                return


def _calls_beside(value: dict[str, Any], known: list[Part]) -> Iterable[Part]:
    seen = {p.call_id for p in known if isinstance(p, Call) and p.call_id}
    listed = value.get("tool_calls") or value.get("toolCalls") or value.get("invalid_tool_calls") or ()
    one = value.get("function_call")
    for found in [*(listed if isinstance(listed, list | tuple) else ()), *([one] if isinstance(one, dict) else [])]:
        if isinstance(found, dict):
            call = _call(found)
            if call is not None and (call.call_id is None or call.call_id not in seen):
                yield call


def _holds_results(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(p, dict) and isinstance(part(p), Result) for p in content)


def _joined(content: list[Any]) -> Any:
    """A tool's answer written as a list of text parts is its text; anything else stays as it is."""
    found = [part(p) if isinstance(p, dict) else Text(p) if isinstance(p, str) else None for p in content]
    if found and all(isinstance(p, Text) for p in found):
        return "\n".join(p.text for p in found if isinstance(p, Text))
    return content


# -- parts ---------------------------------------------------------------------------------------------------------------------


def parts(content: Any) -> list[Part]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Text(content)]
    if isinstance(content, dict):
        inner = content.get("parts")
        content = inner if isinstance(inner, list) else [content]
    if not isinstance(content, list):
        return [Other("value", content)]
    out: list[Part] = []
    for element in content:
        if isinstance(element, str):
            out += [Text(element)] if element else []
        elif isinstance(element, dict):
            if kind_of(element) in REASONINGS or "reasoningContent" in element:
                out += _reasoning(element)
            else:
                found = part(element)
                out += [found] if found is not None else []
    return out


def _is_part(value: dict[str, Any]) -> bool:
    kind = str(value.get("type", "")).lower()
    return (
        kind in TEXTS
        or kind in REASONINGS
        or kind in CALLS
        or kind in RESULTS
        or any(k in value for k in ("toolUse", "toolResult", "reasoningContent", "text"))
    )


def kind_of(value: dict[str, Any]) -> str:
    found = value.get("type") or value.get("kind") or value.get("part_kind") or ""
    return str(found).lower()


def part(value: dict[str, Any]) -> Part | None:
    """One part of a message; None where it is empty."""
    kind = kind_of(value)
    if kind in REASONINGS or "reasoningContent" in value or (value.get("thought") is True and "text" in value):
        found = list(_reasoning(value))
        return found[0] if found else None
    for key in ("toolUse", "functionCall", "function_call", "toolResult", "functionResponse", "function_response"):
        if isinstance(value.get(key), dict):
            return _result(value[key]) if "esult" in key or "esponse" in key else _call(value[key])
    if kind in RESULTS:
        return _result(value)
    if kind in CALLS or (not kind and ("arguments" in value or "function" in value)):
        return _call(value)
    if kind in TEXTS or (not kind and isinstance(value.get("text"), str)):
        said = first(value, "text", "content", "refusal")
        if isinstance(said, dict):
            said = first(said, "value", "text")
        return _written_down(said) or Text(said) if isinstance(said, str) else None
    if kind in MEDIA or any(k in value for k in ("inline_data", "inlineData", "file_data", "image")):
        return _media(kind, value)
    if kind == "message" or (not kind and "content" in value):
        inner = parts(value.get("content"))
        return inner[0] if len(inner) == 1 else Other(kind or "message", value)
    return Other(kind or "unknown", value)


def _written_down(said: str) -> Part | None:
    """A part that a library wrote into a text as JSON because it did not know its kind; any other text is just text."""
    if not said.startswith('{"') or len(said) < 20:
        return None
    inner = structure(said)
    if not isinstance(inner, dict) or kind_of(inner) not in REASONINGS | CALLS | RESULTS:
        return None
    found = part(inner)
    return found if not isinstance(found, Other) else None


def _reasoning(value: dict[str, Any]) -> Iterable[Part]:
    """Each text of a reasoning part, with the form in which the provider gave it away."""
    kind = kind_of(value)
    if isinstance(value.get("reasoningContent"), dict):
        inner = value["reasoningContent"].get("reasoningText", value["reasoningContent"])
        value = inner if isinstance(inner, dict) else {"text": inner}
    found = False
    for key, form in (
        ("summary", "summary"),
        ("content", "full"),
        ("thinking", "full"),
        ("text", "full"),
        ("reasoning", "full"),
        ("reasoning_content", "full"),
    ):
        for said in _texts(value.get(key)):
            found = True
            yield Reasoning(said, _form(form))
    if not found:
        if "redacted" in kind or "redactedContent" in value:
            yield Reasoning("", "redacted")
        elif first(value, "encrypted_content", "data", "encrypted", "signature") is not None:
            yield Reasoning("", "encrypted")


def _form(form: str) -> Form:
    return "summary" if form == "summary" else "full"


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        if value.startswith("[") and value.endswith("]"):
            inner = structure(value)
            if isinstance(inner, list) and inner and all(isinstance(v, dict) and isinstance(v.get("text"), str) for v in inner):
                yield from (v["text"] for v in inner if v["text"].strip())
                return
        if value.strip():
            yield value
    elif isinstance(value, list):
        for element in value:
            yield from _texts(first(element, "text", "content") if isinstance(element, dict) else element)


def arguments(sent: Any) -> tuple[Any, str | None]:
    """(parsed, verbatim): parsed is None where the text is not JSON; verbatim is None where the sender structured them."""
    if not isinstance(sent, str):
        return sent, None
    try:
        value = msgspec.json.decode(sent)
        if isinstance(value, str) and value[:1] in "{[":
            value = msgspec.json.decode(value)  # encoded twice
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None, sent
    return value, sent


def _call(value: dict[str, Any]) -> Call | None:
    inner = value.get("function")
    holder = inner if isinstance(inner, dict) else value
    name = text(first(holder, "name", "toolName", "tool_name")) or text(first(value, "name", "toolName", "tool_name"))
    if name is None:
        return None
    sent = next(
        (h[k] for h in (holder, value) for k in ("arguments", "input", "args", "parameters", "arguments_json") if h.get(k) is not None),
        None,
    )
    found, raw = arguments(sent)
    call_id = text(first(value, "call_id", "tool_call_id", "toolCallId", "toolUseId", "id"))
    other = text(value.get("id"))
    return Call(name, call_id, found, raw, (other,) if other and other != call_id else ())


def _result(value: dict[str, Any]) -> Result:
    call_id = text(first(value, "tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "call_id", "id"))
    answer = next((value[k] for k in ("response", "result", "output", "content", "tool_call_result") if value.get(k) is not None), None)
    if isinstance(answer, list):
        answer = _joined(answer)
    elif isinstance(answer, dict) and set(answer) <= {"type", "value"} and "value" in answer:
        answer = answer["value"]
    failed = True if value.get("is_error") is True or value.get("isError") is True or value.get("status") == "error" else None
    return Result(answer, call_id, text(first(value, "name", "toolName")), failed)


def _media(kind: str, value: dict[str, Any]) -> Media:
    holder = next(
        (
            value[k]
            for k in ("source", "inline_data", "inlineData", "file_data", "image_url", "input_audio", "file")
            if isinstance(value.get(k), dict)
        ),
        value,
    )
    uri = first(holder, "uri", "url", "file_uri", "fileUri", "file_id", "image_url")
    return Media(
        media_type=str(first(holder, "media_type", "mime_type", "mimeType", "modality", "format") or kind),
        uri=uri if isinstance(uri, str) else "",
        data=str(first(holder, "data", "bytes", "content") or ""),
        digest=str(value.get("digest") or ""),
    )


# -- tools ---------------------------------------------------------------------------------------------------------------------


def tools(value: Any) -> tuple[Tool, ...]:
    """Tools as offered, from a list of definitions, a JSON text of one, or a list of JSON texts."""
    value = structure(value)
    if isinstance(value, dict):
        value = value.get("tools") or value.get("function_tools") or [value]
    out: list[Tool] = []
    for element in value if isinstance(value, list) else ():
        definition = structure(element)
        if isinstance(definition, dict):
            declared = definition.get("function_declarations") or definition.get("functionDeclarations")
            for one in declared if isinstance(declared, list) else [definition]:
                found = _tool(one)
                out += [found] if found is not None else []
        elif isinstance(element, str) and element:
            out.append(Tool(element))
    return tuple(out)


def _tool(value: Any) -> Tool | None:
    if not isinstance(value, dict):
        return None
    for key in ("function", "toolSpec", "json_schema"):
        if isinstance(value.get(key), dict) and "name" in value[key]:
            value = value[key]
    name = text(first(value, "name", "title", "type"))
    if name is None:
        return None
    schema = first(
        value,
        "parameters",
        "input_schema",
        "inputSchema",
        "parameters_json_schema",
        "parametersJsonSchema",
        "json_schema",
        "args_schema",
        "inputs",
    )
    schema = structure(schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict) and set(schema) <= {"json", "jsonSchema"}:
        schema = next(iter(schema.values()), None)
    return Tool(name, text(value.get("description")), schema)
