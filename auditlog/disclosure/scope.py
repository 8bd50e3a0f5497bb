"""Owns what an export is asked to be of, in words that people use, and the sessions and traces that this means when it begins.

A search, a hold or a class is asked once, by the worker that begins the export, and what it found is written down: whatever interrupts the
export, it goes on with the same evidence. What comes later needs another export.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from django.db import connection, transaction
from django.db.models import QuerySet

from auditlog.derive.models import Session, Trace
from auditlog.errors import Problem
from auditlog.retention import holds
from auditlog.search import evidence, parameters, sessions
from auditlog.search.scope import Scope

_TIMEOUT: Final = 300_000  # milliseconds that finding what is meant may take
_AT_ONCE: Final = 5_000  # traces whose events are counted by one statement
_RANGE: Final = (
    "(%(since)s::timestamptz IS NULL OR b.received_at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR b.received_at < %(until)s)"
)
_SEALED: Final = (
    "SELECT EXISTS (SELECT FROM part p JOIN batch b USING (batch_no) JOIN bucket k ON k.bucket = p.bucket JOIN leaf l "
    "ON l.batch_no = p.batch_no AND l.bucket = p.bucket "
    f"WHERE b.project_id = %(project)s AND p.count > 0 AND k.state <> 'disposed' AND {_RANGE})"
)
_STORED: Final = (
    "SELECT coalesce(sum(p.count), 0) FROM part p JOIN batch b USING (batch_no) JOIN bucket k ON k.bucket = p.bucket "
    f"WHERE b.project_id = %(project)s AND k.state <> 'disposed' AND {_RANGE}"
)


class Asked(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"class_no": "class", "since": "from", "until": "to"},
):
    """One of everything, sessions, search, hold and class, or only a range; from and to (of receipt) narrow each of them.

    sessions: keys. search: filters of `GET /api/v1/sessions`. hold: its ID. class: a retention class. from, to: a day or a time.
    """

    everything: bool = False
    sessions: list[str] = []
    search: dict[str, str] = {}
    hold: str | None = None
    class_no: int | None = None
    since: str | None = None
    until: str | None = None


class Chosen(msgspec.Struct, frozen=True):
    """What was meant. traces: None for everything of the range."""

    sessions: list[str] = []
    traces: list[uuid.UUID] | None = None


class Range(NamedTuple):
    """Times of receipt; until: not included."""

    since: datetime | None
    until: datetime | None


def check(project_id: int, asked: Asked) -> None:
    """Raises Problem("scope_empty", "parameter_invalid", "not_found", "export_empty", "query_timeout") for what cannot be exported."""
    named = [bool(asked.everything), bool(asked.sessions), bool(asked.search), asked.hold is not None, asked.class_no is not None]
    if not any(named) and asked.since is None and asked.until is None:
        raise Problem(
            "scope_empty",
            "An export says what it is of: `everything`, `sessions`, `search`, `hold`, `class`, or a range by `from` and `to`.",
        )
    if sum(named) > 1:
        raise parameters.invalid("scope", "names more than one of everything, sessions, search, hold and class. Name one.")
    times = between(asked)
    if times.since is not None and times.until is not None and times.since >= times.until:
        raise parameters.invalid("from", "is not before `to`.", asked.since)
    if asked.sessions or asked.search or asked.hold is not None or asked.class_no is not None:
        _narrow(project_id, asked)
    elif not _one(evidence.raw_connection(), _SEALED, {"project": project_id, **times._asdict()}):
        raise _empty("No sealed event was received then" if asked.since or asked.until else "No event of the project is sealed")


def _narrow(project_id: int, asked: Asked) -> None:
    """Raises Problem where no session fulfils it at this moment."""
    parameters.only(asked.search, sessions.PARAMETERS)
    for name, value in asked.search.items():
        if not value or "\0" in value:
            raise parameters.invalid(name, "is empty or contains a NUL, which an export cannot keep.")
    with transaction.atomic():
        if not traces_of(project_id, asked).exists():
            raise _empty("No session fulfils it at this moment")


def _empty(why: str) -> Problem:
    return Problem("export_empty", f"{why}, so the export would hold nothing, and nothing was begun. Change the scope.")


def between(asked: Asked) -> Range:
    """Raises Problem("parameter_invalid")."""
    since = parameters.moment("from", asked.since) if asked.since else None
    return Range(since, parameters.moment("to", asked.until, end=True) if asked.until else None)


def traces_of(project_id: int, asked: Asked) -> QuerySet[Any]:
    """The traces that a narrow scope means. Raises Problem("not_found", "parameter_invalid")."""
    scope = Scope(project_id)
    traces: QuerySet[Any] = scope.of(Trace)
    if asked.class_no is not None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT bucket FROM bucket WHERE class_no = %s AND state <> 'disposed'", [asked.class_no])
            return traces.filter(buckets__overlap=[row[0] for row in cursor.fetchall()])
    if asked.sessions:
        return traces.filter(session_key__in=sorted({evidence.session(scope, key).key for key in asked.sessions}))
    return traces.filter(session_key__in=_found(scope, asked))


def _found(scope: Scope, asked: Asked) -> QuerySet[Any]:
    if asked.hold is None:
        found: QuerySet[Any] = sessions.matching(scope, dict(asked.search)).values("key")
        return found
    number = int(asked.hold) if asked.hold.isascii() and asked.hold.isdigit() and len(asked.hold) < 19 else 0
    hold = holds.get(evidence.raw_connection(), scope.project_id, number)
    if hold.released_at is not None:
        raise Problem(
            "state_conflict", f"The hold “{hold.name}” was released, so nothing is held by it. Export by its filters, as a search."
        )
    return scope.of(Session).filter(key__in=holds.matching(hold)).values("key")


def choose(project_id: int, asked: Asked) -> Chosen:
    """Asks once. Raises Problem as `check` does; a statement that takes too long raises Django's OperationalError."""
    if not (asked.sessions or asked.search or asked.hold is not None or asked.class_no is not None):
        return Chosen()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(_TIMEOUT)])
        pairs = list(traces_of(project_id, asked).values_list("session_key", "trace_key"))
    return Chosen(sorted({key for key, _ in pairs}), sorted({trace for _, trace in pairs}))


def expected(conn: psycopg.Connection[Any], project_id: int, asked: Asked, chosen: Chosen) -> int:
    """About how many events it will have: what is stored of it now."""
    if chosen.traces is None:
        return int(_one(conn, _STORED, {"project": project_id, **between(asked)._asdict()}))
    count = "SELECT count(*) FROM event WHERE trace_key = ANY(%(traces)s) AND project_id = %(project)s"
    parts = (chosen.traces[start : start + _AT_ONCE] for start in range(0, len(chosen.traces), _AT_ONCE))
    return sum(int(_one(conn, count, {"project": project_id, "traces": part})) for part in parts)


def _one(conn: psycopg.Connection[Any], query: str, values: Mapping[str, Any]) -> Any:
    row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return row[0]
