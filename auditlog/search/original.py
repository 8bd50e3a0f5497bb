"""Owns the original of an event as a download: OTLP/JSON, the REST event as sent, or the bytes where JSON cannot carry it."""

from __future__ import annotations

from auditlog.item import Item, Rest, Unreadable
# otlp


def of(item: Item) -> tuple[bytes, str, str]:
    """(bytes, media type, suffix of a file name)."""
    if isinstance(item, Unreadable):
        return item.raw, "application/octet-stream", "bin"
    if isinstance(item, Rest):
        return item.raw(), "application/json", "json"
    return to_json(item), "application/json", "json"
