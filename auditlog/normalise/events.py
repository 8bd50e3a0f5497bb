"""Owns messages that are written as one event each, by the names that the GenAI conventions gave them: `gen_ai.user.message`, ….

They come as events of a span, as log records, or as a list in one attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from auditlog.normalise import parts, shapes
from auditlog.normalise.values import Memo, structure
from auditlog.vocabulary import Message, Reasoning, Role

NAMES: dict[str, tuple[Role, Literal["input", "output"]]] = {
    "gen_ai.system.message": ("system", "input"),
    "gen_ai.developer.message": ("system", "input"),
    "gen_ai.user.message": ("user", "input"),
    "gen_ai.assistant.message": ("assistant", "input"),
    "gen_ai.tool.message": ("tool", "input"),
    "gen_ai.choice": ("assistant", "output"),
}


def listed(found_in: list[dict[str, Any]], memo: Memo) -> Iterator[tuple[str, Message]]:
    """Where none of them is marked as the answer, it is what stands after the last thing that went in."""
    names = [str(told.get("event.name")) for told in found_in]
    sent = max((n for n, name in enumerate(names) if NAMES.get(name, ("assistant",))[0] != "assistant"), default=-1)
    marked = "gen_ai.choice" in names
    for n, (name, told) in enumerate(zip(names, found_in, strict=True)):
        answers = n > sent and not marked
        if name in NAMES:
            found = message(name, told, memo)
            if found is not None:
                yield "output" if answers else found[0], found[1]
        elif isinstance(told.get("data"), dict):  # an item of a kind that the library did not know
            thoughts = tuple(p for p in parts.parts([told["data"]]) if isinstance(p, Reasoning))
            if thoughts:
                yield "output" if n > sent else "input", Message("assistant", thoughts)


def message(name: str, told: dict[str, Any], memo: Memo) -> tuple[Literal["input", "output"], Message] | None:
    role, direction = NAMES[name]
    whole = structure(told.get("gen_ai.event.content"))
    if isinstance(whole, dict):  # the whole message as one attribute
        told = whole
    inner = told.get("message") if direction == "output" and told.get("message") is not None else None
    written = structure(inner)
    if isinstance(written, dict) and not written.keys().isdisjoint(("role", "content", "tool_calls", "parts")):
        inner = written
    if isinstance(inner, dict):
        body = {**inner}
    elif isinstance(inner, str):
        body = {"content": inner}
    else:
        body = {k: v for k, v in told.items() if k not in ("event.name", "gen_ai.system", "gen_ai.message.index", "finish_reason", "index")}
    content = structure(body.get("content"))
    if isinstance(content, list) and content and all(isinstance(p, dict) for p in content):
        body["content"] = content  # attributes of events hold only text, so lists of parts are written as JSON
    if told.get("tool_calls") is not None:
        body.setdefault("tool_calls", told["tool_calls"])  # some write the calls of a choice beside its message
    if isinstance(body.get("tool_calls"), str):
        body["tool_calls"] = structure(body["tool_calls"])
    body["role"] = role if role != "assistant" else body.get("role", role)
    if role == "assistant":
        body.pop("id", None)
    found = shapes.message(body, role)
    if found is None or not found.parts:
        return None
    return direction, found
