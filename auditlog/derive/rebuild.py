"""Owns rebuilding: a new edition filled from evidence beside the current one, compared with it, put in its place, the old one removed.

1. begin() finds the edition that is being filled, or opens one. Killed anywhere before 3, the next start goes on with it.
2. fill() is the ordinary pass over that edition, under a lock of its own: ingest and the current pass go on.
3. swap() is one transaction. Readers ask for the current edition in each request, so they see the old one or the new one, whole.
   The pass of the old edition notices (`Pass.superseded`) and goes on with the new one, behind nothing that was committed.
4. remove() deletes the old rows, a few megabytes of one table per transaction. Killed in between, the next start goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog.derive import sql
from auditlog.derive.consume import ATTEMPTS, LOCK, Pass
from auditlog.derive.summary import Build, summarise
from auditlog.derive.text import Texts, index_texts

Connection = psycopg.Connection[Any]

# Every derived table, and what of it does not depend on when or how often something was computed.
TABLES: Final[dict[LiteralString, LiteralString]] = {
    "derived": "batch_no",
    "part_leaves": "batch_no, bucket, sha256(digests)",
    "derive_failure": "batch_no, project_id",
    "tally": "project_id, events, batches, quarantined",
    "trace": "project_id, trace_key, trace_id, own_key, session_key, buckets, first_at, last_at, received_first, received_last",
    "declared": "project_id, trace_key, kind, digest, value, rank",
    "quarantined": "project_id, trace_key, event_id, bucket, batch_no, received_at, code",
    "access_log": "project_id, trace_key, event_id, bucket, at, action, actor_kind, actor_id, actor_name, objects, purpose",
    "session": "key, project_id, session_id, declared, traces, started_at, ended_at, sort_at, agent_name, agent_version, opening, totals, "
    "verdict, gaps, findings, last_action, error, cut, model_calls, tool_calls, cost_usd, parts",
    "action": "project_id, session_key, step, tool, tool_digest, call_id, outcome, offered, arguments_valid, occurred_at, ended_at, "
    "sort_at, began_at, amount, currency, object, event_ids, digest",
    "action_value": "project_id, session_key, step, n, digest, side, pointer, began_at",
    "action_amount": "project_id, session_key, step, n, amount, currency, side, pointer, began_at",
    "session_term": "project_id, session_key, kind, digest, seen_at",
    "version": "project_id, kind, digest, version, name, first_seen, last_seen",
    "timeline_part": "project_id, session_key, n, digest",
    "search_text": "project_id, session_key, n, digest, tsv",
}
FRESH_SECONDS: Final = 5  # under a steady load something is always being written; what is older must be done before a swap
_BLOCKS: Final = 1000  # of 8 KiB per transaction of remove(), what lies out of line included

_FILLING: Final[LiteralString] = "SELECT number FROM edition WHERE state = 'filling' ORDER BY number LIMIT 1"
_OPEN: Final[LiteralString] = "INSERT INTO edition (number, state) SELECT max(number) + 1, 'filling' FROM edition RETURNING number"
_OLD: Final[LiteralString] = "SELECT number FROM edition WHERE state = 'old' ORDER BY number"
_BEHIND: Final[LiteralString] = """
    SELECT EXISTS (SELECT FROM session WHERE edition = %(edition)s AND stale_since < now() - %(fresh)s * interval '1 second')
        OR EXISTS (SELECT FROM session WHERE edition = %(edition)s AND text_due < now() - %(fresh)s * interval '1 second')"""
# Set aside here and not in the current edition: this program understands less than the one that wrote that.
_WORSE: Final[LiteralString] = """
    SELECT count(*) FROM derive_failure f WHERE f.edition = %(edition)s AND f.attempts >= %(attempts)s AND EXISTS (
      SELECT FROM derived d JOIN edition e ON e.number = d.edition AND e.state = 'current' WHERE d.batch_no = f.batch_no)"""
_UNSETTLED: Final[LiteralString] = """
    SELECT EXISTS (SELECT FROM session WHERE edition = ANY(%(both)s) AND (stale_since IS NOT NULL OR text_due IS NOT NULL))
        OR EXISTS (SELECT batch_no FROM (
             SELECT batch_no FROM derived WHERE edition = ANY(%(both)s) UNION ALL
             SELECT batch_no FROM derive_failure WHERE edition = ANY(%(both)s) AND attempts >= %(attempts)s) d
           GROUP BY 1 HAVING count(*) < 2)"""


class Refused(Exception):
    """The new edition may not take the place of the current one."""


_ERASING: Final = 7220  # of auditlog/retention/lock.py, which lies above this layer


class Difference(NamedTuple):
    table: str
    only_current: int
    only_new: int


def begin(conn: Connection) -> int:
    """The edition to fill: the one that an earlier run left, or a new one.

    Not while something is erased or restricted: that makes the rows of the editions that it knows again, and this one read what goes.
    """
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (_ERASING,))
        row = conn.execute(_FILLING).fetchone() or conn.execute(_OPEN).fetchone()
    assert row is not None  # there is always an edition (migration 0003)
    return int(row[0])


def fill(conn: Connection, work: Pass, build: Build, told: Callable[[int], None] = lambda batches: None) -> None:
    """Consumes until nothing is left but what came a moment ago. Memory follows one group of batches and one session."""
    texts = Texts()
    batches = 0
    while True:
        done = work.step()
        batches += done
        told(batches)
        summaries = summarise(conn, work.edition, build, texts)
        words = index_texts(conn, work.edition, texts, build)
        if done or summaries or words:
            if done or behind(conn, work.edition):
                continue
            return
        if not behind(conn, work.edition):
            return
        time.sleep(0.1)  # a summary that took long waits before it is written again


def behind(conn: Connection, edition: int) -> bool:
    row = conn.execute(_BEHIND, {"edition": edition, "fresh": FRESH_SECONDS}).fetchone()
    return bool(row and row[0])


def swap(conn: Connection, edition: int) -> None:
    """The filled edition becomes the current one, in one transaction. Raises Refused."""
    with conn.transaction():
        row = conn.execute(_WORSE, {"edition": edition, "attempts": ATTEMPTS}).fetchone()
        if row and row[0]:
            raise Refused(f"{row[0]} batches that the current edition has understood could not be derived; see table derive_failure")
        conn.execute("UPDATE edition SET state = 'old' WHERE state = 'current'")
        conn.execute("UPDATE edition SET state = 'current' WHERE number = %s AND state = 'filling'", (edition,))


def old(conn: Connection) -> list[int]:
    return [int(row[0]) for row in conn.execute(_OLD).fetchall()]


def discard(conn: Connection, edition: int) -> None:
    """Gives up an edition that is being filled; remove() does the rest."""
    conn.execute("UPDATE edition SET state = 'old' WHERE number = %s AND state = 'filling'", (edition,))


def remove(conn: Connection, edition: int, patience: float = 30) -> None:
    """Deletes an old edition. Its pass may still be at its last batch: that is waited for. Raises Refused."""
    deadline = time.monotonic() + patience
    while not _locked(conn, edition):
        if time.monotonic() > deadline:
            raise Refused(f"a pass still fills edition {edition}; run this again when it has ended")
        time.sleep(0.1)
    for table in TABLES:
        for first, end in _ranges(conn, table):
            # By place in the file: each page is read once, however many rows are gone already.
            conn.execute(
                f"DELETE FROM {table} WHERE ctid >= %s::tid AND ctid < %s::tid AND edition = %s",
                (f"({first},0)", f"({end},0)", edition),
            )
    conn.execute("DELETE FROM edition WHERE number = %s AND state = 'old'", (edition,))
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK, edition))


def _locked(conn: Connection, edition: int) -> bool:
    row = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, edition)).fetchone()
    return bool(row and row[0])


def _ranges(conn: Connection, table: str) -> Iterator[tuple[int, int]]:
    """Pages of the table from the first to before the second, the fewer the more lies out of line."""
    sizes = "SELECT pg_relation_size(t), pg_table_size(t), current_setting('block_size')::int FROM (SELECT %s::regclass AS t) t"
    main, whole, page = conn.execute(sizes, (table,)).fetchone() or (0, 0, 1)
    step = max(1, _BLOCKS * main // max(whole, 1))
    return ((first, first + step) for first in range(0, main // page, step))


def compare(conn: Connection, edition: int, patience: float = 60) -> list[Difference] | None:
    """Table by table, what only one of the two editions has. None: ingest did not pause, so they were never at one point."""
    deadline = time.monotonic() + patience
    while True:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            row = conn.execute("SELECT number FROM edition WHERE state = 'current'").fetchone()
            assert row is not None
            both = [int(row[0]), edition]
            unsettled = conn.execute(_UNSETTLED, {"both": both, "attempts": ATTEMPTS}).fetchone()
            if unsettled and not unsettled[0]:
                return [found for table in TABLES if (found := _compared(conn, table, *both)) is not None]
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)


def _compared(conn: Connection, table: LiteralString, current: int, new: int) -> Difference | None:
    columns = TABLES[table]
    # A sum of hashes first: equal editions, the usual case, need neither a sort nor memory.
    digest = f"SELECT count(*), sum(hashtextextended(ROW({columns})::text, 7)::numeric) FROM {table} WHERE edition = %s"
    if conn.execute(digest, (current,)).fetchone() == conn.execute(digest, (new,)).fetchone():
        return None
    one = f"SELECT {columns} FROM {table} WHERE edition = %s"
    counts = []
    for first, second in ((current, new), (new, current)):
        row = conn.execute(f"SELECT count(*) FROM ({one} EXCEPT ALL {one}) d", (first, second)).fetchone()
        counts.append(int(row[0]) if row else 0)
    return Difference(table, *counts)


def try_again(conn: Connection) -> int:
    """Batches that were set aside are tried again by the running pass. Returns how many."""
    return conn.execute(sql.TRY_AGAIN, (ATTEMPTS,)).rowcount
