"""Owns a disposition until it is executed: what is due, what it would destroy, who proposed, approved, refused or cancelled it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from auditlog.errors import Problem
from auditlog.governance import Action, Actor
from auditlog.retention import classes, lock, recording
from auditlog.retention.recording import IN_FORCE
from auditlog.retention.rows import one, rows
from auditlog.retention.staying import staying

# What the names of a bucket's partitions end in (ensure_bucket in schema.sql makes them).
SUFFIX: Final[LiteralString] = "b.class_no || '_' || to_char(b.starts AT TIME ZONE 'UTC', 'YYYYMMDD')"
_ROW: Final[LiteralString] = (
    "id, bucket, state, class_no, class_version, due_at, report, proposed_by, proposed_at, approved_by, approved_at, ended_by, ended_at, "
    "certificate, forgotten_at, recorded_at"
)
_PARTS: Final[LiteralString] = """
    SELECT p.class_version, b.project_id, count(*), sum(p.count), min(p.batch_no), max(p.batch_no)
    FROM part p JOIN batch b USING (batch_no) WHERE p.bucket = %s GROUP BY 1, 2 ORDER BY 1, 2"""
_LEAVES: Final[LiteralString] = "SELECT min(leaf_index), max(leaf_index) FROM leaf WHERE bucket = %s"


class Disposition(NamedTuple):
    """One row. Who: {"kind", "id", "name"}; `report`: what the proposer was shown; `ended_*`: executed, refused or cancelled."""

    id: int
    bucket: int
    state: str
    class_no: int
    class_version: int
    due_at: datetime
    report: dict[str, Any]
    proposed_by: dict[str, str]
    proposed_at: datetime
    approved_by: dict[str, str] | None
    approved_at: datetime | None
    ended_by: dict[str, str] | None
    ended_at: datetime | None
    certificate: dict[str, Any] | None
    forgotten_at: datetime | None
    recorded_at: datetime | None


class Due(NamedTuple):
    """A bucket with the date from which it may be disposed of, by the class that is in force now."""

    bucket: int
    class_no: int
    class_name: str
    starts: datetime
    ends: datetime
    state: str
    due_at: datetime
    due: bool


def buckets(conn: psycopg.Connection[Any]) -> list[Due]:
    """Every bucket that holds evidence, in the order in which they fall due. The clock is the database's."""
    found = rows(
        conn,
        f"SELECT b.bucket, b.class_no, c.name, b.starts, b.ends, b.state, b.ends + c.days * interval '24 hours' AS due_at, "
        f"b.ends + c.days * interval '24 hours' <= now() FROM bucket b JOIN {IN_FORCE} c USING (class_no) WHERE b.state <> 'disposed' "
        "ORDER BY due_at, b.bucket",
    )
    return [Due(*row) for row in found]


def bucket(conn: psycopg.Connection[Any], number: int) -> Due:
    """Raises Problem("not_found")."""
    found = next((each for each in buckets(conn) if each.bucket == number), None)
    if found is None:
        raise Problem("not_found", f"There is no bucket {number} that holds evidence under a class in force.")
    return found


def measure(conn: psycopg.Connection[Any], number: int) -> dict[str, Any]:
    """Counts of a bucket: what its parts promise, and what is there. JSON."""
    parts = conn.execute(_PARTS, (number,)).fetchall()
    there = _row(conn, "SELECT count(*) FROM event WHERE bucket = %s", number)[0]
    gone = _row(conn, "SELECT count(*) FROM tombstone WHERE bucket = %s", number)[0]
    contents = _row(conn, "SELECT count(*) FROM content WHERE bucket = %s", number)[0]
    size = conn.execute(
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM bucket b, pg_class c WHERE b.bucket = %s "
        "AND c.relnamespace = 'public'::regnamespace AND c.relname IN ('event_' || " + SUFFIX + ", 'content_' || " + SUFFIX + ")", (number,)
    ).fetchone()  # fmt: skip
    first, last = _row(conn, _LEAVES, number)
    return {
        "parts": sum(row[2] for row in parts),
        "promised": _sum(row[3] for row in parts),
        "events": there,
        "gone_before": gone,
        "contents": contents,
        "bytes": size[0] if size else 0,
        "by_version": {str(version): _sum(row[3] for row in parts if row[0] == version) for version in sorted({row[0] for row in parts})},
        "by_project": {str(project): _sum(row[3] for row in parts if row[1] == project) for project in sorted({row[1] for row in parts})},
        "batches": [min((row[4] for row in parts), default=None), max((row[5] for row in parts), default=None)],
        "leaves": None if first is None else [first, last],
    }


def report(conn: psycopg.Connection[Any], number: int) -> dict[str, Any]:
    """The dry run: what a disposition of this bucket would be, now. Changes nothing. JSON."""
    found = bucket(conn, number)
    now = classes.in_force(conn, found.class_no)
    stays = staying(conn, number)
    return {
        "bucket": number,
        "period": [found.starts.isoformat(), found.ends.isoformat()],
        "class": {"class": now.class_no, "version": now.version, "name": now.name, "days": now.days, "basis": now.basis},
        "due_at": found.due_at.isoformat(),
        "due": found.due,
        "second_person": now.second_person,
        "counts": measure(conn, number),
        "holds": stays.holds,
        "longer": stays.longer,
        "clock_of": now.clock_of,
        "waiting": stays.waiting,
    }


