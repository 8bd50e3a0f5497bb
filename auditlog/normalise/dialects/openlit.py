"""Owns what OpenLIT says beside the conventions: reasoning under a key of its own, and older prompts as lines of "role: text"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import notation, parts
from auditlog.normalise.values import Memo, attributes, first, structure, text, where_of
from auditlog.vocabulary import Fact, Message, ModelCall, Part, Reasoning, Received

NAME = "openlit"
SDK = "telemetry.sdk.name"
CALLS = "gen_ai.response.tool_calls"
REASONING = "gen_ai.content.reasoning"


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and any(key == REASONING or (key == SDK and value == NAME) for key, _, value in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said = attributes(item.attributes)
    told = [Reasoning(said[REASONING], "full")] if text(said.get(REASONING)) else []
    calls = tuple(_calls(said)) if "gen_ai.output.messages" not in said and said.get("gen_ai.operation.name") == "chat" else ()
    return [ModelCall(where=where_of(received), output=(Message("assistant", (*told, *calls)),))] if told or calls else []


def _calls(said: dict[str, Any]) -> Iterator[Part]:
    """Older versions name the calls of an answer beside its text: as a list in Python's notation, or the first one in three keys."""
    listed = said.get(CALLS)
    found = (structure(listed) or notation.value(listed)) if isinstance(listed, str) else None
    if isinstance(found, list):
        yield from (c for f in found if isinstance(f, dict) and (c := parts.tool_call(f)) is not None)
    elif text(said.get("gen_ai.tool.name")):
        arguments = first(said, "gen_ai.tool.args", "gen_ai.tool.call.arguments")
        call = parts.tool_call({"name": said["gen_ai.tool.name"], "id": said.get("gen_ai.tool.call.id"), "arguments": arguments})
        if call is not None:
            yield call
