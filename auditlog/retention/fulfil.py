"""Owns carrying out a decided request of erasure: a few sessions per transaction, each with what was derived of it, until all is gone;
and lifting a restriction, which is the same with nothing gone.

1. In one transaction, under the lock that holding and disposing take, too: fields of some sessions' events are erased, what was derived of
   these sessions is made again of what is left, and the items are marked. Killed before its end: nothing of it has happened.
2. When no item is left the certificate is written, and the values of the request's scope go.
3. The certificate becomes an event among the evidence, under an identity that makes a repetition the same event.
Carrying out may be repeated after a death anywhere; it goes on where it ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from auditlog import conf
from auditlog.derive import withdraw
from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.retention import consumed, erasures, holds, lock, recording
from auditlog.retention.erasure import Erased, Place, erase_fields
from auditlog.retention.erasures import Erasure
from auditlog.retention.rows import one
from auditlog.search import parameters
from auditlog.store import fields
from auditlog.store.reader import Reader, Secrets

FORMAT: Final = "auditlog-erasure/1"
AT_ONCE: Final = 500  # events that begin a portion; it then has the rest of their sessions
_NEXT: Final[LiteralString] = """
    SELECT DISTINCT trace_key
    FROM (SELECT trace_key FROM erasure_item WHERE erasure = %s AND done_at IS NULL ORDER BY trace_key LIMIT %s) AS first"""
# Whatever of the request lies in the same sessions goes with it: a session is made again once.
_BESIDE: Final[LiteralString] = """
    SELECT DISTINCT o.trace_key FROM trace t JOIN trace o USING (edition, project_id, session_key)
    WHERE t.project_id = %(project)s AND t.trace_key = ANY(%(keys)s)
      AND o.trace_key IN (SELECT trace_key FROM erasure_item WHERE erasure = %(erasure)s AND done_at IS NULL)"""
_ITEMS: Final[LiteralString] = (
    "SELECT trace_key, event_id FROM erasure_item WHERE erasure = %s AND trace_key = ANY(%s) AND done_at IS NULL ORDER BY 1, 2"
)
_DONE: Final[LiteralString] = """
    UPDATE erasure_item i SET done_at = now(), erased = new.erased
    FROM unnest(%(keys)s::uuid[], %(ids)s::uuid[], %(counts)s::int[]) AS new (trace_key, event_id, erased)
    WHERE i.erasure = %(erasure)s AND i.trace_key = new.trace_key AND i.event_id = new.event_id"""
_COUNTS: Final[LiteralString] = """
    SELECT count(*), count(*) FILTER (WHERE erased > 0), coalesce(sum(erased), 0), count(DISTINCT trace_key)
    FROM erasure_item WHERE erasure = %s"""
_CONTENT: Final[LiteralString] = "SELECT coalesce(sum(destroyed), 0), coalesce(sum(kept), 0) FROM erasure_content WHERE erasure = %s"
_HIDE: Final[LiteralString] = """
    INSERT INTO restricted (project_id, trace_key, event_id, erasure)
    SELECT %s, k, i, %s FROM unnest(%s::uuid[], %s::uuid[]) AS new (k, i) ON CONFLICT DO NOTHING"""
_HIDE_SESSIONS: Final[LiteralString] = """
    INSERT INTO restricted_session (project_id, session_key, erasure)
    SELECT DISTINCT t.project_id, t.session_key, %s::bigint FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current'
    WHERE t.project_id = %s AND t.trace_key = ANY(%s) ON CONFLICT DO NOTHING"""
_HIDDEN: Final[LiteralString] = "SELECT DISTINCT trace_key FROM restricted WHERE erasure = %s ORDER BY 1 LIMIT %s"
_SHOW: Final[LiteralString] = "DELETE FROM restricted WHERE erasure = %s AND trace_key = ANY(%s)"
_LIFT: Final[LiteralString] = "UPDATE erasure SET lifted_by = %s, lifted_at = now(), lift_reason = %s WHERE id = %s"
# Of a scope only the names remain: {"customer_id": "…"} becomes {"customer_id": null}.
_ENDED: Final[LiteralString] = """
    UPDATE erasure SET state = 'ended', certificate = %s,
      scope = CASE WHEN outcome IN ('refuse', 'restrict') OR scope ? 'events' THEN scope
              ELSE (SELECT jsonb_object_agg(k, NULL) FROM jsonb_object_keys(scope) k) END
    WHERE id = %s"""


def carry_out(
    conn: psycopg.Connection[Any], project_id: int, number: int, secrets: Secrets, *, told: Callable[[str], None] = lambda step: None
) -> dict[str, Any]:
    """The certificate. Over the owner's connection in autocommit; goes on where it was interrupted.

    Raises Problem("not_found", "state_conflict", "held", "derive_behind", "overloaded"): what had gone before is gone, whole events with
    all that was derived of them, and nothing else.
    """
    found = erasures.get(conn, project_id, number)
    if found.state == "open":
        raise Problem("state_conflict", f"Request {number} is not decided yet.")
    while found.state == "decided":
        with conn.transaction():
            lock.take(conn)
            found = erasures.get(conn, project_id, number)  # another may have ended it meanwhile
            if found.state == "decided" and not _portion(conn, found, secrets, told):
                conn.execute(_ENDED, (Jsonb(_certificate(conn, found)), number))
        told("committed")
        found = erasures.get(conn, project_id, number)
    if found.recorded_at is None:
        assert found.certificate is not None and found.decided_by is not None and found.decided_at is not None  # constraints of its table
        actor: Actor = recording.actor_of(found.decided_by)
        identity = f"erasure-{number}"
        recording.record(conn, [project_id], actor, "erasure.certificate", found.certificate, identity=identity, at=found.decided_at)
        told("recorded")
        conn.execute("UPDATE erasure SET recorded_at = now() WHERE id = %s", (number,))
    assert found.certificate is not None
    return found.certificate


def _portion(conn: psycopg.Connection[Any], found: Erasure, secrets: Secrets, told: Callable[[str], None]) -> bool:
    """Erases some of it, in the caller's transaction. Returns whether there was anything left."""
    keys: set[uuid.UUID] = {row[0] for row in conn.execute(_NEXT, (found.id, AT_ONCE)).fetchall()}
    if not keys:
        return False
    beside = {"project": found.project_id, "keys": list(keys), "erasure": found.id}
    keys |= {row[0] for row in conn.execute(_BESIDE, beside).fetchall()}
    places: list[Place] = [(key, event_id) for key, event_id in conn.execute(_ITEMS, (found.id, list(keys))).fetchall()]
    # Holds or not: the pass must not write what it read before.
    _require_consumed(conn, found.project_id, keys)
    erased = _hide(conn, found, places) if found.outcome == "restrict" else _erase(conn, found, places, secrets)
    counts = [len(erased.of_event.get(place, ())) for place in places]
    conn.execute(  # before what is derived is made again: it names the request
        _DONE, {"keys": [key for key, _ in places], "ids": [event_id for _, event_id in places], "counts": counts, "erasure": found.id}
    )
    told("erased")
    _make_again(conn, found.project_id, keys, secrets)
    conn.execute("INSERT INTO erasure_content (erasure, destroyed, kept) VALUES (%s, %s, %s)", (found.id, erased.destroyed, erased.kept))
    told("forgotten")
    return True


