"""Owns the list of stored items: its filters, and how each is answered without ever reading all of the evidence at once.

Evidence has no index by time (its tables serve ingest first). So there are two ways, both over keys that exist: by trace, where a
filter names a session, a trace or a time, and by batch, in the order of receipt, in portions.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from auditlog.derive.models import Quarantined, Trace
from auditlog.errors import Problem
from auditlog.item import ITEM_NAMES
from auditlog.search import cursor, evidence, parameters
from auditlog.search.parameters import PAGED, Parameter
from auditlog.search.scope import Scope, trace_condition
from auditlog.store.reader import Stored, public_id, split_id

ITEMS: Final = {name: number for number, name in ITEM_NAMES.items() if name != "governance"}
PARAMETERS: Final = {
    "session": Parameter("The `key` of a session."),
    "trace_id": Parameter("32 hexadecimal digits."),
    "item": Parameter("What it was sent as.", values=tuple(sorted(ITEMS))),
    "batch": Parameter("The batch of a receipt.", "integer"),
    "from": Parameter("It happened at this time or later, else was received then: `2026-03-01` or `2026-03-01T10:00:00Z`."),
    "to": Parameter("It happened by this time; a day means its end."),
}
_TRACES: Final = 20_000  # traces of a range of time that are looked into
_BATCHES: Final = 200  # batches of one portion
_PORTIONS: Final = 10  # of one page


class Page(NamedTuple):
    events: list[Stored]
    next: str | None


class Row(NamedTuple):
    """Where an event stands in a list: what the cursor needs."""

    trace_key: uuid.UUID
    event_id: uuid.UUID
    at: datetime
    batch_no: int

    @property
    def id(self) -> str:
        return public_id(self.trace_key, self.event_id)


def page(scope: Scope, given: dict[str, str]) -> Page:
    """Stored items, oldest first. Raises Problem."""
    parameters.only(given, PARAMETERS | PAGED)
    count = parameters.limit(given.get("limit"))
    where, values = _conditions(scope, given)
    if any(given.get(name) for name in ("session", "trace_id", "batch", "from", "to")):
        rows = _by_time(scope, given, where, values, count + 1)
        following = _after(rows[count - 1]) if len(rows) > count else None
    else:
        rows, following = _by_receipt(scope, given, where, values, count)
    rows = rows[:count]
    stored = {event.id: event for event in evidence.by_keys(scope, [(row.trace_key, row.event_id) for row in rows])}
    return Page([stored[row.id] for row in rows if row.id in stored], following)


def _after(row: Row) -> str:
    return cursor.encode(row.at, row.id)


def _conditions(scope: Scope, given: dict[str, str]) -> tuple[list[LiteralString], dict[str, Any]]:
    """What both ways ask of an event."""
    where: list[LiteralString] = ["e.project_id = %(project_id)s", "e.item <> 4"]
    values: dict[str, Any] = {"project_id": scope.project_id}
    if given.get("item"):
        values["item"] = ITEMS[parameters.one_of("item", given["item"], PARAMETERS["item"].values)]
        where.append("e.item = %(item)s")
    if given.get("batch"):
        if not given["batch"].isascii() or not given["batch"].isdigit() or len(given["batch"]) > 18:
            raise parameters.invalid("batch", "is no batch; write the number that a receipt names.", given["batch"])
        values["batch"] = int(given["batch"])
        where.append("e.batch_no = %(batch)s")
    if given.get("from"):
        values["from"] = parameters.moment("from", given["from"])
        where.append("coalesce(e.occurred_at, e.received_at) >= %(from)s")
    if given.get("to"):
        values["to"] = parameters.moment("to", given["to"], end=True)
        where.append("coalesce(e.occurred_at, e.received_at) <= %(to)s")
    return where, values


# Received twice, across two periods: one row. Literal buckets: a plan that prunes.
_TIMED: Final = """
    SELECT e.trace_key, e.event_id, min(coalesce(e.occurred_at, e.received_at)), min(e.batch_no) FROM event e
    WHERE e.bucket IN ({buckets}) AND {where} GROUP BY e.trace_key, e.event_id ORDER BY 3, 1, 2 LIMIT %(count)s"""


def _by_time(scope: Scope, given: dict[str, str], where: list[LiteralString], values: dict[str, Any], count: int) -> list[Row]:
    traces = _traces(scope, given, values)
    if traces is not None:
        where.append("e.trace_key = ANY(%(traces)s)")
        values["traces"] = traces
    if given.get("cursor"):
        at, public = cursor.decode(given["cursor"])
        values |= {"at": at} | dict(zip(("after_trace", "after_event"), _position(public), strict=True))
        where.append("(coalesce(e.occurred_at, e.received_at), e.trace_key, e.event_id) > (%(at)s, %(after_trace)s, %(after_event)s)")
    buckets = _buckets_of(values["batch"]) if "batch" in values else evidence.buckets()
    if not buckets or traces == []:
        return []
    with connection.cursor() as found:
        found.execute(_TIMED.format(buckets=", ".join(map(str, buckets)), where=" AND ".join(where)), values | {"count": count})
        return [Row(*row) for row in found.fetchall()]


def _position(public: str) -> tuple[uuid.UUID, uuid.UUID]:
    place = split_id(public)
    if place is None:
        raise parameters.invalid("cursor", "is none that this service gave out for these filters. Start again without it.")
    return place


def _buckets_of(batch_no: int) -> list[int]:
    with connection.cursor() as found:
        found.execute("SELECT bucket FROM part WHERE batch_no = %s AND count > 0 ORDER BY bucket", (batch_no,))
        return [int(row[0]) for row in found.fetchall()]


def _traces(scope: Scope, given: dict[str, str], values: dict[str, Any]) -> list[uuid.UUID] | None:
    """Trace keys to look into; None: a batch says where to look."""
    chosen: set[uuid.UUID] | None = None
    if given.get("session"):
        chosen = set(evidence.session(scope, given["session"]).trace_keys)
    if given.get("trace_id"):
        condition = trace_condition(parameters.trace_id("trace_id", given["trace_id"]))
        by_id = set(scope.of(Trace).filter(condition).values_list("trace_key", flat=True))
        chosen = by_id if chosen is None else chosen & by_id
    if chosen is None and not given.get("batch"):
        chosen = set(_going_on(scope, values))
    return None if chosen is None else sorted(chosen)


def _going_on(scope: Scope, values: dict[str, Any]) -> Sequence[uuid.UUID]:
    """Traces that may have an event in the range of time; what has no time of its own stands where it was received."""
    happened, received, aside = Q(), Q(), Q()
    if "from" in values:
        happened, received, aside = Q(end__gte=values["from"]), Q(received_last__gte=values["from"]), Q(received_at__gte=values["from"])
    if "to" in values:
        happened &= Q(start__lte=values["to"])
        received &= Q(received_first__lte=values["to"])
        aside &= Q(received_at__lte=values["to"])
    traces = scope.of(Trace).annotate(start=Coalesce(F("first_at"), F("received_first")), end=Coalesce(F("last_at"), F("received_last")))
    found = list(traces.filter(happened | received).values_list("trace_key", flat=True)[: _TRACES + 1])
    found += scope.of(Quarantined).filter(aside).values_list("trace_key", flat=True)[: _TRACES + 1]
    if len(found) > _TRACES:
        raise Problem("query_timeout", f"More than {_TRACES:,} traces were going on then. Nothing was lost. Narrow the time range.")
    return found


_NEXT_BATCHES: Final = """
    SELECT b.batch_no, b.received_at FROM batch b WHERE b.project_id = %(project_id)s AND b.batch_no >= %(first)s AND b.protocol <> 5
    ORDER BY b.batch_no LIMIT %(batches)s"""
# An event that an earlier batch had brought stands there already.
_RECEIVED: Final = """
    SELECT e.trace_key, e.event_id, e.received_at, e.batch_no FROM event e
    WHERE e.bucket IN ({buckets}) AND {where} AND e.batch_no = ANY(%(numbers)s) AND e.batch_no BETWEEN %(first)s AND %(last)s
      AND (e.batch_no, e.trace_key, e.event_id) > (%(after_batch)s, %(after_trace)s, %(after_event)s)
      AND NOT EXISTS (SELECT FROM event o WHERE o.bucket IN ({buckets}) AND o.trace_key = e.trace_key AND o.event_id = e.event_id
                      AND o.project_id = e.project_id AND o.batch_no < e.batch_no)
    ORDER BY e.batch_no, e.trace_key, e.event_id LIMIT %(count)s"""


def _by_receipt(
    scope: Scope, given: dict[str, str], where: list[LiteralString], values: dict[str, Any], count: int
) -> tuple[list[Row], str | None]:
    """One page in the order of receipt, and its cursor: (batch, trace, event) of the last row, or of the last batch looked through."""
    batch_no, after = 0, (uuid.UUID(int=0), uuid.UUID(int=0))
    if given.get("cursor"):
        _, text = cursor.decode(given["cursor"])
        number, _, public = text.partition(":")
        if not number.isascii() or not number.isdigit() or len(number) > 18:
            raise parameters.invalid("cursor", "is none that this service gave out for these filters. Start again without it.")
        batch_no, after = int(number), _position(public)
    buckets = ", ".join(map(str, evidence.buckets()))
    rows: list[Row] = []
    for _ in range(_PORTIONS):
        with connection.cursor() as found:
            found.execute(_NEXT_BATCHES, {"project_id": scope.project_id, "first": batch_no, "batches": _BATCHES})
            batches = found.fetchall()
            if not batches or not buckets:
                return rows, None
            asked = {
                "numbers": [number for number, _ in batches],
                "first": batch_no,
                "last": batches[-1][0],
                "count": count + 1 - len(rows),
            }
            place = {"after_batch": batch_no, "after_trace": after[0], "after_event": after[1]}
            found.execute(_RECEIVED.format(buckets=buckets, where=" AND ".join(where)), values | asked | place)
            rows += [Row(*row) for row in found.fetchall()]
        if len(rows) > count:
            last = rows[count - 1]
            return rows, cursor.encode(last.at, f"{last.batch_no}:{last.id}")
        if len(batches) < _BATCHES:
            return rows, None
        batch_no, after = batches[-1][0] + 1, (uuid.UUID(int=0), uuid.UUID(int=0))
    return rows, cursor.encode(batches[-1][1], f"{batch_no}:{public_id(*after)}")
