"""Owns what the derived tables say about one session: its traces and everything that was declared in them.

Plain SQL on any connection, so that the pass and the pages read the same thing.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple, Protocol

import msgspec

from auditlog.derive.keys import key_bytes, to_text

_SESSION: Final[LiteralString] = """
    SELECT key, session_id, started_at, ended_at, parts, stale_since IS NULL, summarised_at,
      ARRAY(SELECT d.id || ' of ' || to_char(d.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
            FROM session_loss l JOIN disposition d ON d.id = l.disposition
            WHERE l.session_key = session.key AND l.project_id = session.project_id ORDER BY d.id)
    FROM session WHERE edition = %s AND project_id = %s AND key = ANY(%s)"""
_TRACES: Final[LiteralString] = """
    SELECT session_key, trace_key, trace_id, received_first, received_last FROM trace
    WHERE edition = %s AND project_id = %s AND session_key = ANY(%s)
    ORDER BY coalesce(first_at, received_first), trace_key"""
_DECLARED: Final[LiteralString] = """
    SELECT t.session_key, d.kind, d.value, min(d.rank) FROM declared d
    JOIN trace t ON t.edition = d.edition AND t.project_id = d.project_id AND t.trace_key = d.trace_key
    WHERE t.edition = %s AND t.project_id = %s AND t.session_key = ANY(%s)
    GROUP BY t.session_key, d.kind, d.value ORDER BY min(d.rank), d.value"""
# Where a key leads that is no session's any more: a trace that joined a session later, or a session ID that lost to a better one.
_MOVED: Final[LiteralString] = """
    SELECT session_key FROM trace WHERE edition = %(edition)s AND project_id = %(project_id)s AND own_key = %(key)s
    UNION ALL
    SELECT t.session_key FROM declared d
    JOIN trace t ON t.edition = d.edition AND t.project_id = d.project_id AND t.trace_key = d.trace_key
    WHERE d.edition = %(edition)s AND d.project_id = %(project_id)s AND d.kind = 'session' AND d.digest = %(digest)s
    ORDER BY 1 LIMIT 1"""
CURRENT: Final[LiteralString] = "SELECT number FROM edition WHERE state = 'current'"


class Cursor(Protocol):
    """A cursor of psycopg or of Django."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...
    def fetchall(self) -> Any: ...
    def fetchone(self) -> Any: ...


class _Trace(NamedTuple):
    trace_key: uuid.UUID
    trace_id: bytes | None
    received_first: datetime
    received_last: datetime


class SessionFacts(msgspec.Struct):
    """One session as declared: what the timeline needs besides the events, and what the API shows."""

    key: str
    project_id: int
    session_id: str
    trace_keys: list[uuid.UUID]
    trace_ids: list[str]
    user_ids: list[str]
    customer_ids: list[str]
    subjects: list[tuple[str, str]]  # (kind, value), user and customer included
    agents: list[tuple[str, str | None]]  # (name, version), best declared first
    started_at: datetime | None = None
    ended_at: datetime | None = None
    parts: int = 0  # of its timeline that are kept (derive.paging)
    summarised_at: datetime | None = None
    current: bool = False  # no event came since
    received_first: datetime | None = None
    received_last: datetime | None = None
    lost: list[str] = msgspec.field(default_factory=list)  # certificates of what was disposed of, each as "7 of 2026-03-01"

    @property
    def agent(self) -> dict[str, str | None]:
        name, version = self.agents[0] if self.agents else (None, None)
        return {"name": name, "version": version}


def current_edition(cursor: Cursor) -> int:
    """The edition that readers see."""
    cursor.execute(CURRENT)
    row = cursor.fetchone()
    if row is None:
        raise LookupError("no edition is current")
    return int(row[0])


def session_facts(cursor: Cursor, edition: int, project_id: int, key: str) -> SessionFacts | None:
    """What is declared about a session. None: there is none of this key in this project."""
    return facts_of_sessions(cursor, edition, project_id, [key]).get(key)


def facts_of_sessions(cursor: Cursor, edition: int, project_id: int, keys: Sequence[str]) -> dict[str, SessionFacts]:
    """The same of several sessions of one project, by key, those that there are."""
    cursor.execute(_SESSION, (edition, project_id, list(keys)))
    sessions = cursor.fetchall()
    if not sessions:
        return {}
    traces: dict[str, list[_Trace]] = defaultdict(list)
    cursor.execute(_TRACES, (edition, project_id, list(keys)))
    for key, *trace in cursor.fetchall():
        traces[key].append(_Trace(*trace))
    declared: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    cursor.execute(_DECLARED, (edition, project_id, list(keys)))
    for key, kind, value, rank in cursor.fetchall():
        declared[key].append((kind, to_text(value), rank))
    return {row[0]: _facts(project_id, row, traces[row[0]], declared[row[0]]) for row in sessions}


def _facts(project_id: int, row: Sequence[Any], traces: list[_Trace], declared: list[tuple[str, str, int]]) -> SessionFacts:
    key, session_id, started_at, ended_at, parts, current, summarised_at, lost = row
    subjects = [(kind, value) for kind, value, _ in declared if kind not in ("session", "agent", "agent_version")]
    return SessionFacts(
        key=key,
        project_id=project_id,
        session_id=to_text(session_id),
        trace_keys=[trace.trace_key for trace in traces],
        trace_ids=[bytes(trace.trace_id).hex() for trace in traces if trace.trace_id],
        user_ids=[value for kind, value in subjects if kind == "user"],
        customer_ids=[value for kind, value in subjects if kind == "customer"],
        subjects=subjects,
        agents=_agents(declared),
        started_at=started_at,
        ended_at=ended_at,
        parts=parts,
        current=current,
        summarised_at=summarised_at,
        received_first=min((trace.received_first for trace in traces), default=None),
        received_last=max((trace.received_last for trace in traces), default=None),
        lost=list(lost),
    )


def _agents(declared: list[tuple[str, str, int]]) -> list[tuple[str, str | None]]:
    versions: dict[str, str] = {}
    for kind, value, _ in declared:  # best rank first
        if kind == "agent_version":
            name, version = json.loads(value)
            versions.setdefault(name, version)
    return [(value, versions.get(value)) for kind, value, _ in declared if kind == "agent"]


def moved_to(cursor: Cursor, edition: int, project_id: int, key: str) -> str | None:
    """The session that took in what this key once named; None: it never named anything of this project."""
    try:
        digest = uuid.UUID(bytes=key_bytes(key))
    except ValueError:
        return None
    cursor.execute(_MOVED, {"edition": edition, "project_id": project_id, "key": key, "digest": digest})
    row = cursor.fetchone()
    return None if row is None else str(row[0])
