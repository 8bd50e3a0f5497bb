"""Owns finding what could not be decoded: newest first, by the reason, each with what is known of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from django.db.models import Q

from auditlog.derive.models import Quarantined
from auditlog.item import ITEM_NAMES, Unreadable
from auditlog.search import cursor, evidence, parameters
from auditlog.search.parameters import PAGED, Parameter
from auditlog.search.scope import Scope
from auditlog.store.reader import public_id, split_id

PARAMETERS: Final = {"code": Parameter("The code of the reason, as `partial_success` or the REST answer named it.")}


class Row(NamedTuple):
    """One item. `message` is the reason that its sender was given; `size` in bytes."""

    id: str
    received_at: datetime
    batch_no: int
    code: str
    sent_as: str
    message: str
    size: int


class Page(NamedTuple):
    rows: list[Row]
    next: str | None
    codes: list[str]  # every reason that there is


def page(scope: Scope, given: dict[str, str]) -> Page:
    """Raises Problem("parameter_invalid")."""
    parameters.only(given, PARAMETERS | PAGED)
    found = scope.of(Quarantined)
    codes = sorted(found.values_list("code", flat=True).distinct())
    if given.get("code"):
        found = found.filter(code=parameters.text("code", given["code"]))
    count = parameters.limit(given.get("limit"))
    if given.get("cursor"):
        found = found.filter(_older(*cursor.decode(given["cursor"])))
    rows = list(found.order_by("-received_at", "-trace_key", "-event_id")[: count + 1])
    last = rows[count - 1] if len(rows) > count else None
    rows = rows[:count]
    following = cursor.encode(last.received_at, public_id(last.trace_key, last.event_id)) if last else None
    return Page(_told(scope, rows), following, codes)


def _older(at: datetime, public: str) -> Q:
    """What comes after the cursor. Items of one request share their time of receipt, so that the event's ID decides among them."""
    place = split_id(public)
    if place is None:
        raise parameters.invalid("cursor", "is none that this service gave out. Start again without it.")
    trace_key, event_id = place
    same = Q(received_at=at)
    return Q(received_at__lt=at) | same & Q(trace_key__lt=trace_key) | same & Q(trace_key=trace_key, event_id__lt=event_id)


def _told(scope: Scope, rows: list[Quarantined]) -> list[Row]:
    stored = {event.id: event.item for event in evidence.by_keys(scope, [(row.trace_key, row.event_id) for row in rows])}
    found = []
    for row in rows:
        public = public_id(row.trace_key, row.event_id)
        item = stored.get(public)
        if isinstance(item, Unreadable):  # what was disposed of since has no row to show
            sent_as = ITEM_NAMES.get(item.signal, "item")
            found.append(Row(public, row.received_at, row.batch_no, row.code, sent_as, item.message, len(item.raw)))
    return found
