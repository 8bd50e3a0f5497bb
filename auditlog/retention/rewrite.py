"""Owns the one way in which a part of a closed bucket goes: what stays is copied beside it, and takes its place in a short transaction.

1. prepare() makes tables in the schema `draft`, in bounded transactions: the events that stay, the content that they refer to, and of every
   other event its digest. Killed here, nothing has happened; the next run begins anew.
2. swap(), in the caller's transaction: the bucket's partitions are dropped and the drafts attached under the same value. All or nothing.
Keys, digests and bytes do not change, so that everything that was proven stays proven. Where nothing stays, the partitions are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import psycopg

from auditlog.retention import references
from auditlog.retention.dispositions import SUFFIX
from auditlog.retention.holds import Held
from auditlog.store import unpack
from auditlog.store.pack import content_key
from auditlog.store.reader import Secrets

_EVENTS: Final = 5_000  # of whole batches per transaction of a copy
# What waits for a table's readers and writers gives way before anybody's deadlock check (1 s), and asks again.
LOCK_TIMEOUT: Final = "500ms"


class Draft(NamedTuple):
    """What was copied, and of what: void where the bucket's generation or what is held is another by now."""

    bucket: int
    suffix: str
    generation: int
    keep: Held
    going: dict[int, int]  # events that go, by project
    kept: int

    @property
    def left(self) -> int:
        """Events that go."""
        return sum(self.going.values())


def prepare(conn: psycopg.Connection[Any], bucket: int, keep: Held, secrets: Secrets) -> Draft:
    """Copies what stays of a closed bucket. Over a connection in autocommit."""
    suffix, generation = _suffix(conn, bucket)
    discard(conn, bucket)
    conn.execute(f"CREATE TABLE draft.held_{suffix} (project_id integer, trace_key uuid, PRIMARY KEY (project_id, trace_key))")
    conn.execute(
        f"INSERT INTO draft.held_{suffix} SELECT * FROM unnest(%s::int[], %s::uuid[])", ([p for p, _ in keep], [key for _, key in keep])
    )
    if keep:
        _make(conn, bucket, suffix)
        for batches in _portions(conn, bucket):
            with conn.transaction():
                _copy(conn, bucket, suffix, batches, secrets)
        conn.execute(f"INSERT INTO draft.tombstone_{suffix} SELECT * FROM tombstone WHERE bucket = %s", (bucket,))
        # Behind the rows: nobody sums it up any more (store/ranges.py knows open buckets).
        conn.execute(f"CREATE INDEX ON draft.event_{suffix} USING brin (batch_no int8_minmax_multi_ops) WITH (pages_per_range = 32)")
    kept = dict(conn.execute(f"SELECT project_id, count(*) FROM draft.event_{suffix} GROUP BY 1").fetchall()) if keep else {}
    there = conn.execute("SELECT project_id, count(*) FROM event WHERE bucket = %s GROUP BY 1", (bucket,)).fetchall()
    going = {project: count - kept.get(project, 0) for project, count in there}
    return Draft(bucket, suffix, generation, keep, going, sum(kept.values()))


def discard(conn: psycopg.Connection[Any], bucket: int) -> None:
    """Removes what was copied of a bucket and not used."""
    suffix, _ = _suffix(conn, bucket)
    conn.execute(
        ", ".join([f"DROP TABLE IF EXISTS draft.event_{suffix}", *(f"draft.{kind}_{suffix}" for kind in ("content", "tombstone", "held"))])
    )


def _suffix(conn: psycopg.Connection[Any], bucket: int) -> tuple[str, int]:
    """What the names of its tables end in, and its generation."""
    row = conn.execute(f"SELECT {SUFFIX}, generation FROM bucket b WHERE bucket = %s", (bucket,)).fetchone()
    assert row is not None  # the caller closed it
    return str(row[0]), int(row[1])


def _make(conn: psycopg.Connection[Any], bucket: int, suffix: str) -> None:
    """Tables that can be attached without being looked through: the CHECK says what their partition's value will be."""
    for table, key in (
        ("event", "trace_key, bucket, event_id"),
        ("content", "bucket, content_key"),
        ("tombstone", "bucket, batch_no, event_id"),
    ):
        conn.execute(
            f"CREATE TABLE draft.{table}_{suffix} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY ({key}), "
            f"CHECK (bucket = {bucket}))"
        )


def _portions(conn: psycopg.Connection[Any], bucket: int) -> Iterator[list[int]]:
    """Batch by batch, as they were stored, so that the index by batch number stays as small as it was."""
    portion: list[int] = []
    events = 0
    for batch_no, count in conn.execute(
        "SELECT batch_no, count FROM part WHERE bucket = %s AND count > 0 ORDER BY 1", (bucket,)
    ).fetchall():
        portion.append(batch_no)
        events += count
        if events >= _EVENTS:
            yield portion
            portion, events = [], 0
    if portion:
        yield portion


def _copy(conn: psycopg.Connection[Any], bucket: int, suffix: str, batches: list[int], secrets: Secrets) -> None:
    where = f"e.bucket = {bucket} AND e.batch_no BETWEEN %(first)s AND %(last)s AND e.batch_no = ANY(%(batches)s)"
    values = {"first": batches[0], "last": batches[-1], "batches": batches}
    held = f"EXISTS (SELECT FROM draft.held_{suffix} h WHERE h.project_id = e.project_id AND h.trace_key = e.trace_key)"
    kept = conn.execute(
        f"INSERT INTO draft.event_{suffix} SELECT e.* FROM event e WHERE {where} AND {held} ORDER BY e.batch_no, e.trace_key, e.event_id "
        "RETURNING project_id, skeleton, vals",
        values,
    ).fetchall()
    conn.execute(
        f"INSERT INTO draft.tombstone_{suffix} SELECT e.bucket, e.batch_no, e.event_id, sha256(e.skeleton) FROM event e "
        f"WHERE {where} AND NOT {held}",
        values,
    )
    wanted: dict[tuple[int, bytes], set[references.Reference]] = {}
    for project_id, skeleton, vals in kept:
        for prefix, found in references.by_prefix(unpack.parse(bytes(skeleton), bytes(vals))).items():
            wanted.setdefault((project_id, prefix), set()).update(found)
    keys = [
        content_key(secrets(project_id), prefix, sha)
        for (project_id, prefix), found in wanted.items()
        for sha in references.closure(conn, secrets(project_id), bucket, prefix, found)
    ]
    conn.execute(
        f"INSERT INTO draft.content_{suffix} SELECT c.* FROM content c WHERE c.bucket = {bucket} AND c.content_key = ANY(%s) "
        "ORDER BY c.content_key ON CONFLICT DO NOTHING",
        (keys,),
    )


def swap(conn: psycopg.Connection[Any], draft: Draft) -> None:
    """In the caller's transaction, and the last thing in it: from here on nobody reads or writes evidence until its COMMIT.

    Raises psycopg.errors.LockNotAvailable: another transaction is at the tables; roll back and come again.
    """
    conn.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    conn.execute("LOCK TABLE ONLY content, ONLY event IN ACCESS EXCLUSIVE MODE")
    for table in ("tombstone", "content", "event"):
        name = f"{table}_{draft.suffix}"
        row = conn.execute("SELECT to_regclass(%s)", (f"public.{name}",)).fetchone()
        if row is not None and row[0] is not None:
            conn.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
            conn.execute(f"DROP TABLE {name}")
        if draft.keep:
            conn.execute(f"ALTER TABLE draft.{name} SET SCHEMA public")
            conn.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ({draft.bucket})")
    conn.execute(f"DROP TABLE draft.held_{draft.suffix}")
