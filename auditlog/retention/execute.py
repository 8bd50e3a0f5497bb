"""Owns the execution of a disposition: evidence goes in one transaction with its certificate, or not at all.

1. The bucket is closed: nothing is written to it any more.
2. What is held is looked for, and copied (rewrite.prepare). Killed up to here, nothing has happened.
3. One transaction, under the lock that holding and erasing take, too: everything is looked at again, the certificate is written, the tables
   change. Where what is held has changed since 2, it goes back to 2.
4. What was derived of it is forgotten, and the certificate becomes an event among the evidence. Killed before the end of either, `finish`
   does the rest: both may be repeated, and the certificate's event has an identity that makes it the same event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from auditlog import conf
from auditlog.derive import withdraw
from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.retention import classes, consumed, dispositions, holds, lock, reclassify, recording, rewrite
from auditlog.retention.dispositions import Disposition
from auditlog.retention.rewrite import Draft
from auditlog.retention.staying import Staying, staying
from auditlog.store.reader import Reader, Secrets
from auditlog.verify import certificates

ATTEMPTS: Final = 8
ONE: Final = 7221  # advisory lock of whoever executes: drafts have one owner
FORMAT: Final = "auditlog-disposition/1"
_CLOSE: Final = "UPDATE bucket SET state = 'closed' WHERE bucket = %s AND state = 'open' AND ends <= now()"
_GENERATION: Final = "SELECT generation, state FROM bucket WHERE bucket = %s FOR UPDATE"
_DISPOSED: Final = "UPDATE bucket SET generation = generation + 1, state = %s WHERE bucket = %s"
# Sessions of which a trace goes and something stays. Under the trace's own key, too: what named its session may be what goes.
_LOSSES: Final = """
    INSERT INTO session_loss (project_id, session_key, disposition)
    SELECT DISTINCT t.project_id, k.key, %(disposition)s::bigint
    FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current',
      LATERAL (SELECT t.session_key AS key UNION SELECT t.own_key WHERE cardinality(t.buckets) > 1) k
    WHERE t.buckets @> ARRAY[{bucket}] AND NOT EXISTS (SELECT FROM {held} h WHERE h.project_id = t.project_id AND h.trace_key = t.trace_key)
      AND EXISTS (SELECT FROM trace o WHERE o.session_key = t.session_key AND o.edition = t.edition AND o.project_id = t.project_id
                  AND (cardinality(o.buckets) > 1 OR NOT o.buckets @> ARRAY[{bucket}]
                       OR EXISTS (SELECT FROM {held} h WHERE h.project_id = o.project_id AND h.trace_key = o.trace_key)))"""
# Events that nobody has any more: not what the service recorded itself (item 4), which is never counted, nor what another bucket has, too.
_UNCOUNTED: Final = """
    SELECT e.project_id, count(*) FROM event e
    WHERE e.bucket = {bucket} AND e.item <> 4
      AND NOT EXISTS (SELECT FROM {held} h WHERE h.project_id = e.project_id AND h.trace_key = e.trace_key)
      AND NOT EXISTS (SELECT FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current'
                      JOIN event o ON o.trace_key = t.trace_key AND o.project_id = t.project_id AND o.event_id = e.event_id
                      WHERE t.trace_key = e.trace_key AND t.project_id = e.project_id AND cardinality(t.buckets) > 1
                        AND o.bucket <> {bucket})
    GROUP BY 1"""
_TALLY: Final = """
    UPDATE tally SET events = events - %s WHERE project_id = %s AND edition = (SELECT number FROM edition WHERE state = 'current')"""
_EXECUTED: Final = """
    UPDATE disposition SET state = 'executed', ended_by = %s, ended_at = now(), certificate = %s WHERE id = %s"""


class _Changed(Exception):
    """What is held, or the bucket, is not what the draft was made of."""


def execute(
    conn: psycopg.Connection[Any], actor: Actor, disposition_id: int, secrets: Secrets, *, told: Callable[[str], None] = lambda step: None
) -> dict[str, Any]:
    """The certificate. Over the owner's connection in autocommit; may be repeated after a death anywhere.

    Raises Problem("not_found", "state_conflict", "second_person", "not_due", "derive_behind", "count_differs", "held", "overloaded"): then
    nothing went.
    """
    if conn.execute("SELECT pg_try_advisory_lock(%s)", (ONE,)).fetchone() != (True,):
        raise Problem("overloaded", "Another disposition is being executed; this one was not begun. Try again when that one has ended.")
    try:
        found = dispositions.get(conn, disposition_id)
        if found.state != "executed":
            _refuse(conn, found)
            conn.execute(_CLOSE, (found.bucket,))
            told("closed")
            try:
                _go(conn, actor, found, secrets, told)
            except Problem:
                rewrite.discard(conn, found.bucket)  # until it is tried again, a copy would be out of an erasure's reach
                raise
        finish(conn, secrets, told)
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s)", (ONE,))
    certificate = dispositions.get(conn, disposition_id).certificate
    assert certificate is not None  # the constraint of its table
    return certificate


def _go(conn: psycopg.Connection[Any], actor: Actor, found: Disposition, secrets: Secrets, told: Callable[[str], None]) -> None:
    draft: Draft | None = None
    for attempt in range(ATTEMPTS):
        _consumed(conn, found)  # asked again under the lock; here, so that nothing is copied in vain
        keep = staying(conn, found.bucket).places
        if draft is None or draft.keep != keep or draft.generation != _generation(conn, found.bucket):
            draft = rewrite.prepare(conn, found.bucket, keep, secrets)
            told("prepared")
        counts = dispositions.measure(conn, found.bucket)
        _agree(found, counts, draft)
        leaving = conn.execute(_of(_UNCOUNTED, draft)).fetchall()
        try:
            with conn.transaction():
                _dispose(conn, actor, found, draft, counts, leaving, told)
        except _Changed:
            told("changed")
        except psycopg.errors.LockNotAvailable:
            told("busy")
            time.sleep(min(0.1 * 2**attempt, 3))
        else:
            told("committed")
            return
    raise Problem(
        "overloaded", "The tables were in use, or what is held went on changing, whenever it was tried; nothing was disposed of. Try again."
    )


def _refuse(conn: psycopg.Connection[Any], found: Disposition) -> None:
    """Whatever forbids it whoever holds what."""
    now = classes.in_force(conn, found.class_no)
    if found.state not in ("proposed", "approved"):
        raise Problem("state_conflict", f"Disposition {found.id} is {found.state}; propose another one.")
    if found.state == "proposed" and now.second_person:
        raise Problem(
            "second_person", f"Class {now.class_no} ({now.name}) asks for a second person: disposition {found.id} is not approved."
        )
    dispositions.require_due(dispositions.bucket(conn, found.bucket))


def _consumed(conn: psycopg.Connection[Any], found: Disposition) -> None:
    """Whom and what a session names may stand in what came later, too: where that decides, all that had come by the proposal is read."""
    concerned = set(dispositions.projects(conn, found.bucket))
    searched = {hold.project_id for hold in holds.standing(conn)} | {each.project_id for each in reclassify.asking(conn, found.bucket)}
    searched &= concerned
    consumed.require(conn, found.bucket, searched)
    by_event = classes.in_force(conn, found.class_no).clock_of is not None
    for project_id in sorted(concerned if by_event else searched):
        consumed.require_batches(conn, project_id, until=found.proposed_at)


def _agree(found: Disposition, counts: dict[str, Any], draft: Draft) -> None:
    if counts["promised"] != counts["events"] + counts["gone_before"]:
        raise Problem(
            "count_differs",
            f"Bucket {found.bucket} holds {counts['events']} events where its parts promise {counts['promised'] - counts['gone_before']}. "
            "Evidence was changed by somebody. Find out before it is gone: `manage.py verify`.",
            detail={"promised": counts["promised"], "events": counts["events"], "gone_before": counts["gone_before"]},
        )
    if draft.keep and not draft.left:
        waiting = sum(not by for by in draft.keep.values())
        raise Problem(
            "held",
            f"Everything in bucket {found.bucket} is held, waits for an event that starts its clock, or is kept as a longer class says "
            f"({waiting} traces stay without a hold); nothing was disposed of.",
            detail={"holds": _ids(draft), "waiting": waiting},
        )


def _dispose(
    conn: psycopg.Connection[Any], actor: Actor, found: Disposition, draft: Draft, counts: dict[str, Any],
    leaving: list[tuple[int, int]], told: Callable[[str], None],
) -> None:  # fmt: skip
    lock.take(conn)
    told("locked")
    found = dispositions.get(conn, found.id)
    _refuse(conn, found)
    generation = conn.execute(_GENERATION, (found.bucket,)).fetchone()
    _consumed(conn, found)
    stays = staying(conn, found.bucket)
    if generation != (draft.generation, "closed") or stays.places != draft.keep:
        raise _Changed
    told("checked")
    certificate = _certificate(conn, actor, found, draft, counts, stays)
    conn.execute(_DISPOSED, ("closed" if draft.keep else "disposed", found.bucket))
    conn.execute(_of(_LOSSES, draft), {"disposition": found.id})
    for project_id, count in leaving:
        conn.execute(_TALLY, (count, project_id))
    conn.execute(_EXECUTED, (Jsonb(recording.who(actor)), Jsonb(certificate), found.id))
    rewrite.swap(conn, draft)
    told("swapped")
    # Killed before this transaction's COMMIT: nothing has happened. After it: finish() does what is left.


def _certificate(
    conn: psycopg.Connection[Any], actor: Actor, found: Disposition, draft: Draft, counts: dict[str, Any], stays: Staying
) -> dict[str, Any]:
    due = dispositions.bucket(conn, found.bucket)
    now = classes.in_force(conn, found.class_no)
    at = conn.execute("SELECT now()").fetchone()
    assert at is not None
    return {
        "format": FORMAT,
        "disposition": found.id,
        "bucket": found.bucket,
        "period": [due.starts.isoformat(), due.ends.isoformat()],
        "policy": {"class": now.class_no, "version": now.version, "name": now.name, "days": now.days, "clock": now.clock}
        | ({"clock_of": now.clock_of} if now.clock_of else {}),
        "authority": now.basis,
        "due_at": due.due_at.isoformat(),
        "method": "partition rewritten" if draft.keep else "partition dropped",
        "counts": {name: counts[name] for name in ("parts", "promised", "gone_before", "contents", "bytes")}
        | {"disposed": draft.left, "held": draft.kept},
        "by_version": counts["by_version"],
        "by_project": counts["by_project"],
        "disposed_by_project": {project: draft.going.get(int(project), 0) for project in counts["by_project"]},
        "batches": counts["batches"],
        "leaves": counts["leaves"],
        "holds": stays.holds,
        "longer": stays.longer,
        "waiting": stays.waiting,
        "proposed": {"by": found.proposed_by, "at": found.proposed_at.isoformat()},
        "approved": found.approved_by and {"by": found.approved_by, "at": found.approved_at and found.approved_at.isoformat()},
        "executed": {"by": recording.who(actor), "at": at[0].isoformat()},
        "backups": conf.get("AUDITLOG_BACKUP_EXPIRY"),
    }


def finish(conn: psycopg.Connection[Any], secrets: Secrets, told: Callable[[str], None] = lambda step: None) -> int:
    """What is left to do of executed dispositions, whoever began them. Returns of how many."""
    due = [one for one in dispositions.listed(conn) if one.state == "executed" and (one.recorded_at is None or one.forgotten_at is None)]
    for one in due:
        if one.recorded_at is None:
            _record(conn, one)
            told("recorded")
            conn.execute("UPDATE disposition SET recorded_at = now() WHERE id = %s", (one.id,))
        withdraw.withdraw(conn, Reader(conn, secrets), one.bucket)
        told("forgotten")
        conn.execute("UPDATE disposition SET forgotten_at = now() WHERE id = %s", (one.id,))
    return len(due)


def _record(conn: psycopg.Connection[Any], one: Disposition) -> None:
    """In each project that it concerns, without what it says of the others."""
    assert one.certificate is not None and one.ended_by is not None
    for project_id in dispositions.projects(conn, one.bucket):
        mine = certificates.of_project(one.certificate, project_id)
        actor = recording.actor_of(one.ended_by)
        identity = f"disposition-{one.id}-{project_id}"
        recording.record(conn, [project_id], actor, "disposition.certificate", mine, identity=identity, at=one.ended_at)


def _generation(conn: psycopg.Connection[Any], bucket: int) -> int | None:
    row = conn.execute("SELECT generation FROM bucket WHERE bucket = %s", (bucket,)).fetchone()
    return None if row is None else int(row[0])


def _of(query: str, draft: Draft) -> bytes:
    return query.format(bucket=draft.bucket, held=f"draft.held_{draft.suffix}").encode()


def _ids(draft: Draft) -> list[int]:
    return sorted({hold for ids in draft.keep.values() for hold in ids})
