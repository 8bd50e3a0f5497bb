"""Owns writing what a session is found by: only the rows that changed, in the transaction of the session's summary."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog.derive.index import Rows

Connection = psycopg.Connection[Any]

_KNOWN_ACTIONS: Final[LiteralString] = """
    SELECT session_key, step, digest, sort_at, began_at FROM action WHERE session_key = ANY(%s) AND edition = %s"""
_FORGET_ACTIONS: Final[tuple[LiteralString, ...]] = tuple(
    f"DELETE FROM {table} t USING unnest(%(keys)s::text[], %(steps)s::int[]) AS gone (key, step) "
    "WHERE t.session_key = gone.key AND t.step = gone.step AND t.edition = %(edition)s"
    for table in ("action", "action_value", "action_amount")
)
# COPY costs a third of an INSERT of arrays, on both sides.
_ACTIONS: Final[LiteralString] = """
    COPY action (edition, project_id, session_key, step, tool, tool_digest, call_id, outcome, offered, arguments_valid,
                 occurred_at, ended_at, amount, currency, object, event_ids, digest, began_at, sort_at) FROM STDIN"""
_VALUES: Final[LiteralString] = "COPY action_value (edition, project_id, session_key, step, n, digest, side, pointer, began_at) FROM STDIN"
_AMOUNTS: Final[LiteralString] = """
    COPY action_amount (edition, project_id, session_key, step, n, amount, currency, side, pointer, began_at) FROM STDIN"""

_KNOWN_TERMS: Final[LiteralString] = "SELECT session_key, digest, seen_at FROM session_term WHERE session_key = ANY(%s) AND edition = %s"
_FORGET_TERMS: Final[LiteralString] = """
    DELETE FROM session_term t USING unnest(%(keys)s::text[], %(digests)s::uuid[]) AS gone (key, digest)
    WHERE t.session_key = gone.key AND t.digest = gone.digest AND t.edition = %(edition)s"""
_TERMS: Final[LiteralString] = "COPY session_term (edition, project_id, session_key, digest, kind, seen_at) FROM STDIN"

# First and last use are looked up, never accumulated: an earlier form of a session must not leave a trace in them.
_VERSIONS: Final[LiteralString] = """
    INSERT INTO version (edition, project_id, digest, kind, version, name, first_seen, last_seen)
    SELECT %(edition)s, new.*,
      (SELECT t.seen_at FROM session_term t WHERE t.digest = new.digest AND t.edition = %(edition)s ORDER BY t.seen_at LIMIT 1),
      (SELECT t.seen_at FROM session_term t WHERE t.digest = new.digest AND t.edition = %(edition)s ORDER BY t.seen_at DESC LIMIT 1)
    FROM unnest(%(0)s::int[], %(1)s::uuid[], %(2)s::text[], %(3)s::text[], %(4)s::text[]) AS new (project_id, digest, kind, version, name)
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
    "DELETE FROM timeline_part WHERE session_key = ANY(%s) AND edition = %s",
    "DELETE FROM search_text WHERE session_key = ANY(%s) AND edition = %s",
)
_EMPTY_TERMS: Final[LiteralString] = "DELETE FROM session_term WHERE session_key = ANY(%s) AND edition = %s RETURNING digest"


class Entry(NamedTuple):
    """A session, and what it is to be found by from now on."""

    project_id: int
    key: str
    sort_at: datetime
    rows: Rows


def write(conn: Connection, edition: int, entries: Sequence[Entry]) -> None:
    """Makes the stored rows of these sessions those of `entries`. In the caller's transaction."""
    _write_actions(conn, edition, entries)
    _write_terms(conn, edition, entries)


def _copy(conn: Connection, statement: LiteralString, rows: Iterable[tuple[Any, ...]]) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is not None:
        with conn.cursor().copy(statement) as copy:
            for row in chain((first,), rows):
                copy.write_row(row)


def _write_actions(conn: Connection, edition: int, entries: Sequence[Entry]) -> None:
    keys = [entry.key for entry in entries]
    known = {(key, step): tuple(said) for key, step, *said in conn.execute(_KNOWN_ACTIONS, (keys, edition)).fetchall()}
    told = {(e.key, row.step): (row.digest, row.occurred_at or e.sort_at, e.sort_at) for e in entries for row in e.rows.actions}
    if wrong := sorted(place for place, found in known.items() if told.get(place) != found):
        values = {"edition": edition, "keys": [key for key, _ in wrong], "steps": [step for _, step in wrong]}
        for statement in _FORGET_ACTIONS:
            conn.execute(statement, values)
    missing = {place for place, wanted in told.items() if known.get(place) != wanted}

    def of(kind: Callable[[Rows], Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
        return ((edition, e.project_id, e.key, *row, e.sort_at) for e in entries for row in kind(e.rows) if (e.key, row.step) in missing)

    _copy(conn, _ACTIONS, ((*row, row[10] or row[-1]) for row in of(lambda rows: rows.actions)))
    _copy(conn, _VALUES, of(lambda rows: rows.values))
    _copy(conn, _AMOUNTS, of(lambda rows: rows.amounts))


def _write_terms(conn: Connection, edition: int, entries: Sequence[Entry]) -> None:
    keys = [entry.key for entry in entries]
    known = {(key, digest): at for key, digest, at in conn.execute(_KNOWN_TERMS, (keys, edition)).fetchall()}
    told = {(e.key, row.digest): (e, row, row.seen_at or e.sort_at) for e in entries for row in e.rows.terms}
    wrong = sorted(place for place, at in known.items() if place not in told or told[place][2] != at)
    if wrong:
        values = {"edition": edition, "keys": [key for key, _ in wrong], "digests": [digest for _, digest in wrong]}
        conn.execute(_FORGET_TERMS, values)
    missing = {place for place, (_, _, at) in told.items() if known.get(place) != at}
    rows = (told[place] for place in sorted(missing))
    _copy(conn, _TERMS, ((edition, e.project_id, e.key, row.digest, row.kind, at) for e, row, at in rows))
    changed = {digest for _, digest in missing}
    versions = {row.digest: (e.project_id, *row) for e in entries for row in e.rows.versions if row.digest in changed}
    if versions:
        columns = zip(*(versions[digest] for digest in sorted(versions)), strict=True)
        conn.execute(_VERSIONS, {"edition": edition, **{str(n): list(column) for n, column in enumerate(columns)}})
    _release(conn, edition, [digest for _, digest in wrong if digest not in versions])


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
