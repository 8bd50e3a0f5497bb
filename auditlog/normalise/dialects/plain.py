"""Owns the fallback: an item that no vocabulary recognises is still kept, placed in its trace, and its errors are shown."""

from __future__ import annotations

from auditlog.item import Item, Log, Rest, Span, Unreadable
from auditlog.normalise.values import Memo, attributes, first, plain, where_of
from auditlog.vocabulary import Fact, Failure, Received, Where

NAME = "plain"
SEVERE = 17  # SEVERITY_NUMBER_ERROR
LONGEST = 20_000  # characters of an error that are shown; the item itself is one click away


def recognises(item: Item) -> bool:
    return not isinstance(item, Rest)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item, where = received.item, where_of(received)
    if isinstance(item, Span):
        return _span(item, where)
    if isinstance(item, Log) and item.severity >= SEVERE and item.body is not None:
        body = plain(*item.body)
        return [Failure(where, (body if isinstance(body, str) else str(body))[:LONGEST], item.severity_text or None)]
    if isinstance(item, Unreadable):
        return [Failure(where, item.message, item.code)]
    return []


def _span(item: Span, where: Where) -> list[Fact]:
    for event in item.events:
        if event.name == "exception":
            told = attributes(event.attributes)
            found = first(told, "exception.message", "exception.type")
            kind = told.get("exception.type")
            return [Failure(where, str(found or "exception")[:LONGEST], kind if isinstance(kind, str) else None)]
    if item.status is not None and item.status[0] == 2:
        kind = attributes(item.attributes).get("error.type")
        named = f"{item.name}: {kind}" if isinstance(kind, str) and kind else "error"
        return [Failure(where, item.status[1][:LONGEST] or named[:LONGEST], kind if isinstance(kind, str) else None)]
    return []
