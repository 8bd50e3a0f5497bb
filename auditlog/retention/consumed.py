"""Owns whether the search may be trusted with a bucket: only where the background pass has consumed all of it."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg

from auditlog.errors import Problem

_PENDING: Final[LiteralString] = """
    SELECT count(*) FROM part p JOIN batch b USING (batch_no)
    WHERE p.bucket = %(bucket)s AND p.count > 0 AND (%(project)s::int IS NULL OR b.project_id = %(project)s)
      AND NOT EXISTS (SELECT FROM derived d JOIN edition e ON e.number = d.edition AND e.state = 'current' WHERE d.batch_no = p.batch_no)"""
# What a hold asks of may stand in summaries and words, which follow later.
_STALE: Final[LiteralString] = """
    SELECT count(*) FROM session s JOIN edition e ON e.number = s.edition AND e.state = 'current'
    WHERE (s.stale_since IS NOT NULL OR s.text_due IS NOT NULL) AND (%(project)s::int IS NULL OR s.project_id = %(project)s)
      AND EXISTS (SELECT FROM hold h WHERE h.project_id = s.project_id AND h.released_at IS NULL)
      AND EXISTS (SELECT FROM trace t WHERE t.session_key = s.key AND t.edition = s.edition AND t.buckets @> ARRAY[%(bucket)s::int])"""


def require(conn: psycopg.Connection[Any], bucket: int, project_id: int | None = None) -> None:
    """Raises Problem("derive_behind")."""
    values = {"bucket": bucket, "project": project_id}
    for query, what in ((_PENDING, "batches of it are not consumed"), (_STALE, "of its sessions are not summarised and indexed")):
        row = conn.execute(query, values).fetchone()
        if row is not None and row[0]:
            raise Problem(
                "derive_behind",
                f"The background pass is behind: {row[0]} {what}, so nobody can say what is held. Nothing was changed. Try again when "
                "pending_batches of /api/v1/status is 0; batches that were set aside are tried again by `manage.py rebuild --failed`.",
                detail={"waiting": row[0]},
            )
    if conn.execute("SELECT FROM edition WHERE state = 'filling'").fetchone() is not None:
        raise Problem(
            "derive_behind", "Derived data is being rebuilt. Nothing was changed. Wait until `manage.py rebuild` has ended, or discard it."
        )
