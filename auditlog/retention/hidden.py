"""Owns what lies beside restricted values: of it no search can say that it does not concern a hold or a clock, so that it stays.

What is hidden may be what named a session's customer, or the session itself. Its other traces, and those that come later, lie beside it.
"""

from __future__ import annotations

import uuid
from typing import Any, Final, LiteralString

import psycopg

_BESIDE: Final[LiteralString] = """
    SELECT t.project_id, t.trace_key FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current'
    WHERE t.buckets @> ARRAY[%s::int] AND (
      EXISTS (SELECT FROM restricted r WHERE r.project_id = t.project_id AND r.trace_key = t.trace_key)
      OR EXISTS (SELECT FROM restricted_session s WHERE s.project_id = t.project_id AND s.session_key = t.session_key))"""


def beside(conn: psycopg.Connection[Any], bucket: int) -> set[tuple[int, uuid.UUID]]:
    """(project, trace key) of what of a bucket is restricted, or in a session of which something is."""
    if conn.execute("SELECT FROM restricted LIMIT 1").fetchone() is None:  # as a rule
        return set()
    return {(row[0], row[1]) for row in conn.execute(_BESIDE, (bucket,)).fetchall()}
