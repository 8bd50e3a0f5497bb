"""Owns writing what a session is found by: only the rows that changed, in the transaction of the session's summary."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from auditlog.derive.index import Rows

Connection = psycopg.Connection[Any]

_KNOWN_ACTIONS: Final[LiteralString] = "SELECT step, digest, sort_at FROM action WHERE session_key = %s AND edition = %s"
_FORGET_ACTIONS: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM action WHERE session_key = %s AND edition = %s AND step = ANY(%s)",
    "DELETE FROM action_value WHERE session_key = %s AND edition = %s AND step = ANY(%s)",
    "DELETE FROM action_amount WHERE session_key = %s AND edition = %s AND step = ANY(%s)",
)
_ACTIONS: Final[LiteralString] = """
    INSERT INTO action (edition, project_id, session_key, step, tool, tool_digest, call_id, outcome, occurred_at, ended_at, amount,
                        currency, object, event_ids, digest, sort_at)
    SELECT %(edition)s, %(project_id)s, %(key)s, *, coalesce(occurred_at, %(sort_at)s)
    FROM unnest(%(0)s::int[], %(1)s::text[], %(2)s::uuid[], %(3)s::text[], %(4)s::text[], %(5)s::timestamptz[], %(6)s::timestamptz[],
                %(7)s::numeric[], %(8)s::text[], %(9)s::text[], %(10)s::jsonb[], %(11)s::uuid[])
      AS new (step, tool, tool_digest, call_id, outcome, occurred_at, ended_at, amount, currency, object, event_ids, digest)"""
_VALUES: Final[LiteralString] = """
    INSERT INTO action_value (edition, project_id, session_key, step, n, digest, side, pointer)
    SELECT %(edition)s, %(project_id)s, %(key)s, *
    FROM unnest(%(0)s::int[], %(1)s::smallint[], %(2)s::uuid[], %(3)s::text[], %(4)s::text[])"""
_AMOUNTS: Final[LiteralString] = """
    INSERT INTO action_amount (edition, project_id, session_key, step, n, amount, currency, side, pointer)
    SELECT %(edition)s, %(project_id)s, %(key)s, *
    FROM unnest(%(0)s::int[], %(1)s::smallint[], %(2)s::numeric[], %(3)s::text[], %(4)s::text[], %(5)s::text[])"""

_KNOWN_TERMS: Final[LiteralString] = "SELECT digest, seen_at FROM session_term WHERE session_key = %s AND edition = %s"
_FORGET_TERMS: Final[LiteralString] = "DELETE FROM session_term WHERE session_key = %s AND edition = %s AND digest = ANY(%s)"
_TERMS: Final[LiteralString] = """
    INSERT INTO session_term (edition, project_id, session_key, digest, kind, seen_at)
    SELECT %(edition)s, %(project_id)s, %(key)s, * FROM unnest(%(0)s::uuid[], %(1)s::text[], %(2)s::timestamptz[])"""

# First and last use are looked up, never accumulated: an earlier form of a session must not leave a trace in them.
_VERSIONS: Final[LiteralString] = """
    INSERT INTO version (edition, project_id, digest, kind, version, name, first_seen, last_seen)
    SELECT %(edition)s, %(project_id)s, new.*,
      (SELECT t.seen_at FROM session_term t WHERE t.digest = new.digest AND t.edition = %(edition)s ORDER BY t.seen_at LIMIT 1),
      (SELECT t.seen_at FROM session_term t WHERE t.digest = new.digest AND t.edition = %(edition)s ORDER BY t.seen_at DESC LIMIT 1)
    FROM unnest(%(0)s::uuid[], %(1)s::text[], %(2)s::text[], %(3)s::text[]) AS new (digest, kind, version, name)
    ON CONFLICT (digest, edition) DO UPDATE SET first_seen = EXCLUDED.first_seen, last_seen = EXCLUDED.last_seen
    WHERE (version.first_seen, version.last_seen) <> (EXCLUDED.first_seen, EXCLUDED.last_seen)"""
_UNUSED: Final[LiteralString] = """
    DELETE FROM version v WHERE v.digest = ANY(%(digests)s) AND v.edition = %(edition)s
      AND NOT EXISTS (SELECT FROM session_term t WHERE t.digest = v.digest AND t.edition = v.edition)"""
_USED_LESS: Final[LiteralString] = """
    UPDATE version v SET
      first_seen = (SELECT t.seen_at FROM session_term t WHERE t.digest = v.digest AND t.edition = v.edition ORDER BY t.seen_at LIMIT 1),
      last_seen = (SELECT t.seen_at FROM session_term t WHERE t.digest = v.digest AND t.edition = v.edition ORDER BY t.seen_at DESC LIMIT 1)
    WHERE v.digest = ANY(%(digests)s) AND v.edition = %(edition)s"""

_EMPTY: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM action WHERE session_key = ANY(%s) AND edition = %s",
    "DELETE FROM action_value WHERE session_key = ANY(%s) AND edition = %s",
    "DELETE FROM action_amount WHERE session_key = ANY(%s) AND edition = %s",
    "DELETE FROM search_text WHERE session_key = ANY(%s) AND edition = %s",
)
_EMPTY_TERMS: Final[LiteralString] = "DELETE FROM session_term WHERE session_key = ANY(%s) AND edition = %s RETURNING digest"


def _columns(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {str(n): list(column) for n, column in enumerate(zip(*rows, strict=True))}


def write(conn: Connection, edition: int, project_id: int, key: str, rows: Rows, sort_at: datetime) -> None:
    """Makes the stored rows of a session those of `rows`. In the caller's transaction."""
    same = {"edition": edition, "project_id": project_id, "key": key, "sort_at": sort_at}
    _write_actions(conn, rows, same)
    _write_terms(conn, rows, same)


