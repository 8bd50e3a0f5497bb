"""Owns legal holds: placed with a reason, released with one, and in between stronger than retention and erasure.

A hold is a search. It is asked anew whenever something is about to go, so that what came after it was placed is held, too; of each session
that matches, everything of its traces is held, wherever it lies. What cannot be searched is held rather than lost: sessions whose timeline
could not be made or was cut, texts without an index of words, items that could not be read.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple, Protocol

import psycopg
from django.db import transaction
from django.db.models import Q, QuerySet
from psycopg.types.json import Jsonb

from auditlog.derive.models import Quarantined, Session, Trace
from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.retention import hidden, lock, recording
from auditlog.retention.rows import one, rows
from auditlog.search import parameters, sessions
from auditlog.search.scope import Scope

_COLUMNS: Final[LiteralString] = (
    "h.id, h.project_id, h.name, h.reason, h.scope, h.placed_by, h.placed_at, h.released_by, h.released_at, h.release_reason, p.text_index"
)
_FROM: Final[LiteralString] = "FROM hold h LEFT JOIN project p ON p.id = h.project_id"
_CERTAIN: Final = {
    "session_id",
    "trace_id",
    "subject",
    "from",
    "to",
}  # known of every event as soon as it is consumed, whatever its timeline
COUNTED: Final = 10_000  # matches that are counted for whoever places a hold

Held = dict[tuple[int, uuid.UUID], frozenset[int]]
"""(project, trace key) to the holds that hold it."""


class Asked(Protocol):
    """A search that is kept and asked anew: of a hold, or of what is kept as a longer class says (reclassify.py)."""

    @property
    def id(self) -> int: ...
    @property
    def project_id(self) -> int: ...
    @property
    def scope(self) -> dict[str, str]: ...
    @property
    def text_index(self) -> bool | None: ...


class Hold(NamedTuple):
    """`scope`: filters of `GET /api/v1/sessions`. Who: {"kind", "id", "name"}."""

    id: int
    project_id: int
    name: str
    reason: str
    scope: dict[str, str]
    placed_by: dict[str, str]
    placed_at: datetime
    released_by: dict[str, str] | None
    released_at: datetime | None
    release_reason: str | None
    text_index: bool | None


def place(
    conn: psycopg.Connection[Any], actor: Actor, project_id: int, name: str, reason: str, scope: Mapping[str, Any], *,
    content: bool = True,
) -> Hold:  # fmt: skip
    """From its return on nothing that matches can go. Raises Problem("scope_empty", "parameter_invalid", "overloaded"), "scope_missing" for
    a filter of content where `content` says that the caller may not read it: how many sessions match would answer guesses."""
    wanted = filters(project_id, scope, content)
    for what, text in (("name", name), ("reason", reason)):
        if not text.strip() or "\0" in text:
            raise parameters.invalid(what, "is empty; a hold has a name and a reason that others will read.")
    with conn.transaction():
        lock.take(conn)
        row = conn.execute(
            "INSERT INTO hold (project_id, name, reason, scope, placed_by) VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (project_id, name, reason, Jsonb(wanted), Jsonb(recording.who(actor))),
        ).fetchone()
        assert row is not None
        recording.record(conn, [project_id], actor, "hold.place", {"hold": row[0], "name": name, "reason": reason, "scope": wanted})
    return get(conn, project_id, row[0])


def release(conn: psycopg.Connection[Any], actor: Actor, project_id: int, hold_id: int, reason: str) -> Hold:
    """Ends a hold; what another one holds stays held. Raises Problem("not_found", "parameter_invalid", "state_conflict", "overloaded")."""
    if not reason.strip() or "\0" in reason:
        raise parameters.invalid("reason", "is empty; say why the hold is released.")
    with conn.transaction():
        lock.take(conn)
        if get(conn, project_id, hold_id).released_at is not None:
            raise Problem("state_conflict", f"Hold {hold_id} was released before.")
        conn.execute(
            "UPDATE hold SET released_by = %s, released_at = now(), release_reason = %s WHERE id = %s",
            (Jsonb(recording.who(actor)), reason, hold_id),
        )
        recording.record(conn, [project_id], actor, "hold.release", {"hold": hold_id, "reason": reason})
    return get(conn, project_id, hold_id)


def get(conn: psycopg.Connection[Any], project_id: int, hold_id: int) -> Hold:
    """Raises Problem("not_found")."""
    row = one(conn, f"SELECT {_COLUMNS} {_FROM} WHERE h.project_id = %s AND h.id = %s", (project_id, hold_id))
    if row is None:
        raise Problem("not_found", "There is no such hold in this project.")
    return Hold(*row)


def listed(conn: psycopg.Connection[Any], project_id: int, below: int | None = None, limit: int | None = None) -> list[Hold]:
    """Holds of a project, newest first, released ones included."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE h.project_id = %s AND (%s::bigint IS NULL OR h.id < %s) ORDER BY h.id DESC LIMIT %s"
    return [Hold(*row) for row in rows(conn, query, (project_id, below, below, limit))]


