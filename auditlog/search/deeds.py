"""Owns finding what people and programs did with evidence: by who, what, to which object and when, newest first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple

from django.db.models import Q, QuerySet

from auditlog.derive.deeds import LONGEST
from auditlog.derive.models import AccessLog
from auditlog.item import Rest
from auditlog.search import cursor, evidence, parameters
from auditlog.search.parameters import PAGED, Parameter
from auditlog.search.scope import Scope
from auditlog.store.reader import public_id, split_id

PARAMETERS: Final = {
    "actor": Parameter("Who did it: a person's name, a key's public ID or name."),
    "action": Parameter("What was done, for instance `session.view`; with a point at its end all that begin so, for instance `hold.`."),
    "object": Parameter("To what, as `kind:name`, for instance `session:<key>`, `hold:7` or `case:4711`."),
    "from": Parameter("At this time or later: `2026-03-01` or `2026-03-01T10:00:00Z`."),
    "to": Parameter("By this time; a day means its end."),
}


class Deed(NamedTuple):
    """What was done. `recorded`: all that was written down then, as it was; empty where it was disposed of a moment ago."""

    row: AccessLog
    recorded: dict[str, Any]

    @property
    def id(self) -> str:
        """Of the event."""
        return public_id(self.row.trace_key, self.row.event_id)


class Page(NamedTuple):
    rows: list[Deed]
    next: str | None


def matching(scope: Scope, given: Mapping[str, str], zone: tzinfo = UTC) -> QuerySet[Any]:
    """Raises Problem("parameter_invalid")."""
    rows = scope.of(AccessLog)
    for name in ("actor", "action", "object"):
        if len(given.get(name, "")) > LONGEST or "\0" in given.get(name, ""):
            raise parameters.invalid(name, f"is longer than {LONGEST} characters, or contains a NUL.")
    if given.get("actor"):
        rows = rows.filter(Q(actor_name=given["actor"]) | Q(actor_id=given["actor"]))
    if action := given.get("action"):
        rows = rows.filter(action__startswith=action) if action.endswith(".") else rows.filter(action=action)
    if given.get("object"):
        if ":" not in given["object"]:
            raise parameters.invalid("object", "has no kind; write kind:name, for instance session:<key> or hold:7.", given["object"])
        rows = rows.filter(objects__contains=[given["object"]])
    if given.get("from"):
        rows = rows.filter(at__gte=parameters.moment("from", given["from"], zone))
    if given.get("to"):
        rows = rows.filter(at__lte=parameters.moment("to", given["to"], zone, end=True))
    return rows


def page(scope: Scope, given: Mapping[str, str], zone: tzinfo = UTC) -> Page:
    """One page, as `limit` and `cursor` say. Raises Problem("parameter_invalid")."""
    parameters.only(given, PARAMETERS | PAGED)
    rows = matching(scope, given, zone)
    if given.get("cursor"):
        rows = rows.filter(_older(*cursor.decode(given["cursor"])))
    count = parameters.limit(given.get("limit"))
    found = list(rows.order_by("-at", "-trace_key", "-event_id")[: count + 1])
    last = found[count - 1] if len(found) > count else None
    following = cursor.encode(last.at, public_id(last.trace_key, last.event_id)) if last else None
    return Page(_told(scope, found[:count]), following)


def _older(at: datetime, public: str) -> Q:
    place = split_id(public)
    if place is None:
        raise parameters.invalid("cursor", "is none that this service gave out. Start again without it.")
    trace_key, event_id = place
    same = Q(at=at)  # the first half is what the index is asked for
    return Q(at__lte=at) & (Q(at__lt=at) | same & Q(trace_key__lt=trace_key) | same & Q(trace_key=trace_key, event_id__lt=event_id))


def _told(scope: Scope, rows: list[AccessLog]) -> list[Deed]:
    places: list[tuple[uuid.UUID, uuid.UUID]] = [(row.trace_key, row.event_id) for row in rows]
    stored = {event.id: event.item for event in evidence.by_keys(scope, places)}
    return [Deed(row, _recorded(stored.get(public_id(row.trace_key, row.event_id)))) for row in rows]


def _recorded(item: Any) -> dict[str, Any]:
    """`about` and the rest of the event, as it is kept."""
    if not isinstance(item, Rest):
        return {}
    try:
        read = json.loads(item.raw())
    except ValueError:  # a member was erased
        return {}
    return {name: value for name, value in read.items() if name not in ("id", "at", "action")} if isinstance(read, dict) else {}
