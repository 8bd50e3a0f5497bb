"""Owns the erasure of fields of events, so that nothing else of the trail changes and all proofs still hold.

The skeleton stays, and with it the digest, the batch root and every proof over them. What is destroyed: the fields' entries, their
salts, the seed that all salts come from, and the content that nothing else refers to. Runs as owner: no other role may.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import psycopg

from auditlog.errors import Problem
from auditlog.item import GOVERNANCE
from auditlog.retention import consumed, holds, lock, references
from auditlog.store import fields, unpack
from auditlog.store.pack import SHARED_PREFIX, content_key
from auditlog.store.reader import public_id, split_id

Place = tuple[uuid.UUID, uuid.UUID]
"""Trace key and event ID."""


class Erased(NamedTuple):
    """How many places of events were looked at, how many pieces of content were destroyed, and how many stay because other evidence
    refers to them; and of each event which fields it had and has no more."""

    events: int
    destroyed: int
    kept: int
    of_event: dict[Place, set[int]]


def erase_field(conn: psycopg.Connection[Any], project_id: int, secret: bytes, public: str, field: int) -> Erased:
    """Erases a field of an event in every bucket that holds it, in one transaction; the caller commits.

    Raises Problem("not_found", "held"), or "derive_behind" where nobody can say whether a hold holds it.
    """
    ids = split_id(public)
    if ids is None or field not in fields.NAMES:
        raise Problem("not_found", f"no event {public!r} with a field {field!r}")
    erased = erase_fields(conn, project_id, secret, {ids: {field}})
    if not erased.events:
        raise Problem("not_found", f"no event {public!r} in this project")
    return erased


def erase_fields(conn: psycopg.Connection[Any], project_id: int, secret: bytes, wanted: Mapping[Place, Collection[int]]) -> Erased:
    """The same of many events, each with its fields; what is not there any more is passed over.

    Locks the bucket's row and raises its generation first: ingest, which holds it FOR SHARE, can then neither rely on content that is
    about to go nor be in the middle of writing a reference to it. Each bucket is read once, whatever the number of events.
    """
    lock.take(conn)
    of_bucket = _places(conn, project_id, wanted)
    refuse_held(conn, project_id, wanted, sorted(of_bucket))
    destroyed = kept = 0
    of_event: dict[Place, set[int]] = {}
    for bucket, places in sorted(of_bucket.items()):
        conn.execute("SELECT 1 FROM bucket WHERE bucket = %s FOR UPDATE", (bucket,))
        conn.execute("UPDATE bucket SET generation = generation + 1 WHERE bucket = %s", (bucket,))
        mine: dict[bytes, set[references.Reference]] = {}
        for place in places:
            for prefix, found in _erase(conn, bucket, place, wanted[place], of_event.setdefault(place, set())):
                mine.setdefault(prefix, set()).update(found)
        gone, stay = _drop_content(conn, project_id, secret, bucket, mine)
        destroyed, kept = destroyed + gone, kept + stay
    return Erased(sum(map(len, of_bucket.values())), destroyed, kept, of_event)


def refuse_held(conn: psycopg.Connection[Any], project_id: int, places: Iterable[Place], buckets: Collection[int]) -> None:
    """Raises Problem("held") that names the holds, or "derive_behind" where nobody can say."""
    standing = holds.standing(conn, project_id)
    if not standing:
        return
    traces = {trace_key for trace_key, _ in places}
    found: dict[uuid.UUID, set[int]] = {}
    for bucket in buckets:
        consumed.require(conn, bucket, [project_id], project_id)
        for (project, key), by in holds.held(conn, bucket).items():
            if project == project_id and key in traces:
                found.setdefault(key, set()).update(by)
    if found:
        ids = set().union(*found.values())
        names = ", ".join(f"{hold.id} ({hold.name})" for hold in standing if hold.id in ids)
        events = sorted(public_id(*place) for place in places if place[0] in found)
        which = f"Event {events[0]} is" if len(events) == 1 else f"{len(events)} of the events are"
        raise Problem("held", f"{which} held by {names}; nothing was erased.", detail={"holds": sorted(ids)})


def _places(conn: psycopg.Connection[Any], project_id: int, wanted: Iterable[Place]) -> dict[int, list[Place]]:
    """The events by the buckets in which they are."""
    asked = set(wanted)
    found: dict[int, list[Place]] = {}
    rows = conn.execute(
        "SELECT bucket, trace_key, event_id FROM event WHERE trace_key = ANY(%s) AND event_id = ANY(%s) AND project_id = %s "
        f"AND item <> {GOVERNANCE}",
        (list({key for key, _ in asked}), [event_id for _, event_id in asked], project_id),
    ).fetchall()
    for bucket, *ids in rows:
        place = (ids[0], ids[1])
        if place in asked:
            found.setdefault(bucket, []).append(place)
    return found


def _erase(
    conn: psycopg.Connection[Any], bucket: int, place: Place, wanted: Collection[int], erased: set[int]
) -> list[tuple[bytes, set[references.Reference]]]:
    """One event in one bucket. What its fields referred to, by prefix; `erased` gains the fields that it had."""
    row = conn.execute(
        "SELECT skeleton, vals FROM event WHERE bucket = %s AND trace_key = %s AND event_id = %s", (bucket, *place)
    ).fetchone()
    if row is None:
        return []
    vals = bytes(row[1])
    parsed = unpack.parse(bytes(row[0]), vals)
    found = []
    entries = parsed.entries
    for field in sorted(set(wanted) & entries.keys()):
        vals = unpack.erase(vals, field)
        found.append((SHARED_PREFIX if field in fields.SHARED else parsed.prefix, references.of_entries(entries[field])))
        erased.add(field)
    if vals != bytes(row[1]):
        conn.execute("UPDATE event SET vals = %s WHERE bucket = %s AND trace_key = %s AND event_id = %s", (vals, bucket, *place))
    return found


def _drop_content(
    conn: psycopg.Connection[Any], project_id: int, secret: bytes, bucket: int, wanted: Mapping[bytes, set[references.Reference]]
) -> tuple[int, int]:
    """Destroys the content that only the erased entries referred to."""
    mine = {prefix: references.closure(conn, secret, bucket, prefix, found) for prefix, found in wanted.items() if found}
    if not mine:
        return 0, 0
    others: dict[bytes, set[references.Reference]] = {prefix: set() for prefix in mine}
    # Who else refers to it stands only in the values: all events of the bucket are read, in pages, which is right and slow.
    with conn.cursor(name="erasure") as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT skeleton, vals FROM event WHERE bucket = %s AND project_id = %s", (bucket, project_id))
        for skeleton, vals in cursor:
            for prefix, found in references.by_prefix(unpack.parse(bytes(skeleton), bytes(vals))).items():
                if prefix in others:
                    others[prefix] |= found
    destroyed = kept = 0
    for prefix, reached in mine.items():
        held = references.closure(conn, secret, bucket, prefix, others[prefix])
        gone = [content_key(secret, prefix, sha) for sha in reached - held]
        conn.execute("DELETE FROM content WHERE bucket = %s AND content_key = ANY(%s)", (bucket, gone))
        destroyed, kept = destroyed + len(gone), kept + len(reached & held)
    return destroyed, kept
