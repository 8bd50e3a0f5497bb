"""Owns what ingest reads off items besides keeping them: what their senders left out, and which are the service's own telemetry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from auditlog import own, tracing
from auditlog.ingest.decode import Decoded
from auditlog.item import Context, Item, Log, Rest, Span
from auditlog.metrics import Dropped

OWN: Final = "of the items are Auditlog's own telemetry, which is not stored here; send it to another backend"


def dropped(items: Iterable[Item]) -> Dropped:
    """What senders say that they left out: of spans and log records, and of what is in them; a resource or scope counts once."""
    attributes = events = links = 0
    shared: Context | None = None
    for item in items:
        if not isinstance(item, Span | Log):
            continue
        attributes += item.dropped_attributes
        if item.context is not shared:
            shared = item.context
            attributes += shared.resource_dropped + shared.scope_dropped
        if isinstance(item, Span):
            events += item.dropped_events
            links += item.dropped_links
            for event in item.events:
                attributes += event.dropped_attributes
            for link in item.links:
                attributes += link.dropped_attributes
    return Dropped(attributes, events, links)


def without_own(found: Decoded) -> Decoded:
    """What is to be stored. What the service says of itself is left out and the sender is told; the request is not traced then."""
    contexts = {id(context): context for item in found.items if (context := _context(item)) is not None}
    mine = {key for key, context in contexts.items() if _is_own(context)}
    if not mine:
        return found
    tracing.forget()
    kept = [item for item in found.items if id(_context(item)) not in mine]
    return found._replace(items=kept, own=len(found.items) - len(kept))


def _context(item: Item) -> Context | None:
    return None if isinstance(item, Rest) else item.context


def _is_own(context: Context) -> bool:
    return any(key == own.ATTRIBUTE for key, _, _ in context.resource or ())
