"""Owns the original of an event as a download: OTLP/JSON, the REST event as sent, or the bytes where JSON cannot carry it."""

from __future__ import annotations

from auditlog.errors import Problem
from auditlog.item import Item, Rest, Unreadable
from auditlog.otlp_json import document


def of(item: Item) -> tuple[bytes, str, str]:
    """(bytes, media type, suffix of a file name)."""
    if isinstance(item, Unreadable):
        return item.raw, "application/octet-stream", "bin"
    if isinstance(item, Rest):
        return item.raw(), "application/json", "json"
    data = document(item)
    if data is None:
        raise Problem("internal", "This item has no form as JSON. It is kept as it was sent.")
    return data, "application/json", "json"
