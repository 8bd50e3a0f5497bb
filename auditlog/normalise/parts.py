"""Owns the shapes of one part of a message, and of a tool as offered, whoever wrote them.

Shapes are told apart by their members, never by a vendor's name, so that a library seen for the first time is understood if
it writes known shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from auditlog.normalise.values import first, structure, text
from auditlog.vocabulary import Approval, Call, Form, Media, Other, Part, Reasoning, Result, Text, Tool

TEXTS = frozenset(("text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"))
REASONINGS = frozenset(
    (
        "reasoning",
        "thinking",
        "reasoning_content",
        "reasoningcontent",
        "reasoning_text",
        "text_reasoning",
        "thought",
        "redacted_thinking",
        "redacted_reasoning",
    )
)
ARGUMENTS = (
    "arguments",
    "input",
    "args",
    "parameters",
    "arguments_json",
    "tool_kwargs",
    "server_tool_call",
)  # members of a call that hold them
WRAPPED = frozenset(("reasoningContent", "toolUse", "toolResult"))  # parts that are told apart by the one member that holds them
THOUGHTS = frozenset(("reasoningContent", "reasoning_text"))  # members that only a part of reasoning has
CALLS = frozenset(
    (
        "tool_call",
        "tool_use",
        "function_call",
        "tool-call",
        "toolcall",
        "server_tool_use",
        "server_tool_call",
        "mcp_call",
        "custom_tool_call",
        "function",
    )
)
RESULTS = frozenset(
    (
        "tool_call_response",
        "server_tool_call_response",
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
# Where a call keeps what it was called with, and a result what came back.

ANSWERS = ("response", "result", "output", "content", "tool_call_result", "server_tool_call_response")
APPROVALS = frozenset(f"{what}_approval_{side}" for what in ("tool", "mcp", "function") for side in ("request", "response"))
DENIALS = frozenset(("execution-denied", "execution_denied", "denied", "rejected"))
REMEMBERED_TOOLS = 64 * 1024  # characters of a list of tools that is read once for all sessions
LONGEST_HEAD = 200  # characters of a data: URL in which its media type stands
MEDIA = frozenset(
    ("image", "image_url", "input_image", "audio", "input_audio", "video", "file", "input_file", "document", "blob", "uri", "media")
)


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
            if kind_of(element) in REASONINGS or not THOUGHTS.isdisjoint(element):
                out += reasoning(element)
            else:
                found = part(element)
                out += [found] if found is not None else []
    return out


def is_part(value: dict[str, Any]) -> bool:
    kind = str(value.get("type", "")).lower()
    return (
        kind in TEXTS
        or kind in REASONINGS
        or kind in CALLS
        or kind in RESULTS
        or any(k in value for k in ("toolUse", "toolResult", "reasoningContent", "text"))
    )


def kind_of(value: dict[str, Any]) -> str:
    found = value.get("type") or value.get("kind") or value.get("part_kind") or value.get("block_type") or ""
    return str(found).lower()


def part(value: dict[str, Any]) -> Part | None:
    """One part of a message; None where it is empty."""
    kind = kind_of(value)
    if not kind and isinstance(value.get("origin"), dict) and "result" in value:  # a result with the call that it answers
        return _result({**value["origin"], **value, "is_error": value.get("error")})
    if kind in REASONINGS or not THOUGHTS.isdisjoint(value) or (value.get("thought") is True and "text" in value):
        found = list(reasoning(value))
        return found[0] if found else None
    for key in ("toolUse", "functionCall", "function_call", "toolResult", "functionResponse", "function_response"):
        if isinstance(value.get(key), dict):
            return _result(value[key]) if "esult" in key or "esponse" in key else tool_call(value[key])
    if kind in RESULTS:
        return _result(value)
    if kind.replace("-", "_") in APPROVALS:
        return _approval(value) or Other(kind, value)
    if kind in CALLS or (not kind and ("arguments" in value or "function" in value)):
        return tool_call(value)
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
    if not isinstance(inner, dict) or (
        kind_of(inner) not in REASONINGS | CALLS | RESULTS and not (len(inner) == 1 and set(inner) <= WRAPPED)
    ):
        return None
    found = part(inner)
    return found if not isinstance(found, Other) else None


def reasoning(value: dict[str, Any]) -> Iterable[Part]:
    """Each text of a reasoning part, with the form in which the provider gave it away."""
    kind = kind_of(value)
    for key in ("reasoningContent", "content", "reasoningText"):  # each may hold the next
        if isinstance(value.get(key), dict):
            value = value[key]
    if isinstance(value.get("reasoningText"), str):
        value = {"text": value["reasoningText"]}
    found = False
    for key, form in (
        ("summary", "summary"),
        ("content", "full"),
        ("thinking", "full"),
        ("text", "full"),
        ("reasoning", "full"),
        ("reasoning_content", "full"),
        ("reasoning_text", "full"),
    ):
        for said in _texts(value.get(key)):
            found = True
            yield Reasoning(said, _form(form))
    if not found:
        if "redacted" in kind or "redactedContent" in value:
            yield Reasoning("", "redacted")
        elif first(value, "encrypted_content", "data", "encrypted", "signature") is not None:
            yield Reasoning("", "encrypted")


def joined(content: list[Any]) -> Any:
    """A tool's answer written as a list of text parts is its text; anything else stays as it is."""
    found = [part(p) if isinstance(p, dict) else Text(p) if isinstance(p, str) else None for p in content]
    if found and all(isinstance(p, Text) for p in found):
        return "\n".join(p.text for p in found if isinstance(p, Text))
    return content


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


