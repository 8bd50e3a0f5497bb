"""Owns the floor under ingest: a plain COPY of the final rows of one run, already packed and compressed, in one transaction.

Twice: into empty tables of the same shape (the least that storing them can cost at all), and into the same large tables that the run
wrote to (the least that it can cost there). For that the rows get other keys, as those of another load would be: traces and prefixes
become others as wholes, so that what lay together lies together somewhere else. Content is sorted by its key, events by batch and key.
What was copied stays there, of no batch. CPU is that of PostgreSQL and of the client that copies rows which it has in its memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import psutil
import psycopg

from bench.counted import Cost, counted
from bench.seeded import COPY
from tests.service import Service

# A run's rows are those that the transactions of its batches wrote.
_ROWS: Final = {
    "event": """SELECT md5(trace_key::text)::uuid, bucket, md5(event_id::text)::uuid, 0::bigint, project_id, item, occurred_at, received_at,
        trace_id, span_id, skeleton, vals FROM event WHERE bucket = {bucket} AND batch_no > {after} ORDER BY batch_no, 1, 3""",
    "content": """SELECT bucket, substr(sha256(substr(content_key, 1, 4)), 1, 4) || substr(sha256(content_key), 1, 16), codec, key_id, bytes
        FROM content WHERE bucket = {bucket} AND xmin IN (SELECT xid::xid FROM batch WHERE batch_no > {after}) ORDER BY 2""",
}
_EMPTY: Final = {table: f"COPY plain_{table} FROM STDIN (FORMAT binary)" for table in COPY}


class Floor(NamedTuple):
    empty: Cost
    large: Cost


def measure(service: Service, bucket: int, after: int) -> Floor:
    """Of the rows of all batches after this one."""
    with service.connect() as conn:
        rows: dict[str, list[bytes]] = {}
        for table, query in _ROWS.items():
            with conn.cursor().copy(f"COPY ({query.format(bucket=bucket, after=after)}) TO STDOUT (FORMAT binary)") as copy:
                rows[table] = [bytes(chunk) for chunk in copy]
            conn.execute(f"CREATE TABLE plain_{table} (LIKE {table} INCLUDING ALL)")
        conn.commit()
        me = [psutil.Process()]
        found = Floor(*(counted(service, me, lambda into=into: _copied(conn, into, rows)) for into in (_EMPTY, COPY)))  # type: ignore[misc]
        conn.execute("DROP TABLE plain_event, plain_content")
    return found


def _copied(conn: psycopg.Connection[Any], statements: Mapping[str, str], rows: Mapping[str, list[bytes]]) -> float:
    began = time.perf_counter()
    for table, chunks in rows.items():
        with conn.cursor().copy(statements[table]) as copy:
            for chunk in chunks:
                copy.write(chunk)
    conn.commit()
    return time.perf_counter() - began
