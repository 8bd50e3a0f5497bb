"""Owns what is kept longer than the class in which it was received says: by a search with a longer class, or as its agent is high-risk.

Nothing is moved: what matches stays where it lies, with its keys and proofs, as what is held does, until the other class would let it go.
It can only lengthen. As a hold it is asked anew whenever something is about to go, so that what came later and matches stays, too; unlike
a hold it stands in no erasure's way, and ends by itself. Giving it up would let things go earlier: that takes a second person.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.retention import classes, clocks, holds, lock, recording
from auditlog.retention.recording import IN_FORCE
from auditlog.retention.rows import one, rows

_COLUMNS: Final[LiteralString] = (
    "r.id, r.project_id, r.scope, r.class_no, r.reason, r.made_by, r.made_at, r.ended_by, r.ended_at, r.end_reason, p.text_index"
)
_FROM: Final[LiteralString] = "FROM reclassified r LEFT JOIN project p ON p.id = r.project_id"
# Of classes with more days than the bucket's, which are not over; or that wait for an event, whatever their days.
_ASKING: Final[LiteralString] = f"""
    WITH here AS (SELECT b.ends, own.days FROM bucket b JOIN {IN_FORCE} own USING (class_no) WHERE b.bucket = %(bucket)s)
    SELECT r.project_id, r.scope, p.text_index, r.id, NULL, r.class_no, c.version, c.days, c.clock_of,
      c.days > here.days AND here.ends + c.days * interval '24 hours' > now()
    {_FROM} JOIN {IN_FORCE} c ON c.class_no = r.class_no, here
    WHERE r.ended_at IS NULL AND (c.days > here.days AND here.ends + c.days * interval '24 hours' > now() OR c.clock_of IS NOT NULL)
    UNION ALL
    SELECT f.project_id, jsonb_build_object('agent', f.agent), p.text_index, NULL, f.agent, NULL, NULL, %(floor)s, NULL, true
    FROM agent_flag f LEFT JOIN project p ON p.id = f.project_id, here
    WHERE f.high_risk AND f.agent <> '' AND %(floor)s > here.days AND here.ends + %(floor)s * interval '24 hours' > now()
    ORDER BY 1, 4, 5"""
_LOST: Final[LiteralString] = """
    SELECT t.project_id, t.trace_key FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current'
    WHERE t.buckets @> ARRAY[%(bucket)s::int] AND t.project_id = ANY(%(projects)s) AND (
      EXISTS (SELECT FROM session_loss l WHERE l.session_key IN (t.session_key, t.own_key) AND l.project_id = t.project_id)
      OR EXISTS (SELECT FROM erasure_item i JOIN erasure e ON e.id = i.erasure AND e.project_id = t.project_id
                 WHERE i.done_at IS NOT NULL AND i.trace_key = t.trace_key))"""

Place = tuple[int, uuid.UUID]
"""(project, trace key)"""


class Reclassified(NamedTuple):
    """`scope`: filters of `GET /api/v1/sessions`. Who: {"kind", "id", "name"}."""

    id: int
    project_id: int
    scope: dict[str, str]
    class_no: int
    reason: str
    made_by: dict[str, str]
    made_at: datetime
    ended_by: dict[str, str] | None
    ended_at: datetime | None
    end_reason: str | None
    text_index: bool | None


class Longer(NamedTuple):
    """What asks that something of a bucket stays: a reclassification, or (agent) the flag of a high-risk system. id: its place in the list;
    by_receipt: its days are not over; otherwise what matches stays that waits for the event of its class."""

    id: int
    project_id: int
    scope: dict[str, str]
    text_index: bool | None
    reclassification: int | None
    agent: str | None
    class_no: int | None
    version: int | None
    days: int
    clock_of: str | None
    by_receipt: bool


def make(
    conn: psycopg.Connection[Any], actor: Actor, project_id: int, class_no: int, reason: str, scope: Mapping[str, Any], *,
    content: bool = True,
) -> Reclassified:  # fmt: skip
    """From its return on, what matches is kept as this class says where its own says less. content: as of `holds.place`.

    Raises Problem("scope_empty", "parameter_invalid", "scope_missing", "not_found", "overloaded").
    """
    wanted = holds.filters(project_id, scope, content)
    classes.readable(reason=reason)
    with conn.transaction():
        lock.take(conn)
        now = classes.in_force(conn, class_no)
        row = one(
            conn,
            "INSERT INTO reclassified (project_id, scope, class_no, reason, made_by) VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (project_id, Jsonb(wanted), class_no, reason, Jsonb(recording.who(actor))),
        )
        assert row is not None
        about = {"reclassification": row[0], "class": class_no, "version": now.version, "reason": reason, "scope": wanted}
        recording.record(conn, [project_id], actor, "class.extend", about)
    return get(conn, project_id, row[0])


def end(conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int, reason: str) -> Reclassified:
    """A second person ends it: what matched goes by its own class again. No key does: nobody can say whose it is.

    Raises Problem("not_found", "parameter_invalid", "state_conflict", "second_person", "overloaded").
    """
    classes.readable(reason=reason)
    with conn.transaction():
        lock.take(conn)
        found = get(conn, project_id, number)
        if found.ended_at is not None:
            raise Problem("state_conflict", f"Reclassification {number} was ended before.")
        if actor.kind != "person" or recording.same(found.made_by, actor):
            raise Problem("second_person", "What somebody had kept longer is given up by somebody else, because it can go earlier then.")
        conn.execute(
            "UPDATE reclassified SET ended_by = %s, ended_at = now(), end_reason = %s WHERE id = %s",
            (Jsonb(recording.who(actor)), reason, number),
        )
        recording.record(conn, [project_id], actor, "class.unextend", {"reclassification": number, "reason": reason})
    return get(conn, project_id, number)


def get(conn: psycopg.Connection[Any], project_id: int, number: int) -> Reclassified:
    """Raises Problem("not_found")."""
    row = one(conn, f"SELECT {_COLUMNS} {_FROM} WHERE r.project_id = %s AND r.id = %s", (project_id, number))
    if row is None:
        raise Problem("not_found", f"There is no reclassification {number} in this project.")
    return Reclassified(*row)


def listed(conn: psycopg.Connection[Any], project_id: int, below: int | None = None, limit: int | None = None) -> list[Reclassified]:
    """All of a project, newest first, those that were ended included."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE r.project_id = %s AND (%s::bigint IS NULL OR r.id < %s) ORDER BY r.id DESC LIMIT %s"
    return [Reclassified(*row) for row in rows(conn, query, (project_id, below, below, limit))]