def called_with(sent: dict[str, Any]) -> Any:
    """A function's own arguments, out of the way in which a decorator recorded how it was called; None where that is unclear."""
    for key in ("inputs", "arguments"):
        only = structure(sent.get(key))
        if isinstance(only, dict) and len(sent) <= 3:
            return only
    if "input_str" in sent:
        return structure(sent["input_str"])
    if not ("args" in sent and "kwargs" in sent):
        return sent
    args, named = sent["args"], sent["kwargs"]
    if isinstance(named, dict) and named and not args:
        return named
    if isinstance(args, list) and len(args) == 1 and not named:
        first_one = structure(args[0])
        return first_one if isinstance(first_one, dict) else None
    return None


def tool_call(value: dict[str, Any]) -> Call | None:
    inner = value.get("function")
    holder = inner if isinstance(inner, dict) else value
    name = text(first(holder, "name", "toolName", "tool_name")) or text(first(value, "name", "toolName", "tool_name"))
    if name is None:
        return None
    sent = next(
        (h[k] for h in (holder, value) for k in ARGUMENTS if h.get(k) is not None),
        None,
    )
    found, raw = arguments(sent)
    call_id = text(first(value, "call_id", "tool_call_id", "toolCallId", "toolUseId", "id"))
    other = text(value.get("id"))
    others = (other, text(value.get("approval_request_id")))
    return Call(name, call_id, found, raw, tuple(o for o in others if o and o != call_id))


def _approval(value: dict[str, Any]) -> Approval | None:
    name = text(first(value, "approvalId", "approval_id", "approval_request_id", "id"))
    inner = next((value[k] for k in ("function_call", "toolCall", "tool_call") if isinstance(value.get(k), dict)), value)
    call = tool_call(inner)
    call_id = text(first(value, "toolCallId", "tool_call_id", "call_id")) or (call.call_id if call is not None else None)
    approved = next((value[k] for k in ("approved", "approve") if isinstance(value.get(k), bool)), None)
    return Approval(name, approved, call_id, call, text(value.get("reason"))) if name is not None else None


def _result(value: dict[str, Any]) -> Result:
    call_id = text(first(value, "tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "call_id", "id"))
    answer = next((value[k] for k in ANSWERS if value.get(k) is not None), None)
    if isinstance(answer, list):
        answer = joined(answer)
    elif isinstance(answer, dict) and set(answer) <= {"type", "value"} and "value" in answer and answer.get("type") not in DENIALS:
        answer = answer["value"]
    failed = True if value.get("is_error") is True or value.get("isError") is True or value.get("status") == "error" else None
    refused = False
    if isinstance(answer, dict) and str(answer.get("type")) in DENIALS:
        refused = True
        answer = first(answer, "reason", "value") or answer
    return Result(answer, call_id, text(first(value, "name", "toolName", "tool_name")), failed, refused)


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
    media_type = str(first(holder, "media_type", "mime_type", "mimeType", "modality", "format") or kind)
    data = str(first(holder, "data", "bytes", "content") or "")
    if isinstance(uri, str) and uri.startswith("data:") and ";base64," in uri[:LONGEST_HEAD]:  # the bytes themselves, written as an address
        head, _, data = uri.partition(";base64,")
        media_type, uri = head.removeprefix("data:").partition(";")[0] or media_type, ""
    return Media(
        media_type=media_type,
        uri=uri if isinstance(uri, str) else "",
        data=data,
        digest=str(value.get("digest") or ""),
    )


# -- tools ---------------------------------------------------------------------------------------------------------------------


def tools(value: Any) -> tuple[Tool, ...]:
    """Tools as offered, from a list of definitions, a JSON text of one, or a list of JSON texts."""
    return _of_text(value) if isinstance(value, str) and len(value) <= REMEMBERED_TOOLS else _tools(value)


@lru_cache(maxsize=128)
def _of_text(value: str) -> tuple[Tool, ...]:
    """An agent offers the same tools in every request of every session. What is equal is the same object, which nobody changes."""
    return _tools(value)


def _tools(value: Any) -> tuple[Tool, ...]:
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
