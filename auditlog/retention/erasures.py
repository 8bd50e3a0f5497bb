"""Owns requests of erasure until they are carried out: whom they concern, what would go, and who decided what."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from django.db import transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from auditlog.derive.models import Quarantined, Trace
from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.item import GOVERNANCE  # what the service recorded itself: it says who looked at what, and stays
from auditlog.retention import consumed, holds, lock, recording
from auditlog.retention.erasure import Place, refuse_held
from auditlog.retention.rows import one, rows
from auditlog.search import parameters, sessions
from auditlog.search.scope import Scope
from auditlog.store import fields, unpack
from auditlog.store.reader import split_id

DUE_DAYS: Final = 30  # to decide in, where nobody says: GDPR, Art. 12(3), gives a month
OUTCOMES: Final = ("erase", "redact", "restrict", "refuse")
# Filters that name whom it concerns, known of every event as soon as it is consumed, whatever its timeline.
CONCERNS: Final = ("session_id", "trace_id", "subject", "user_id", "customer_id")
_ROW: Final[LiteralString] = (
    "id, project_id, scope, reason, basis, asked_by, received_at, due_at, entered_by, entered_at, state, outcome, fields, outcome_reason, "
    "decided_by, decided_at, certificate, recorded_at, until, lifted_by, lifted_at, lift_reason"
)


class Erasure(NamedTuple):
    """One row. Who: {"kind", "id", "name"}; `scope`: {"events": [IDs]} or filters of sessions, and once these were erased only their names.

    until: when a restriction is to be looked at again; it does not end by itself (GDPR, Art. 18(3): whom it concerns is told before).
    """

    id: int
    project_id: int
    scope: dict[str, Any]
    reason: str
    basis: str
    asked_by: str
    received_at: datetime
    due_at: datetime
    entered_by: dict[str, str]
    entered_at: datetime
    state: str
    outcome: str | None
    fields: list[int] | None
    outcome_reason: str | None
    decided_by: dict[str, str] | None
    decided_at: datetime | None
    certificate: dict[str, Any] | None
    recorded_at: datetime | None
    until: datetime | None = None
    lifted_by: dict[str, str] | None = None
    lifted_at: datetime | None = None
    lift_reason: str | None = None


class Decision(NamedTuple):
    """outcome: erase (every field), redact (these `fields`), restrict (nothing of them is shown, `until` it is looked at again), refuse."""

    outcome: str
    reason: str
    fields: Sequence[int] = ()
    until: datetime | None = None


class Asked(NamedTuple):
    """What a request says. `asked_by`: the person concerned, or who acts for them."""

    scope: Mapping[str, Any]
    reason: str
    basis: str
    asked_by: str
    received_at: datetime
    due_at: datetime


def request(conn: psycopg.Connection[Any], actor: Actor, project_id: int, asked: Asked) -> Erasure:
    """Enters a request; nothing is erased. Raises Problem("scope_empty", "parameter_invalid", "not_found")."""
    scope = _scope(project_id, asked.scope)
    for what in ("reason", "basis", "asked_by"):
        text = getattr(asked, what)
        if not text.strip() or "\0" in text:
            raise parameters.invalid(what, "is empty; a request of erasure has a reason, a legal basis and somebody who asked.")
    if asked.due_at < asked.received_at:
        raise parameters.invalid("due_at", "is before the request was received.")
    with conn.transaction():
        row = one(
            conn,
            "INSERT INTO erasure (project_id, scope, reason, basis, asked_by, received_at, due_at, entered_by) "
            f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_ROW}",
            (project_id, Jsonb(scope), asked.reason, asked.basis, asked.asked_by, asked.received_at, asked.due_at,
             Jsonb(recording.who(actor))),
        )  # fmt: skip
        made = _made(row)
        about = {"erasure": made.id, "scope": sorted(scope), "due_at": asked.due_at.isoformat()}  # names of filters: values may have to go
        recording.record(conn, [project_id], actor, "erasure.request", about)
    return made


def get(conn: psycopg.Connection[Any], project_id: int, number: int) -> Erasure:
    """Raises Problem("not_found")."""
    row = one(conn, f"SELECT {_ROW} FROM erasure WHERE project_id = %s AND id = %s", (project_id, number))
    if row is None:
        raise Problem("not_found", f"There is no request of erasure {number} in this project.")
    return Erasure(*row)


def listed(conn: psycopg.Connection[Any], project_id: int, below: int | None = None, limit: int | None = None) -> list[Erasure]:
    """Newest first."""
    query = f"SELECT {_ROW} FROM erasure WHERE project_id = %s AND (%s::bigint IS NULL OR id < %s) ORDER BY id DESC LIMIT %s"
    return [Erasure(*row) for row in rows(conn, query, (project_id, below, below, limit))]


class Waiting(NamedTuple):
    """Requests that somebody has to do something about: to be decided, of these late, and to be carried out."""

    open: int
    late: int
    decided: int


def waiting(conn: psycopg.Connection[Any], project_id: int) -> Waiting:
    query: LiteralString = (
        "SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'open' AND due_at < now()), "
        "count(*) FILTER (WHERE outcome IS NOT NULL AND recorded_at IS NULL) FROM erasure WHERE project_id = %s"
    )
    return Waiting(*(one(conn, query, (project_id,)) or (0, 0, 0)))


def standing(found: Erasure) -> str:
    """How a request stands, in a word."""
    if found.outcome is None:
        return "open"
    if found.recorded_at is None:
        return "to be carried out"
    if found.lifted_at is not None:
        return "lifted"
    return {"erase": "erased", "redact": "redacted", "restrict": "restricted", "refuse": "refused"}[found.outcome]


def preview(conn: psycopg.Connection[Any], found: Erasure) -> dict[str, Any]:
    """The dry run: which events and fields would go, now, and which holds stand in the way. Changes nothing. JSON.

    "unreadable": items of the project that could not be read, of which nobody can say whom they concern: name them by their IDs.
    Raises Problem("derive_behind", "state_conflict").
    """
    if found.state != "open":
        raise Problem("state_conflict", f"Request {found.id} is {found.state}; only an open one is previewed.")
    of_bucket = matching(conn, found)
    counts: dict[str, int] = {}
    for bucket, places in of_bucket.items():
        query = "SELECT trace_key, event_id, skeleton, vals FROM event WHERE bucket = %s AND trace_key = ANY(%s) AND project_id = %s"
        wanted = set(places)
        with conn.transaction(), conn.cursor(name="preview") as cursor:
            cursor.execute(query, (bucket, list({key for key, _ in places}), found.project_id))
            for key, event_id, skeleton, vals in cursor:
                if (key, event_id) in wanted:
                    for field in unpack.parse(bytes(skeleton), bytes(vals)).values:
                        counts[fields.NAMES[field]] = counts.get(fields.NAMES[field], 0) + 1
    traces = {key for places in of_bucket.values() for key, _ in places}
    held: dict[int, set[uuid.UUID]] = {}
    for bucket in of_bucket:
        for (project, key), ids in holds.held(conn, bucket).items():
            if project == found.project_id and key in traces:
                for number in ids:
                    held.setdefault(number, set()).add(key)
    standing = {hold.id: hold.name for hold in holds.standing(conn, found.project_id)}
    return {
        "erasure": found.id,
        "events": len({place for places in of_bucket.values() for place in places}),
        "traces": len(traces),
        "fields": dict(sorted(counts.items())),
        "holds": [{"hold": number, "name": standing.get(number, ""), "traces": len(keys)} for number, keys in sorted(held.items())],
        "unreadable": Scope(found.project_id).of(Quarantined).count(),
    }


def decide(conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int, made: Decision) -> Erasure:
    """Decides a request, once; what goes is written down, and goes when it is carried out, which only the owner can.

    Raises Problem("not_found", "state_conflict", "parameter_invalid", "held", "derive_behind", "overloaded"): then nothing is decided.
    """
    wanted = _checked(made)
    with conn.transaction():
        lock.take(conn)
        found = get(conn, project_id, number)
        if found.state != "open":
            raise Problem("state_conflict", f"Request {number} is {found.state}; it was decided before.")
        if made.outcome != "refuse":
            _plan(conn, found, made.outcome)
        row = one(
            conn,
            "UPDATE erasure SET state = 'decided', outcome = %s, fields = %s, until = %s, outcome_reason = %s, decided_by = %s, "
            f"decided_at = now() WHERE id = %s RETURNING {_ROW}",
            (made.outcome, wanted or None, made.until, made.reason, Jsonb(recording.who(actor)), number),
        )
        about: dict[str, Any] = {"erasure": number, "outcome": made.outcome, "fields": fields.names(wanted)}
        if made.until is not None:
            about["until"] = made.until.isoformat()
        recording.record(conn, [project_id], actor, "erasure.decide", about)
    return _made(row)


def _checked(made: Decision) -> list[int]:
    """The fields. Raises Problem("parameter_invalid")."""
    wanted = sorted(set(made.fields))
    if made.outcome not in OUTCOMES:
        raise parameters.invalid("outcome", f"is none of {', '.join(OUTCOMES)}.", made.outcome)
    if (made.outcome == "redact") != bool(wanted) or not set(wanted) <= fields.NAMES.keys():
        raise parameters.invalid("fields", "are given with the outcome redact, and only then; each is one of the fields of an event.")
    if (made.outcome == "restrict") != (made.until is not None):
        raise parameters.invalid("until", "is given with the outcome restrict, and only then: when somebody is to look at it again.")
    if made.until is not None and made.until <= timezone.now():
        raise parameters.invalid("until", "is over already.")
    if not made.reason.strip() or "\0" in made.reason:
        raise parameters.invalid("reason", "is empty; say why it is decided so.")
    return wanted


def matching(conn: psycopg.Connection[Any], found: Erasure) -> dict[int, list[Place]]:
    """The events that a request concerns at this moment, by bucket. Raises Problem("derive_behind") where nobody can say."""
    if "events" in found.scope:
        wanted = {place for public in found.scope["events"] if (place := split_id(public)) is not None}
        keys = {key for key, _ in wanted}
    else:
        consumed.require_batches(conn, found.project_id, until=found.entered_at)
        wanted = set()
        scope = Scope(found.project_id)
        with transaction.atomic():
            asked = sessions.matching(scope, dict(found.scope)).values("key")
            keys = set(scope.of(Trace).filter(session_key__in=asked).values_list("trace_key", flat=True))
    of_bucket: dict[int, list[Place]] = {}
    query = "SELECT bucket, trace_key, event_id FROM event WHERE trace_key = ANY(%s) AND project_id = %s AND item <> %s"
    for bucket, key, event_id in conn.execute(query, (list(keys), found.project_id, GOVERNANCE)).fetchall():
        if not wanted or (key, event_id) in wanted:
            of_bucket.setdefault(bucket, []).append((key, event_id))
    return of_bucket


def _plan(conn: psycopg.Connection[Any], found: Erasure, outcome: str) -> None:
    of_bucket = matching(conn, found)
    places = {place for each in of_bucket.values() for place in each}
    if not places:
        raise Problem("not_found", f"Request {found.id} concerns nothing that is stored; refuse it and say so.")
    if outcome != "restrict":  # which destroys nothing
        refuse_held(conn, found.project_id, places, sorted(of_bucket))
    with conn.cursor().copy("COPY erasure_item (erasure, trace_key, event_id) FROM STDIN") as copy:
        for place in sorted(places):
            copy.write_row((found.id, *place))


def _scope(project_id: int, given: Mapping[str, Any]) -> dict[str, Any]:
    if not given:
        raise Problem("scope_empty", f"Say whom it concerns: events, or at least one of {', '.join(CONCERNS)}.")
    if "events" in given:
        events = given["events"]
        if len(given) > 1 or not isinstance(events, list) or not events:
            raise parameters.invalid("events", "is a list of IDs of events, and stands alone.")
        for public in events:
            if not isinstance(public, str) or split_id(public) is None:
                raise parameters.invalid("events", "has something that is no ID of an event.", str(public))
        return {"events": sorted(set(events))}
    parameters.only(given, CONCERNS)
    for name, value in given.items():
        if not isinstance(value, str) or not value or "\0" in value:
            raise parameters.invalid(name, "is a text that is not empty and has no NUL.")
    with transaction.atomic():
        sessions.matching(Scope(project_id), dict(given))  # raises for a value that cannot be read
    return dict(given)


def _made(row: tuple[Any, ...] | None) -> Erasure:
    assert row is not None  # of a row that was inserted, or read under the lock
    return Erasure(*row)