def longer(conn: psycopg.Connection[Any], bucket: int) -> list[tuple[Longer, set[Place]]]:
    """What of a bucket stays for more than its own class at this moment, by what asks for it. The search asks over Django's connection."""
    searches = asking(conn, bucket)
    if not searches:  # as a rule
        return []
    unsure = _unsure(conn, bucket, {each.project_id for each in searches})
    matching = [{place for place in unsure if place[0] == each.project_id} for each in searches]
    for place, by in holds.meant(conn, bucket, searches).items():
        for number in by:
            matching[number].add(place)
    clock = {(of, each.days) for each in searches if (of := each.clock_of) is not None and not each.by_receipt}
    waiting: dict[tuple[str | None, int], set[Place]] = {(of, days): clocks.still(conn, bucket, of, days) for of, days in clock}
    return [
        (each, places if each.by_receipt else places & waiting[each.clock_of, each.days])
        for each, places in zip(searches, matching, strict=True)
    ]


def asking(conn: psycopg.Connection[Any], bucket: int) -> list[Longer]:
    """What asks that something of a bucket stays for more than its own class, at this moment."""
    found = rows(conn, _ASKING, {"bucket": bucket, "floor": classes.HIGH_RISK_DAYS})
    return [Longer(number, *row) for number, row in enumerate(found)]


def told(each: Longer, places: set[Place]) -> dict[str, Any]:
    """As a report and a certificate list it. JSON."""
    by: dict[str, Any] = {"agent": each.agent}
    if each.agent is None:
        by = {"reclassification": each.reclassification, "class": each.class_no, "version": each.version}
    return {"project": each.project_id, **by, "days": each.days, "traces": len(places)}


def _unsure(conn: psycopg.Connection[Any], bucket: int, projects: Collection[int]) -> set[Place]:
    """What is left of sessions that lost something on schedule, and of traces that lost something by a request: it may be what was searched
    for. Which session an erased trace was in nobody knows any more, and nobody should."""
    found = rows(conn, _LOST, {"bucket": bucket, "projects": list(projects)})
    return {(row[0], row[1]) for row in found}