def standing(conn: psycopg.Connection[Any], project_id: int | None = None) -> list[Hold]:
    """Holds that were not released."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE h.released_at IS NULL AND (%s::int IS NULL OR h.project_id = %s) ORDER BY h.id"
    return [Hold(*row) for row in rows(conn, query, (project_id, project_id))]


def matching(asked: Asked) -> QuerySet[Any]:
    """Keys of the sessions that a hold holds at this moment."""
    scope = Scope(asked.project_id)
    given = dict(asked.scope)
    if "q" in given and not asked.text_index:
        del given["q"]  # no words are indexed: whatever the other filters say is held
    try:
        said = sessions.matching(scope, given)
    except Problem:  # `q` was an identifier, too long for words, and nothing has it any more
        del given["q"]
        said = sessions.matching(scope, given)
    found = Q(key__in=said.values("key"))
    if not given.keys() <= _CERTAIN:
        certain = {name: value for name, value in given.items() if name in _CERTAIN}
        unsure = ~Q(error="") | ~Q(cut="") | Q(verdict=None)
        found |= unsure & Q(key__in=sessions.matching(scope, certain).values("key"))
    keys: QuerySet[Any] = scope.of(Session).filter(found).values("key")
    return keys


def count(asked: Asked) -> int:
    """Sessions that it holds now, counted up to COUNTED."""
    with transaction.atomic():  # what the search tells the planner ends with it
        return int(matching(asked)[:COUNTED].count())


def held(conn: psycopg.Connection[Any], bucket: int) -> Held:
    """What of a bucket is held at this moment, by which holds. The search asks over Django's connection."""
    return meant(conn, bucket, standing(conn))


def meant(conn: psycopg.Connection[Any], bucket: int, searches: Iterable[Asked]) -> Held:
    """What of a bucket any of these searches is about, or may be."""
    found: dict[tuple[int, uuid.UUID], set[int]] = defaultdict(set)
    unsure = hidden.beside(conn, bucket)
    for asked in searches:
        scope = Scope(asked.project_id)
        with transaction.atomic():
            traces = scope.of(Trace).filter(buckets__contains=[bucket], session_key__in=matching(asked))
            keys = set(traces.values_list("trace_key", flat=True))
        # Of what could not be read, or lies beside what is hidden, nobody can say that it does not concern the case.
        keys |= set(scope.of(Quarantined).filter(bucket=bucket).values_list("trace_key", flat=True))
        keys |= {key for project, key in unsure if project == asked.project_id}
        for key in keys:
            found[asked.project_id, key].add(asked.id)
    return {place: frozenset(ids) for place, ids in found.items()}


def filters(project_id: int, given: Mapping[str, Any], content: bool = True) -> dict[str, str]:
    """A scope as it is kept: filters that exist, with values that can be read. Raises Problem as `place` does."""
    if not given:
        raise Problem(
            "scope_empty", "A scope says what it is about: give at least one filter of `GET /api/v1/sessions`, for instance customer_id."
        )
    parameters.only(given, sessions.PARAMETERS)
    for name, value in given.items():
        if not isinstance(value, str) or not value:
            raise parameters.invalid(name, "has no value; every filter of a scope is a text that is not empty.")
        if "\0" in value:
            raise parameters.invalid(name, "contains a NUL, which a scope cannot keep; name the session by its trace_id.")
    if "q" in given and not content:
        raise Problem("scope_missing", "The filter `q` asks for words, which your role may not read.", detail={"parameter": "q"})
    with transaction.atomic():
        sessions.matching(Scope(project_id), dict(given), content=content)  # raises for a value that cannot be read
    return dict(given)