def _erase(conn: psycopg.Connection[Any], found: Erasure, places: list[Place], secrets: Secrets) -> Erased:
    wanted = found.fields if found.fields is not None else list(fields.NAMES)
    return erase_fields(conn, found.project_id, secrets(found.project_id), dict.fromkeys(places, wanted))


def _hide(conn: psycopg.Connection[Any], found: Erasure, places: list[Place]) -> Erased:
    conn.execute(_HIDE_SESSIONS, (found.id, found.project_id, [key for key, _ in places]))  # before they are bound without what named them
    conn.execute(_HIDE, (found.project_id, found.id, [key for key, _ in places], [event_id for _, event_id in places]))
    return Erased(len(places), 0, 0, {})


def lift(conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int, reason: str, secrets: Secrets) -> Erasure:
    """Ends a restriction: what it alone hides is shown and found again. Over the owner's connection in autocommit; repeated after a death
    it goes on. Raises Problem("not_found", "state_conflict", "parameter_invalid", "derive_behind", "overloaded")."""
    if not reason.strip() or "\0" in reason:
        raise parameters.invalid("reason", "is empty; say why the restriction is lifted.")
    with conn.transaction():
        lock.take(conn)
        found = erasures.get(conn, project_id, number)
        if found.outcome != "restrict" or found.state != "ended":
            raise Problem("state_conflict", f"Request {number} does not restrict anything. Only what was restricted can be lifted.")
        if found.lifted_at is None:
            conn.execute(_LIFT, (Jsonb(recording.who(actor)), reason, number))
            recording.record(conn, [project_id], actor, "erasure.lift", {"erasure": number, "reason": reason})
        elif not conn.execute(_HIDDEN, (number, 1)).fetchone():
            raise Problem("state_conflict", f"The restriction of request {number} was lifted before.")
    while keys := {row[0] for row in conn.execute(_HIDDEN, (number, AT_ONCE)).fetchall()}:
        with conn.transaction():
            lock.take(conn)
            _require_consumed(conn, project_id, keys)
            conn.execute(_SHOW, (number, list(keys)))
            if not conn.execute(_HIDDEN, (number, 1)).fetchone():
                conn.execute("DELETE FROM restricted_session WHERE erasure = %s", (number,))
            _make_again(conn, project_id, keys, secrets)
        # Killed anywhere before: what is still hidden has its row, and the next lift finds it.
    return erasures.get(conn, project_id, number)