def _write_actions(conn: Connection, rows: Rows, same: dict[str, Any]) -> None:
    where = (same["key"], same["edition"])
    known = {step: (digest, sort_at) for step, digest, sort_at in conn.execute(_KNOWN_ACTIONS, where).fetchall()}
    told = {row.step: (row.digest, row.occurred_at or same["sort_at"]) for row in rows.actions}
    wrong = [step for step, found in known.items() if told.get(step) != found]
    missing = {step for step, wanted in told.items() if known.get(step) != wanted}
    if wrong:
        for statement in _FORGET_ACTIONS:
            conn.execute(statement, (*where, wrong))
    if missing:
        conn.execute(_ACTIONS, {**same, **_columns([row for row in rows.actions if row.step in missing])})
        if values := [row for row in rows.values if row.step in missing]:
            conn.execute(_VALUES, {**same, **_columns(values)})
        if amounts := [row for row in rows.amounts if row.step in missing]:
            conn.execute(_AMOUNTS, {**same, **_columns(amounts)})


def _write_terms(conn: Connection, rows: Rows, same: dict[str, Any]) -> None:
    where = (same["key"], same["edition"])
    known = dict(conn.execute(_KNOWN_TERMS, where).fetchall())
    told = {row.digest: row._replace(seen_at=row.seen_at or same["sort_at"]) for row in rows.terms}
    wrong = [digest for digest, seen_at in known.items() if digest not in told or told[digest].seen_at != seen_at]
    missing = [row for digest, row in told.items() if known.get(digest) != row.seen_at]
    if wrong:
        conn.execute(_FORGET_TERMS, (*where, wrong))
    if missing:
        conn.execute(_TERMS, {**same, **_columns(missing)})
    changed = {row.digest for row in missing}
    if versions := [row for row in rows.versions if row.digest in changed]:
        conn.execute(_VERSIONS, {**same, **_columns(versions)})
    _release(conn, same["edition"], [digest for digest in wrong if digest not in changed])


def _release(conn: Connection, edition: int, digests: Sequence[uuid.UUID]) -> None:
    """Versions that a session does not use any more: gone where nobody does."""
    if digests:
        values = {"edition": edition, "digests": sorted(set(digests))}
        conn.execute(_UNUSED, values)
        conn.execute(_USED_LESS, values)


def forget(conn: Connection, edition: int, keys: Sequence[str]) -> None:
    """Sessions that are no more: all their traces joined others."""
    if not keys:
        return
    for statement in _EMPTY:
        conn.execute(statement, (list(keys), edition))
    _release(conn, edition, [row[0] for row in conn.execute(_EMPTY_TERMS, (list(keys), edition)).fetchall()])
