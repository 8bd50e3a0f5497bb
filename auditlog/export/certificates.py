"""Owns which certificates an export holds: those of dispositions that took evidence of its scope, as they were when it began."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg

from auditlog.errors import Problem
from auditlog.export.choice import Wish
from auditlog.verify.certificates import of_project

_EXECUTED: Final[LiteralString] = """
    SELECT d.id, d.certificate FROM disposition d WHERE d.state = 'executed' AND d.certificate -> 'by_project' ? %(project)s::text"""
# Of a range: the periods of storage that anything in it lay in.
_OF_RANGE: Final[LiteralString] = """
    AND EXISTS (SELECT FROM part p JOIN batch b USING (batch_no) WHERE p.bucket = d.bucket AND b.project_id = %(project)s AND p.count > 0
                AND (%(since)s::timestamptz IS NULL OR b.received_at >= %(since)s)
                AND (%(until)s::timestamptz IS NULL OR b.received_at < %(until)s))"""
_OF_SESSIONS: Final[LiteralString] = """
    AND EXISTS (SELECT FROM session_loss l
                WHERE l.disposition = d.id AND l.project_id = %(project)s AND l.session_key = ANY(%(sessions)s))"""


def of(conn: psycopg.Connection[Any], wish: Wish) -> list[tuple[int, dict[str, Any]]]:
    """(number of the disposition, its certificate without what it says of other projects), in the order of the numbers."""
    narrow = _OF_SESSIONS if wish.trace_keys is not None else _OF_RANGE if wish.since or wish.until else ""
    asked = {"project": wish.project_id, "sessions": wish.sessions, "since": wish.since, "until": wish.until}
    rows = conn.execute(f"{_EXECUTED}{narrow} ORDER BY d.id", asked).fetchall()
    return [(number, of_project(certificate, wish.project_id)) for number, certificate in rows]


def unchanged(conn: psycopg.Connection[Any], wish: Wish, known: list[int]) -> None:
    """Raises Problem("state_conflict") where something of the scope was disposed of since the export began: half of it would be gone."""
    if new := sorted({number for number, _ in of(conn, wish)} - set(known)):
        raise Problem(
            "state_conflict",
            f"Evidence of this export was disposed of after it began (disposition {', '.join(map(str, new))}), so that the folder would "
            "have a part of it. Begin the export again in another folder.",
            detail={"dispositions": new},
        )