def _require_consumed(conn: psycopg.Connection[Any], project_id: int, keys: set[uuid.UUID]) -> None:
    batches = conn.execute("SELECT DISTINCT batch_no FROM event WHERE trace_key = ANY(%s) AND project_id = %s", (list(keys), project_id))
    consumed.require_batches(conn, project_id, [number for (number,) in batches.fetchall()])


def _make_again(conn: psycopg.Connection[Any], project_id: int, keys: set[uuid.UUID], secrets: Secrets) -> None:
    try:
        withdraw.make_again(conn, Reader(conn, secrets), project_id, sorted(keys))
    except withdraw.Busy:
        raise Problem(
            "derive_behind", "The background pass has not finished with these sessions; nothing more was changed. Try again in a minute."
        ) from None
    except psycopg.errors.DeadlockDetected:
        raise Problem("overloaded", "The background pass was at the same sessions; nothing more was changed. Try again.") from None


def _certificate(conn: psycopg.Connection[Any], found: Erasure) -> dict[str, Any]:
    events, changed, gone, traces = one(conn, _COUNTS, (found.id,)) or (0, 0, 0, 0)
    destroyed, kept = one(conn, _CONTENT, (found.id,)) or (0, 0)
    (now,) = one(conn, "SELECT now()") or (None,)
    return {
        "format": FORMAT,
        "erasure": found.id,
        "project": found.project_id,
        "outcome": found.outcome,
        "outcome_reason": found.outcome_reason,
        "fields": fields.names(found.fields or ([] if found.outcome == "refuse" else fields.NAMES)),
        "until": found.until and found.until.isoformat(),
        "scope": sorted(found.scope),
        "reason": found.reason,
        "basis": found.basis,
        "received_at": found.received_at.isoformat(),
        "due_at": found.due_at.isoformat(),
        "counts": {
            "events": int(events), "events_changed": int(changed), "fields_erased": int(gone), "traces": int(traces),
            "contents_destroyed": int(destroyed), "contents_kept": int(kept),
        },
        "holds": [{"hold": hold.id, "name": hold.name} for hold in holds.standing(conn, found.project_id)],
        "entered": {"by": found.entered_by, "at": found.entered_at.isoformat()},
        "decided": {"by": found.decided_by, "at": found.decided_at and found.decided_at.isoformat()},
        "ended_at": now and now.isoformat(),
        "exports": "Exports released before still hold what was erased. Each is an event `export` or `export.release`, with its recipient.",
        "backups": conf.get("AUDITLOG_BACKUP_EXPIRY"),
    }  # fmt: skip
