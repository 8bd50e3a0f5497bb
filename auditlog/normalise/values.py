"""Owns plain values: from typed OTLP attributes to Python values, JSON text read once, numbers and texts taken with care."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from auditlog.item import ARRAY, BYTES, KVLIST, Attribute, Item, Log, Span
from auditlog.vocabulary import Received, Where

MEMO_LIMIT = 64 * 1024 * 1024  # bytes of JSON text that one memo remembers; beyond it, it forgets everything and starts again

MOST_PROMPTS = 8  # conversations that begin alike and are remembered side by side


class Memo:
    """Remembers what was parsed, by its text, so that a prompt repeated in twenty spans is parsed once.

    One per session or batch that is read: it must never outlive its work, because it holds content.
    """

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}
        self.held = 0
        self.longest: dict[Any, list[tuple[str, Any]]] = {}

    def get(self, key: Any) -> Any:
        return self.known.get(key)

    def put(self, key: Any, value: Any, size: int) -> None:
        self.held += size
        if self.held > MEMO_LIMIT:
            self.known.clear()
            self.longest.clear()
            self.held = size
        self.known[key] = value

    def prompts(self, opening: str, kind: str, extended: str = "", now: tuple[str, Any] | None = None) -> list[tuple[str, Any]]:
        """The latest prompts that begin like this one, longest first; `now` takes the place of the one that it extends."""
        found = self.longest.setdefault((opening, kind), [])
        if now is not None:
            found[:] = sorted([p for p in found if p[0] not in (extended, now[0])] + [now], key=lambda p: -len(p[0]))[:MOST_PROMPTS]
        return found


def plain(kind: int, value: Any) -> Any:
    """An OTLP value as a Python value; a repeated key in a key-value list keeps its last value."""
    if kind == KVLIST:
        return {key: plain(inner, v) for key, inner, v in value}
    if kind == ARRAY:
        return [plain(inner, v) for inner, v in value]
    if kind == BYTES:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return value


def attributes(sent: Iterable[Attribute]) -> dict[str, Any]:
    return {key: plain(kind, value) for key, kind, value in sent}


def parsed(text: Any) -> Any:
    """The value that a JSON text stands for; anything that is not a JSON object, array or string of one comes back as it was."""
    if not isinstance(text, str):
        return text
    stripped = text.lstrip()
    if stripped[:1] not in ("{", "[", '"'):
        return text
    try:
        return msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text


def structure(value: Any) -> Any:
    """Like `parsed`, but only objects and arrays: None where there is no structure."""
    found = parsed(value)
    if isinstance(found, str) and found is not value:
        found = parsed(found)  # encoded twice
    return found if isinstance(found, dict | list) else None


def first(said: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        value = said.get(key)
        if value is not None and value != "":
            return value
    return None


def text(value: Any) -> str | None:
    return value if isinstance(value, str) and value != "" else None


def given(value: Any) -> str | None:
    """An ID; a text like `<not specified>` says that there is none."""
    found = text(value)
    return None if found is None or (found[0] == "<" and found[-1] == ">") else found


def number(value: Any) -> int | None:
    """A count; None where it is not one. An unreadable count is unknown, never 0."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isdigit() and len(value) < 19:
        return int(value.strip())
    return None


def decimal(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return None


def count(said: Mapping[str, Any], *keys: str) -> int | None:
    for key in keys:
        found = number(said.get(key))
        if found is not None:
            return found
    return None


def nested(said: dict[str, Any], prefix: str) -> dict[str, Any]:
    """`llm.input_messages.0.message.role` becomes {"0": {"message": {"role": ...}}}."""
    out: dict[str, Any] = {}
    size = len(prefix)
    for key, value in said.items():
        if key.startswith(prefix):
            *path, last = key[size:].split(".")
            here = out
            for step in path:
                deeper = here.setdefault(step, {})
                if not isinstance(deeper, dict):
                    break  # a key that is both a value and a prefix: the value stands
                here = deeper
            else:
                here.setdefault(last, value)
    return out


def numbered(found: Any) -> Iterator[Any]:
    """The values under "0", "1", ... in their numeric order."""
    if isinstance(found, dict):
        for key in sorted((k for k in found if k.isdigit()), key=int):
            yield found[key]


def where_of(received: Received) -> Where:
    """Where an item's facts come from."""
    item: Item = received.item
    if isinstance(item, Span):
        return Where(
            event_id=received.id,
            received_at=received.received_at,
            trace_id=item.trace_id.hex(),
            span_id=item.span_id.hex(),
            parent_id=item.parent_span_id.hex(),
            start=item.start,
            end=item.end,
            name=item.name,
            layer=item.context.scope[0] if item.context.scope else "",
        )
    if isinstance(item, Log):
        at = item.time or item.observed
        return Where(
            event_id=received.id,
            received_at=received.received_at,
            trace_id=item.trace_id.hex(),
            span_id=item.span_id.hex(),
            start=at,
            end=at,
            log=True,
            name=item.event_name,
            layer=item.context.scope[0] if item.context.scope else "",
        )
    at = getattr(item, "time", 0)
    trace = getattr(item, "trace_id", b"")
    return Where(event_id=received.id, received_at=received.received_at, trace_id=trace.hex(), start=at, end=at)
