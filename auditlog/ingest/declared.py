"""Owns what ingest reads off items besides keeping them: what their senders left out, and which are the service's own telemetry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from auditlog import own, tracing
from auditlog.ingest.decode import Decoded
from auditlog.item import Context, Item, Log, Span
from auditlog.metrics import Dropped

OWN: Final = "of the items are Auditlog's own telemetry, which is not stored here; send it to another backend"


def dropped(items: Iterable[Item]) -> Dropped:
    """What senders say that they left out: of spans and log records, and of what is in them; a resource or scope counts once."""
    attributes = events = links = 0
    shared: Context | None = None
    for item in items:
        kind = type(item)
        if kind is not Span and kind is not Log:
            continue
        one: Any = item  # of a kind that mypy cannot see; this is asked of every span
        attributes += one.dropped_attributes
        if one.context is not shared:
            shared = one.context
            attributes += shared.resource_dropped + shared.scope_dropped
        if kind is Span:
            events += one.dropped_events
            links += one.dropped_links
            for event in one.events:
                attributes += event.dropped_attributes
            for link in one.links:
                attributes += link.dropped_attributes
    return Dropped(attributes, events, links)


def without_own(found: Decoded) -> Decoded:
    """What of an OTLP request is to be stored: without the service's own telemetry. The sender is told, and the request is not traced."""
    items: Sequence[Any] = found.items  # each has a context; only REST events, of which none comes here, do not
    last: Context | None = None
    mine = set()
    for item in items:
        if item.context is not last:
            last = item.context
            if last is not None and _is_own(last):
                mine.add(id(last))
    if not mine:
        return found
    tracing.forget()
    kept = [item for item in items if id(item.context) not in mine]
    return found._replace(items=kept, own=len(items) - len(kept))


def _is_own(context: Context) -> bool:
    return any(key == own.ATTRIBUTE for key, _, _ in context.resource or ())
