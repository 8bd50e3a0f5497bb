"""Owns what an item says about its own condition, in whatever vocabulary it speaks: what was dropped, left out, or is gone by now."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from auditlog.item import ARRAY, GONE, KVLIST, WITHHELD, Attribute, Item, Log, Rest, Span
from auditlog.vocabulary import Condition

SAMPLED = 1  # W3C trace flags, also in the lowest byte of OTLP's flags
# OpenTelemetry's own entry of a tracestate: `ot=th:c` says that a quarter of all traces is kept, the older `ot=p:2` likewise.
THRESHOLD = re.compile(r"(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})(?:[;,]|\s|$)")
POWER = re.compile(r"(?:^|,)\s*ot=(?:[^,]*;)?p:([0-9]{1,2})(?:[;,]|\s|$)")


def condition(item: Item) -> Condition:
    if isinstance(item, Span):
        return Condition(
            dropped_attributes=item.dropped_attributes + sum(e.dropped_attributes for e in item.events),
            dropped_events=item.dropped_events,
            withheld=_gone(item.attributes) + sum(_gone(e.attributes) for e in item.events),
            kept=share_kept(item.trace_state),
        )
    if isinstance(item, Log):
        body = _value(*item.body) if item.body is not None else 0
        return Condition(
            dropped_attributes=item.dropped_attributes,
            withheld=_gone(item.attributes) + body,
            sampled=None if not item.trace_id else bool(item.flags & SAMPLED),
        )
    return Condition(withheld=sum(raw is GONE for _, raw in item.members)) if isinstance(item, Rest) else Condition()


def share_kept(trace_state: str) -> float:
    """The share of all traces that the sampler keeps, by what it wrote into the tracestate; 1.0 where it wrote nothing."""
    found = THRESHOLD.search(trace_state)
    if found is not None:
        return 1 - int(found[1], 16) / float(16 ** len(found[1]))
    older = POWER.search(trace_state)
    return 1.0 if older is None or int(older[1]) > 62 else 0.5 ** float(older[1])


def _gone(sent: Iterable[Attribute]) -> int:
    return sum(_value(kind, value) for _, kind, value in sent)


def _value(kind: int, value: Any) -> int:
    """How many values inside are gone. What is nested was bounded when it was received."""
    if kind == WITHHELD:
        return 1
    if kind == KVLIST:
        return _gone(value)
    return sum(_value(*v) for v in value) if kind == ARRAY else 0
