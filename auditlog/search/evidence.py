"""Owns reading one project's evidence for pages and API, over Django's own connection: sessions with their events, and events."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
from django.db import connection

from auditlog.derive import read
from auditlog.derive.models import Trace
from auditlog.derive.projects import ProjectSecrets
from auditlog.errors import Problem
from auditlog.item import ITEM_NAMES
from auditlog.search import cursor, parameters
from auditlog.search.sessions import Scope, trace_condition
from auditlog.store.reader import Reader, Stored, public_id

ITEMS: Final = {name: number for number, name in ITEM_NAMES.items() if name != "governance"}


def raw_connection() -> psycopg.Connection[Any]:
    """The psycopg connection under Django's, in Django's state of transaction."""
    connection.ensure_connection()
    found: psycopg.Connection[Any] = connection.connection
    return found


def reader() -> Reader:
    conn = raw_connection()
    return Reader(conn, ProjectSecrets(conn))


def session(scope: Scope, key: str) -> read.SessionFacts:
    """A session by its key; a key that once named a part of it leads to it. Raises Problem("not_found")."""
    if "\0" not in key:
        with connection.cursor() as found:
            facts = read.session_facts(found, scope.edition, scope.project_id, key)
            if facts is None and (other := read.moved_to(found, scope.edition, scope.project_id, key)):
                facts = read.session_facts(found, scope.edition, scope.project_id, other)
        if facts is not None:
            return facts
    raise Problem("not_found", "There is no session of this key in this project.")


def event(scope: Scope, public: str) -> Stored:
    """Raises Problem("not_found")."""
    stored = reader().event(scope.project_id, public)
    if stored is None or is_governance(stored):
        raise Problem("not_found", "There is no event of this ID in this project.")
    return stored


def is_governance(stored: Stored) -> bool:
    return bool(getattr(stored.item, "governance", False))


class EventRow(NamedTuple):
    """Where an event stands in a list; `at` is when it happened, else when it was received."""

    trace_key: uuid.UUID
    event_id: uuid.UUID
    at: datetime

    @property
    def id(self) -> str:
        return public_id(self.trace_key, self.event_id)


class EventPage(NamedTuple):
    events: list[Stored]
    next: str | None


EVENT_PARAMETERS: Final = ("session", "trace_id", "item", "batch", "from", "to", "cursor", "limit")


def events(scope: Scope, given: dict[str, str]) -> EventPage:
    """Stored items, oldest first. Raises Problem."""
    parameters.only(given, EVENT_PARAMETERS)
    count = parameters.limit(given.get("limit"))
    rows = _event_rows(scope, given, count + 1)
    page = rows[:count]
    stored = {e.id: e for e in _load(scope, page)}
    found = [stored[row.id] for row in page if row.id in stored]
    return EventPage(found, cursor.encode(page[-1].at, page[-1].id) if len(rows) > count else None)


_ROWS: Final = """
    SELECT DISTINCT ON (trace_key, event_id) trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals
    FROM event WHERE bucket = ANY(%(buckets)s) AND project_id = %(project_id)s
      AND trace_key = ANY(%(traces)s) AND event_id = ANY(%(events)s)
    ORDER BY trace_key, event_id, received_at, batch_no"""


def _load(scope: Scope, page: Sequence[EventRow]) -> list[Stored]:
    """The events of one page with their items; received twice: as it was first."""
    if not page:
        return []
    with connection.cursor() as found:
        buckets = _buckets(found, None)
        traces, ids = [row.trace_key for row in page], [row.event_id for row in page]
        found.execute(_ROWS, {"buckets": buckets, "project_id": scope.project_id, "traces": traces, "events": ids})
        return reader().load(found.fetchall())


def _event_rows(scope: Scope, given: dict[str, str], count: int) -> list[EventRow]:
    where = ["e.project_id = %(project_id)s", "e.item <> 4"]
    values: dict[str, Any] = {"project_id": scope.project_id, "count": count}
    traces = _traces(scope, given)
    if traces is not None:
        where.append("e.trace_key = ANY(%(traces)s)")
        values["traces"] = traces
    if given.get("item"):
        if given["item"] not in ITEMS:
            raise parameters.invalid("item", f"is none of {', '.join(sorted(ITEMS))}.")
        where.append("e.item = %(item)s")
        values["item"] = ITEMS[given["item"]]
    if given.get("batch"):
        if not given["batch"].isascii() or not given["batch"].isdigit() or len(given["batch"]) > 18:
            raise parameters.invalid("batch", "is no batch; write the number that a receipt names.")
        where.append("e.batch_no = %(batch)s")
        values["batch"] = int(given["batch"])
    for name, operator in (("from", ">="), ("to", "<=")):
        if given.get(name):
            where.append(f"coalesce(e.occurred_at, e.received_at) {operator} %({name})s")
            values[name] = parameters.moment(name, given[name], end=name == "to")
    if given.get("cursor"):
        at, public = cursor.decode(given["cursor"])
        try:
            values |= {"at": at, "after_trace": uuid.UUID(public[:32]), "after_event": uuid.UUID(public[32:])}
        except ValueError:
            raise parameters.invalid("cursor", "is none that this service gave out. Start again without it.") from None
        where.append("(coalesce(e.occurred_at, e.received_at), e.trace_key, e.event_id) > (%(at)s, %(after_trace)s, %(after_event)s)")
    with connection.cursor() as found:
        buckets = _buckets(found, given.get("batch"))
        if not buckets:
            return []
        # Literal buckets: a plan that prunes. Received twice, across two periods: one row.
        found.execute(
            f"SELECT e.trace_key, e.event_id, min(coalesce(e.occurred_at, e.received_at)) FROM event e "
            f"WHERE e.bucket IN ({', '.join(map(str, buckets))}) AND {' AND '.join(where)} "
            f"GROUP BY e.trace_key, e.event_id ORDER BY 3, 1, 2 LIMIT %(count)s",
            values,
        )
        return [EventRow(*row) for row in found.fetchall()]


def _buckets(found: Any, batch: str | None) -> list[int]:
    if batch:
        found.execute("SELECT bucket FROM part WHERE batch_no = %s AND count > 0 ORDER BY bucket", (int(batch),))
    else:
        found.execute("SELECT bucket FROM bucket WHERE state <> 'disposed' ORDER BY bucket")
    return [int(row[0]) for row in found.fetchall()]


def _traces(scope: Scope, given: dict[str, str]) -> Sequence[uuid.UUID] | None:
    """Trace keys to look into; None: all of the project."""
    chosen: set[uuid.UUID] | None = None
    if given.get("session"):
        chosen = set(session(scope, given["session"]).trace_keys)
    if given.get("trace_id"):
        condition = trace_condition(parameters.trace_id("trace_id", given["trace_id"]))
        by_id = set(scope.of(Trace).filter(condition).values_list("trace_key", flat=True))
        chosen = by_id if chosen is None else chosen & by_id
    return None if chosen is None else sorted(chosen)


def session_of(scope: Scope, stored: Stored) -> str | None:
    """Key of the session that an event belongs to; None before it was bound, and for what belongs to none."""
    found = scope.of(Trace).filter(trace_key=stored.trace_key).values_list("session_key", flat=True).first()
    return None if found is None else str(found)
