"""Owns the order in which events are read: by when they began and then by what they say, never by what an installation made of them.

Event IDs are keyed with a secret that each installation draws for itself, so whatever is decided by comparing them would be decided
otherwise elsewhere. Inside `reconstruct` an event is therefore named by its place in this order; the names are put back at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgspec

from auditlog.vocabulary import Arrived, Received


def placed(events: Iterable[Received]) -> tuple[list[Arrived], dict[str, str]]:
    """The events once each, in order, under the names of their places; and the event ID behind each name."""
    # the first receipt counts
    once = {event.id: event for event in sorted(events, key=lambda e: e.received_at, reverse=True)}
    ordered: list[Received] = []
    for _, same in groupby(sorted(once.values(), key=_began), key=_began):
        group = list(same)
        # alike in every word: only then the ID may decide, and nothing but the order of event IDs depends on it
        ordered += group if len(group) == 1 else sorted(group, key=lambda e: (_content(e), e.id))
    names = [f"{number:012d}" for number in range(len(ordered))]
    return [Arrived(name, event.received_at, event.item) for name, event in zip(names, ordered, strict=True)], {
        name: event.id for name, event in zip(names, ordered, strict=True)
    }


def put_back(shown: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The timeline with event IDs where the names of places stood."""
    for told in (*shown["steps"], *shown["model_calls"]):
        told["event_ids"] = [names[name] for name in told["event_ids"]]
    return shown


def _began(event: Received) -> tuple[int, bytes, bytes]:
    item: Any = event.item
    return getattr(item, "start", 0), getattr(item, "trace_id", b""), getattr(item, "span_id", b"")


def _content(event: Received) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(event.item)).digest()
