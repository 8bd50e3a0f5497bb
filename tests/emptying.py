"""Owns how tests take away what the test before them stored: tables are emptied, and their files stay."""

from __future__ import annotations

from typing import Any, Final

import psycopg

MOST: Final = 64 * 8192  # bytes of a table; what is larger gets new files, so that deleted rows do not gather for the next thousand tests
MOST_BUCKETS: Final = 16  # each more makes every question of all events slower: with 350 of them 18 ms were spent on its plan alone


def empty(conn: psycopg.Connection[Any], *tables: str) -> None:
    """All rows of these tables, those that refer to others first. Waits until nobody writes, as TRUNCATE does.

    TRUNCATE makes new files of a table, its indexes and its long values: forty tables took 120 ms, a fifth of the time of all tests. This
    takes 9.
    """
    with conn.transaction():
        conn.execute(f"LOCK TABLE {', '.join(tables)}".encode())
        holding = conn.execute(
            "SELECT c.oid::regclass::text, pg_relation_size(c.oid) > %s OR c.relispartition "
            "FROM unnest(%s::regclass[]) WITH ORDINALITY AS asked (name, n), "
            "LATERAL (SELECT asked.name::oid UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = asked.name) AS one (oid) "
            "JOIN pg_class AS c USING (oid) WHERE c.relkind = 'r' AND pg_relation_size(c.oid) > 0 ORDER BY n",
            (MOST, list(tables)),
        ).fetchall()
        if large := [name for name, many in holding if many]:
            conn.execute(f"TRUNCATE {', '.join(large)} CASCADE".encode())
        if few := [name for name, many in holding if not many]:
            conn.execute("; ".join(f"DELETE FROM {name}" for name in few).encode())


def drop_buckets(conn: psycopg.Connection[Any]) -> None:
    """Where tests left many buckets, all of them go, as if nothing had ever been received.

    Between tests only: a writer that is still there would believe what it remembers of a bucket that is made anew.
    """
    tables = conn.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits "
        "WHERE inhparent IN ('event'::regclass, 'content'::regclass, 'tombstone'::regclass)"
    ).fetchall()
    if len(tables) > 2 * MOST_BUCKETS:
        with conn.transaction():
            conn.execute(f"DROP TABLE {', '.join(name for (name,) in tables)}".encode())
            conn.execute("DELETE FROM session_loss; DELETE FROM disposition; DELETE FROM bucket")
