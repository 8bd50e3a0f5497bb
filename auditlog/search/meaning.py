"""Owns what one stored event means in one word and in full: the reading of its item, as lists and the event page show it."""

from __future__ import annotations

from typing import Any

import msgspec

from auditlog.item import ITEM_NAMES, LOG, REST, SPAN, UNREADABLE, Log, Rest, Span
from auditlog.normalise.read import read
from auditlog.store.reader import Stored
from auditlog.vocabulary import Happening, Reading

_KINDS = {"model_call": "model_call", "tool_run": "tool_call", "agent_run": "agent", "message": "message", "failure": "error"}


def item_name(stored: Stored) -> str:
    """What it was sent as."""
    item = stored.item
    if isinstance(item, Span):
        return ITEM_NAMES[SPAN]
    if isinstance(item, Log):
        return ITEM_NAMES[LOG]
    return ITEM_NAMES[REST] if isinstance(item, Rest) else ITEM_NAMES[UNREADABLE]


def reading(stored: Stored) -> Reading | None:
    """All that the item says; None for what could not be decoded."""
    return None if item_name(stored) == "unreadable" else read(stored)


def kind(said: Reading | None) -> str:
    """The derived kind of an event: that of the first thing it says."""
    if said is None:
        return "unreadable"
    for fact in said.facts:
        if isinstance(fact, Happening):
            return fact.kind
        return _KINDS[str(fact.__struct_config__.tag)]
    return "other"


def facts(said: Reading | None) -> list[dict[str, Any]]:
    """What it says, as plain values for JSON."""
    if said is None:
        return []
    found = []
    for fact in said.facts:
        plain = msgspec.to_builtins(fact, builtin_types=(bytes,))
        plain.pop("where", None)
        found.append({"kind": plain.pop("type"), **plain})
    return found


def name(stored: Stored) -> str:
    """The name its sender gave it."""
    item = stored.item
    if isinstance(item, Span):
        return item.name
    return item.event_name if isinstance(item, Log) else ""
