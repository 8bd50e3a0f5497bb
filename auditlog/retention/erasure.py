"""Owns the erasure of one field of one event, so that nothing else of the trail changes and all proofs still hold.

The skeleton stays, and with it the digest, the batch root and every proof over them. What is destroyed: the field's entries, its
salt, the seed that all salts come from, and the content that nothing else refers to. Runs as owner: no other role may.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

import psycopg

from auditlog.errors import Problem
from auditlog.retention import consumed, holds, lock, references
from auditlog.store import fields, unpack
from auditlog.store.pack import SHARED_PREFIX, content_key
from auditlog.store.reader import split_id


class Erased(NamedTuple):
    """How many pieces of content were destroyed, and how many stay because other evidence refers to them."""

    events: int
    destroyed: int
    kept: int


def erase_field(conn: psycopg.Connection[Any], project_id: int, secret: bytes, public: str, field: int) -> Erased:
    """Erases a field of an event in every bucket that holds it, in one transaction; the caller commits.

    Raises Problem("not_found", "held"), or "derive_behind" where nobody can say whether a hold holds it. Locks the bucket's row and
    raises its generation first: ingest, which holds it FOR SHARE, can then neither rely on content that is about to go nor be in the
    middle of writing a reference to it.
    """
    ids = split_id(public)
    if ids is None or field not in fields.NAMES:
        raise Problem("not_found", f"no event {public!r} with a field {field!r}")
    lock.take(conn)
    places = conn.execute(
        "SELECT bucket FROM event WHERE trace_key = %s AND event_id = %s AND project_id = %s", (*ids, project_id)
    ).fetchall()
    if not places:
        raise Problem("not_found", f"no event {public!r} in this project")
    _refuse_held(conn, project_id, public, ids[0], [bucket for (bucket,) in places])
    destroyed = kept = 0
    for (bucket,) in places:
        conn.execute("SELECT 1 FROM bucket WHERE bucket = %s FOR UPDATE", (bucket,))
        conn.execute("UPDATE bucket SET generation = generation + 1 WHERE bucket = %s", (bucket,))
        row = conn.execute(
            "SELECT skeleton, vals FROM event WHERE bucket = %s AND trace_key = %s AND event_id = %s", (bucket, *ids)
        ).fetchone()
        if row is None:
            continue
        parsed = unpack.parse(bytes(row[0]), bytes(row[1]))
        vals = unpack.erase(bytes(row[1]), field)
        conn.execute("UPDATE event SET vals = %s WHERE bucket = %s AND trace_key = %s AND event_id = %s", (vals, bucket, *ids))
        if field in parsed.entries:
            prefix = SHARED_PREFIX if field in fields.SHARED else parsed.prefix
            gone, stay = _drop_content(conn, project_id, secret, bucket, prefix, parsed.entries[field])
            destroyed, kept = destroyed + gone, kept + stay
    return Erased(len(places), destroyed, kept)


def _refuse_held(conn: psycopg.Connection[Any], project_id: int, public: str, trace_key: uuid.UUID, buckets: list[int]) -> None:
    if not holds.standing(conn, project_id):
        return
    for bucket in buckets:
        consumed.require(conn, bucket, project_id)
    if found := holds.of_trace(conn, project_id, trace_key):
        names = ", ".join(f"{hold.id} ({hold.name})" for hold in found)
        raise Problem("held", f"Event {public} is held by {names}; nothing was erased.", detail={"holds": [hold.id for hold in found]})


def _drop_content(
    conn: psycopg.Connection[Any], project_id: int, secret: bytes, bucket: int, prefix: bytes, encoded: bytes
) -> tuple[int, int]:
    """Destroys the content that only the erased entries referred to."""
    mine = references.closure(conn, secret, bucket, prefix, references.of_entries(encoded))
    if not mine:
        return 0, 0
    others: set[references.Reference] = set()
    # Who else refers to it stands only in the values: all events of the bucket are read, in pages, which is right and slow.
    with conn.cursor(name="erasure") as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT skeleton, vals FROM event WHERE bucket = %s AND project_id = %s", (bucket, project_id))
        for skeleton, vals in cursor:
            others |= references.by_prefix(unpack.parse(bytes(skeleton), bytes(vals))).get(prefix, set())
    held = references.closure(conn, secret, bucket, prefix, others)
    gone = [content_key(secret, prefix, sha) for sha in mine - held]
    conn.execute("DELETE FROM content WHERE bucket = %s AND content_key = ANY(%s)", (bucket, gone))
    return len(gone), len(mine & held)