def propose(conn: psycopg.Connection[Any], actor: Actor, number: int) -> Disposition:
    """Raises Problem("not_found", "not_due", "state_conflict")."""
    told = report(conn, number)
    require_due(bucket(conn, number))
    try:
        with conn.transaction():
            row = one(
                conn,
                f"INSERT INTO disposition (bucket, class_no, class_version, due_at, report, proposed_by) VALUES (%s, %s, %s, %s, %s, %s) "
                f"RETURNING {_ROW}",
                (number, told["class"]["class"], told["class"]["version"], told["due_at"], Jsonb(told), Jsonb(recording.who(actor))),
            )
            made = _made(row)
            _record(conn, made, actor, "disposition.propose", {"due_at": told["due_at"], "class_version": made.class_version})
    except psycopg.errors.UniqueViolation:
        raise Problem("state_conflict", f"A disposition of bucket {number} is open already. Execute, refuse or cancel that one.") from None
    return made


def approve(conn: psycopg.Connection[Any], actor: Actor, disposition_id: int) -> Disposition:
    """Raises Problem("not_found", "state_conflict", "second_person")."""
    with conn.transaction():
        lock.take(conn)
        found = get(conn, disposition_id)
        if found.state != "proposed":
            raise Problem("state_conflict", f"Disposition {found.id} is {found.state}; only one that is proposed can be approved.")
        if recording.same(found.proposed_by, actor):
            raise Problem("second_person", "A disposition is approved by somebody else than the person who proposed it.")
        row = one(
            conn,
            f"UPDATE disposition SET state = 'approved', approved_by = %s, approved_at = now() WHERE id = %s RETURNING {_ROW}",
            (Jsonb(recording.who(actor)), found.id),
        )
        _record(conn, found, actor, "disposition.approve", {"proposed_by": found.proposed_by})
    return _made(row)


def end(conn: psycopg.Connection[Any], actor: Actor, disposition_id: int, state: str, reason: str) -> Disposition:
    """Refuses or cancels (`state`: refused, cancelled) what was not executed. Raises Problem("not_found", "state_conflict")."""
    action: Action = "disposition.refuse" if state == "refused" else "disposition.cancel"
    with conn.transaction():
        lock.take(conn)
        found = get(conn, disposition_id)
        if found.state not in ("proposed", "approved"):
            raise Problem("state_conflict", f"Disposition {found.id} is {found.state}; it cannot be {state} any more.")
        row = one(
            conn,
            f"UPDATE disposition SET state = %s, ended_by = %s, ended_at = now() WHERE id = %s RETURNING {_ROW}",
            (state, Jsonb(recording.who(actor)), found.id),
        )
        _record(conn, found, actor, action, {"reason": reason})
    return _made(row)


def get(conn: psycopg.Connection[Any], disposition_id: int) -> Disposition:
    """Raises Problem("not_found")."""
    row = one(conn, f"SELECT {_ROW} FROM disposition WHERE id = %s", (disposition_id,))
    if row is None:
        raise Problem("not_found", f"There is no disposition {disposition_id}.")
    return Disposition(*row)


def listed(conn: psycopg.Connection[Any]) -> list[Disposition]:
    """Newest first."""
    return [Disposition(*row) for row in rows(conn, f"SELECT {_ROW} FROM disposition ORDER BY id DESC")]


def require_due(found: Due) -> None:
    """Raises Problem("not_due")."""
    if not found.due:
        raise Problem(
            "not_due",
            f"Bucket {found.bucket} (class {found.class_no}, {found.class_name}) is due on {found.due_at:%Y-%m-%d}, by the version that is "
            "in force now; nothing can be proposed or executed before.",
            detail={"due_at": found.due_at.isoformat()},
        )


def projects(conn: psycopg.Connection[Any], number: int) -> list[int]:
    """The projects whose evidence lies, or lay, in a bucket."""
    query = "SELECT DISTINCT b.project_id FROM part p JOIN batch b USING (batch_no) WHERE p.bucket = %s ORDER BY 1"
    return [row[0] for row in conn.execute(query, (number,)).fetchall()]


def _record(conn: psycopg.Connection[Any], found: Disposition, actor: Actor, action: Action, about: dict[str, Any]) -> None:
    recording.record(conn, projects(conn, found.bucket), actor, action, {"disposition": found.id, "bucket": found.bucket, **about})


def _row(conn: psycopg.Connection[Any], query: LiteralString, number: int) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = conn.execute(query, (number,)).fetchone()
    assert row is not None  # aggregates
    return row


def _sum(counts: Iterable[int]) -> int:
    return int(sum(counts))


def _made(row: tuple[Any, ...] | None) -> Disposition:
    assert row is not None  # of a row that was inserted, or read under the lock
    return Disposition(*row)


__all__ = ["Disposition", "Due", "approve", "buckets", "end", "get", "listed", "measure", "propose", "report", "require_due"]
