"""Owns reading one project's evidence for pages and API, over Django's own connection: sessions with their events, and events."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from django.db import connection

from auditlog.derive import read
from auditlog.derive.missing import Request, of_events
from auditlog.derive.models import Trace
from auditlog.derive.projects import ProjectSecrets
from auditlog.errors import Problem
from auditlog.search.scope import Scope
from auditlog.store.reader import Reader, Stored, split_id


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


def requests(scope: Scope, stored: Stored) -> list[Request]:
    """By which requests values of an event are missing; asked only where some are."""
    return of_events(raw_connection(), scope.project_id, [(stored.trace_key, stored.event_id)]) if stored.gone else []


def is_governance(stored: Stored) -> bool:
    return bool(getattr(stored.item, "governance", False))


_ROWS: Final = """
    SELECT DISTINCT ON (trace_key, event_id) trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals
    FROM event WHERE bucket = ANY(%(buckets)s) AND project_id = %(project_id)s
      AND trace_key = ANY(%(traces)s) AND event_id = ANY(%(events)s)
    ORDER BY trace_key, event_id, received_at, batch_no"""


def by_keys(scope: Scope, keys: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> list[Stored]:
    """These events with their items, in no order; received twice: as it was first."""
    if not keys:
        return []
    traces, ids = zip(*keys, strict=True)
    with connection.cursor() as found:
        values: dict[str, Any] = {"buckets": buckets(), "project_id": scope.project_id, "traces": list(traces), "events": list(ids)}
        found.execute(_ROWS, values)
        wanted = set(keys)
        return reader().load([row for row in found.fetchall() if (row[0], row[1]) in wanted])


def by_ids(scope: Scope, ids: Sequence[str]) -> list[Stored]:
    """The same by public IDs; what is none is left out."""
    return by_keys(scope, [key for key in map(split_id, ids) if key is not None])


def buckets() -> list[int]:
    """Those that still hold evidence."""
    with connection.cursor() as found:
        found.execute("SELECT bucket FROM bucket WHERE state <> 'disposed' ORDER BY bucket")
        return [int(row[0]) for row in found.fetchall()]


def session_of(scope: Scope, stored: Stored) -> str | None:
    """Key of the session that an event belongs to; None before it was bound, and for what belongs to none."""
    found = scope.of(Trace).filter(trace_key=stored.trace_key).values_list("session_key", flat=True).first()
    return None if found is None else str(found)
