"""Owns how derived rows follow evidence that is gone: traces and sessions become what the rest of their events makes of them, or nothing.

A few traces per transaction; each finds by itself what is left to do, so that it may be killed and repeated. What comes out is what a
rebuild would make.
"""

from __future__ import annotations

import time
import uuid
from itertools import groupby
from typing import Any, Final, LiteralString

import psycopg

from auditlog.derive import sql
from auditlog.derive.binding import gather, tells
from auditlog.derive.consume import merge
from auditlog.derive.write import forget
from auditlog.store.reader import Reader

Connection = psycopg.Connection[Any]

_TRACES_AT_ONCE: Final = 100
_ATTEMPTS: Final = 5  # the pass of this edition may be at the same rows

# Traces and quarantined items that are said to lie in a bucket in which nothing of theirs is.
_LEFT: Final = """
    SELECT t.edition, t.project_id, t.trace_key FROM trace t
    WHERE t.buckets @> ARRAY[{bucket}] AND NOT EXISTS (
      SELECT FROM event e WHERE e.bucket = {bucket} AND e.trace_key = t.trace_key AND e.project_id = t.project_id)
    UNION SELECT q.edition, q.project_id, q.trace_key FROM quarantined q
    WHERE q.bucket = {bucket} AND NOT EXISTS (
      SELECT FROM event e
      WHERE e.bucket = {bucket} AND e.trace_key = q.trace_key AND e.event_id = q.event_id AND e.project_id = q.project_id)
    ORDER BY 1, 2, 3"""
_DEEDS: Final = """
    DELETE FROM access_log l WHERE l.bucket = {bucket} AND NOT EXISTS (
      SELECT FROM event e
      WHERE e.bucket = {bucket} AND e.trace_key = l.trace_key AND e.event_id = l.event_id AND e.project_id = l.project_id)"""
# Parts of which something went; of those that stayed whole a rebuild would keep them, too.
_LEAVES: Final[LiteralString] = """
    DELETE FROM part_leaves l USING bucket b WHERE b.bucket = %s AND l.bucket = b.bucket AND (b.state = 'disposed' OR EXISTS (
      SELECT FROM tombstone t WHERE t.bucket = l.bucket AND t.batch_no = l.batch_no))"""
_OF_TRACES: Final[LiteralString] = " WHERE edition = %(edition)s AND project_id = %(project_id)s AND trace_key = ANY(%(traces)s)"
_SESSIONS: Final[LiteralString] = "SELECT DISTINCT session_key FROM trace" + _OF_TRACES
_LOCKED: Final[LiteralString] = (
    "SELECT stale_since IS NOT NULL OR text_due IS NOT NULL FROM session WHERE edition = %(edition)s AND key IN ("
    + _SESSIONS
    + ") ORDER BY key FOR UPDATE"
)
_TALLY: Final[LiteralString] = "UPDATE tally SET quarantined = quarantined + %s WHERE edition = %s AND project_id = %s"
# Of a session that goes on: nothing that the summary said, until it is written again, which is at once.
_BLANK: Final[LiteralString] = """
    UPDATE session SET agent_name = NULL, agent_version = NULL, opening = '', totals = '{}', verdict = NULL, gaps = 0, findings = '[]',
      last_action = NULL, error = '', cut = '', model_calls = 0, tool_calls = 0, cost_usd = NULL, parts = 0, summarised_at = NULL,
      stale_since = coalesce(stale_since, now())
    WHERE edition = %s AND key = ANY(%s)"""
_LOSSES: Final[LiteralString] = """
    DELETE FROM session_loss l WHERE NOT EXISTS (
      SELECT FROM session s JOIN edition e ON e.number = s.edition AND e.state = 'current'
      WHERE s.key = l.session_key AND s.project_id = l.project_id)"""


class Busy(Exception):
    """The pass has not finished with a session."""


def withdraw(conn: Connection, reader: Reader, bucket: int) -> int:
    """Makes the derived rows of every edition forget what is not in this bucket any more. Returns of how many traces. Autocommit."""
    rows = conn.execute(_LEFT.format(bucket=int(bucket)).encode()).fetchall()
    for (edition, project_id), group in groupby(rows, lambda row: (row[0], row[1])):
        keys = [row[2] for row in group]
        for start in range(0, len(keys), _TRACES_AT_ONCE):
            _patiently(conn, reader, edition, project_id, keys[start : start + _TRACES_AT_ONCE])
    conn.execute(_LEAVES, (bucket,))
    conn.execute(_DEEDS.format(bucket=int(bucket)).encode())
    conn.execute(_LOSSES)
    return len(rows)


def make_again(conn: Connection, reader: Reader, project_id: int, keys: list[uuid.UUID]) -> None:
    """Makes the derived rows of these traces, in every edition, of what their events are now. In the caller's transaction.

    Raises Busy where one of their sessions waits to be summarised or indexed: the pass may have read what is about to go, and would write
    it after this. Sessions are locked, so that it cannot begin to.
    """
    for (edition,) in conn.execute("SELECT number FROM edition ORDER BY number").fetchall():
        values = {"edition": edition, "project_id": project_id, "traces": keys}
        locked = conn.execute(_LOCKED, values).fetchall()
        if any(waits for (waits,) in locked):
            raise Busy
        _withdraw(conn, reader, edition, project_id, keys)


def _patiently(conn: Connection, reader: Reader, edition: int, project_id: int, keys: list[uuid.UUID]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            with conn.transaction():
                _withdraw(conn, reader, edition, project_id, keys)
            return
        except psycopg.errors.DeadlockDetected:
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(0.1 * 2**attempt)


def _withdraw(conn: Connection, reader: Reader, edition: int, project_id: int, keys: list[uuid.UUID]) -> None:
    values = {"edition": edition, "project_id": project_id, "traces": keys}
    touched = [row[0] for row in conn.execute(_SESSIONS, values).fetchall()]
    known = conn.execute(sql.SESSION_IDS, (edition, touched)).fetchall()
    for table in ("declared", "trace"):
        conn.execute(f"DELETE FROM {table}{_OF_TRACES}", values)
    quarantined = -conn.execute(f"DELETE FROM quarantined{_OF_TRACES}", values).rowcount
    quarantined += merge(conn, edition, gather(reader.copies_of_traces(project_id, keys, tells)))[project_id]
    conn.execute(_TALLY, (quarantined, edition, project_id))
    forget(conn, edition, touched)
    columns = zip(*known, strict=True) if known else ((), (), (), ())
    names = ("key", "project_id", "session_id", "declared")
    conn.execute(sql.SESSIONS, {"edition": edition, **{name: list(column) for name, column in zip(names, columns, strict=True)}})
    conn.execute(sql.EMPTIED, {"edition": edition, "keys": touched})
    conn.execute(_BLANK, (edition, touched))
