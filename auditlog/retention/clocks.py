"""Owns clocks that begin with an event outside: what was told of whom, and what of a bucket still waits for it.

The class of such a clock names whose event it is, for instance `customer`. When a bucket of it is due by receipt, that of it stays whose
clock does not run or is not over: every customer that a session names must have been told of, and as many days must have gone by since; a
session that names none waits until it is told of itself. So an event can only lengthen. What could not be read waits, because nobody knows
whom it concerns. What stays waits in its bucket and goes with a later disposition of it.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from auditlog.derive.keys import session_key, to_bytes, trace_session_key, value_digest
from auditlog.governance import Actor
from auditlog.retention import classes, hidden, lock, recording
from auditlog.retention.rows import one, rows
from auditlog.search import parameters

LONGEST: Final = 1_000  # characters
_COLUMNS: Final[LiteralString] = "id, project_id, kind, value, at, event, told_by, told_at"
_TRACE: Final = re.compile(r"trace:([0-9a-f]{32})")
# Of a bucket: traces of sessions whose clock does not run, or not long enough. `others`: what a session names of the class's kind.
_WAITING: Final[LiteralString] = """
    WITH mine AS MATERIALIZED (
      SELECT t.project_id, t.trace_key, t.session_key FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current'
      WHERE t.buckets @> ARRAY[%(bucket)s::int]),
    others AS MATERIALIZED (
      SELECT DISTINCT s.project_id, s.session_key, d.digest::text AS key
      FROM (SELECT DISTINCT project_id, session_key FROM mine) s
      JOIN edition n ON n.state = 'current'
      JOIN trace t ON t.session_key = s.session_key AND t.project_id = s.project_id AND t.edition = n.number
      JOIN declared d ON d.trace_key = t.trace_key AND d.project_id = t.project_id AND d.edition = n.number AND d.kind = %(kind)s
      WHERE %(kind)s <> 'session'),
    wanted AS (
      SELECT project_id, session_key, %(kind)s AS kind, key FROM others UNION ALL
      SELECT DISTINCT m.project_id, m.session_key, 'session', m.session_key FROM mine m
      WHERE NOT EXISTS (SELECT FROM others o WHERE o.session_key = m.session_key AND o.project_id = m.project_id)),
    waiting AS (
      SELECT DISTINCT w.project_id, w.session_key FROM wanted w
      LEFT JOIN LATERAL (SELECT k.at FROM clock_event k WHERE k.key = w.key AND k.kind = w.kind AND k.project_id = w.project_id
                         ORDER BY k.id DESC LIMIT 1) newest ON true
      WHERE newest.at IS NULL OR newest.at + %(days)s * interval '24 hours' > now())
    SELECT m.project_id, m.trace_key FROM mine m JOIN waiting w USING (project_id, session_key)
    UNION SELECT q.project_id, q.trace_key FROM quarantined q JOIN edition n ON n.number = q.edition AND n.state = 'current'
    WHERE q.bucket = %(bucket)s"""


class Told(NamedTuple):
    """What was told of somebody. at: when the clock began; None: it does not run (any more). Who: {"kind", "id", "name"}."""

    id: int
    project_id: int
    kind: str
    value: str
    at: datetime | None
    event: str
    told_by: dict[str, str]
    told_at: datetime


def tell(conn: psycopg.Connection[Any], actor: Actor, project_id: int, kind: str, value: str, event: str, at: datetime | None) -> Told:
    """The clock of what is of somebody begins at a time, or (None) does not run: of each the newest counts. event: in words.

    Raises Problem("parameter_invalid", "overloaded").
    """
    if not classes.KIND.fullmatch(kind) or kind in classes.NOBODY:
        raise parameters.invalid("kind", "is user, customer, session, or another kind of subject in small letters.", kind)
    for name, text in (("value", value), ("event", event)):
        if not text.strip() or "\0" in text or len(text) > LONGEST:
            raise parameters.invalid(name, f"is a text of 1 to {LONGEST} characters without NUL.", text)
    with conn.transaction():
        lock.take(conn)
        row = conn.execute(
            "INSERT INTO clock_event (project_id, kind, value, key, at, event, told_by) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (project_id, kind, value, _key(project_id, kind, value), at, event, Jsonb(recording.who(actor))),
        ).fetchone()
        assert row is not None
        about = {"clock": row[0], "kind": kind, "value": value, "event": event, "at": at and at.isoformat()}
        recording.record(conn, [project_id], actor, "clock.tell", about)
    made = one(conn, f"SELECT {_COLUMNS} FROM clock_event WHERE id = %s", row)
    assert made is not None
    return Told(*made)


def listed(conn: psycopg.Connection[Any], project_id: int, below: int | None = None, limit: int | None = None) -> list[Told]:
    """Everything that was told in a project, newest first."""
    query = f"SELECT {_COLUMNS} FROM clock_event WHERE project_id = %s AND (%s::bigint IS NULL OR id < %s) ORDER BY id DESC LIMIT %s"
    return [Told(*row) for row in rows(conn, query, (project_id, below, below, limit))]


def waiting(conn: psycopg.Connection[Any], bucket: int) -> set[tuple[int, uuid.UUID]]:
    """(project, trace key) of what of a bucket may not go yet, by the class in force and the database's clock."""
    now = classes.in_force(conn, bucket >> 16)
    return set() if now.clock_of is None else still(conn, bucket, now.clock_of, now.days)


def still(conn: psycopg.Connection[Any], bucket: int, kind: str, days: int) -> set[tuple[int, uuid.UUID]]:
    """What would wait under a clock of this kind and length; and what lies beside restricted values, which it may ask for."""
    found = {(row[0], row[1]) for row in conn.execute(_WAITING, {"bucket": bucket, "kind": kind, "days": days}).fetchall()}
    return found | hidden.beside(conn, bucket)


def _key(project_id: int, kind: str, value: str) -> str:
    if kind != "session":
        return str(value_digest(project_id, kind, to_bytes(value)))
    trace = _TRACE.fullmatch(value)  # a trace that is a session by itself
    return trace_session_key(project_id, bytes.fromhex(trace[1])) if trace else session_key(project_id, to_bytes(value))
