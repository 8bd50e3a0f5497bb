"""Owns what OpenLIT says beside the conventions: reasoning under a key of its own, and older prompts as lines of "role: text"."""

from __future__ import annotations

from auditlog.item import Item, Span
from auditlog.normalise.values import Memo, attributes, text, where_of
from auditlog.vocabulary import Fact, Message, ModelCall, Reasoning, Received

NAME = "openlit"
SDK = "telemetry.sdk.name"
REASONING = "gen_ai.content.reasoning"


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and any(key == REASONING or (key == SDK and value == NAME) for key, _, value in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said, told = attributes(item.attributes), []
    if text(said.get(REASONING)):
        told.append(Message("assistant", (Reasoning(said[REASONING], "full"),)))
    return [ModelCall(where=where_of(received), output=tuple(told))] if told else []
