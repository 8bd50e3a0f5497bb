"""Owns the shapes in which messages, parts and tools are written, whoever wrote them: providers' own JSON and conventions alike.

A dialect knows *where* a vocabulary puts messages; this module knows what a message looks like. Shapes are told apart by
their members, never by a vendor's name, so that a library seen for the first time is understood if it writes known shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from auditlog.normalise import notation
from auditlog.normalise.parts import APPROVALS, CALLS, REASONINGS, RESULTS, is_part, joined, part, parts, reasoning, tool_call
from auditlog.normalise.values import Memo, first, parsed, structure, text
from auditlog.vocabulary import Approval, Call, Message, Part, Reasoning, Result, Role, Text

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
OPENING = 200  # characters by which prompts of one conversation are found again

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
    if isinstance(value, dict) and isinstance(value.get("messages"), list) and "role" not in value:
        value = value["messages"]
    if isinstance(value, dict):
        one = message(value, default)
        return (one,) if one is not None else ()
    if not isinstance(value, list):
        return ()
    if value and all(isinstance(v, dict) and is_part(v) and "role" not in v for v in value) and not any(_is_item(v) for v in value):
        return (Message(default, tuple(parts(value))),)
    found_all = (message(v, default) if isinstance(v, dict) else _spoken(v, default) if isinstance(v, str) else None for v in value)
    return tuple(m for m in found_all if m is not None and m.parts)


def _spoken(said: str, default: Role) -> Message | None:
    """A text in a list of messages: one message of the default role, unless it is an object of a library, written down."""
    found = notation.objects(said)
    if isinstance(found, dict):
        found = {k.removeprefix("_"): v for k, v in found.items()}
        if "role" in found and not found.keys().isdisjoint(("content", "contents", "blocks", "parts", "text")):
            return message({"content": found.get("blocks"), **found}, default)
    return Message(default, (Text(said),))


def _raw_list(value: str, memo: Memo, default: Role) -> tuple[Message, ...] | None:
    """The fast way for a JSON array of objects with roles: each element is parsed once for all the prompts that repeat it."""
    if not value.startswith("["):
        return None
    before, known, rest = _extended(value, memo, default)
    try:
        raws = msgspec.json.decode(rest, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    out: list[Message] = []
    for raw in raws:
        found = _raw_message(bytes(raw), memo, default)
        if found is None:
            return None
        if found.parts:
            out.append(found)
    told = (*known, *out)
    if raws and value.endswith("]"):
        memo.prompts(value[:OPENING], default, before, (value, told))
    return told


def _raw_message(raw: bytes, memo: Memo, default: Role) -> Message | None:
    """The message of one element's bytes; None where it is no object with a role. One without parts stands for nothing."""
    known: Message | None = memo.get((raw, default))
    if known is None:
        if not raw.startswith(b"{"):
            return None
        element = msgspec.json.decode(raw)
        if "role" not in element:
            return None
        known = message(element, default) or Message(default, ())
        memo.put((raw, default), known, len(raw))
    return known


def _extended(value: str, memo: Memo, default: Role) -> tuple[str, tuple[Message, ...], str]:
    """(an earlier prompt that this one extends, its messages, the rest as an array): a conversation resent every turn stays linear."""
    for before, told in memo.prompts(value[:OPENING], default):
        shared = before[:-1].rstrip()  # without its closing bracket
        if value.startswith(shared):
            rest = value[len(shared) :].lstrip()
            if rest.startswith(","):
                return before, told, "[" + rest[1:]
    return "", (), value


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
    if "role" not in value and kind.replace("-", "_") in APPROVALS:
        return Message("user" if kind.endswith("response") else "assistant", tuple(parts([value])))
    role = role_of(value.get("role"), ROLES.get(kind, default))
    out: list[Part] = list(_reasoning_beside(value))
    content = first(value, "parts", "content", "contents", "text", "message")
    if role == "tool" and not _holds_results(content):
        call_id = text(first(value, "tool_call_id", "toolCallId", "tool_use_id", "call_id", "id"))
        failed = True if value.get("status") == "error" or value.get("is_error") is True else None
        result = joined(content) if isinstance(content, list) else content
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
    """The tool's answer inside an object that a library wrote down whole; None where the value is the answer itself."""
    found = structure(value)
    if found is None and isinstance(value, str):
        found = notation.objects(value)
        if isinstance(found, dict) and "tool_call_id" in found and "content" in found:
            found = {"role": "tool", **found}
    if not isinstance(found, dict):
        return None
    if "raw_output" in found and "tool_name" in found:
        return Result(
            found["raw_output"], text(found.get("tool_id")), text(found["tool_name"]), True if found.get("is_error") is True else None
        )
    failed = first(found, "isError", "is_error")
    if isinstance(found.get("content"), list) and isinstance(failed, bool) and found["content"]:
        return Result(joined(found["content"]), None, None, failed or None)
    if not is_serialised(found):
        return None
    inner = message(found, "tool")
    return next((p for p in inner.parts if isinstance(p, Result)), None) if inner is not None else None


def _reasoning_beside(value: dict[str, Any]) -> Iterable[Part]:
    """Reasoning that stands beside the content instead of inside it."""
    extra = value.get("additional_kwargs")
    for holder in (value, extra) if isinstance(extra, dict) else (value,):
        for key in ("reasoning_content", "reasoning", "thinking", "thought"):
            found = holder.get(key)
            if isinstance(found, str) and found.strip() and found.lower() not in ("true", "false"):
                yield Reasoning(found, "full")
                return
            if isinstance(found, dict):
                yield from reasoning({"type": "reasoning", **found})
                return


def _calls_beside(value: dict[str, Any], known: list[Part]) -> Iterable[Part]:
    seen = {p.call_id for p in known if isinstance(p, Call) and p.call_id}
    listed = value.get("tool_calls") or value.get("toolCalls") or value.get("invalid_tool_calls") or ()
    one = value.get("function_call")
    for found in [*(listed if isinstance(listed, list | tuple) else ()), *([one] if isinstance(one, dict) else [])]:
        if isinstance(found, dict):
            call = tool_call(found)
            if call is not None and (call.call_id is None or call.call_id not in seen):
                yield call


def _holds_results(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(p, dict) and isinstance(part(p), Result | Approval) for p in content)
